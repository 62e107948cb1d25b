//! Decisions.

use std::fmt::Write as _;
use std::hint::black_box;

use moat_codec::{InboundAliases, Incoming, Limits, Publish};
use moat_policy::{Identity, PolicyFormat, PolicySourceText, Remembered, Snapshot, Subject};

use crate::{Pass, Path};

/// Rules of [`DECISION_OF_MANY`], each of them for another device.
const MANY: usize = 10_000;

/// With ten rules.
pub(crate) const DECISION: Path = Path {
    name: "policy",
    what: "whether a device may publish, by a policy of ten rules",
    begin: || decide_again(ten_rules(0), false),
};

/// With very many.
pub(crate) const DECISION_OF_MANY: Path = Path {
    name: "policy-10000",
    what: "the same, with a rule for each of 10,000 other devices",
    begin: || decide_again(ten_rules(MANY), false),
};

/// By the decision before.
pub(crate) const REMEMBERED: Path = Path {
    name: "policy-again",
    what: "the same, for a topic that was allowed a moment ago",
    begin: || decide_again(ten_rules(0), true),
};

fn decide_again(snapshot: Snapshot, is_remembered: bool) -> Pass {
    let identity = Identity::from_password("press-1");
    let mut memory = Remembered::default();
    let mut aliases = InboundAliases::new(0);
    let limits = Limits::default();
    Box::new(move || {
        let publish = Publish::new("plant/press-1/temperature", b"x");
        let incoming = Incoming::of(black_box(publish), &limits).unwrap();
        let resolved = aliases.resolve(&incoming).unwrap();
        let who = Subject {
            identity: &identity,
            client_id: "press-1",
        };
        let decision = match is_remembered {
            true => snapshot.authorize_publish_again(who, resolved, &mut memory),
            false => snapshot.authorize_publish(who, resolved),
        };
        assert!(black_box(decision).is_ok());
    })
}

/// A policy that denies by default, with a rule of everybody that is tried last, and `others` rules of other devices.
pub(crate) fn ten_rules(others: usize) -> Snapshot {
    let mut text = String::from("version = 1\n");
    let mut rule = |name: &str, who: &str, topics: &str| {
        let allow = "[\"publish\", \"subscribe\", \"retain\"]";
        write!(
            text,
            "[[rule]]\nname = \"{name}\"\nwho = [\"{who}\"]\nallow = {allow}\ntopics = [\"{topics}\"]\n"
        )
        .unwrap();
    };
    for other in 0..others {
        rule(
            &format!("device-{other}"),
            &format!("device-{other}"),
            &format!("own/{other}/#"),
        );
    }
    for area in 0..9 {
        rule(
            &format!("area-{area}"),
            "*",
            &format!("area/{area}/+/state"),
        );
    }
    rule("own", "*", "plant/${identity}/#");
    let source = PolicySourceText {
        file: "policy.toml".into(),
        format: PolicyFormat::Toml,
        text,
    };
    Snapshot::compile(vec![source], 1).unwrap()
}
