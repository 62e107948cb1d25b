//! One run of the load generator against one server, and the rounds of all of them.

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::figures::Runs;
use super::options::Options;
use super::rows::{Base, Door, Row};
use super::servers::{Kind, Server, Site};

/// The longest that one run may take, and how often to look.
const RUN: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(20);
/// Seconds before the measuring begins.
const WARM_UP_SECS: f64 = 0.4;

/// How much each run does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) secs: f64,
    connects: usize,
    handshakes: usize,
    idle: usize,
    idle_tls: usize,
    retained: usize,
    sessions: usize,
}

impl Sizes {
    pub(super) fn of(options: &Options) -> Self {
        let of = |full: usize| if options.is_quick { full / 10 } else { full };
        Self {
            secs: options.secs,
            connects: of(5000),
            handshakes: of(1000),
            idle: of(10_000),
            idle_tls: of(2000),
            retained: of(100_000),
            sessions: of(1000),
        }
    }

    /// Puts the sizes where a text of the table has their names.
    pub(super) fn fill(&self, text: &str) -> String {
        let number = |number: usize| number.to_string();
        text.replace("{secs}", &self.secs.to_string())
            .replace("{connects}", &number(self.connects))
            .replace("{handshakes}", &number(self.handshakes))
            .replace("{idle}", &number(self.idle))
            .replace("{idle_tls}", &number(self.idle_tls))
            .replace("{retained}", &number(self.retained))
            .replace("{sessions}", &number(self.sessions))
    }
}

/// Runs the load generator; its report.
///
/// # Errors
/// The server has no such door, or the run failed; the message says how.
pub(super) fn load(site: &Site, server: &Server, door: Door, words: &str) -> Result<Value, String> {
    let (port, pid) = server.door(door).ok_or("it cannot be entered that way")?;
    let mut command = site.load();
    command
        .args(words.split_whitespace())
        .args(["--addr", &format!("127.0.0.1:{port}")])
        .args(["--broker-pid", &pid.to_string()])
        .args(["--warmup", &WARM_UP_SECS.to_string()])
        .args(["--label", server.kind.name()])
        .args(site.credentials(door));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run {command:?}: {error}"))?;
    let until = Instant::now() + RUN;
    loop {
        match child.try_wait() {
            Ok(Some(_)) => break,
            Ok(None) if Instant::now() < until => std::thread::park_timeout(LOOK),
            _ => {
                let _killed = child.kill();
                let _ended = child.wait();
                return Err(format!("no result after {RUN:?}"));
            }
        }
    }
    let mut said = String::new();
    if let Some(mut output) = child.stdout.take() {
        let _utf8 = output.read_to_string(&mut said);
    }
    let line = said.lines().last().unwrap_or_default();
    let report: Value =
        serde_json::from_str(line).map_err(|_| format!("{command:?} gave no report"))?;
    match report.get("error").and_then(Value::as_str) {
        None => Ok(report),
        Some(error) => Err(error.to_owned()),
    }
}

/// A figure of a report.
pub(super) fn figure(report: &Value, name: &str) -> Option<f64> {
    report.get(name).and_then(Value::as_f64)
}

/// A row with what was measured, in the order of the kinds.
pub(super) struct Measured {
    pub(super) row: &'static Row,
    pub(super) runs: Vec<Runs>,
}

/// Measures `rows` of all `kinds`, round after round, in an order that changes.
///
/// # Errors
/// A server does not start. A run that fails is noted in its row.
pub(super) fn rounds(
    site: &Site,
    options: &Options,
    kinds: &[Kind],
    rows: &[&'static Row],
) -> Result<Vec<Measured>, String> {
    let sizes = Sizes::of(options);
    let mut table = Vec::new();
    for &row in rows {
        let mut runs = vec![Runs::default(); kinds.len()];
        let mut servers: Vec<Option<Server>> = kinds.iter().map(|_| None).collect();
        for round in 0..options.rounds {
            let mut base = Vec::new();
            let mut order: Vec<usize> = (0..kinds.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for index in order {
                let kind = &kinds[index];
                if !takes_part(kind, row) {
                    continue;
                }
                if row.is_fresh || servers[index].is_none() {
                    servers[index] = None;
                    servers[index] = Some(Server::start(site, kind)?);
                }
                let Some(server) = &servers[index] else {
                    continue;
                };
                let result = once(site, server, row, &sizes, &mut runs[index]);
                if let (Kind::Floor, Ok(report)) = (kind, &result) {
                    base.push(report.clone());
                }
                tell(row, kind, round, options.rounds, result);
            }
            hold_against(&mut runs, kinds, row, &base);
        }
        table.push(Measured { row, runs });
    }
    Ok(table)
}

/// The floor is measured only where others are held against it, since it is no broker.
fn takes_part(kind: &Kind, row: &Row) -> bool {
    let is_asked = match row.base {
        Base::Floor | Base::FloorUnder(_) => true,
        Base::OwnPlain(_) | Base::Kilobytes | Base::Alone => !matches!(kind, Kind::Floor),
    };
    is_asked && kind.has(row.door)
}

fn once(
    site: &Site,
    server: &Server,
    row: &Row,
    sizes: &Sizes,
    runs: &mut Runs,
) -> Result<Value, String> {
    if let Base::OwnPlain(words) = row.base {
        match load(site, server, Door::Plain, &sizes.fill(words)) {
            Ok(plain) => runs.base.extend(figure(&plain, row.figure)),
            Err(error) => runs.faults.push(format!("in plain: {error}")),
        }
    }
    let words = match (row.base, &server.kind) {
        (Base::FloorUnder(words), Kind::Floor) => words,
        _ => row.load,
    };
    let result = load(site, server, row.door, &sizes.fill(words));
    match &result {
        Ok(report) => {
            runs.figures.extend(figure(report, row.figure));
            if row.latency_load.is_none() {
                runs.latencies.extend(figure(report, "p50_us"));
            }
            runs.faults.extend(fault(report));
        }
        Err(error) => runs.faults.push(error.clone()),
    }
    if let Some(words) = row.latency_load {
        latency(site, server, row, &sizes.fill(words), runs);
    }
    result
}

/// Measures the latency by a load of its own, in plain and through the row's door.
fn latency(site: &Site, server: &Server, row: &Row, words: &str, runs: &mut Runs) {
    for (door, into) in [
        (Door::Plain, &mut runs.base_latencies),
        (row.door, &mut runs.latencies),
    ] {
        match load(site, server, door, words) {
            Ok(report) => into.extend(figure(&report, "p50_us")),
            Err(error) => runs.faults.push(format!("latency: {error}")),
        }
    }
}

/// What must not be in a report.
fn fault(report: &Value) -> Option<String> {
    let is_bad = |name: &&str| figure(report, name).is_some_and(|count| count > 0.0);
    let names = [
        "missing",
        "gaps",
        "dups",
        "out_of_order",
        "conns_gone",
        "failed",
        "dead",
    ];
    let mut found: Vec<String> = names
        .into_iter()
        .filter(is_bad)
        .map(|name| format!("{name} {}", figure(report, name).unwrap_or(0.0)))
        .collect();
    if report.get("stalled").and_then(Value::as_bool) == Some(true) {
        found.push("stalled".to_owned());
    }
    (!found.is_empty()).then(|| found.join(", "))
}

fn hold_against(runs: &mut [Runs], kinds: &[Kind], row: &Row, floor: &[Value]) {
    for (runs, kind) in runs.iter_mut().zip(kinds) {
        if matches!(row.base, Base::Floor | Base::FloorUnder(_)) && takes_part(kind, row) {
            let of =
                |name: &'static str| floor.iter().filter_map(move |report| figure(report, name));
            // The base of stored messages is of pairs, whose figure has another name.
            runs.base.extend(of("broker_us_per_unit"));
            runs.base_latencies.extend(of("p50_us"));
        }
    }
}

fn tell(row: &Row, kind: &Kind, round: usize, rounds: usize, result: Result<Value, String>) {
    let said = match result {
        Ok(report) => match figure(&report, row.figure).or(figure(&report, "broker_us_per_unit")) {
            Some(figure) => format!("{figure:.3} {}", row.unit),
            None => "no figure".to_owned(),
        },
        Err(error) => error,
    };
    let (id, name) = (row.id, kind.name());
    eprintln!("{id}: round {} of {rounds}, {name}: {said}", round + 1);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_broker_lost_is_a_fault() {
        let report = json!({"missing": 3, "dups": 0, "stalled": true});
        assert_eq!(fault(&report).unwrap(), "missing 3, stalled");
        assert_eq!(fault(&json!({"missing": 0, "stalled": false})), None);
    }

    #[test]
    fn every_load_of_the_table_has_its_sizes_filled_in() {
        let options = Options::parse(&[]).unwrap();
        for row in crate::bench::rows::ROWS {
            let filled = Sizes::of(&options).fill(&format!("{} {}", row.load, row.title));
            assert!(!filled.contains(['{', '}']), "{filled}");
        }
    }

    #[test]
    fn the_floor_is_not_asked_where_it_is_no_base() {
        let row = |id: &str| {
            crate::bench::rows::ROWS
                .iter()
                .find(|row| row.id == id)
                .unwrap()
        };
        assert!(takes_part(&Kind::Floor, row("pairs-qos0")));
        assert!(!takes_part(&Kind::Floor, row("rss-plain")));
        assert!(takes_part(&Kind::Moat, row("rss-plain")));
    }

    #[test]
    fn each_broker_gets_the_floor_of_its_round() {
        let row = crate::bench::rows::ROWS.first().unwrap();
        let mut runs = vec![Runs::default(), Runs::default()];
        let floor = [json!({"broker_us_per_unit": 0.5})];
        hold_against(&mut runs, &[Kind::Moat, Kind::Floor], row, &floor);
        assert_eq!(runs[0].base, [0.5]);
    }
}
