//! Sequences from a seed: what clients do, right and wrong.

use moat_codec::Version;

use crate::dice::Dice;
use crate::mosquitto::{PASSWORD, USER};
use crate::mutate::{bent, wrong_packet};
use crate::scenario;
use crate::sequence::{Answer, Habit, SLOTS, Sequence, Step};
use crate::shape::{Property, Shape, pair, string, varint};

/// Levels below the nonce that messages go to.
const NAMES: [&str; 7] = ["a", "b", "a/b", "c/d", "w", "s", ""];
const FILTERS: [&str; 10] = [
    "t/@@NONCE@/a",
    "t/@@NONCE@/+",
    "t/@@NONCE@/#",
    "t/@@NONCE@/+/b",
    "+/@@NONCE@/a",
    "t/@@NONCE@/a/#",
    "+/@@NONCE@/#",
    "$d/@@NONCE@/#",
    "t/@@NONCE@/w",
    SHARED,
];
/// Filters of which no topic matches two.
const APART: [&str; 7] = [
    "t/@@NONCE@/a",
    "t/@@NONCE@/b",
    "t/@@NONCE@/+/b",
    "t/@@NONCE@/w/#",
    "t/@@NONCE@/c/#",
    "$d/@@NONCE@/#",
    SHARED,
];
/// Of a group with one member: the G is the member's place.
const SHARED: &str = "$share/G/t/@@NONCE@/s/#";
const BAD_FILTERS: [&str; 5] = [
    "t/@@NONCE@/a#",
    "t/@@NONCE@/#/a",
    "",
    "t/@@NONCE@/a+",
    "$share/g",
];
/// Out of a hundred sequences, those whose filters overlap.
const OVERLAP_PERCENT: usize = 30;
/// Out of a hundred sequences, those that are not drawn: what chance does not find.
const SCENARIO_PERCENT: usize = 1;
/// Filters and names that a sequence likes best.
const LIKED: usize = 3;
/// Out of a hundred filters and names, those that are among them.
const LIKED_PERCENT: usize = 75;
/// Out of a hundred sequences, those that bend something.
const BENT_PERCENT: usize = 60;
/// Out of a hundred steps of such a sequence, those that are bent.
const BENT_STEP_PERCENT: usize = 15;

/// What the generator knows of a connection it has opened.
struct Client {
    version: Version,
    next_id: u16,
    last_id: u16,
    /// QoS 2 messages it has yet to release.
    unreleased: Vec<u16>,
    habit: Habit,
    is_open: bool,
}

struct Generator {
    dice: Dice,
    steps: Vec<Step>,
    clients: Vec<Client>,
    is_bent: bool,
    overlaps: bool,
    /// The filters and names this sequence likes best: so that what it does has to do with each other.
    liked: [usize; LIKED],
    messages: usize,
}

/// The sequence of a seed.
pub(crate) fn sequence(seed: u64) -> Sequence {
    let mut dice = Dice::new(seed);
    let is_bent = dice.percent(BENT_PERCENT);
    let overlaps = dice.percent(OVERLAP_PERCENT);
    if dice.percent(SCENARIO_PERCENT) {
        let steps = scenario::steps(&mut dice);
        return Sequence { seed, steps };
    }
    let liked = std::array::from_fn(|_| dice.below(APART.len()));
    let mut generator = Generator {
        liked,
        dice,
        overlaps,
        steps: Vec::new(),
        clients: Vec::new(),
        is_bent,
        messages: 0,
    };
    generator.all();
    Sequence {
        seed,
        steps: generator.steps,
    }
}

impl Generator {
    fn all(&mut self) {
        let count = 1 + self.dice.below(3);
        for slot in 0..count {
            let version = self.version();
            self.clients.push(Client {
                version,
                next_id: 1,
                last_id: 1,
                unreleased: Vec::new(),
                habit: Habit::Answers,
                is_open: false,
            });
            self.open(slot);
        }
        for _ in 0..4 + self.dice.below(14) {
            let slot = self.dice.below(count);
            self.act(slot);
        }
        if self.dice.percent(50) {
            self.return_and_witness(count);
        }
    }

    fn version(&mut self) -> Version {
        use Version::{V5, V31, V311};
        self.dice.pick(&[V5, V5, V5, V5, V5, V311, V311, V311, V31])
    }

    fn act(&mut self, slot: usize) {
        if !self.clients[slot].is_open {
            return self.open(slot);
        }
        match self.dice.below(100) {
            0..=21 => {
                let shape = self.subscribe(slot);
                self.send(slot, shape);
            }
            22..=26 => {
                let shape = self.unsubscribe(slot);
                self.send(slot, shape);
            }
            27..=62 => {
                let shape = self.publish(slot);
                self.send(slot, shape);
            }
            63..=70 => self.release(slot),
            71..=78 => self.answer(slot),
            79..=80 => self.send(slot, Shape::new(0xC0)),
            81..=83 => self.stray_ack(slot),
            84..=88 => self.disconnect(slot),
            89..=92 => self.close(slot),
            93..=95 => self.open(slot),
            _ if self.is_bent => {
                let bytes = wrong_packet(&mut self.dice);
                self.steps.push(Step::Send { slot, bytes });
            }
            _ => {}
        }
    }

    fn send(&mut self, slot: usize, shape: Shape) {
        if !self.is_bent || !self.dice.percent(BENT_STEP_PERCENT) {
            let bytes = shape.bytes();
            return self.steps.push(Step::Send { slot, bytes });
        }
        let (bytes, is_whole) = bent(shape, &mut self.dice);
        self.steps.push(Step::Send { slot, bytes });
        if !is_whole {
            self.close(slot);
        }
    }

    fn open(&mut self, slot: usize) {
        if self.dice.percent(5) {
            self.clients[slot].version = self.version();
        }
        let habit = self
            .dice
            .pick(&[Habit::Answers, Habit::Answers, Habit::Waits, Habit::Waits]);
        let habit = if self.dice.percent(10) {
            Habit::Holds
        } else {
            habit
        };
        let client = &mut self.clients[slot];
        client.habit = habit;
        client.is_open = true;
        let shape = self.connect(slot);
        let (bytes, is_whole) = if self.is_bent && self.dice.percent(10) {
            if self.dice.percent(15) {
                (wrong_packet(&mut self.dice), true)
            } else {
                bent(shape, &mut self.dice)
            }
        } else {
            (shape.bytes(), true)
        };
        self.steps.push(Step::Open { slot, habit, bytes });
        if !is_whole {
            self.close(slot);
        }
    }

    fn close(&mut self, slot: usize) {
        self.clients[slot].is_open = false;
        self.steps.push(Step::Close { slot });
    }

    fn connect(&mut self, slot: usize) -> Shape {
        let dice = &mut self.dice;
        let version = self.clients[slot].version;
        let whose = if dice.percent(10) {
            dice.below(3)
        } else {
            slot
        };
        // One error at a time: which of two a broker finds first says nothing.
        let has_password = !self.is_bent && dice.percent(3);
        let mut client_id = format!("{}{whose}@@NONCE@", if has_password { 'u' } else { 'c' });
        let clean = dice.percent(55);
        if dice.percent(4) {
            client_id.clear();
        }
        let keep_alive = dice.pick(&[0_u16, 60, 60, 65_535]);
        let will = dice.percent(35).then(|| (dice.below(3), dice.percent(40)));
        let mut flags = u8::from(clean) << 1;
        if let Some((qos, retain)) = will {
            flags |= 0x04 | u8::try_from(qos).unwrap() << 3 | u8::from(retain) << 5;
        }
        flags |= if has_password { 0xC0 } else { 0 };
        let properties = connect_properties(dice);
        let mut shape = Shape::new(0x10)
            .text(version.protocol_name().as_bytes())
            .raw(&[version.level(), flags])
            .raw(&keep_alive.to_be_bytes())
            .properties(version, properties)
            .text(client_id.as_bytes());
        if will.is_some() {
            shape = shape
                .properties(version, will_properties(dice))
                .text(b"t/@@NONCE@/w")
                .text(dice.pick(&[&b"will"[..], b"will", b""]));
        }
        if has_password {
            let password = dice.pick(&[PASSWORD, PASSWORD, "wrong"]);
            shape = shape.text(USER.as_bytes()).text(password.as_bytes());
        }
        shape
    }

    fn id(&mut self, slot: usize) -> u16 {
        let reused = self.dice.percent(8);
        let client = &mut self.clients[slot];
        if !reused {
            client.last_id = client.next_id;
            client.next_id += 1;
        }
        client.last_id
    }

    fn subscribe(&mut self, slot: usize) -> Shape {
        let (version, id) = (self.clients[slot].version, self.id(slot));
        let dice = &mut self.dice;
        let mut properties = Vec::new();
        if dice.percent(35) {
            let id = dice.pick(&[1_usize, 2, 300, 268_435_455]);
            properties.push((0x0B, varint(id)));
        }
        if dice.percent(10) {
            properties.push((0x26, pair("k", "v")));
        }
        let mut shape = Shape::new(0x82).id(id).properties(version, properties);
        for _ in 0..1 + dice.below(3) {
            let filter = if dice.percent(if self.is_bent { 5 } else { 1 }) {
                dice.pick(&BAD_FILTERS)
            } else {
                liked(
                    dice,
                    &self.liked,
                    if self.overlaps { &FILTERS } else { &APART },
                )
            };
            let mut options = dice.pick(&[0_u8, 1, 2]);
            if version.is_v5() {
                // With a shared filter no local is an error.
                let no_local = if filter == SHARED { 2 } else { 20 };
                options |= u8::from(dice.percent(no_local)) << 2;
                options |= u8::from(dice.percent(30)) << 3;
                options |= dice.pick(&[0_u8, 0, 1, 2]) << 4;
            }
            let filter = filter.replace('G', &format!("g{slot}"));
            shape = shape.text(filter.as_bytes()).raw(&[options]);
        }
        shape
    }

    fn unsubscribe(&mut self, slot: usize) -> Shape {
        let (version, id) = (self.clients[slot].version, self.id(slot));
        let mut shape = Shape::new(0xA2).id(id).properties(version, Vec::new());
        for _ in 0..1 + self.dice.below(2) {
            let filters: &[&str] = if self.overlaps { &FILTERS } else { &APART };
            let filter = liked(&mut self.dice, &self.liked, filters);
            let filter = filter.replace('G', &format!("g{slot}"));
            shape = shape.text(filter.as_bytes());
        }
        shape
    }

    fn publish(&mut self, slot: usize) -> Shape {
        let version = self.clients[slot].version;
        let qos = self.dice.pick(&[0_u8, 1, 1, 2, 2]);
        let id = if qos > 0 { self.id(slot) } else { 0 };
        let dice = &mut self.dice;
        let (retain, dup) = (dice.percent(25), qos > 0 && dice.percent(6));
        let root = if dice.percent(6) { "$d" } else { "t" };
        let mut topic = format!("{root}/@@NONCE@/{}", liked(dice, &self.liked, &NAMES));
        let mut properties = publish_properties(dice);
        if version.is_v5() && dice.percent(15) {
            let alias = if self.is_bent {
                dice.pick(&[1_u16, 2, 2, 10, 10, 11, 0])
            } else {
                dice.pick(&[1_u16, 2, 10])
            };
            properties.push((0x23, alias.to_be_bytes().to_vec()));
            if dice.percent(if self.is_bent { 40 } else { 0 }) {
                topic.clear();
            }
        }
        self.messages += 1;
        let payload = if dice.percent(if retain { 25 } else { 5 }) {
            String::new()
        } else if dice.percent(4) {
            format!("m{}{}", self.messages, "x".repeat(150))
        } else {
            format!("m{}", self.messages)
        };
        let mut shape = Shape::new(0x30 | u8::from(dup) << 3 | qos << 1 | u8::from(retain));
        shape = shape.text(topic.as_bytes());
        if qos > 0 {
            shape = shape.id(id);
        }
        if qos == 2 {
            self.clients[slot].unreleased.push(id);
        }
        shape
            .properties(version, properties)
            .raw(payload.as_bytes())
    }

    fn release(&mut self, slot: usize) {
        let dice = &mut self.dice;
        let waiting = &mut self.clients[slot].unreleased;
        if waiting.is_empty() {
            return;
        }
        let at = dice.below(waiting.len());
        let id = waiting.remove(at);
        let shape = Shape::new(0x62).id(id);
        self.send(slot, shape);
    }

    fn answer(&mut self, slot: usize) {
        let right = if self.is_bent { 70 } else { 100 };
        let answer = match self.dice.percent(right) {
            true => Answer::Right,
            false => self.dice.pick(&[Answer::WrongKind, Answer::Refused]),
        };
        let nth = self.dice.below(4);
        self.steps.push(Step::Ack { slot, nth, answer });
    }

    /// An acknowledgement of something that never was.
    fn stray_ack(&mut self, slot: usize) {
        if !self.is_bent {
            return;
        }
        let first = self.dice.pick(&[0x40, 0x50, 0x62, 0x70]);
        let mut shape = Shape::new(first).id(777);
        if self.dice.percent(20) {
            // A reason that does not exist, and no properties.
            shape = shape.raw(b"x\0");
        }
        let bytes = shape.bytes();
        self.steps.push(Step::Send { slot, bytes });
    }

    fn disconnect(&mut self, slot: usize) {
        let version = self.clients[slot].version;
        let dice = &mut self.dice;
        let mut shape = Shape::new(0xE0);
        if version.is_v5() && dice.percent(60) {
            let reason = dice.pick(&[0_u8, 4, 4, 0x80]);
            shape = shape.raw(&[reason]);
            if dice.percent(60) {
                let mut properties = Vec::new();
                if dice.percent(50) {
                    let secs = dice.pick(&[0_u32, 300, 600]);
                    properties.push((0x11, secs.to_be_bytes().to_vec()));
                }
                shape = shape.properties(version, properties);
            }
        }
        self.send(slot, shape);
        if self.clients[slot].is_open {
            self.close(slot);
        }
    }

    /// Everybody comes back, and somebody new looks at what is retained.
    fn return_and_witness(&mut self, count: usize) {
        for slot in 0..count {
            let version = self.clients[slot].version;
            let properties = vec![(0x11, 300_u32.to_be_bytes().to_vec())];
            let shape = Shape::new(0x10)
                .text(version.protocol_name().as_bytes())
                .raw(&[version.level(), 0, 0, 0])
                .properties(version, properties)
                .text(format!("c{slot}@@NONCE@").as_bytes());
            let (habit, bytes) = (Habit::Answers, shape.bytes());
            self.steps.push(Step::Open { slot, habit, bytes });
        }
        let slot = SLOTS - 1;
        let shape = Shape::new(0x10)
            .text(b"MQTT")
            .raw(&[5, 2, 0, 0, 0])
            .text(b"w0@@NONCE@");
        let (habit, bytes) = (Habit::Answers, shape.bytes());
        self.steps.push(Step::Open { slot, habit, bytes });
        let shape = Shape::new(0x82)
            .id(1)
            .raw(&[0])
            .text(b"+/@@NONCE@/#")
            .raw(&[2]);
        let shape = shape.text(b"$d/@@NONCE@/#").raw(&[2]);
        let bytes = shape.bytes();
        self.steps.push(Step::Send { slot, bytes });
    }
}

/// One that the sequence likes, or any.
fn liked<'a>(dice: &mut Dice, liked: &[usize; LIKED], all: &[&'a str]) -> &'a str {
    let place = if dice.percent(LIKED_PERCENT) {
        dice.pick(liked) % all.len()
    } else {
        dice.below(all.len())
    };
    all[place]
}

fn connect_properties(dice: &mut Dice) -> Vec<Property> {
    let mut all = Vec::new();
    if dice.percent(50) {
        let secs = dice.pick(&[0_u32, 300, 300, u32::MAX]);
        all.push((0x11, secs.to_be_bytes().to_vec()));
    }
    if dice.percent(30) {
        let maximum = dice.pick(&[1_u16, 1, 2, 5, 65_535]);
        all.push((0x21, maximum.to_be_bytes().to_vec()));
    }
    if dice.percent(12) {
        let bytes = dice.pick(&[40_u32, 100, 200, 100_000]);
        all.push((0x27, bytes.to_be_bytes().to_vec()));
    }
    if dice.percent(15) {
        let maximum = dice.pick(&[0_u16, 1, 5]);
        all.push((0x22, maximum.to_be_bytes().to_vec()));
    }
    if dice.percent(10) {
        all.push((0x17, vec![dice.pick(&[0, 1])]));
    }
    if dice.percent(10) {
        all.push((0x19, vec![dice.pick(&[0, 1])]));
    }
    if dice.percent(10) {
        all.push((0x26, pair("k", "v")));
    }
    all
}

fn will_properties(dice: &mut Dice) -> Vec<Property> {
    let mut all = Vec::new();
    if dice.percent(40) {
        // None that ends while a test runs: what is due is due at once or never.
        let secs = dice.pick(&[0_u32, 3600]);
        all.push((0x18, secs.to_be_bytes().to_vec()));
    }
    all.extend(publish_properties(dice));
    all
}

fn publish_properties(dice: &mut Dice) -> Vec<Property> {
    let mut all = Vec::new();
    if dice.percent(15) {
        all.push((0x02, 1000_u32.to_be_bytes().to_vec()));
    }
    if dice.percent(15) {
        all.push((0x01, vec![dice.pick(&[0, 1])]));
    }
    if dice.percent(10) {
        all.push((0x03, string(b"text/plain")));
    }
    if dice.percent(10) {
        all.push((0x08, string(b"t/@@NONCE@/answers")));
    }
    if dice.percent(10) {
        all.push((0x09, string(&[0, 1, 0xFF])));
    }
    for _ in 0..dice.below(6).saturating_sub(3) {
        all.push((0x26, pair("k", dice.pick(&["v", "w", ""]))));
    }
    all
}
