//! `cargo xtask bench --growth`: how moat's cost grows with subscriptions, rules, connections and fan-out.

use serde_json::{Value, json};

use super::figures::Spread;
use super::options::Options;
use super::rows::Door;
use super::run::{Sizes, figure, load};
use super::servers::{Kind, Server, Setup, Site};
use super::{shards, storm};

/// One curve: a load with `{n}` in it, and what is drawn of its report.
struct Curve {
    id: &'static str,
    title: &'static str,
    along: &'static str,
    steps: &'static [usize],
    load: &'static str,
    lines: &'static [Line],
    /// Whether `{n}` is the number of rules of the policy, and not in the load.
    is_policy: bool,
}

/// A figure of the report and its name in the chart.
struct Line {
    figure: &'static str,
    name: &'static str,
    unit: &'static str,
}

const fn line(figure: &'static str, name: &'static str, unit: &'static str) -> Line {
    Line { figure, name, unit }
}

const CPU: &[Line] = &[line(
    "broker_us_per_unit",
    "processor time per message",
    "µs",
)];
const SUBSCRIPTIONS: &[Line] = &[
    line(
        "broker_us_per_unit",
        "processor time per message that matches one",
        "µs",
    ),
    line(
        "rss_bytes_per_subscription",
        "memory per subscription",
        "bytes",
    ),
];
const CURVES: &[Curve] = &[
    Curve {
        id: "subscriptions-exact",
        title: "distinct exact subscriptions",
        along: "subscriptions",
        steps: &[1000, 10_000, 100_000, 1_000_000],
        load: "subscriptions --n {n} --secs {secs}",
        lines: SUBSCRIPTIONS,
        is_policy: false,
    },
    Curve {
        id: "subscriptions-wildcard",
        title: "distinct subscriptions with a wildcard",
        along: "subscriptions",
        steps: &[1000, 10_000, 100_000],
        load: "subscriptions --n {n} --wildcards --secs {secs}",
        lines: SUBSCRIPTIONS,
        is_policy: false,
    },
    Curve {
        id: "churn",
        title: "pairs at 5,000 msg/s while filters come and go",
        along: "filters per second",
        steps: &[1000, 10_000, 50_000],
        load: "subscriptions --n 1000 --churn {n} --rate 5000 --pairs 50 --secs {secs}",
        lines: &[
            line("quiet_p50_us", "p50 in quiet", "µs"),
            line("p50_us", "p50", "µs"),
            line("p99_us", "p99", "µs"),
        ],
        is_policy: false,
    },
    Curve {
        id: "rules",
        title: "50 pairs QoS 0 and the rules of the policy",
        along: "rules",
        steps: &[10, 100, 1000, 10_000, 100_000],
        load: "p2p --pairs 50 --secs {secs}",
        lines: CPU,
        is_policy: true,
    },
    Curve {
        id: "connections",
        title: "pairs QoS 0, a window of four messages each",
        along: "pairs",
        steps: &[1, 10, 100, 1000, 5000],
        load: "p2p --pairs {n} --batch 4 --batches 1 --rbuf 4096 --src-ips 4 --secs {secs}",
        lines: CPU,
        is_policy: false,
    },
    Curve {
        id: "fan-out",
        title: "one publisher and its subscribers, QoS 0",
        along: "subscribers",
        steps: &[1, 10, 100, 1000],
        load: "fanout --subs {n} --secs {secs}",
        lines: CPU,
        is_policy: false,
    },
];
/// With `--quick`, steps beyond it are left out.
const QUICK_STEP_MAX: usize = 10_000;

/// The ids of all curves.
pub(super) fn ids() -> impl Iterator<Item = &'static str> + Clone {
    CURVES
        .iter()
        .map(|curve| curve.id)
        .chain([storm::ID, shards::ID])
}

/// Measures all curves, or those that `--rows` names.
///
/// # Errors
/// Moat does not start.
pub(super) fn run(site: &Site, options: &Options) -> Result<Value, String> {
    let mut curves = Vec::new();
    let is_chosen =
        |id: &str| options.rows.is_empty() || options.rows.iter().any(|name| name == id);
    for curve in CURVES.iter().filter(|curve| is_chosen(curve.id)) {
        curves.push(draw(site, options, curve)?);
    }
    if is_chosen(storm::ID) {
        curves.push(storm::run(site, options)?);
    }
    if is_chosen(shards::ID) {
        curves.push(shards::run(site, options)?);
    }
    Ok(json!({"rounds": options.rounds, "secs": options.secs, "curves": curves}))
}

/// Measures one curve.
fn draw(site: &Site, options: &Options, curve: &Curve) -> Result<Value, String> {
    let steps = curve.steps.iter().copied();
    let steps: Vec<usize> = steps
        .filter(|step| !options.is_quick || *step <= QUICK_STEP_MAX)
        .collect();
    // All steps in each round, so that a machine that becomes slower does not look like a curve that rises.
    let mut found = vec![vec![Vec::new(); curve.lines.len()]; steps.len()];
    for round in 1..=options.rounds {
        for (values, step) in found.iter_mut().zip(&steps) {
            measure(site, options, curve, *step, round, values)?;
        }
    }
    let mut series = vec![Vec::new(); curve.lines.len()];
    for (values, step) in found.iter().zip(&steps) {
        for (points, values) in series.iter_mut().zip(values) {
            if let Some(spread) = Spread::of(values) {
                points.push(json!([step, spread.median, spread.min, spread.max]));
            }
        }
    }
    let lines: Vec<Value> = curve
        .lines
        .iter()
        .zip(series)
        .map(|(line, points)| json!({"name": line.name, "unit": line.unit, "points": points}))
        .collect();
    Ok(json!({
        "id": curve.id, "title": curve.title, "along": curve.along, "lines": lines,
    }))
}

/// Adds to the values of each line at one step, with a broker that has just been started.
fn measure(
    site: &Site,
    options: &Options,
    curve: &Curve,
    step: usize,
    round: usize,
    found: &mut [Vec<f64>],
) -> Result<(), String> {
    let policy = curve.is_policy.then(|| policy(step));
    let words = Sizes::of(options)
        .fill(curve.load)
        .replace("{n}", &step.to_string());
    let setup = Setup {
        policy: policy.as_deref(),
        ..Setup::default()
    };
    let server = Server::start_with(site, &Kind::Moat, &setup)?;
    let at = format!("{}: {step} {}, round {round}", curve.id, curve.along);
    match load(site, &server, Door::Plain, &words) {
        Ok(report) => {
            let values = curve.lines.iter().map(|line| figure(&report, line.figure));
            let values: Vec<Option<f64>> = values.collect();
            let first = values.first().copied().flatten();
            eprintln!("{at}: {:.3}", first.unwrap_or(0.0));
            for (found, value) in found.iter_mut().zip(values) {
                found.extend(value);
            }
        }
        Err(error) => eprintln!("{at}: {error}"),
    }
    Ok(())
}

/// So many rules, of which the last one allows what the load generator does.
fn policy(rules: usize) -> String {
    let mut text = "version = 1\n".to_owned();
    for number in 1..rules {
        text.push_str(&format!(
            "[[rule]]\nname = \"rule-{number}\"\nwho = [\"user-{number}\"]\nallow = [\"publish\", \"subscribe\"]\n\
             topics = [\"tenant/{number}/+/#\"]\n"
        ));
    }
    text.push_str("[[rule]]\nname = \"load\"\nwho = [\"*\"]\nallow = [\"publish\", \"subscribe\"]\ntopics = [\"+/#\"]\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_has_as_many_rules_as_asked_and_the_last_lets_the_load_in() {
        let text = policy(10);
        assert_eq!(text.matches("[[rule]]").count(), 10);
        assert!(text.parse::<toml::Table>().is_ok());
        assert!(text.ends_with("topics = [\"+/#\"]\n"));
    }

    #[test]
    fn every_curve_has_a_place_for_its_number() {
        for curve in CURVES {
            assert!(
                curve.is_policy != curve.load.contains("{n}"),
                "{}",
                curve.id
            );
            assert!(curve.steps.is_sorted());
        }
    }
}
