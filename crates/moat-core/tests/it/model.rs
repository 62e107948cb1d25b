//! Two clients that behave, connections that do not: what was acknowledged arrives, QoS 2 exactly
//! once, and in order.

use std::collections::HashSet;
use std::sync::Arc;

use moat_codec::{Packet, Version};
use moat_core::Limits;
use moat_policy::Snapshot;
use proptest::prelude::*;

use crate::harness::*;

#[derive(Clone, Debug)]
enum Step {
    Publish {
        who: usize,
        qos: u8,
        retain: bool,
    },
    /// Reads and answers at most this many packets.
    Read {
        who: usize,
        packets: usize,
    },
    Lose {
        who: usize,
    },
    Connect {
        who: usize,
    },
    Pass {
        secs: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = 0..2_usize;
    let step = prop_oneof![
        5 => (who.clone(), 1..=2_u8, prop::bool::weighted(0.2))
            .prop_map(|(who, qos, retain)| Step::Publish { who, qos, retain }),
        5 => (who.clone(), 1..8_usize).prop_map(|(who, packets)| Step::Read { who, packets }),
        1 => who.clone().prop_map(|who| Step::Lose { who }),
        2 => who.prop_map(|who| Step::Connect { who }),
        1 => (0..20_u64).prop_map(|secs| Step::Pass { secs }),
    ];
    prop::collection::vec(step, 1..120)
}

/// A message of a client that the server has not completed.
#[derive(Clone)]
struct Unfinished {
    id: u16,
    text: String,
    qos: u8,
    retain: bool,
    /// Its PUBREC has come.
    received: bool,
}

/// A client with a persistent state, as the specification wants it.
struct Person {
    name: String,
    version: Version,
    client: Option<Client>,
    unfinished: Vec<Unfinished>,
    published: [Vec<String>; 3],
    last_id: u16,
    /// Identifiers of QoS 2 messages that await PUBREL.
    taken: HashSet<u16>,
    got: Vec<(u8, String)>,
}

struct Model {
    world: World,
    people: Vec<Person>,
}

impl Model {
    fn new(shards: usize, versions: [Version; 2]) -> Model {
        let limits = Limits {
            publishes_per_sec_max: 0,
            inflight_messages_max: 4,
            out_buffer_bytes_max: 60,
            ..limits()
        };
        let world = World::with(shards, limits, Arc::new(Snapshot::allow_all()));
        let person = |n: usize| Person {
            name: world.client_id_at(n % shards, ["a", "b"][n]),
            version: versions[n],
            client: None,
            unfinished: Vec::new(),
            published: Default::default(),
            last_id: 0,
            taken: HashSet::new(),
            got: Vec::new(),
        };
        let people = vec![person(0), person(1)];
        let mut model = Model { world, people };
        for who in 0..2 {
            model.connect(who);
            let client = model.people[who].client.unwrap();
            model.world.subscribe(client, "x/#", 2);
        }
        model
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Publish { who, qos, retain } => self.publish(who, qos, retain),
            Step::Read { who, packets } => {
                self.read(who, packets);
            }
            Step::Lose { who } => {
                if let Some(client) = self.people[who].client.take() {
                    self.world.lose(client);
                }
            }
            Step::Connect { who } => self.connect(who),
            Step::Pass { secs } => {
                self.world.pass_secs(secs);
            }
        }
    }

    fn publish(&mut self, who: usize, qos: u8, retain: bool) {
        let person = &mut self.people[who];
        if person.client.is_none() || person.unfinished.len() >= 4 {
            return;
        }
        person.last_id += 1;
        let list = &mut person.published[usize::from(qos)];
        let text = format!("{who}-{}", list.len());
        list.push(text.clone());
        let message = Unfinished {
            id: person.last_id,
            text,
            qos,
            retain,
            received: false,
        };
        person.unfinished.push(message.clone());
        self.send(who, &message, false);
    }

    fn send(&mut self, who: usize, unfinished: &Unfinished, dup: bool) {
        let client = self.people[who].client.unwrap();
        let mut publish = message("x/t", &unfinished.text, unfinished.qos, unfinished.id);
        publish.retain = unfinished.retain;
        publish.dup = dup;
        self.world.sent(client, &Packet::Publish(publish));
    }

    /// A new connection, also in place of one that is there, and the client's own redelivery.
    fn connect(&mut self, who: usize) {
        let (name, version) = (self.people[who].name.clone(), self.people[who].version);
        let client = self.world.connect(&lasting(version, &name));
        self.people[who].client = Some(client);
        for message in self.people[who].unfinished.clone() {
            if message.received {
                self.world.pubrel(client, message.id);
            } else {
                self.send(who, &message, true);
            }
        }
    }

    /// Handles what has come, at most `packets`; the rest is lost with its connection, as what a
    /// crashing client had not handled is. Returns whether anything had come.
    fn read(&mut self, who: usize, packets: usize) -> bool {
        let Some(client) = self.people[who].client else {
            return false;
        };
        let mut some = false;
        for _ in 0..packets {
            let Some(got) = self.world.read_one(client) else {
                break;
            };
            some = true;
            self.handle(who, client, got);
        }
        some
    }

    fn handle(&mut self, who: usize, client: Client, got: Got) {
        let person = &mut self.people[who];
        match got {
            Got::ConnAck(_) => {}
            Got::Publish(publish) => {
                let new = publish.qos != 2 || person.taken.insert(publish.id);
                if new {
                    person.got.push((publish.qos, publish.text().to_owned()));
                }
                match publish.qos {
                    1 => self.world.puback(client, publish.id),
                    _ => self.world.pubrec(client, publish.id),
                }
            }
            Got::PubRel(id, _) => {
                person.taken.remove(&id);
                self.world.pubcomp(client, id);
            }
            Got::PubAck(id, _) | Got::PubComp(id, _) => person.unfinished.retain(|m| m.id != id),
            Got::PubRec(id, _) => {
                for message in person.unfinished.iter_mut().filter(|m| m.id == id) {
                    message.received = true;
                }
                self.world.pubrel(client, id);
            }
            other => panic!("{other:?}"),
        }
    }

    fn finish(&mut self) {
        for who in 0..2 {
            self.connect(who);
        }
        while self.read(0, 10) | self.read(1, 10) {}
        for (who, person) in self.people.iter().enumerate() {
            assert!(person.unfinished.is_empty(), "{who} waits for answers");
            let client = person.client.unwrap();
            let session = self.world.shards[client.shard].session(client.at).unwrap();
            let drained = session.outbound.as_ref().is_none_or(|o| o.is_empty());
            assert!(drained, "{who} is owed something");
        }
    }

    fn check(&self) {
        for reader in &self.people {
            for (who, writer) in self.people.iter().enumerate() {
                let of = |qos: u8| -> Vec<&str> {
                    let own = |(q, text): &&(u8, String)| {
                        *q == qos && text.starts_with(&format!("{who}-"))
                    };
                    reader
                        .got
                        .iter()
                        .filter(own)
                        .map(|(_, text)| &**text)
                        .collect()
                };
                assert_eq!(of(2), writer.published[2], "exactly once and in order");
                let mut seen = HashSet::new();
                let mut first = of(1);
                first.retain(|text| seen.insert(*text));
                assert_eq!(first, writer.published[1], "at least once and in order");
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn nothing_acknowledged_is_lost_and_qos_2_comes_exactly_once_in_order(
        shards in 1..=2_usize,
        versions in prop::sample::select(vec![[V5, V5], [V311, V5], [V31, V311]]),
        steps in steps(),
    ) {
        let mut model = Model::new(shards, versions);
        for step in &steps {
            model.step(step);
        }
        model.finish();
        model.check();
    }
}
