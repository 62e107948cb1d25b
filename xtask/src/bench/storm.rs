//! The reconnect storm: how those who are there fare while very many come at once, each with a certificate of its own to check.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::{Value, json};

use super::figures::Spread;
use super::options::Options;
use super::rows::Door;
use super::run::{figure, load};
use super::servers::{Kind, Server, Site};

pub(super) const ID: &str = "storm";
const STEPS: [usize; 2] = [1000, 10_000];
/// Those who are there: paced, so that their latency is not their own doing.
const THERE: &str = "p2p --pairs 50 --rate 5000 --latency --secs {secs}";
/// Those who come, and stay.
const COMING: &str = "idle --n {n} --concurrency 64 --src-ips 8 --settle 0 --secs 0.1";
/// What is drawn: name and unit.
const LINES: [(&str, &str); 5] = [
    ("p50 in quiet", "µs"),
    ("p50 in the storm", "µs"),
    ("longest turn in quiet", "ms"),
    ("longest turn in the storm", "ms"),
    ("longest gap of a bare loop", "ms"),
];

/// Measures the curve.
///
/// # Errors
/// Moat does not start, or a run failed.
pub(super) fn run(site: &Site, options: &Options) -> Result<Value, String> {
    let mut series = vec![Vec::new(); LINES.len()];
    for step in STEPS.map(|step| if options.is_quick { step / 10 } else { step }) {
        let mut found = vec![Vec::new(); LINES.len()];
        for round in 0..options.rounds {
            let figures = once(site, options, step)?;
            eprintln!("{ID}: {step} clients, round {}: {figures:.1?}", round + 1);
            found
                .iter_mut()
                .zip(figures)
                .for_each(|(values, value)| values.push(value));
        }
        for (points, values) in series.iter_mut().zip(found) {
            if let Some(spread) = Spread::of(&values) {
                points.push(json!([step, spread.median, spread.min, spread.max]));
            }
        }
    }
    let lines: Vec<Value> = LINES
        .iter()
        .zip(series)
        .map(|((name, unit), points)| json!({"name": name, "unit": unit, "points": points}))
        .collect();
    Ok(json!({
        "id": ID, "title": "pairs at 5,000 msg/s while clients with certificates come", "along": "clients that come at once",
        "lines": lines,
    }))
}

/// The figures of [`LINES`], of two brokers that have just been started: one for the quiet, one for the storm. A turn is measured by
/// the clock on the wall, so it is as long at least as what the machine takes away; hence the last one.
fn once(site: &Site, options: &Options, clients: usize) -> Result<[f64; LINES.len()], String> {
    let there = THERE.replace("{secs}", &options.secs.to_string());
    let (quiet, quiet_turn) = {
        let server = Server::start(site, &Kind::Moat)?;
        let report = load(site, &server, Door::Plain, &there)?;
        (p50(&report)?, longest_turn(site, &server)?)
    };
    let gap = longest_gap(Duration::from_secs_f64(options.secs));
    let server = Server::start(site, &Kind::Moat)?;
    // It has its core only where the pairs leave it, since their latency is what counts.
    let mut command = site.nice_load();
    let (port, pid) = server
        .door(Door::Mtls)
        .ok_or("it cannot be entered that way")?;
    let coming = COMING.replace("{n}", &clients.to_string());
    let coming = command
        .args(coming.split_whitespace())
        .args(["--addr", &format!("127.0.0.1:{port}")])
        .args(["--broker-pid", &pid.to_string()])
        .args(site.credentials(Door::Mtls))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run {command:?}: {error}"))?;
    let report = load(site, &server, Door::Plain, &there);
    let came = coming
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    let came: Value = serde_json::from_slice(&came.stdout)
        .map_err(|_| "those who came gave no report".to_owned())?;
    let all = clients as f64;
    if figure(&came, "conns") != Some(all) {
        return Err(format!("not all {clients} came: {came}"));
    }
    let turn = longest_turn(site, &server)?;
    Ok([quiet, p50(&report?)?, quiet_turn, turn, gap])
}

/// Milliseconds between two looks at the clock, at most, of a thread that does nothing else on the core where brokers run.
fn longest_gap(time: Duration) -> f64 {
    let looking = std::thread::spawn(move || {
        let mut core = CpuSet::new();
        core.set(0);
        // Where it does not work, brokers are not pinned either.
        let _elsewhere = sched_setaffinity(None, &core);
        let (began, mut last, mut gap) = (Instant::now(), Instant::now(), Duration::ZERO);
        while began.elapsed() < time {
            let now = Instant::now();
            gap = gap.max(now - last);
            last = now;
        }
        gap
    });
    looking.join().map_or(0.0, |gap| gap.as_secs_f64() * 1e3)
}

fn p50(report: &Value) -> Result<f64, String> {
    figure(report, "p50_us").ok_or_else(|| format!("no latency in {report}"))
}

/// In milliseconds.
fn longest_turn(site: &Site, server: &Server) -> Result<f64, String> {
    let status = server.status(site)?;
    figure(&status, "longest_turn_micros")
        .map(|micros| micros / 1e3)
        .ok_or_else(|| format!("no longest turn in {status}"))
}
