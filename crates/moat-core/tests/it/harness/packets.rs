//! Packets as a client would send them.

use std::num::NonZeroU32;

use moat_codec::{
    Connect, Packet, PacketId, Publish, QoS, RetainHandling, Subscribe, Subscription,
    SubscriptionOptions, TopicFilter, TopicName, Version, Will,
};

/// A CONNECT that keeps its session: for ever in 5.0 as far as the server allows.
pub(crate) fn lasting(version: Version, client_id: &str) -> Connect<'_> {
    let mut connect = Connect::new(version, client_id);
    connect.clean_start = false;
    if version.is_v5() {
        connect.properties.session_expiry_secs = Some(u32::MAX);
    }
    connect
}

pub(crate) fn will<'a>(topic: &'a str, payload: &'a str) -> Will<'a> {
    Will {
        topic: TopicName::new(topic, &moat_codec::Limits::default()).unwrap(),
        payload: payload.as_bytes(),
        qos: QoS::AtLeastOnce,
        retain: false,
        delay_secs: 0,
        message_expiry_secs: None,
        properties: Default::default(),
    }
}

/// A PUBLISH of a client; `id` is used at QoS 1 and 2.
pub(crate) fn message<'a>(topic: &'a str, payload: &'a str, qos: u8, id: u16) -> Publish<'a> {
    let qos = QoS::from_bits(qos).unwrap();
    Publish {
        qos,
        packet_id: (qos != QoS::AtMostOnce).then(|| packet_id(id)),
        ..Publish::new(topic, payload.as_bytes())
    }
}

/// A [`message`] that is to be retained.
pub(crate) fn retained<'a>(topic: &'a str, payload: &'a str, qos: u8, id: u16) -> Publish<'a> {
    Publish {
        retain: true,
        ..message(topic, payload, qos, id)
    }
}

pub(crate) fn packet_id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

pub(crate) fn options(qos: u8) -> SubscriptionOptions {
    SubscriptionOptions {
        qos: QoS::from_bits(qos).unwrap(),
        ..SubscriptionOptions::default()
    }
}

/// Options with a way of handling what is retained.
pub(crate) fn handling(qos: u8, retain_handling: RetainHandling) -> SubscriptionOptions {
    SubscriptionOptions {
        retain_handling,
        ..options(qos)
    }
}

pub(super) fn subscribe_packet<'a>(
    id: u16,
    filters: &[(&'a str, SubscriptionOptions)],
    subscription_id: Option<u32>,
    storage: &'a mut Vec<Subscription<'a>>,
) -> Packet<'a> {
    storage.extend(filters.iter().map(|(filter, options)| Subscription {
        filter: TopicFilter::new(filter, &moat_codec::Limits::generous()).unwrap(),
        options: *options,
    }));
    let mut subscribe = Subscribe::new(packet_id(id), storage);
    subscribe.subscription_id = subscription_id.map(|id| NonZeroU32::new(id).unwrap());
    Packet::Subscribe(subscribe)
}

pub(crate) fn encode(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).unwrap();
    bytes
}
