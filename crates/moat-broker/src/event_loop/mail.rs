//! What the inbox brings.

use std::sync::Arc;

use moat_codec::{Disconnect, ReasonCode};
use moat_core::sys::SysMessage;
use moat_policy::Identity;

use super::EventLoop;
use super::turns::Part;
use crate::connection::Stage;
use crate::control::Control;
use crate::inbox::Envelope;

/// Envelopes handled per turn, so that a busy neighbour does not starve this shard's clients.
const ENVELOPES_PER_TURN_MAX: usize = 1024;
/// Work that envelopes may cause per turn, in the units of [`moat_core::Shard::work_total`]; the one at hand is finished.
const ENVELOPE_WORK_PER_TURN_MAX: u64 = 32_768;

impl EventLoop {
    /// Handles what has come, at most a turn's worth; the rest keeps the next poll from sleeping.
    pub(super) fn drain_inbox(&mut self) {
        let until = self.shard.work_total() + ENVELOPE_WORK_PER_TURN_MAX;
        let mut part = Part::default();
        for handled in 0..ENVELOPES_PER_TURN_MAX {
            if self.shard.work_total() >= until || part.is_over(handled) {
                return;
            }
            let Some(envelope) = self.inbox.receive() else {
                return;
            };
            match envelope {
                Envelope::Peers { from, messages } => {
                    self.peers_moved = true;
                    for message in messages {
                        self.shard.peer(from, message, self.now, &mut self.fx);
                    }
                    self.settle();
                }
                // Dropped, and so closed: nobody comes in any more.
                Envelope::Connection(_) if self.stopping.is_some() => {}
                Envelope::Connection(connection) => {
                    let arriving = matches!(connection.stage, Stage::Arriving(..));
                    if let (Some(id), true) = (self.adopt(connection), arriving) {
                        self.arrive(id);
                    }
                }
                Envelope::Answer(answer) => self.answered(answer),
                Envelope::Control(control) => self.control(control),
                Envelope::Committed(ticket) => {
                    // Who waits for the store tries again.
                    self.peers_moved = true;
                    self.shard.committed(ticket, self.now, &mut self.fx);
                    self.settle();
                }
                Envelope::Loaded(loaded) => {
                    self.shard.loaded(*loaded, self.now, &mut self.fx);
                    self.settle();
                }
            }
        }
    }

    fn control(&mut self, control: Control) {
        match control {
            Control::SetPolicy(policy, done) => {
                self.shard.set_policy(policy, self.now, &mut self.fx);
                self.settle();
                // Whoever asked may have stopped waiting.
                let _nobody_waits = done.send(());
            }
            Control::PutOut(done) => {
                let chain = Arc::clone(&self.common.chain);
                let may_stay = |identity: &Identity| chain.still_vouches_for(identity);
                self.shard.put_out(may_stay, self.now, &mut self.fx);
                self.settle();
                let _nobody_waits = done.send(());
            }
            Control::Report(reply) => self.surveys.begin(reply),
            Control::PublishSystem(messages) => {
                for SysMessage { topic, value } in messages {
                    let value = value.as_bytes();
                    self.shard
                        .publish_system(topic, value, self.now, &mut self.fx);
                }
            }
            Control::Stop => self.stop(),
        }
    }

    /// Says goodbye to everybody [5.0 section 3.14.2.1: 0x8B, or 0x9C if there is another server]; the loop ends when
    /// they have it, or when the time is up.
    fn stop(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(self.now.plus_secs(self.common.stop_timeout_secs));
        self.close_listeners();
        let common = Arc::clone(&self.common);
        let goodbye = Disconnect {
            server_reference: common.server_reference.as_deref(),
            ..Disconnect::new(match common.server_reference {
                Some(_) => ReasonCode::UseAnotherServer,
                None => ReasonCode::ServerShuttingDown,
            })
        };
        let all: Vec<_> = self
            .connections
            .iter()
            .map(|(slot, c)| (slot, c.generation))
            .collect();
        for (slot, generation) in all {
            let id = moat_core::ConnId {
                slot: u32::try_from(slot).unwrap_or(u32::MAX),
                generation,
            };
            let Some(connection) = self.connection(id) else {
                continue;
            };
            match connection.stage {
                Stage::Attached(at) => {
                    let why = "server shutting down";
                    self.shard
                        .close_with(at, goodbye, why, self.now, &mut self.fx);
                    self.settle();
                }
                Stage::Closing => {}
                Stage::Greeting
                | Stage::AwaitingAuth(_)
                | Stage::Exchanging(..)
                | Stage::Arriving(..) => self.drop_connection(id),
            }
        }
        if let Some(deadline) = self.stopping {
            let nobody = moat_core::ConnId {
                slot: u32::MAX,
                generation: 0,
            };
            self.set_timer(deadline, nobody);
        }
    }

    /// Whether a stop has been asked for and nothing is left to do.
    pub(super) fn is_over(&self) -> bool {
        self.stopping
            .is_some_and(|deadline| self.connections.is_empty() || self.now >= deadline)
    }
}
