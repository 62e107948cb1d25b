//! Three clients of any version against a broker made of lists: every message each of them gets, and when.
//!
//! What is under way when a connection breaks is the matter of `model`; here everybody acknowledges at once.

use moat_codec::{
    Connect, Disconnect, Publish, QoS, ReasonCode, RetainHandling, SubscriptionOptions, Version,
};
use moat_core::Limits;
use moat_policy::Snapshot;
use proptest::prelude::*;
use std::sync::Arc;

use crate::harness::*;
use crate::naive::{
    Arrival, Copy, EXPIRY_MAX_SECS, FILTERS, Forbidden, Message, Naive, TOPICS, WILL_TOPICS, Will,
    Wish,
};

#[derive(Clone, Debug)]
enum Step {
    Connect {
        who: usize,
        arrival: Arrival,
    },
    Lose {
        who: usize,
    },
    Disconnect {
        who: usize,
        is_normal: bool,
        expiry_secs: Option<u32>,
    },
    Publish {
        who: usize,
        message: Message,
        expiry_secs: Option<u32>,
    },
    Subscribe {
        who: usize,
        wish: Wish,
    },
    Unsubscribe {
        who: usize,
        filter: &'static str,
    },
    Pass {
        secs: u64,
    },
    Policy {
        forbidden: Forbidden,
    },
}

fn who() -> impl Strategy<Value = usize> {
    0..WILL_TOPICS.len()
}

fn expiry() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![2 => Just(None), 1 => prop::sample::select(vec![1, 5, 50]).prop_map(Some)]
}

fn will(who: usize) -> impl Strategy<Value = Will> {
    let delay = prop::sample::select(vec![0, 0, 3, 10]);
    let flags = (any::<bool>(), prop::bool::weighted(0.2));
    (0..3_u8, flags, delay, expiry()).prop_map(
        move |(qos, (retain, is_empty), delay_secs, expiry_secs)| {
            let payload = if is_empty {
                String::new()
            } else {
                format!("will of {who}")
            };
            let topic = WILL_TOPICS[who];
            let message = Message {
                topic,
                payload,
                qos,
                retain,
                expires_at: None,
            };
            Will {
                message,
                expiry_secs,
                delay_secs,
            }
        },
    )
}

fn connect() -> impl Strategy<Value = Step> {
    let version = prop::sample::select(vec![V5, V5, V311, V31]);
    let expiry = prop::sample::select(vec![0_u32, 4, 10, 100, u32::MAX]);
    who().prop_flat_map(move |who| {
        let will = prop::option::of(will(who));
        (version.clone(), any::<bool>(), expiry.clone(), will).prop_map(
            move |(version, clean, secs, mut will)| {
                let expiry_secs = match (version, clean) {
                    (Version::V5, _) => secs,
                    (_, true) => 0,
                    (_, false) => u32::MAX,
                };
                if let Some(will) = will.as_mut().filter(|_| version != V5) {
                    (will.delay_secs, will.expiry_secs) = (0, None);
                }
                Step::Connect {
                    who,
                    arrival: Arrival {
                        version,
                        clean,
                        expiry_secs,
                        will,
                    },
                }
            },
        )
    })
}

fn publish() -> impl Strategy<Value = Step> {
    let flags = (prop::bool::weighted(0.3), prop::bool::weighted(0.1));
    (who(), 0..TOPICS.len(), 0..3_u8, flags, expiry()).prop_map(
        |(who, topic, qos, (retain, is_empty), expiry_secs)| {
            let payload = if is_empty {
                String::new()
            } else {
                "m".to_owned()
            };
            let topic = TOPICS[topic];
            let message = Message {
                topic,
                payload,
                qos,
                retain,
                expires_at: None,
            };
            Step::Publish {
                who,
                message,
                expiry_secs,
            }
        },
    )
}

fn subscribe() -> impl Strategy<Value = Step> {
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.3));
    let id = prop::option::of(prop::sample::select(vec![1_u32, 2, 300]));
    (who(), 0..FILTERS.len(), 0..3_u8, flags, 0..3_u8, id).prop_map(
        |(who, filter, qos, (no_local, retain_as_published), retain_handling, id)| {
            let filter = FILTERS[filter];
            let wish = Wish {
                filter,
                qos,
                no_local,
                retain_as_published,
                retain_handling,
                id,
            };
            Step::Subscribe { who, wish }
        },
    )
}

fn policy_step() -> impl Strategy<Value = Step> {
    let all = vec![
        Forbidden::Nothing,
        Forbidden::Nothing,
        Forbidden::Publish("x/b"),
        Forbidden::Retain("x/a"),
        Forbidden::Subscribe("x/b"),
        Forbidden::Subscribe("w/0"),
        Forbidden::Wills,
    ];
    prop::sample::select(all).prop_map(|forbidden| Step::Policy { forbidden })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = (
        who(),
        any::<bool>(),
        prop::option::of(prop::sample::select(vec![0_u32, 7, 50])),
    );
    let step = prop_oneof![
        4 => connect(),
        1 => who().prop_map(|who| Step::Lose { who }),
        1 => end.prop_map(|(who, is_normal, expiry_secs)| Step::Disconnect { who, is_normal, expiry_secs }),
        7 => publish(),
        5 => subscribe(),
        1 => (who(), 0..FILTERS.len())
            .prop_map(|(who, filter)| Step::Unsubscribe { who, filter: FILTERS[filter] }),
        2 => prop::sample::select(vec![1_u64, 2, 4, 9, 60, 1001]).prop_map(|secs| Step::Pass { secs }),
        1 => policy_step(),
    ];
    prop::collection::vec(step, 1..50)
}

/// moat and the broker of lists, side by side.
struct Pair {
    naive: Naive,
    world: World,
    names: [String; WILL_TOPICS.len()],
    clients: [Option<Client>; WILL_TOPICS.len()],
    /// What each client got in this step.
    got: [Vec<Pub>; WILL_TOPICS.len()],
    messages: usize,
    is_alone: bool,
    /// The will of a connection that was taken over may come by way of another shard, and reach its own client at
    /// QoS 0 although that was away when it was published. Either is right, so it is not compared.
    own_will: Option<&'static str>,
}

impl Pair {
    fn new(shards: usize) -> Pair {
        let limits = Limits {
            publishes_per_sec_max: 0,
            keep_alive_secs_max: 0,
            session_expiry_secs_max: EXPIRY_MAX_SECS,
            ..limits()
        };
        let world = World::with(shards, limits, Arc::new(Snapshot::allow_all()));
        let name = |who: usize| world.client_id_at(who % shards, ["a", "b", "c"][who]);
        Pair {
            naive: Naive::default(),
            names: std::array::from_fn(name),
            world,
            clients: [None; WILL_TOPICS.len()],
            got: Default::default(),
            messages: 0,
            is_alone: shards == 1,
            own_will: None,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Connect { who, arrival } => self.connect(*who, arrival),
            Step::Lose { who } => {
                if let Some(client) = self.clients[*who].take() {
                    self.world.lose(client);
                    self.naive.connection_ends(*who);
                }
            }
            Step::Disconnect {
                who,
                is_normal,
                expiry_secs,
            } => {
                self.disconnect(*who, *is_normal, *expiry_secs);
            }
            Step::Publish {
                who,
                message,
                expiry_secs,
            } => {
                self.publish(*who, message, *expiry_secs);
            }
            Step::Subscribe { who, wish } => self.subscribe(*who, wish),
            Step::Unsubscribe { who, filter } => {
                if let Some(client) = self.clients[*who] {
                    let existed = self.naive.unsubscribe(*who, filter);
                    let reasons = self.world.unsubscribe(client, filter);
                    let told = reasons == [ReasonCode::Success];
                    // 3.x has no reason codes in UNSUBACK.
                    assert!(client.version != V5 || told == existed, "{reasons:?}");
                }
            }
            Step::Pass { secs } => {
                self.world.pass_secs(*secs);
                self.naive.pass(*secs);
            }
            Step::Policy { forbidden } => {
                self.naive.set_policy(*forbidden);
                self.world.set_policy(&snapshot(*forbidden));
            }
        }
        self.compare();
    }

    fn connect(&mut self, who: usize, arrival: &Arrival) {
        let expected = self.naive.connect(who, arrival.clone());
        let mut connect = Connect::new(arrival.version, &self.names[who]);
        connect.clean_start = arrival.clean;
        if arrival.version.is_v5() {
            connect.properties.session_expiry_secs = Some(arrival.expiry_secs);
        }
        connect.will = arrival.will.as_ref().map(|planned| moat_codec::Will {
            qos: QoS::from_bits(planned.message.qos).unwrap(),
            retain: planned.message.retain,
            delay_secs: planned.delay_secs,
            message_expiry_secs: planned.expiry_secs,
            ..crate::harness::will(planned.message.topic, &planned.message.payload)
        });
        let opened = self.world.open(ANNA, &connect);
        let Some(present) = expected else {
            let refused = opened.unwrap_err();
            assert_eq!(refused.reason, ReasonCode::NotAuthorized);
            return;
        };
        self.own_will = Some(WILL_TOPICS[who]).filter(|_| !self.is_alone);
        let before = self.clients[who].replace(opened.unwrap());
        if let Some(before) = before {
            // [MQTT-3.1.4-3]
            assert!(self.world.is_closed(before));
            if before.version == V5 {
                assert_eq!(self.world.goodbye(before), ReasonCode::SessionTakenOver);
            }
        }
        let granted = self.world.connack(self.clients[who].unwrap());
        // 3.1 cannot say so.
        assert_eq!(granted.session_present, present && arrival.version != V31);
    }

    fn disconnect(&mut self, who: usize, is_normal: bool, expiry_secs: Option<u32>) {
        let Some(client) = self.clients[who].take() else {
            return;
        };
        let is_v5 = client.version == V5;
        let expiry_secs = expiry_secs.filter(|_| is_v5 && self.naive.may_change_expiry(who));
        let is_normal = is_normal || !is_v5;
        let reason = if is_normal {
            ReasonCode::NORMAL_DISCONNECTION
        } else {
            ReasonCode::DisconnectWithWill
        };
        let mut goodbye = Disconnect::new(reason);
        goodbye.session_expiry_secs = expiry_secs;
        self.world.disconnect_with(client, goodbye);
        self.naive.disconnect(who, is_normal, expiry_secs);
    }

    fn publish(&mut self, who: usize, planned: &Message, expiry_secs: Option<u32>) {
        let Some(client) = self.clients[who] else {
            return;
        };
        let expiry_secs = expiry_secs.filter(|_| client.version == V5);
        let mut message = planned.clone();
        message.expires_at = expiry_secs.map(|secs| self.naive.now() + u64::from(secs));
        if !message.payload.is_empty() {
            self.messages += 1;
            message.payload = format!("m{}", self.messages);
        }
        let allowed = self.naive.publish(who, &message);
        let reason = self.world.publish_with(
            client,
            message.topic,
            &message.payload,
            message.qos,
            |publish: &mut Publish<'_>| {
                publish.retain = message.retain;
                publish.message_expiry_secs = expiry_secs;
            },
        );
        if client.version == V5 && message.qos > 0 {
            assert_eq!(reason == ReasonCode::NotAuthorized, !allowed, "{reason:?}");
        } else {
            assert!(!reason.is_error());
        }
    }

    fn subscribe(&mut self, who: usize, planned: &Wish) {
        let Some(client) = self.clients[who] else {
            return;
        };
        let mut wish = planned.clone();
        if client.version != V5 {
            (wish.no_local, wish.retain_as_published) = (false, false);
            (wish.retain_handling, wish.id) = (0, None);
        }
        let options = SubscriptionOptions {
            no_local: wish.no_local,
            retain_as_published: wish.retain_as_published,
            retain_handling: [
                RetainHandling::SendAlways,
                RetainHandling::SendIfNew,
                RetainHandling::DoNotSend,
            ][usize::from(wish.retain_handling)],
            ..options(wish.qos)
        };
        let allowed = self.naive.subscribe(who, wish.clone());
        if !allowed && client.version == V31 {
            self.world
                .send_subscribe(client, &[(wish.filter, options)], wish.id);
            assert!(self.world.is_closed(client));
            self.clients[who] = None;
            return;
        }
        let reason = self
            .world
            .subscribe_with(client, wish.filter, options, wish.id);
        assert_eq!(!reason.is_error(), allowed);
    }

    /// Everybody reads and acknowledges; both brokers must have sent the same.
    fn compare(&mut self) {
        // An acknowledgement may bring the next message, to somebody else even.
        for _ in 0..2 {
            for who in 0..self.clients.len() {
                if let Some(client) = self.clients[who] {
                    let messages = self.world.read_all(client);
                    self.got[who].extend(messages);
                }
            }
        }
        let own_will = self.own_will.take();
        for (who, will_topic) in WILL_TOPICS.into_iter().enumerate() {
            let expected = std::mem::take(&mut self.naive.sent[who]);
            let mut got = std::mem::take(&mut self.got[who]);
            if own_will == Some(will_topic) {
                got.retain(|message| message.qos > 0 || message.topic != will_topic);
            }
            assert_eq!(self.naive.is_online(who), self.clients[who].is_some());
            let Some(version) = self.naive.version(who) else {
                assert!(got.is_empty());
                continue;
            };
            let expected: Vec<Pub> = expected.iter().map(|copy| seen(copy, version)).collect();
            // Messages of different topics have no order between them.
            assert_eq!(by_topic(got), by_topic(expected), "what client {who} got");
        }
        assert_eq!(self.world.sessions(), self.naive.sessions());
    }

    /// At the end: what is retained, seen by somebody new.
    fn finish(mut self) {
        self.naive.set_policy(Forbidden::Nothing);
        self.world.set_policy(&snapshot(Forbidden::Nothing));
        let witness = self.world.client(V5, "witness");
        self.world.subscribe(witness, "#", 0);
        assert_eq!(self.world.read_all(witness).len(), self.naive.retained());
    }
}

/// A copy as a client of this version sees it.
fn seen(copy: &Copy, version: Version) -> Pub {
    let is_v5 = version == V5;
    let left = copy.left.map(|secs| u32::try_from(secs).unwrap());
    let mut ids = copy.ids.clone();
    ids.sort_unstable();
    Pub {
        topic: copy.message.topic.to_owned(),
        alias: None,
        payload: copy.message.payload.clone().into_bytes(),
        qos: copy.qos,
        dup: false,
        retain: copy.retain,
        id: 0,
        expiry: left.filter(|_| is_v5),
        subscription_ids: if is_v5 { ids } else { Vec::new() },
    }
}

fn by_topic(mut messages: Vec<Pub>) -> Vec<Pub> {
    for message in &mut messages {
        message.id = 0;
        message.subscription_ids.sort_unstable();
    }
    messages.sort_by(|a, b| a.topic.cmp(&b.topic));
    messages
}

fn snapshot(forbidden: Forbidden) -> Arc<Snapshot> {
    match forbidden {
        Forbidden::Nothing => Arc::new(Snapshot::allow_all()),
        Forbidden::Publish(topic) => policy_denying("\"publish\"", topic),
        Forbidden::Retain(topic) => policy_denying("\"retain\"", topic),
        Forbidden::Subscribe(topic) => policy_denying("\"subscribe\"", topic),
        Forbidden::Wills => policy_denying("\"publish\"", "w/#"),
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn everybody_gets_what_a_broker_of_lists_would_send(shards in 1..=2_usize, steps in steps()) {
        let mut pair = Pair::new(shards);
        for step in &steps {
            pair.step(step);
        }
        pair.finish();
    }
}
