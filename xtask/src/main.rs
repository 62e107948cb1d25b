//! Automation: `cargo xtask COMMAND`, a module for each. No shell scripts.
//!
//! [`words`] reads what stands behind the command, [`cargo`] builds what it needs.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool speaks to a person"
)]

mod bench;
mod cargo;
mod conformance;
mod foreign;
mod generate;
mod install;
mod instructions;
mod model;
mod siege;
mod simulate;
mod test;
mod tests_run;
mod tidy;
mod words;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use words::{Failure, WRONG_WORDS};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  bench         moat, Debian's mosquitto and the floor under the same loads: what each uses for a message.
                --rounds N, --secs S, --rows A,B, --peer NAME=COMMAND with {port}, --load PATH, --moat PATH, --out DIR,
                --quick; --growth for the curves; --plot FILE.json draws them
  test          everything CI checks: format, lints, tidy, generated files, docs, tests, end to end
  gen           write the generated files
  hostile       attack a release build in every way there is: round trips of an honest client, memory, ceiling;
                `hostile NAME` for the attacks with that in their name
  fume          broken sessions against a release build: --minutes N, --seed S, --first BATCH, --batches N
  simulate      the whole broker on a virtual clock, with crashes: --seeds N, --from S; --seed S runs one and tells what happens;
                --planted NAME breaks the broker on purpose: the simulation has to notice
  instructions  count the instructions of the hottest paths and compare them with the numbers in the repository; --write keeps them
  gen --check   fail if a generated file is not what `gen` would write, or a statement of MQTT has no test
  tidy          check the rules of the house that no other tool knows
  foreign [CLIENT...]
                only the foreign clients of `test`: mosquitto, paho, aiomqtt, gmqtt, node, chromium, rumqttc
  model         run the model tests, optimised, a million cases each
                --cases N for others
";

/// Every command.
const COMMANDS: [&str; 10] = [
    "bench",
    "test",
    "gen",
    "hostile",
    "fume",
    "simulate",
    "instructions",
    "tidy",
    "foreign",
    "model",
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        [] => Err(Failure::Words(USAGE.to_owned())),
        ["help" | "-h" | "--help", ..] => {
            print!("{USAGE}");
            Ok(())
        }
        [command, words @ ..] => run(&root(), command, words),
    };
    let Err(failure) = result else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{failure}");
    match failure {
        Failure::Words(_) => ExitCode::from(WRONG_WORDS),
        Failure::Work(_) => ExitCode::FAILURE,
    }
}

fn run(root: &Path, command: &str, words: &[&str]) -> Result<(), Failure> {
    match command {
        "bench" => bench::run(root, words),
        "test" => {
            words::options(command, words, &[])?;
            Ok(test::run(root)?)
        }
        "gen" => generate::run(root, words),
        "hostile" => siege::hostile(root, words),
        "fume" => siege::fume(root, words),
        "simulate" => simulate::run(root, words),
        "instructions" => instructions::run(root, words),
        "tidy" => {
            words::options(command, words, &[])?;
            Ok(tidy::run(root)?)
        }
        "foreign" => foreign::run(root, words),
        "model" => model::run(root, words),
        other => {
            let said = format!("cargo xtask {other}");
            Err(words::unknown(&said, other, COMMANDS.into_iter()))
        }
    }
}

/// The root of the repository: this crate's folder is in it.
fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().unwrap_or(Path::new(".")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a command says of these words. There is nothing below the root, so none gets far.
    fn told(line: &str) -> Failure {
        let words: Vec<&str> = line.split(' ').collect();
        run(Path::new("/nowhere"), words[0], &words[1..]).unwrap_err()
    }

    #[test]
    fn every_command_says_which_of_its_words_is_wrong_and_does_nothing() {
        for (line, says) in [
            ("tset", "did you mean test?"),
            ("bench --round 3", "did you mean --rounds?"),
            ("bench --rows pair-qos0", "did you mean pairs-qos0?"),
            ("bench --growth --rows rule", "did you mean rules?"),
            ("test everything", "test everything: "),
            ("gen --chek", "did you mean --check?"),
            ("hostile a b", "hostile a b: "),
            ("hostile --all", "hostile --all: "),
            ("fume --minutes soon", "--minutes soon: "),
            ("fume --minute 3", "did you mean --minutes?"),
            ("simulate --seeds abc", "--seeds abc: "),
            ("simulate --sead 1", "did you mean --seed?"),
            ("simulate --planted", "write --planted NAME"),
            ("instructions --wirte", "did you mean --write?"),
            ("tidy now", "tidy now: "),
            ("foreign mosquito", "did you mean mosquitto?"),
            ("model --cases many", "--cases many: "),
        ] {
            let failure = told(line);
            assert!(matches!(failure, Failure::Words(_)), "{line}: {failure:?}");
            let said = failure.to_string();
            assert!(said.contains(says), "{line}: {said}");
        }
    }

    #[test]
    fn every_command_is_explained_and_nothing_else_is() {
        for command in COMMANDS {
            let explained = format!("\n  {command} ");
            assert!(USAGE.contains(&explained), "{command}");
        }
        let lines = USAGE.lines().filter_map(|line| line.strip_prefix("  "));
        let names = lines.filter_map(|line| line.split(' ').next().filter(|name| !name.is_empty()));
        for name in names {
            assert!(COMMANDS.contains(&name), "{name}");
        }
    }
}
