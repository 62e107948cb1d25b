use proptest::prelude::*;

use super::place::COLUMN_BYTES_MAX;
use super::*;
use crate::snapshot::Snapshot;

fn source(text: &str) -> PolicySourceText {
    PolicySourceText {
        file: "policy.toml".into(),
        format: PolicyFormat::Toml,
        text: text.into(),
    }
}

/// The messages of every mistake in one file.
fn mistakes(text: &str) -> Vec<String> {
    match Snapshot::compile(vec![source(text)], 1) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// The one mistake of a file that is right but for the given line of its rule.
fn rule_mistake(lines: &str) -> String {
    let text = format!("version = 1\n[[rule]]\n{lines}\n");
    let mut found = mistakes(&text);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

const WHO: &str = "who = [\"*\"]\n";
const ALLOW: &str = "allow = [\"publish\"]\n";
const TOPICS: &str = "topics = [\"a\"]\n";

#[test]
fn a_whole_file_parses() {
    let text = r#"
version = 1

[[rule]]
name = "own subtree"
who = ["*"]
allow = ["publish", "subscribe", "retain"]
topics = ["devices/${identity}/#"]

[[rule]]
who = ["group:dashboards", "otto"]
deny = ["publish"]
always = true
topics = ["a/+", "b"]

[[group]]
name = "dashboards"
members = ["anna", "wall-display"]
"#;
    let parsed = parse(&[source(text)], ParseLimits::default()).unwrap();
    assert_eq!(parsed.rules.len(), 2);
    assert_eq!(
        parsed.rules[0].rule.at.to_string(),
        "policy.toml:4 \"own subtree\""
    );
    assert_eq!(parsed.rules[0].who, [Who::Everyone]);
    assert_eq!(
        parsed.rules[1].who,
        [Who::Group("dashboards".into()), Who::Name("otto".into())]
    );
    assert!(parsed.rules[1].always);
    assert_eq!(parsed.rules[1].rule.at.to_string(), "policy.toml:10");
    assert_eq!(parsed.groups[0].members.len(), 2);
}

#[test]
fn an_unknown_key_names_the_nearest() {
    assert_eq!(
        rule_mistake(&format!("{WHO}{ALLOW}{TOPICS}  topcis = [\"b\"]")),
        "policy.toml:6:3: unknown key \"topcis\" in [[rule]], did you mean \"topics\"?; \
         allowed: name, who, allow, deny, always, topics"
    );
    let found = mistakes("version = 1\n[[rules]]\nwho = []");
    assert!(found[0].contains("did you mean \"rule\"?"), "{found:?}");
    let found = mistakes("version = 1\n[[group]]\nname = \"g\"\nmember = []\nmembers = []");
    assert!(found[0].contains("did you mean \"members\"?"), "{found:?}");
}

#[test]
fn wrong_types_are_errors() {
    for (lines, expected) in [
        (
            format!("who = \"anna\"\n{ALLOW}{TOPICS}"),
            "`who` is a string; it must be a list",
        ),
        (
            format!("who = [1]\n{ALLOW}{TOPICS}"),
            "`who` is a whole number",
        ),
        (
            format!("{WHO}allow = true\n{TOPICS}"),
            "`allow` is true or false",
        ),
        (format!("{WHO}{ALLOW}topics = {{}}"), "`topics` is a table"),
        (
            format!("{WHO}{ALLOW}{TOPICS}name = 1.5"),
            "`name` is a number with a fraction",
        ),
        (
            format!("{WHO}deny = [\"publish\"]\n{TOPICS}always = \"yes\""),
            "`always` is a string",
        ),
    ] {
        let found = rule_mistake(&lines);
        assert!(found.contains(expected), "{found}");
    }
    for (text, expected) in [
        ("version = \"1\"", "`version` is a string"),
        ("version = 1\nrule = 1", "`rule` is a whole number"),
        (
            "version = 1\n[rule]",
            "`rule` is a table; it must be a table with double brackets",
        ),
        ("version = 1\ngroup = [1]", "`group` is a whole number"),
    ] {
        let found = mistakes(text);
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
    }
}

#[test]
fn incomplete_rules_are_errors() {
    for (lines, expected) in [
        (format!("{ALLOW}{TOPICS}"), "[[rule]] has no `who`"),
        (format!("{WHO}{ALLOW}"), "[[rule]] has no `topics`"),
        (format!("{WHO}{TOPICS}"), "neither `allow` nor `deny`"),
        (
            format!("{WHO}{ALLOW}{TOPICS}deny = [\"publish\"]"),
            "both `allow` and `deny`",
        ),
        (
            format!("{WHO}{ALLOW}{TOPICS}always = true"),
            "`always` is for `deny` rules only",
        ),
        (format!("who = []\n{ALLOW}{TOPICS}"), "`who` is empty"),
        (format!("{WHO}{ALLOW}topics = []"), "`topics` is empty"),
        (format!("{WHO}allow = []\n{TOPICS}"), "`allow` is empty"),
        (format!("{WHO}deny = []\n{TOPICS}"), "`deny` is empty"),
        (
            format!("who = [\"\"]\n{ALLOW}{TOPICS}"),
            "invalid name \"\"",
        ),
        (
            format!("who = [\"a\\u0007\"]\n{ALLOW}{TOPICS}"),
            "invalid name \"a\\u{7}\"",
        ),
        (
            format!("who = [\"group:\"]\n{ALLOW}{TOPICS}"),
            "invalid name \"\"",
        ),
    ] {
        let found = rule_mistake(&lines);
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn bad_words_are_errors_with_their_place() {
    assert_eq!(
        rule_mistake(&format!(
            "{WHO}allow = [\"publish\", \"subscrib\"]\n{TOPICS}"
        )),
        "policy.toml:4:21: unknown action \"subscrib\", did you mean \"subscribe\"?; \
         allowed: publish, subscribe, retain"
    );
    assert_eq!(
        rule_mistake(&format!("{WHO}{ALLOW}topics = [\"a/#/b\"]")),
        "policy.toml:5:11: invalid topic pattern \"a/#/b\": `#` must be the whole last level, as in `a/#`"
    );
    let found = rule_mistake(&format!("{WHO}{ALLOW}topics = [\"a/${{user}}\"]"));
    assert!(found.contains("unknown placeholder `${user}`"), "{found}");
}

#[test]
fn an_unknown_group_names_the_nearest() {
    let text = format!(
        "version = 1\n[[group]]\nname = \"dashboards\"\nmembers = []\n\
         [[rule]]\nwho = [\"group:dashbords\"]\n{ALLOW}{TOPICS}"
    );
    let found = mistakes(&text);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with(
            "policy.toml:6:8: unknown group \"dashbords\", did you mean \"dashboards\"?"
        ),
        "{found:?}"
    );
}

#[test]
fn a_group_may_be_defined_in_another_source_but_only_once() {
    let rule = source(&format!(
        "version = 1\n[[rule]]\nwho = [\"group:g\"]\n{ALLOW}{TOPICS}"
    ));
    let group = PolicySourceText {
        file: "groups.toml".into(),
        format: PolicyFormat::Toml,
        text: "version = 1\n[[group]]\nname = \"g\"\nmembers = [\"a\"]".into(),
    };
    assert!(Snapshot::compile(vec![rule, group.clone()], 1).is_ok());
    let errors = Snapshot::compile(vec![group.clone(), group], 1).unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        "groups.toml:2:1: group \"g\" is defined twice, first in groups.toml:2; merge the two lists of members"
    );
}

#[test]
fn the_version_must_be_there_and_known() {
    assert_eq!(
        mistakes(""),
        ["policy.toml:1:1: the policy file has no `version`; add `version = 1` as its first line"]
    );
    assert_eq!(
        mistakes("version = 2"),
        ["policy.toml:1:11: version 2 is unknown to this moat; write `version = 1`"]
    );
}

#[test]
fn broken_toml_is_reported_with_its_place() {
    let found = mistakes("version = 1\n[[rule]\n");
    assert!(found[0].starts_with("policy.toml:2:"), "{found:?}");
    assert!(found[0].contains("not valid TOML"), "{found:?}");
    let twice = mistakes("version = 1\nversion = 1\n");
    assert!(twice[0].starts_with("policy.toml:2:1: "), "{twice:?}");
}

#[test]
fn every_mistake_is_told_in_the_order_of_the_files() {
    let text = format!(
        "version = 1\n[[rule]]\nwho = []\nallow = [\"x\"]\ntopics = [\"\", \"b#\"]\n\
         [[group]]\nname = \"\"\nmembers = [2]\n[[rule]]\n{WHO}{ALLOW}topics = [\"a\"]\nfoo = 1"
    );
    let found = mistakes(&text);
    let places: Vec<&str> = found
        .iter()
        .map(|m| {
            m.trim_start_matches("policy.toml:")
                .split(": ")
                .next()
                .unwrap()
        })
        .collect();
    assert_eq!(
        places,
        ["3:7", "4:10", "5:11", "5:15", "7:8", "8:12", "13:1"]
    );
    let two = vec![
        PolicySourceText {
            file: "z.toml".into(),
            format: PolicyFormat::Toml,
            text: String::new(),
        },
        PolicySourceText {
            file: "a.toml".into(),
            format: PolicyFormat::Toml,
            text: String::new(),
        },
    ];
    let errors = Snapshot::compile(two, 1).unwrap_err();
    assert_eq!(errors[0].file, "z.toml");
    assert_eq!(errors[1].file, "a.toml");
}

#[test]
fn a_long_report_is_cut_and_says_so() {
    let text = format!("version = 1\n{}", "[[rule]]\n".repeat(ERRORS_MAX));
    let found = mistakes(&text);
    assert_eq!(found.len(), ERRORS_MAX + 1);
    // Each empty rule lacks three things.
    let rest = format!("and {} more mistakes", 3 * ERRORS_MAX - ERRORS_MAX);
    assert!(found[ERRORS_MAX].contains(&rest), "{}", found[ERRORS_MAX]);
}

#[test]
fn columns_count_characters() {
    let found = rule_mistake(&format!("{WHO}{ALLOW}topics = [\"äöü\", \"a#\"]"));
    assert!(found.starts_with("policy.toml:5:18: "), "{found}");
    let far = " ".repeat(COLUMN_BYTES_MAX);
    let found = rule_mistake(&format!("{WHO}{ALLOW}topics = [\"ä\",{far}\"a#\"]"));
    assert!(
        found.starts_with(&format!("policy.toml:5:{}: ", COLUMN_BYTES_MAX + 16)),
        "{found}"
    );
}

#[test]
fn each_limit_is_an_error() {
    let rule = format!("[[rule]]\n{WHO}{ALLOW}{TOPICS}");
    let limits = ParseLimits {
        file_bytes: 400,
        rules: 2,
        groups: 1,
        list_entries: 2,
    };
    for (body, expected) in [
        (rule.repeat(3), "more than 2 rules"),
        (
            "[[group]]\nname = \"a\"\nmembers = []\n[[group]]\nname = \"b\"\nmembers = []\n".into(),
            "more than 1 groups",
        ),
        (
            format!("[[rule]]\nwho = [\"a\", \"b\", \"c\"]\n{ALLOW}{TOPICS}"),
            "more than 2 entries in one list",
        ),
        ("#".repeat(400), "more than 400 bytes"),
    ] {
        let errors = parse(&[source(&format!("version = 1\n{body}"))], limits).unwrap_err();
        assert!(errors[0].to_string().contains(expected), "{}", errors[0]);
    }
    assert!(
        parse(
            &[source(&format!("version = 1\n{}", rule.repeat(2)))],
            limits
        )
        .is_ok()
    );
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    let found = rule_mistake(&format!("who = [\"{long}\"]\n{ALLOW}{TOPICS}"));
    assert!(found.contains("invalid name"), "{found}");
}

#[test]
fn a_client_id_placeholder_is_a_warning() {
    let text =
        format!("version = 1\n[[rule]]\n{WHO}{ALLOW}topics = [\"a\", \"d/${{clientid}}/#\"]");
    let snapshot = Snapshot::compile(vec![source(&text)], 1).unwrap();
    let warnings: Vec<String> = snapshot
        .warnings()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].starts_with("policy.toml:5:16: \"d/${clientid}/#\" uses ${clientid}"),
        "{warnings:?}"
    );
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    let text = format!("version = 1\nrule = {}", "[".repeat(100_000));
    assert!(!mistakes(&text).is_empty());
}

proptest! {
    #[test]
    fn prop_any_text_is_an_answer_and_no_panic(text in "\\PC{0,200}") {
        let _ = Snapshot::compile(vec![source(&text)], 1);
    }

    #[test]
    fn prop_shuffled_fragments_are_an_answer_and_no_panic(
        parts in prop::collection::vec(prop::sample::select(vec![
            "version = 1\n", "[[rule]]\n", "[[group]]\n", "who = [", "\"*\"", "]", "\n", ",",
            "allow = [\"publish\"]\n", "deny = [\"x\"]\n", "topics = [\"a/${identity}/#\"]\n",
            "name = \"ä\"\n", "members = [\"a\"]\n", "always = true\n", "who = [\"group:g\"]\n", "{", "}", "\r\n", "'",
        ]), 0..24),
    ) {
        if let Err(errors) = Snapshot::compile(vec![source(&parts.concat())], 1) {
            for error in errors {
                prop_assert!(error.line >= 1 && error.column >= 1);
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
