//! Which sessions there have to be, by what the broker was told and when.

use moat_core::Time;

use super::storage::Storage;

/// What is known of a client's session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    /// There is none, since that moment.
    No(Time),
    /// There is one.
    Yes,
    /// There may be one.
    Maybe,
}

/// A client's session, as its broker has to see it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    known: Known,
    /// The connection it has.
    online: Option<u32>,
    /// Between which moments it went offline.
    offline: (Time, Time),
    /// Seconds it lives without a connection, at least and at most.
    expiry: (u32, u32),
    /// Whether its last DISCONNECT asked for another expiry.
    has_asked: bool,
    /// Whether the client was told that it has it.
    is_told: bool,
    /// Whether there may be something of it in the store.
    is_stored: bool,
}

/// All sessions, by the number of their client.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    seen: Vec<Seen>,
}

fn plus(moment: Time, secs: u32) -> Time {
    match secs {
        u32::MAX => Time::NEVER,
        secs => moment.plus_secs(u64::from(secs)),
    }
}

impl Seen {
    const NOTHING: Seen = Seen {
        known: Known::No(Time::ZERO),
        online: None,
        offline: (Time::ZERO, Time::ZERO),
        expiry: (0, 0),
        has_asked: false,
        is_told: false,
        is_stored: false,
    };
}

impl Ledger {
    pub(super) fn new(clients: usize) -> Self {
        Ledger {
            seen: vec![Seen::NOTHING; clients],
        }
    }

    /// One more client.
    pub(super) fn add(&mut self) {
        self.seen.push(Seen::NOTHING);
    }

    /// Whether a CONNECT that the broker handles now has to find a session; `None` if either is right.
    pub(super) fn expected(&self, client: usize, clean_start: bool, now: Time) -> Option<bool> {
        let seen = &self.seen[client];
        if clean_start {
            return Some(false);
        }
        match seen.known {
            Known::No(_) => Some(false),
            Known::Maybe => None,
            Known::Yes if seen.online.is_some() => match seen.expiry {
                (0, 0) => Some(false),
                (0, _) => None,
                _ => Some(true),
            },
            Known::Yes if now >= plus(seen.offline.1, seen.expiry.1) => Some(false),
            Known::Yes if now < plus(seen.offline.0, seen.expiry.0) => Some(true),
            Known::Yes => None,
        }
    }

    /// Whether a will with that delay is not due by now for certain, and the other way round.
    pub(super) fn will(&self, client: usize, delay_secs: u32, now: Time) -> WillDue {
        let seen = &self.seen[client];
        if seen.online.is_some() && seen.expiry.0 > 0 {
            return WillDue::NotYet;
        }
        let least = plus(seen.offline.0, delay_secs.min(seen.expiry.0));
        let most = plus(seen.offline.1, delay_secs.min(seen.expiry.1));
        if matches!(seen.known, Known::No(_)) {
            WillDue::Due
        } else if seen.known == Known::Maybe || seen.online.is_some() {
            WillDue::Unknown
        } else if now < least {
            WillDue::NotYet
        } else if now > most {
            WillDue::Due
        } else {
            WillDue::Unknown
        }
    }

    /// The broker has given a client a session.
    pub(super) fn online(&mut self, client: usize, conn: u32, expiry_secs: u32) {
        let seen = &mut self.seen[client];
        *seen = Seen {
            known: Known::Yes,
            online: Some(conn),
            expiry: (expiry_secs, expiry_secs),
            is_told: false,
            is_stored: seen.is_stored || expiry_secs > 0,
            ..*seen
        };
    }

    /// The client knows.
    pub(super) fn told(&mut self, client: usize, conn: u32) {
        let seen = &mut self.seen[client];
        seen.is_told |= seen.online == Some(conn);
    }

    /// The broker knows that a connection is gone. `asked` is the expiry that its DISCONNECT asked for; it was handled for certain if
    /// `is_certain`.
    pub(super) fn offline(
        &mut self,
        client: usize,
        conn: u32,
        asked: Option<u32>,
        is_certain: bool,
        now: Time,
    ) {
        let seen = &mut self.seen[client];
        if seen.online != Some(conn) {
            return;
        }
        seen.online = None;
        seen.offline = (now, now);
        seen.has_asked = asked.is_some();
        if let Some(asked) = asked {
            let (least, most) = seen.expiry;
            seen.expiry = if is_certain {
                (asked, asked)
            } else {
                (least.min(asked), most.max(asked))
            };
        }
        if seen.expiry == (0, 0) {
            seen.known = Known::No(now);
        }
    }

    /// Clients whose session may have come to its end without a connection; whether there is one is not known any more.
    pub(super) fn expired(&mut self, now: Time) -> Vec<usize> {
        let mut expired = Vec::new();
        for (client, seen) in self.seen.iter_mut().enumerate() {
            let is_offline = seen.known == Known::Yes && seen.online.is_none();
            if is_offline && now >= plus(seen.offline.0, seen.expiry.0) {
                seen.known = Known::Maybe;
                expired.push(client);
            }
        }
        expired
    }

    /// The broker has died; the next one takes it for alive until `alive_at`.
    pub(super) fn crashed(&mut self, alive_at: Time, now: Time, storage: &Storage) {
        for seen in &mut self.seen {
            let was_online = seen.online.take().is_some();
            match seen.known {
                Known::No(since) if seen.is_stored && !storage.has_settled(since) => {
                    seen.known = Known::Maybe;
                }
                Known::Yes if !seen.is_told => seen.known = Known::Maybe,
                Known::Yes if was_online && seen.expiry == (0, 0) => {
                    seen.known = match seen.is_stored {
                        true => Known::Maybe,
                        false => Known::No(now),
                    };
                }
                Known::Yes if was_online => seen.offline = (alive_at, alive_at),
                Known::Yes if !storage.has_settled(seen.offline.1) => {
                    seen.offline.0 = seen.offline.0.min(alive_at);
                    seen.offline.1 = seen.offline.1.max(alive_at);
                    if seen.has_asked {
                        // Its DISCONNECT may not be in the store, with what it asked for.
                        seen.known = Known::Maybe;
                    }
                }
                Known::Yes | Known::No(_) | Known::Maybe => {}
            }
        }
    }
}

/// Whether a will is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WillDue {
    NotYet,
    Due,
    Unknown,
}
