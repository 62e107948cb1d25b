//! What a seed decides before it begins.

use moat_core::Limits;

use crate::fume::Dice;

/// Operations of a seed, at least.
const OPERATIONS_MIN: u64 = 500;

/// What a seed decides before it begins.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) clients: usize,
    pub(super) operations: u64,
    /// Milliseconds that a client waits at most between two operations, as a rule.
    pub(super) pace_millis: u64,
    /// Milliseconds that bytes are under way at most, as a rule.
    pub(super) delay_millis: u64,
    /// Milliseconds that a commit takes at most, as a rule.
    pub(super) commit_millis: u64,
    /// Commits of a hundred that find no room.
    pub(super) full_percent: u64,
    /// Connections of a hundred that are cut.
    pub(super) cut_percent: u64,
    /// Bytes one read takes at most.
    pub(super) read_bytes: usize,
    /// Bytes that a socket takes before it blocks.
    pub(super) window: usize,
    /// Envelopes that an inbox takes from other shards.
    pub(super) inbox_envelopes: usize,
    /// Batches that are not durable above which a shard is behind.
    pub(super) behind: usize,
    pub(super) commits_until_crash: u64,
    pub(super) steps_until_crash: u64,
}

impl Plan {
    pub(super) fn new(dice: &mut Dice) -> Plan {
        Plan {
            clients: 4 + dice.place(6),
            operations: OPERATIONS_MIN + dice.below(200),
            pace_millis: *dice.pick(&[20, 100, 400]),
            delay_millis: *dice.pick(&[0, 2, 10, 60]),
            commit_millis: *dice.pick(&[1, 5, 40, 200]),
            full_percent: *dice.pick(&[0, 0, 1, 3]),
            cut_percent: *dice.pick(&[0, 20, 60]),
            read_bytes: *dice.pick(&[16, 200, 4096]),
            window: *dice.pick(&[300, 2000, 65_536]),
            inbox_envelopes: *dice.pick(&[1, 4, 64]),
            behind: *dice.pick(&[1, 4, 16, 1000]),
            commits_until_crash: *dice.pick(&[10, 60, 300]),
            steps_until_crash: *dice.pick(&[200, 2000, 8000]),
        }
    }

    /// The limits of one life of the broker.
    pub(super) fn limits(&self, dice: &mut Dice) -> Limits {
        Limits {
            log_memory_bytes_max: *dice.pick(&[0, 1000, 64 << 20]),
            // With 1, the turn is over before the first filter of a SUBSCRIBE.
            packets_per_turn_max: *dice.pick(&[2, 5, 1024]),
            out_buffer_bytes_max: *dice.pick(&[200, 4000, 1 << 20]),
            peer_outbox_messages_max: *dice.pick(&[1, 8, 65_536]),
            queued_messages_max: 100_000,
            queued_bytes_max: 1 << 30,
            filters_per_sec_max: 0,
            ..Limits::default()
        }
    }
}
