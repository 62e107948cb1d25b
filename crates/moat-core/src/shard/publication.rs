//! A publication that somebody durable takes: written once for all its takers, then delivered and acknowledged.
//!
//! One shard coordinates it: the publisher's home, or the owner of its topic where it goes by way of that one. It asks the shards that want
//! the message who there is durable, and writes one record with all of them. So the record, the
//! retained message, the identifier of a QoS 2 publisher and the end of a will are one batch: all of it is there after a crash, or nothing.

use std::sync::Arc;

use moat_codec::PacketId;

use super::keeper::After;
use super::{PeerMessage, SessionRef, Shard, ShardId};
use crate::durable::{Place, Position, QueueId, Taker, Write};
use crate::effects::Effects;
use crate::message::Message;
use crate::session::SessionIndex;
use crate::time::Time;

/// An entry in a queue of this shard that waits for its record.
#[derive(Clone, Debug)]
pub(super) struct Local {
    /// Whose.
    pub holder: Holder,
    /// Which entry.
    pub place: Place,
}

/// Who has an entry: a session, or a group of a shared subscription.
#[derive(Clone, Debug)]
pub enum Holder {
    /// A session.
    Session(SessionRef),
    /// A group, by its filter, and the shard that owns it.
    Group(ShardId, Arc<str>),
}

/// Where the entry of a message was before it was dealt.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The record.
    pub position: Position,
    /// The queue that had it, and its place there.
    pub from: (QueueId, Place),
    /// Who has to hear what became of it.
    pub holder: Holder,
}

/// Who coordinates a publication, and its number there.
pub type Coordinator = (ShardId, u64);

/// The durable takers that a delivery has found.
#[derive(Debug, Default)]
pub(super) struct Takers {
    /// Who coordinates the publication at hand, if it may need that.
    pub(super) coordinator: Option<Coordinator>,
    /// For the record.
    pub(super) list: Vec<Taker>,
    /// Their entries here.
    pub(super) local: Vec<Local>,
    /// Shards that a group has dealt the message to, and who answer by themselves.
    pub(super) further: u32,
    /// Where the message was, if it is in the store already.
    pub(super) origin: Option<Box<Origin>>,
}

impl Takers {
    /// Whether anybody durable takes it, here or where a group has dealt it to.
    pub(super) fn matter(&self) -> bool {
        !self.list.is_empty() || self.further > 0
    }
}

/// What a publication changes besides queues.
#[derive(Debug, Default)]
pub struct Terms {
    /// A QoS 2 message of this session's client has this identifier.
    pub inbound: Option<(QueueId, PacketId)>,
    /// It is the will of this session's client, with its number.
    pub will_of: Option<(QueueId, u32)>,
    /// The number under which its publisher's home waits for it.
    pub receipt: Option<u64>,
}

impl Terms {
    /// Whether anything of it has to be written, or somebody waits.
    #[must_use]
    pub fn matter(&self) -> bool {
        self.inbound.is_some() || self.will_of.is_some() || self.receipt.is_some()
    }
}

/// A publication on its way into the store.
pub(super) struct Publication {
    pub(super) message: Arc<Message>,
    pub(super) takers: Vec<Taker>,
    pub(super) local: Vec<Local>,
    /// Its number here, for other shards.
    pub(super) number: u64,
    /// Shards that were asked and have yet to answer.
    pub(super) awaiting: u32,
    /// Members of groups that it was dealt to in other shards, less those who have answered. It may be below 0 while the answer of the
    /// one who dealt is under way.
    pub(super) dealt: i64,
    /// Shards with takers.
    pub(super) remote: Vec<ShardId>,
    /// Whether the message is to be kept for its topic.
    pub(super) is_retained: bool,
    pub(super) terms: Terms,
    /// Whose it is.
    pub(super) from: SessionRef,
    /// Whether its home hears by [`PeerMessage::OwnerDone`] that it is durable.
    pub(super) is_via_owner: bool,
    /// Whether its publisher waits already, since other shards were asked.
    pub(super) is_awaited: bool,
    /// Where it was, if it was in the store before.
    pub(super) origin: Option<Box<Origin>>,
}

impl Publication {
    /// Of a message of `from` with those who take it so far; `asked` shards have yet to say who takes it there. It is not retained, and nobody
    /// waits for it yet.
    pub(super) fn new(
        message: Arc<Message>,
        takers: Takers,
        asked: u32,
        number: u64,
        terms: Terms,
        from: SessionRef,
    ) -> Publication {
        Publication {
            message,
            takers: takers.list,
            local: takers.local,
            number,
            awaiting: asked,
            dealt: i64::from(takers.further),
            remote: Vec::new(),
            is_retained: false,
            terms,
            from,
            is_via_owner: false,
            is_awaited: false,
            origin: None,
        }
    }

    /// Whether everybody has answered.
    fn is_complete(&self) -> bool {
        self.awaiting == 0 && self.dealt == 0
    }
}

/// What a shard has been asked to answer for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// All that it has to deliver.
    Shard,
    /// A message that a group has dealt. Exactly one answer comes for it, from whoever has it in the end.
    Deal,
}

impl Shard {
    /// Writes a publication once all shards that were asked have answered. Returns whether its publisher has to wait; if not, nothing of
    /// it is durable.
    pub(super) fn begin_publication(
        &mut self,
        mut publication: Publication,
        now: Time,
        fx: &mut Effects,
    ) -> bool {
        let others_wait = self
            .keeper
            .as_ref()
            .is_some_and(|keeper| !keeper.publications.is_empty());
        if publication.is_complete() && !others_wait {
            return self.write_publication(publication, now, fx);
        }
        // What was published later is not durable earlier: or it could be all there is after a crash.
        publication.is_awaited = true;
        if let Some(keeper) = &mut self.keeper {
            keeper.publications.insert(publication.number, publication);
        }
        true
    }

    /// Writes the publications that are complete, up to the first that is not.
    fn write_complete(&mut self, now: Time, fx: &mut Effects) {
        loop {
            let Some(keeper) = &mut self.keeper else {
                return;
            };
            let first = keeper.publications.first_entry();
            let Some(first) = first.filter(|first| first.get().is_complete()) else {
                return;
            };
            let publication = first.remove();
            self.write_publication(publication, now, fx);
        }
    }

    fn write_publication(
        &mut self,
        mut publication: Publication,
        now: Time,
        fx: &mut Effects,
    ) -> bool {
        let Some(keeper) = &mut self.keeper else {
            return false;
        };
        let message = &publication.message;
        let mut position = None;
        let mut is_written = false;
        if let Some(origin) = &publication.origin
            && let Some(to) = publication.takers.pop()
        {
            position = Some(origin.position);
            is_written = true;
            fx.journal.push(Write::Deal {
                position: origin.position,
                from: origin.from,
                to,
            });
        } else if !publication.takers.is_empty() {
            let at = keeper.next_position(self.id);
            position = Some(at);
            is_written = true;
            fx.journal.push(Write::Append {
                position: at,
                message: Arc::clone(message),
                takers: std::mem::take(&mut publication.takers),
            });
        }
        if publication.is_retained {
            is_written = true;
            fx.journal.push(match message.payload().is_empty() {
                true => Write::DeleteRetained(message.topic().into()),
                false => Write::PutRetained(Arc::clone(message)),
            });
        }
        if let Some((queue, id)) = publication.terms.inbound {
            is_written = true;
            fx.journal.push(Write::PutInbound(queue, id));
        }
        if let Some((queue, number)) = publication.terms.will_of {
            is_written = true;
            fx.journal.push(Write::DeleteWill(queue, number));
        }
        if is_written {
            let after = After::Publication(Box::new(publication), position);
            keeper.wait(fx.journal.latest(), after);
        } else if publication.is_awaited {
            self.published(publication, None, now, fx);
        } else {
            return false;
        }
        true
    }

    /// A publication is durable, or nothing of it has to be.
    pub(super) fn published(
        &mut self,
        mut publication: Publication,
        position: Option<Position>,
        now: Time,
        fx: &mut Effects,
    ) {
        if let Some(origin) = publication.origin.take() {
            self.tell_moved(*origin, false, fx);
        }
        if let Some(position) = position {
            let number = publication.number;
            for shard in &publication.remote {
                let message = Arc::clone(&publication.message);
                fx.tell(
                    *shard,
                    PeerMessage::Stored {
                        number,
                        position,
                        message,
                    },
                );
            }
            let (local, message) = (&publication.local, &publication.message);
            self.entries_committed(local, position, message, now, fx);
        }
        let session = publication.from;
        if session.shard == self.id && !publication.is_via_owner {
            self.residents.arrived(session, |session| {
                session.unwritten = session.unwritten.saturating_sub(1);
            });
        }
        if publication.is_via_owner {
            fx.tell_last(session.shard, PeerMessage::OwnerDone { session });
        }
        if let Some(receipt) = publication.terms.receipt {
            if session.shard == self.id {
                self.acknowledged(session, receipt, now, fx);
            } else {
                let done = PeerMessage::Acknowledged { session, receipt };
                fx.tell(session.shard, done);
            }
        }
    }

    /// Entries of queues here are durable: their messages may be sent.
    pub(super) fn entries_committed(
        &mut self,
        local: &[Local],
        position: Position,
        message: &Arc<Message>,
        now: Time,
        fx: &mut Effects,
    ) {
        for entry in local {
            let is_there = match &entry.holder {
                Holder::Session(to) => {
                    self.session_entry_committed(*to, entry.place, position, message, now, fx)
                }
                Holder::Group(_, filter) => {
                    self.group_entry_committed(filter, entry.place, position, now, fx)
                }
            };
            if !is_there {
                // The queue gave it up, or is no more.
                fx.journal.push(Write::Release(position));
            }
        }
    }

    fn session_entry_committed(
        &mut self,
        to: SessionRef,
        place: Place,
        position: Position,
        message: &Arc<Message>,
        now: Time,
        fx: &mut Effects,
    ) -> bool {
        let same = self.residents.same(to.session, to.generation);
        if !same.is_some_and(|session| session.entry_committed(place, position)) {
            return false;
        }
        self.pump(to.session, now, fx);
        let session = self.residents.sessions.get_mut(to.session.get());
        let outbound = session.and_then(|session| session.outbound.as_deref_mut());
        if let Some(parcel) = outbound.and_then(|outbound| outbound.waiting(place)) {
            // Not sent at once: it is left to the store, and for a while to the memory all queues share.
            parcel.content.let_go();
            if let Some(keeper) = &mut self.keeper {
                keeper.tail.keep(position, message);
            }
        }
        true
    }

    /// A delivery that this shard does not coordinate is over: its coordinator is told who takes it. Without one, this shard writes the
    /// message for its own takers.
    pub(super) fn tell_takers(
        &mut self,
        asked: Asked,
        message: &Arc<Message>,
        now: Time,
        fx: &mut Effects,
    ) {
        let takers = std::mem::take(&mut self.residents.takers);
        let Some((coordinator, number)) = takers.coordinator else {
            self.write_alone(Arc::clone(message), takers, now, fx);
            return;
        };
        let Takers {
            list,
            local,
            further,
            ..
        } = takers;
        if asked == Asked::Deal && further > 0 {
            // It was dealt on: the next member answers.
            return;
        }
        if coordinator == self.id {
            self.on_takers(None, number, asked, list, local, further, now, fx);
            return;
        }
        if let (Some(keeper), false) = (&mut self.keeper, local.is_empty()) {
            let entries = keeper.foreign.entry((coordinator, number)).or_default();
            entries.extend(local);
        }
        let takers = list;
        let answer = PeerMessage::Takers {
            number,
            asked,
            takers,
            further,
        };
        fx.tell(coordinator, answer);
    }

    /// A shard has answered who takes a publication of this one.
    #[expect(clippy::too_many_arguments, reason = "the fields of one message")]
    pub(super) fn on_takers(
        &mut self,
        from: Option<ShardId>,
        number: u64,
        asked: Asked,
        takers: Vec<Taker>,
        local: Vec<Local>,
        further: u32,
        now: Time,
        fx: &mut Effects,
    ) {
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        let Some(publication) = keeper.publications.get_mut(&number) else {
            return;
        };
        match asked {
            Asked::Shard => publication.awaiting -= 1,
            Asked::Deal => publication.dealt -= 1,
        }
        publication.dealt += i64::from(further);
        if let (Some(shard), false) = (from, takers.is_empty()) {
            publication.remote.push(shard);
        }
        publication.takers.extend(takers);
        publication.local.extend(local);
        self.write_complete(now, fx);
    }

    /// A publication that another shard coordinates is durable.
    pub(super) fn on_stored(
        &mut self,
        coordinator: Coordinator,
        position: Position,
        message: &Arc<Message>,
        now: Time,
        fx: &mut Effects,
    ) {
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        let local = keeper.foreign.remove(&coordinator).unwrap_or_default();
        self.entries_committed(&local, position, message, now, fx);
    }

    /// Writes a message for takers that are all here, and for whom nobody waits.
    pub(super) fn write_alone(
        &mut self,
        message: Arc<Message>,
        takers: Takers,
        now: Time,
        fx: &mut Effects,
    ) {
        let Takers {
            list,
            local,
            further,
            origin,
            ..
        } = takers;
        if further > 0 {
            // It went on to another shard, with its origin.
            return;
        }
        if list.is_empty() {
            if let Some(origin) = origin {
                // It was taken by somebody who keeps nothing, or lost.
                self.tell_moved(*origin, true, fx);
            }
            return;
        }
        let publication = Publication {
            message,
            takers: list,
            local,
            origin,
            is_via_owner: false,
            number: 0,
            awaiting: 0,
            dealt: 0,
            remote: Vec::new(),
            is_retained: false,
            terms: Terms::default(),
            from: SessionRef {
                shard: self.id,
                session: SessionIndex(u32::MAX),
                generation: 0,
            },
            is_awaited: false,
        };
        self.write_publication(publication, now, fx);
    }
}
