//! The same ACL file, asked of moat's policy and of Debian's mosquitto: who may send and receive what
//! must be the same. Needs Debian's mosquitto, which `cargo xtask test` installs.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use moat_codec::{Limits, QoS, Resolved, TopicName};
use moat_policy::{Identity, PolicyFormat, PolicySourceText, Snapshot, Subject};

const PATIENCE: Duration = Duration::from_secs(20);
/// The one who sees and sends everything, so that the others can be watched.
const ROOT: &str = "root";
const PASSWORD: &str = "twelve chars";
/// User (none is anonymous) and client id.
const CLIENTS: [(Option<&str>, &str); 4] = [
    (Some("anna"), "c1"),
    (Some("anna"), "c2"),
    (Some("bert"), "c1"),
    (None, "c1"),
];
const TOPICS: [&str; 14] = [
    "a",
    "a/b",
    "a/anna",
    "a/bert",
    "a/c1",
    "a/c2",
    "b/anna/c1",
    "b/bert/c1",
    "b/x-c1",
    "/a",
    "a/",
    "with blank/a",
    "$x/a",
    "$x",
];

const WRITTEN: [&str; 4] = [
    "topic read a/#\nuser anna\ntopic a/b\ntopic deny a/c1\nuser bert\ntopic write a/#\npattern read a/%u\n",
    "pattern a/%u\npattern deny a/b\npattern write b/%u/%c\npattern b/x-%c\nuser anna\ntopic read a/b\ntopic $x/#\n",
    "user anna\ntopic #\ntopic deny a/+\n# comment\n\nuser bert\ntopic readwrite with blank/a\ntopic read /a\ntopic a/\n",
    "topic +/+\npattern read %u\npattern deny b/+/%c\npattern #\nuser bert\ntopic read $x\ntopic deny /a\n",
];

#[test]
fn moat_and_mosquitto_decide_alike() {
    let mut files: Vec<String> = WRITTEN.map(str::to_owned).to_vec();
    files.extend((0..8).map(random_file));
    for acl in files {
        // Root's lines stand at the end, so those without a user stay what they are.
        let acl = format!("{acl}user {ROOT}\ntopic #\ntopic $x/#\n");
        let broker = Mosquitto::start(&acl);
        let snapshot = compile(&acl);
        for (user, client_id) in CLIENTS {
            let expected = (
                sent(&snapshot, user, client_id),
                received(&snapshot, user, client_id),
            );
            let found = (
                broker.sent(user, client_id),
                broker.received(user, client_id),
            );
            assert_eq!(
                found, expected,
                "mosquitto and moat about {user:?} {client_id} in\n{acl}"
            );
        }
    }
}

/// Lines drawn by a small generator of its own, so that every run has the same files.
fn random_file(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x1234_5678;
    let mut pick = |count: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % count
    };
    let mut text = String::new();
    for _ in 0..10 {
        let access = ["read", "write", "readwrite", "deny", "deny"][pick(5)];
        let first = ["a", "b", "+", "", "$x"][pick(5)];
        let second = ["/a", "/b", "/+", "/#", ""][pick(5)];
        let filled = ["/%u", "/%c", "/%u/%c", "/x-%c", "/#"][pick(5)];
        match pick(5) {
            0 => writeln!(text, "user {}", ["anna", "bert"][pick(2)]).unwrap(),
            1 | 2 => writeln!(text, "topic {access} {first}{second}").unwrap(),
            _ => writeln!(text, "pattern {access} {first}{filled}").unwrap(),
        }
    }
    // An empty first and second level would be no filter at all.
    text.lines()
        .filter(|line| line.starts_with("user") || line.split(' ').nth(2) != Some(""))
        .fold(String::new(), |all, line| all + line + "\n")
}

fn compile(acl: &str) -> Snapshot {
    let source = PolicySourceText {
        file: "acl".into(),
        format: PolicyFormat::MosquittoAcl,
        text: acl.into(),
    };
    Snapshot::compile(vec![source], 1).unwrap_or_else(|errors| panic!("{}\n{acl}", errors[0]))
}

type Topics = BTreeSet<&'static str>;

fn identity(user: Option<&str>) -> Identity {
    user.map_or_else(Identity::anonymous, Identity::from_password)
}

fn sent(snapshot: &Snapshot, user: Option<&str>, client_id: &str) -> Topics {
    let identity = identity(user);
    let who = Subject {
        identity: &identity,
        client_id,
    };
    let may = |topic: &str| {
        let name = TopicName::new(topic, &Limits::default()).unwrap();
        let resolved = Resolved::new(name, b"x", QoS::AtMostOnce, true);
        snapshot.authorize_publish(who, resolved).is_ok()
    };
    TOPICS.into_iter().filter(|topic| may(topic)).collect()
}

fn received(snapshot: &Snapshot, user: Option<&str>, client_id: &str) -> Topics {
    let identity = identity(user);
    let who = Subject {
        identity: &identity,
        client_id,
    };
    let may = |topic: &str| {
        let name = TopicName::new(topic, &Limits::default()).unwrap();
        snapshot.may_receive(who, name)
    };
    TOPICS.into_iter().filter(|topic| may(topic)).collect()
}

/// A mosquitto of its own with an ACL.
struct Mosquitto {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Mosquitto {
    fn start(acl: &str) -> Self {
        let program = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto"];
        let program = program.into_iter().find(|path| Path::new(path).exists());
        let program = program.expect("mosquitto of the Debian package mosquitto");
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        fs::write(path("acl"), acl).unwrap();
        for (index, user) in [ROOT, "anna", "bert"].into_iter().enumerate() {
            let mut command = Command::new("mosquitto_passwd");
            command
                .args(["-c"].iter().take(usize::from(index == 0)))
                .arg("-b");
            let status = command.arg(path("users")).args([user, PASSWORD]).status();
            assert!(status.unwrap().success());
        }
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nlog_type none\n\
             acl_file {}\npassword_file {}\n",
            path("acl").display(),
            path("users").display()
        );
        fs::write(path("conf"), config).unwrap();
        let process = Command::new(program)
            .arg("-c")
            .arg(path("conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self {
            process: process.unwrap(),
            port,
            _folder: folder,
        }
    }

    fn connect(&self, user: Option<&str>, client_id: &str) -> Client {
        let start = Instant::now();
        let stream = loop {
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(stream) => break stream,
                Err(error) => {
                    assert!(
                        start.elapsed() < PATIENCE,
                        "mosquitto does not listen: {error}"
                    );
                    std::thread::yield_now();
                }
            }
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Client { stream };
        let mut body = b"\0\x04MQTT\x04".to_vec();
        body.push(if user.is_some() { 0xC2 } else { 0x02 });
        body.extend([0, 60]);
        body.extend(string(client_id));
        for text in user.into_iter().flat_map(|user| [user, PASSWORD]) {
            body.extend(string(text));
        }
        client.send(0x10, &body);
        assert_eq!(client.next(), (0x20, vec![0, 0]), "CONNACK of {user:?}");
        client
    }

    /// Where a client's messages come through to somebody who sees all of them.
    fn sent(&self, user: Option<&str>, client_id: &str) -> Topics {
        let mut watcher = self.connect(Some(ROOT), "watcher");
        watcher.subscribe();
        // What an earlier client was to receive is still retained.
        watcher.topics_until_pong();
        let mut client = self.connect(user, client_id);
        for topic in TOPICS {
            let mut body = string(topic);
            body.push(b'x');
            client.send(0x30, &body);
        }
        assert_eq!(client.topics_until_pong(), Topics::new());
        watcher.topics_until_pong()
    }

    /// What of everything that is retained reaches a client that asks for all.
    fn received(&self, user: Option<&str>, client_id: &str) -> Topics {
        let mut root = self.connect(Some(ROOT), "keeper");
        for topic in TOPICS {
            let mut body = string(topic);
            body.push(b'x');
            root.send(0x31, &body);
        }
        root.topics_until_pong();
        let mut client = self.connect(user, client_id);
        client.subscribe();
        let retained = client.topics_until_pong();
        for topic in TOPICS {
            let mut body = string(topic);
            body.push(b'x');
            root.send(0x30, &body);
        }
        root.topics_until_pong();
        assert_eq!(client.topics_until_pong(), retained, "live and retained");
        retained
    }
}

/// Just enough of MQTT 3.1.1.
struct Client {
    stream: TcpStream,
}

impl Client {
    fn send(&mut self, first: u8, body: &[u8]) {
        let length = u8::try_from(body.len()).unwrap();
        assert!(length < 128, "one byte of length is enough here");
        let mut packet = vec![first, length];
        packet.extend(body);
        self.stream.write_all(&packet).unwrap();
    }

    fn next(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).unwrap();
        assert!(head[1] < 128);
        let mut body = vec![0; usize::from(head[1])];
        self.stream.read_exact(&mut body).unwrap();
        (head[0], body)
    }

    fn subscribe(&mut self) {
        let mut body = vec![0, 1];
        for filter in ["#", "$x/#"] {
            body.extend(string(filter));
            body.push(0);
        }
        self.send(0x82, &body);
        assert_eq!(self.next(), (0x90, vec![0, 1, 0, 0]), "SUBACK");
    }

    /// The topics of everything that is under way to this client.
    fn topics_until_pong(&mut self) -> Topics {
        self.send(0xC0, &[]);
        let mut topics = Topics::new();
        loop {
            let (first, body) = self.next();
            if first == 0xD0 {
                return topics;
            }
            assert_eq!(first & 0xF0, 0x30);
            let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
            let topic = std::str::from_utf8(&body[2..2 + length]).unwrap();
            topics.insert(TOPICS.into_iter().find(|known| *known == topic).unwrap());
        }
    }
}

fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}
