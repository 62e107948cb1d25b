//! Random packets, encoded and decoded again, and random bytes.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::num::{NonZeroU16, NonZeroU32};

use moat_codec::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, EncodeError,
    ForwardedProperties, Limits, Packet, PacketId, PacketType, Property, Publish, QoS, ReasonCode,
    RetainHandling, SubAck, Subscribe, Subscription, SubscriptionIds, SubscriptionOptions,
    TopicFilter, TopicName, UnsubAck, Unsubscribe, UserProperties, Version, Will, checks, varint,
};
use proptest::prelude::*;

/// What packets are made of: every packet takes what it needs.
#[derive(Clone, Debug)]
struct Material {
    texts: Vec<String>,
    topics: Vec<String>,
    filters: Vec<(String, u8)>,
    data: Vec<Vec<u8>>,
    numbers: Vec<u32>,
    /// One bit per choice: is this field there, is this flag set.
    bits: u64,
    users: Vec<(String, String)>,
    codes: Vec<prop::sample::Index>,
    payload: Vec<u8>,
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-z]{1,8}",
        "[^\0]{0,12}",
        "[a-z]{120,140}"
    ]
}

fn topic() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z$]{1,3}(/[a-z]{0,3}){0,4}",
        "[^\0+#]{1,20}",
        "[a-z]{120,140}"
    ]
}

fn filter() -> impl Strategy<Value = String> {
    let plain = "(\\+|[a-z]{1,2})(/(\\+|[a-z]{0,2})){0,3}(/#)?";
    prop_oneof![
        plain,
        plain.prop_map(|filter| format!("$share/g/{filter}")),
        Just("#".to_owned())
    ]
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        0..300_u32,
        16_000..17_000_u32,
        65_530..65_540_u32,
        varint::MAX - 2..=varint::MAX,
        any::<u32>()
    ]
}

fn material() -> impl Strategy<Value = Material> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    (
        prop::collection::vec(text(), 8),
        prop::collection::vec(topic(), 3),
        prop::collection::vec((filter(), any::<u8>()), 1..6),
        prop::collection::vec(bytes(), 3),
        prop::collection::vec(number(), 10),
        any::<u64>(),
        prop::collection::vec((text(), text()), 0..4),
        prop::collection::vec(any::<prop::sample::Index>(), 1..6),
        prop_oneof![bytes(), prop::collection::vec(any::<u8>(), 16_300..16_500)],
    )
        .prop_map(
            |(texts, topics, filters, data, numbers, bits, users, codes, payload)| Material {
                texts,
                topics,
                filters,
                data,
                numbers,
                bits,
                users,
                codes,
                payload,
            },
        )
}

impl Material {
    fn bit(&self, index: usize) -> bool {
        self.bits & (1 << index) != 0
    }

    /// `value` if bit `index` is set and the version has properties.
    fn v5<T>(&self, version: Version, index: usize, value: T) -> Option<T> {
        Some(value).filter(|_| version.is_v5() && self.bit(index))
    }

    fn text(&self, index: usize) -> &str {
        &self.texts[index]
    }

    fn short(&self, index: usize) -> u16 {
        u16::try_from(self.numbers[index] & 0xFFFF).unwrap()
    }

    fn packet_id(&self) -> PacketId {
        PacketId::new(self.short(0)).unwrap_or(PacketId::MIN)
    }

    fn qos(&self) -> QoS {
        QoS::from_bits(u8::try_from(self.numbers[1] % 3).unwrap()).unwrap()
    }

    /// A reason code the packet may carry; success before 5.0.
    fn reason(&self, packet: PacketType, version: Version, index: usize) -> ReasonCode {
        let allowed: Vec<_> = ReasonCode::ALL
            .into_iter()
            .filter(|code| code.allowed_in(packet))
            .collect();
        if version.is_v5() {
            *self.codes[index % self.codes.len()].get(&allowed)
        } else {
            ReasonCode::Success
        }
    }

    fn users(&self, version: Version) -> Vec<(&str, &str)> {
        let users = self
            .users
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        users.filter(|_| version.is_v5()).collect()
    }

    /// Properties a server forwards; `payload` may contradict a format indicator, so then there is none.
    fn forwarded(&self, version: Version, payload: &[u8]) -> ForwardedProperties<'static> {
        let mut properties = Vec::new();
        let utf8 = self.bit(41) && std::str::from_utf8(payload).is_ok();
        properties.extend(self.v5(version, 40, Property::PayloadFormatIndicator(utf8)));
        properties.extend(self.users(version).into_iter().map(Property::UserProperty));
        properties.extend(self.v5(version, 42, Property::ContentType(self.text(5))));
        properties.extend(self.v5(version, 43, Property::ResponseTopic(&self.topics[2])));
        properties.extend(self.v5(version, 44, Property::CorrelationData(&self.data[2])));
        ForwardedProperties::build(&properties).unwrap()
    }

    /// Hands one packet of every type to `check`.
    fn each_packet(&self, version: Version, mut check: impl FnMut(Packet<'_>)) {
        self.connect(version, &mut check);
        check(self.connack(version, &self.users(version)));
        self.publish(version, &mut check);
        self.acks(version, &mut check);
        self.subscriptions(version, &mut check);
        check(Packet::PingReq);
        check(Packet::PingResp);
        let users = self.users(version);
        check(Packet::Disconnect(Disconnect {
            reason: self.reason(PacketType::Disconnect, version, 0),
            session_expiry_secs: self.v5(version, 0, self.numbers[2]),
            reason_string: self.v5(version, 1, self.text(1)),
            server_reference: self.v5(version, 2, self.text(2)),
            user: UserProperties::new(&users),
        }));
        if version.is_v5() {
            check(Packet::Auth(Auth {
                reason: self.reason(PacketType::Auth, version, 0),
                authentication_method: Some(self.text(0)),
                authentication_data: self.v5(version, 1, &self.data[0]),
                reason_string: self.v5(version, 2, self.text(1)),
                user: UserProperties::new(&users),
            }));
        }
    }

    fn connect(&self, version: Version, check: &mut impl FnMut(Packet<'_>)) {
        let users = self.users(version);
        let method = self.v5(version, 0, self.text(0));
        let username = Some(self.text(3)).filter(|_| self.bit(1));
        let may_have_password = username.is_some() || version.is_v5();
        let will = Will {
            topic: TopicName::new(&self.topics[0], &Limits::generous()).unwrap(),
            payload: &self.data[0],
            qos: self.qos(),
            retain: self.bit(2),
            delay_secs: self.v5(version, 3, self.numbers[2]).unwrap_or(0),
            message_expiry_secs: self.v5(version, 4, self.numbers[3]),
            properties: self.forwarded(version, &self.data[0]),
        };
        check(Packet::Connect(Connect {
            version,
            clean_start: self.bit(5),
            keep_alive_secs: self.short(4),
            // Never empty, which is a matter of its own.
            client_id: &self.topics[1],
            will: Some(will).filter(|_| self.bit(6)),
            username,
            password: Some(&self.data[1][..]).filter(|_| self.bit(7) && may_have_password),
            properties: ConnectProperties {
                session_expiry_secs: self.v5(version, 8, self.numbers[5]),
                receive_maximum: self.v5(version, 9, self.short(6)).and_then(NonZeroU16::new),
                maximum_packet_size: self
                    .v5(version, 10, self.numbers[7])
                    .and_then(NonZeroU32::new),
                topic_alias_maximum: self.v5(version, 11, self.short(8)).unwrap_or(0),
                request_response_information: self.v5(version, 12, true).unwrap_or(false),
                request_problem_information: self.v5(version, 13, false).unwrap_or(true),
                authentication_method: method,
                authentication_data: method.and(self.v5(version, 14, &self.data[2])),
                user: UserProperties::new(&users),
            },
        }));
    }

    fn connack<'a>(&'a self, version: Version, users: &'a [(&'a str, &'a str)]) -> Packet<'a> {
        let reason = if version.is_v5() {
            self.reason(PacketType::ConnAck, version, 0)
        } else {
            ReasonCode::from_connack_v3(u8::try_from(self.numbers[0] % 6).unwrap()).unwrap()
        };
        let method = self.v5(version, 20, self.text(0));
        let qos = if self.bit(21) {
            QoS::AtLeastOnce
        } else {
            QoS::AtMostOnce
        };
        Packet::ConnAck(ConnAck {
            session_present: self.bit(22)
                && reason == ReasonCode::Success
                && version != Version::V31,
            reason,
            properties: ConnAckProperties {
                session_expiry_secs: self.v5(version, 0, self.numbers[1]),
                receive_maximum: self.v5(version, 1, self.short(2)).and_then(NonZeroU16::new),
                maximum_qos: self.v5(version, 2, qos),
                retain_available: self.v5(version, 3, self.bit(23)),
                maximum_packet_size: self
                    .v5(version, 4, self.numbers[3])
                    .filter(|&size| size != 0),
                assigned_client_id: self.v5(version, 5, self.text(1)),
                topic_alias_maximum: self.v5(version, 6, self.short(4)),
                reason_string: self.v5(version, 7, self.text(2)),
                wildcard_subscription_available: self.v5(version, 8, self.bit(24)),
                subscription_identifiers_available: self.v5(version, 9, self.bit(25)),
                shared_subscription_available: self.v5(version, 10, self.bit(26)),
                server_keep_alive_secs: self.v5(version, 11, self.short(5)),
                response_information: self.v5(version, 12, self.text(3)),
                server_reference: self.v5(version, 13, self.text(4)),
                authentication_method: method,
                authentication_data: method.and(self.v5(version, 14, &self.data[0])),
                user: UserProperties::new(users),
            },
        })
    }

    fn publish(&self, version: Version, check: &mut impl FnMut(Packet<'_>)) {
        let qos = self.qos();
        let alias = self.v5(version, 0, self.short(2)).and_then(NonZeroU16::new);
        let ids: Vec<_> = self.numbers[3..6]
            .iter()
            .filter_map(|&id| {
                NonZeroU32::new(id).filter(|_| id <= varint::MAX && version.is_v5() && self.bit(1))
            })
            .collect();
        check(Packet::Publish(Publish {
            dup: self.bit(2) && qos != QoS::AtMostOnce,
            qos,
            retain: self.bit(3),
            topic: if alias.is_some() && self.bit(4) {
                ""
            } else {
                &self.topics[0]
            },
            packet_id: Some(self.packet_id()).filter(|_| qos != QoS::AtMostOnce),
            topic_alias: alias,
            message_expiry_secs: self.v5(version, 5, self.numbers[6]),
            subscription_ids: SubscriptionIds::new(&ids),
            properties: self.forwarded(version, &self.payload),
            payload: &self.payload,
        }));
    }

    fn acks(&self, version: Version, check: &mut impl FnMut(Packet<'_>)) {
        let users = self.users(version);
        let ack = |packet| Ack {
            packet_id: self.packet_id(),
            reason: self.reason(packet, version, 0),
            reason_string: self.v5(version, 0, self.text(0)),
            user: UserProperties::new(&users),
        };
        check(Packet::PubAck(ack(PacketType::PubAck)));
        check(Packet::PubRec(ack(PacketType::PubRec)));
        check(Packet::PubRel(ack(PacketType::PubRel)));
        check(Packet::PubComp(ack(PacketType::PubComp)));
    }

    fn subscriptions(&self, version: Version, check: &mut impl FnMut(Packet<'_>)) {
        let users = self.users(version);
        let user = UserProperties::new(&users);
        let limits = Limits::generous();
        let filters: Vec<_> = self
            .filters
            .iter()
            .map(|(filter, _)| TopicFilter::new(filter, &limits).unwrap())
            .collect();
        let subscriptions: Vec<_> = filters
            .iter()
            .zip(&self.filters)
            .map(|(&filter, &(_, bits))| Subscription {
                filter,
                options: options(filter, bits, version),
            })
            .collect();
        let id = self
            .v5(version, 0, self.numbers[1])
            .filter(|&id| id <= varint::MAX)
            .and_then(NonZeroU32::new);
        let mut subscribe = Subscribe::new(self.packet_id(), &subscriptions);
        (subscribe.subscription_id, subscribe.user) = (id, user);
        check(Packet::Subscribe(subscribe));
        let mut unsubscribe = Unsubscribe::new(self.packet_id(), &filters);
        unsubscribe.user = user;
        check(Packet::Unsubscribe(unsubscribe));
        let codes = |packet| -> Vec<_> {
            (0..self.codes.len())
                .map(|index| self.reason(packet, version, index))
                .collect()
        };
        let reason_string = self.v5(version, 1, self.text(1));
        let reasons = codes(PacketType::SubAck);
        check(Packet::SubAck(SubAck {
            reason_string,
            user,
            ..SubAck::new(self.packet_id(), &reasons)
        }));
        let reasons = if version.is_v5() {
            codes(PacketType::UnsubAck)
        } else {
            Vec::new()
        };
        check(Packet::UnsubAck(UnsubAck {
            reason_string,
            user,
            ..UnsubAck::new(self.packet_id(), &reasons)
        }));
    }
}

/// Options a filter may have: no local is not for shared ones, and all but the QoS is for 5.0 only.
fn options(filter: TopicFilter<'_>, bits: u8, version: Version) -> SubscriptionOptions {
    let qos = QoS::from_bits(bits % 3).unwrap();
    if !version.is_v5() {
        return SubscriptionOptions::qos(qos);
    }
    let handling = [
        RetainHandling::SendAlways,
        RetainHandling::SendIfNew,
        RetainHandling::DoNotSend,
    ];
    SubscriptionOptions {
        qos,
        no_local: bits & 0b1000 != 0 && filter.shared().is_none(),
        retain_as_published: bits & 0b1_0000 != 0,
        retain_handling: handling[usize::from(bits >> 5) % 3],
    }
}

/// Each case is one packet of every type and version, and each of them is checked in every version.
const CASES: u32 = 64;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn packet_encodes_and_decodes_to_itself(material in material()) {
        for version in Version::ALL {
            material.each_packet(version, |packet| {
                let mut out = vec![0xEE];
                let written = packet.encode(version, &mut out).unwrap();
                assert_eq!(written, out.len() - 1);
                let decoded = Packet::decode(&out[1..], version, &Limits::generous());
                assert_eq!(decoded.as_ref(), Ok(&packet));
                checks::decode(&out[1..]);
                checks::roundtrip(&out[1..]);
            });
        }
    }

    #[test]
    fn publish_frame_is_publish_encode(material in material()) {
        for version in Version::ALL {
            material.publish(version, &mut |packet| {
                let Packet::Publish(publish) = packet else { unreachable!() };
                checks::frame_is_encode(&publish, version);
            });
        }
    }

    #[test]
    fn one_changed_byte_never_panics(material in material(), at: prop::sample::Index, byte: u8) {
        for version in Version::ALL {
            material.each_packet(version, |packet| {
                let mut out = Vec::new();
                packet.encode(version, &mut out).unwrap();
                let at = at.index(out.len());
                out[at] = byte;
                checks::decode(&out);
                checks::roundtrip(&out);
            });
        }
    }
}

proptest! {
    // Cheap, and needs many cases to come past the first field.
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn any_bytes_never_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        first_byte in prop::sample::select(&[0x10, 0x20, 0x30, 0x33, 0x40, 0x62, 0x82, 0x90, 0xA2, 0xB0, 0xE0, 0xF0]),
        is_framed: bool,
    ) {
        if is_framed && bytes.len() >= 2 {
            // A length that fits, so that the content is reached.
            bytes.truncate(127 + 2);
            bytes[0] = first_byte;
            bytes[1] = u8::try_from(bytes.len() - 2).unwrap();
        }
        checks::decode(&bytes);
        checks::roundtrip(&bytes);
    }
}

#[test]
fn what_must_not_be_sent_does_not_encode() {
    let id = PacketId::MIN;
    let shared = TopicFilter::new("$share/g/a", &Limits::default()).unwrap();
    let no_local = SubscriptionOptions {
        no_local: true,
        ..SubscriptionOptions::default()
    };
    let subscription = [Subscription {
        filter: shared,
        options: no_local,
    }];
    let large_id = [NonZeroU32::MAX];
    let long = "x".repeat(65_536);
    let connect = |version, client_id| Connect::new(version, client_id);
    let cases = [
        (
            Packet::Subscribe(Subscribe::new(id, &[])),
            EncodeError::NoFilters,
        ),
        (
            Packet::Unsubscribe(Unsubscribe::new(id, &[])),
            EncodeError::NoFilters,
        ),
        (
            Packet::SubAck(SubAck::new(id, &[])),
            EncodeError::NoReasonCodes,
        ),
        (
            Packet::UnsubAck(UnsubAck::new(id, &[])),
            EncodeError::NoReasonCodes,
        ),
        (
            Packet::Subscribe(Subscribe::new(id, &subscription)),
            EncodeError::NoLocalOnShared,
        ),
        (
            Packet::PubAck(Ack::with_reason(id, ReasonCode::PacketIdentifierNotFound)),
            EncodeError::ReasonCodeNotAllowed {
                packet: PacketType::PubAck,
                reason: ReasonCode::PacketIdentifierNotFound,
            },
        ),
        (
            Packet::Publish(Publish {
                qos: QoS::AtLeastOnce,
                ..Publish::new("t", b"")
            }),
            EncodeError::PacketIdMissing {
                qos: QoS::AtLeastOnce,
            },
        ),
        (
            Packet::Publish(Publish::new("", b"")),
            EncodeError::TopicInvalid(moat_codec::TopicError::Empty),
        ),
        (
            Packet::Publish(Publish::new("#", b"")),
            EncodeError::TopicInvalid(moat_codec::TopicError::ContainsWildcard),
        ),
        (
            Packet::Publish(Publish::new("a\0", b"")),
            EncodeError::NulInString,
        ),
        (
            Packet::Publish(Publish::new(&long, b"")),
            EncodeError::FieldTooLong { bytes: 65_536 },
        ),
        (
            Packet::Publish(Publish {
                subscription_ids: SubscriptionIds::new(&large_id),
                ..Publish::new("t", b"")
            }),
            EncodeError::SubscriptionIdTooLarge { id: u32::MAX },
        ),
        (
            Packet::Connect(Connect {
                clean_start: false,
                ..connect(Version::V311, "")
            }),
            EncodeError::ClientIdEmpty,
        ),
        (
            Packet::Connect(Connect {
                password: Some(b"p"),
                ..connect(Version::V311, "c")
            }),
            EncodeError::PasswordWithoutUserName,
        ),
        (
            Packet::Connect(connect(Version::V5, &long)),
            EncodeError::FieldTooLong { bytes: 65_536 },
        ),
        (
            Packet::ConnAck(ConnAck {
                session_present: true,
                ..ConnAck::new(ReasonCode::Banned)
            }),
            EncodeError::SessionPresentWithError,
        ),
        (
            Packet::ConnAck(ConnAck {
                properties: ConnAckProperties {
                    maximum_packet_size: Some(0),
                    ..Default::default()
                },
                ..ConnAck::new(ReasonCode::Success)
            }),
            EncodeError::PropertyZero { id: 0x27 },
        ),
        (
            Packet::Auth(Auth::new(ReasonCode::ContinueAuthentication)),
            EncodeError::AuthenticationMethodMissing,
        ),
    ];
    for (packet, error) in cases {
        let mut out = vec![1, 2, 3];
        assert_eq!(
            packet.encode(Version::V5, &mut out),
            Err(error),
            "{packet:?}"
        );
        assert_eq!(out, [1, 2, 3], "{packet:?}");
    }
    let auth = Packet::Auth(Auth::new(ReasonCode::Success));
    assert_eq!(
        auth.encode(Version::V311, &mut Vec::new()),
        Err(EncodeError::AuthNotInVersion)
    );
    let wrong = Ack::new(id).encode(PacketType::SubAck, Version::V5, &mut Vec::new());
    assert_eq!(
        wrong,
        Err(EncodeError::NotAnAck {
            packet: PacketType::SubAck
        })
    );
}

#[test]
fn before_5_0_properties_and_reasons_are_left_out() {
    let users = [("k", "v")];
    let user = UserProperties::new(&users);
    let ack = Ack {
        user,
        ..Ack::with_reason(PacketId::MIN, ReasonCode::NotAuthorized)
    };
    let properties = ForwardedProperties::build(&[Property::ContentType("t")]).unwrap();
    let publish = Publish {
        message_expiry_secs: Some(1),
        properties,
        ..Publish::new("t", b"x")
    };
    let reasons = [ReasonCode::NotAuthorized, ReasonCode::GrantedQoS1];
    for version in [Version::V31, Version::V311] {
        let encoded = |packet: Packet<'_>| {
            let mut out = Vec::new();
            packet.encode(version, &mut out).unwrap();
            out
        };
        assert_eq!(encoded(Packet::PubAck(ack)), [0x40, 2, 0, 1]);
        assert_eq!(
            encoded(Packet::Publish(publish.clone())),
            [0x30, 4, 0, 1, b't', b'x']
        );
        assert_eq!(
            encoded(Packet::SubAck(SubAck::new(PacketId::MIN, &reasons))),
            [0x90, 4, 0, 1, 0x80, 1]
        );
        assert_eq!(
            encoded(Packet::UnsubAck(UnsubAck::new(
                PacketId::MIN,
                &reasons[..1]
            ))),
            [0xB0, 2, 0, 1]
        );
        assert_eq!(
            encoded(Packet::Disconnect(Disconnect::new(ReasonCode::ServerBusy))),
            [0xE0, 0]
        );
        assert_eq!(
            encoded(Packet::ConnAck(ConnAck::new(ReasonCode::Banned))),
            [0x20, 2, 0, 5]
        );
    }
}

#[test]
fn secrets_and_payloads_are_not_printed() {
    let connect = Connect {
        username: Some("ann"),
        password: Some(b"hunter2"),
        will: Some(Will {
            topic: TopicName::new("w", &Limits::default()).unwrap(),
            payload: b"hunter2",
            qos: QoS::AtMostOnce,
            retain: false,
            delay_secs: 0,
            message_expiry_secs: None,
            properties: ForwardedProperties::build(&[Property::CorrelationData(b"hunter2")])
                .unwrap(),
        }),
        properties: ConnectProperties {
            authentication_method: Some("m"),
            authentication_data: Some(b"hunter2"),
            ..ConnectProperties::default()
        },
        ..Connect::new(Version::V5, "c")
    };
    let auth = Auth {
        authentication_data: Some(b"hunter2"),
        ..Auth::new(ReasonCode::ContinueAuthentication)
    };
    let publish = Publish::new("t", b"hunter2");
    let text = format!("{connect:?} {auth:?} {publish:?}");
    let bytes = format!("{:?}", b"hunter2");
    assert!(
        !text.contains("hunter2") && !text.contains(&bytes),
        "{text}"
    );
    assert!(
        text.contains("password: ***") && text.contains("authentication_data: ***"),
        "{text}"
    );
}
