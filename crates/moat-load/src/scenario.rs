//! What the load generator can be asked to do.

use std::str::FromStr;

/// One of the scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    Floor,
    Fanout,
    Fanin,
    Pairs,
    Connect,
    Idle,
    Retained,
    Persist,
    Unwanted,
    Subscriptions,
}

const NAMES: [(&str, Scenario); 10] = [
    ("floor", Scenario::Floor),
    ("fanout", Scenario::Fanout),
    ("fanin", Scenario::Fanin),
    ("p2p", Scenario::Pairs),
    ("connect", Scenario::Connect),
    ("idle", Scenario::Idle),
    ("retained", Scenario::Retained),
    ("persist", Scenario::Persist),
    ("unwanted", Scenario::Unwanted),
    ("subscriptions", Scenario::Subscriptions),
];

impl Scenario {
    /// Its word on the command line and in the report.
    pub(crate) fn name(self) -> &'static str {
        let found = NAMES.iter().find(|(_, scenario)| *scenario == self);
        found.map_or("", |(name, _)| name)
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = NAMES.iter().find(|(name, _)| *name == word);
        found.map(|(_, scenario)| *scenario).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            format!("{word}: no such scenario; there are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_name_and_any_other_is_refused_with_all_of_them() {
        for (name, scenario) in NAMES {
            assert_eq!((scenario.name(), name.parse()), (name, Ok(scenario)));
        }
        let error = "p2pp".parse::<Scenario>().unwrap_err();
        assert!(
            error.starts_with("p2pp: ") && error.contains("p2p, connect"),
            "{error}"
        );
    }
}
