//! Packets to be, in parts that can be bent one by one: written without moat's codec, which is on trial here.

use moat_codec::Version;

/// Stands for what is different in each run of a sequence; as long as what [`nonce`] gives.
pub(crate) const NONCE: &[u8; 8] = b"@@NONCE@";

/// What stands in for [`NONCE`] in the n-th run.
pub(crate) fn nonce(run: u32) -> [u8; 8] {
    let text = format!("n{run:07x}");
    text.as_bytes().try_into().unwrap()
}

/// One property: its identifier and its value as on the wire.
pub(crate) type Property = (u8, Vec<u8>);

/// A part of a packet.
#[derive(Clone, Debug)]
pub(crate) enum Field {
    /// As it is.
    Raw(Vec<u8>),
    /// Two bytes of length before it.
    Text(Vec<u8>),
    /// A packet identifier.
    Id(u16),
    /// A property block.
    Properties(Vec<Property>),
}

/// A packet to be.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) first: u8,
    pub(crate) fields: Vec<Field>,
}

impl Shape {
    pub(crate) fn new(first: u8) -> Self {
        Self {
            first,
            fields: Vec::new(),
        }
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.fields.push(Field::Raw(bytes.to_vec()));
        self
    }

    pub(crate) fn text(mut self, text: &[u8]) -> Self {
        self.fields.push(Field::Text(text.to_vec()));
        self
    }

    pub(crate) fn id(mut self, id: u16) -> Self {
        self.fields.push(Field::Id(id));
        self
    }

    /// Properties, which only 5.0 has.
    pub(crate) fn properties(mut self, version: Version, properties: Vec<Property>) -> Self {
        if version.is_v5() {
            self.fields.push(Field::Properties(properties));
        }
        self
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for field in &self.fields {
            match field {
                Field::Raw(bytes) => out.extend(bytes),
                Field::Text(text) => out.extend(string(text)),
                Field::Id(id) => out.extend(id.to_be_bytes()),
                Field::Properties(properties) => {
                    let block: Vec<u8> = properties
                        .iter()
                        .flat_map(|(id, value)| std::iter::once(*id).chain(value.iter().copied()))
                        .collect();
                    out.extend(varint(block.len()));
                    out.extend(block);
                }
            }
        }
        out
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        framed(self.first, &self.body())
    }
}

/// A fixed header and a body.
pub(crate) fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    out.extend(varint(body.len()));
    out.extend(body);
    out
}

pub(crate) fn string(text: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    out.extend(text);
    out
}

pub(crate) fn pair(name: &str, value: &str) -> Vec<u8> {
    let mut out = string(name.as_bytes());
    out.extend(string(value.as_bytes()));
    out
}

pub(crate) fn varint(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7F).unwrap();
        value >>= 7;
        if value == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

/// The bytes of the first whole packet: `None` if it is not whole, all of them if the length is no length.
pub(crate) fn first_packet(bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    for place in 0..4 {
        let byte = *bytes.get(1 + place)?;
        length |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            let total = 2 + place + length;
            return (bytes.len() >= total).then_some(total);
        }
    }
    Some(bytes.len())
}
