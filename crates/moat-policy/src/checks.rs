//! What the fuzz targets `policy` and `acl_file` assert, and the replay of their corpora.

use moat_codec::{Limits, TopicFilter, TopicName};

use crate::parse::{ParseLimits, PolicyFormat, PolicySourceText, parse};
use crate::{Identity, Snapshot, Subject};

/// Filters that are asked of whatever compiles. A topic name is a filter too.
const FILTERS: [&str; 9] = [
    "a", "a/b", "#", "+/b", "$SYS/#", "$SYS/x", "/", "x/y/z", "a/#",
];

/// Reads any bytes as a policy file: no panic, twice the same, and whoever is granted a topic outright
/// may receive it.
pub fn policy_file(input: &[u8], format: PolicyFormat) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let source = PolicySourceText {
        file: "policy".into(),
        format,
        text: text.into(),
    };
    let read = || {
        let parsed = parse(std::slice::from_ref(&source), ParseLimits::default());
        parsed.map(|parsed| format!("{parsed:?}"))
    };
    let first = read();
    assert_eq!(first, read(), "the same text, read twice");
    let compiled = Snapshot::compile(vec![source], 1);
    assert_eq!(compiled.is_ok(), first.is_ok());
    if let Ok(snapshot) = compiled {
        decisions_agree(&snapshot);
    }
}

fn decisions_agree(snapshot: &Snapshot) {
    let limits = Limits::default();
    for identity in [Identity::anonymous(), Identity::from_password("a")] {
        for client_id in ["b", "+", "x/y"] {
            let who = Subject {
                identity: &identity,
                client_id,
            };
            for filter in FILTERS
                .iter()
                .filter_map(|text| TopicFilter::new(text, &limits).ok())
            {
                let granted = snapshot.authorize_subscribe(who, filter);
                let outright = granted.is_ok_and(|granted| !granted.judged_at_delivery());
                if let (true, Ok(topic)) = (outright, TopicName::new(filter.as_str(), &limits)) {
                    assert!(snapshot.may_receive(who, topic), "{}", filter.as_str());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn replay(target: &str, format: PolicyFormat) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../fuzz/corpus")
            .join(target);
        let mut good = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let input = fs::read(entry.unwrap().path()).unwrap();
            policy_file(&input, format);
            let text = String::from_utf8_lossy(&input).into_owned();
            let source = PolicySourceText {
                file: "policy".into(),
                format,
                text,
            };
            good += usize::from(Snapshot::compile(vec![source], 1).is_ok());
        }
        assert!(good > 0, "seeds that compile lead a fuzzer on");
    }

    #[test]
    fn policy_corpus_holds() {
        replay("policy", PolicyFormat::Toml);
    }

    #[test]
    fn acl_corpus_holds() {
        replay("acl_file", PolicyFormat::MosquittoAcl);
    }
}
