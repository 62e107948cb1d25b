//! Shards that run in any order while members come and go.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Publish { qos: u8 },
    Read { member: usize, acknowledge: bool },
    Lose { member: usize },
    Reconnect { member: usize },
    Carry { from: usize, to: usize },
    Release { from: usize },
    Run { at: usize },
}

const MEMBERS: usize = 4;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let shard = 0..3_usize;
    let member = 0..MEMBERS;
    let step = prop_oneof![
        6 => (0..3_u8).prop_map(|qos| Step::Publish { qos }),
        4 => (member.clone(), any::<bool>())
            .prop_map(|(member, acknowledge)| Step::Read { member, acknowledge }),
        1 => member.clone().prop_map(|member| Step::Lose { member }),
        1 => member.prop_map(|member| Step::Reconnect { member }),
        6 => (shard.clone(), shard.clone()).prop_map(|(from, to)| Step::Carry { from, to }),
        3 => shard.clone().prop_map(|from| Step::Release { from }),
        6 => shard.prop_map(|at| Step::Run { at }),
    ];
    prop::collection::vec(step, 1..120)
}

struct Schedule {
    world: World,
    writer: Client,
    ids: Vec<String>,
    members: Vec<Client>,
    /// QoS of each message, by number.
    published: Vec<u8>,
    /// First deliveries of each message, by number; a repetition with DUP is not one.
    seen: BTreeMap<usize, usize>,
}

impl Schedule {
    fn new() -> Schedule {
        let mut world = world(3);
        let (members, _) = crew(&mut world, MEMBERS, 2);
        // Of a version that has no Receive Maximum: it does not wait for its acknowledgements.
        let writer = world.client(V311, "hasty");
        let ids = (0..MEMBERS)
            .map(|n| world.client_id_at(n % 3, &format!("member-{n}-")))
            .collect();
        world.automatic = false;
        Schedule {
            world,
            writer,
            ids,
            members,
            published: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Publish { qos } => {
                let text = self.published.len().to_string();
                self.published.push(qos);
                let id = self.world.next_id(self.writer);
                let publish = message(TOPIC, &text, qos, id);
                self.world.sent(self.writer, &Packet::Publish(publish));
                self.release();
            }
            Step::Read {
                member,
                acknowledge,
            } => self.read(member, acknowledge),
            Step::Lose { member } => {
                self.read(member, true);
                if !self.world.is_closed(self.members[member]) {
                    self.world.lose(self.members[member]);
                }
            }
            Step::Reconnect { member } => {
                self.read(member, true);
                self.members[member] = self.world.lasting(V5, &self.ids[member]);
            }
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

    /// Goes on with the writer's messages of QoS 2.
    fn release(&mut self) {
        for got in self.world.read(self.writer) {
            if let Got::PubRec(id, _) = got {
                self.world.pubrel(self.writer, id);
            }
        }
    }

    fn read(&mut self, member: usize, acknowledge: bool) {
        let client = self.members[member];
        if self.world.is_closed(client) {
            return;
        }
        for got in self.world.read(client) {
            match got {
                Got::Publish(publish) => {
                    if !publish.dup {
                        *self
                            .seen
                            .entry(publish.text().parse().unwrap())
                            .or_default() += 1;
                    }
                    match (acknowledge, publish.qos) {
                        (true, 1) => self.world.puback(client, publish.id),
                        (true, 2) => self.world.pubrec(client, publish.id),
                        _ => {}
                    }
                }
                Got::PubRel(id, _) => self.world.pubcomp(client, id),
                _ => {}
            }
        }
    }

    /// Everybody is online and acknowledges everything.
    fn finish(&mut self) {
        for member in 0..MEMBERS {
            self.read(member, true);
            self.members[member] = self.world.lasting(V5, &self.ids[member]);
        }
        self.world.automatic = true;
        self.world.settle();
        for _ in 0..self.published.len() + MEMBERS {
            for member in 0..MEMBERS {
                self.read(member, true);
            }
            self.world.settle();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn qos_1_and_2_reach_exactly_one_member_and_qos_0_at_most_one(steps in steps()) {
        let mut schedule = Schedule::new();
        for step in &steps {
            schedule.step(step);
        }
        schedule.finish();
        for (number, qos) in schedule.published.iter().enumerate() {
            let seen = schedule.seen.get(&number).copied().unwrap_or(0);
            if *qos == 0 {
                prop_assert!(seen <= 1, "message {} of QoS 0 seen {} times", number, seen);
            } else {
                prop_assert_eq!(seen, 1, "message {} of QoS {}", number, qos);
            }
        }
        let waiting: usize = schedule.world.shards.iter().map(|s| s.sizes().shared_waiting).sum();
        prop_assert_eq!(waiting, 0);
    }
}
