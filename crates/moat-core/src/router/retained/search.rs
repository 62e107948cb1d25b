//! Looking for what a filter matches, a bounded part at a time: whoever asks for everything must not hold up the others.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use super::{Level, Retained};
use crate::{Message, Time};

/// How far one call of [`Retained::search`] goes.
#[derive(Clone, Copy, Debug)]
pub struct SearchBounds {
    /// Levels of topics looked at.
    pub visits_max: usize,
    /// Messages found.
    pub messages_max: usize,
}

/// What one call of [`Retained::search`] brought.
#[derive(Debug)]
pub struct SearchStep {
    /// Levels of topics looked at.
    pub visits: usize,
    /// Where to go on; `None` when everything was looked at.
    pub next: Option<Box<str>>,
}

impl Retained {
    /// Calls `found` for the messages whose topic `filter` matches, that have not expired and that were kept no later than as
    /// number `upto` of [`Retained::kept_total`]. `after` is where the call before stopped.
    ///
    /// What is kept or forgotten between two calls disturbs nothing: topics are gone through in order, and a message
    /// kept after `upto` is none of this search's business, since its subscriber was sent it when it came.
    pub fn search(
        &self,
        filter: &str,
        after: Option<&str>,
        upto: u64,
        now: Time,
        bounds: SearchBounds,
        mut found: impl FnMut(&Arc<Message>),
    ) -> SearchStep {
        let mut walk = Walk {
            path: Vec::new(),
            visits: 0,
            messages: 0,
            bounds,
            upto,
            now,
            found: &mut found,
        };
        let stopped = walk.below(&self.root, filter, true, after).is_break();
        SearchStep {
            visits: walk.visits,
            next: stopped.then(|| walk.path.join("/").into_boxed_str()),
        }
    }
}

struct Walk<'t, 'f> {
    /// The level at hand, from the root.
    path: Vec<&'t str>,
    visits: usize,
    messages: usize,
    bounds: SearchBounds,
    upto: u64,
    now: Time,
    found: &'f mut dyn FnMut(&Arc<Message>),
}

impl<'t> Walk<'t, '_> {
    /// Goes through what `filter` matches below `level`. With `hide_system`, a wildcard on this level passes over names
    /// that start with `$` [MQTT-4.7.2-1]. `resume` is the rest of the path where the call before stopped.
    ///
    /// The depth is that of a topic, which the codec's limit bounds.
    fn below(
        &mut self,
        level: &'t Level,
        filter: &str,
        hide_system: bool,
        resume: Option<&str>,
    ) -> ControlFlow<()> {
        let (name, rest) = split(filter);
        let (start, deeper) = match resume.map(split) {
            Some((start, deeper)) => (Some(start), deeper),
            None => (None, None),
        };
        if let Some(start) = start
            && let Some((name, child)) = level.children().get_key_value(start)
        {
            // It was looked at itself; what is below it was not, or not all of it.
            self.path.push(name);
            self.further(child, below_wildcard(filter, rest), deeper)?;
            self.path.pop();
        }
        if name != "#" && name != "+" {
            return match (start, level.children().get_key_value(name)) {
                (None, Some((name, child))) => self.visit(name, child, rest),
                _ => ControlFlow::Continue(()),
            };
        }
        let from = start.map_or(Bound::Unbounded, Bound::Excluded);
        for (name, child) in level.children().range::<str, _>((from, Bound::Unbounded)) {
            if !(hide_system && name.starts_with('$')) {
                self.visit(name, child, below_wildcard(filter, rest))?;
            }
        }
        ControlFlow::Continue(())
    }

    fn visit(&mut self, name: &'t str, level: &'t Level, rest: Option<&str>) -> ControlFlow<()> {
        self.path.push(name);
        self.visits += 1;
        // `a/#` matches `a` itself too (4.7.1.2).
        if matches!(rest, None | Some("#"))
            && let Some(kept) = &level.message
            && kept.number <= self.upto
            && !kept.message.is_expired(self.now)
        {
            self.messages += 1;
            (self.found)(&kept.message);
        }
        if self.visits >= self.bounds.visits_max || self.messages >= self.bounds.messages_max {
            return ControlFlow::Break(());
        }
        self.further(level, rest, None)?;
        self.path.pop();
        ControlFlow::Continue(())
    }

    fn further(
        &mut self,
        level: &'t Level,
        rest: Option<&str>,
        resume: Option<&str>,
    ) -> ControlFlow<()> {
        match rest {
            None => ControlFlow::Continue(()),
            Some(rest) => self.below(level, rest, false, resume),
        }
    }
}

/// What a child has to match: `#` stands for all levels, so it goes on below each.
fn below_wildcard<'f>(filter: &'f str, rest: Option<&'f str>) -> Option<&'f str> {
    if filter == "#" { Some("#") } else { rest }
}

fn split(path: &str) -> (&str, Option<&str>) {
    match path.split_once('/') {
        Some((name, rest)) => (name, Some(rest)),
        None => (path, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::retained::RetainedLimits;

    const LIMITS: RetainedLimits = RetainedLimits {
        messages_max: 1000,
        bytes_max: 1 << 20,
        per_identity_max: 1000,
    };
    const TOPICS: &[&str] = &[
        "", "/", "//", "a", "a/", "a/b", "a/b/c", "a/bb", "a!", "b", "b/b", "$x", "$x/b",
    ];
    const FILTERS: &[&str] = &[
        "#", "+", "+/+", "a/#", "a/b", "+/b", "+/b/#", "/#", "/+", "$x/#", "a/+/c", "c", "//",
    ];

    fn message(topic: &str, payload: &[u8]) -> Arc<Message> {
        Arc::new(Message::of_parts(&crate::message::MessageParts {
            topic,
            properties: &[],
            payload,
            qos: moat_codec::QoS::AtMostOnce,
            retain: true,
            expires_at: None,
            publisher: &"".into(),
        }))
    }

    fn kept(topics: &[&str]) -> Retained {
        let mut retained = Retained::default();
        for topic in topics {
            let message = message(topic, b"x");
            retained.set(&message, &LIMITS).unwrap();
        }
        retained
    }

    fn in_steps(retained: &Retained, filter: &str, bounds: SearchBounds) -> Vec<String> {
        let (mut found, mut after, mut calls) = (Vec::new(), None, 0);
        loop {
            let upto = retained.kept_total();
            let step = retained.search(filter, after.as_deref(), upto, Time::ZERO, bounds, |m| {
                found.push(m.topic().to_owned());
            });
            assert!(step.visits <= bounds.visits_max);
            calls += 1;
            assert!(calls < 100, "it does not end");
            match step.next {
                Some(next) => after = Some(next),
                None => return found,
            }
        }
    }

    #[test]
    fn a_search_in_steps_finds_what_one_step_finds() {
        let retained = kept(TOPICS);
        let all = SearchBounds {
            visits_max: 1000,
            messages_max: 1000,
        };
        for filter in FILTERS {
            let whole = in_steps(&retained, filter, all);
            for bound in 1..5 {
                let few_visits = SearchBounds {
                    visits_max: bound,
                    ..all
                };
                let few_messages = SearchBounds {
                    messages_max: bound,
                    ..all
                };
                assert_eq!(in_steps(&retained, filter, few_visits), whole, "{filter}");
                assert_eq!(in_steps(&retained, filter, few_messages), whole, "{filter}");
            }
        }
    }

    #[test]
    fn a_search_goes_on_where_it_stopped_although_that_topic_is_gone() {
        let mut retained = kept(&["a/1", "a/2", "a/3"]);
        let one = SearchBounds {
            visits_max: 3,
            messages_max: 1000,
        };
        let mut found = Vec::new();
        let step = retained.search("a/#", None, 3, Time::ZERO, one, |m| {
            found.push(m.topic().to_owned());
        });
        assert_eq!(step.next.as_deref(), Some("a/2"));
        retained.remove("a/2");
        let step = retained.search("a/#", step.next.as_deref(), 3, Time::ZERO, one, |m| {
            found.push(m.topic().to_owned());
        });
        assert_eq!(
            (step.next, found),
            (
                None,
                vec!["a/1".to_owned(), "a/2".to_owned(), "a/3".to_owned()]
            )
        );
    }

    #[test]
    fn what_was_kept_after_the_search_began_is_not_found() {
        let mut retained = kept(&["a", "b"]);
        let upto = retained.kept_total();
        retained.set(&message("a", b"newer"), &LIMITS).unwrap();
        let all = SearchBounds {
            visits_max: 1000,
            messages_max: 1000,
        };
        let mut found = Vec::new();
        retained.search("#", None, upto, Time::ZERO, all, |m| {
            found.push(m.topic().to_owned())
        });
        assert_eq!(found, ["b"]);
    }
}
