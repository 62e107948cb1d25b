//! The result of a run: one line of JSON.

use std::fmt::Write as _;

use crate::measure::Snapshot;

/// A JSON object in the making. Keys are ours and need no escape.
pub(crate) struct Report(String);

impl Report {
    pub(crate) fn new(scenario: &str) -> Self {
        Self("{".to_owned()).text("scenario", scenario)
    }

    pub(crate) fn text(mut self, key: &str, value: &str) -> Self {
        let mut escaped = String::with_capacity(value.len());
        for character in value.chars() {
            match character {
                '"' | '\\' => {
                    escaped.push('\\');
                    escaped.push(character);
                }
                control if control.is_control() => escaped.push(' '),
                plain => escaped.push(plain),
            }
        }
        self.key(key);
        let _infallible = write!(self.0, "\"{escaped}\"");
        self
    }

    pub(crate) fn count(mut self, key: &str, value: u64) -> Self {
        self.key(key);
        let _infallible = write!(self.0, "{value}");
        self
    }

    /// With three digits after the point; what is not finite becomes 0.
    pub(crate) fn number(mut self, key: &str, value: f64) -> Self {
        let value = if value.is_finite() { value } else { 0.0 };
        self.key(key);
        let _infallible = write!(self.0, "{value:.3}");
        self
    }

    pub(crate) fn flag(mut self, key: &str, value: bool) -> Self {
        self.key(key);
        let _infallible = write!(self.0, "{value}");
        self
    }

    /// What the broker and this process used between two moments, per unit and in cores.
    pub(crate) fn cost(self, from: &Snapshot, to: &Snapshot, units: u64) -> Self {
        let wall = to.at_ns.saturating_sub(from.at_ns).max(1) as f64;
        let broker = to.cpu_ns.saturating_sub(from.cpu_ns) as f64;
        let own = to.own_ns.saturating_sub(from.own_ns) as f64;
        self.number("broker_us_per_unit", to.us_per(from, units))
            .number("broker_cores", broker / wall)
            .count("broker_user_ms", to.user_ms.saturating_sub(from.user_ms))
            .count("broker_sys_ms", to.sys_ms.saturating_sub(from.sys_ms))
            .count("broker_ctx", to.switches.saturating_sub(from.switches))
            .number("own_us_per_unit", own / 1e3 / units.max(1) as f64)
            .number("own_cores", own / wall)
            .count("rss_kb_before", from.rss_kb)
            .count("rss_kb_after", to.rss_kb)
    }

    pub(crate) fn print(self) {
        println!("{}", self.finish());
    }

    fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn key(&mut self, key: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        let _infallible = write!(self.0, "\"{key}\":");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_one_object_on_one_line() {
        let report = Report::new("p2p")
            .text("label", "a \"b\"\n")
            .count("qos", 1)
            .number("per_s", f64::NAN)
            .flag("tls", true);
        assert_eq!(
            report.finish(),
            r#"{"scenario":"p2p","label":"a \"b\" ","qos":1,"per_s":0.000,"tls":true}"#
        );
    }
}
