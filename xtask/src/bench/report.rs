//! The results: a table in Markdown and everything in JSON.

use serde_json::{Value, json};

use super::figures::{Runs, Spread};
use super::rows::{Base, Latency, Row};
use super::run::{Measured, Sizes};
use super::servers::Kind;

/// Where and with what was measured.
pub(super) struct Setting {
    /// Name and value, in the order of the report.
    pub(super) facts: Vec<(&'static str, String)>,
}

/// The table as `docs/performance.md` shows it.
pub(super) fn markdown(
    table: &[Measured],
    kinds: &[Kind],
    sizes: &Sizes,
    setting: &Setting,
) -> String {
    let mut out = String::new();
    for (name, value) in &setting.facts {
        out.push_str(&format!("- {name}: {value}\n"));
    }
    out.push_str("\nMedian [lowest–highest]; ÷ is what the row is held against.\n\n| scenario |");
    for kind in kinds {
        out.push_str(&format!(" {} |", kind.name()));
    }
    out.push_str(" moat ÷ | must | goal | verdict |\n|---|");
    out.push_str(&"---|".repeat(kinds.len() + 4));
    out.push('\n');
    for measured in table {
        out.push_str(&line(measured, kinds, sizes));
    }
    let faults = faults(table, kinds);
    if !faults.is_empty() {
        out.push_str("\nNot as it should be:\n\n");
        out.push_str(&faults);
    }
    out
}

fn line(measured: &Measured, kinds: &[Kind], sizes: &Sizes) -> String {
    let row = measured.row;
    let mut out = format!("| {} (`{}`) |", sizes.fill(row.title), row.id);
    for runs in &measured.runs {
        out.push_str(&format!(" {} |", cell(row, runs)));
    }
    let moat = kinds.iter().position(|kind| matches!(kind, Kind::Moat));
    let runs = moat.and_then(|index| measured.runs.get(index));
    let ratio = runs.map_or_else(|| "–".to_owned(), |runs| held(row, runs));
    let verdict = runs.map_or("–", |runs| runs.verdict(row).word());
    let bound = |pick: fn(&super::rows::Bound) -> f64| match (&row.bound, &row.latency) {
        (None, _) => "–".to_owned(),
        (Some(bound), None) => format!("≤ {}", pick(bound)),
        (Some(bound), Some(Latency::Times(latency))) => {
            format!("≤ {}; p50 ≤ {}", pick(bound), pick(latency))
        }
        (Some(bound), Some(Latency::MillisMore(millis))) => {
            format!("≤ {}; p50 + {millis} ms", pick(bound))
        }
    };
    let (must, goal) = (bound(|bound| bound.must), bound(|bound| bound.goal));
    out.push_str(&format!(" {ratio} | {must} | {goal} | {verdict} |\n"));
    out
}

/// The figure of one broker.
fn cell(row: &Row, runs: &Runs) -> String {
    let Some(spread) = runs.spread() else {
        return "–".to_owned();
    };
    let mut cell = if row.base == Base::Kilobytes {
        let kilobytes = |bytes: f64| short(bytes / 1000.0);
        let (median, min, max) = (spread.median, spread.min, spread.max);
        format!(
            "{} KB [{}–{}]",
            kilobytes(median),
            kilobytes(min),
            kilobytes(max)
        )
    } else {
        format!(
            "{} {} [{}–{}]",
            short(spread.median),
            row.unit,
            short(spread.min),
            short(spread.max)
        )
    };
    if let (Some(_), Some(latency)) = (row.latency, Spread::of(&runs.latencies)) {
        cell.push_str(&format!("; p50 {} ms", short(latency.median / 1000.0)));
    }
    cell
}

/// What is held to the bounds.
fn held(row: &Row, runs: &Runs) -> String {
    let Some(measure) = runs.measure(row) else {
        return "–".to_owned();
    };
    let unit = if row.base == Base::Kilobytes {
        " KB"
    } else {
        ""
    };
    let mut held = format!("{measure:.2}{unit}");
    match (row.latency, runs.latency(row)) {
        (Some(Latency::Times(_)), Some(times)) => held.push_str(&format!("; p50 {times:.2}")),
        (Some(Latency::MillisMore(_)), Some(millis)) => {
            held.push_str(&format!("; p50 {millis:+.2} ms"));
        }
        _ => {}
    }
    held
}

fn faults(table: &[Measured], kinds: &[Kind]) -> String {
    let mut out = String::new();
    for measured in table {
        for (runs, kind) in measured.runs.iter().zip(kinds) {
            for fault in &runs.faults {
                out.push_str(&format!(
                    "- `{}`, {}: {fault}\n",
                    measured.row.id,
                    kind.name()
                ));
            }
        }
    }
    out
}

/// Three digits that count, and whole numbers from 100 on.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Every run with what was made of it.
pub(super) fn json(table: &[Measured], kinds: &[Kind], sizes: &Sizes, setting: &Setting) -> Value {
    let facts: Vec<Value> = setting
        .facts
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    let rows: Vec<Value> = table
        .iter()
        .map(|measured| json_row(measured, kinds, sizes))
        .collect();
    json!({"setting": facts, "rows": rows})
}

fn json_row(measured: &Measured, kinds: &[Kind], sizes: &Sizes) -> Value {
    let row = measured.row;
    let of_broker = |(runs, kind): (&Runs, &Kind)| {
        let spread = runs.spread();
        json!({
            "name": kind.name(),
            "median": spread.map(|spread| spread.median),
            "min": spread.map(|spread| spread.min),
            "max": spread.map(|spread| spread.max),
            "runs": runs.figures,
            "base": runs.base,
            "measure": runs.measure(row),
            "p50_us": runs.latencies,
            "base_p50_us": runs.base_latencies,
            "latency": runs.latency(row),
            "verdict": runs.verdict(row).word(),
            "faults": runs.faults,
        })
    };
    let brokers: Vec<Value> = measured.runs.iter().zip(kinds).map(of_broker).collect();
    json!({
        "id": row.id,
        "title": sizes.fill(row.title),
        "load": sizes.fill(row.load),
        "unit": row.unit,
        "must": row.bound.map(|bound| bound.must),
        "goal": row.bound.map(|bound| bound.goal),
        "brokers": brokers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::options::Options;
    use crate::bench::rows::ROWS;

    fn measured(id: &str, own: &[f64], base: &[f64]) -> Measured {
        let row = ROWS.iter().find(|row| row.id == id).unwrap();
        let of = |figures: &[f64]| Runs {
            figures: figures.to_vec(),
            base: base.to_vec(),
            ..Runs::default()
        };
        let mut moat = of(own);
        moat.faults.push("missing 3".to_owned());
        Measured {
            row,
            runs: vec![of(base), moat],
        }
    }

    fn sizes() -> Sizes {
        Sizes::of(&Options::parse(&[]).unwrap())
    }

    #[test]
    fn a_line_has_figures_ratio_bounds_and_verdict() {
        let line = line(
            &measured("pairs-qos0", &[0.8, 0.7, 0.9], &[0.5]),
            &[Kind::Floor, Kind::Moat],
            &sizes(),
        );
        assert_eq!(
            line,
            "| 50 pairs QoS 0 (`pairs-qos0`) | 0.500 µs [0.500–0.500] | 0.800 µs [0.700–0.900] | 1.60 | ≤ 2 | ≤ 1.3 | must |\n"
        );
    }

    #[test]
    fn memory_is_shown_in_kilobytes_and_what_was_not_measured_as_a_dash() {
        let shown = line(
            &measured("rss-tls", &[7500.0], &[]),
            &[Kind::Floor, Kind::Moat],
            &sizes(),
        );
        assert!(
            shown.contains("| – | 7.50 KB [7.50–7.50] | 7.50 KB | ≤ 8 | ≤ 5 | must |"),
            "{shown}"
        );
    }

    #[test]
    fn every_line_of_the_table_has_as_many_cells_and_faults_follow() {
        let table = [
            measured("pairs-qos0", &[1.0], &[1.0]),
            measured("pairs-paced", &[1.0], &[]),
        ];
        let setting = Setting {
            facts: vec![("cores", "2".to_owned())],
        };
        let text = markdown(&table, &[Kind::Floor, Kind::Moat], &sizes(), &setting);
        let cells: Vec<usize> = text
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(|line| line.matches('|').count())
            .collect();
        assert_eq!(cells, [8; 4]);
        assert!(text.starts_with("- cores: 2\n"));
        assert!(text.ends_with("- `pairs-paced`, moat: missing 3\n"));
    }

    #[test]
    fn the_json_has_every_run() {
        let table = [measured("pairs-qos0", &[0.8, 0.7], &[0.5])];
        let setting = Setting { facts: Vec::new() };
        let json = json(&table, &[Kind::Floor, Kind::Moat], &sizes(), &setting);
        let moat = &json["rows"][0]["brokers"][1];
        assert_eq!(moat["runs"], json!([0.8, 0.7]));
        assert_eq!(moat["verdict"], "must");
        assert_eq!(json["rows"][0]["must"], 2.0);
    }
}
