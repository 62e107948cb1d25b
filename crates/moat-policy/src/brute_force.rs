//! A small world in which every topic can be tried: the oracle of the property tests.

use proptest::test_runner::Config;

/// The cases of a property test: `bounded`, unless `MOAT_MODEL_CASES` names another number.
pub(crate) fn cases(bounded: u32) -> Config {
    let asked = std::env::var("MOAT_MODEL_CASES").ok();
    Config {
        cases: asked.map_or(bounded, |text| {
            text.parse().expect("MOAT_MODEL_CASES is a number")
        }),
        // A million cases reject more than the default allows.
        max_local_rejects: u32::MAX,
        ..Config::default()
    }
}

/// The values a level of a topic may have; `z` stands in no pattern, so that a wildcard is never
/// exhausted by literals.
const ALPHABET: [&str; 5] = ["a", "b", "", "$s", "z"];
/// Topics are this deep at most; patterns and filters must be one less deep, so that what `#`
/// reaches below them is in the world.
pub(crate) const DEPTH: usize = 4;

/// Every topic of the world. The empty one is in it, though no packet can carry it: so `/#` and
/// `+` have it in common, and a deny of one refuses the other. That is on the safe side.
pub(crate) fn universe() -> Vec<String> {
    let mut longest: Vec<String> = vec![String::new()];
    let mut topics = Vec::new();
    for depth in 0..DEPTH {
        let separator = if depth == 0 { "" } else { "/" };
        longest = longest
            .iter()
            .flat_map(|prefix| ALPHABET.map(|level| format!("{prefix}{separator}{level}")))
            .collect();
        topics.extend(longest.iter().cloned());
    }
    topics
}

/// What the standard says a filter matches, written without cleverness.
pub(crate) fn naive_match(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && !filter.starts_with('$') {
        return false;
    }
    let filter: Vec<&str> = filter.split('/').collect();
    let topic: Vec<&str> = topic.split('/').collect();
    let same = |f: &[&str], t: &[&str]| {
        f.len() == t.len() && f.iter().zip(t).all(|(f, t)| *f == "+" || f == t)
    };
    match filter.split_last() {
        Some((&"#", parent)) => topic.len() >= parent.len() && same(parent, &topic[..parent.len()]),
        _ => same(&filter, &topic),
    }
}
