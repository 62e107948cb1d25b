//! Clients that mean no good, against the real program: each attack is a file of its own, and any number of them can be run
//! beside an honest client.
//!
//! - [`Fort`]: the `moat` program with small limits, and its memory as the kernel counts it.
//! - `ceiling`: the most memory it may have, computed from those limits; `docs/limits.md` says the same in words.
//! - [`Honest`]: a client that measures round trips and notices every message that is lost, repeated or out of order.
//! - `siege`: both together, and what came of it.
//! - [`all`]: the attacks. A new one is a file, a type with the trait [`Attack`], and a line there.

mod announced;
mod ceiling;
mod churn;
mod fort;
mod half_packets;
mod honest;
mod huge_names;
mod line;
mod many_filters;
mod retained_flood;
mod siege;
mod silent_reader;
mod slow_loris;
mod takeover;
mod topic_alias;
mod unfinished_qos2;
mod wildcard_flood;
mod wrong_state;

pub use announced::Announced;
pub use ceiling::{Ceiling, Scope, ceiling};
pub use churn::Churn;
pub use fort::{Fort, Listeners, Target, raise_open_files};
pub use half_packets::HalfPackets;
pub use honest::{Honest, RoundTrips};
pub use huge_names::HugeNames;
pub use line::Line;
pub use many_filters::ManyFilters;
pub use retained_flood::RetainedFlood;
pub use siege::{LEAK_BYTES, Length, Outcome, siege};
pub use silent_reader::SilentReader;
pub use slow_loris::SlowLoris;
pub use takeover::Takeover;
pub use topic_alias::TopicAlias;
pub use unfinished_qos2::UnfinishedQos2;
pub use wildcard_flood::WildcardFlood;
pub use wrong_state::WrongState;

/// One way of being hostile.
pub trait Attack: Send {
    /// What it is called in tests and tables.
    fn name(&self) -> &'static str;

    /// Lines for `[limits]` in place of those of the fort, as small as the attack allows: they make the ceiling.
    fn limits(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// What the fort has to listen for.
    fn listeners(&self) -> Listeners {
        Listeners::Plain
    }

    /// The most bytes of one packet that the attack really sends, if that is less than the broker would take: memory follows
    /// what was received, so the ceiling is computed with it.
    fn packet_bytes_sent_max(&self) -> Option<u32> {
        None
    }

    /// How often [`Self::step`] is called per second where round trips are measured: nasty, but such that the
    /// attacker itself leaves the honest client a processor.
    fn steps_per_sec(&self) -> u32 {
        200
    }

    /// A bounded piece of the attack. Returns the number of hostile packets (or connections, where they are what
    /// costs) that the broker had to deal with.
    fn step(&mut self, target: &Target) -> u64;
}

/// Every attack there is.
#[must_use]
pub fn all() -> Vec<Box<dyn Attack>> {
    vec![
        Box::new(SlowLoris::connect()),
        Box::new(SlowLoris::handshake()),
        Box::new(SlowLoris::upgrade()),
        Box::new(Announced::before_connack()),
        Box::new(Announced::after_connack()),
        Box::new(HalfPackets::default()),
        Box::new(UnfinishedQos2::of_publisher()),
        Box::new(UnfinishedQos2::of_subscriber()),
        Box::new(HugeNames::default()),
        Box::new(ManyFilters::default()),
        Box::new(WildcardFlood::default()),
        Box::new(TopicAlias::default()),
        Box::new(WrongState),
        Box::new(SilentReader::default()),
        Box::new(RetainedFlood::default()),
        Box::new(Takeover::default()),
        Box::new(Churn::default()),
    ]
}
