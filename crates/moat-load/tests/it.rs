//! The program against its own floor: every scenario the floor can serve, in plain and over TLS.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// A floor on a free port, which ends with the test.
struct Floor {
    child: Child,
    address: String,
}

impl Floor {
    fn start(options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mqload"))
            .args(["floor", "--port", "0"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let address = line.split('"').nth(3).unwrap().to_owned();
        Self { child, address }
    }

    /// The report of a scenario against it.
    fn load(&self, words: &str) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_mqload"))
            .args(words.split_whitespace())
            .args(["--addr", &self.address])
            .args(["--broker-pid", &self.child.id().to_string()])
            .args(["--warmup", "0.05", "--secs", "0.1", "--settle", "0"])
            .output()
            .unwrap();
        let report = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{words}: {report}");
        report
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// A number of a report.
fn number(report: &str, key: &str) -> f64 {
    let (_, rest) = report.split_once(&format!("\"{key}\":")).unwrap();
    let end = rest.find([',', '}']).unwrap();
    rest[..end].parse().unwrap()
}

#[test]
fn every_message_arrives_once_and_in_order() {
    let floor = Floor::start(&[]);
    for words in [
        "p2p --pairs 3",
        "p2p --pairs 3 --qos 1 --inflight 64",
        "p2p --pairs 3 --qos 2 --inflight 64 --latency",
        "p2p --pairs 3 --v5 --user-properties 2",
        "p2p --pairs 3 --payload 70000 --batch 2",
        "p2p --pairs 3 --durable --qos 1",
        "p2p --pairs 3 --rate 1000",
        "fanout --subs 5",
        "fanin --pubs 5",
    ] {
        let report = floor.load(words);
        assert!(
            number(&report, "delivered_per_s") > 0.0,
            "{words}: {report}"
        );
        assert!(
            number(&report, "broker_us_per_unit") > 0.0,
            "{words}: {report}"
        );
        for bad in ["missing", "gaps", "dups", "conns_gone"] {
            assert!(number(&report, bad) == 0.0, "{words}: {report}");
        }
    }
}

#[test]
fn connections_idle_ones_and_unwanted_messages_are_counted() {
    let floor = Floor::start(&[]);
    assert!(number(&floor.load("connect --n 30 --concurrency 3"), "ok") == 30.0);
    let idle = floor.load("idle --n 20 --concurrency 4");
    assert!(
        (number(&idle, "conns"), number(&idle, "dead")) == (20.0, 0.0),
        "{idle}"
    );
    let unwanted = floor.load("unwanted --pubs 2");
    assert!(number(&unwanted, "published_per_s") > 0.0, "{unwanted}");
}

#[test]
fn handshakes_with_and_without_a_certificate_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let [ca, cert, key] = certificates(folder.path());
    let (ca, cert, key) = (
        ca.to_str().unwrap(),
        cert.to_str().unwrap(),
        key.to_str().unwrap(),
    );
    let tls = Floor::start(&["--cert", cert, "--key", key]);
    let words = format!("connect --n 10 --concurrency 2 --tls --ca {ca}");
    assert!(number(&tls.load(&words), "ok") == 10.0);
    let mtls = Floor::start(&["--cert", cert, "--key", key, "--client-ca", ca]);
    let with = format!("{words} --cert {cert} --key {key} --v5");
    assert!(number(&mtls.load(&with), "ok") == 10.0);
}

#[test]
fn a_scenario_that_does_not_exist_is_refused_with_exit_code_2() {
    let output = Command::new(env!("CARGO_BIN_EXE_mqload"))
        .arg("p3p")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("p3p: no such scenario"));
}

/// A CA, and a certificate of it for localhost with its key.
fn certificates(folder: &Path) -> [PathBuf; 3] {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    [
        write("ca.crt", ca_certificate.pem()),
        write("server.crt", certificate.pem()),
        write("server.key", key.serialize_pem()),
    ]
}
