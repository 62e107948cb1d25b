//! Section 1.5: strings, integers and pairs.

use moat_codec::{QoS, ReasonCode};
use moat_testkit::broker::Transport;

use crate::wire::{BOTH, breach, broker, client, publish_by_hand};

everywhere!(a_topic_that_is_no_utf8_closes_the_connection);

/// Proves 3.1.1 [MQTT-1.5.3-1]; 5.0 [MQTT-1.5.4-1].
fn a_topic_that_is_no_utf8_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        // An encoded surrogate, a byte that occurs nowhere, a sequence cut short, one longer than needed.
        for bad in [&b"a\xED\xA0\x80"[..], b"a\xFF", b"a\xC3", b"\xC0\xAF"] {
            let middle: &[u8] = if version.is_v5() { &[0] } else { &[] };
            let bytes = publish_by_hand(0, bad, middle, b"x");
            breach(
                &broker,
                transport,
                version,
                &bytes,
                ReasonCode::MalformedPacket,
            );
        }
    }
    broker.stop();
}
