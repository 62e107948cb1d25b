//! What the fuzz target `store_value` asserts, and the replay of its corpus.

use std::sync::Arc;

use super::bytes::Output;
use super::{keys, message, queue, session};

/// How many kinds of input there are; the first byte of an input tells which.
pub const KINDS: u8 = 11;

/// Reads any bytes as a key or value of the store: no panic, and what is read is the same when it is written and read again. Returns
/// whether it could be read.
pub fn store_value(input: &[u8]) -> bool {
    let Some((kind, bytes)) = input.split_first() else {
        return false;
    };
    let mut out = Output::default();
    match kind % KINDS {
        0 => session::decode(bytes).is_ok_and(|read| {
            session::encode(&read, &mut out);
            assert_eq!(session::decode(&out.take()), Ok(read));
            true
        }),
        1 => queue::decode_progress(bytes).is_ok_and(|read| {
            queue::encode_progress(&read, &mut out);
            assert_eq!(queue::decode_progress(&out.take()), Ok(read));
            true
        }),
        2 => queue::decode_subscription(bytes).is_ok_and(|read| {
            let (options, id, filter) = read;
            queue::encode_subscription(options, id, Some(filter), &mut out);
            assert_eq!(queue::decode_subscription(&out.take()), Ok(read));
            true
        }),
        3 => queue::decode_will(bytes).is_ok_and(|read| {
            queue::encode_will(&read, &mut out);
            let again = out.take();
            assert!(queue::decode_will(&again).is_ok());
            queue::encode_will(&read, &mut out);
            assert_eq!(out.take(), again);
            true
        }),
        4 => message::decode_deal(bytes).is_ok_and(|read| {
            message::encode_deal(&read, &mut out);
            assert_eq!(message::decode_deal(&out.take()), Ok(read));
            true
        }),
        5 => headers(bytes, &mut out),
        6 => {
            let read = message::decode_retained("t", bytes, &mut Arc::from(""));
            read.is_ok_and(|read| {
                message::encode_retained(&read, &mut out);
                let again = message::decode_retained("t", &out.take(), &mut Arc::from(""));
                assert!(again.is_ok_and(|again| again.payload() == read.payload()));
                true
            })
        }
        7 => keys::deal(bytes).is_ok_and(|read| {
            assert_eq!(keys::of_deal(&read, &mut out), bytes);
            true
        }),
        8 => keys::subscription(bytes, "").is_ok_and(|(queue, filter)| {
            let (key, in_value) = keys::of_subscription(queue, filter, &mut out);
            assert!(in_value.is_some() || key == bytes);
            true
        }),
        9 => keys::will(bytes).is_ok_and(|(queue, number)| {
            assert_eq!(keys::of_will(queue, number, &mut out), bytes);
            true
        }),
        _ => keys::inbound(bytes).is_ok_and(|(queue, id)| {
            assert_eq!(keys::of_inbound(queue, id, &mut out), bytes);
            true
        }),
    }
}

fn headers(bytes: &[u8], out: &mut Output) -> bool {
    let Ok((head, takers)) = message::decode_headers(bytes) else {
        return false;
    };
    let Ok(takers) = takers.collect::<Result<Vec<_>, _>>() else {
        return false;
    };
    let message = head.message("t", b"", &mut Arc::from(""));
    message::encode_headers(&message, &takers, out);
    let again = out.take();
    let (head_again, takers_again) = message::decode_headers(&again).unwrap_or_else(|error| {
        unreachable!("headers that were just written: {error}");
    });
    assert_eq!(head_again.publisher, head.publisher);
    assert_eq!(head_again.properties, head.properties);
    assert_eq!(takers_again.collect::<Result<Vec<_>, _>>(), Ok(takers));
    true
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    #[test]
    fn store_value_corpus_holds() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/store_value");
        let mut good = vec![0; usize::from(super::KINDS)];
        for entry in fs::read_dir(folder).unwrap() {
            let input = fs::read(entry.unwrap().path()).unwrap();
            if super::store_value(&input) {
                good[usize::from(input[0] % super::KINDS)] += 1;
            }
        }
        assert!(
            good.iter().all(|count| *count > 0),
            "each kind needs a seed that is read: {good:?}"
        );
    }
}
