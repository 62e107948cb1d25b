//! What the loop does with connections: open, queue, serve and end them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mio::{Interest, Token};

use super::{DRAIN_TIME_MAX, Engine, Phase};
use crate::client::ClientError;
use crate::load::client::{Client, State};
use crate::load::plan::{Mode, Role};

/// Messages of one turn, so that what comes is not left waiting.
const MESSAGES_PER_TURN_MAX: usize = 256;
/// Messages that one client sends in a row when there is no rate.
const MESSAGES_IN_A_ROW_MAX: usize = 32;
/// How long the broker may take to close what we have ended.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(2);
/// How long nothing at all may happen while the broker owes answers.
const STALL_TIME_MAX: Duration = Duration::from_secs(30);

impl Engine<'_> {
    /// Opens as many connections as may be on their way at the same time.
    pub(super) fn open_more(&mut self) {
        while self.next_number < self.run.plan.connections() {
            let busy = match self.run.plan.mode {
                Mode::Connect => self.alive,
                _ => self.opening,
            };
            if busy >= self.run.plan.opening {
                return;
            }
            let number = self.next_number;
            self.next_number += 1;
            match Client::open(number, &self.run).and_then(|client| self.register(client)) {
                Ok(()) => {}
                Err(error) => {
                    self.run.tally.failed += 1;
                    self.run.tally.note(&error);
                }
            }
        }
    }

    fn register(&mut self, mut client: Client) -> Result<(), ClientError> {
        let place = self.free.pop().unwrap_or(self.clients.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry
            .register(client.wire().socket(), Token(place), interest)
            .map_err(|error| self.run.of_io(&error))?;
        match self.clients.get_mut(place) {
            Some(empty) => *empty = Some(client),
            None => self.clients.push(Some(client)),
        }
        self.alive += 1;
        self.opening += 1;
        Ok(())
    }

    /// What is sent to a subscriber that is not there would count as lost.
    pub(super) fn drop_publishers_without_partner(&mut self) {
        if self.run.plan.mode != Mode::Latency {
            return;
        }
        let present: BTreeSet<u64> = self.clients.iter().flatten().map(Client::number).collect();
        for client in self.clients.iter_mut().flatten() {
            let number = client.number();
            let is_publisher = matches!(self.run.plan.role(number), Role::Publisher(_));
            // The subscriber of a pair stands right before its publisher.
            if is_publisher && !present.contains(&(number - 1)) {
                client.close(&self.run);
            }
        }
    }

    /// Lets a client publish, if it may.
    pub(super) fn queue(&mut self, place: usize) {
        if let Some(Some(client)) = self.clients.get_mut(place)
            && !client.is_queued
            && client.can_publish(&self.run)
        {
            client.is_queued = true;
            self.able.push_back(place);
        }
    }

    pub(super) fn send_what_is_due(&mut self, now: Instant) {
        if self.phase != Phase::Running {
            return;
        }
        let count = self.run.plan.count.unwrap_or(u64::MAX);
        let mut budget = MESSAGES_PER_TURN_MAX;
        while budget > 0 {
            let due = self.pace.as_ref().map_or(u64::MAX, |pace| pace.due(now));
            let left = count.saturating_sub(self.run.tally.sent).min(due);
            if left == 0 {
                return;
            }
            let Some(place) = self.able.pop_front() else {
                return;
            };
            let in_a_row = match self.pace {
                Some(_) => 1,
                None => MESSAGES_IN_A_ROW_MAX.min(budget),
            };
            let most = usize::try_from(left).map_or(in_a_row, |left| left.min(in_a_row));
            let sent = self.publish(place, most, now);
            // Whoever has gone has cost a turn, too.
            budget -= sent.max(1).min(budget);
            self.queue(place);
        }
    }

    /// Publishes as many as `most`, in one write. Returns how many.
    fn publish(&mut self, place: usize, most: usize, now: Instant) -> usize {
        let Some(Some(client)) = self.clients.get_mut(place) else {
            return 0;
        };
        client.is_queued = false;
        let mut sent = 0;
        let mut result = Ok(());
        while sent < most && result.is_ok() && client.can_publish(&self.run) {
            result = client.publish(&mut self.run);
            if let Some(pace) = &mut self.pace {
                pace.give();
            }
            sent += 1;
        }
        if let Err(error) = result.and_then(|()| client.flush(&self.run, now)) {
            self.end(place, &error);
        }
        self.last_progress = now;
        sent
    }

    /// Reads and writes what can be.
    pub(super) fn serve(&mut self, place: usize, is_closed: bool) {
        let Some(Some(client)) = self.clients.get_mut(place) else {
            return;
        };
        let before = client.state();
        let now = Instant::now();
        let done = client.receive(&mut self.run, is_closed);
        // Also after an error: an acknowledgement may go out that counts for the other end.
        let flushed = client.flush(&self.run, now);
        if before != State::Closing && self.phase != Phase::Closing {
            self.last_progress = now;
        }
        // After Ctrl-C nobody wants to wait for more.
        if let (Phase::Draining, Some(drained)) = (self.phase, self.drained) {
            self.until = Some(drained.min(now + DRAIN_TIME_MAX));
        }
        match done.and_then(|more| flushed.map(|()| more)) {
            Ok(more) => {
                if more {
                    self.again.push(place);
                }
                let is_new = !is_ready(before) && is_ready(client.state());
                if is_new {
                    self.opening -= 1;
                    if self.run.plan.mode == Mode::Connect {
                        client.close(&self.run);
                    }
                }
                if self.phase == Phase::Running {
                    self.queue(place);
                }
            }
            Err(error) => self.end(place, &error),
        }
    }

    /// A connection is over; `error` says why, unless we have ended it ourselves.
    fn end(&mut self, place: usize, error: &ClientError) {
        let Some(mut client) = self.clients.get_mut(place).and_then(Option::take) else {
            return;
        };
        // Closing the socket takes it out of the poll as well.
        let _gone = self.poll.registry().deregister(client.wire().socket());
        self.free.push(place);
        self.alive -= 1;
        let tally = &mut self.run.tally;
        match client.state() {
            State::Greeting | State::Subscribing => {
                self.opening -= 1;
                tally.failed += 1;
                tally.note(error);
            }
            State::Ready => {
                tally.lost += 1;
                tally.abandoned += client.open_messages() as u64;
                tally.note(error);
            }
            State::Closing => {}
        }
    }

    /// Keeps connections alive, ends those that say nothing, and a run in which nothing happens.
    pub(super) fn tend(&mut self, now: Instant) {
        for place in 0..self.clients.len() {
            let Some(Some(client)) = self.clients.get_mut(place) else {
                continue;
            };
            if let Err(error) = client.tend(&self.run, now) {
                self.end(place, &error);
            }
        }
        let is_stalled = self.phase == Phase::Running
            && now.saturating_duration_since(self.last_progress) >= STALL_TIME_MAX
            && self.clients.iter().flatten().any(Client::is_waiting);
        if is_stalled {
            self.enter(Phase::Draining, now);
        }
    }

    pub(super) fn close_all(&mut self, now: Instant) {
        self.run.tally.abandoned += self.run.tally.on_their_way();
        for client in self.clients.iter_mut().flatten() {
            if client.state() != State::Closing {
                client.close(&self.run);
            }
        }
        self.able.clear();
        self.enter(Phase::Closing, now + CLOSE_TIME_MAX);
    }
}

fn is_ready(state: State) -> bool {
    matches!(state, State::Ready | State::Closing)
}
