//! Medians, spreads, ratios and verdicts.

use super::rows::{Base, Bound, Latency, Row};

/// Several runs of the same thing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) runs: usize,
}

impl Spread {
    /// `None` without runs.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = sorted[sorted.len() / 2];
        let lower = sorted[(sorted.len() - 1) / 2];
        Some(Self {
            median: f64::midpoint(lower, upper),
            min,
            max,
            runs: sorted.len(),
        })
    }
}

/// How a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Goal,
    Must,
    Missed,
    /// Nothing is asked of this row, or it could not be measured.
    Open,
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Goal => "goal",
            Self::Must => "must",
            Self::Missed => "missed",
            Self::Open => "–",
        }
    }

    fn worse(self, other: Self) -> Self {
        let rank = |verdict| match verdict {
            Self::Goal => 0,
            Self::Must => 1,
            Self::Open => 2,
            Self::Missed => 3,
        };
        if rank(other) > rank(self) {
            other
        } else {
            self
        }
    }
}

/// The runs of one broker in one row, and those of what it is held against.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    pub(super) figures: Vec<f64>,
    pub(super) base: Vec<f64>,
    /// Medians of the latency in microseconds.
    pub(super) latencies: Vec<f64>,
    pub(super) base_latencies: Vec<f64>,
    /// What went wrong, one sentence for each run that has no figure or lost messages.
    pub(super) faults: Vec<String>,
}

impl Runs {
    pub(super) fn spread(&self) -> Option<Spread> {
        Spread::of(&self.figures)
    }

    /// What is held to the bound: the median of the ratios' parts, or kilobytes.
    pub(super) fn measure(&self, row: &Row) -> Option<f64> {
        let own = self.spread()?.median;
        match row.base {
            Base::Alone => None,
            Base::Kilobytes => Some(own / 1000.0),
            Base::Floor | Base::FloorUnder(_) | Base::OwnPlain(_) => {
                ratio(own, Spread::of(&self.base)?.median)
            }
        }
    }

    /// The latency as it is held to its bound: a ratio, or milliseconds more.
    pub(super) fn latency(&self, row: &Row) -> Option<f64> {
        let own = Spread::of(&self.latencies)?.median;
        let base = Spread::of(&self.base_latencies)?.median;
        match row.latency? {
            Latency::Times(_) => ratio(own, base),
            Latency::MillisMore(_) => Some((own - base) / 1000.0),
        }
    }

    pub(super) fn verdict(&self, row: &Row) -> Verdict {
        let Some(bound) = row.bound else {
            return Verdict::Open;
        };
        let main = judge(self.measure(row), bound);
        match row.latency {
            None => main,
            Some(Latency::Times(bound)) => main.worse(judge(self.latency(row), bound)),
            Some(Latency::MillisMore(must)) => {
                let bound = Bound { must, goal: must };
                main.worse(judge(self.latency(row), bound))
            }
        }
    }
}

/// `None` if there is nothing to divide by.
fn ratio(own: f64, base: f64) -> Option<f64> {
    (base > 0.0).then(|| own / base)
}

fn judge(measured: Option<f64>, bound: Bound) -> Verdict {
    match measured {
        None => Verdict::Open,
        Some(measured) if measured <= bound.goal => Verdict::Goal,
        Some(measured) if measured <= bound.must => Verdict::Must,
        Some(_) => Verdict::Missed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows::ROWS;

    fn row(id: &str) -> &'static Row {
        ROWS.iter().find(|row| row.id == id).unwrap()
    }

    fn runs(figures: &[f64], base: &[f64]) -> Runs {
        Runs {
            figures: figures.to_vec(),
            base: base.to_vec(),
            ..Runs::default()
        }
    }

    #[test]
    fn a_median_is_the_middle_or_between_the_two_in_the_middle() {
        let of = |values: &[f64]| {
            Spread::of(values).map(|spread| (spread.median, spread.min, spread.max))
        };
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some((2.0, 1.0, 3.0)));
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), Some((2.5, 1.0, 4.0)));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_ratio_is_that_of_the_medians_and_decides() {
        let of = |own: f64| {
            let runs = runs(&[own, 0.1, 9.0], &[0.5, 0.4, 0.6]);
            (
                runs.measure(row("pairs-qos0")),
                runs.verdict(row("pairs-qos0")),
            )
        };
        assert_eq!(of(0.6), (Some(1.2), Verdict::Goal));
        assert_eq!(of(1.0), (Some(2.0), Verdict::Must));
        assert_eq!(of(1.1), (Some(2.2), Verdict::Missed));
    }

    #[test]
    fn without_a_base_or_a_bound_nothing_is_decided() {
        assert_eq!(runs(&[1.0], &[]).verdict(row("pairs-qos0")), Verdict::Open);
        assert_eq!(
            runs(&[1.0], &[0.0]).verdict(row("pairs-qos0")),
            Verdict::Open
        );
        assert_eq!(
            runs(&[1.0], &[1.0]).verdict(row("durable-pairs-qos1")),
            Verdict::Open
        );
    }

    #[test]
    fn memory_is_held_to_kilobytes() {
        let runs = runs(&[1700.0], &[]);
        assert_eq!(runs.measure(row("rss-plain")), Some(1.7));
        assert_eq!(runs.verdict(row("rss-plain")), Verdict::Must);
    }

    #[test]
    fn a_latency_that_is_too_long_spoils_the_row() {
        let mut runs = runs(&[1.0], &[1.0]);
        (runs.latencies, runs.base_latencies) = (vec![300.0], vec![200.0]);
        assert_eq!(runs.latency(row("pairs-paced")), Some(1.5));
        assert_eq!(runs.verdict(row("pairs-paced")), Verdict::Missed);
        runs.latencies = vec![1100.0];
        assert_eq!(runs.latency(row("pairs-tls")), Some(0.9));
        assert_eq!(runs.verdict(row("pairs-tls")), Verdict::Goal);
        runs.latencies = vec![1300.0];
        assert_eq!(runs.verdict(row("pairs-tls")), Verdict::Missed);
        runs.latencies.clear();
        assert_eq!(runs.verdict(row("pairs-tls")), Verdict::Open);
    }
}
