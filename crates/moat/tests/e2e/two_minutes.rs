//! A device publishes, a user receives, and another device does neither.

use crate::broker::Broker;
use crate::clients::{Subscriber, as_device, mosquitto, text};

#[test]
fn a_device_publishes_at_every_qos_and_a_user_with_a_rule_receives() {
    let mut broker = Broker::start();
    broker.wait_for_reload();
    let subscriber = Subscriber::as_user(&broker, "devices/#");
    broker.wait_for_log(&["client.connected", "identity=wall-display"]);
    // A retained message is there for whoever subscribes later, so nothing depends on who is first.
    let device = as_device(&broker, "press-1");
    for qos in ["0", "1", "2"] {
        let message = format!("hello at {qos}");
        let arguments = [
            "-i",
            "press-1",
            "-t",
            "devices/press-1/hello",
            "-m",
            &message,
            "-q",
            qos,
            "-r",
        ];
        let output = mosquitto("mosquitto_pub", &broker, &device, &arguments);
        assert!(output.status.success(), "{}", text(&output));
        let line = subscriber.next_line();
        assert!(
            line.contains("devices/press-1/hello") && line.contains(&message),
            "{line}"
        );
    }
    let connected = broker.wait_for_log(&["client.connected", "identity=press-1"]);
    assert!(connected.contains("TLSv1.3"), "{connected}");
}

#[test]
fn a_second_device_neither_reads_nor_writes_the_topics_of_the_first() {
    let mut broker = Broker::start();
    broker.wait_for_reload();
    let other = as_device(&broker, "press-2");
    let publish = [
        "-V",
        "5",
        "-d",
        "-t",
        "devices/press-1/hello",
        "-m",
        "forged",
        "-q",
        "1",
    ];
    let output = text(&mosquitto("mosquitto_pub", &broker, &other, &publish));
    assert!(
        output.contains("Not authorized") || output.contains("rc135"),
        "{output}"
    );
    let denied = broker.wait_for_log(&["publish.denied", "identity=press-2"]);
    assert!(
        denied.contains("topic=devices/press-1/hello") && denied.contains("default deny"),
        "{denied}"
    );

    let subscribe = ["-V", "5", "-d", "-t", "devices/press-1/#", "-W", "5"];
    let output = text(&mosquitto("mosquitto_sub", &broker, &other, &subscribe));
    assert!(
        output.contains("135") || output.contains("denied"),
        "{output}"
    );
    let denied = broker.wait_for_log(&["subscribe.denied", "identity=press-2"]);
    assert!(denied.contains("filter=devices/press-1/#"), "{denied}");
}

#[test]
fn a_new_device_is_let_in_without_a_restart() {
    let broker = Broker::start();
    broker.moat(&[
        "device",
        "add",
        "press-3",
        "--host",
        "127.0.0.1",
        "--out",
        &broker.bundle("press-3"),
    ]);
    let device = as_device(&broker, "press-3");
    let arguments = ["-t", "devices/press-3/hello", "-m", "late", "-q", "1"];
    let output = mosquitto("mosquitto_pub", &broker, &device, &arguments);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn status_counts_what_happened() {
    let broker = Broker::start();
    let device = as_device(&broker, "press-1");
    let arguments = ["-t", "devices/press-1/state", "-m", "on", "-q", "2", "-r"];
    assert!(
        mosquitto("mosquitto_pub", &broker, &device, &arguments)
            .status
            .success()
    );
    let status = broker.moat(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["messages_received_total"], 1, "{status}");
    assert_eq!(status["retained_messages"], 1, "{status}");
}

#[test]
fn a_session_gets_what_it_missed_in_order() {
    let mut broker = Broker::start();
    broker.wait_for_reload();
    let device = as_device(&broker, "press-1");
    let subscribe = [
        "-i",
        "press-1",
        "-c",
        "-q",
        "2",
        "-t",
        "devices/press-1/jobs",
    ];
    let first = [&subscribe[..], &["-E"]].concat();
    assert!(
        mosquitto("mosquitto_sub", &broker, &device, &first)
            .status
            .success()
    );
    for job in ["1", "2", "3"] {
        let arguments = [
            "-i",
            "sender",
            "-t",
            "devices/press-1/jobs",
            "-m",
            job,
            "-q",
            "2",
        ];
        assert!(
            mosquitto("mosquitto_pub", &broker, &device, &arguments)
                .status
                .success()
        );
    }
    let again = [&subscribe[..], &["-C", "3"]].concat();
    let output = mosquitto("mosquitto_sub", &broker, &device, &again);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n2\n3\n");
}
