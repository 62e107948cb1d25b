//! From a topic to those who want it.

use std::hint::black_box;

use moat_codec::SubscriptionOptions;
use moat_core::router::Trie;
use moat_core::session::{SessionIndex, Subscriber};

use crate::{Pass, Path};

/// Filters in the tree.
const FILTERS: u32 = 10_000;

/// Among filters without wildcards.
pub(crate) const MATCH_EXACT: Path = Path {
    name: "match",
    what: "the one subscriber of a topic among 10,000 filters without wildcards",
    begin: || {
        let mut trie = Trie::default();
        for n in 0..FILTERS {
            trie.insert(&format!("plant/{n}/temperature"), subscriber(n));
        }
        match_again(trie, 1)
    },
};

/// Among filters with them.
pub(crate) const MATCH_WILDCARDS: Path = Path {
    name: "match-wildcards",
    what: "the four subscribers of a topic among 10,000 filters with wildcards",
    begin: || {
        let mut trie = Trie::default();
        for n in 0..FILTERS {
            trie.insert(&format!("plant/{n}/#"), subscriber(n));
        }
        for (n, filter) in ["#", "plant/+/temperature", "+/+/+"]
            .into_iter()
            .enumerate()
        {
            trie.insert(filter, subscriber(FILTERS + u32::try_from(n).unwrap()));
        }
        match_again(trie, 4)
    },
};

fn match_again(trie: Trie<Subscriber>, expected: usize) -> Pass {
    Box::new(move || {
        let mut found = 0;
        trie.matches(black_box("plant/4711/temperature"), |_| found += 1);
        assert_eq!(found, expected);
    })
}

fn subscriber(n: u32) -> Subscriber {
    Subscriber::new(SessionIndex(n), SubscriptionOptions::default(), None, false)
}
