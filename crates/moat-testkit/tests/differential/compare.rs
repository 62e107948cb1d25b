//! Two brokers' answers to one sequence, and the shortest sequence that still shows a difference.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::answer::sort;
use crate::drive::{StepAnswers, run};
use crate::explained::{After, Difference};
use crate::rules::RULES;
use crate::sequence::{SLOTS, Sequence};
use crate::shape::nonce;

/// Tells the runs of one process apart, on brokers that remember.
static RUNS: AtomicU32 = AtomicU32::new(0);

/// The brokers that are compared.
#[derive(Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) moat: SocketAddr,
    pub(crate) mosquitto: SocketAddr,
}

/// How a comparison ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// All steps were compared.
    Whole,
    /// Up to a difference after which the brokers are not in the same state.
    Apart,
    /// No rule explains what was said at this step.
    Unexplained(usize),
}

pub(crate) struct Comparison {
    pub(crate) sequence: Sequence,
    pub(crate) moat: Vec<StepAnswers>,
    pub(crate) mosquitto: Vec<StepAnswers>,
    pub(crate) end: End,
    /// The rules that explained something, as places in the table.
    pub(crate) fired: Vec<usize>,
}

impl Pair {
    pub(crate) fn compare(self, sequence: Sequence) -> Comparison {
        let nonce = nonce(RUNS.fetch_add(1, Ordering::Relaxed));
        let moat = run(self.moat, &sequence, nonce);
        let mosquitto = run(self.mosquitto, &sequence, nonce);
        let mut fired = Vec::new();
        let end = judge(&sequence, &moat, &mosquitto, &mut fired);
        Comparison {
            sequence,
            moat,
            mosquitto,
            end,
            fired,
        }
    }

    /// Leaves out steps as long as something unexplained remains.
    pub(crate) fn shrink(self, found: Comparison) -> Comparison {
        let mut best = found;
        loop {
            let shorter = (0..best.sequence.steps.len()).rev().find_map(|leave_out| {
                let mut sequence = best.sequence.clone();
                sequence.steps.remove(leave_out);
                let comparison = self.compare(sequence);
                matches!(comparison.end, End::Unexplained(_)).then_some(comparison)
            });
            match shorter {
                Some(shorter) => best = shorter,
                None => return best,
            }
        }
    }
}

fn judge(
    sequence: &Sequence,
    moat: &[StepAnswers],
    mosquitto: &[StepAnswers],
    fired: &mut Vec<usize>,
) -> End {
    for step in 0..sequence.steps.len() {
        let acting = sequence.steps[step].slot();
        let mut unexplained = false;
        for slot in (0..SLOTS).map(|offset| (acting + offset) % SLOTS) {
            let difference = Difference {
                sequence,
                step,
                slot,
                moat: moat[step][slot].clone(),
                mosquitto: mosquitto[step][slot].clone(),
            };
            match explain(difference, fired) {
                Some(End::Apart) => return End::Apart,
                Some(_) => {}
                None => unexplained = true,
            }
        }
        if unexplained {
            return End::Unexplained(step);
        }
    }
    End::Whole
}

/// Applies rules until both say the same. `None` when they never do.
fn explain(mut difference: Difference<'_>, fired: &mut Vec<usize>) -> Option<End> {
    let mut used = Vec::new();
    while difference.moat != difference.mosquitto {
        let open = RULES
            .iter()
            .enumerate()
            .filter(|(at, _)| !used.contains(at));
        let (at, after) = open
            .map(|(at, rule)| (at, (rule.applies)(&difference)))
            .find_map(|(at, after)| Some((at, after?)))?;
        used.push(at);
        match after {
            After::Apart => {
                fired.extend(used);
                return Some(End::Apart);
            }
            After::Same(moat, mosquitto) => {
                (difference.moat, difference.mosquitto) = (moat, mosquitto);
                sort(&mut difference.moat);
                sort(&mut difference.mosquitto);
            }
        }
    }
    fired.extend(used);
    Some(End::Whole)
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = match self.end {
            End::Unexplained(step) => step + 1,
            End::Whole | End::Apart => self.sequence.steps.len(),
        };
        writeln!(f, "seed {}:\n{}", self.sequence.seed, self.sequence)?;
        for step in 0..steps {
            for slot in 0..SLOTS {
                let (moat, mosquitto) = (&self.moat[step][slot], &self.mosquitto[step][slot]);
                if moat == mosquitto {
                    if !moat.is_empty() {
                        writeln!(f, "  {step:2} [{slot}] both say {moat:?}")?;
                    }
                    continue;
                }
                writeln!(f, "  {step:2} [{slot}] moat      {moat:?}")?;
                writeln!(f, "         mosquitto {mosquitto:?}")?;
            }
        }
        Ok(())
    }
}
