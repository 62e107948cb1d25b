//! From the limits of the configuration to those of each crate that keeps them.

use moat_broker::admission::AdmissionLimits;
use moat_config::{Limits, QueueFull, Store};

/// What sessions and the router keep.
pub(crate) fn core(limits: &Limits, store: &Store) -> moat_core::Limits {
    moat_core::Limits {
        packet: codec(limits),
        inflight_messages_max: limits.inflight_messages_max.get(),
        queued_messages_max: limits.queued_messages_max,
        queued_bytes_max: limits.queued_bytes_max,
        queue_full: match store.queue_full {
            QueueFull::DropNewest => moat_core::limits::QueueFull::DropNewest,
            QueueFull::DropOldest => moat_core::limits::QueueFull::DropOldest,
        },
        queued_message_age_secs_max: store.queued_message_age_secs_max.into(),
        log_memory_bytes_max: store.log_memory_bytes_max,
        subscriptions_per_session_max: limits.subscriptions_per_session_max.get(),
        publishes_per_sec_max: limits.publishes_per_sec_max.get(),
        publish_burst_max: limits.publish_burst_max.get(),
        filters_per_sec_max: limits.filters_per_sec_max.get(),
        keep_alive_secs_max: limits.keep_alive_secs_max.get(),
        session_expiry_secs_max: limits.session_expiry_secs_max,
        sessions_max: limits.sessions_max.get(),
        retained_messages_max: limits.retained_messages_max,
        retained_bytes_max: limits.retained_bytes_max,
        retained_per_identity_max: limits.retained_per_identity_max,
        topic_alias_max: limits.topic_alias_max,
        out_buffer_bytes_max: limits.out_buffer_bytes_max.get(),
        // What waits to leave a thread is bounded like what waits to enter one.
        peer_outbox_messages_max: limits.inbox_messages_max.get(),
        ..moat_core::Limits::default()
    }
}

/// What a packet may hold.
pub(crate) fn codec(limits: &Limits) -> moat_codec::Limits {
    moat_codec::Limits {
        packet_bytes_max: limits.packet_bytes_max.get(),
        topic_bytes_max: limits.topic_bytes_max.get(),
        topic_levels_max: limits.topic_levels_max.get(),
        client_id_bytes_max: limits.client_id_bytes_max.get(),
        filters_per_packet_max: limits.filters_per_packet_max.get(),
        user_properties_max: limits.user_properties_max,
    }
}

/// What connections keep.
pub(crate) fn admission(limits: &Limits) -> AdmissionLimits {
    AdmissionLimits {
        connections_max: limits.connections_max.get(),
        new_address_connections_reserve: limits.new_address_connections_reserve,
        unauthenticated_per_address_max: count(limits.unauthenticated_per_address_max.get()),
        connections_per_identity_max: count(limits.connections_per_identity_max.get()),
        preauth_bytes_total_max: limits.preauth_bytes_total_max.get(),
    }
}

/// A count that is stored in fewer bits; the configuration allows none that does not fit.
fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_the_configuration_are_those_of_the_crates() {
        let limits = Limits::default();
        assert_eq!(codec(&limits), moat_codec::Limits::default());
        let (ours, theirs) = (
            core(&limits, &Store::default()),
            moat_core::Limits::default(),
        );
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }
}
