//! Clients that others have written, against the program: each over each transport it has, through the same scenarios.
//!
//! The clients' side is in `foreign/`: a program for each language that prints `ok SCENARIO` or `not ok SCENARIO: why`.
//! Here is what they need, the broker, and the judgement. docs/clients.md says what each client cannot do, and why.

mod broker;
mod matrix;
mod outcome;
mod page;
mod programs;

use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;

use crate::tests_run::Count;
use crate::words::{Failure, unknown};
use broker::Broker;
use matrix::{CLIENTS, Client, Transport};
use outcome::Outcome;
use programs::Programs;

/// Runs at a time. They mostly wait, for a will's delay or for each other.
const RUNS_AT_A_TIME: usize = 4;

/// One start of a client's program.
#[derive(Clone, Copy, Debug)]
struct Run<'a> {
    client: &'a Client,
    transport: Transport,
    /// Every scenario expects what nobody sends, and has to notice.
    is_planted: bool,
}

/// The step alone: `cargo xtask foreign CLIENT…`.
///
/// # Errors
/// A name that is no client's, or what [`run_all`] fails with.
pub(crate) fn run(root: &Path, names: &[&str]) -> Result<(), Failure> {
    let mut count = Count::default();
    let result = match names {
        [] => run_all(root, &mut count),
        names => run_clients(root, &chosen(names)?, HasPage(false), &mut count),
    };
    println!("{} passed, {} failed", count.passed, count.failed);
    Ok(result?)
}

/// Runs all clients and the blocks of the page about them, and counts scenarios and blocks.
///
/// # Errors
/// Something is missing, the broker does not start, or a scenario failed; the count is right in that case too.
pub(crate) fn run_all(root: &Path, count: &mut Count) -> Result<(), String> {
    let clients: Vec<&Client> = CLIENTS.iter().collect();
    run_clients(root, &clients, HasPage(true), count)
}

/// Whether the blocks of docs/clients.md are run too.
struct HasPage(bool);

fn run_clients(
    root: &Path,
    clients: &[&Client],
    has_page: HasPage,
    count: &mut Count,
) -> Result<(), String> {
    let programs = Programs::prepare(root, clients)?;
    let runs = runs_of(clients);
    let broker = Broker::start(&programs.moat, &runs)?;
    let waiting = Mutex::new(runs);
    let counted = Mutex::new(Count::default());
    thread::scope(|scope| {
        for _ in 0..RUNS_AT_A_TIME {
            scope.spawn(|| {
                while let Some(run) = next(&waiting) {
                    let came = run.run(&programs, &broker);
                    counted
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .add(came);
                }
            });
        }
    });
    let mut counted = counted.into_inner().unwrap_or_else(PoisonError::into_inner);
    if has_page.0 {
        counted.add(page::run(root, &programs, &broker)?);
    }
    count.add(counted);
    match counted.failed {
        0 => Ok(()),
        failed => Err(format!(
            "what the broker warned of:\n{}\n{failed} of the foreign clients' scenarios and blocks failed",
            broker.warnings()
        )),
    }
}

fn chosen(names: &[&str]) -> Result<Vec<&'static Client>, Failure> {
    let find = |name: &&str| {
        let is_it = |client: &&Client| client.name == *name;
        CLIENTS.iter().find(is_it).ok_or_else(|| {
            let names = CLIENTS.iter().map(|client| client.name);
            unknown(&format!("foreign {name}"), name, names)
        })
    };
    names.iter().map(find).collect()
}

/// Every client over every transport, and once each with the wrong expectations. The last comes first.
fn runs_of<'a>(clients: &[&'a Client]) -> Vec<Run<'a>> {
    let mut runs: Vec<Run<'a>> = Vec::new();
    for client in clients {
        for (index, &transport) in client.transports.iter().enumerate() {
            let run = |is_planted| Run {
                client,
                transport,
                is_planted,
            };
            runs.push(run(false));
            runs.extend((index == 0).then(|| run(true)));
        }
    }
    runs.reverse();
    runs
}

fn next<'a>(waiting: &Mutex<Vec<Run<'a>>>) -> Option<Run<'a>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

impl Run<'_> {
    /// Runs it and prints what came of it, in one piece.
    fn run(&self, programs: &Programs, broker: &Broker) -> Count {
        let name = format!("{} {}", self.client.name, self.transport.word());
        match self.outcome(programs, broker) {
            Ok(outcome) if self.is_planted => {
                let (count, lines) = outcome.judge_planted();
                let verdict = if count.failed == 0 {
                    "every scenario notices a wrong expectation"
                } else {
                    "FAILED with wrong expectations"
                };
                print(&format!("{name}: {verdict}"), &lines);
                count
            }
            Ok(outcome) => {
                let (count, lines) = outcome.judge();
                let Count { passed, failed } = count;
                let failed = match failed {
                    0 => String::new(),
                    failed => format!(", {failed} FAILED"),
                };
                print(&format!("{name}: {passed} passed{failed}"), &lines);
                count
            }
            Err(why) => {
                print(&format!("{name}: FAILED"), &[why]);
                Count {
                    passed: 0,
                    failed: 1,
                }
            }
        }
    }

    fn outcome(&self, programs: &Programs, broker: &Broker) -> Result<Outcome, String> {
        let mut command = programs.runner(self.client);
        command.arg(self.transport.word());
        broker.introduce(&mut command, self)?;
        Outcome::of(command)
    }
}

fn print(head: &str, lines: &[String]) {
    let lines: String = lines.iter().map(|line| format!("\n{line}")).collect();
    println!("{head}{lines}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_runs_over_each_transport_and_once_planted() {
        let all: Vec<&Client> = CLIENTS.iter().collect();
        let runs = runs_of(&all);
        for client in CLIENTS {
            let of_client = || runs.iter().filter(|run| run.client.name == client.name);
            let planted = of_client().filter(|run| run.is_planted).count();
            assert_eq!(planted, 1, "{}", client.name);
            assert_eq!(of_client().count(), client.transports.len() + 1);
        }
    }

    #[test]
    fn a_client_that_is_not_there_is_named_with_those_that_are() {
        let error = chosen(&["node", "mosquito"]).unwrap_err().to_string();
        assert!(error.starts_with("foreign mosquito: not known; did you mean mosquitto?"));
        let chosen = chosen(&["node", "paho"]).unwrap();
        let names: Vec<&str> = chosen.iter().map(|client| client.name).collect();
        assert_eq!(names, ["node", "paho"]);
    }
}
