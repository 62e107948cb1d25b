//! Entries that change hands: between the queue of a durable group and its members.
//!
//! The record of the message stays where it is; [`Write::Deal`] says whose it is now. Who had the entry keeps it until that is durable, and is then
//! told: so a crash finds it with one of the two.

use std::sync::Arc;

use super::delivery::lost;
use super::publication::{Holder, Origin};
use super::share::ShareMessage;
use super::{PeerMessage, SessionRef, Shard};
use crate::durable::{Place, Position, Progress, RestoredGroup, Write};
use crate::effects::Effects;
use crate::message::Message;
use crate::router::shared::{DurableGroup, Group, Waiting, inner};
use crate::session::SessionIndex;
use crate::session::entry::Entry;
use crate::session::parcel::{Content, Parcel};
use crate::time::Time;

impl Shard {
    /// Makes a group durable that has a durable member.
    pub(super) fn keep_group(&mut self, filter: &Arc<str>, fx: &mut Effects) {
        let found = self.shared.find(filter);
        let Some(group) = found.and_then(|at| self.shared.group(at)) else {
            return;
        };
        if group.durable.is_some() {
            return;
        }
        let Some(queue) = self.new_queue(fx) else {
            return;
        };
        fx.journal.push(Write::PutGroup(queue, Arc::clone(filter)));
        let durable = DurableGroup::new(queue, &Progress::default());
        if let Some(group) = found.and_then(|at| self.shared.group(at)) {
            group.durable = Some(Box::new(durable));
        }
    }

    /// The last member of a group has left: what waits in it goes.
    pub(super) fn end_group(&mut self, mut group: Group, fx: &mut Effects) {
        let waiting = group.waiting() as u64;
        let counters = &mut self.residents.counters;
        lost(&mut group, waiting, counters, "its last member left", fx);
        let positions: Vec<Position> = group.positions().collect();
        let Some(durable) = group.durable else {
            return;
        };
        fx.journal.push(Write::DeleteGroup(durable.queue));
        for position in positions.into_iter().chain(durable.released) {
            fx.journal.push(Write::Release(position));
        }
    }

    /// Gives back to their groups what a session was dealt and never sent, of what `which` chooses. What is not in memory, or not
    /// durable yet, stays with the session.
    pub(super) fn return_unsent(
        &mut self,
        at: SessionIndex,
        mut which: impl FnMut(&Parcel) -> bool,
        now: Time,
        fx: &mut Effects,
    ) {
        let tail = self.keeper.as_ref().map(|keeper| &keeper.tail);
        let session = self.residents.sessions.get_mut(at.get());
        let Some(outbound) = session.and_then(|session| session.outbound.as_deref_mut()) else {
            return;
        };
        let in_tail = |position| tail.is_some_and(|tail| tail.find(position).is_some());
        let is_here = |parcel: &Parcel| match parcel.entry.map(Entry::position) {
            None => true,
            Some(Some(position)) => parcel.content.held().is_some() || in_tail(position),
            Some(None) => false,
        };
        let unsent = outbound.take_dealt(|parcel| is_here(parcel) && which(parcel));
        self.return_all(at, unsent, now, fx);
    }

    /// Gives messages back to the groups that dealt them.
    pub(super) fn return_all(
        &mut self,
        at: SessionIndex,
        parcels: Vec<Parcel>,
        now: Time,
        fx: &mut Effects,
    ) {
        for parcel in parcels {
            let origin = self.origin_of(at, &parcel);
            let Some(share) = parcel.share else { continue };
            let held = parcel.content.held().cloned();
            let tail = self.keeper.as_ref().map(|keeper| &keeper.tail);
            let position = parcel.entry.and_then(|entry| entry.position());
            let message = held.or_else(|| tail?.find(position?).cloned());
            let Some(message) = message else { continue };
            let what = ShareMessage::Returned {
                message,
                deals: 1,
                congested: None,
                coordinator: None,
                origin,
            };
            let owner = self.topology.owner(&share.filter);
            self.tell_share(owner, &share.filter, what, now, fx);
        }
    }

    /// Where a parcel is in the store. A session that has the entry keeps the entry until it is told what became of it.
    fn origin_of(&mut self, at: SessionIndex, parcel: &Parcel) -> Option<Box<Origin>> {
        if let Some(lent) = parcel.lent() {
            return lent.take();
        }
        let session = self.residents.sessions.get_mut(at.get())?;
        let entry = parcel.entry?;
        let position = entry.position()?;
        let holder = Holder::Session(SessionRef {
            shard: self.id,
            session: at,
            generation: session.generation,
        });
        let durable = session.durable.as_deref_mut()?;
        durable.has_holes = true;
        durable.returning.push(entry.place());
        Some(Box::new(Origin {
            position,
            from: (durable.queue, entry.place()),
            holder,
        }))
    }

    /// Tells who had an entry that it is somebody else's, or nobody's.
    pub(super) fn tell_moved(&mut self, origin: Origin, is_released: bool, fx: &mut Effects) {
        let place = origin.from.1;
        let released = is_released.then_some(origin.position);
        match origin.holder {
            Holder::Group(owner, filter) if owner == self.id => {
                self.moved(&filter, place, released, fx);
            }
            Holder::Group(owner, filter) => {
                let what = ShareMessage::Moved { place, released };
                fx.tell(owner, PeerMessage::Share { filter, what });
            }
            Holder::Session(to) if to.shard == self.id => {
                self.moved_from(to, place, released, fx);
            }
            Holder::Session(to) => {
                let moved = PeerMessage::Moved {
                    session: to,
                    place,
                    released,
                };
                fx.tell(to.shard, moved);
            }
        }
    }

    /// An entry of a group is somebody else's, or nobody's.
    pub(super) fn moved(
        &mut self,
        filter: &str,
        place: Place,
        released: Option<Position>,
        fx: &mut Effects,
    ) {
        let found = self.shared.find(filter);
        match found.and_then(|at| self.shared.group(at)) {
            Some(group) if group.durable.is_some() => group.moved(place, released),
            _ => fx.journal.extend(released.map(Write::Release)),
        }
    }

    /// An entry of a session is somebody else's, or nobody's.
    pub(super) fn moved_from(
        &mut self,
        from: SessionRef,
        place: Place,
        released: Option<Position>,
        fx: &mut Effects,
    ) {
        let same = self.residents.same(from.session, from.generation);
        let Some(durable) = same.and_then(|session| session.durable.as_deref_mut()) else {
            fx.journal.extend(released.map(Write::Release));
            return;
        };
        durable.returning.retain(|returning| *returning != place);
        let is_released = released.is_some();
        durable.done(released);
        match is_released {
            // Another client has the message: it is not to come again.
            true => self.residents.note_urgent(from.session),
            false => self.residents.note_unsaved(from.session),
        }
    }

    /// A message that waits in a group is durable: it may be dealt. Returns whether it still waits.
    pub(super) fn group_entry_committed(
        &mut self,
        filter: &str,
        place: Place,
        position: Position,
        now: Time,
        fx: &mut Effects,
    ) -> bool {
        let found = self.shared.find(filter);
        let group = found.and_then(|at| self.shared.group(at));
        let is_there = group.is_some_and(|group| group.entry_committed(place, position));
        self.deal_waiting(filter, now, fx);
        is_there
    }

    /// Messages that a group has asked for have come from the store.
    pub(super) fn group_loaded(
        &mut self,
        filter: &str,
        messages: &[(Position, Option<Arc<Message>>)],
        now: Time,
        fx: &mut Effects,
    ) {
        let found = self.shared.find(filter);
        if let Some(group) = found.and_then(|at| self.shared.group(at)) {
            let count = group.take_loaded(messages);
            let counters = &mut self.residents.counters;
            lost(group, count, counters, "the store has lost them", fx);
        }
        self.deal_waiting(filter, now, fx);
    }

    /// A group that waited for members when the last broker ended. Its members come with their sessions.
    pub(super) fn restore_group(&mut self, mut restored: RestoredGroup, fx: &mut Effects) {
        restored.progress.note_arrivals(&restored.entries);
        let filter = &restored.filter;
        let is_new = self.shared.find(filter).is_none();
        let Some(group) = self.shared.restored(filter) else {
            return;
        };
        group.durable = Some(Box::new(DurableGroup::new(
            restored.queue,
            &restored.progress,
        )));
        for entry in restored.entries {
            group.restore(Waiting {
                qos: entry.taker.qos,
                deals: 0,
                entry: Some(Entry::committed(entry.taker.place, entry.position)),
                content: Content::Stored {
                    weight: entry.weight,
                    expires_at: entry.expires_at,
                },
            });
        }
        let _ticket = self.announce(inner(filter), !is_new, fx);
    }

    /// Ends the restored groups that none of the restored sessions is a member of.
    pub(super) fn end_empty_groups(&mut self, fx: &mut Effects) {
        for group in self.shared.take_empty() {
            let filter = Arc::clone(group.filter());
            self.end_group(group, fx);
            self.take_back_interest(inner(&filter), fx);
        }
    }
}
