//! `cargo xtask simulate` in a program of its own: seeds, one after the other, until one is not clean.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool speaks to a person"
)]

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;

use moat_config::nearest;
use moat_testkit::simulation::{Coverage, Planted, run};

/// What is asked for.
struct Options {
    from: u64,
    seeds: u64,
    is_verbose: bool,
    planted: Option<Planted>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match options(&arguments) {
        Ok(options) => simulate(&options),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn options(arguments: &[String]) -> Result<Options, String> {
    let mut options = Options {
        from: 0,
        seeds: 1000,
        is_verbose: false,
        planted: None,
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let value = words
            .next()
            .ok_or_else(|| format!("{word}: a value is missing"))?;
        let number = || {
            let parsed = value.parse::<u64>();
            parsed.map_err(|_| format!("{word} {value}: write a number, as in {word} 1000"))
        };
        match word.as_str() {
            "--seeds" => options.seeds = number()?,
            "--from" => options.from = number()?,
            "--seed" => (options.from, options.seeds, options.is_verbose) = (number()?, 1, true),
            "--planted" => options.planted = Some(planted(value)?),
            _ => {
                return Err(format!(
                    "{word}: not an option; there are --seeds, --from, --seed and --planted"
                ));
            }
        }
    }
    Ok(options)
}

fn planted(name: &str) -> Result<Planted, String> {
    match name {
        "ack-before-commit" => Ok(Planted::AckBeforeCommit),
        "cursor-ahead-of-log" => Ok(Planted::CursorAheadOfLog),
        "lost-will" => Ok(Planted::LostWill),
        _ => {
            let all = ["ack-before-commit", "cursor-ahead-of-log", "lost-will"];
            let hint = nearest(name, all)
                .map_or_else(String::new, |near| format!("did you mean {near}? "));
            Err(format!(
                "--planted {name}: not known; {hint}there are {}",
                all.join(", ")
            ))
        }
    }
}

fn simulate(options: &Options) -> ExitCode {
    let start = Instant::now();
    let mut coverage = Coverage::default();
    for seed in options.from..options.from + options.seeds {
        let outcome = run(seed, options.planted, options.is_verbose);
        coverage.add(&outcome.coverage);
        if !outcome.is_clean() {
            clear_line();
            if options.is_verbose {
                println!("{outcome}");
            } else {
                println!("{}", run(seed, options.planted, true));
            }
            println!("seed {seed} failed; again: cargo xtask simulate --seed {seed}");
            return ExitCode::FAILURE;
        }
        if options.is_verbose {
            print!("{outcome}");
        }
        progress(seed + 1 - options.from, options.seeds, start);
    }
    clear_line();
    let secs = start.elapsed().as_secs_f64();
    print!("{coverage}");
    let missing = coverage.missing();
    if !missing.is_empty() {
        println!("never reached: {}", missing.join(", "));
    }
    let seeds = coverage.seeds as f64;
    println!(
        "{seeds} seeds clean in {secs:.1} s, {:.0} per second",
        seeds / secs
    );
    ExitCode::SUCCESS
}

/// Seeds between two steps of the bar.
const STEP: u64 = 16;

fn progress(done: u64, all: u64, start: Instant) {
    if !std::io::stderr().is_terminal() || !done.is_multiple_of(STEP) {
        return;
    }
    let filled = usize::try_from(done * 40 / all).unwrap_or(40);
    let per_sec = done as f64 / start.elapsed().as_secs_f64();
    eprint!(
        "\r[{}{}] {done}/{all} seeds, {per_sec:.0} per second ",
        "#".repeat(filled),
        " ".repeat(40 - filled.min(40))
    );
    let _shown = std::io::stderr().flush();
}

fn clear_line() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}
