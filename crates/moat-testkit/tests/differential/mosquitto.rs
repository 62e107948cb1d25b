//! Debian's mosquitto as a child process, ended by its own handle.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long mosquitto may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Somebody both brokers know.
pub(crate) const USER: &str = "anna";
pub(crate) const PASSWORD: &str = "twelve characters";

pub(crate) struct Mosquitto {
    process: Child,
    pub(crate) address: SocketAddr,
    /// Keeps a subscription below `$d`: without any it forgets what to say to an UNSUBSCRIBE there.
    warm: Option<TcpStream>,
    _folder: tempfile::TempDir,
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Mosquitto {
    /// Starts it, and waits until it listens. Another program may take the free port first; then there is another.
    pub(crate) fn start() -> Self {
        let start = Instant::now();
        loop {
            if let Some(running) = Self::try_start(start + PATIENCE) {
                return running;
            }
            assert!(start.elapsed() < PATIENCE, "mosquitto does not listen");
        }
    }

    fn try_start(until: Instant) -> Option<Self> {
        let program = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto"];
        let program = program.into_iter().find(|path| Path::new(path).exists());
        let program = program.expect("mosquitto of the Debian package mosquitto");
        let folder = tempfile::tempdir().unwrap();
        let (config, users) = (folder.path().join("conf"), folder.path().join("users"));
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let status = Command::new("mosquitto_passwd")
            .args(["-c", "-b"])
            .arg(&users)
            .args([USER, PASSWORD])
            .status();
        assert!(status.unwrap().success());
        // `user root` keeps it who it is: otherwise it could not read its own files.
        let lines = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\npassword_file {}\nuser root\n\
             set_tcp_nodelay true\nsys_interval 0\nlog_type none\n",
            address.port(),
            users.display(),
        );
        fs::write(&config, lines).unwrap();
        let process = Command::new(program)
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut started = Self {
            process,
            address,
            warm: None,
            _folder: folder,
        };
        while Instant::now() < until {
            if started.process.try_wait().unwrap().is_some() {
                return None;
            }
            if let Ok(stream) = TcpStream::connect(address) {
                started.warm = Some(warmed(stream));
                return Some(started);
            }
            std::thread::yield_now();
        }
        None
    }
}

/// Subscribes to something below `$d`.
fn warmed(mut stream: TcpStream) -> TcpStream {
    let connect = b"\x10\x10\0\x04MQTT\x04\x02\0\0\0\x04warm";
    let subscribe = b"\x82\x0C\0\x01\0\x07$d/warm\0";
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(connect).unwrap();
    stream.write_all(subscribe).unwrap();
    // CONNACK and SUBACK.
    stream.read_exact(&mut [0; 4 + 5]).unwrap();
    stream
}
