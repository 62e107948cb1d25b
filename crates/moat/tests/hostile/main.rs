//! The real program under every attack there is: its memory stays below the ceiling of its limits, an honest client beside the attack
//! gets all of its messages in order, and the program ends cleanly when it is told to.
//!
//! Time is not judged here; `cargo xtask hostile` measures it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod fume;

use std::path::Path;
use std::time::Duration;

use moat_testkit::hostile::{
    Announced, Attack, Churn, HalfPackets, HugeNames, Length, ManyFilters, RetainedFlood,
    SilentReader, SlowLoris, Takeover, TopicAlias, UnfinishedQos2, WildcardFlood, WrongState,
    siege,
};

const MOAT: &str = env!("CARGO_BIN_EXE_moat");

/// How long an attack may take until a leak would show. It ends as soon as one would.
const AT_MOST: Duration = Duration::from_secs(180);

/// Memory stays below the ceiling, and a leak of a kilobyte per hostile packet would not.
fn withstand(attack: &mut dyn Attack) {
    let outcome = siege(Path::new(MOAT), attack, Length::UntilALeakShows(AT_MOST));
    let (peak, ceiling) = (outcome.peak_bytes >> 10, outcome.ceiling.total() >> 10);
    let what = format!(
        "{}: {} hostile packets, {} honest round trips, at most {peak} KiB of {ceiling} KiB: {:?}",
        outcome.name,
        outcome.packets,
        outcome.attacked.len(),
        outcome.ceiling,
    );
    assert!(outcome.is_below_ceiling(), "{what}");
    assert!(outcome.would_show_a_leak(), "{what}");
    assert!(!outcome.attacked.is_empty(), "{what}");
}

macro_rules! attacks {
    ($($test:ident: $attack:expr,)*) => {$(
        #[test]
        fn $test() {
            withstand(&mut $attack);
        }
    )*};
}

attacks! {
    slow_loris_connect: SlowLoris::connect(),
    slow_loris_handshake: SlowLoris::handshake(),
    slow_loris_upgrade: SlowLoris::upgrade(),
    a_hundred_megabytes_announced_before_connack: Announced::before_connack(),
    a_hundred_megabytes_announced_after_connack: Announced::after_connack(),
    half_packets_on_five_thousand_connections: HalfPackets::default(),
    qos_2_never_released: UnfinishedQos2::of_publisher(),
    qos_2_never_received: UnfinishedQos2::of_subscriber(),
    huge_names_refused: HugeNames::default(),
    ten_thousand_filters_in_one_subscribe: ManyFilters::default(),
    wildcard_floods: WildcardFlood::default(),
    topic_alias_tricks: TopicAlias::default(),
    packets_in_the_wrong_state: WrongState,
    readers_that_never_read: SilentReader::default(),
    retained_floods: RetainedFlood::default(),
    takeover_ping_pong: Takeover::default(),
    connection_churn: Churn::default(),
}
