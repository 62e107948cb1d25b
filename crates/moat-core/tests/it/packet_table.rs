//! Every packet of the codec's table that a client sends, fed to a session.

use moat_codec::packet_table::{Expect, Row, Sender, rows};
use moat_codec::{Limits, Packet, PacketType, ReasonCode};
use moat_core::session::Opening;
use moat_core::shard::Then;

use crate::harness::*;

fn client_rows() -> impl Iterator<Item = Row> {
    rows()
        .unwrap()
        .into_iter()
        .filter(|row| row.sender == Sender::Client)
}

fn is_connect(row: &Row) -> bool {
    row.bytes.first().map(|byte| byte >> 4) == Some(1)
}

/// A stream has no "not one packet": what follows is the next packet, what is missing will come.
fn is_no_stream(row: &Row) -> bool {
    matches!(
        row.expect,
        Expect::DecodeError {
            variant: "NotOnePacket",
            ..
        }
    )
}

/// What the state of an established session makes of a packet that is right in itself.
#[derive(PartialEq, Eq, Debug)]
enum State {
    Open,
    /// The client said goodbye.
    Goodbye,
    Violation(ReasonCode),
}

fn state_after(row: &Row) -> State {
    match Packet::decode(&row.bytes, row.version, &Limits::default()).unwrap() {
        Packet::Disconnect(_) => State::Goodbye,
        Packet::Auth(_) | Packet::Connect(_) => State::Violation(ReasonCode::ProtocolError),
        // [MQTT-3.3.4-6]
        Packet::Publish(p) if p.subscription_ids.iter().next().is_some() => {
            State::Violation(ReasonCode::ProtocolError)
        }
        _ => State::Open,
    }
}

#[test]
fn every_packet_of_a_client_leads_where_the_table_says() {
    let mut fed = 0;
    for row in client_rows().filter(|row| !is_no_stream(row)) {
        let mut world = World::new(limits());
        let client = world.lasting(row.version, "client");
        let then = world.send_raw(client, &row.bytes);
        match (&row.expect, is_connect(&row)) {
            (Expect::Ok { .. }, false) => check_ok(&mut world, client, &row, then),
            (Expect::DecodeError { reason, .. } | Expect::AliasError { reason, .. }, false) => {
                check_closed(&mut world, client, &row, then, *reason);
            }
            // [MQTT-3.1.0-2], whatever else is wrong with it.
            (_, true) => {
                assert_eq!(then, Then::Closed, "{}", row.name);
                if row.version.is_v5() {
                    let reason = world.goodbye(client);
                    assert!(reason.allowed_in(PacketType::Disconnect), "{}", row.name);
                }
            }
        }
        fed += 1;
    }
    assert!(fed > 300, "{fed} rows");
}

fn check_ok(world: &mut World, client: Client, row: &Row, then: Then) {
    match state_after(row) {
        State::Open => {
            assert!(matches!(then, Then::NeedMore(_)), "{}: {then:?}", row.name);
            world.read(client);
            world.sent(client, &Packet::PingReq);
            assert_eq!(world.read(client), [Got::PingResp], "{}", row.name);
        }
        State::Goodbye => {
            assert_eq!(then, Then::Closed, "{}", row.name);
            assert_eq!(world.read(client), [], "{}", row.name);
            assert_eq!(world.events("protocol.violation"), [], "{}", row.name);
        }
        State::Violation(reason) => check_closed(world, client, row, then, reason),
    }
}

fn check_closed(world: &mut World, client: Client, row: &Row, then: Then, reason: ReasonCode) {
    assert_eq!(then, Then::Closed, "{}", row.name);
    let got = world.read(client);
    if row.version.is_v5() {
        assert_eq!(got.last(), Some(&Got::Disconnect(reason)), "{}", row.name);
    } else {
        assert!(!has(&got, PacketType::Disconnect), "{}", row.name);
    }
    assert_eq!(world.events("protocol.violation").len(), 1, "{}", row.name);
}

#[test]
fn every_packet_may_come_byte_by_byte() {
    for row in client_rows().filter(|row| !is_no_stream(row) && row.bytes.len() < 300) {
        let mut whole = World::new(limits());
        let client = whole.lasting(row.version, "client");
        let expected = whole.send_raw(client, &row.bytes);
        let expected = (expected, whole.read(client));

        let mut world = World::new(limits());
        let client = world.lasting(row.version, "client");
        let mut then = Then::NeedMore(2);
        for byte in &row.bytes {
            then = world.send_raw(client, &[*byte]);
        }
        assert_eq!((then, world.read(client)), expected, "{}", row.name);
    }
}

#[test]
fn every_connect_that_is_right_opens_a_session() {
    let mut opened = 0;
    for row in client_rows().filter(is_connect) {
        let Ok(Packet::Connect(connect)) =
            Packet::decode(&row.bytes, row.version, &Limits::default())
        else {
            continue;
        };
        let opening = Opening::of_packet(&connect, |_| false, || "made-up".into());
        if connect.properties.authentication_method.is_some() {
            let refused = ReasonCode::BadAuthenticationMethod;
            assert_eq!(opening.err(), Some(refused), "{}", row.name);
            continue;
        }
        assert!(opening.is_ok(), "{}", row.name);
        let mut world = World::new(limits());
        let (client, granted) = world.connected(&connect);
        assert_eq!(granted.reason, ReasonCode::Success, "{}", row.name);
        world.sent(client, &Packet::PingReq);
        opened += 1;
    }
    assert!(opened > 30, "{opened} rows");
}
