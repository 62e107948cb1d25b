//! `moat bench` against the real broker, and against some that break off.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::thread::JoinHandle;

use moat_codec::{ConnAck, Framed, Limits, Packet, ReasonCode, SubAck, Version, frame};
use moat_testkit::MoatProcess;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::folder::{ANYWHERE, Folder};

const PASSWORD: &str = "a long enough password";

/// A broker that lets everybody do everything, and the URL it has.
fn open_broker(folder: &Folder) -> (MoatProcess, String) {
    let mut broker = folder.start(&["--dev", "--bind", "127.0.0.1:0"]);
    let url = format!("mqtt://{}", broker.address());
    (broker, url)
}

/// Runs a mode; the summary as JSON, the exit code, and what stands on standard error.
fn bench(folder: &Folder, args: &[&str]) -> (Value, i32, String) {
    let ended = folder.moat(&[&["--json", "bench"], args].concat());
    let summary = serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{ended:?}"));
    (summary, ended.code, ended.err)
}

/// Runs a mode in which nothing may go wrong.
fn clean(folder: &Folder, args: &[&str]) -> Value {
    let (summary, code, err) = bench(folder, args);
    assert_eq!((code, &*err), (0, ""), "{summary}");
    assert_eq!(summary["errors"], Value::Array(Vec::new()), "{summary}");
    summary
}

#[test]
fn every_message_of_pub_is_sent_and_confirmed_at_its_quality_of_service() {
    let folder = Folder::new();
    let (_broker, url) = open_broker(&folder);
    for (qos, confirmed) in [("0", 0), ("1", 300), ("2", 300)] {
        let args = [
            "pub",
            "--url",
            &url,
            "--count",
            "300",
            "--clients",
            "3",
            "--qos",
            qos,
            "--size",
            "100",
        ];
        let summary = clean(&folder, &args);
        assert_eq!(summary["sent"], 300, "{summary}");
        assert_eq!(summary["bytes_sent"], 30_000, "{summary}");
        assert_eq!(summary["acknowledged"], confirmed, "{summary}");
        assert_eq!(summary["connected"], 3, "{summary}");
        if confirmed > 0 {
            assert_eq!(summary["times_us"]["count"], 300, "{summary}");
        }
    }
}

#[test]
fn a_rate_and_a_duration_bound_what_is_sent() {
    let folder = Folder::new();
    let (_broker, url) = open_broker(&folder);
    let args = ["pub", "--url", &url, "--for", "300ms", "--rate", "100"];
    let summary = clean(&folder, &args);
    let sent = summary["sent"].as_u64().unwrap();
    // On a busy machine it may be fewer, and never one more.
    assert!((1..=31).contains(&sent), "{summary}");
    assert_eq!(summary["rate_wanted"], 100);
}

#[test]
fn sub_counts_what_comes_until_it_has_enough() {
    let folder = Folder::new();
    let (_broker, url) = open_broker(&folder);
    let retained = [
        "pub", "--url", &url, "-t", "bench/0", "-m", "hi", "--retain",
    ];
    folder.moat(&retained).done();
    // Each of the three gets the retained message as soon as it has subscribed.
    let args = [
        "sub",
        "--url",
        &url,
        "--clients",
        "3",
        "--count",
        "3",
        "--qos",
        "1",
    ];
    let summary = clean(&folder, &args);
    assert_eq!(summary["received"], 3, "{summary}");
    assert_eq!(summary["bytes_received"], 6, "{summary}");
}

#[test]
fn connect_opens_as_many_as_asked_for() {
    let folder = Folder::new();
    let (_broker, url) = open_broker(&folder);
    let summary = clean(&folder, &["connect", "--url", &url, "--count", "40"]);
    assert_eq!(summary["connected"], 40, "{summary}");
    assert_eq!(summary["times_us"]["count"], 40, "{summary}");
}

#[test]
fn latency_measures_every_message() {
    let folder = Folder::new();
    let (_broker, url) = open_broker(&folder);
    for (qos, version) in [("0", &["--v311"][..]), ("1", &[]), ("2", &[])] {
        let args = [
            "latency", "--url", &url, "--pairs", "2", "--rate", "400", "--count", "60", "--qos",
            qos,
        ];
        let summary = clean(&folder, &[&args, version].concat());
        assert_eq!(summary["received"], 60, "{summary}");
        assert_eq!(summary["missing"], 0, "{summary}");
        assert_eq!(summary["times_us"]["count"], 60, "{summary}");
        let time = |key: &str| summary["times_us"][key].as_f64().unwrap();
        assert!(time("p50") > 0.0 && time("p50") <= time("max"), "{summary}");
    }
}

#[test]
fn a_summary_for_people_is_on_standard_output_and_progress_is_not_without_a_terminal() {
    let folder = Folder::new();
    let (_broker, url) = open_broker(&folder);
    let ended = folder
        .moat(&["bench", "pub", "--url", &url, "--count", "10", "--qos", "1"])
        .done();
    assert_eq!(ended.err, "");
    for part in [
        "pub mqtt://",
        "1 of 1 connections",
        "acknowledged",
        "p99.9",
        "none",
    ] {
        assert!(ended.out.contains(part), "{part} in {ended:?}");
    }
}

#[test]
fn a_wrong_password_is_counted_with_the_brokers_reason() {
    let folder = Folder::new();
    let mut broker = folder.start(&ANYWHERE);
    folder
        .moat_reading(&["user", "add", "anna", "--password-file", "-"], PASSWORD)
        .done();
    let port = broker.address().port().to_string();
    std::fs::write(folder.parent().join("wrong"), "another long password").unwrap();
    let args = [
        "connect",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--user",
        "anna",
        "--password-file",
        "wrong",
        "--count",
        "2",
    ];
    let (summary, code, err) = bench(&folder, &args);
    assert_eq!(code, 1, "{summary}");
    assert_eq!(
        (&summary["failed"], &summary["connected"]),
        (&2.into(), &0.into()),
        "{summary}"
    );
    assert!(err.contains("connections failed: 2"), "{err}");
    let text = summary.to_string();
    assert!(
        text.contains("moat user passwd") && !text.contains("another long"),
        "{text}"
    );
}

#[test]
fn a_device_measures_over_tls_and_is_refused_elsewhere() {
    let folder = Folder::new();
    let mut broker = folder.start(&ANYWHERE);
    let port = broker.address().port().to_string();
    folder.moat(&["device", "add", "meter-1"]).done();
    let device = [
        "--device",
        "meter-1",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
    ];
    let latency = [
        "latency",
        "--topic",
        "devices/meter-1/%i",
        "--count",
        "20",
        "--pairs",
        "2",
    ];
    let summary = clean(&folder, &[&latency[..], &device].concat());
    assert_eq!(summary["received"], 20, "{summary}");
    assert!(
        summary["broker"].as_str().unwrap().starts_with("mqtts://"),
        "{summary}"
    );
    clean(
        &folder,
        &[&["connect", "--count", "6"][..], &device].concat(),
    );

    let elsewhere = ["pub", "--topic", "elsewhere", "--count", "3", "--qos", "1"];
    let (summary, code, err) = bench(&folder, &[&elsewhere[..], &device].concat());
    assert_eq!((code, &summary["refused"]), (1, &3.into()), "{summary}");
    assert!(err.contains("messages refused: 3"), "{err}");
    assert!(summary.to_string().contains("0x87"), "{summary}");
    let elsewhere = ["sub", "--topic", "elsewhere", "--count", "3"];
    let (summary, code, _) = bench(&folder, &[&elsewhere[..], &device].concat());
    assert_eq!((code, &summary["failed"]), (1, &1.into()), "{summary}");
}

#[test]
fn a_broker_that_closes_at_once_is_an_error_for_each_connection() {
    let folder = Folder::new();
    let (address, broker) = scripted(3, drop);
    let url = format!("mqtt://{address}");
    let args = ["pub", "--url", &url, "--count", "10", "--clients", "3"];
    let (summary, code, err) = bench(&folder, &args);
    broker.join().unwrap();
    assert_eq!((code, &summary["failed"]), (1, &3.into()), "{summary}");
    assert_eq!(summary["unsent"], 10, "{summary}");
    assert!(
        err.contains("connections failed: 3") && err.contains("not sent: 10"),
        "{err}"
    );
}

#[test]
fn a_connection_that_breaks_takes_its_unconfirmed_messages_with_it() {
    let folder = Folder::new();
    let (address, broker) = scripted(1, |mut stream| {
        answer_connect(&mut stream);
        let _first_message = next_packet(&mut stream);
    });
    let url = format!("mqtt://{address}");
    let args = [
        "pub",
        "--url",
        &url,
        "--count",
        "1000",
        "--qos",
        "1",
        "--inflight",
        "1",
    ];
    let (summary, code, err) = bench(&folder, &args);
    broker.join().unwrap();
    assert_eq!((code, &summary["lost"]), (1, &1.into()), "{summary}");
    assert_eq!(summary["unacknowledged"], 1, "{summary}");
    assert_eq!(summary["unsent"], 999, "{summary}");
    assert!(err.contains("connections lost: 1"), "{err}");
}

#[test]
fn a_message_that_does_not_come_back_is_missing() {
    let folder = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let broker = std::thread::spawn(move || {
        let mut streams = [(); 2].map(|()| listener.accept().unwrap().0);
        for stream in &mut streams {
            answer_connect(stream);
        }
        grant(&mut streams[0]);
        assert!(matches!(
            decode(&next_packet(&mut streams[1])),
            Ok(Packet::Publish(_))
        ));
    });
    let (summary, code, err) = bench(&folder, &["latency", "--url", &url, "--count", "1"]);
    broker.join().unwrap();
    assert_eq!((code, &summary["missing"]), (1, &1.into()), "{summary}");
    assert!(err.contains("messages missing: 1"), "{err}");
}

#[test]
fn ctrl_c_ends_a_run_with_its_summary() {
    let folder = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let child = folder
        .command(&["--json", "bench", "sub", "--url", &url])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    answer_connect(&mut stream);
    grant(&mut stream);
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    // The goodbye is said although nobody asks for more.
    assert!(matches!(
        decode(&next_packet(&mut stream)),
        Ok(Packet::Disconnect(_))
    ));
    drop(stream);
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    let summary: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(summary["interrupted"], true, "{summary}");
}

#[test]
fn a_host_that_nobody_listens_at_is_an_error_that_says_what_to_do() {
    let folder = Folder::new();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("mqtt://{free}");
    let (summary, code, _) = bench(&folder, &["connect", "--url", &url, "--count", "1"]);
    assert_eq!(code, 1, "{summary}");
    assert!(
        summary.to_string().contains("nobody listens at"),
        "{summary}"
    );
}

#[test]
fn a_wrong_option_names_what_is_allowed() {
    let folder = Folder::new();
    for (args, says) in [
        (&["pub", "--count", "1", "--clients", "0"][..], "1 to 20000"),
        (&["pub", "--count", "1", "--clients", "20001"], "1 to 20000"),
        (
            &["pub", "--count", "1", "--inflight", "65536"],
            "1 to 65535",
        ),
        (
            &["pub", "--count", "1", "--size", "8388609"],
            "0 to 8388608",
        ),
        (&["pub", "--count", "1", "--qos", "3"], "0, 1 or 2"),
        (&["pub", "--for", "5d"], "500ms, 30s, 5m or 1h"),
        (&["pub"], "--for"),
        (&["pub", "--count", "1", "--topic", "a/#"], "a/#"),
        (&["sub", "--topic", "a#"], "a#"),
        (
            &["connect", "--count", "1", "--concurrency", "1001"],
            "1 to 1000",
        ),
        (&["latency", "--size", "23"], "24 bytes"),
        (&["latency", "--pairs", "2", "--topic", "a"], "%i"),
        (&["latency", "--pairs", "10001"], "1 to 10000"),
    ] {
        let ended = folder.moat(&[&["bench"], args].concat());
        assert_eq!(ended.code, 2, "{args:?}: {ended:?}");
        assert!(ended.err.contains(says), "{says} in {ended:?}");
    }
}

/// A broker that treats `connections` as told, and then is gone.
fn scripted(
    connections: usize,
    act: impl Fn(TcpStream) + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        for _ in 0..connections {
            act(listener.accept().unwrap().0);
        }
    });
    (address, thread)
}

fn answer_connect(stream: &mut TcpStream) {
    let connect = next_packet(stream);
    assert!(matches!(decode(&connect), Ok(Packet::Connect(_))));
    say(stream, &Packet::ConnAck(ConnAck::new(ReasonCode::Success)));
}

/// Answers a SUBSCRIBE.
fn grant(stream: &mut TcpStream) {
    let bytes = next_packet(stream);
    let Ok(Packet::Subscribe(subscribe)) = decode(&bytes) else {
        panic!("{bytes:?}");
    };
    let suback = SubAck::new(subscribe.packet_id, &[ReasonCode::Success]);
    say(stream, &Packet::SubAck(suback));
}

fn next_packet(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        match frame(&bytes, &Limits::generous()).unwrap() {
            Framed::Complete { .. } => return bytes,
            Framed::Incomplete { need } => {
                let have = bytes.len();
                bytes.resize(need, 0);
                stream.read_exact(&mut bytes[have..]).unwrap();
            }
        }
    }
}

fn decode(bytes: &[u8]) -> Result<Packet<'_>, moat_codec::DecodeError> {
    Packet::decode(bytes, Version::V5, &Limits::generous())
}

fn say(stream: &mut TcpStream, packet: &Packet<'_>) {
    let mut bytes = Vec::new();
    packet.encode(Version::V5, &mut bytes).unwrap();
    stream.write_all(&bytes).unwrap();
}
