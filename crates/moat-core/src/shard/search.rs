//! Retained messages on their way to a new subscription, a part at a time.
//!
//! A subscription makes one search per shard that may own what it matches. A search goes on only when what it brought before has
//! been sent, so a client that does not read is owed a bounded number; and all searches of a turn share one budget, so
//! a client that asks for everything, again and again, does not hold up the others.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use moat_codec::QoS;

use super::publication::{Holder, Local, Takers};
use super::{PeerMessage, SessionRef, Shard, ShardId};
use crate::effects::Effects;
use crate::message::Message;
use crate::router::retained::SearchBounds;
use crate::session::SessionIndex;
use crate::time::Time;

/// Levels of retained topics looked at per turn, for all searches together.
pub const SEARCH_VISITS_PER_TURN_MAX: usize = 2048;
/// Messages one part of a search brings.
pub const SEARCH_MESSAGES_MAX: usize = 32;
/// Searches of one session that are being worked on at once, here or in other shards.
pub const SEARCHES_UNDER_WAY_MAX: u16 = 4;
/// Searches that may wait for one session before those a later one makes needless are looked for, besides twice those
/// that its subscriptions can need.
pub const SEARCHES_SPARE: usize = 64;

/// The retained messages a new subscription is owed.
#[derive(Clone, Debug)]
pub struct RetainedWish {
    /// The topic filter.
    pub filter: Box<str>,
    /// The maximum QoS granted.
    pub qos: QoS,
    /// The subscription identifier.
    pub id: Option<NonZeroU32>,
}

/// One shard's part of a [`RetainedWish`], and how far it has come.
#[derive(Clone, Debug)]
pub struct Search {
    /// What is wanted.
    pub wish: RetainedWish,
    /// Whose retained messages are searched.
    pub owner: ShardId,
    /// Only messages kept no later than as this number of the owner's; `None` before the owner has seen the search.
    pub upto: Option<u64>,
    /// Where to go on.
    pub after: Option<Box<str>>,
}

/// A search whose turn had no budget left.
#[derive(Debug)]
pub(super) struct Delayed {
    search: Box<Search>,
    to: SessionRef,
}

impl Shard {
    /// Makes the searches of a subscription just made [MQTT-3.3.1-8]. They begin with the next pump.
    pub(super) fn search_retained(&mut self, at: SessionIndex, wish: RetainedWish) {
        let has_wildcard = wish.filter.bytes().any(|b| b == b'+' || b == b'#');
        let owner = self.topology.owner(&wish.filter);
        let shards = self.topology.len();
        let needed_max = self.limits.subscriptions_per_session_max * shards;
        let (id, kept_total) = (self.id, self.retained.kept_total());
        // Values of the broker are not among the messages that are counted, but their levels are.
        let is_empty = self.retained.bytes() == 0;
        let topology = self.topology.clone();
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return;
        };
        let owners = topology.shards().filter(|shard| {
            // An empty store here needs no search; another shard's is not known.
            (has_wildcard || *shard == owner) && !(*shard == id && is_empty)
        });
        let mut owners = owners.peekable();
        if owners.peek().is_none() {
            return;
        }
        let searches = &mut session.outbound_mut().searches;
        for owner in owners {
            searches.push_back(Search {
                wish: wish.clone(),
                owner,
                upto: (owner == id).then_some(kept_total),
                after: None,
            });
        }
        if searches.len() > 2 * needed_max + SEARCHES_SPARE {
            // The latest search of a filter begins from the start, so it brings what the earlier ones still would.
            let mut seen = HashSet::new();
            let mut latest = std::mem::take(searches);
            while let Some(search) = latest.pop_back() {
                if seen.insert((search.owner, search.wish.filter.clone())) {
                    searches.push_front(search);
                }
            }
        }
    }

    /// Begins the next searches of a session whose retained messages have all been sent. Returns whether that brought
    /// something to send.
    pub(super) fn search_on(&mut self, at: SessionIndex, now: Time, fx: &mut Effects) -> bool {
        loop {
            let Some(session) = self.residents.sessions.get_mut(at.get()) else {
                return false;
            };
            let to = SessionRef {
                shard: self.id,
                session: at,
                generation: session.generation,
            };
            let (Some(link), Some(outbound)) =
                (session.link.as_deref(), session.outbound.as_deref_mut())
            else {
                return false;
            };
            let may_begin = outbound.retained.is_empty()
                && outbound.searching < SEARCHES_UNDER_WAY_MAX
                && link.out.len() < self.limits.out_buffer_bytes_max;
            if !may_begin {
                return false;
            }
            let Some(search) = outbound.searches.pop_front() else {
                return false;
            };
            if !session.subscriptions.contains(&search.wish.filter) {
                continue;
            }
            outbound.searching += 1;
            let search = Box::new(search);
            if search.owner != self.id {
                // Behind the retained messages that are under way to their owner.
                fx.tell_last(search.owner, PeerMessage::RetainedWanted { search, to });
            } else if self.search_visits_left == 0 {
                self.delayed_searches.push_back(Delayed { search, to });
            } else {
                let (search, messages) = self.search_part(search, now);
                if self.found(to, search, messages, now, fx) {
                    return true;
                }
            }
        }
    }

    /// Another shard's session wants retained messages that are kept here.
    pub(super) fn search_wanted(
        &mut self,
        mut search: Box<Search>,
        to: SessionRef,
        now: Time,
        fx: &mut Effects,
    ) {
        search.upto.get_or_insert(self.retained.kept_total());
        if self.search_visits_left == 0 {
            self.delayed_searches.push_back(Delayed { search, to });
            return;
        }
        self.search_for_peer(search, to, now, fx);
    }

    fn search_for_peer(
        &mut self,
        search: Box<Search>,
        to: SessionRef,
        now: Time,
        fx: &mut Effects,
    ) {
        let (search, messages) = self.search_part(search, now);
        fx.tell(
            to.shard,
            PeerMessage::RetainedFound {
                search,
                to,
                messages,
            },
        );
    }

    /// What another shard has found for a session of this one.
    pub(super) fn search_answered(
        &mut self,
        to: SessionRef,
        search: SearchPart,
        messages: Vec<Arc<Message>>,
        now: Time,
        fx: &mut Effects,
    ) {
        self.found(to, search, messages, now, fx);
        self.pump(to.session, now, fx);
    }

    /// A new turn: its budget is whole, and those who found none left go first.
    pub(super) fn search_delayed(&mut self, now: Time, fx: &mut Effects) {
        self.search_visits_left = SEARCH_VISITS_PER_TURN_MAX;
        while self.search_visits_left > 0 {
            let Some(Delayed { search, to }) = self.delayed_searches.pop_front() else {
                return;
            };
            if to.shard != self.id {
                self.search_for_peer(search, to, now, fx);
                continue;
            }
            let (search, messages) = self.search_part(search, now);
            self.found(to, search, messages, now, fx);
            self.pump(to.session, now, fx);
        }
    }

    /// One part of a search in this shard's retained messages.
    fn search_part(
        &mut self,
        mut search: Box<Search>,
        now: Time,
    ) -> (SearchPart, Vec<Arc<Message>>) {
        let mut messages = Vec::new();
        let bounds = SearchBounds {
            visits_max: self.search_visits_left.max(1),
            messages_max: SEARCH_MESSAGES_MAX,
        };
        let step = self.retained.search(
            &search.wish.filter,
            search.after.as_deref(),
            search.upto.unwrap_or(u64::MAX),
            now,
            bounds,
            |message| messages.push(Arc::clone(message)),
        );
        // A look that finds nothing costs something too.
        let cost = step.visits.max(1);
        self.search_visits_left = self.search_visits_left.saturating_sub(cost);
        let is_over = step.next.is_none();
        search.after = step.next;
        (SearchPart { search, is_over }, messages)
    }

    /// Owes a session what a part of a search has brought, and lets the search wait for its next part. Returns whether
    /// there is something to send.
    fn found(
        &mut self,
        to: SessionRef,
        part: SearchPart,
        messages: Vec<Arc<Message>>,
        now: Time,
        fx: &mut Effects,
    ) -> bool {
        let wish = &part.search.wish;
        let (policy, limits) = (&self.policy, &self.limits);
        let messages =
            self.residents
                .receivable(to.session, &wish.filter, messages, policy, limits, fx);
        let Some(session) = self.residents.same(to.session, to.generation) else {
            return false;
        };
        let is_wanted = session.subscriptions.contains(&wish.filter)
            && (session.link.is_some() || wish.qos != QoS::AtMostOnce);
        let has_messages = is_wanted && !messages.is_empty();
        let mut kept = Vec::new();
        if has_messages {
            let keep = |message: &Arc<Message>, taker| kept.push((Arc::clone(message), taker));
            session.owe_retained(messages, wish.qos, wish.id, keep);
        }
        let outbound = session.outbound_mut();
        outbound.searching = outbound.searching.saturating_sub(1);
        if is_wanted && !part.is_over {
            outbound.searches.push_front(*part.search);
        }
        if outbound.is_empty() {
            // As with nearly every subscription; what is idle must not pay for it.
            session.outbound = None;
        }
        if !kept.is_empty() {
            // Which live messages they were put before has to be known as well.
            self.residents.note_urgent(to.session);
        }
        for (message, taker) in kept {
            let takers = Takers {
                local: vec![Local {
                    holder: Holder::Session(to),
                    place: taker.place,
                }],
                list: vec![taker],
                ..Takers::default()
            };
            self.write_alone(message, takers, now, fx);
        }
        has_messages
    }
}

/// What is left of a search after one of its parts.
#[derive(Debug)]
pub struct SearchPart {
    /// The search, to go on with.
    pub search: Box<Search>,
    /// Whether everything was looked at.
    pub is_over: bool,
}
