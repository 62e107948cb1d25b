//! What somebody asked a shard to report: counted in parts, so that a walk over a million sessions is not one turn.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use moat_core::shard::Census;

use super::EventLoop;
use crate::control::ShardReport;

/// Reports that may wait for each other. Who asks for one more gets no answer.
const SURVEYS_MAX: usize = 16;

/// The reports in the making, oldest first.
#[derive(Default)]
pub(super) struct Surveys(VecDeque<Survey>);

impl Surveys {
    /// Begins a report for whoever waits at the other end of `reply`.
    pub(super) fn begin(&mut self, reply: SyncSender<ShardReport>) {
        if self.0.len() < SURVEYS_MAX {
            self.0.push_back(Survey {
                reply,
                census: Census::default(),
                next: 0,
            });
        }
    }

    /// Whether none is asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A report in the making.
struct Survey {
    reply: SyncSender<ShardReport>,
    census: Census,
    /// The place of the next session to count.
    next: usize,
}

impl EventLoop {
    /// Goes on with the report that was asked for first, and sends it if that was the last part.
    pub(super) fn go_on_with_survey(&mut self) {
        let Some(survey) = self.surveys.0.front_mut() else {
            return;
        };
        if let Some(next) = self.shard.count_on(survey.next, &mut survey.census) {
            survey.next = next;
            return;
        }
        let Some(survey) = self.surveys.0.pop_front() else {
            return;
        };
        let report = ShardReport {
            sizes: self.shard.sizes(),
            counters: self.shard.counters(),
            census: survey.census,
            traffic: self.traffic,
            connections: self.connections.len(),
            // Only those whom a greeter greets wait for its turns.
            longest_turn: match self.is_greeter() {
                true => Duration::ZERO,
                false => self.turns.longest(self.now),
            },
        };
        let _nobody_waits = survey.reply.send(report);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{RecvTimeoutError, sync_channel};

    use super::*;

    #[test]
    fn surveys_max_bounds_those_who_wait_and_one_more_gets_no_answer() {
        let mut surveys = Surveys::default();
        let (sender, _answers) = sync_channel(SURVEYS_MAX);
        for _ in 0..SURVEYS_MAX {
            surveys.begin(sender.clone());
        }
        let (one_more, answers) = sync_channel(1);
        surveys.begin(one_more);
        assert_eq!(surveys.0.len(), SURVEYS_MAX);
        let answer = answers.recv_timeout(Duration::ZERO);
        assert!(matches!(answer, Err(RecvTimeoutError::Disconnected)));
    }
}
