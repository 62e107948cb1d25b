//! Measures every attack of the hostile suite: `cargo xtask hostile` builds and runs this.
//!
//! `hostile MOAT [NAME]`: the program to attack, and a part of the name of the attacks to make.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a tool speaks to a person, and fails like a test"
)]

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use moat_config::nearest;
use moat_testkit::hostile::{Length, Outcome, all, siege};

/// Quiet and attacked take turns, so that what else the machine does falls on both.
const ROUNDS: u32 = 5;
/// Each turn.
const EACH: Duration = Duration::from_millis(1500);
/// The 99th percentile of an honest client's round trips beside an attack, as a multiple of that without.
const RATIO_MAX: f64 = 3.0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let moat = arguments.first().map_or("moat", String::as_str);
    let wanted = arguments.get(1).map_or("", String::as_str);
    let names: Vec<&str> = all().iter().map(|attack| attack.name()).collect();
    if !names.iter().any(|name| name.contains(wanted)) {
        let hint = nearest(wanted, names.iter().copied())
            .map_or_else(String::new, |near| format!("did you mean {near}? "));
        eprintln!(
            "no attack has {wanted:?} in its name; {hint}there are:\n  {}",
            names.join("\n  ")
        );
        return ExitCode::from(2);
    }
    println!(
        "{:<34} {:>8} {:>9} {:>11} {:>6} {:>9} {:>9} {:>9}",
        "attack", "per s", "p99 quiet", "p99 attack", "ratio", "samples", "RSS peak", "ceiling"
    );
    let mut failed = Vec::new();
    for mut attack in all() {
        if !attack.name().contains(wanted) {
            continue;
        }
        let outcome = siege(Path::new(moat), &mut *attack, Length::Rounds(ROUNDS, EACH));
        let ratio = show(&outcome);
        if ratio > RATIO_MAX {
            failed.push(format!(
                "{}: p99 is {ratio:.1} times that of quiet",
                outcome.name
            ));
        }
        if !outcome.is_below_ceiling() {
            failed.push(format!("{}: more memory than the ceiling", outcome.name));
        }
    }
    for failure in &failed {
        println!("FAILED {failure}");
    }
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn show(outcome: &Outcome) -> f64 {
    let (quiet, attacked) = (
        outcome.quiet.percentile(99),
        outcome.attacked.percentile(99),
    );
    let ratio = attacked.as_secs_f64() / quiet.as_secs_f64();
    let per_sec = outcome.packets as f64 / (EACH * ROUNDS).as_secs_f64();
    println!(
        "{:<34} {:>8.0} {:>6.0} µs {:>8.0} µs {:>6.2} {:>9} {:>5.1} MiB {:>5.1} MiB",
        outcome.name,
        per_sec,
        quiet.as_secs_f64() * 1e6,
        attacked.as_secs_f64() * 1e6,
        ratio,
        outcome.attacked.len(),
        mib(outcome.peak_bytes),
        mib(outcome.ceiling.total()),
    );
    ratio
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
