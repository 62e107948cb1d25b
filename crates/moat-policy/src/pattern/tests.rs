use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::brute_force::{DEPTH, cases, naive_match, universe};
use crate::identity::Identity;
use crate::subject::Subject;

/// Asks one question of a pattern for an identity called `name`.
fn ask<R>(name: &str, groups: &[&str], question: impl Fn(&Values<'_>) -> R) -> R {
    let mut identity = Identity::from_password(name);
    identity.groups = groups.iter().map(|g| Arc::from(*g)).collect();
    question(&Values {
        subject: Subject {
            identity: &identity,
            client_id: "client",
        },
        file_groups: &[],
    })
}

fn pattern(text: &str) -> Pattern {
    Pattern::compile(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn matches(text: &str, topic: &str) -> bool {
    ask("dev", &[], |v| pattern(text).matches(v, topic))
}

fn covers(text: &str, filter: &str) -> bool {
    ask("dev", &[], |v| pattern(text).covers(v, filter))
}

fn overlaps(text: &str, filter: &str) -> bool {
    ask("dev", &[], |v| pattern(text).overlaps(v, filter))
}

#[test]
fn wildcards_match_levels() {
    assert!(matches("a/+/c", "a/b/c"));
    assert!(!matches("a/+/c", "a/b/d"));
    assert!(!matches("a/+", "a"));
    assert!(matches("a/#", "a"));
    assert!(matches("a/#", "a/b/c"));
    assert!(matches("+/+", "/x"));
    assert!(!matches("a/b", "a/b/"));
}

#[test]
fn a_placeholder_is_the_identity_and_nothing_else() {
    assert!(matches("devices/${identity}/#", "devices/dev/up"));
    assert!(!matches("devices/${identity}/#", "devices/devil/up"));
    assert!(!matches("devices/${identity}/#", "devices/de/up"));
    assert!(matches("x-${identity}-${username}/y", "x-dev-dev/y"));
    assert!(!matches("x-${identity}-${username}/y", "x-dev-dex/y"));
}

#[test]
fn a_value_that_could_widen_the_pattern_never_matches() {
    for name in ["+", "#", "a/b", "", "a\0b", "a+"] {
        let topic = format!("devices/{name}/x");
        ask(name, &[], |v| {
            assert!(
                !pattern("devices/${identity}/#").matches(v, &topic),
                "{name:?}"
            );
            assert!(!pattern("#").covers(v, "$SYS/x"));
            // Not even where the comparison would be over before it reaches the placeholder.
            assert!(
                !pattern("devices/${identity}/#").overlaps(v, "#"),
                "{name:?}"
            );
        });
    }
}

#[test]
fn a_placeholder_without_a_value_never_matches() {
    assert!(!matches("a/${cert.cn}", "a/"));
    assert!(!matches("a/${group}", "a/"));
    assert!(!overlaps("a/${cert.san.dns}", "a/+"));
}

#[test]
fn each_group_is_tried() {
    ask("dev", &["north", "south", "bad/one"], |v| {
        let p = pattern("sites/${group}/#");
        assert!(p.matches(v, "sites/north/x"));
        assert!(p.matches(v, "sites/south/x"));
        assert!(!p.matches(v, "sites/west/x"));
        assert!(!p.matches(v, "sites/bad/one"));
        assert!(p.covers(v, "sites/south/+"));
        assert!(!p.covers(v, "sites/+/x"));
        assert!(p.overlaps(v, "sites/+/x"));
    });
}

#[test]
fn dollar_topics_need_the_level_written_out() {
    assert!(!matches("#", "$SYS/x"));
    assert!(!matches("+/x", "$SYS/x"));
    assert!(matches("$SYS/#", "$SYS/x"));
    assert!(!covers("#", "$SYS/#"));
    assert!(covers("$SYS/#", "$SYS/+"));
    assert!(!overlaps("$SYS/#", "#"), "[MQTT-4.7.2-1]");
    assert!(!overlaps("$SYS/#", "+/x"));
    ask("$SYS", &["$SYS"], |v| {
        for text in ["${identity}/#", "${group}/#"] {
            assert!(!pattern(text).matches(v, "$SYS/x"), "{text}");
            assert!(!pattern(text).covers(v, "$SYS/x"), "{text}");
            assert!(!pattern(text).overlaps(v, "+/x"), "{text}");
        }
    });
}

#[test]
fn everything_reaches_dollar_topics() {
    ask("dev", &[], |v| {
        assert!(Pattern::everything().matches(v, "$SYS/x"));
        assert!(Pattern::everything().covers(v, "$SYS/#"));
        assert!(Pattern::everything().overlaps(v, "#"));
    });
}

#[test]
fn covering_needs_every_topic() {
    assert!(covers("devices/${identity}/#", "devices/dev/#"));
    assert!(covers("devices/${identity}/#", "devices/dev"));
    assert!(!covers("devices/${identity}/#", "devices/+/up"));
    assert!(!covers("devices/${identity}/#", "devices/#"));
    assert!(!covers("devices/${identity}/#", "#"));
    assert!(covers("#", "+/a/#"));
    assert!(
        covers("+/#", "#"),
        "the first level has no parent to stand for"
    );
    assert!(!covers("a/+/#", "a/#"), "`a` itself is not covered");
}

#[test]
fn overlapping_needs_one_topic() {
    assert!(overlaps("a/secret", "#"));
    assert!(overlaps("a/secret", "a/+"));
    assert!(overlaps("a/secret", "a/secret/#"));
    assert!(!overlaps("a/secret", "a/+/x"));
    assert!(!overlaps("a/secret", "b/#"));
}

#[test]
fn written_constants_equal_compiled_ones() {
    assert_eq!(Pattern::own_subtree(), pattern("devices/${identity}/#"));
    assert_eq!(Pattern::system(), pattern("$SYS/#"));
}

#[test]
fn bad_patterns_are_refused_with_their_cause() {
    use PatternError as E;
    let long = "a".repeat(PATTERN_BYTES_MAX + 1);
    let deep = vec!["a"; PATTERN_LEVELS_MAX + 1].join("/");
    let table = [
        ("", E::Empty),
        ("a\0", E::ContainsNul),
        ("a/#/b", E::MisplacedHash),
        ("a#", E::MisplacedHash),
        ("a/b+", E::MisplacedPlus),
        ("a/${identity", E::UnclosedPlaceholder),
        ("a/${iden/tity}", E::UnclosedPlaceholder),
        ("${group}/${cert.san.dns}", E::SeveralTwice),
        ("${group}/${group}", E::SeveralTwice),
        ("$SYS-${identity}/x", E::DollarWithPlaceholder),
        ("$share/g/a", E::SharedFilter),
        (&*long, E::TooLong),
        (&*deep, E::TooManyLevels),
    ];
    for (text, expected) in table {
        assert_eq!(Pattern::compile(text), Err(expected), "{text:.40}");
    }
}

#[test]
fn an_unknown_placeholder_names_the_nearest() {
    let error = Pattern::compile("a/${client_id}").unwrap_err();
    assert!(
        error.to_string().contains("did you mean `${clientid}`?"),
        "{error}"
    );
}

#[test]
fn the_longest_allowed_pattern_compiles() {
    assert!(Pattern::compile(&"a".repeat(PATTERN_BYTES_MAX)).is_ok());
    assert!(Pattern::compile(&vec!["a"; PATTERN_LEVELS_MAX].join("/")).is_ok());
}

fn levels_strategy() -> impl Strategy<Value = Vec<String>> {
    let level = prop::sample::select(vec!["a", "b", "+", "", "$s"]);
    (prop::collection::vec(level, 0..DEPTH - 1), any::<bool>()).prop_filter_map(
        "neither empty nor the empty topic",
        |(levels, rest)| {
            let mut levels: Vec<String> = levels.into_iter().map(str::to_owned).collect();
            if rest {
                levels.push("#".into());
            }
            (!levels.join("/").is_empty()).then_some(levels)
        },
    )
}

/// Writes some literal levels of a filter as placeholders whose value is that literal.
fn with_placeholders(levels: &[String], mask: &[bool]) -> String {
    levels
        .iter()
        .zip(mask)
        .map(|(level, &as_placeholder)| match level.as_str() {
            "a" if as_placeholder => "${identity}",
            "b" if as_placeholder => "${clientid}",
            other => other,
        })
        .collect::<Vec<_>>()
        .join("/")
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn prop_answers_agree_with_brute_force(
        rule in levels_strategy(),
        filter in levels_strategy(),
        mask in prop::collection::vec(any::<bool>(), DEPTH),
    ) {
        let compiled = pattern(&with_placeholders(&rule, &mask));
        let text = filter.join("/");
        let identity = Identity::from_password("a");
        let values = Values {
            subject: Subject { identity: &identity, client_id: "b" },
            file_groups: &[],
        };
        let (mut all, mut any) = (true, false);
        for topic in universe() {
            let in_rule = naive_match(&rule.join("/"), &topic);
            prop_assert_eq!(compiled.matches(&values, &topic), in_rule, "matches {}", topic);
            if naive_match(&text, &topic) {
                all &= in_rule;
                any |= in_rule;
            }
        }
        prop_assert_eq!(compiled.covers(&values, &text), all, "covers {}", text);
        prop_assert_eq!(compiled.overlaps(&values, &text), any, "overlaps {}", text);
    }

    #[test]
    fn prop_compile_never_panics(text in "\\PC{0,40}") {
        let _ = Pattern::compile(&text);
    }
}
