//! Three shards that run in any order: what a subscriber sees does not depend on it.

use std::sync::Arc;

use moat_codec::Packet;
use moat_policy::Snapshot;
use proptest::prelude::*;

use crate::harness::*;

#[derive(Clone, Debug)]
enum Step {
    Publish {
        retain: bool,
    },
    /// A further reader subscribes, in this shard.
    Subscribe {
        shard: usize,
    },
    Reconnect,
    Carry {
        from: usize,
        to: usize,
    },
    Release {
        from: usize,
    },
    Run {
        at: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let shard = 0..3_usize;
    let step = prop_oneof![
        4 => any::<bool>().prop_map(|retain| Step::Publish { retain }),
        1 => shard.clone().prop_map(|shard| Step::Subscribe { shard }),
        1 => Just(Step::Reconnect),
        6 => (shard.clone(), shard.clone()).prop_map(|(from, to)| Step::Carry { from, to }),
        3 => shard.clone().prop_map(|from| Step::Release { from }),
        6 => shard.prop_map(|at| Step::Run { at }),
    ];
    prop::collection::vec(step, 1..80)
}

struct Schedule {
    world: World,
    topic: String,
    writer_id: String,
    writer: Client,
    /// The first one has subscribed before anything is published.
    readers: Vec<Client>,
    published: u16,
}

impl Schedule {
    fn new() -> Schedule {
        let limits = moat_core::Limits {
            publishes_per_sec_max: 0,
            ..limits()
        };
        let mut world = World::with(3, limits, Arc::new(Snapshot::allow_all()));
        let topic = world.topic_of(1, "t");
        let writer_id = world.client_id_at(0, "writer");
        let writer = world.lasting(V5, &writer_id);
        let reader_id = world.client_id_at(2, "reader");
        let reader = world.client(V5, &reader_id);
        world.subscribe(reader, &topic, 0);
        world.automatic = false;
        Schedule {
            world,
            topic,
            writer_id,
            writer,
            readers: vec![reader],
            published: 0,
        }
    }

    fn run(&mut self, steps: &[Step], only_retained: bool) {
        for step in steps {
            match *step {
                Step::Publish { retain } => self.publish(retain || only_retained),
                Step::Subscribe { shard } => self.subscribe(shard),
                Step::Reconnect => self.writer = self.world.lasting(V5, &self.writer_id),
                Step::Carry { from, to } => {
                    self.world.carry(from, to);
                }
                Step::Release { from } => {
                    self.world.release_confirmations(from);
                }
                Step::Run { at } => {
                    self.world.run_inbox(at);
                }
            }
        }
        self.world.settle();
    }

    fn publish(&mut self, retain: bool) {
        self.published += 1;
        let text = self.published.to_string();
        let mut publish = message(&self.topic, &text, 0, 0);
        publish.retain = retain;
        self.world.sent(self.writer, &Packet::Publish(publish));
    }

    fn subscribe(&mut self, shard: usize) {
        let prefix = format!("late-{}-", self.readers.len());
        let id = self.world.client_id_at(shard, &prefix);
        let reader = self.world.client(V5, &id);
        let topic = self.topic.clone();
        self.world
            .send_subscribe(reader, &[(&topic, options(0))], None);
        self.readers.push(reader);
    }

    /// The numbers a reader got, with their retain flags.
    fn seen(&mut self, reader: Client) -> Vec<(bool, u16)> {
        let mut seen = Vec::new();
        for got in self.world.read(reader) {
            if let Got::Publish(publish) = got {
                seen.push((publish.retain, publish.text().parse().unwrap()));
            }
        }
        seen
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn a_subscriber_sees_every_message_of_a_publisher_in_order(steps in steps()) {
        let mut schedule = Schedule::new();
        schedule.run(&steps, false);
        let first = schedule.readers[0];
        let seen: Vec<u16> = schedule.seen(first).into_iter().map(|(_, n)| n).collect();
        let expected: Vec<u16> = (1..=schedule.published).collect();
        prop_assert_eq!(seen, expected);
        for reader in schedule.readers.clone() {
            let live = schedule.seen(reader).into_iter().filter(|(retain, _)| !retain);
            let live: Vec<u16> = live.map(|(_, n)| n).collect();
            prop_assert!(live.is_sorted(), "{:?}", live);
        }
    }

    #[test]
    fn no_subscriber_sees_an_older_retained_value_after_a_newer_one(steps in steps()) {
        let mut schedule = Schedule::new();
        schedule.run(&steps, true);
        let newest = schedule.published;
        for (n, reader) in schedule.readers.clone().into_iter().enumerate() {
            let seen = schedule.seen(reader);
            let numbers: Vec<u16> = seen.iter().map(|(_, n)| *n).collect();
            prop_assert_eq!(numbers.last().copied().unwrap_or(0), newest, "reader {}", n);
            let (mut newest_live, mut newest_seen) = (0, 0);
            for (retain, number) in seen {
                if retain {
                    prop_assert!(number >= newest_live, "{:?}", numbers);
                } else {
                    newest_live = number;
                }
                newest_seen = newest_seen.max(number);
            }
            prop_assert_eq!(newest_seen, newest);
        }
    }
}
