//! Automation: `cargo xtask test`, `cargo xtask gen`, `cargo xtask tidy`, `cargo xtask bench`, `cargo xtask model`. No shell scripts.
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

use std::path::{Path, PathBuf};
use std::process::ExitCode;

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
  simulate      the whole broker on a virtual clock, with crashes: --seeds N, --from S; --seed S runs one and tells what happens
  instructions  count the instructions of the hottest paths and compare them with the numbers in the repository; --write keeps them
  gen --check   fail if a generated file is not what `gen` would write, or a statement of MQTT has no test
  tidy          check the rules of the house that no other tool knows
  foreign [CLIENT...]
                only the foreign clients of `test`: mosquitto, paho, aiomqtt, gmqtt, node, chromium, rumqttc
  model         run the model tests, optimised, a million cases each
  model --cases N
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = root();
    let result = match words.as_slice() {
        ["bench", options @ ..] => bench::run(&root, options),
        ["test"] => test::run(&root),
        ["gen"] => generate::write(&root),
        ["gen", "--check"] => generate::check(&root),
        ["tidy"] => tidy::run(&root),
        ["hostile", attack @ ..] => siege::run(&root, "hostile", attack),
        ["simulate", options @ ..] => simulate::run(&root, options),
        ["instructions", options @ ..] => instructions::run(&root, options),
        ["fume", options @ ..] => siege::run(&root, "fume", options),
        ["foreign", clients @ ..] => foreign::run_alone(&root, clients),
        ["model"] => model::run(&root, model::CASES),
        ["model", "--cases", number] => match number.parse() {
            Ok(cases) => model::run(&root, cases),
            Err(_) => Err(format!(
                "--cases {number}: write a number, as in --cases 1000000"
            )),
        },
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository: this crate's folder is in it.
fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().unwrap_or(Path::new(".")).to_owned()
}
