use std::sync::Arc;

use moat_codec::{Incoming, Limits, Publish, QoS, Version};
use proptest::prelude::*;

use super::*;
use crate::brute_force::{DEPTH, cases, naive_match, universe};
use crate::identity::Identity;
use crate::parse::PolicyFormat;

impl Snapshot {
    /// Publish, subscribe, retain, receive: which of them the policy allows at `topic`.
    pub(crate) fn allows(&self, who: Subject<'_>, topic: &str) -> [bool; 4] {
        [
            self.decide_topic(who, Action::Publish, topic).is_ok(),
            self.decide_filter(who, topic).is_ok(),
            self.decide_topic(who, Action::Retain, topic).is_ok(),
            self.decide_topic(who, Action::Subscribe, topic).is_ok(),
        ]
    }
}

fn snapshot(text: &str) -> Snapshot {
    snapshot_of(&[text])
}

fn snapshot_of(texts: &[&str]) -> Snapshot {
    let sources = texts
        .iter()
        .enumerate()
        .map(|(i, text)| PolicySourceText {
            file: format!("{i}.toml"),
            format: PolicyFormat::Toml,
            text: format!("version = 1\n{text}"),
        })
        .collect();
    Snapshot::compile(sources, 7).unwrap_or_else(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"))
    })
}

fn who(identity: &Identity) -> Subject<'_> {
    Subject {
        identity,
        client_id: "b",
    }
}

fn may_publish(snapshot: &Snapshot, name: &str, topic: &str) -> bool {
    let identity = Identity::from_password(name);
    snapshot
        .decide_topic(who(&identity), Action::Publish, topic)
        .is_ok()
}

fn may_subscribe(snapshot: &Snapshot, name: &str, filter: &str) -> bool {
    let identity = Identity::from_password(name);
    snapshot.decide_filter(who(&identity), filter).is_ok()
}

fn publish(topic: &str, retain: bool) -> Publish<'_> {
    Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain,
        topic,
        packet_id: None,
        topic_alias: None,
        message_expiry_secs: None,
        subscription_ids: Default::default(),
        properties: Default::default(),
        payload: b"",
    }
}

fn resolved(topic: &str, retain: bool) -> Resolved<'_> {
    let name = TopicName::new(topic, &Limits::default()).unwrap();
    Resolved::new(name, b"x", QoS::AtMostOnce, retain)
}

fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::new(text, &Limits::default()).unwrap()
}

#[test]
fn nothing_is_allowed_without_a_rule() {
    let empty = snapshot("");
    assert!(!may_publish(&empty, "dev", "a"));
    assert!(!may_subscribe(&empty, "dev", "a"));
    let none = Snapshot::compile(Vec::new(), 1).unwrap();
    assert!(!may_publish(&none, "dev", "a"));
}

#[test]
fn the_first_matching_rule_decides() {
    let policy = snapshot(
        r#"
        [[rule]]
        who = ["*"]
        deny = ["publish"]
        topics = ["a/commands"]
        [[rule]]
        who = ["*"]
        allow = ["publish"]
        topics = ["a/#"]
        [[rule]]
        who = ["*"]
        deny = ["publish"]
        topics = ["a/late"]
        "#,
    );
    assert!(may_publish(&policy, "dev", "a/x"));
    assert!(!may_publish(&policy, "dev", "a/commands"));
    assert!(
        may_publish(&policy, "dev", "a/late"),
        "an earlier rule had allowed it"
    );
}

#[test]
fn a_deny_always_decides_before_earlier_rules_and_sources() {
    let policy = snapshot_of(&[
        "[[rule]]\nwho = [\"*\"]\nallow = [\"publish\", \"subscribe\"]\ntopics = [\"#\"]",
        "[[rule]]\nwho = [\"dev\"]\ndeny = [\"publish\", \"subscribe\"]\nalways = true\ntopics = [\"x/#\"]",
    ]);
    assert!(!may_publish(&policy, "dev", "x/1"));
    assert!(!may_subscribe(&policy, "dev", "#"), "it would show x/1");
    assert!(may_publish(&policy, "other", "x/1"));
    assert!(may_subscribe(&policy, "other", "#"));
}

#[test]
fn a_subscription_is_refused_when_one_of_its_topics_is_denied() {
    let policy = snapshot(
        r#"
        [[rule]]
        who = ["*"]
        deny = ["subscribe"]
        topics = ["a/secret"]
        [[rule]]
        who = ["*"]
        allow = ["subscribe"]
        topics = ["a/#"]
        "#,
    );
    assert!(may_subscribe(&policy, "dev", "a/b"));
    assert!(may_subscribe(&policy, "dev", "a/b/#"));
    assert!(!may_subscribe(&policy, "dev", "a/#"));
    assert!(!may_subscribe(&policy, "dev", "a/+"));
    assert!(!may_subscribe(&policy, "dev", "#"));
}

#[test]
fn publish_and_subscribe_are_separate_rights() {
    let policy = snapshot("[[rule]]\nwho = [\"*\"]\nallow = [\"publish\"]\ntopics = [\"a\"]");
    assert!(may_publish(&policy, "dev", "a"));
    assert!(!may_subscribe(&policy, "dev", "a"));
}

#[test]
fn a_retained_publish_needs_both_rights() {
    let policy = snapshot(
        "[[rule]]\nwho = [\"*\"]\nallow = [\"publish\"]\ntopics = [\"a\"]\n\
         [[rule]]\nwho = [\"*\"]\nallow = [\"retain\"]\ntopics = [\"#\"]",
    );
    let dev = Identity::from_password("dev");
    assert!(
        policy
            .authorize_publish(who(&dev), resolved("a", true))
            .is_ok()
    );
    let no_publish = policy
        .authorize_publish(who(&dev), resolved("b", true))
        .unwrap_err();
    assert_eq!(no_publish.action, Action::Publish);
    let other = snapshot("[[rule]]\nwho = [\"*\"]\nallow = [\"publish\"]\ntopics = [\"a\"]");
    let no_retain = other
        .authorize_publish(who(&dev), resolved("a", true))
        .unwrap_err();
    assert_eq!(no_retain.action, Action::Retain);
    assert!(
        other
            .authorize_publish(who(&dev), resolved("a", false))
            .is_ok()
    );
}

#[test]
fn a_will_is_judged_as_the_publish_it_becomes() {
    let policy = snapshot("[[rule]]\nwho = [\"*\"]\nallow = [\"publish\"]\ntopics = [\"a\"]");
    let dev = Identity::from_password("dev");
    assert!(
        policy
            .authorize_will(who(&dev), resolved("a", false))
            .is_ok()
    );
    let denied = policy
        .authorize_will(who(&dev), resolved("b", false))
        .unwrap_err();
    assert_eq!(
        denied.to_string(),
        "will denied: no rule allows it (default deny)"
    );
    assert!(
        policy
            .authorize_will(who(&dev), resolved("a", true))
            .is_err()
    );
}

#[test]
fn a_shared_subscription_is_judged_by_its_filter() {
    let policy = snapshot("[[rule]]\nwho = [\"*\"]\nallow = [\"subscribe\"]\ntopics = [\"a/#\"]");
    let dev = Identity::from_password("dev");
    let allowed = policy
        .authorize_subscribe(who(&dev), filter("$share/g/a/+"))
        .unwrap();
    assert_eq!(allowed.get().as_str(), "$share/g/a/+");
    assert!(
        policy
            .authorize_subscribe(who(&dev), filter("$share/a/b"))
            .is_err()
    );
    assert!(
        policy
            .authorize_subscribe(who(&dev), filter("$share/g/#"))
            .is_err()
    );
}

#[test]
fn a_decision_knows_its_rule_and_version() {
    let policy = snapshot(
        "\n[[rule]]\nname = \"no-a\"\nwho = [\"*\"]\ndeny = [\"publish\"]\ntopics = [\"a\"]\n\n\
         [[rule]]\nname = \"rest\"\nwho = [\"*\"]\nallow = [\"publish\"]\ntopics = [\"#\"]",
    );
    let dev = Identity::from_password("dev");
    let allowed = policy
        .authorize_publish(who(&dev), resolved("b", false))
        .unwrap();
    assert_eq!(allowed.policy_version(), 7);
    assert_eq!(
        policy.rule_of(&allowed).unwrap().to_string(),
        "0.toml:9 rest"
    );
    assert_eq!(Snapshot::built_in().rule_of(&allowed), None);
    let denied = policy
        .authorize_publish(who(&dev), resolved("a", false))
        .unwrap_err();
    assert_eq!(denied.to_string(), "publish denied by 0.toml:3 no-a");
    assert_eq!(allowed.into_inner().topic().as_str(), "b");
}

#[test]
fn groups_come_from_the_file_and_from_the_authentication() {
    let policy = snapshot(
        r#"
        [[group]]
        name = "dashboards"
        members = ["anna"]
        [[group]]
        name = "north"
        members = []
        [[rule]]
        who = ["group:dashboards"]
        allow = ["subscribe"]
        topics = ["devices/#"]
        [[rule]]
        who = ["group:north", "group:dashboards"]
        allow = ["publish"]
        topics = ["sites/${group}/#"]
        "#,
    );
    assert!(may_subscribe(&policy, "anna", "devices/+/up"));
    assert!(!may_subscribe(&policy, "otto", "devices/+/up"));
    assert!(may_publish(&policy, "anna", "sites/dashboards/x"));
    let mut otto = Identity::from_password("otto");
    otto.groups.push("north".into());
    assert!(policy.allows(who(&otto), "sites/north/x")[0]);
    assert!(!policy.allows(who(&otto), "sites/dashboards/x")[0]);
}

#[test]
fn system_topics_are_closed_unless_written_out() {
    let all = "[[rule]]\nwho = [\"*\"]\nallow = [\"publish\", \"subscribe\", \"retain\"]\ntopics = [\"#\"]";
    let policy = snapshot(all);
    assert!(may_subscribe(&policy, "dev", "#"));
    assert!(!may_subscribe(&policy, "dev", "$SYS/#"));
    assert!(!may_publish(&policy, "dev", "$SYS/x"));
    let open = "[[rule]]\nwho = [\"dev\"]\nallow = [\"subscribe\"]\ntopics = [\"$SYS/#\"]";
    let policy = snapshot_of(&[all, open]);
    assert!(may_subscribe(&policy, "dev", "$SYS/+"));
    assert!(!may_subscribe(&policy, "other", "$SYS/+"));
}

#[test]
fn an_identity_that_looks_like_a_wildcard_gets_nothing() {
    let policy = Snapshot::built_in();
    for name in ["+", "#", "a/b", "a\0"] {
        assert!(
            !may_publish(&policy, name, &format!("devices/{name}/x")),
            "{name:?}"
        );
        assert!(!may_subscribe(&policy, name, "devices/+/x"));
        assert!(!may_subscribe(&policy, name, "devices/#"));
    }
}

#[test]
fn a_user_named_like_the_wildcard_of_rules_is_nobody_special() {
    let policy = snapshot("[[rule]]\nwho = [\"dev\"]\nallow = [\"publish\"]\ntopics = [\"a\"]");
    assert!(!may_publish(&policy, "*", "a"));
    assert!(!may_publish(&policy, "group:dev", "a"));
}

#[test]
fn allow_all_allows_all_but_writing_system_topics() {
    let policy = Snapshot::allow_all();
    let anybody = Identity::anonymous();
    assert_eq!(policy.allows(who(&anybody), "a/b"), [true; 4]);
    assert!(policy.allows(who(&anybody), "#")[1]);
    assert_eq!(
        policy.allows(who(&anybody), "$SYS/x"),
        [false, true, false, true]
    );
    assert_eq!(policy.allows(who(&anybody), "$other/x"), [true; 4]);
}

#[test]
fn delivery_is_decided_per_topic() {
    let policy = Snapshot::built_in();
    let dev = Identity::from_password("dev");
    let topic = |text| TopicName::new(text, &Limits::default()).unwrap();
    assert!(policy.may_receive(who(&dev), topic("devices/dev/x")));
    assert!(!policy.may_receive(who(&dev), topic("devices/other/x")));
}

#[test]
fn a_publish_from_the_wire_is_decided_by_its_resolved_topic() {
    let mut bytes = Vec::new();
    publish("devices/dev/up", false)
        .encode(Version::V311, &mut bytes)
        .unwrap();
    let limits = Limits::default();
    let packet = moat_codec::Packet::decode(&bytes, Version::V311, &limits).unwrap();
    let moat_codec::Packet::Publish(publish) = packet else {
        panic!("not a publish");
    };
    let mut aliases = moat_codec::InboundAliases::new(0);
    let incoming = Incoming::of(publish, &limits).unwrap();
    let resolved = aliases.resolve(&incoming).unwrap();
    let dev = Identity::from_password("dev");
    assert!(
        Snapshot::built_in()
            .authorize_publish(who(&dev), resolved)
            .is_ok()
    );
}

/// A rule as a test writes it.
#[derive(Clone, Debug)]
struct Plain {
    who: Vec<&'static str>,
    allow: bool,
    always: bool,
    actions: Vec<&'static str>,
    topics: Vec<String>,
}

impl Plain {
    fn toml(&self) -> String {
        let effect = if self.allow { "allow" } else { "deny" };
        format!(
            "[[rule]]\nwho = {:?}\n{effect} = {:?}\nalways = {}\ntopics = {:?}\n",
            self.who, self.actions, self.always, self.topics
        )
    }

    fn is_for(&self, name: &str) -> bool {
        // The one group of the world has the one member "a".
        self.who
            .iter()
            .any(|who| *who == "*" || *who == name || (*who == "group:g" && name == "a"))
    }

    /// The filters of the rule for a subject with client id "b"; none for a forbidden value.
    fn filters(&self, name: &str) -> Vec<String> {
        self.topics
            .iter()
            .filter(|topic| !(topic.contains("${identity}") && name == "+"))
            .map(|topic| {
                topic
                    .replace("${identity}", name)
                    .replace("${clientid}", "b")
            })
            .collect()
    }
}

/// Walks the list as the documentation says, trying every topic of the small world.
fn naive_decision(rules: &[Plain], name: &str, action: &str, topics: &[String]) -> bool {
    let mine = || {
        rules
            .iter()
            .filter(|r| r.is_for(name) && r.actions.contains(&action))
    };
    let matches_any = |rule: &Plain| {
        let filters = rule.filters(name);
        topics
            .iter()
            .any(|t| filters.iter().any(|f| naive_match(f, t)))
    };
    // One pattern of the rule has to cover all; several together do not count.
    let covers_all = |rule: &Plain| {
        rule.filters(name)
            .iter()
            .any(|f| topics.iter().all(|t| naive_match(f, t)))
    };
    if mine().any(|rule| rule.always && matches_any(rule)) {
        return false;
    }
    for rule in mine().filter(|rule| !rule.always) {
        if rule.allow && covers_all(rule) {
            return true;
        }
        if !rule.allow && matches_any(rule) {
            return false;
        }
    }
    false
}

fn plain_rule() -> impl Strategy<Value = Plain> {
    let who = prop::sample::subsequence(vec!["*", "a", "z", "+", "group:g"], 1..3);
    let actions = prop::sample::subsequence(vec!["publish", "subscribe", "retain"], 1..4);
    (
        who,
        0..4_u8,
        actions,
        prop::collection::vec(filter_text(true), 1..3),
    )
        .prop_map(|(who, kind, actions, topics)| Plain {
            who,
            allow: kind < 2,
            always: kind == 3,
            actions,
            topics,
        })
}

fn filter_text(placeholders: bool) -> impl Strategy<Value = String> {
    let mut levels = vec!["a", "b", "+", "", "$s"];
    if placeholders {
        levels.extend(["${identity}", "${clientid}"]);
    }
    (
        prop::collection::vec(prop::sample::select(levels), 0..DEPTH - 1),
        any::<bool>(),
    )
        .prop_map(|(levels, rest)| {
            let mut levels = levels;
            if rest {
                levels.push("#");
            }
            levels.join("/")
        })
        .prop_filter("the empty filter", |text| !text.is_empty())
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn prop_decisions_agree_with_a_plain_list(
        rules in prop::collection::vec(plain_rule(), 0..6),
        filter in filter_text(false),
        name in prop::sample::select(vec!["a", "z", "+"]),
    ) {
        let mut text = String::from("[[group]]\nname = \"g\"\nmembers = [\"a\"]\n");
        text.extend(rules.iter().map(Plain::toml));
        let snapshot = snapshot(&text);
        let identity = Identity::from_password(name);
        let world = universe();
        // Every 7th topic: enough to meet each shape, and the test stays quick.
        for topic in world.iter().step_by(7) {
            let one = std::slice::from_ref(topic);
            let expected = ["publish", "subscribe", "retain", "subscribe"]
                .map(|action| naive_decision(&rules, name, action, one));
            prop_assert_eq!(snapshot.allows(who(&identity), topic), expected, "{}", topic);
        }
        let matched: Vec<String> =
            world.into_iter().filter(|topic| naive_match(&filter, topic)).collect();
        let granted = snapshot.decide_filter(who(&identity), &filter).is_ok();
        prop_assert_eq!(granted, naive_decision(&rules, name, "subscribe", &matched));
        if granted {
            for topic in &matched {
                let may = snapshot.decide_topic(who(&identity), Action::Subscribe, topic);
                prop_assert!(may.is_ok(), "granted {}, but {} may not be delivered", filter, topic);
            }
        }
    }
}

#[test]
fn a_rule_per_device_is_found_by_name() {
    const DEVICES: usize = 2_000;
    let mut text = String::new();
    for i in 0..DEVICES {
        text +=
            &format!("[[rule]]\nwho = [\"d{i}\"]\nallow = [\"publish\"]\ntopics = [\"t/{i}\"]\n");
    }
    let snapshot = snapshot(&text);
    assert!(may_publish(&snapshot, "d1999", "t/1999"));
    assert!(!may_publish(&snapshot, "d1999", "t/1998"));
    let identity = Identity::from_password(Arc::from("d1999"));
    let walked = snapshot.index.entry(&identity).rules(Turn::Ordered).count();
    assert_eq!(
        walked, 1,
        "only the rules that name the identity are looked at"
    );
}
