//! `cargo xtask bench`: moat, Debian's mosquitto, others and the floor under the same loads, by turns, and what came of it.
//!
//! The measure is a broker's processor time for each message, divided by the floor's in the same round: it holds on a
//! machine that has other work too. [`rows`] has the table, [`servers`] what is started and [`process`] how, [`mod@run`] the rounds.

mod figures;
mod growth;
mod options;
mod plot;
mod process;
mod report;
mod rows;
mod run;
mod servers;
mod shards;
mod storm;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

use crate::cargo::{build_release, target};
use crate::words::Failure;
use options::Options;
use report::Setting;
use run::Sizes;
use servers::{Kind, Site};

/// Measures, or draws what was measured.
///
/// # Errors
/// A word that nobody knows, something does not build or start, or a result cannot be written.
pub(crate) fn run(root: &Path, words: &[&str]) -> Result<(), Failure> {
    let options = Options::parse(words)?;
    let out = options
        .out
        .clone()
        .unwrap_or_else(|| target(root).join("bench"));
    if let Some(file) = &options.plot {
        return Ok(plot::run(file, &out)?);
    }
    if options.is_growth {
        rows::check(&options.rows, growth::ids())?;
        let site = site(root, &options)?;
        let curves = growth::run(&site, &options)?;
        return Ok(write(&out, "growth.json", &curves)?);
    }
    let rows = rows::chosen(&options.rows)?;
    let site = site(root, &options)?;
    let kinds = kinds(&options);
    let setting = setting(root, &site, &options, &kinds);
    let table = run::rounds(&site, &options, &kinds, &rows)?;
    let sizes = Sizes::of(&options);
    let text = report::markdown(&table, &kinds, &sizes, &setting);
    write(
        &out,
        "bench.json",
        &report::json(&table, &kinds, &sizes, &setting),
    )?;
    let path = out.join("bench.md");
    fs::write(&path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("{text}");
    Ok(())
}

/// The floor first, then moat, then the others.
fn kinds(options: &Options) -> Vec<Kind> {
    let mut kinds = vec![Kind::Floor, Kind::Moat];
    if servers::has_mosquitto() {
        kinds.push(Kind::Mosquitto);
    }
    kinds.extend(options.peers.iter().cloned().map(Kind::Peer));
    kinds
}

/// Builds what is not given, and makes certificates.
fn site(root: &Path, options: &Options) -> Result<Site, String> {
    let program = |given: &Option<PathBuf>, package: &str, name: &str| match given {
        Some(path) => Ok(path.clone()),
        None => {
            eprintln!("building {package} for release");
            build_release(root, &["-p", package]).map(|release| release.join(name))
        }
    };
    let moat = program(&options.moat, "moat", "moat")?;
    let load = program(&options.load, "moat-load", "mqload")?;
    raise_open_files();
    Site::new(moat, load, root.join("xtask/bench"))
}

/// Ten thousand connections need as many files on both ends.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // With fewer, the rows with many connections say so themselves.
    let _unchanged = setrlimit(Resource::Nofile, raised);
}

fn setting(root: &Path, site: &Site, options: &Options, kinds: &[Kind]) -> Setting {
    let pinned = if site.is_pinned() {
        "server on core 0, generator on core 1"
    } else {
        "not pinned"
    };
    let commit = match options.moat {
        // Whoever gives a program knows what it was built from.
        Some(_) => "of the program given with --moat".to_owned(),
        None => said(
            Command::new("git")
                .args(["rev-parse", "--short", "HEAD"])
                .current_dir(root),
        ),
    };
    let (rounds, secs) = (options.rounds, options.secs);
    let mut facts = vec![
        ("machine", machine()),
        ("kernel", first_line("/proc/sys/kernel/osrelease")),
        ("load at the start", first_line("/proc/loadavg")),
        ("cores", pinned.to_owned()),
        ("runs", format!("{rounds} of {secs} s each, interleaved")),
        ("moat", said(Command::new(&site.moat).arg("--version"))),
        ("commit", commit),
    ];
    for kind in kinds {
        match kind {
            Kind::Mosquitto => facts.push(("mosquitto", said(Command::new("mosquitto").arg("-h")))),
            Kind::Peer(peer) => facts.push(("peer", format!("{}: `{}`", peer.name, peer.command))),
            Kind::Floor | Kind::Moat => {}
        }
    }
    Setting { facts }
}

fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {cores} cores")
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

/// The first line a program says.
fn said(command: &mut Command) -> String {
    let output = command
        .output()
        .map(|output| output.stdout)
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&output);
    text.lines().next().unwrap_or("unknown").to_owned()
}

fn write(out: &Path, name: &str, value: &Value) -> Result<(), String> {
    let path = out.join(name);
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(out).map_err(failed)?;
    fs::write(&path, format!("{value:#}\n")).map_err(failed)?;
    eprintln!("written {}", path.display());
    Ok(())
}
