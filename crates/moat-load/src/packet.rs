//! The packets of MQTT 3.1.1 and 5.0 that a load generator needs. Written apart from moat's codec on purpose: a mistake
//! in that one is not to be hidden by the same one here.

/// The bytes at the start of each payload: time of sending in ns (u64), publisher (u32), sequence number (u32), little endian.
pub(crate) const HEADER_BYTES: usize = 16;

/// What goes into a CONNECT.
pub(crate) struct Connect<'a> {
    pub(crate) v5: bool,
    pub(crate) client_id: &'a str,
    pub(crate) clean: bool,
    /// MQTT 5.0: how long the session stays, in seconds.
    pub(crate) expiry_secs: u32,
    pub(crate) keepalive_secs: u16,
    pub(crate) user: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
}

/// What every PUBLISH of a run has in common.
#[derive(Clone, Copy)]
pub(crate) struct Publish<'a> {
    pub(crate) v5: bool,
    pub(crate) topic: &'a str,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) payload_bytes: usize,
    /// MQTT 5.0: how many user properties it carries.
    pub(crate) user_properties: usize,
}

/// Where in the buffer the changing parts of a PUBLISH are.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    /// Of the packet id; meaningless with QoS 0.
    pub(crate) packet_id: usize,
    pub(crate) payload: usize,
}

/// What a CONNACK says.
pub(crate) struct Connack {
    pub(crate) session_present: bool,
    pub(crate) code: u8,
    pub(crate) receive_maximum: u16,
}

pub(crate) fn put_length(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

/// The value and how many bytes it took; `None` while it is incomplete, `Some((usize::MAX, _))` if it is no length.
#[inline]
pub(crate) fn length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0usize;
    for index in 0..4 {
        let byte = *bytes.get(index)?;
        value |= ((byte & 0x7f) as usize) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    Some((usize::MAX, 4))
}

pub(crate) fn connect(out: &mut Vec<u8>, options: &Connect<'_>) {
    let mut body = Vec::with_capacity(64);
    put_string(&mut body, b"MQTT");
    body.push(if options.v5 { 5 } else { 4 });
    let mut flags = 0u8;
    if options.clean {
        flags |= 0x02;
    }
    if options.user.is_some() {
        flags |= 0x80;
    }
    if options.password.is_some() {
        flags |= 0x40;
    }
    body.push(flags);
    body.extend_from_slice(&options.keepalive_secs.to_be_bytes());
    if options.v5 {
        let mut properties = Vec::new();
        if options.expiry_secs > 0 {
            properties.push(0x11);
            properties.extend_from_slice(&options.expiry_secs.to_be_bytes());
        }
        properties.push(0x21);
        properties.extend_from_slice(&u16::MAX.to_be_bytes());
        put_length(&mut body, properties.len());
        body.extend_from_slice(&properties);
    }
    put_string(&mut body, options.client_id.as_bytes());
    for credential in [options.user, options.password].into_iter().flatten() {
        put_string(&mut body, credential.as_bytes());
    }
    put_frame(out, 0x10, &body);
}

/// One SUBSCRIBE with all of `filters`.
pub(crate) fn subscribe<'a>(
    out: &mut Vec<u8>,
    v5: bool,
    packet_id: u16,
    filters: impl IntoIterator<Item = &'a str>,
    qos: u8,
) {
    let mut body = packet_id.to_be_bytes().to_vec();
    if v5 {
        body.push(0);
    }
    for filter in filters {
        put_string(&mut body, filter.as_bytes());
        body.push(qos);
    }
    put_frame(out, 0x82, &body);
}

/// One UNSUBSCRIBE with all of `filters`.
pub(crate) fn unsubscribe<'a>(
    out: &mut Vec<u8>,
    v5: bool,
    packet_id: u16,
    filters: impl IntoIterator<Item = &'a str>,
) {
    let mut body = packet_id.to_be_bytes().to_vec();
    if v5 {
        body.push(0);
    }
    for filter in filters {
        put_string(&mut body, filter.as_bytes());
    }
    put_frame(out, 0xa2, &body);
}

pub(crate) fn disconnect(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xe0, 0]);
}

pub(crate) fn pingreq(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xc0, 0]);
}

/// PUBACK (4), PUBREC (5), PUBREL (6) or PUBCOMP (7).
pub(crate) fn ack(out: &mut Vec<u8>, kind: u8, packet_id: u16) {
    let flags = if kind == 6 { 2 } else { 0 };
    out.extend_from_slice(&[kind << 4 | flags, 2]);
    out.extend_from_slice(&packet_id.to_be_bytes());
}

/// Appends one PUBLISH with packet id 1 and an empty payload header.
pub(crate) fn publish(out: &mut Vec<u8>, what: &Publish<'_>) -> Places {
    let mut properties = Vec::new();
    for number in 0..what.user_properties {
        properties.push(0x26);
        put_string(&mut properties, format!("key-{number}").as_bytes());
        put_string(&mut properties, format!("value-{number}").as_bytes());
    }
    let mut head = Vec::with_capacity(2 + what.topic.len() + 8);
    put_string(&mut head, what.topic.as_bytes());
    let packet_id_at = head.len();
    if what.qos > 0 {
        head.extend_from_slice(&[0, 1]);
    }
    if what.v5 {
        put_length(&mut head, properties.len());
        head.extend_from_slice(&properties);
    }
    out.push(0x30 | (what.qos << 1) | u8::from(what.retain));
    put_length(out, head.len() + what.payload_bytes);
    let packet_id = out.len() + packet_id_at;
    out.extend_from_slice(&head);
    let payload = out.len();
    out.resize(payload + what.payload_bytes, b'x');
    Places { packet_id, payload }
}

/// Writes the changing parts of a PUBLISH.
#[inline]
pub(crate) fn stamp(out: &mut [u8], places: Places, sent_ns: u64, publisher: u32, sequence: u32) {
    let at = places.payload;
    out[at..at + 8].copy_from_slice(&sent_ns.to_le_bytes());
    out[at + 8..at + 12].copy_from_slice(&publisher.to_le_bytes());
    out[at + 12..at + 16].copy_from_slice(&sequence.to_le_bytes());
}

/// The next packet id, which is never 0.
#[inline]
pub(crate) fn next_id(packet_id: u16) -> u16 {
    packet_id.checked_add(1).unwrap_or(1)
}

/// Reads what follows the fixed header of a CONNACK.
pub(crate) fn connack(body: &[u8], v5: bool) -> Option<Connack> {
    let (flags, code) = (*body.first()?, *body.get(1)?);
    let mut connack = Connack {
        session_present: flags & 1 == 1,
        code,
        receive_maximum: u16::MAX,
    };
    if v5 && body.len() > 2 {
        let (bytes, used) = length(&body[2..])?;
        let properties = body.get(2 + used..2 + used + bytes)?;
        if let Some(maximum) = receive_maximum(properties) {
            connack.receive_maximum = maximum;
        }
    }
    Some(connack)
}

fn receive_maximum(properties: &[u8]) -> Option<u16> {
    let number = |at: usize| {
        let bytes = properties.get(at..at + 2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    };
    let mut at = 0;
    while at < properties.len() {
        let id = properties[at];
        at += 1;
        at += match id {
            0x21 => return number(at),
            0x02 | 0x11 | 0x18 | 0x27 => 4,
            0x13 | 0x22 | 0x23 => 2,
            0x24 | 0x25 | 0x28 | 0x29 | 0x2a => 1,
            0x26 => {
                let key = 2 + number(at)? as usize;
                key + 2 + number(at + key)? as usize
            }
            _ => 2 + number(at)? as usize,
        };
    }
    None
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn put_frame(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    out.push(first);
    put_length(out, body.len());
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_survives_the_way_there_and_back() {
        for value in [0, 127, 128, 16_383, 16_384, 268_435_455] {
            let mut out = Vec::new();
            put_length(&mut out, value);
            assert_eq!(length(&out), Some((value, out.len())));
            assert_eq!(length(&out[..out.len() - 1]), None);
        }
        assert_eq!(length(&[0xff; 5]), Some((usize::MAX, 4)));
    }

    #[test]
    fn a_publish_with_user_properties_has_its_payload_where_it_says() {
        let mut out = Vec::new();
        let what = Publish {
            v5: true,
            topic: "a/b",
            qos: 1,
            retain: false,
            payload_bytes: 16,
            user_properties: 2,
        };
        let places = publish(&mut out, &what);
        stamp(&mut out, places, 7, 8, 9);
        assert_eq!(out[0], 0x32);
        assert_eq!(length(&out[1..]), Some((out.len() - 2, 1)));
        assert_eq!(out[places.packet_id..places.packet_id + 2], [0, 1]);
        // Two user properties, each an identifier and two strings.
        let properties = &out[places.packet_id + 2..places.payload];
        assert_eq!(properties[0] as usize, properties.len() - 1);
        assert_eq!(properties.iter().filter(|byte| **byte == 0x26).count(), 2);
        assert_eq!(out[places.payload], 7);
        assert_eq!(out.len(), places.payload + 16);
    }

    #[test]
    fn the_receive_maximum_is_found_behind_other_properties() {
        let body = [1, 0, 11, 0x26, 0, 1, b'k', 0, 1, b'v', 0x21, 0, 20, 0];
        let found = connack(&body, true);
        assert_eq!(
            found.map(|found| (found.session_present, found.code, found.receive_maximum)),
            Some((true, 0, 20))
        );
        assert!(connack(&[0], false).is_none());
    }
}
