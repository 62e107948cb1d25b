//! How often a simulation came by what it is for: what is never reached is not tested.

use std::fmt;

macro_rules! coverage {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Counts of what happened, over one seed or many.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Coverage {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Coverage {
            /// Adds another's counts.
            pub fn add(&mut self, other: &Coverage) {
                $(self.$name += other.$name;)+
            }

            /// Each count with its name.
            #[must_use]
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),+]
            }
        }
    };
}

coverage! {
    /// Seeds.
    seeds,
    /// Things clients did.
    operations,
    /// Deaths of the broker.
    crashes,
    /// Deaths between two calls into a shard.
    crashes_in_turn,
    /// Deaths just before a commit is durable.
    crashes_before_commit,
    /// Deaths just after a commit is durable.
    crashes_after_commit,
    /// Deaths between two notices of one commit.
    crashes_between_notices,
    /// Deaths since the store failed.
    crashes_by_failed_commit,
    /// Deaths with writes that no commit had begun with.
    crashes_with_waiting_batches,
    /// Deaths with a publish unacknowledged.
    crashes_with_unacknowledged,
    /// Deaths with a QoS 2 message of a publisher after PUBREC and before PUBCOMP.
    crashes_in_qos2_in,
    /// Deaths with a QoS 2 message that a subscriber holds and that is not released.
    crashes_in_qos2_out,
    /// Deaths with a client whose CONNECT has no answer.
    crashes_in_connect,
    /// Deaths with a SUBSCRIBE that has no answer.
    crashes_in_subscribe,
    /// Restarts with another number of shards.
    reshards,
    /// Commits.
    commits,
    /// Commits with batches of several shards.
    shared_commits,
    /// Commits that found no room.
    full,
    /// Publishes refused since there was no room.
    refused_full,
    /// Turns with a shard that was behind.
    behind,
    /// Records written to the log.
    records,
    /// Records with several takers.
    shared_records,
    /// Records with retained messages that were put before what waited.
    shifted,
    /// Entries of groups dealt to a member.
    deals,
    /// Messages loaded from the store.
    loads,
    /// Messages that waited for their client and came without a load, from memory.
    tail_hits,
    /// Sessions resumed.
    resumed,
    /// Sessions resumed in a later life of the broker.
    resumed_after_crash,
    /// Sessions that expired.
    expired,
    /// Connections that took another one's place.
    takeovers,
    /// Clean starts over a session.
    clean_starts,
    /// Connections cut.
    cuts,
    /// Connections that only the client knew to be gone.
    half_open,
    /// Connections the broker closed for silence.
    keep_alive_timeouts,
    /// Publishes sent again with DUP.
    resends,
    /// Deliveries.
    deliveries,
    /// Deliveries with DUP.
    deliveries_dup,
    /// Deliveries of QoS 2.
    deliveries_qos2,
    /// Deliveries of QoS 2 under an identifier that the client held.
    deliveries_held,
    /// Deliveries of retained messages to a new subscription.
    deliveries_retained,
    /// Deliveries by shared subscriptions.
    deliveries_shared,
    /// Deliveries from a client that lives in another shard.
    deliveries_across,
    /// Deliveries of wills.
    deliveries_will,
    /// Deliveries of wills with a delay.
    deliveries_delayed_will,
    /// Wills withdrawn by coming back in time.
    wills_withdrawn,
    /// DISCONNECTs that changed the expiry.
    changed_expiry,
    /// Unsubscribes that were answered.
    unsubscribed,
    /// Retained messages removed.
    retained_removed,
    /// Messages sent with an expiry.
    with_expiry,
    /// Messages that expired before they could be sent.
    expired_messages,
    /// Envelopes that found an inbox full.
    full_inboxes,
    /// Connections not read since they waited.
    pauses,
    /// Reads that a short budget ended.
    budgets,
    /// Writes that did not fit the socket.
    blocked_writes,
}

impl Coverage {
    /// Names of what was never reached.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let all = self.all().into_iter();
        all.filter(|(_, count)| *count == 0)
            .map(|(name, _)| name)
            .collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.all() {
            writeln!(f, "{:>12}  {}", count, name.replace('_', " "))?;
        }
        Ok(())
    }
}
