//! `moat status`

use moat_api::{GetStatus, Status, StoreStatus};
use serde_json::json;

use crate::admin_client;
use crate::data_folder::DataPlace;
use crate::exit::Failure;
use crate::output::{Output, duration, size};

/// The column at which the values begin.
const VALUE_COLUMN: usize = 14;

/// Shows how the running broker is.
///
/// # Errors
/// No broker runs on the data folder, or it does not answer.
pub(crate) fn run(place: &DataPlace, output: &Output) -> Result<(), Failure> {
    place.must_exist()?;
    let status =
        admin_client::ask::<GetStatus>(&place.path).map_err(|none| none.failure(&place.path))?;
    output.result(&text(&status), || json!(status));
    Ok(())
}

fn text(status: &Status) -> String {
    let mut lines = Vec::new();
    let mut row = |name: &str, value: String| lines.push(format!("{name:VALUE_COLUMN$}{value}"));
    row(
        "moat",
        format!("{}, process {}", status.version, status.pid),
    );
    row(
        "running",
        format!(
            "{}, since {}",
            duration(status.uptime_secs),
            status.started_at
        ),
    );
    for listener in &status.listeners {
        let certificates = match listener.protocol.as_str() {
            "tls" | "wss" => format!(", client certificate {}", listener.client_auth),
            _ => String::new(),
        };
        row(
            "listens on",
            format!(
                "{} ({}, {}{certificates})",
                listener.address, listener.name, listener.protocol
            ),
        );
    }
    row("connections", status.connections.to_string());
    row("sessions", status.sessions.to_string());
    row("subscriptions", status.subscriptions.to_string());
    row("retained", status.retained_messages.to_string());
    row(
        "messages",
        format!(
            "{} received, {} sent, {} dropped",
            status.messages_received_total,
            status.messages_sent_total,
            status.messages_dropped_total
        ),
    );
    row("store", status.store.as_ref().map_or_else(none_kept, store));
    row("policy", format!("version {}", status.policy_version));
    for certificate in &status.certificates {
        row(
            "certificate",
            format!(
                "{}, until {} ({} days)",
                certificate.subject, certificate.not_after, certificate.days_left
            ),
        );
    }
    row(
        "threads",
        format!(
            "{}, longest turn of late {:.1} ms",
            status.shards,
            micros_in_millis(status.longest_turn_micros)
        ),
    );
    row("runs as", hardening(status));
    lines.join("\n")
}

fn micros_in_millis(micros: u64) -> f64 {
    // A count that a f64 does not hold exactly is days.
    micros as f64 / 1000.0
}

fn none_kept() -> String {
    "none: sessions and messages end with the broker".to_owned()
}

fn store(store: &StoreStatus) -> String {
    let mut text = format!(
        "{}, {} of {}, {} to be written",
        store.durability,
        size(store.bytes),
        size(store.bytes_max),
        size(store.pending_bytes)
    );
    if store.is_full {
        text += "; FULL: what has to be stored is not acknowledged until there is room";
    }
    if store.is_over_limit {
        text += "; OVER ITS LIMIT: messages that would have to be stored are refused";
    }
    if store.missing_total > 0 {
        text += &format!("; {} messages are MISSING", store.missing_total);
    }
    text
}

fn hardening(status: &Status) -> String {
    let hardening = &status.hardening;
    let part = |is: bool, yes: &str, no: &str| {
        if is {
            yes.to_owned()
        } else {
            no.to_uppercase()
        }
    };
    [
        hardening.user.clone(),
        part(
            hardening.capabilities_dropped,
            "no capabilities",
            "with capabilities",
        ),
        part(
            hardening.no_new_privs,
            "no new privileges",
            "can gain privileges",
        ),
        part(
            hardening.core_dumps_disabled,
            "no core dumps",
            "with core dumps",
        ),
    ]
    .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_store_cannot_be_overlooked() {
        let mut status = StoreStatus {
            path: "/s".into(),
            durability: "fsync".into(),
            bytes: 2048,
            bytes_max: 1 << 30,
            pending_bytes: 0,
            is_full: false,
            is_over_limit: false,
            commits_total: 0,
            records_total: 0,
            loaded_total: 0,
            missing_total: 0,
            full_total: 0,
            slowest_commit_micros: 0,
        };
        assert_eq!(
            store(&status),
            "fsync, 2.0 KiB of 1.0 GiB, 0 B to be written"
        );
        status.is_full = true;
        assert!(store(&status).contains("FULL"));
        (status.is_full, status.is_over_limit) = (false, true);
        assert!(store(&status).contains("OVER ITS LIMIT"));
    }
}
