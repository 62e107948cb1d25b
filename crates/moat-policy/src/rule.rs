//! A compiled rule.

use crate::decision::{Action, RuleRef};
use crate::pattern::Pattern;
use crate::placeholder::Values;

/// One rule of a snapshot. Whom it is for is the index's matter.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) effect: Effect,
    pub(crate) actions: Actions,
    pub(crate) topics: Box<[Pattern]>,
    pub(crate) at: RuleRef,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Allow,
    Deny,
    /// Grants every subscription and says nothing about any topic: the rules after it do, message by
    /// message.
    JudgeDeliveries,
}

/// A set of actions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Actions(u8);

impl Actions {
    /// The words of a policy file.
    pub(crate) const WORDS: [&'static str; 3] = ["publish", "subscribe", "retain"];

    pub(crate) const ALL: Self = Self(0b111);
    /// What leaves a message at a topic.
    pub(crate) const SENDING: Self = Self(0b101);
    pub(crate) const RECEIVING: Self = Self(0b010);

    /// Adds the action a policy file names; false if there is none of that name.
    pub(crate) fn add_word(&mut self, word: &str) -> bool {
        match Self::WORDS.iter().position(|known| *known == word) {
            Some(bit) => {
                self.0 |= 1 << bit;
                true
            }
            None => false,
        }
    }

    /// A will is a publish that is sent later, so the right to publish decides it.
    fn contains(self, action: Action) -> bool {
        let bit = match action {
            Action::Publish | Action::Will => 0,
            Action::Subscribe => 1,
            Action::Retain => 2,
        };
        self.0 & (1 << bit) != 0
    }
}

impl Rule {
    /// Whether the rule speaks about this action on this topic.
    #[inline]
    pub(crate) fn decides_topic(&self, action: Action, values: &Values<'_>, topic: &str) -> bool {
        self.actions.contains(action) && self.topics.iter().any(|p| p.matches(values, topic))
    }

    /// Whether the rule decides a subscription: a deny by touching it, an allow by covering it,
    /// and the rule that leaves it to the deliveries in any case.
    pub(crate) fn decides_filter(&self, values: &Values<'_>, filter: &str) -> bool {
        self.actions.contains(Action::Subscribe)
            && match self.effect {
                Effect::Deny => self.topics.iter().any(|p| p.overlaps(values, filter)),
                Effect::Allow => self.topics.iter().any(|p| p.covers(values, filter)),
                Effect::JudgeDeliveries => true,
            }
    }
}
