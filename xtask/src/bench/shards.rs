//! What a second packet thread costs a message: between clients of one thread, and on the way from one to the other.

use serde_json::{Value, json};

use super::figures::Spread;
use super::options::Options;
use super::rows::Door;
use super::run::{figure, load};
use super::servers::{Kind, Server, Setup, Site};

pub(super) const ID: &str = "shards";
const LOAD: &str = "p2p --pairs 50 --secs {secs}";
/// Name in the chart, threads, and what the load is told besides.
const CASES: [(&str, usize, &str); 3] = [
    ("one thread", 1, ""),
    ("two, pairs in one of them", 2, " --homes same"),
    ("two, pairs across", 2, " --homes across"),
];

/// Measures the curve, with the cases by turns.
///
/// # Errors
/// Moat does not start, or a run failed.
pub(super) fn run(site: &Site, options: &Options) -> Result<Value, String> {
    let mut found = vec![Vec::new(); CASES.len()];
    for round in 0..options.rounds {
        for ((name, shards, more), values) in CASES.iter().zip(&mut found) {
            let setup = Setup {
                shards: *shards,
                // All on the same cores, or the one thread alone would have the generator's to itself.
                is_on_all_cores: true,
                ..Setup::default()
            };
            let server = Server::start_with(site, &Kind::Moat, &setup)?;
            let words = LOAD.replace("{secs}", &options.secs.to_string()) + more;
            let report = load(site, &server, Door::Plain, &words)?;
            let cost = figure(&report, "broker_us_per_unit")
                .ok_or_else(|| format!("no cost in {report}"))?;
            eprintln!("{ID}: {name}, round {}: {cost:.3}", round + 1);
            values.push(cost);
        }
    }
    let lines: Vec<Value> = CASES
        .iter()
        .zip(found)
        .filter_map(|((name, shards, _), values)| {
            let spread = Spread::of(&values)?;
            let point = json!([shards, spread.median, spread.min, spread.max]);
            Some(json!({"name": name, "unit": "µs", "points": [point]}))
        })
        .collect();
    Ok(json!({
        "id": ID, "title": "50 pairs QoS 0 and where they are at home", "along": "packet threads", "lines": lines,
    }))
}
