//! What a broker's end leaves behind: everything that was acknowledged, under the identifiers it had.
//!
//! - [`acknowledging`]: nothing is acknowledged before it is durable, and once is once;
//! - [`sessions`]: what survives of a session, and which do not;
//! - [`resending`]: identifiers and DUP of what was sent before;
//! - [`groups`]: shared subscriptions;
//! - [`retained_and_wills`]: messages that are nobody's yet;
//! - [`bounds`]: what is too much or too old.

mod acknowledging;
mod bounds;
mod groups;
mod resending;
mod retained_and_wills;
mod sessions;

use std::num::NonZeroU16;
use std::ops::Range;

use moat_codec::Connect;
use moat_core::Limits;

use crate::harness::*;

/// Limits for clients that publish as fast as they like.
fn no_rate() -> Limits {
    Limits {
        publishes_per_sec_max: 0,
        ..limits()
    }
}

/// On one to three shards, and on another number after the crash.
fn on_any_arrangement(check: impl Fn(World, usize)) {
    for shards in 1..=3 {
        for later in [1, 3] {
            check(World::durable(shards, no_rate()), later);
        }
    }
}

/// The client of a session that lasts and has subscribed.
fn subscriber(world: &mut World, id: &str, filter: &str, qos: u8) -> Client {
    let client = world.lasting(V5, id);
    world.subscribe(client, filter, qos);
    client
}

/// A session that lasts and has subscribed, and whose client is gone.
fn subscriber_away(world: &mut World, id: &str, filter: &str, qos: u8) {
    let client = subscriber(world, id, filter, qos);
    world.lose(client);
}

/// A CONNECT that keeps its session and takes so many messages at once.
fn taking(receive_maximum: u16, id: &str) -> Connect<'_> {
    let mut connect = lasting(V5, id);
    connect.properties.receive_maximum = NonZeroU16::new(receive_maximum);
    connect
}

/// A client that is back and finds its session.
fn resumed(world: &mut World, id: &str) -> Client {
    let (client, granted) = world.connected(&lasting(V5, id));
    assert!(granted.session_present, "{id} has lost its session");
    client
}

/// What waited for a client: all of it is acknowledged now.
fn found_by(world: &mut World, id: &str) -> Vec<String> {
    let client = resumed(world, id);
    world.read_texts(client)
}

/// Publishes this many messages, numbered, by turns at QoS 1 and 2.
fn publish_numbers(world: &mut World, writer: Client, topic: &str, count: u8) {
    for n in 0..count {
        world.publish(writer, topic, &n.to_string(), 1 + n % 2);
    }
}

/// The texts of numbered messages.
fn numbers(range: Range<u32>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

fn texts(messages: &[Pub]) -> Vec<&str> {
    messages.iter().map(Pub::text).collect()
}

fn dups(messages: &[Pub]) -> Vec<bool> {
    messages.iter().map(|message| message.dup).collect()
}
