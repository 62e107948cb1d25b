//! Debian's mosquitto as a child process, ended by its own handle.

use std::fs;
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
            _folder: folder,
        };
        while Instant::now() < until {
            if started.process.try_wait().unwrap().is_some() {
                return None;
            }
            if TcpStream::connect(address).is_ok() {
                return Some(started);
            }
            std::thread::yield_now();
        }
        None
    }
}
