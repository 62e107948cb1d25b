//! The entries of durable sessions: what is done with them, how far a session has come, and what comes back from the store.

use std::sync::Arc;

use moat_codec::TopicName;
use moat_policy::{Snapshot, Subject};

use super::SessionRef;
use super::residents::{Residents, dropped};
use crate::durable::{Position, Write};
use crate::effects::Effects;
use crate::limits::Limits;
use crate::message::Message;
use crate::session::SessionIndex;
use crate::session::durable::UNSAVED_ENTRIES_MAX;
use crate::session::inflight::Pending;
use crate::session::parcel::{Content, Parcel};

impl Residents {
    /// Entries of a session that will not be sent any more.
    pub(super) fn entries_done(&mut self, at: SessionIndex, parcels: Vec<Parcel>) {
        let Some(session) = self.sessions.get_mut(at.get()) else {
            return;
        };
        let Some(durable) = session.durable.as_deref_mut() else {
            return;
        };
        durable.has_holes = true;
        for entry in parcels.iter().filter_map(|parcel| parcel.entry) {
            durable.done(entry.position());
        }
        self.note_unsaved(at);
    }

    /// The client has the message of an entry, or will not have it. Returns the message.
    pub(super) fn entry_done(
        &mut self,
        at: SessionIndex,
        pending: Option<Pending>,
    ) -> Option<Arc<Message>> {
        let Some(Pending::Acknowledgement(parcel)) = pending else {
            return None;
        };
        let session = self.sessions.get_mut(at.get());
        let durable = session.and_then(|session| session.durable.as_deref_mut());
        if let (Some(durable), Some(entry)) = (durable, parcel.entry) {
            durable.done(entry.position());
            self.note_unsaved(at);
        }
        match parcel.content {
            Content::Held(message) => Some(message),
            Content::Stored { .. } => None,
        }
    }

    /// Whether a session's progress is written at the end of this turn.
    pub(super) fn is_urgent(&self, at: SessionIndex) -> bool {
        let session = self.sessions.get(at.get());
        let durable = session.and_then(|session| session.durable.as_deref());
        durable.is_some_and(|durable| durable.is_urgent)
    }

    /// A session's progress is to be written, soon or, if there is much of it, at the end of this turn.
    pub(super) fn note_unsaved(&mut self, at: SessionIndex) {
        let session = self.sessions.get_mut(at.get());
        let Some(durable) = session.and_then(|session| session.durable.as_deref_mut()) else {
            return;
        };
        if !std::mem::replace(&mut durable.is_unsaved, true) {
            self.unsaved.push(at);
        }
        if durable.released.len() >= UNSAVED_ENTRIES_MAX
            && !std::mem::replace(&mut durable.is_urgent, true)
        {
            self.urgent.push(at);
        }
    }

    /// A session's progress is to be written at the end of this turn: somebody waits for it.
    pub(super) fn note_urgent(&mut self, at: SessionIndex) {
        let session = self.sessions.get_mut(at.get());
        let Some(durable) = session.and_then(|session| session.durable.as_deref_mut()) else {
            return;
        };
        if !std::mem::replace(&mut durable.is_urgent, true) {
            self.urgent.push(at);
        }
    }

    /// Writes how far a session has come, and tells the log what it does not need any more.
    pub(super) fn save_progress(&mut self, at: SessionIndex, fx: &mut Effects) {
        let Some(session) = self.sessions.get_mut(at.get()) else {
            return;
        };
        let Some(durable) = session.durable.as_deref_mut() else {
            return;
        };
        if !durable.is_urgent && !durable.is_unsaved {
            return;
        }
        (durable.is_urgent, durable.is_unsaved) = (false, false);
        let progress = durable.progress(session.outbound.as_deref());
        fx.journal
            .push(Write::PutProgress(durable.queue, Box::new(progress)));
        for position in durable.released.drain(..) {
            fx.journal.push(Write::Release(position));
        }
        if session.outbound.is_none() {
            durable.has_holes = false;
        }
    }

    /// Puts messages that the store has brought into a session's queue. Those that it has lost, and those that the policy no longer allows,
    /// go. Returns how many.
    pub(super) fn loaded(
        &mut self,
        to: SessionRef,
        messages: &[(Position, Option<Arc<Message>>)],
        policy: &Snapshot,
        limits: &Limits,
        fx: &mut Effects,
    ) -> u64 {
        let Some(session) = self.same(to.session, to.generation) else {
            return 0;
        };
        let subject = Subject {
            identity: &session.identity,
            client_id: &session.client_id,
        };
        let Some(outbound) = session.outbound.as_deref_mut() else {
            return 0;
        };
        outbound.is_loading = false;
        let mut gone = outbound.take_loaded(messages);
        let lost = gone.len() as u64;
        gone.extend(outbound.take_queued(|parcel| {
            let Some(message) = parcel.content.held() else {
                return false;
            };
            let is_new = parcel
                .entry
                .is_some_and(|entry| messages.iter().any(|(at, _)| Some(*at) == entry.position()));
            is_new && !may_have(policy, limits, subject, message.topic())
        }));
        let count = gone.len() as u64;
        if lost > 0 {
            fx.events
                .push(dropped(session, lost, "the store has lost them"));
        }
        if count > lost {
            let cause = "no longer allowed by the policy";
            fx.events.push(dropped(session, count - lost, cause));
        }
        if count > 0 {
            self.entries_done(to.session, gone);
        }
        count
    }
}

/// Whether the policy lets `subject` have a message of this topic.
pub(super) fn may_have(
    policy: &Snapshot,
    limits: &Limits,
    subject: Subject<'_>,
    topic: &str,
) -> bool {
    TopicName::new(topic, &limits.packet).is_ok_and(|topic| policy.may_receive(subject, topic))
}
