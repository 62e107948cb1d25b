//! The compiled policy, and the decisions it makes.

use std::sync::atomic::{AtomicU64, Ordering};

use moat_codec::{Resolved, TopicFilter, TopicName};

use crate::decision::{Action, Authorized, Denied, RuleId, RuleRef};
use crate::error::{PolicyError, PolicyWarning};
use crate::index::{Entry, Index, Turn, Who};
use crate::parse::{ParseLimits, Parsed, ParsedRule, PolicySourceText, parse};
use crate::pattern::Pattern;
use crate::placeholder::Values;
use crate::rule::{Actions, Effect, Rule};
use crate::subject::Subject;
use crate::system::{SYSTEM_RULE, is_system_topic};

/// An immutable, compiled policy. Whoever holds one swaps it as a whole.
///
/// A decision: any matching `deny … always` first, then the rules in their order, the first that
/// matches, then deny. No decision allocates, unless it denies.
#[derive(Clone, Debug)]
pub struct Snapshot {
    version: u64,
    /// Tells it from all others of this process.
    id: u64,
    rules: Vec<Rule>,
    index: Index,
    warnings: Vec<PolicyWarning>,
}

impl Snapshot {
    /// The policy of a broker without a policy file: each identity may publish, subscribe and
    /// retain under `devices/${identity}/#`, and nothing else.
    pub fn built_in() -> Self {
        Self::build(
            vec![everyones(Rule {
                effect: Effect::Allow,
                actions: Actions::ALL,
                topics: Box::new([Pattern::own_subtree()]),
                at: RuleRef::built_in("own-subtree"),
            })],
            0,
        )
    }

    /// Everything for everybody, except publishing to `$SYS/#`. For `start --dev` only.
    pub fn allow_all() -> Self {
        Self::build(
            vec![
                ParsedRule {
                    always: true,
                    ..everyones(Rule {
                        effect: Effect::Deny,
                        actions: Actions::SENDING,
                        topics: Box::new([Pattern::system()]),
                        at: RuleRef::built_in(SYSTEM_RULE),
                    })
                },
                everyones(Rule {
                    effect: Effect::Allow,
                    actions: Actions::ALL,
                    topics: Box::new([Pattern::everything()]),
                    at: RuleRef::built_in("allow-all"),
                }),
            ],
            0,
        )
    }

    /// Compiles policy files; their rules are tried in the order of the sources.
    ///
    /// # Errors
    /// Every mistake of every file, in the order of the files, at most
    /// [`ERRORS_MAX`](crate::ERRORS_MAX) and a last one that counts the rest.
    pub fn compile(sources: Vec<PolicySourceText>, version: u64) -> Result<Self, Vec<PolicyError>> {
        let Parsed {
            rules,
            groups,
            warnings,
        } = parse(&sources, ParseLimits::default())?;
        let mut snapshot = Self::build(rules, version);
        for group in &groups {
            for member in &group.members {
                snapshot.index.add_member(&group.name, member);
            }
        }
        snapshot.warnings = warnings;
        Ok(snapshot)
    }

    /// The number its maker gave this snapshot; later ones have greater numbers.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A number above 0 that no other policy of this process has.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// What is doubtful about the files.
    pub fn warnings(&self) -> &[PolicyWarning] {
        &self.warnings
    }

    /// The rule that allowed something, for people. `None` if another snapshot decided.
    pub fn rule_of<T>(&self, authorized: &Authorized<T>) -> Option<RuleRef> {
        if authorized.policy_version() != self.version {
            return None;
        }
        self.rule(authorized.rule()).map(|rule| rule.at.clone())
    }

    /// Decides a PUBLISH. With the retain bit set it needs the right to retain as well. To `$SYS/#` nobody may publish.
    ///
    /// # Errors
    /// The rule that denied, and which of the two rights was missing.
    pub fn authorize_publish<'a>(
        &self,
        who: Subject<'_>,
        publish: Resolved<'a>,
    ) -> Result<Authorized<Resolved<'a>>, Denied> {
        self.authorize_message(who, publish, Action::Publish)
    }

    /// Decides a will, as the publish it will become.
    ///
    /// # Errors
    /// The rule that denied, and which right was missing.
    pub fn authorize_will<'a>(
        &self,
        who: Subject<'_>,
        will: Resolved<'a>,
    ) -> Result<Authorized<Resolved<'a>>, Denied> {
        self.authorize_message(who, will, Action::Will)
    }

    /// Decides a subscription: granted only if every topic the filter can match is allowed.
    /// `$share/g/f` is judged by `f`.
    ///
    /// Where a mosquitto ACL speaks for `who`, every subscription is granted, and each message has to
    /// be judged by [`may_receive`](Self::may_receive): [`Authorized::judged_at_delivery`] tells.
    ///
    /// # Errors
    /// The rule that denied, or the default deny.
    pub fn authorize_subscribe<'a>(
        &self,
        who: Subject<'_>,
        filter: TopicFilter<'a>,
    ) -> Result<Authorized<TopicFilter<'a>>, Denied> {
        let judged = filter.shared().map_or(filter, |shared| shared.filter);
        let rule = self.decide_filter(who, judged.as_str())?;
        let authorized = Authorized::new(filter, rule, self.version);
        Ok(match self.rule(rule).map(|rule| rule.effect) {
            Some(Effect::JudgeDeliveries) => authorized.judge_at_delivery(),
            _ => authorized,
        })
    }

    /// Whether a message of this topic may be delivered to `who`: asked for queued messages when the
    /// policy has changed after the subscription, and for every message of a subscription that is
    /// [judged at delivery](Authorized::judged_at_delivery).
    pub fn may_receive(&self, who: Subject<'_>, topic: TopicName<'_>) -> bool {
        self.decide_topic(who, Action::Subscribe, topic.as_str())
            .is_ok()
    }

    fn authorize_message<'a>(
        &self,
        who: Subject<'_>,
        message: Resolved<'a>,
        action: Action,
    ) -> Result<Authorized<Resolved<'a>>, Denied> {
        let topic = message.topic();
        if is_system_topic(topic.as_str()) {
            // Dashboards trust what they read there, so no rule opens it.
            let rule = RuleRef::built_in(SYSTEM_RULE);
            return Err(Denied { rule, action });
        }
        let rule = self.decide_topic(who, action, topic.as_str())?;
        if message.retain() {
            self.decide_topic(who, Action::Retain, topic.as_str())?;
        }
        Ok(Authorized::new(message, rule, self.version))
    }

    pub(crate) fn decide_topic(
        &self,
        who: Subject<'_>,
        action: Action,
        topic: &str,
    ) -> Result<RuleId, Denied> {
        self.first_rule(who, action, |rule, values| {
            rule.decides_topic(action, values, topic)
        })
    }

    fn decide_filter(&self, who: Subject<'_>, filter: &str) -> Result<RuleId, Denied> {
        self.first_rule(who, Action::Subscribe, |rule, values| {
            rule.decides_filter(values, filter)
        })
    }

    /// The order of a decision, the same for topics and filters.
    fn first_rule(
        &self,
        who: Subject<'_>,
        action: Action,
        decides: impl Fn(&Rule, &Values<'_>) -> bool,
    ) -> Result<RuleId, Denied> {
        let entry = self.index.entry(who.identity);
        let values = Values {
            subject: who,
            file_groups: entry.file_groups(),
        };
        let denied = |rule| Denied { rule, action };
        let first = |turn| {
            self.rules_for(entry, turn)
                .find(|(_, rule)| decides(rule, &values))
        };
        match first(Turn::Always).or_else(|| first(Turn::Ordered)) {
            Some((id, rule)) if rule.effect != Effect::Deny => Ok(id),
            Some((_, rule)) => Err(denied(rule.at.clone())),
            None => Err(denied(RuleRef::default_deny())),
        }
    }

    fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.rules.get(usize::try_from(id.0).ok()?)
    }

    fn rules_for<'a>(
        &'a self,
        entry: Entry<'a>,
        turn: Turn,
    ) -> impl Iterator<Item = (RuleId, &'a Rule)> {
        entry.rules(turn).filter_map(|number| {
            let id = RuleId(number);
            Some((id, self.rule(id)?))
        })
    }

    fn build(parsed: Vec<ParsedRule>, version: u64) -> Self {
        let mut index = Index::default();
        let rules = (0..)
            .zip(parsed)
            .map(|(number, ParsedRule { who, always, rule })| {
                let turn = if always { Turn::Always } else { Turn::Ordered };
                index.add_rule(&who, turn, number);
                rule
            })
            .collect();
        static IDS: AtomicU64 = AtomicU64::new(1);
        Self {
            version,
            id: IDS.fetch_add(1, Ordering::Relaxed),
            rules,
            index,
            warnings: Vec::new(),
        }
    }
}

fn everyones(rule: Rule) -> ParsedRule {
    ParsedRule {
        who: vec![Who::Everyone],
        always: false,
        rule,
    }
}

#[cfg(test)]
mod tests;
