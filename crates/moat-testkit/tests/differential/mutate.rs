//! Packets that are not as they should be.

use crate::dice::Dice;
use crate::shape::{Field, NONCE, Property, Shape, framed, pair, string, varint};

/// Strings no packet may have, and some that are only unusual.
const BAD_TEXT: [&[u8]; 7] = [
    b"\xFF",
    b"\0",
    b"\xED\xA0\x80",
    b"\xC0\x80",
    b"\xF4\x90\x80\x80",
    b"\x01",
    b"\xEF\xBF\xBF",
];

/// Bends a packet in one place. Says whether a whole packet came out.
pub(crate) fn bent(mut shape: Shape, dice: &mut Dice) -> (Vec<u8>, bool) {
    // One error at a time: which of two a broker finds first says nothing.
    for field in &mut shape.fields {
        if let Field::Properties(properties) = field {
            properties.retain(|(id, value)| *id != 0x23 || !matches!(value[..], [0, 0 | 11]));
        }
    }
    match dice.below(16) {
        // Flags of the fixed header.
        0 | 1 => shape.first ^= 1 << dice.below(4),
        2 => {
            shape.first =
                shape.first & 0x0F | dice.pick(&[0x00, 0x10, 0x20, 0x90, 0xB0, 0xD0, 0xF0])
        }
        3 => bend_text(&mut shape, dice),
        4 | 5 => bend_properties(&mut shape, dice),
        6 => bend_raw(&mut shape, dice),
        7 => bend_id(&mut shape),
        8 => return (shortened(&shape, dice), true),
        9 => return (lengthened(&shape, dice), true),
        10 => return (flipped(&shape, dice), true),
        11 => return (length_bent(&shape, dice), true),
        12 => return (truncated(&shape, dice), false),
        13 | 14 => pointed(&mut shape, dice),
        _ => bend_text_length(&mut shape, dice),
    }
    (shape.bytes(), true)
}

/// A packet out of place: what only servers send, a second CONNECT, an AUTH, an empty one.
pub(crate) fn wrong_packet(dice: &mut Dice) -> Vec<u8> {
    let connect = Shape::new(0x10)
        .text(b"MQTT")
        .raw(&[4, 2, 0, 0])
        .text(b"c9@@NONCE@");
    match dice.below(14) {
        0 => vec![0x20, 2, 0, 0],
        1 => vec![0x90, 3, 0, 1, 0],
        2 => vec![0xB0, 2, 0, 1],
        3 => vec![0xD0, 0],
        4 | 12 | 13 => connect.bytes(),
        5 => vec![0xF0, 0],
        6 => framed(0xF0, &[0x18, 4, 0x15, 0, 1, b'm']),
        7 => vec![0x00, 0],
        8 => vec![0xC0, 1, 0],
        9 => vec![0x82, 0],
        10 => vec![0x82, 2, 0, 1],
        _ => vec![0x30, 0],
    }
}

/// What chance would find too seldom, by kind of packet.
fn pointed(shape: &mut Shape, dice: &mut Dice) {
    let point = dice.below(6);
    match shape.first >> 4 {
        1 if point < 2 => add_property(shape, (0x16, string(b"data"))),
        1 if point == 2 => {
            // The flag that is reserved.
            if let Some(Field::Raw(raw)) = shape.fields.get_mut(1) {
                raw[1] |= 1;
            }
        }
        1 => {
            // The highest bit of the protocol level.
            if let Some(Field::Raw(raw)) = shape.fields.get_mut(1) {
                raw[0] |= 0x80;
            }
        }
        3 if shape.first & 0b0110 == 0 && point < 3 => shape.first |= 0b1000,
        3 if point == 1 => {
            if let Some(Field::Text(topic)) = shape.fields.first_mut() {
                topic.extend(dice.pick(&[&b"/+"[..], b"/#", b"+"]));
            }
        }
        3 if point == 2 => add_property(shape, (0x0B, varint(dice.pick(&[0, 1, 300])))),
        3 if point == 3 => add_property(shape, (0x08, string(b"t/+"))),
        3 if point == 4 => add_property(shape, (0x01, vec![2])),
        3 => {
            add_property(shape, (0x01, vec![1]));
            shape.fields.push(Field::Raw(b"\xFF\xFE".to_vec()));
        }
        4..=7 => shape.fields.push(Field::Raw(b"xyz".to_vec())),
        14 => shape.fields.push(Field::Raw(b"xyz".to_vec())),
        _ => bend_text(shape, dice),
    }
}

/// Puts a property in its place, instead of one that is there.
fn add_property(shape: &mut Shape, property: Property) {
    let first = shape.fields.iter_mut().find_map(|field| match field {
        Field::Properties(properties) => Some(properties),
        _ => None,
    });
    if let Some(properties) = first {
        properties.retain(|(id, _)| *id != property.0);
        properties.push(property);
    }
}

fn places(shape: &Shape, fits: impl Fn(&Field) -> bool) -> Vec<usize> {
    let fields = shape.fields.iter().enumerate();
    fields
        .filter(|(_, field)| fits(field))
        .map(|(at, _)| at)
        .collect()
}

fn bend_text(shape: &mut Shape, dice: &mut Dice) {
    let at = places(shape, |field| matches!(field, Field::Text(_)));
    if at.is_empty() {
        return;
    }
    if let Field::Text(text) = &mut shape.fields[dice.pick(&at)] {
        text.extend(dice.pick(&BAD_TEXT));
    }
}

fn bend_text_length(shape: &mut Shape, dice: &mut Dice) {
    let at = places(shape, |field| matches!(field, Field::Text(_)));
    if at.is_empty() {
        return;
    }
    let field = &mut shape.fields[dice.pick(&at)];
    if let Field::Text(text) = field {
        let length = u16::try_from(text.len()).unwrap();
        let wrong = dice.pick(&[length.saturating_sub(1), length + 1, 0, 65_535]);
        let mut bytes = wrong.to_be_bytes().to_vec();
        bytes.extend(text.iter());
        *field = Field::Raw(bytes);
    }
}

fn bend_properties(shape: &mut Shape, dice: &mut Dice) {
    let at = places(shape, |field| matches!(field, Field::Properties(_)));
    if at.is_empty() {
        return;
    }
    let field = &mut shape.fields[dice.pick(&at)];
    let Field::Properties(properties) = field else {
        return;
    };
    match dice.below(5) {
        0 if !properties.is_empty() => {
            let twice = properties[dice.below(properties.len())].clone();
            properties.push(twice);
        }
        1 => properties.push((dice.pick(&[0x00, 0x04, 0x14, 0x2B, 0x7F]), vec![0])),
        2 if !properties.is_empty() => {
            let at = dice.below(properties.len());
            properties[at].1.pop();
        }
        3 => {
            // A length that does not fit.
            let block: Vec<u8> = properties
                .iter()
                .flat_map(|(id, value)| std::iter::once(*id).chain(value.iter().copied()))
                .collect();
            let length = dice.pick(&[block.len() + 1, block.len().saturating_sub(1), 200]);
            let mut bytes = varint(length);
            bytes.extend(block);
            *field = Field::Raw(bytes);
        }
        _ => properties.push(any_property(dice)),
    }
}

/// A property, wherever it belongs, and values at the edge.
fn any_property(dice: &mut Dice) -> Property {
    let u32 = |value: u32| value.to_be_bytes().to_vec();
    let u16 = |value: u16| value.to_be_bytes().to_vec();
    match dice.below(26) {
        0 => (0x01, vec![dice.pick(&[0, 1, 2])]),
        1 => (0x02, u32(1000)),
        2 => (0x03, string(b"text")),
        3 => (0x08, string(dice.pick(&[&b"t/x"[..], b"t/+", b""]))),
        4 => (0x09, string(b"xyz")),
        5 => (0x0B, varint(dice.pick(&[0, 1]))),
        6 => (0x11, u32(10)),
        7 => (0x12, string(b"me")),
        8 => (0x13, u16(10)),
        9 => (0x15, string(b"method")),
        10 => (0x16, string(b"data")),
        11 => (0x17, vec![dice.pick(&[0, 2])]),
        12 => (0x18, u32(3600)),
        13 => (0x19, vec![dice.pick(&[1, 2])]),
        14 => (0x1A, string(b"info")),
        15 => (0x1C, string(b"server")),
        16 => (0x1F, string(b"why")),
        17 => (0x21, u16(dice.pick(&[0, 1]))),
        18 => (0x22, u16(1)),
        19 => (0x23, u16(dice.pick(&[0, 1, 11]))),
        20 => (0x24, vec![dice.pick(&[0, 1, 2])]),
        21 => (0x25, vec![1]),
        22 => (0x27, u32(dice.pick(&[0, 1000]))),
        23 => (0x28, vec![1]),
        24 => (0x2A, vec![1]),
        _ => (0x26, pair("k", "v")),
    }
}

fn bend_raw(shape: &mut Shape, dice: &mut Dice) {
    let at = places(
        shape,
        |field| matches!(field, Field::Raw(raw) if !raw.is_empty()),
    );
    if at.is_empty() {
        return;
    }
    if let Field::Raw(raw) = &mut shape.fields[dice.pick(&at)] {
        let at = dice.below(raw.len());
        raw[at] ^= 1 << dice.below(8);
    }
}

fn bend_id(shape: &mut Shape) {
    for field in &mut shape.fields {
        if let Field::Id(id) = field {
            *id = 0;
        }
    }
}

/// Without its last bytes, and a length that says so.
fn shortened(shape: &Shape, dice: &mut Dice) -> Vec<u8> {
    let mut body = shape.body();
    let keep = dice.below(body.len() + 1);
    body.truncate(keep);
    framed(shape.first, &body)
}

/// With some bytes more, and a length that says so.
fn lengthened(shape: &Shape, dice: &mut Dice) -> Vec<u8> {
    let mut body = shape.body();
    for _ in 0..1 + dice.below(3) {
        body.push(dice.byte());
    }
    framed(shape.first, &body)
}

/// One bit of the body changed, not of what tells runs apart.
fn flipped(shape: &Shape, dice: &mut Dice) -> Vec<u8> {
    let mut body = shape.body();
    if body.is_empty() {
        return shape.bytes();
    }
    let at = dice.below(body.len());
    let from = (at + 1).saturating_sub(NONCE.len());
    let within = (from..=at).any(|start| body[start..].starts_with(NONCE));
    if !within {
        body[at] ^= 1 << dice.below(8);
    }
    framed(shape.first, &body)
}

/// A remaining length that is written with too many bytes.
fn length_bent(shape: &Shape, dice: &mut Dice) -> Vec<u8> {
    let body = shape.body();
    let mut length = varint(body.len());
    let last = length.len() - 1;
    length[last] |= 0x80;
    length.push(0);
    if dice.percent(40) {
        length = vec![0xFF, 0xFF, 0xFF, 0xFF, 0x01];
    }
    let mut out = vec![shape.first];
    out.extend(length);
    out.extend(body);
    out
}

/// The start of a packet.
fn truncated(shape: &Shape, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = shape.bytes();
    let keep = 1 + dice.below(bytes.len() - 1);
    bytes.truncate(keep);
    bytes
}
