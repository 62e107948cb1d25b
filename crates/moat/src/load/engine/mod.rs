//! The loop: open, send what is due, read, end. One thread, which waits for nothing but events.

mod connections;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use mio::{Events, Poll, Token, Waker};
use rustls_pki_types::ServerName;

use super::client::{Client, Run, State};
use super::pace::Pace;
use super::plan::{Mode, Plan};
use super::progress::Progress;
use super::tally::{Outcome, Tally};
use crate::client::{ANSWER_TIMEOUT_SECS, ClientError, Login, Target, on_interrupt, reachable};
use crate::exit::Failure;
use crate::output::Output;
use crate::privileges::raise_open_files;

/// Events of one turn.
const EVENTS_MAX: usize = 1024;
/// Bytes of one read.
const READ_BYTES_MAX: usize = 64 << 10;
/// How often connections are looked after and progress is shown.
const TICK: Duration = Duration::from_secs(1);
/// How often it is looked whether the last answers have come.
const DRAIN_TICK: Duration = Duration::from_millis(5);
/// How long it is waited for the next of the last answers and messages.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);
/// How long that may go on. A broker that holds clients to a rate takes its time for what is in its buffers.
const DRAIN_TIME_TOTAL_MAX: Duration = Duration::from_secs(60);
const WAKER: Token = Token(usize::MAX);

/// What the run is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Connections are opened; of `connect` that is all.
    Opening,
    /// Messages go.
    Running,
    /// No more are sent; the last answers come.
    Draining,
    /// Goodbyes.
    Closing,
    Over,
}

struct Engine<'p> {
    run: Run<'p>,
    poll: Poll,
    clients: Vec<Option<Client>>,
    /// Places in `clients` that can be used again.
    free: Vec<usize>,
    /// Clients that may publish.
    able: VecDeque<usize>,
    /// Clients that may have more to read.
    again: Vec<usize>,
    /// The number of the next connection.
    next_number: u64,
    /// Connections that are there, and those of them that are not ready yet.
    alive: usize,
    opening: usize,
    phase: Phase,
    /// When the phase ends whatever happens.
    until: Option<Instant>,
    /// When waiting for the last answers ends even if they still come.
    drained: Option<Instant>,
    pace: Option<Pace>,
    /// When the first and the last thing happened that is measured.
    began: Instant,
    last_progress: Instant,
    is_interrupted: bool,
}

/// Carries out a plan.
///
/// # Errors
/// The host has no address, or the system has no poll.
pub(crate) fn run(
    plan: &Plan,
    target: &Target,
    login: &Login,
    output: &Output,
) -> Result<Outcome, Failure> {
    let needed = match plan.mode {
        Mode::Connect => plan.opening,
        _ => plan.roles.len(),
    };
    let room = raise_open_files(needed);
    if room < needed {
        return Err(Failure::failed(format!(
            "there is room for {room} connections and {needed} are asked for; raise the limit of open files (`ulimit -n`)"
        )));
    }
    let mut engine = Engine::new(plan, target, login)?;
    let is_stopped = Arc::new(AtomicBool::new(false));
    // It lives as long as the engine: a waker that is gone wakes nobody, even if it was called before.
    let waker = Arc::new(Waker::new(engine.poll.registry(), WAKER).map_err(Failure::failed)?);
    let (stop, wake) = (Arc::clone(&is_stopped), Arc::clone(&waker));
    on_interrupt(move || {
        stop.store(true, Ordering::SeqCst);
        // If it fails, the next tick sees it.
        let _later = wake.wake();
    });
    let cpu_before = cpu_time();
    engine.work(&is_stopped, output)?;
    drop(waker);
    let cpu = cpu_time()
        .zip(cpu_before)
        .map(|(after, before)| after.saturating_sub(before));
    Ok(Outcome {
        tally: engine.run.tally,
        is_interrupted: engine.is_interrupted,
        elapsed: engine.last_progress.saturating_duration_since(engine.began),
        cpu,
    })
}

impl<'p> Engine<'p> {
    fn new(plan: &'p Plan, target: &'p Target, login: &'p Login) -> Result<Self, Failure> {
        let address = reachable(target).map_err(Failure::failed)?;
        let name = match &login.tls {
            None => None,
            Some(_) => Some(ServerName::try_from(target.host.clone()).map_err(Failure::failed)?),
        };
        let start = Instant::now();
        let run = Run {
            plan,
            target,
            login,
            address,
            name,
            start,
            id: run_id(),
            tally: Tally::new(),
            payload: vec![b'x'; plan.size],
            buffer: vec![0; READ_BYTES_MAX],
        };
        Ok(Self {
            run,
            poll: Poll::new().map_err(Failure::failed)?,
            clients: Vec::new(),
            free: Vec::new(),
            able: VecDeque::new(),
            again: Vec::new(),
            next_number: 0,
            alive: 0,
            opening: 0,
            phase: Phase::Opening,
            until: None,
            drained: None,
            pace: None,
            began: start,
            last_progress: start,
            is_interrupted: false,
        })
    }

    fn work(&mut self, is_stopped: &AtomicBool, output: &Output) -> Result<(), Failure> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut next_tick = Instant::now() + TICK;
        let mut progress = Progress::new(output.is_json(), Instant::now());
        loop {
            if is_stopped.load(Ordering::SeqCst) {
                self.interrupt();
            }
            let now = Instant::now();
            // One phase may end another at once, and what has ended causes no event to wait for.
            let mut before = None;
            while before != Some(self.phase) {
                before = Some(self.phase);
                self.advance(now);
            }
            if self.phase == Phase::Over {
                progress.end();
                return Ok(());
            }
            self.send_what_is_due(now);
            match self.poll.poll(&mut events, Some(self.wait(next_tick))) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    return Err(Failure::failed(format!("cannot wait for events: {error}")));
                }
                _ => {}
            }
            for place in std::mem::take(&mut self.again) {
                self.serve(place, false);
            }
            for event in &events {
                if event.token() != WAKER {
                    self.serve(event.token().0, event.is_read_closed() || event.is_error());
                }
            }
            let now = Instant::now();
            if now >= next_tick {
                next_tick = now + TICK;
                self.tend(now);
                progress.show(self.run.plan, &self.run.tally, now);
            }
        }
    }

    /// How long there is nothing to do but for what comes.
    fn wait(&self, next_tick: Instant) -> Duration {
        let mut wake = next_tick;
        if !self.again.is_empty() {
            return Duration::ZERO;
        }
        if let Some(until) = self.until {
            wake = wake.min(until);
        }
        let now = Instant::now();
        if self.phase == Phase::Draining {
            wake = wake.min(now + DRAIN_TICK);
        }
        if self.phase == Phase::Running && !self.able.is_empty() {
            match &self.pace {
                None => return Duration::ZERO,
                Some(pace) => wake = wake.min(pace.next()),
            }
        }
        wake.saturating_duration_since(now)
    }

    /// Goes on to the next phase if it is time.
    fn advance(&mut self, now: Instant) {
        let is_late = self.until.is_some_and(|until| now >= until);
        match self.phase {
            Phase::Opening => {
                self.open_more();
                let all_asked = self.next_number == self.run.plan.connections();
                match self.run.plan.mode {
                    Mode::Connect if all_asked && self.alive == 0 => self.phase = Phase::Over,
                    Mode::Connect => {}
                    _ if all_asked && self.opening == 0 => self.begin(now),
                    _ => {}
                }
            }
            Phase::Running if is_late || self.has_enough() || self.alive == 0 => {
                self.last_progress = now;
                self.drained = Some(now + DRAIN_TIME_TOTAL_MAX);
                self.enter(Phase::Draining, now + DRAIN_TIME_MAX);
            }
            Phase::Draining if is_late || self.is_settled() => {
                for client in self.clients.iter().flatten().filter(|it| it.is_waiting()) {
                    if client.state() == State::Ready {
                        self.run.tally.note(&silence(&self.run));
                    }
                }
                self.close_all(now);
            }
            Phase::Closing if is_late || self.alive == 0 => self.phase = Phase::Over,
            Phase::Running | Phase::Draining | Phase::Closing | Phase::Over => {}
        }
    }

    fn enter(&mut self, phase: Phase, until: Instant) {
        (self.phase, self.until) = (phase, Some(until));
    }

    /// Whether the plan's count is reached.
    fn has_enough(&self) -> bool {
        let tally = &self.run.tally;
        let done = match self.run.plan.mode {
            Mode::Pub | Mode::Latency => tally.sent,
            Mode::Sub => tally.received,
            Mode::Connect => return false,
        };
        self.run.plan.count.is_some_and(|count| done >= count)
    }

    /// Whether everything that was sent has its answer.
    fn is_settled(&self) -> bool {
        let tally = &self.run.tally;
        match self.run.plan.mode {
            Mode::Sub => true,
            Mode::Latency if tally.missing() > 0 => self.alive == 0,
            _ => !self.clients.iter().flatten().any(Client::is_waiting),
        }
    }

    /// Everybody is there who is going to be: the measured time begins.
    fn begin(&mut self, now: Instant) {
        self.drop_publishers_without_partner();
        (self.began, self.last_progress) = (now, now);
        self.phase = Phase::Running;
        self.until = self.run.plan.duration.map(|duration| now + duration);
        self.pace = self.run.plan.rate.map(|rate| Pace::new(rate, now));
        for place in 0..self.clients.len() {
            self.queue(place);
        }
    }

    /// Ctrl-C: no more is begun.
    fn interrupt(&mut self) {
        if self.is_interrupted {
            return;
        }
        self.is_interrupted = true;
        let now = Instant::now();
        match self.phase {
            Phase::Opening => {
                self.last_progress = now;
                self.close_all(now);
            }
            Phase::Running => self.enter(Phase::Draining, now + DRAIN_TIME_MAX),
            Phase::Draining | Phase::Closing | Phase::Over => {}
        }
    }
}

/// The broker owes something and does not say it.
fn silence(run: &Run<'_>) -> ClientError {
    ClientError::Timeout {
        place: run.target.authority(),
        secs: ANSWER_TIMEOUT_SECS,
    }
}

/// Differs between runs at the same time on the same topics.
fn run_id() -> u64 {
    let nanos = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |time| time.as_nanos());
    let low = u64::try_from(nanos % u128::from(u64::MAX)).unwrap_or(0);
    low ^ (u64::from(std::process::id()) << 40)
}

/// What this thread has cost so far, where the system tells (Linux).
fn cpu_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos = text.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}
