//! How it is told what happened: a few lines for people, one object for programs, and the exit code.

use std::time::Duration;

use moat_codec::QoS;
use serde_json::{Value, json};

use super::histogram::Histogram;
use super::plan::{Mode, Plan};
use super::progress::{counted, per_sec};
use super::tally::{Outcome, Tally};
use crate::client::Target;
use crate::exit::Failure;
use crate::output::{Output, size};

/// Prints the summary.
///
/// # Errors
/// Something was refused or lost: the exit code tells a script.
pub(crate) fn finish(
    plan: &Plan,
    target: &Target,
    outcome: &Outcome,
    output: &Output,
) -> Result<(), Failure> {
    output.result(&text(plan, target, outcome), || {
        object(plan, target, outcome)
    });
    let wrong = failures(plan, outcome);
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(wrong.join("; ")))
}

/// What makes the run a failed one, in a few words each.
fn failures(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let tally = &outcome.tally;
    let counts = [
        (tally.failed, "connections failed"),
        (tally.lost, "connections lost"),
        (tally.refused, "messages refused"),
        (unacknowledged(plan, tally), "messages not acknowledged"),
        (missing(plan, tally), "messages missing"),
        (unsent(plan, outcome), "messages not sent"),
    ];
    let mut wrong: Vec<_> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{what}: {count}"))
        .collect();
    if wrong.is_empty() && tally.errors() > 0 {
        wrong.push(format!("errors: {}", tally.errors()));
    }
    wrong
}

fn unacknowledged(plan: &Plan, tally: &Tally) -> u64 {
    match plan.qos {
        QoS::AtMostOnce => 0,
        QoS::AtLeastOnce | QoS::ExactlyOnce => tally.on_their_way() + tally.abandoned,
    }
}

fn missing(plan: &Plan, tally: &Tally) -> u64 {
    match plan.mode {
        Mode::Latency => tally.missing(),
        Mode::Pub | Mode::Sub | Mode::Connect => 0,
    }
}

/// What was asked for and not sent, unless that was the user's wish.
fn unsent(plan: &Plan, outcome: &Outcome) -> u64 {
    let is_over = outcome.is_interrupted || plan.duration.is_some();
    match (plan.mode, plan.count) {
        (Mode::Pub | Mode::Latency, Some(count)) if !is_over => {
            count.saturating_sub(outcome.tally.sent)
        }
        _ => 0,
    }
}

fn times(mode: Mode, tally: &Tally) -> &Histogram {
    match mode {
        Mode::Connect => &tally.connect_times,
        Mode::Pub | Mode::Sub | Mode::Latency => &tally.message_times,
    }
}

/// One object; its keys are in `docs/bench.md`.
fn object(plan: &Plan, target: &Target, outcome: &Outcome) -> Value {
    let tally = &outcome.tally;
    let count = counted(plan.mode, tally);
    let errors: Vec<_> = tally
        .errors
        .iter()
        .map(|(text, count)| json!({ "error": text, "count": count }))
        .collect();
    json!({
        "mode": plan.mode.name(),
        "broker": target.to_string(),
        "qos": plan.qos.bits(),
        "size": plan.size,
        "connections": plan.connections(),
        "connected": tally.connected,
        "failed": tally.failed,
        "lost": tally.lost,
        "sent": tally.sent,
        "acknowledged": tally.acknowledged,
        "refused": tally.refused,
        "unacknowledged": unacknowledged(plan, tally),
        "unsent": unsent(plan, outcome),
        "received": tally.received,
        "repeated": tally.repeated,
        "foreign": tally.foreign,
        "missing": missing(plan, tally),
        "bytes_sent": tally.bytes_sent,
        "bytes_received": tally.bytes_received,
        "seconds": outcome.elapsed.as_secs_f64(),
        "per_second": per_sec(count, outcome.elapsed),
        "rate_wanted": plan.rate,
        "times_us": quantiles(times(plan.mode, tally)),
        "cpu_seconds": outcome.cpu.map(|cpu| cpu.as_secs_f64()),
        "cpu_us_each": cpu_each(outcome, handled(tally)).map(|each| each.as_secs_f64() * 1e6),
        "interrupted": outcome.is_interrupted,
        "errors": errors,
    })
}

/// What the generator had to do: messages either way, connections if there were none.
fn handled(tally: &Tally) -> u64 {
    match tally.sent + tally.received {
        0 => tally.connected,
        messages => messages,
    }
}

fn cpu_each(outcome: &Outcome, count: u64) -> Option<Duration> {
    let nanos = outcome.cpu?.as_nanos().checked_div(u128::from(count))?;
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

/// Microseconds, `null` if nothing was measured.
fn quantiles(times: &Histogram) -> Value {
    if times.count() == 0 {
        return Value::Null;
    }
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    json!({
        "count": times.count(),
        "p50": us(times.quantile(500)),
        "p90": us(times.quantile(900)),
        "p99": us(times.quantile(990)),
        "p999": us(times.quantile(999)),
        "max": us(times.max()),
    })
}

fn text(plan: &Plan, target: &Target, outcome: &Outcome) -> String {
    let tally = &outcome.tally;
    let mut lines = vec![format!(
        "{} {target}: {} of {} connections, {}{}",
        plan.mode.name(),
        tally.connected,
        plan.connections(),
        seconds(outcome.elapsed),
        if outcome.is_interrupted {
            ", interrupted"
        } else {
            ""
        }
    )];
    let mut row = |name: &str, value: String| lines.push(format!("  {name:<16}{value}"));
    let count = counted(plan.mode, tally);
    let rate = format!("{} per second", per_sec(count, outcome.elapsed));
    let volume = |count: u64, bytes: u64| {
        let per_second = size(per_sec(bytes, outcome.elapsed));
        format!(
            "{count} at QoS {}, {} per second, {per_second}/s",
            plan.qos.bits(),
            per_sec(count, outcome.elapsed)
        )
    };
    match plan.mode {
        Mode::Connect => row("connected", format!("{count}, {rate}")),
        Mode::Pub | Mode::Latency => row("sent", volume(tally.sent, tally.bytes_sent)),
        Mode::Sub => {}
    }
    if matches!(plan.mode, Mode::Sub | Mode::Latency) {
        row("received", volume(tally.received, tally.bytes_received));
    }
    if plan.qos != QoS::AtMostOnce && matches!(plan.mode, Mode::Pub | Mode::Latency) {
        row("acknowledged", tally.acknowledged.to_string());
    }
    if times(plan.mode, tally).count() > 0 {
        let what = match plan.mode {
            Mode::Connect => "to CONNACK",
            Mode::Pub => "to the answer",
            Mode::Sub | Mode::Latency => "latency",
        };
        row(what, quantiles_text(times(plan.mode, tally)));
    }
    if let Some((cpu, each)) = outcome.cpu.zip(cpu_each(outcome, handled(tally))) {
        let each = duration(each);
        row(
            "generator",
            format!("{} of CPU, {each} for each", duration(cpu)),
        );
    }
    for (count, what) in [
        (tally.repeated, "received again"),
        (tally.foreign, "of others"),
    ] {
        if count > 0 {
            row(what, count.to_string());
        }
    }
    let wrong = failures(plan, outcome);
    row(
        "errors",
        if wrong.is_empty() {
            "none".to_owned()
        } else {
            wrong.join(", ")
        },
    );
    for (error, count) in &tally.errors {
        lines.push(format!("  {count} × {error}"));
    }
    lines.join("\n")
}

fn quantiles_text(times: &Histogram) -> String {
    let quantile = |per_mille| duration(times.quantile(per_mille));
    format!(
        "p50 {}, p90 {}, p99 {}, p99.9 {}, max {}",
        quantile(500),
        quantile(900),
        quantile(990),
        quantile(999),
        duration(times.max())
    )
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// A short time in the unit people would use.
fn duration(time: Duration) -> String {
    match time.as_nanos() {
        0..1_000 => format!("{} ns", time.as_nanos()),
        1_000..1_000_000 => format!("{:.1} µs", time.as_secs_f64() * 1e6),
        1_000_000..1_000_000_000 => format!("{:.2} ms", time.as_secs_f64() * 1e3),
        _ => format!("{:.2} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientError;

    fn outcome() -> Outcome {
        Outcome {
            tally: Tally::new(),
            is_interrupted: false,
            elapsed: Duration::from_secs(2),
            cpu: Some(Duration::from_millis(10)),
        }
    }

    fn target() -> Target {
        "mqtt://broker".parse().unwrap()
    }

    #[test]
    fn the_manual_names_every_key() {
        let manual = include_str!("../../../../docs/bench.md");
        let mut outcome = outcome();
        outcome.tally.message_times.record(1);
        let object = object(&Plan::new(Mode::Latency, Vec::new()), &target(), &outcome);
        let keys = object.as_object().unwrap().keys();
        let times = object["times_us"].as_object().unwrap().keys();
        for key in keys.chain(times) {
            assert!(manual.contains(&format!("`{key}`")), "{key}");
        }
    }

    #[test]
    fn what_was_lost_or_refused_is_a_failure_and_what_was_not_asked_for_is_none() {
        let mut plan = Plan::new(Mode::Pub, Vec::new());
        (plan.qos, plan.count) = (QoS::AtLeastOnce, Some(10));
        let mut outcome = outcome();
        (outcome.tally.sent, outcome.tally.acknowledged) = (10, 10);
        assert_eq!(failures(&plan, &outcome), Vec::<String>::new());
        (outcome.tally.sent, outcome.tally.acknowledged) = (9, 7);
        outcome.tally.refused = 1;
        assert_eq!(
            failures(&plan, &outcome),
            [
                "messages refused: 1",
                "messages not acknowledged: 1",
                "messages not sent: 1"
            ]
        );
        outcome.is_interrupted = true;
        assert!(!failures(&plan, &outcome).join(" ").contains("not sent"));
        plan.mode = Mode::Latency;
        (outcome.tally.sent, outcome.tally.received) = (9, 6);
        assert!(failures(&plan, &outcome).contains(&"messages missing: 2".to_owned()));
    }

    #[test]
    fn a_summary_for_people_tells_rate_times_cost_and_errors() {
        let mut outcome = outcome();
        let tally = &mut outcome.tally;
        (tally.sent, tally.received, tally.lost) = (100, 100, 1);
        tally.message_times.record(1_500);
        tally.note(&ClientError::Closed);
        let text = text(&Plan::new(Mode::Latency, Vec::new()), &target(), &outcome);
        for part in [
            "latency mqtt://broker:1883: 0 of 0 connections, 2.0 s",
            "50 per second",
            "p99.9 1.5 µs",
            "10.00 ms of CPU, 50.0 µs for each",
            "connections lost: 1",
            "1 × the broker closed",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
