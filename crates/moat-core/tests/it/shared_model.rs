//! Shared subscriptions against a list of members: one copy for each group that wants a message, to one of its
//! members, whatever ordinary subscriptions there are besides.

use std::sync::Arc;

use moat_core::Limits;
use moat_policy::Snapshot;
use proptest::prelude::*;

use crate::harness::*;
use crate::naive::matches;

/// Group and filter.
const SHARES: [(&str, &str); 4] = [("g", "x/#"), ("g", "x/a"), ("h", "x/#"), ("h", "+/a")];
const ORDINARY: [&str; 3] = ["x/a", "x/+", "#"];
const TOPICS: [&str; 3] = ["x/a", "x/b", "y/a"];
const CLIENTS: usize = 4;
/// Identifiers of shared subscriptions; those of ordinary ones come behind.
const SHARE_IDS: [u32; 4] = [1, 2, 3, 4];
const ORDINARY_IDS: [u32; 3] = [11, 12, 13];

#[derive(Clone, Debug)]
enum Step {
    Join {
        who: usize,
        share: usize,
        qos: u8,
    },
    Leave {
        who: usize,
        share: usize,
    },
    Subscribe {
        who: usize,
        filter: usize,
        qos: u8,
    },
    /// The session ends with its connection, and a new one begins.
    Reconnect {
        who: usize,
    },
    Publish {
        who: usize,
        topic: usize,
        qos: u8,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = 0..CLIENTS;
    let join = (who.clone(), 0..SHARES.len(), 0..3_u8);
    let subscribe = (who.clone(), 0..ORDINARY.len(), 0..3_u8);
    let publish = (who.clone(), 0..TOPICS.len(), 0..3_u8);
    let step = prop_oneof![
        4 => join.prop_map(|(who, share, qos)| Step::Join { who, share, qos }),
        1 => (who.clone(), 0..SHARES.len()).prop_map(|(who, share)| Step::Leave { who, share }),
        1 => subscribe.prop_map(|(who, filter, qos)| Step::Subscribe { who, filter, qos }),
        1 => who.prop_map(|who| Step::Reconnect { who }),
        5 => publish.prop_map(|(who, topic, qos)| Step::Publish { who, topic, qos }),
    ];
    prop::collection::vec(step, 1..60)
}

struct Groups {
    world: World,
    names: [String; CLIENTS],
    clients: [Client; CLIENTS],
    /// Granted QoS of each client in each share, and of each ordinary subscription.
    members: [[Option<u8>; SHARES.len()]; CLIENTS],
    ordinary: [[Option<u8>; ORDINARY.len()]; CLIENTS],
}

impl Groups {
    fn new(shards: usize) -> Groups {
        let limits = Limits {
            publishes_per_sec_max: 0,
            ..limits()
        };
        let mut world = World::with(shards, limits, Arc::new(Snapshot::allow_all()));
        let name = |who: usize| world.client_id_at(who % shards, ["a", "b", "c", "d"][who]);
        let names: [String; CLIENTS] = std::array::from_fn(name);
        let clients = std::array::from_fn(|who| world.client(V5, &names[who]));
        Groups {
            world,
            names,
            clients,
            members: Default::default(),
            ordinary: Default::default(),
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Join { who, share, qos } => {
                let filter = shared(share);
                let id = Some(SHARE_IDS[share]);
                let client = self.clients[who];
                let reason = self.world.subscribe_with(client, &filter, options(qos), id);
                assert!(!reason.is_error());
                self.members[who][share] = Some(qos);
            }
            Step::Leave { who, share } => {
                self.world.unsubscribe(self.clients[who], &shared(share));
                self.members[who][share] = None;
            }
            Step::Subscribe { who, filter, qos } => {
                let id = Some(ORDINARY_IDS[filter]);
                let client = self.clients[who];
                self.world
                    .subscribe_with(client, ORDINARY[filter], options(qos), id);
                self.ordinary[who][filter] = Some(qos);
            }
            Step::Reconnect { who } => {
                self.world.disconnect(self.clients[who]);
                self.clients[who] = self.world.client(V5, &self.names[who]);
                self.members[who] = Default::default();
                self.ordinary[who] = Default::default();
            }
            Step::Publish { who, topic, qos } => self.publish(who, TOPICS[topic], qos),
        }
    }

    fn publish(&mut self, who: usize, topic: &str, qos: u8) {
        self.world.publish(self.clients[who], topic, "m", qos);
        let mut got: [Vec<Pub>; CLIENTS] = Default::default();
        // An acknowledgement may bring the next message.
        for _ in 0..2 {
            for (client, got) in self.clients.iter().zip(&mut got) {
                got.extend(self.world.read_all(*client));
            }
        }
        for (who, got) in got.iter_mut().enumerate() {
            self.takes_own_copy(who, got, topic, qos);
        }
        for (share, (_, filter)) in SHARES.iter().enumerate() {
            let is_of = |copy: &Pub| copy.subscription_ids == [SHARE_IDS[share]];
            let copies: Vec<(usize, Pub)> = got
                .iter_mut()
                .enumerate()
                .flat_map(|(who, got)| {
                    got.extract_if(.., |copy| is_of(copy))
                        .map(move |copy| (who, copy))
                })
                .collect();
            let is_wanted =
                matches(filter, topic) && self.members.iter().any(|shares| shares[share].is_some());
            assert_eq!(
                copies.len(),
                usize::from(is_wanted),
                "copies for share {share}"
            );
            for (who, copy) in copies {
                let granted = self.members[who][share].expect("only a member gets a copy");
                assert_eq!((copy.qos, copy.retain), (granted.min(qos), false));
            }
        }
        assert!(
            got.iter().all(Vec::is_empty),
            "nothing else is sent: {got:?}"
        );
    }

    /// One copy for all ordinary subscriptions of a client [MQTT-3.3.4-2], [MQTT-3.3.4-4].
    fn takes_own_copy(&self, who: usize, got: &mut Vec<Pub>, topic: &str, qos: u8) {
        let mine = self.ordinary[who].iter().enumerate();
        let matching: Vec<(u32, u8)> = mine
            .filter(|(filter, _)| matches(ORDINARY[*filter], topic))
            .filter_map(|(filter, granted)| Some((ORDINARY_IDS[filter], (*granted)?)))
            .collect();
        let is_ordinary = |copy: &mut Pub| {
            copy.subscription_ids
                .iter()
                .all(|id| *id >= ORDINARY_IDS[0])
        };
        let mut copies: Vec<Pub> = got.extract_if(.., is_ordinary).collect();
        let Some(highest) = matching.iter().map(|(_, granted)| *granted).max() else {
            assert!(
                copies.is_empty(),
                "client {who} has no such subscription: {copies:?}"
            );
            return;
        };
        assert_eq!(copies.len(), 1, "one copy for client {who}");
        let copy = copies.first_mut().expect("there is one");
        copy.subscription_ids.sort_unstable();
        let ids: Vec<u32> = matching.iter().map(|(id, _)| *id).collect();
        assert_eq!((copy.qos, &copy.subscription_ids), (highest.min(qos), &ids));
    }
}

fn shared(share: usize) -> String {
    let (group, filter) = SHARES[share];
    format!("$share/{group}/{filter}")
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn every_group_gets_one_copy_and_only_its_members_do(shards in 1..=3_usize, steps in steps()) {
        let mut groups = Groups::new(shards);
        for step in &steps {
            groups.step(step);
        }
    }
}
