//! A broker starts on what an earlier one has left in its store.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;

use super::keeper::Keeper;
use super::route::retain_refused;
use super::{Shard, Topology};
use crate::durable::{Place, Progress, Restored, RestoredEntry, RestoredSession, Taker, Write};
use crate::effects::Effects;
use crate::message::Message;
use crate::router::shared::is_shared;
use crate::session::entry::Entry;
use crate::session::inflight::Pending;
use crate::session::parcel::{Content, Parcel};
use crate::session::{Durable, Outbound, Subscriber};
use crate::time::Time;

/// Gives the shards of one broker what the store has, before anybody connects: each session and retained message to its home. `shards` and
/// their `effects` are in the order of their numbers. When this returns, every shard knows what the others want.
pub fn restore_all(shards: &mut [Shard], effects: &mut [Effects], restored: Restored, now: Time) {
    let Some(topology) = shards.first().map(|shard| shard.topology.clone()) else {
        return;
    };
    for (shard, fx) in shards.iter_mut().zip(effects.iter_mut()) {
        shard.keep(&restored, fx);
    }
    // Groups before their members, who would make new ones.
    for group in restored.groups {
        let at = topology.owner(&group.filter).index();
        shards[at].restore_group(group, &mut effects[at]);
    }
    for message in restored.retained {
        let at = topology.owner(message.topic()).index();
        shards[at].restore_retained(&message, now, &mut effects[at]);
    }
    for sessions in by_age(restored.sessions) {
        for session in sessions {
            let record = &session.record;
            let home = topology.home(&record.identity.name, &record.client_id);
            let (shard, fx) = (&mut shards[home.index()], &mut effects[home.index()]);
            if let Some(older) = shard.find(&record.identity.name, &record.client_id) {
                // A clean start had replaced it, and the broker ended before its will was published and it was gone.
                shard.end_session(older, now, fx);
            }
            shard.restore_session(session, restored.alive_at, now, fx);
        }
        exchange(shards, effects, &topology, now);
        for (shard, fx) in shards.iter_mut().zip(effects.iter_mut()) {
            for (at, number, will) in std::mem::take(&mut shard.overdue_wills) {
                shard.publish_stored_will(at, &will, Some(number), now, fx);
            }
        }
        exchange(shards, effects, &topology, now);
    }
    for (shard, fx) in shards.iter_mut().zip(effects.iter_mut()) {
        shard.end_empty_groups(fx);
    }
    exchange(shards, effects, &topology, now);
}

/// Sessions in rounds: a session that replaced another one of the same client comes in a later round. Nearly always there is one round.
fn by_age(mut sessions: Vec<RestoredSession>) -> Vec<Vec<RestoredSession>> {
    sessions.sort_by_key(|session| session.queue);
    let mut versions: HashMap<_, usize, RandomState> = HashMap::default();
    let mut rounds = vec![Vec::with_capacity(sessions.len())];
    for session in sessions {
        let record = &session.record;
        let key = (Arc::clone(&record.identity.name), record.client_id.clone());
        let round = versions.entry(key).or_insert(0);
        if rounds.len() <= *round {
            rounds.push(Vec::new());
        }
        rounds[*round].push(session);
        *round += 1;
    }
    rounds
}

/// Lets the shards tell each other what there is to tell, until nothing is left.
fn exchange(shards: &mut [Shard], effects: &mut [Effects], topology: &Topology, now: Time) {
    loop {
        let mut is_quiet = true;
        for from in topology.shards() {
            for to in topology.shards() {
                let outbox = &mut effects[from.index()].peers[to.index()];
                let mut messages = std::mem::take(&mut outbox.messages);
                messages.append(&mut outbox.confirmations);
                is_quiet &= messages.is_empty();
                for message in messages {
                    shards[to.index()].peer(from, message, now, &mut effects[to.index()]);
                }
            }
        }
        if is_quiet {
            return;
        }
    }
}

impl Shard {
    /// Makes sessions with an expiry, and retained messages, durable from now on.
    fn keep(&mut self, restored: &Restored, fx: &mut Effects) {
        let part = u16::from(self.id.number());
        let mut next = restored.next_sequences.iter();
        let next = next.find_map(|(of, sequence)| (*of == part).then_some(*sequence));
        let tail = self.limits.log_memory_bytes_max / self.topology.len();
        self.keeper = Some(Keeper::new(restored.start, next.unwrap_or(1), tail));
        if !restored.sessions.is_empty() {
            self.tell_of_durable_sessions(fx);
        }
    }

    fn restore_session(
        &mut self,
        restored: RestoredSession,
        alive_at: Time,
        now: Time,
        fx: &mut Effects,
    ) {
        let RestoredSession {
            queue,
            record,
            subscriptions,
            mut progress,
            inbound,
            mut wills,
            entries,
        } = restored;
        progress.note_arrivals(&entries);
        let at = self
            .residents
            .create(Arc::clone(&record.identity), record.client_id.clone());
        let waits_until = self.limits.waits_until(now);
        let was_online = record.offline_since.is_none();
        let offline_since = record.offline_since.unwrap_or(alive_at);
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return;
        };
        session.expiry_secs = record.expiry_secs;
        session.inbound = inbound;
        session.ends_at = match record.expiry_secs {
            u32::MAX => Time::NEVER,
            secs => offline_since.plus_secs(u64::from(secs)),
        };
        let mut durable = Durable::restored(queue, &progress);
        if let Some((number, will)) = wills.pop() {
            session.will_at = offline_since.plus_secs(u64::from(will.delay_secs));
            session.will = Some(Arc::new(will));
            (durable.will, durable.wills) = (Some(number), number);
        }
        self.overdue_wills
            .extend(wills.into_iter().map(|(number, will)| (at, number, will)));
        if was_online {
            durable.everything_may_be_sent();
        }
        session.durable = Some(Box::new(durable));
        // How long they have waited is not known: they wait anew.
        let outbound = owed(entries, &progress, was_online, waits_until);
        session.outbound = (!outbound.is_empty()).then(|| Box::new(outbound));
        if was_online {
            // A second crash must not take it for online again.
            let record = Box::new(session.record(Some(offline_since)));
            fx.journal.push(Write::PutSession(queue, record));
            self.residents.note_urgent(at);
        }
        let mut announced = Vec::with_capacity(subscriptions.len());
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return;
        };
        for (filter, options, id) in subscriptions {
            session.subscriptions.insert(&filter);
            if is_shared(&filter) {
                let owner = self.topology.owner(&filter);
                let shares = session.shares.get_or_insert_default();
                let member = shares.enter(&filter, owner);
                (member.options, member.id) = (options, id);
                continue;
            }
            let subscriber = Subscriber::new(at, options, id, false);
            self.residents.subscriptions.insert(&filter, subscriber);
            announced.push(filter);
        }
        for filter in announced {
            // Nobody waits for it: nobody is connected.
            let _ticket = self.announce(&filter, false, fx);
        }
        self.arm(at);
        self.join_all(at, now, fx);
        // By the policy in force now: it may have changed meanwhile.
        self.re_judge(at, now, fx);
    }

    fn restore_retained(&mut self, message: &Arc<Message>, now: Time, fx: &mut Effects) {
        if message.is_expired(now) {
            let topic = message.topic().into();
            fx.journal.push(Write::DeleteRetained(topic));
            return;
        }
        let limits = self.retained_limits();
        if let Err(refusal) = self.retained.set(message, &limits) {
            fx.events
                .push(retain_refused(&message.publisher, message.topic(), refusal));
        }
    }
}

/// What a session is owed. What the client has acknowledged in part comes before what it may not have seen, as it was sent.
fn owed(
    entries: Vec<RestoredEntry>,
    progress: &Progress,
    was_online: bool,
    waits_until: Time,
) -> Outbound {
    let mut outbound = Outbound::default();
    let is_put_before = |entry: &&RestoredEntry| matches!(entry.place(), Place::Ordinal(_));
    let put_before = entries.iter().filter(is_put_before).map(|e| e.ordinal);
    let last_put_before = put_before.max();
    let last_received = progress.received.last().copied();
    let mut received = progress.received.iter().copied().peekable();
    for entry in entries {
        let ordinal = entry.ordinal;
        while let Some(completed) = received.next_if(|received| *received < ordinal) {
            outbound.inflight.begin(completed, Pending::Completion);
        }
        let is_sent = was_online || ordinal < progress.sent_below;
        let place = entry.place();
        let content = Content::Stored {
            weight: entry.weight,
            expires_at: entry.expires_at,
        };
        let Taker {
            qos, retain, ids, ..
        } = entry.taker;
        let mut parcel = Parcel::new(content, qos, ids.as_slice(), waits_until);
        parcel.retain = retain;
        parcel.dup = is_sent;
        parcel.entry = Some(Entry::committed(place, entry.position));
        if last_received.is_some_and(|last| ordinal < last) {
            let pending = Pending::Acknowledgement(parcel);
            outbound.inflight.begin(ordinal, pending);
            continue;
        }
        if last_put_before.is_some_and(|last| ordinal <= last) {
            outbound.retained.push_back(parcel);
        } else {
            outbound.restore(parcel);
        }
    }
    for completed in received {
        outbound.inflight.begin(completed, Pending::Completion);
    }
    outbound
}
