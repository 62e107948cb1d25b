//! The table of events: the place to add one.

use crate::address::PeerAddress;
use crate::catalogue::{EventMeta, Field, FieldMeta, Level, Value, events};

events! {
    /// The broker has opened its listeners and serves.
    ServerStarted = "server.started", Notice, audited {
        /// The version of moat.
        version: String,
        /// The number of packet threads.
        shards: u64,
    }

    /// A listener accepts connections.
    ListenerOpened = "listener.opened", Notice, unaudited {
        /// The name of the listener.
        listener: String,
        /// The address it listens on; `unix:` and the path of a Unix socket.
        address: String,
        /// `tls`, `tcp`, `wss`, `ws` or `unix`.
        protocol: String,
        /// `off`, `requested` or `required`: whether clients are asked for a certificate.
        client_auth: String,
    }

    /// A listener lets everybody in without an identity, as it was told to.
    AnonymousListener = "listener.anonymous", Warning, audited {
        /// The name of the listener.
        listener: String,
        /// The address it listens on; `unix:` and the path of a Unix socket.
        address: String,
    }

    /// The broker was asked to stop and closes its connections.
    ServerStopping = "server.stopping", Notice, audited {
        /// Who or what asked for it, for example `SIGTERM`.
        reason: String,
    }

    /// The broker has closed everything and exits.
    ServerStopped = "server.stopped", Notice, audited {}

    /// The process has given up the rights it started with.
    PrivilegesDropped = "server.privileges_dropped", Notice, audited {
        /// The user it became, if one is configured.
        user: Option<String>,
        /// What was given up.
        detail: String,
    }

    /// A client has an identity and a session: its CONNECT was answered with success.
    ClientConnected = "client.connected", Notice, audited {
        /// The identity of the client.
        identity: String,
        /// What proved the identity: `certificate`, `password` or `anonymous`.
        source: String,
        /// The client id.
        client_id: String,
        /// The address of the peer; its credentials if it came by a Unix socket.
        address: PeerAddress,
        /// The name of the listener.
        listener: String,
        /// The protocol version: `3.1`, `3.1.1` or `5.0`.
        version: String,
        /// Whether the client asked for a new session.
        clean_start: bool,
        /// Whether an earlier session goes on.
        session_present: bool,
        /// The keep alive in force in seconds, 0 for none.
        keep_alive_secs: u64,
        /// The TLS version, absent on a plain listener.
        tls: Option<String>,
    }

    /// A connected client is gone.
    ClientDisconnected = "client.disconnected", Notice, audited {
        /// The identity of the client.
        identity: String,
        /// The client id.
        client_id: String,
        /// The address of the peer; its credentials if it came by a Unix socket.
        address: PeerAddress,
        /// Why the connection ended.
        reason: String,
        /// The MQTT 5.0 reason code that says the same, whichever version the client speaks.
        reason_code: u64,
    }

    /// A connection was closed before its CONNECT was accepted: a limit, a time-out or malformed bytes.
    ConnectionRefused = "connection.refused", Info, unaudited {
        /// The address of the peer; its credentials if it came by a Unix socket.
        address: PeerAddress,
        /// The name of the listener.
        listener: String,
        /// Which rule or limit refused it.
        reason: String,
    }

    /// A TLS handshake did not complete.
    TlsHandshakeFailed = "tls.handshake_failed", Info, unaudited {
        /// The address of the peer; its credentials if it came by a Unix socket.
        address: PeerAddress,
        /// The name of the listener.
        listener: String,
        /// What went wrong.
        error: String,
    }

    /// A client could not prove who it is.
    AuthenticationFailed = "authentication.failed", Warning, audited {
        /// The name the client tried, if it gave one.
        identity: Option<String>,
        /// The client id it sent.
        client_id: String,
        /// The address of the peer; its credentials if it came by a Unix socket.
        address: PeerAddress,
        /// The name of the listener.
        listener: String,
        /// How it tried: `certificate`, `password`, `enhanced` (an authentication method of MQTT 5.0) or `none`.
        method: String,
        /// Why it was refused; more than the client was told.
        reason: String,
    }

    /// A publish was refused by the policy.
    PublishDenied = "publish.denied", Warning, audited {
        /// The identity of the client.
        identity: String,
        /// The client id.
        client_id: String,
        /// The address of the peer; its credentials if it came by a Unix socket.
        address: PeerAddress,
        /// The topic of the message.
        topic: String,
        /// The rule that decided, with file and line.
        rule: String,
    }

    /// A message was delivered but not kept as the retained one of its topic, because a limit was reached.
    RetainRefused = "retain.refused", Warning, audited {
        /// The identity of the publisher.
        identity: String,
        /// The topic of the message.
        topic: String,
        /// The configuration key of the limit.
        limit: String,
    }

    /// A subscription was refused by the policy.
    SubscribeDenied = "subscribe.denied", Warning, audited {
        /// The identity of the client.
        identity: String,
        /// The client id.
        client_id: String,
        /// The address of the peer; its credentials if it came by a Unix socket.
        address: PeerAddress,
        /// The topic filter the client asked for.
        filter: String,
        /// The rule that decided, with file and line.
        rule: String,
    }

    /// A will was refused by the policy: at its CONNECT, which is then refused too, or when it was due.
    WillDenied = "will.denied", Warning, audited {
        /// The identity of the client.
        identity: String,
        /// The client id.
        client_id: String,
        /// The address of the peer; `0.0.0.0:0` when the client was gone already.
        address: PeerAddress,
        /// The topic of the will.
        topic: String,
        /// The rule that decided, with file and line.
        rule: String,
    }

    /// A will was published because its client is gone.
    WillPublished = "will.published", Info, unaudited {
        /// The identity of the client.
        identity: String,
        /// The client id.
        client_id: String,
        /// The topic of the will.
        topic: String,
    }

    /// A connected client broke the protocol and is disconnected.
    ProtocolViolation = "protocol.violation", Info, unaudited {
        /// The identity of the client.
        identity: String,
        /// The client id.
        client_id: String,
        /// The address of the peer; its credentials if it came by a Unix socket.
        address: PeerAddress,
        /// What was wrong.
        error: String,
        /// The MQTT 5.0 reason code for it.
        reason_code: u64,
    }

    /// A session moved to a newer connection of the same identity and client id.
    SessionTakenOver = "session.taken_over", Notice, audited {
        /// The identity of the client.
        identity: String,
        /// The client id.
        client_id: String,
        /// The address of the connection that is closed.
        address: PeerAddress,
        /// The address of the connection that has the session now.
        by: PeerAddress,
    }

    /// The session of an absent client has ended.
    SessionExpired = "session.expired", Info, unaudited {
        /// The identity of the client.
        identity: String,
        /// The client id.
        client_id: String,
        /// How many messages it still had queued.
        queued: u64,
    }

    /// A subscription was removed because the policy no longer allows it.
    SubscriptionRemoved = "subscription.removed", Warning, audited {
        /// The identity of the client.
        identity: String,
        /// The client id.
        client_id: String,
        /// The topic filter.
        filter: String,
        /// The rule that decided, with file and line.
        rule: String,
    }

    /// Messages for a client were dropped.
    MessagesDropped = "messages.dropped", Warning, unaudited {
        /// The identity of the receiver.
        identity: String,
        /// The client id of the receiver.
        client_id: String,
        /// How many since the last such event.
        count: u64,
        /// The limit or rule that dropped them.
        cause: String,
    }

    /// The policy judges each delivery of a client, as a mosquitto ACL has it, and kept back messages that its subscriptions match. Told for the first, the second, the fourth … of a session.
    MessagesWithheld = "messages.withheld", Info, unaudited {
        /// The identity of the receiver.
        identity: String,
        /// The client id of the receiver.
        client_id: String,
        /// The topic of the latest one, or the filter whose retained messages were kept back.
        topic: String,
        /// How many in this session so far.
        count: u64,
    }

    /// Messages of QoS 1 or 2 for a shared subscription were dropped; told when the total has doubled.
    SharedMessagesDropped = "shared.dropped", Warning, unaudited {
        /// The filter of the group, with `$share/GROUP/`.
        filter: String,
        /// How many the group has lost in all.
        total: u64,
        /// What dropped them.
        cause: String,
    }

    /// A client publishes faster than it may and is slowed down.
    PublishRateExceeded = "publish.rate_exceeded", Warning, unaudited {
        /// The identity of the client.
        identity: String,
        /// The client id.
        client_id: String,
        /// The address of the peer; its credentials if it came by a Unix socket.
        address: PeerAddress,
    }

    /// A client subscribes and unsubscribes faster than it may and is slowed down.
    SubscribeRateExceeded = "subscribe.rate_exceeded", Warning, unaudited {
        /// The identity of the client.
        identity: String,
        /// The client id.
        client_id: String,
        /// The address of the peer.
        address: PeerAddress,
    }

    /// The store was opened and what was in it is back.
    StoreOpened = "store.opened", Notice, audited {
        /// The folder of the store.
        path: String,
        /// `fsync` or `os`: what an acknowledgement promises.
        durability: String,
        /// Sessions that go on.
        sessions: u64,
        /// Retained messages.
        retained: u64,
        /// Messages that wait for sessions.
        messages: u64,
        /// How long it took, in milliseconds.
        millis: u64,
    }

    /// The last writes before a crash were not complete and are gone. Nothing in them was acknowledged.
    StoreTorn = "store.torn", Warning, audited {
        /// The file they were in.
        file: String,
        /// How many bytes they had.
        bytes: u64,
    }

    /// The store has no room. Nothing that has to be stored is acknowledged until it fits; that is tried every second.
    StoreFull = "store.full", Error, audited {
        /// The store's own words.
        cause: String,
    }

    /// The store has room again, and all that waited is stored.
    StoreRecovered = "store.recovered", Notice, audited {
        /// How long it was full, in seconds.
        secs: u64,
    }

    /// The store is larger than `store.log_bytes_max`: messages that would have to be stored are refused.
    StoreOverLimit = "store.over_limit", Error, audited {
        /// Its size in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    }

    /// The store is within its limit again.
    StoreWithinLimit = "store.within_limit", Notice, audited {
        /// Its size in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    }

    /// The disk failed, or the store is damaged: what is durable is not known any more. The broker ends.
    StoreFailed = "store.failed", Error, audited {
        /// What failed, in the store's own words.
        cause: String,
    }

    /// A message that a session waits for is not in the store any more.
    StoreMessageMissing = "store.message_missing", Error, audited {
        /// The part of the log.
        part: u64,
        /// Its number there.
        sequence: u64,
    }

    /// A file was read again and is in force.
    ReloadSucceeded = "reload.succeeded", Notice, audited {
        /// What was read: `policy`, `certificates` or `users`.
        what: String,
    }

    /// A file was read again and is wrong; what was in force stays in force.
    ReloadFailed = "reload.failed", Error, audited {
        /// What was read: `policy`, `certificates` or `users`; `log` when it could not be opened again.
        what: String,
        /// What is wrong with it, with file and line.
        error: String,
    }

    /// A certificate the broker uses ends soon.
    CertificateExpiring = "certificate.expiring", Warning, unaudited {
        /// The subject of the certificate.
        subject: String,
        /// How many whole days are left, 0 if it has ended.
        days_left: u64,
        /// The file it is in.
        path: String,
    }

    /// Somebody used the admin API.
    AdminRequest = "admin.request", Info, audited {
        /// The HTTP method.
        method: String,
        /// The path, without the query.
        path: String,
        /// Who asked: the address, or the user id at the other end of the Unix socket.
        peer: String,
        /// The HTTP status it was answered with, or why it was refused.
        outcome: String,
    }

    /// The log file was closed and opened again under its name.
    LogReopened = "log.reopened", Notice, unaudited {}

    /// Events were lost because they came faster than the log could be written.
    EventsDropped = "events.dropped", Error, audited {
        /// How many since the last such event.
        count: u64,
    }
}
