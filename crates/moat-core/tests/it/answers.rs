//! Answers no larger than the client takes, and the reasons for people in them.

use std::num::NonZeroU32;

use moat_codec::{Connect, Framed, Packet, ReasonCode, Unsubscribe, frame};
use moat_core::Limits;
use moat_core::shard::Then;

use crate::harness::*;

/// A client of 5.0 that takes packets of so many bytes.
fn taking(client_id: &str, bytes: u32) -> Connect<'_> {
    let mut connect = Connect::new(V5, client_id);
    connect.properties.maximum_packet_size = NonZeroU32::new(bytes);
    connect
}

fn quiet(client_id: &str) -> Connect<'_> {
    let mut connect = Connect::new(V5, client_id);
    connect.properties.request_problem_information = false;
    connect
}

/// Sizes in bytes of the packets that were sent, and the reasons for people in them.
fn said(bytes: &[u8]) -> (Vec<usize>, Vec<Option<String>>) {
    let (mut sizes, mut reasons) = (Vec::new(), Vec::new());
    let mut rest = bytes;
    let limits = moat_codec::Limits::generous();
    while let Ok(Framed::Complete { total, .. }) = frame(rest, &limits) {
        let why = match Packet::decode(&rest[..total], V5, &limits).unwrap() {
            Packet::ConnAck(connack) => connack.properties.reason_string,
            Packet::PubAck(ack) | Packet::PubRec(ack) => ack.reason_string,
            Packet::SubAck(suback) => suback.reason_string,
            Packet::UnsubAck(unsuback) => unsuback.reason_string,
            Packet::Disconnect(disconnect) => disconnect.reason_string,
            other => panic!("{other:?}"),
        };
        sizes.push(total);
        reasons.push(why.map(str::to_owned));
        rest = &rest[total..];
    }
    assert!(rest.is_empty());
    (sizes, reasons)
}

#[test]
fn mqtt5_3_1_2_24__connack_leaves_out_what_it_may_and_is_refused_where_it_cannot() {
    let size = |bytes: u32| {
        let mut world = World::new(limits());
        match world.open(ANNA, &taking("", bytes)) {
            Ok(client) => {
                let got = world.raw(client);
                let packet = Packet::decode(&got, V5, &moat_codec::Limits::default()).unwrap();
                let Packet::ConnAck(connack) = packet else {
                    panic!("not a CONNACK")
                };
                let aliases = connack.properties.topic_alias_maximum.is_some();
                (got.len(), connack.reason, aliases)
            }
            Err(refused) => (refused.bytes.len(), refused.reason, false),
        }
    };
    let (whole, reason, aliases) = size(u32::MAX);
    assert_eq!((reason, aliases), (ReasonCode::Success, true));
    let whole_u32 = u32::try_from(whole).unwrap();
    assert_eq!(size(whole_u32), (whole, ReasonCode::Success, true));
    let smaller = (whole - 3, ReasonCode::Success, false);
    assert_eq!(size(whole_u32 - 1), smaller);
    assert_eq!(size(whole_u32 - 3), smaller);
    let (bytes, reason, _) = size(whole_u32 - 4);
    assert_eq!((bytes, reason), (5, ReasonCode::PacketTooLarge));
    assert_eq!(size(5).0, 5);
    assert_eq!(size(4), (0, ReasonCode::PacketTooLarge, false));
}

#[test]
fn a_client_that_takes_too_little_begins_nothing_and_takes_nothing_over() {
    let mut world = World::new(limits());
    let old = world.lasting(V5, "a");
    assert!(world.open(ANNA, &taking("a", 10)).is_err());
    assert!(!world.is_closed(old));
    assert_eq!(world.sessions(), 1);
}

#[test]
fn mqtt5_3_2_2_19__a_refusal_says_why_only_where_there_is_room() {
    let why = |bytes: u32| {
        let denied = policy_denying("\"publish\"", "secret/#");
        let mut world = World::with(1, limits(), denied);
        let mut connect = taking("a", bytes);
        connect.will = Some(will("secret/x", "gone"));
        let refused = world.open(ANNA, &connect).err().unwrap();
        assert_eq!(refused.reason, ReasonCode::NotAuthorized);
        said(&refused.bytes)
    };
    let (sizes, reasons) = why(u32::MAX);
    assert!(
        reasons[0]
            .as_ref()
            .is_some_and(|why| !why.contains("secret"))
    );
    let whole = u32::try_from(sizes[0]).unwrap();
    assert_eq!(why(whole).0, sizes);
    assert_eq!(why(whole - 1), (vec![5], vec![None]));
}

/// Proves 5.0 [MQTT-3.4.2-2] [MQTT-3.5.2-2] [MQTT-3.9.2-1].
#[test]
fn mqtt5_3_9_2_1__suback_and_puback_leave_their_reason_out_where_it_does_not_fit() {
    let denied = || policy_denying("\"publish\", \"subscribe\"", "secret/#");
    let answers = |connect: &Connect<'_>| {
        let mut world = World::with(1, limits(), denied());
        let (client, _) = world.connected(connect);
        world.send(client, &Packet::Publish(message("secret/x", "", 1, 1)));
        world.send(client, &Packet::Publish(message("secret/x", "", 2, 2)));
        world.send_subscribe(
            client,
            &[("ok", options(0)), ("secret/x", options(0))],
            None,
        );
        let (sizes, reasons) = said(&world.raw(client));
        (sizes, reasons.iter().filter(|why| why.is_some()).count())
    };
    let (sizes, told) = answers(&Connect::new(V5, "a"));
    assert_eq!(told, 3);
    let smallest = u32::try_from(*sizes.iter().min().unwrap()).unwrap();
    // PUBACK and PUBREC without a reason are five bytes long, a SUBACK for two filters seven.
    assert_eq!(answers(&taking("a", smallest - 1)), (vec![5, 5, 7], 0));
    // [MQTT-3.1.2-29]
    assert_eq!(answers(&quiet("a")), (vec![5, 5, 7], 0));
}

#[test]
fn mqtt5_3_1_2_24__a_suback_that_cannot_fit_closes_before_anything_is_subscribed() {
    const BYTES: usize = 40;
    // Two bytes of fixed header, packet identifier, and no properties.
    for (filters, fits) in [(BYTES - 5, true), (BYTES - 4, false)] {
        let mut world = World::new(limits());
        let (client, _) = world.connected(&taking("a", u32::try_from(BYTES).unwrap()));
        let names: Vec<String> = (0..filters).map(|n| format!("t/{n}")).collect();
        let asked: Vec<_> = names.iter().map(|name| (&**name, options(0))).collect();
        world.send_subscribe(client, &asked, None);
        assert_eq!(world.is_closed(client), !fits);
        if fits {
            assert_eq!(world.raw(client).len(), BYTES);
        } else {
            assert_eq!(world.goodbye(client), ReasonCode::PacketTooLarge);
        }
    }
}

#[test]
fn mqtt5_3_1_2_24__an_unsuback_that_cannot_fit_closes() {
    let mut world = World::new(limits());
    let (client, _) = world.connected(&taking("a", 40));
    let limits = moat_codec::Limits::generous();
    let filters = vec![moat_codec::TopicFilter::new("t", &limits).unwrap(); 36];
    let packet = Packet::Unsubscribe(Unsubscribe::new(packet_id(1), &filters));
    assert_eq!(world.send(client, &packet), Then::Closed);
    assert_eq!(world.goodbye(client), ReasonCode::PacketTooLarge);
}

/// Proves 5.0 [MQTT-3.14.2-3].
#[test]
fn mqtt5_3_14_2_3__a_disconnect_says_why_where_there_is_room_whatever_was_asked_for() {
    let goodbye = |connect: &Connect<'_>| {
        let mut world = World::new(limits());
        let (client, _) = world.connected(connect);
        world.send(client, &Packet::Connect(Connect::new(V5, "a")));
        said(&world.raw(client))
    };
    let (sizes, reasons) = goodbye(&quiet("a"));
    assert_eq!(reasons, [Some("second CONNECT".to_owned())]);
    let size = u32::try_from(sizes[0]).unwrap();
    assert!(size < 30, "{size}");
    let mut long = World::new(Limits::default());
    let (client, _) = long.connected(&taking("a", 30));
    long.pass_secs(451);
    assert_eq!(said(&long.raw(client)).0.len(), 1);
    let taken_over = |bytes: u32| {
        let mut world = World::new(limits());
        let (client, _) = world.connected(&taking("a", bytes));
        world.client(V5, "a");
        said(&world.raw(client))
    };
    assert!(taken_over(u32::MAX).1[0].is_some());
    assert_eq!(taken_over(40), (vec![3], vec![None]));
}

#[test]
fn a_3_x_client_is_told_no_reason() {
    let denied = policy_denying("\"publish\"", "secret/#");
    let mut world = World::with(1, limits(), denied);
    let client = world.client(V311, "a");
    world.send(client, &Packet::Publish(message("secret/x", "", 1, 1)));
    assert_eq!(world.raw(client)[..2], [0x40, 2]);
}
