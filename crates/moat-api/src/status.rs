//! `GET /v1/status`: how the broker is.

use crate::describe::record;
use crate::endpoint::{Audit, Endpoint, Nothing, Permission, Verb};

/// `GET /v1/status`.
#[derive(Clone, Copy, Debug)]
pub struct GetStatus;

impl Endpoint for GetStatus {
    type Request = Nothing;
    type Response = Status;

    const ID: &'static str = "status";
    const DOC: &'static str =
        "How the broker is: what it listens on, what it holds, how it is hardened.";
    const VERB: Verb = Verb::Get;
    const PATH: &'static str = "/v1/status";
    const PERMISSION: Permission = Permission::StatusRead;
    const AUDIT: Audit = Audit::Read;
}

record! {
    /// How the broker is at the moment of the answer.
    pub struct Status {
        /// The version of moat.
        pub version: String,
        /// When the broker started, as RFC 3339.
        pub started_at: String,
        /// How long it has been running, in seconds.
        pub uptime_secs: u64,
        /// The id of its process.
        pub pid: u32,
        /// The number of packet threads.
        pub shards: u16,
        /// What it listens on, one entry per address.
        pub listeners: Vec<ListenerStatus>,
        /// The clients that are connected.
        pub connections: u64,
        /// The sessions, connected or not.
        pub sessions: u64,
        /// The subscriptions of all sessions.
        pub subscriptions: u64,
        /// The retained messages.
        pub retained_messages: u64,
        /// The messages received from clients since the start.
        pub messages_received_total: u64,
        /// The messages sent to clients since the start.
        pub messages_sent_total: u64,
        /// The messages dropped because of a limit since the start.
        pub messages_dropped_total: u64,
        /// The longest turn of a packet thread in the last minute or two, in microseconds: whoever had something to say meanwhile had to wait for its end.
        pub longest_turn_micros: u64,
        /// The version of the policy in force; it rises with every reload that changes it.
        pub policy_version: u64,
        /// What sessions and retained messages are kept in; absent if nothing outlives the process.
        pub store: Option<StoreStatus>,
        /// The certificates the broker uses.
        pub certificates: Vec<CertificateStatus>,
        /// What the process has given up.
        pub hardening: HardeningStatus,
    }
}

record! {
    /// An address the broker listens on.
    pub struct ListenerStatus {
        /// The name of the listener.
        pub name: String,
        /// The address with its port.
        pub address: String,
        /// `tls` or `tcp`.
        pub protocol: String,
        /// `off`, `requested` or `required`: whether clients are asked for a certificate.
        pub client_auth: String,
    }
}

record! {
    /// What sessions and retained messages are kept in.
    pub struct StoreStatus {
        /// Its folder.
        pub path: String,
        /// `fsync` or `os`: what an acknowledgement promises.
        pub durability: String,
        /// Its bytes on the disk.
        pub bytes: u64,
        /// The most bytes it may have.
        pub bytes_max: u64,
        /// Bytes that wait to be written.
        pub pending_bytes: u64,
        /// Whether there was no room for the latest writes: what has to be stored is not acknowledged until there is.
        pub is_full: bool,
        /// Whether it has more bytes than it may have: messages that would have to be stored are refused.
        pub is_over_limit: bool,
        /// The commits since the start, each of them one write to the disk.
        pub commits_total: u64,
        /// The messages written to it since the start.
        pub records_total: u64,
        /// The messages read back from it since the start.
        pub loaded_total: u64,
        /// The messages that were asked for since the start and are not in it any more.
        pub missing_total: u64,
        /// How often it became full since the start.
        pub full_total: u64,
        /// How long the slowest commit since the start took, in microseconds.
        pub slowest_commit_micros: u64,
    }
}

record! {
    /// A certificate the broker uses.
    pub struct CertificateStatus {
        /// Its subject.
        pub subject: String,
        /// When it ends, as RFC 3339.
        pub not_after: String,
        /// The whole days until then, negative once it has ended.
        pub days_left: i64,
    }
}

record! {
    /// What the process has given up.
    pub struct HardeningStatus {
        /// Whether neither it nor its children can gain rights.
        pub no_new_privs: bool,
        /// Whether a crash writes no memory to the disk.
        pub core_dumps_disabled: bool,
        /// Whether it has no capability left.
        pub capabilities_dropped: bool,
        /// The user it runs as.
        pub user: String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status {
            version: "0.1.0".into(),
            started_at: "2026-11-22T05:33:32Z".into(),
            uptime_secs: 7,
            pid: 42,
            shards: 2,
            listeners: vec![ListenerStatus {
                name: "tls-8883".into(),
                address: "[::]:8883".into(),
                protocol: "tls".into(),
                client_auth: "requested".into(),
            }],
            connections: 1,
            sessions: 2,
            subscriptions: 3,
            retained_messages: 4,
            messages_received_total: 5,
            messages_sent_total: 6,
            messages_dropped_total: 0,
            longest_turn_micros: 10,
            policy_version: 1,
            store: Some(StoreStatus {
                path: "/var/lib/moat/store".into(),
                durability: "fsync".into(),
                bytes: 1,
                bytes_max: 2,
                pending_bytes: 3,
                is_full: true,
                is_over_limit: false,
                commits_total: 4,
                records_total: 5,
                loaded_total: 6,
                missing_total: 7,
                full_total: 8,
                slowest_commit_micros: 9,
            }),
            certificates: vec![CertificateStatus {
                subject: "CN=broker".into(),
                not_after: "2027-11-22T05:33:32Z".into(),
                days_left: -1,
            }],
            hardening: HardeningStatus {
                no_new_privs: true,
                core_dumps_disabled: true,
                capabilities_dropped: false,
                user: "moat".into(),
            },
        }
    }

    #[test]
    fn what_the_server_writes_the_command_line_reads() {
        let text = serde_json::to_string(&status()).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status());
    }

    #[test]
    fn a_newer_servers_field_is_no_error() {
        let mut value = serde_json::to_value(status()).unwrap();
        value["bridges"] = 3.into();
        assert_eq!(serde_json::from_value::<Status>(value).unwrap(), status());
    }
}
