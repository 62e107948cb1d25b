//! Broken sessions against the real program: `cargo xtask fume` builds and runs this.
//!
//! `fume MOAT [--minutes N] [--seed S] [--first BATCH] [--batches N]`

#![allow(clippy::print_stdout, reason = "a tool speaks to a person")]

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use moat_testkit::fume::{Campaign, run};

const USAGE: &str = "usage: fume MOAT [--minutes N] [--seed S] [--first BATCH] [--batches N], by default one minute";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((moat, campaign)) = read(&arguments) else {
        println!("{USAGE}");
        return ExitCode::from(2);
    };
    println!("seed {}", campaign.seed);
    match run(Path::new(moat), &campaign) {
        Ok(tried) => {
            println!(
                "{} batches, {} connections, {} packets of which {} were changed, {} answers read; \
                 memory at most {} KiB of {} KiB; nothing wrong",
                tried.batches,
                tried.connections,
                tried.packets,
                tried.mutated,
                tried.answers,
                tried.peak_bytes >> 10,
                tried.ceiling_bytes >> 10
            );
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            println!("{wrong}");
            ExitCode::FAILURE
        }
    }
}

fn read(arguments: &[String]) -> Option<(&str, Campaign)> {
    let (moat, options) = arguments.split_first()?;
    let clock = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()?;
    let mut campaign = Campaign {
        seed: clock.as_secs(),
        first: 0,
        batches_max: u64::MAX,
        time_max: Duration::MAX,
    };
    for option in options.chunks(2) {
        let [name, value] = option else { return None };
        let value: u64 = value.parse().ok()?;
        match name.as_str() {
            "--minutes" => campaign.time_max = Duration::from_secs(60 * value),
            "--seed" => campaign.seed = value,
            "--first" => campaign.first = value,
            "--batches" => campaign.batches_max = value,
            _ => return None,
        }
    }
    if campaign.batches_max == u64::MAX && campaign.time_max == Duration::MAX {
        campaign.time_max = Duration::from_secs(60);
    }
    Some((moat, campaign))
}
