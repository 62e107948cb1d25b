use std::fmt::Write as _;

use proptest::prelude::*;

use crate::brute_force::{DEPTH, cases, naive_match, universe};
use crate::decision::Action;
use crate::identity::Identity;
use crate::parse::{NAME_BYTES_MAX, ParseLimits, PolicyFormat, PolicySourceText, parse};
use crate::snapshot::Snapshot;
use crate::subject::Subject;
use moat_codec::{Limits, TopicFilter, TopicName};

fn source(file: &str, text: &str) -> PolicySourceText {
    PolicySourceText {
        file: file.into(),
        format: PolicyFormat::of_file(file),
        text: text.into(),
    }
}

fn acl(text: &str) -> Snapshot {
    Snapshot::compile(vec![source("acl", text)], 1).unwrap_or_else(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"))
    })
}

fn mistakes(text: &str) -> Vec<String> {
    match Snapshot::compile(vec![source("acl", text)], 1) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

fn mistake(text: &str) -> String {
    let mut found = mistakes(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

/// `anonymous` or a user's name.
fn identity(name: &str) -> Identity {
    match name {
        "anonymous" => Identity::anonymous(),
        name => Identity::from_password(name),
    }
}

/// Whether (publish, receive) is allowed.
fn access(snapshot: &Snapshot, name: &str, client_id: &str, topic: &str) -> (bool, bool) {
    let identity = identity(name);
    let who = Subject {
        identity: &identity,
        client_id,
    };
    let [publish, _, retain, receive] = snapshot.allows(who, topic);
    assert_eq!(
        publish, retain,
        "mosquitto has no right of its own to retain"
    );
    let topic = TopicName::new(topic, &Limits::default()).unwrap();
    assert_eq!(receive, snapshot.may_receive(who, topic));
    (publish, receive)
}

/// How a subscription is answered: refused, granted, or granted and judged at delivery.
fn subscribe(snapshot: &Snapshot, name: &str, filter: &str) -> Option<bool> {
    let identity = identity(name);
    let who = Subject {
        identity: &identity,
        client_id: "c",
    };
    let filter = TopicFilter::new(filter, &Limits::default()).unwrap();
    let granted = snapshot.authorize_subscribe(who, filter);
    granted.ok().map(|granted| granted.judged_at_delivery())
}

const NONE: (bool, bool) = (false, false);
const READ: (bool, bool) = (false, true);
const WRITE: (bool, bool) = (true, false);
const BOTH: (bool, bool) = (true, true);

#[test]
fn each_access_word_means_what_it_says_and_none_means_both() {
    let acl = acl(
        "user anna\ntopic read r\ntopic write w\ntopic readwrite rw\ntopic b\ntopic deny d\ntopic d\n",
    );
    for (topic, expected) in [
        ("r", READ),
        ("w", WRITE),
        ("rw", BOTH),
        ("b", BOTH),
        ("d", NONE),
    ] {
        assert_eq!(access(&acl, "anna", "c", topic), expected, "{topic}");
        assert_eq!(access(&acl, "bert", "c", topic), NONE, "{topic}");
    }
    assert_eq!(access(&acl, "anna", "c", "unnamed"), NONE);
}

#[test]
fn topics_before_any_user_are_for_anonymous_clients_only() {
    let acl = acl("topic read public/#\nuser anna\ntopic own\npattern write all\n");
    assert_eq!(access(&acl, "anonymous", "c", "public/a"), READ);
    assert_eq!(access(&acl, "anna", "c", "public/a"), NONE);
    assert_eq!(access(&acl, "anonymous", "c", "own"), NONE);
    assert_eq!(access(&acl, "anonymous", "c", "all"), WRITE);
    assert_eq!(access(&acl, "anna", "c", "all"), WRITE);
}

#[test]
fn denies_come_first_and_users_before_patterns() {
    let acl = acl(
        "pattern a/#\npattern deny a/secret\nuser anna\ntopic read a/secret\ntopic x/#\n\
         user bert\ntopic other\nuser anna\ntopic deny x/y\n",
    );
    // Her own lines decide before the pattern that denies.
    assert_eq!(access(&acl, "anna", "c", "a/secret"), READ);
    assert_eq!(access(&acl, "bert", "c", "a/secret"), NONE);
    assert_eq!(access(&acl, "bert", "c", "a/b"), BOTH);
    // A deny further down, in a second section of the same user.
    assert_eq!(access(&acl, "anna", "c", "x/y"), NONE);
    assert_eq!(access(&acl, "anna", "c", "x/z"), BOTH);
}

#[test]
fn patterns_are_filled_in_with_user_and_client_id() {
    let acl = acl("pattern write up/%u\npattern read to/%c/dev-%u-%c/#\npattern 100%/%x/%\n");
    assert_eq!(access(&acl, "anna", "c", "up/anna"), WRITE);
    assert_eq!(access(&acl, "anna", "c", "up/bert"), NONE);
    assert_eq!(access(&acl, "anna", "c", "to/c/dev-anna-c/x"), READ);
    assert_eq!(access(&acl, "anna", "d", "to/c/dev-anna-c/x"), NONE);
    assert_eq!(access(&acl, "anna", "c", "100%/%x/%"), BOTH);
    // Without a user name no pattern with %u is for them, not even under the name anonymous ones have.
    assert_eq!(access(&acl, "anonymous", "c", "up/<anonymous>"), NONE);
}

#[test]
fn a_certificates_name_is_the_user_name() {
    let acl = acl("pattern up/%u\nuser meter-1\ntopic read down\n");
    let facts = crate::CertificateFacts {
        common_name: Some("meter-1".into()),
        san_dns: Vec::new(),
        san_uri: Vec::new(),
        san_email: Vec::new(),
        issuer: Box::default(),
        serial: Box::default(),
        not_after: std::time::SystemTime::UNIX_EPOCH,
    };
    let identity = Identity::from_certificate("meter-1", facts);
    let who = Subject {
        identity: &identity,
        client_id: "c",
    };
    assert_eq!(acl.allows(who, "up/meter-1"), [true; 4]);
    assert!(acl.allows(who, "down")[3]);
}

#[test]
fn a_value_with_a_wildcard_or_slash_is_allowed_nothing_and_denied_everything() {
    let acl = acl("pattern c/%c/#\npattern deny secret/%c\npattern secret/#\n");
    assert_eq!(access(&acl, "anna", "x", "secret/x"), NONE);
    assert_eq!(access(&acl, "anna", "x", "secret/y"), BOTH);
    for client_id in ["+", "#", "a/b", "x+"] {
        assert_eq!(access(&acl, "anna", client_id, "c/x"), NONE, "{client_id}");
        // It must not slip past the deny by a value that nothing can be compared with.
        assert_eq!(
            access(&acl, "anna", client_id, "secret/a/b"),
            NONE,
            "{client_id}"
        );
        assert_eq!(
            access(&acl, "anna", client_id, "secret/x"),
            NONE,
            "{client_id}"
        );
    }
}

#[test]
fn system_topics_are_reached_only_by_lines_that_name_them() {
    let acl = acl("user anna\ntopic #\nuser otto\ntopic read $SYS/#\npattern %u/x\n");
    assert_eq!(access(&acl, "anna", "c", "$SYS/broker"), NONE);
    assert_eq!(access(&acl, "otto", "c", "$SYS/broker"), READ);
    assert_eq!(access(&acl, "$SYS", "c", "$SYS/x"), NONE);
}

#[test]
fn subscriptions_are_granted_to_those_the_file_speaks_for() {
    let users = acl("user anna\ntopic write up\n");
    assert_eq!(subscribe(&users, "anna", "#"), Some(true));
    assert_eq!(subscribe(&users, "anna", "$SYS/#"), Some(true));
    assert_eq!(subscribe(&users, "bert", "up"), None);
    assert_eq!(subscribe(&users, "anonymous", "up"), None);
    let patterns = acl("pattern read %u\n");
    assert_eq!(subscribe(&patterns, "bert", "#"), Some(true));
    let empty = acl("# nobody\n\n");
    assert_eq!(subscribe(&empty, "anna", "#"), None);
}

#[test]
fn beside_other_files_the_order_of_the_sources_decides() {
    let rules = "version = 1\n[[rule]]\nwho = [\"anna\"]\nallow = [\"subscribe\"]\ntopics = [\"toml/#\"]\n\
                 [[rule]]\nwho = [\"*\"]\ndeny = [\"subscribe\"]\ntopics = [\"shut\"]\n";
    let lines = "user anna\ntopic read shut\ntopic read acl\n";
    let compile = |sources| Snapshot::compile(sources, 1).unwrap();
    let first = compile(vec![source("p.toml", rules), source("acl", lines)]);
    assert_eq!(
        subscribe(&first, "anna", "toml/#"),
        Some(false),
        "the rule covers it"
    );
    assert_eq!(subscribe(&first, "anna", "acl"), Some(true));
    assert_eq!(subscribe(&first, "anna", "shut"), None);
    assert_eq!(access(&first, "anna", "c", "shut"), NONE);
    let last = compile(vec![source("acl", lines), source("p.toml", rules)]);
    assert_eq!(subscribe(&last, "anna", "toml/#"), Some(true));
    assert_eq!(access(&last, "anna", "c", "shut"), READ);
    assert_eq!(
        access(&last, "anna", "c", "toml/x"),
        READ,
        "what the ACL leaves open goes on"
    );
    assert_eq!(subscribe(&last, "bert", "acl"), None);
}

#[test]
fn a_decision_names_file_and_line() {
    let acl = acl("# head\nuser anna\n\ntopic deny a\n");
    let identity = identity("anna");
    let who = Subject {
        identity: &identity,
        client_id: "c",
    };
    let denied = acl.decide_topic(who, Action::Publish, "a").unwrap_err();
    assert_eq!(denied.to_string(), "publish denied by acl:4");
}

#[test]
fn blanks_comments_and_line_ends_are_as_people_write_them() {
    let acl = acl("\r\n  # c\r\n\t#\nuser   anna b \r\n topic\t read   with blank/#  \ntopic   t");
    assert_eq!(access(&acl, "anna b", "c", "with blank/x"), READ);
    assert_eq!(access(&acl, "anna b", "c", "t"), BOTH);
}

#[test]
fn each_mistake_names_line_column_and_what_is_allowed() {
    assert_eq!(
        mistake("user anna\n  topik read a\n"),
        "acl:2:3: unknown word \"topik\", did you mean \"topic\"?; allowed: `user NAME`, \
         `topic [read|write|readwrite|deny] FILTER`, `pattern [read|write|readwrite|deny] FILTER`, \
         `# comment`; a file whose name does not end in .toml is read as a mosquitto ACL"
    );
    assert_eq!(
        mistake("topic reed a\n"),
        "acl:1:7: unknown access \"reed\", did you mean \"read\"?; allowed: read, write, readwrite, deny, or \
         the filter alone; before a filter with a blank in it stands always one of them"
    );
    for (text, place) in [
        ("topic", "acl:1:6: no topic filter"),
        ("pattern read", "acl:1:9: no topic filter"),
        ("user", "acl:1:5: invalid name"),
        ("user a\u{7}b", "acl:1:6: invalid name"),
        ("topic read ä/#/b", "acl:1:12: invalid topic pattern"),
        ("topic a+", "acl:1:7: invalid topic pattern"),
        ("topic a\0b", "acl:1:7: invalid topic pattern"),
        ("pattern $%u/x", "acl:1:9: invalid topic pattern"),
        ("TOPIC a", "acl:1:1: unknown word"),
    ] {
        let found = mistake(text);
        assert!(found.starts_with(place), "{text:?}: {found}");
    }
    assert_eq!(
        mistakes("x\ny\nuser anna\ntopic ok\nz").len(),
        3,
        "each of them is told"
    );
}

#[test]
fn toml_placeholders_are_plain_text_here() {
    let acl = acl("user anna\ntopic ${identity}\ntopic ${\npattern ${clientid}/%u\n");
    assert_eq!(access(&acl, "anna", "c", "${identity}"), BOTH);
    assert_eq!(access(&acl, "anna", "c", "anna"), NONE);
    assert_eq!(access(&acl, "anna", "c", "${clientid}/anna"), BOTH);
}

#[test]
fn doubtful_lines_are_warned_about() {
    let warnings: Vec<String> = acl("user anna\ntopic up/%u\npattern to/%c\npattern up/%u\n")
        .warnings()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        warnings,
        [
            "acl:2:7: \"up/%u\" stands for itself: %u and %c are filled in on `pattern` lines only",
            "acl:3:9: \"to/%c\" uses %c, which the client chooses itself on a listener with \
             `client_id = \"any\"`; use %u",
        ]
    );
}

#[test]
fn files_names_and_rules_beyond_their_bounds_are_refused() {
    let longest = "n".repeat(NAME_BYTES_MAX);
    assert!(mistakes(&format!("user {longest}\n")).is_empty());
    assert!(mistake(&format!("user {longest}n\n")).contains("1 to 256 bytes"));
    let limits = ParseLimits {
        rules: 3,
        file_bytes: 31,
        ..ParseLimits::default()
    };
    let count = |text: &str| match parse(&[source("acl", text)], limits) {
        Ok(parsed) => Ok(parsed.rules.len()),
        Err(errors) => Err(errors.iter().map(ToString::to_string).collect::<Vec<_>>()),
    };
    assert_eq!(
        count("topic a\ntopic b\n"),
        Ok(3),
        "and the one that grants"
    );
    let errors = count("topic a\ntopic b\ntopic c\ntopic d").unwrap_err();
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].starts_with("acl:3:7: more than 3 rules"),
        "{errors:?}"
    );
    let errors = count("topic aaaaaaaaaaaaaaaaaaaaaaaaaa").unwrap_err();
    assert!(errors[0].contains("more than 31 bytes"), "{errors:?}");
}

#[test]
fn only_names_that_end_in_toml_are_policies_of_our_own() {
    for name in ["policy.toml", "/etc/moat/a.b.toml", ".toml"] {
        assert_eq!(PolicyFormat::of_file(name), PolicyFormat::Toml, "{name}");
    }
    for name in [
        "acl",
        "acl.conf",
        "policy.toml.old",
        "policy.TOML",
        "toml",
        "built-in policy",
    ] {
        assert_eq!(
            PolicyFormat::of_file(name),
            PolicyFormat::MosquittoAcl,
            "{name}"
        );
    }
}

/// A line of a generated file, as the manual page describes it.
#[derive(Debug, Clone)]
struct Plain {
    /// `None` for a pattern.
    user: Option<&'static str>,
    access: &'static str,
    filter: String,
}

impl Plain {
    fn filter_for(&self, name: &str, client_id: &str) -> Option<String> {
        if self.user.is_some() {
            return Some(self.filter.clone());
        }
        if name == "anonymous" && self.filter.contains("%u") {
            return None;
        }
        Some(self.filter.replace("%u", name).replace("%c", client_id))
    }
}

/// mosquitto's order: the user's denies, the user's others, then those of the patterns.
fn naive(lines: &[Plain], name: &str, client_id: &str, topic: &str, wanted: &str) -> bool {
    for patterns in [false, true] {
        for denies in [true, false] {
            for line in lines {
                let is_mine = if patterns {
                    line.user.is_none()
                } else {
                    line.user == Some(name)
                };
                let filter = line.filter_for(name, client_id);
                if !is_mine
                    || (line.access == "deny") != denies
                    || !filter.is_some_and(|filter| naive_match(&filter, topic))
                {
                    continue;
                }
                if denies {
                    return false;
                }
                if line.access == "readwrite" || line.access == wanted {
                    return true;
                }
            }
        }
    }
    false
}

fn plain_line() -> impl Strategy<Value = Plain> {
    let levels = prop::sample::select(vec!["a", "b", "+", "", "$s", "%u", "%c"]);
    (
        prop::sample::select(vec![None, None, Some("a"), Some("z"), Some("anonymous")]),
        prop::sample::select(vec!["read", "write", "readwrite", "deny"]),
        prop::collection::vec(levels, 0..DEPTH - 1),
        any::<bool>(),
    )
        .prop_map(|(user, access, mut levels, rest)| {
            if rest {
                levels.push("#");
            }
            if user.is_some() {
                levels.retain(|level| !level.starts_with('%'));
            }
            Plain {
                user,
                access,
                filter: levels.join("/"),
            }
        })
        .prop_filter("an empty filter", |line| !line.filter.is_empty())
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn prop_decisions_agree_with_a_plain_list(
        mut lines in prop::collection::vec(plain_line(), 0..8),
        name in prop::sample::select(vec!["a", "z", "q", "anonymous"]),
    ) {
        // What stands before the first `user` line is for anonymous clients.
        lines.sort_by_key(|line| line.user != Some("anonymous"));
        let mut text = String::new();
        for line in &lines {
            match line.user {
                Some("anonymous") => text.push_str("topic"),
                Some(user) => write!(text, "user {user}\ntopic").unwrap(),
                None => text.push_str("pattern"),
            }
            writeln!(text, " {} {}", line.access, line.filter).unwrap();
        }
        let acl = acl(&text);
        for topic in universe().iter().filter(|topic| !topic.is_empty()).step_by(7) {
            let expected = (
                naive(&lines, name, "b", topic, "write"),
                naive(&lines, name, "b", topic, "read"),
            );
            prop_assert_eq!(access(&acl, name, "b", topic), expected, "{} in\n{}", topic, &text);
        }
    }

    #[test]
    fn prop_any_text_is_read_the_same_twice_and_never_panics(
        text in "(user |topic |pattern |read |deny |[a/#+%uc$ \t\r\n\u{0}ä]){0,12}",
    ) {
        let read = || {
            let parsed = parse(&[source("acl", &text)], ParseLimits::default());
            parsed.map(|parsed| format!("{parsed:?}"))
        };
        prop_assert_eq!(read(), read());
    }
}
