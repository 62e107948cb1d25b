//! A packet's fields in the notation of `testdata/packets.txt`: what is not the default, in a fixed order.

use std::fmt::Display;

use moat_codec::{
    Ack, Auth, ConnAck, Connect, Disconnect, ForwardedProperties, Packet, Property, Publish,
    ReasonCodes, Subscribe, UserProperties,
};

/// The fields of a packet, one after the other.
struct Text(String);

pub(crate) fn meaning(packet: &Packet<'_>) -> String {
    let mut text = Text(packet.packet_type().name().to_owned());
    match packet {
        Packet::Connect(connect) => connect_fields(&mut text, connect),
        Packet::ConnAck(connack) => connack_fields(&mut text, connack),
        Packet::Publish(publish) => publish_fields(&mut text, publish),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            ack_fields(&mut text, ack);
        }
        Packet::Subscribe(subscribe) => subscribe_fields(&mut text, subscribe),
        Packet::SubAck(ack) => {
            text.field("id", ack.packet_id.value());
            reasons_fields(&mut text, &ack.reasons, ack.reason_string, &ack.user);
        }
        Packet::Unsubscribe(unsubscribe) => {
            text.field("id", unsubscribe.packet_id.value());
            text.user(&unsubscribe.user);
            assert_eq!(unsubscribe.len(), unsubscribe.filters().count());
            unsubscribe
                .filters()
                .for_each(|filter| text.text("filter", filter.as_str()));
        }
        Packet::UnsubAck(ack) => {
            text.field("id", ack.packet_id.value());
            reasons_fields(&mut text, &ack.reasons, ack.reason_string, &ack.user);
        }
        Packet::PingReq | Packet::PingResp => {}
        Packet::Disconnect(disconnect) => disconnect_fields(&mut text, disconnect),
        Packet::Auth(auth) => auth_fields(&mut text, auth),
    }
    text.0
}

fn connect_fields(text: &mut Text, connect: &Connect<'_>) {
    let properties = &connect.properties;
    text.field("version", connect.version);
    text.flag("clean", connect.clean_start);
    text.field("keep_alive", connect.keep_alive_secs);
    text.text("id", connect.client_id);
    text.option("expiry", properties.session_expiry_secs);
    text.option("receive_max", properties.receive_maximum);
    text.option("max_packet", properties.maximum_packet_size);
    text.option(
        "alias_max",
        Some(properties.topic_alias_maximum).filter(|&max| max != 0),
    );
    text.flag("response_info", properties.request_response_information);
    text.flag("no_problem_info", !properties.request_problem_information);
    text.text_option("method", properties.authentication_method);
    text.bytes_option("data", properties.authentication_data);
    text.user(&properties.user);
    if let Some(will) = &connect.will {
        text.text("will_topic", will.topic.as_str());
        text.bytes("will_payload", will.payload);
        text.field("will_qos", will.qos.bits());
        text.flag("will_retain", will.retain);
        text.option(
            "will_delay",
            Some(will.delay_secs).filter(|&secs| secs != 0),
        );
        text.option("will_expiry", will.message_expiry_secs);
        text.forwarded("will_", &will.properties);
    }
    text.text_option("username", connect.username);
    text.bytes_option("password", connect.password);
}

fn connack_fields(text: &mut Text, connack: &ConnAck<'_>) {
    let properties = &connack.properties;
    text.flag("session_present", connack.session_present);
    text.field("reason", connack.reason.name());
    text.option("expiry", properties.session_expiry_secs);
    text.option("receive_max", properties.receive_maximum);
    text.option("max_qos", properties.maximum_qos.map(|qos| qos.bits()));
    text.option(
        "retain_available",
        properties.retain_available.map(u8::from),
    );
    text.option("max_packet", properties.maximum_packet_size);
    text.text_option("assigned_id", properties.assigned_client_id);
    text.option("alias_max", properties.topic_alias_maximum);
    text.text_option("reason_string", properties.reason_string);
    text.option(
        "wildcards",
        properties.wildcard_subscription_available.map(u8::from),
    );
    text.option(
        "subscription_ids",
        properties.subscription_identifiers_available.map(u8::from),
    );
    text.option(
        "shared",
        properties.shared_subscription_available.map(u8::from),
    );
    text.option("server_keep_alive", properties.server_keep_alive_secs);
    text.text_option("response_information", properties.response_information);
    text.text_option("server_reference", properties.server_reference);
    text.text_option("method", properties.authentication_method);
    text.bytes_option("data", properties.authentication_data);
    text.user(&properties.user);
}

fn publish_fields(text: &mut Text, publish: &Publish<'_>) {
    text.field("qos", publish.qos.bits());
    text.flag("dup", publish.dup);
    text.flag("retain", publish.retain);
    text.text("topic", publish.topic);
    text.option("id", publish.packet_id.map(|id| id.value()));
    text.option("alias", publish.topic_alias);
    text.option("expiry", publish.message_expiry_secs);
    assert_eq!(
        publish.subscription_ids.len(),
        publish.subscription_ids.iter().count()
    );
    publish
        .subscription_ids
        .iter()
        .for_each(|id| text.field("subscription", id));
    text.forwarded("", &publish.properties);
    text.bytes("payload", publish.payload);
}

fn ack_fields(text: &mut Text, ack: &Ack<'_>) {
    text.field("id", ack.packet_id.value());
    text.field("reason", ack.reason.name());
    text.text_option("reason_string", ack.reason_string);
    text.user(&ack.user);
}

fn subscribe_fields(text: &mut Text, subscribe: &Subscribe<'_>) {
    text.field("id", subscribe.packet_id.value());
    text.option("subscription", subscribe.subscription_id);
    text.user(&subscribe.user);
    assert_eq!(subscribe.len(), subscribe.filters().count());
    for subscription in subscribe.filters() {
        let options = subscription.options;
        text.text("filter", subscription.filter.as_str());
        text.field("qos", options.qos.bits());
        text.flag("no_local", options.no_local);
        text.flag("retain_as_published", options.retain_as_published);
        text.option(
            "retain_handling",
            Some(options.retain_handling as u8).filter(|&handling| handling != 0),
        );
    }
}

fn reasons_fields(
    text: &mut Text,
    reasons: &ReasonCodes<'_>,
    string: Option<&str>,
    user: &UserProperties<'_>,
) {
    let names: Vec<_> = reasons.iter().map(|reason| reason.name()).collect();
    assert_eq!(names.len(), reasons.len());
    text.field("reasons", names.join(", "));
    text.text_option("reason_string", string);
    text.user(user);
}

fn disconnect_fields(text: &mut Text, disconnect: &Disconnect<'_>) {
    text.field("reason", disconnect.reason.name());
    text.option("expiry", disconnect.session_expiry_secs);
    text.text_option("reason_string", disconnect.reason_string);
    text.text_option("server_reference", disconnect.server_reference);
    text.user(&disconnect.user);
}

fn auth_fields(text: &mut Text, auth: &Auth<'_>) {
    text.field("reason", auth.reason.name());
    text.text_option("method", auth.authentication_method);
    text.bytes_option("data", auth.authentication_data);
    text.text_option("reason_string", auth.reason_string);
    text.user(&auth.user);
}

impl Text {
    fn field(&mut self, key: &str, value: impl Display) {
        self.0 += &format!(" {key}={}", short(value.to_string()));
    }

    fn option(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.field(key, value);
        }
    }

    fn flag(&mut self, key: &str, is_set: bool) {
        if is_set {
            self.0 += &format!(" {key}");
        }
    }

    fn text(&mut self, key: &str, value: &str) {
        self.field(key, value.escape_debug());
    }

    fn text_option(&mut self, key: &str, value: Option<&str>) {
        self.option(key, value.map(str::escape_debug));
    }

    fn bytes(&mut self, key: &str, value: &[u8]) {
        self.field(
            key,
            value
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>(),
        );
    }

    fn bytes_option(&mut self, key: &str, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.bytes(key, value);
        }
    }

    fn user(&mut self, user: &UserProperties<'_>) {
        assert_eq!(user.len(), user.iter().count());
        user.iter()
            .for_each(|(name, value)| self.field("user", format!("{name}:{value}")));
    }

    fn forwarded(&mut self, prefix: &str, properties: &ForwardedProperties<'_>) {
        for property in properties.iter() {
            let key = |key: &str| format!("{prefix}{key}");
            match property {
                Property::PayloadFormatIndicator(utf8) => {
                    self.field(&key("format"), u8::from(utf8))
                }
                Property::ContentType(kind) => self.text(&key("content_type"), kind),
                Property::ResponseTopic(topic) => self.text(&key("response_topic"), topic),
                Property::CorrelationData(data) => self.bytes(&key("correlation"), data),
                Property::UserProperty((name, value)) => {
                    self.field(&key("user"), format!("{name}:{value}"))
                }
                other => panic!("{other:?} is not forwarded"),
            }
        }
    }
}

/// A long value that repeats its first two characters is written `xx*N`.
fn short(value: String) -> String {
    const LONG: usize = 64;
    if value.len() <= LONG || !value.is_ascii() {
        return value;
    }
    let unit = &value[..2];
    let count = value.len() / 2;
    if value == unit.repeat(count) {
        format!("{unit}*{count}")
    } else {
        value
    }
}
