//! Sequences that chance would not find in a thousand, written down.

use crate::dice::Dice;
use crate::sequence::{Habit, Step};
use crate::shape::{Property, Shape};

/// One of them.
pub(crate) fn steps(dice: &mut Dice) -> Vec<Step> {
    let qos = dice.pick(&[1_u8, 2]);
    match dice.below(8) {
        7 => handlings(qos),
        6 => group_and_own(),
        0 => bad_goodbye(),
        4 => resumed_with_less(qos),
        5 => unknown_root(),
        3 => vec![reserved_flag()],
        1 => quota_used_up(qos),
        _ => twice_with_a_session(),
    }
}

/// A DISCONNECT that would end the session at once, if it were not too long.
fn bad_goodbye() -> Vec<Step> {
    let end = Shape::new(0xE0).raw(&[4, 5, 0x11, 0, 0, 0, 0]).raw(b"more");
    vec![
        open(0, Habit::Answers, vec![lasting()]),
        send(0, end),
        open(0, Habit::Answers, vec![lasting()]),
    ]
}

/// A client that takes one message at a time and owes an answer, while more come.
fn quota_used_up(qos: u8) -> Vec<Step> {
    let one = (0x21, 1_u16.to_be_bytes().to_vec());
    vec![
        open(0, Habit::Answers, vec![]),
        send(0, publish("a", qos, 1, true)),
        send(0, publish("b", qos, 2, true)),
        open(1, Habit::Waits, vec![one]),
        send(1, subscribe(&[("t/@@NONCE@/+", qos), ("$d/@@NONCE@/#", 0)])),
        send(0, publish("c", qos, 3, false)),
        send(
            0,
            Shape::new(0x30)
                .text(b"$d/@@NONCE@/x")
                .raw(&[0])
                .raw(b"live"),
        ),
    ]
}

/// Two messages under way, and a next connection that takes one at a time.
fn resumed_with_less(qos: u8) -> Vec<Step> {
    let one = (0x21, 1_u16.to_be_bytes().to_vec());
    vec![
        open(0, Habit::Waits, vec![lasting()]),
        open(1, Habit::Answers, vec![]),
        send(0, subscribe(&[("t/@@NONCE@/+", qos)])),
        send(1, publish("a", qos, 1, false)),
        send(1, publish("b", qos, 2, false)),
        open(0, Habit::Waits, vec![lasting(), one]),
    ]
}

/// An UNSUBSCRIBE from below a first level that nobody has subscribed to.
fn unknown_root() -> Vec<Step> {
    let unsubscribe = Shape::new(0xA2).id(9).raw(&[0]).text(b"$u@@NONCE@/a");
    vec![open(0, Habit::Answers, vec![]), send(0, unsubscribe)]
}

/// A client of 3.1.1 that is in a group and has a subscription of its own besides.
fn group_and_own() -> Vec<Step> {
    let connect = Shape::new(0x10).text(b"MQTT").raw(&[4, 2, 0, 60]);
    let subscribe = Shape::new(0x82)
        .id(1)
        .text(b"$share/g0/t/@@NONCE@/s/#")
        .raw(&[1])
        .text(b"t/@@NONCE@/+")
        .raw(&[0]);
    let publish = Shape::new(0x32).text(b"t/@@NONCE@/s").id(2).raw(b"once");
    let opened = Step::Open {
        slot: 0,
        habit: Habit::Answers,
        bytes: connect.text(b"c0@@NONCE@").bytes(),
    };
    vec![opened, send(0, subscribe), send(0, publish)]
}

/// A subscription made again and again, with every way to treat what is retained.
fn handlings(qos: u8) -> Vec<Step> {
    let mut steps = vec![
        open(0, Habit::Answers, vec![]),
        send(0, publish("a", qos, 1, true)),
    ];
    for handling in [1_u8, 1, 0, 2, 1] {
        let options = qos | handling << 4;
        steps.push(send(0, subscribe(&[("t/@@NONCE@/a", options)])));
    }
    steps
}

/// A second CONNECT, and then the session again.
fn twice_with_a_session() -> Vec<Step> {
    vec![
        open(0, Habit::Answers, vec![lasting()]),
        send(0, subscribe(&[("t/@@NONCE@/a", 1)])),
        send(0, connect(0, vec![lasting()])),
        open(0, Habit::Answers, vec![lasting()]),
    ]
}

/// A CONNECT of 3.1 with the flag that is reserved.
fn reserved_flag() -> Step {
    let shape = Shape::new(0x10)
        .text(b"MQIsdp")
        .raw(&[3, 3, 0, 60])
        .text(b"c0@@NONCE@");
    Step::Open {
        slot: 0,
        habit: Habit::Answers,
        bytes: shape.bytes(),
    }
}

fn lasting() -> Property {
    (0x11, 300_u32.to_be_bytes().to_vec())
}

fn connect(slot: usize, properties: Vec<Property>) -> Shape {
    let client_id = format!("c{slot}@@NONCE@");
    let mut shape = Shape::new(0x10).text(b"MQTT").raw(&[5, 0, 0, 60]);
    shape = shape.properties(moat_codec::Version::V5, properties);
    shape.text(client_id.as_bytes())
}

fn open(slot: usize, habit: Habit, properties: Vec<Property>) -> Step {
    let bytes = connect(slot, properties).bytes();
    Step::Open { slot, habit, bytes }
}

fn send(slot: usize, shape: Shape) -> Step {
    let bytes = shape.bytes();
    Step::Send { slot, bytes }
}

fn subscribe(filters: &[(&str, u8)]) -> Shape {
    let shape = Shape::new(0x82).id(9).raw(&[0]);
    filters.iter().fold(shape, |shape, (filter, qos)| {
        shape.text(filter.as_bytes()).raw(&[*qos])
    })
}

fn publish(name: &str, qos: u8, id: u16, retain: bool) -> Shape {
    let topic = format!("t/@@NONCE@/{name}");
    let shape = Shape::new(0x30 | qos << 1 | u8::from(retain)).text(topic.as_bytes());
    shape.id(id).raw(&[0]).raw(name.as_bytes())
}
