//! One run of a client's program, and what it told of each scenario.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::foreign::matrix::SCENARIOS;
use crate::tests_run::Count;

/// What one run may take, whatever its program does.
const RUN: Duration = Duration::from_secs(150);
/// Lines on their way from the pipes of a program; more than that has to wait.
const LINES_WAITING_MAX: usize = 1024;
/// Other lines of a program that are kept, to be shown if something failed.
const OTHER_LINES_MAX: usize = 40;

/// What a program told.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Scenarios with what was wrong, if something was.
    told: Vec<(String, Option<String>)>,
    /// What else it said.
    other: Vec<String>,
}

impl Outcome {
    /// Runs it to its end, or to the deadline.
    pub(crate) fn of(mut command: Command) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, to end what it has started as well.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("cannot run {command:?}: {error}"))?;
        let (sender, lines) = sync_channel(LINES_WAITING_MAX);
        let pipes = [
            child.stdout.take().map(boxed),
            child.stderr.take().map(boxed),
        ];
        for pipe in pipes.into_iter().flatten() {
            let sender = sender.clone();
            thread::spawn(move || {
                let lines = BufReader::new(pipe).lines().map_while(Result::ok);
                lines
                    .take_while(|line| sender.send(line.clone()).is_ok())
                    .for_each(drop);
            });
        }
        drop(sender);
        let outcome = Self::read(&lines, RUN);
        end_group(child.id());
        let _ended = child.wait();
        Ok(outcome)
    }

    fn read(lines: &Receiver<String>, deadline: Duration) -> Self {
        let until = Instant::now() + deadline;
        let mut outcome = Self::default();
        while let Ok(line) = lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            outcome.take(&line);
        }
        if Instant::now() >= until {
            outcome
                .other
                .push(format!("ended after {} s", RUN.as_secs()));
        }
        outcome
    }

    fn take(&mut self, line: &str) {
        if let Some(scenario) = line.strip_prefix("ok ") {
            self.told.push((scenario.to_owned(), None));
        } else if let Some((scenario, why)) = line
            .strip_prefix("not ok ")
            .and_then(|rest| rest.split_once(": "))
        {
            self.told.push((scenario.to_owned(), Some(why.to_owned())));
        } else if self.other.len() < OTHER_LINES_MAX {
            self.other.push(line.to_owned());
        }
    }

    /// What a scenario came to: passed, or why not. It counts only if it was told of once.
    pub(crate) fn of_scenario(&self, scenario: &str) -> Result<(), String> {
        let mut told = self.told.iter().filter(|(name, _)| name == scenario);
        match (told.next(), told.next()) {
            (Some((_, None)), None) => Ok(()),
            (Some((_, Some(why))), None) => Err(why.clone()),
            (None, _) => Err("it was not run".to_owned()),
            (Some(_), Some(_)) => Err("it was told of twice".to_owned()),
        }
    }

    /// What it said beside that.
    pub(crate) fn other_lines(&self) -> Vec<String> {
        self.other
            .iter()
            .map(|line| format!("  | {line}"))
            .collect()
    }

    /// How many scenarios passed, and a line for each that did not.
    pub(crate) fn judge(&self) -> (Count, Vec<String>) {
        let mut count = Count::default();
        let mut lines = Vec::new();
        for scenario in SCENARIOS {
            match self.of_scenario(scenario) {
                Ok(()) => count.passed += 1,
                Err(why) => {
                    count.failed += 1;
                    lines.push(format!("  {scenario}: {why}"));
                }
            }
        }
        if count.failed > 0 {
            lines.extend(self.other_lines());
        }
        (count, lines)
    }

    /// The same for a planted run: every scenario has to fail, and for what was planted.
    pub(crate) fn judge_planted(&self) -> (Count, Vec<String>) {
        let lines: Vec<String> = SCENARIOS
            .iter()
            .filter_map(|scenario| match self.of_scenario(scenario) {
                Err(why) if why.contains("planted") => None,
                Err(why) => Some(format!("  {scenario}: failed for another reason: {why}")),
                Ok(()) => Some(format!("  {scenario}: passed with a wrong expectation")),
            })
            .collect();
        let failed = u64::from(!lines.is_empty());
        let passed = 1 - failed;
        (Count { passed, failed }, lines)
    }
}

/// Ends the program and all it has started. The program is not waited for yet, so the number is still its own.
fn end_group(leader: u32) {
    let group = i32::try_from(leader).ok().and_then(Pid::from_raw);
    // Nobody may be left, which is as good.
    let _ended = group.map(|group| kill_process_group(group, Signal::KILL));
}

fn boxed(pipe: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(pipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &str) -> Outcome {
        let mut outcome = Outcome::default();
        lines.lines().for_each(|line| outcome.take(line));
        outcome
    }

    fn all(line: impl Fn(&str) -> String) -> String {
        SCENARIOS.iter().map(|name| line(name) + "\n").collect()
    }

    fn count(passed: u64, failed: u64) -> Count {
        Count { passed, failed }
    }

    #[test]
    fn every_scenario_told_of_once_passes() {
        let outcome = told(&all(|name| format!("ok {name}")));
        assert_eq!(outcome.judge(), (count(11, 0), Vec::new()));
    }

    #[test]
    fn a_failed_scenario_is_shown_with_its_reason_and_what_else_was_said() {
        let outcome = told(&all(|name| match name {
            "qos2" => "a traceback\nnot ok qos2: expected 1: got 2".to_owned(),
            _ => format!("ok {name}"),
        }));
        let (count, lines) = outcome.judge();
        assert_eq!(count, self::count(10, 1));
        assert_eq!(lines, ["  qos2: expected 1: got 2", "  | a traceback"]);
    }

    #[test]
    fn silence_and_the_same_name_twice_are_failures() {
        assert_eq!(told("").judge().0, count(0, 11));
        let twice = told(&all(|name| format!("ok {name}\nok {name}")));
        assert_eq!(twice.judge().0, count(0, 11));
    }

    #[test]
    fn a_planted_run_passes_only_if_every_scenario_fails_for_that() {
        let red = told(&all(|name| {
            format!("not ok {name}: expected planted x, but got x")
        }));
        assert_eq!(red.judge_planted().0, count(1, 0));
        let green = told(&all(|name| match name {
            "shared" => "ok shared".to_owned(),
            _ => format!("not ok {name}: planted"),
        }));
        assert_eq!(green.judge_planted().0, count(0, 1));
        let broken = told(&all(|name| format!("not ok {name}: no connection")));
        assert_eq!(broken.judge_planted().0, count(0, 1));
    }

    #[test]
    fn a_run_that_does_not_end_is_ended_with_what_it_started() {
        let (sender, lines) = sync_channel(LINES_WAITING_MAX);
        sender.send("ok connect".to_owned()).unwrap();
        let outcome = Outcome::read(&lines, Duration::from_millis(10));
        assert_eq!(outcome.of_scenario("connect"), Ok(()));
        assert!(outcome.other[0].starts_with("ended after"));
        drop(sender);
        let mut shell = Command::new("sh");
        // It says that the other one runs, whose end closes the pipe.
        shell.args(["-c", "sleep 1000 & echo runs; wait"]);
        let mut child = shell
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut String::new()).unwrap();
        end_group(child.id());
        assert_eq!(said.read_line(&mut String::new()).unwrap(), 0);
        assert!(!child.wait().unwrap().success());
    }
}
