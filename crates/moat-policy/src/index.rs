//! Which rules are for whom.
//!
//! Rules that name an identity are found by one look-up, so a policy with a rule per device
//! costs a decision no more than one with a single rule; the rules of everybody and of groups
//! are merged in while walking, in the order of the file, without copying a list.

use std::collections::HashMap;
use std::sync::Arc;

use crate::identity::Identity;

/// Rule numbers, ascending.
type Numbers = Vec<u32>;

/// Finds the rules for an identity.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    everyone: Lists,
    members: HashMap<Arc<str>, Member>,
    groups: HashMap<Arc<str>, Lists>,
}

#[derive(Clone, Debug, Default)]
struct Member {
    own: Lists,
    groups: Vec<Arc<str>>,
}

/// The rules that decide before everything, and the others.
#[derive(Clone, Debug, Default)]
struct Lists {
    always: Numbers,
    ordered: Numbers,
}

/// For whom a rule is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Everyone,
    Name(Arc<str>),
    Group(Arc<str>),
}

/// Which of the two lists is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Always,
    Ordered,
}

impl Lists {
    fn of(&self, turn: Turn) -> &[u32] {
        match turn {
            Turn::Always => &self.always,
            Turn::Ordered => &self.ordered,
        }
    }

    fn push(&mut self, turn: Turn, number: u32) {
        let list = match turn {
            Turn::Always => &mut self.always,
            Turn::Ordered => &mut self.ordered,
        };
        // A rule may name the same identity twice.
        if list.last() != Some(&number) {
            list.push(number);
        }
    }
}

impl Index {
    /// Adds a rule. Numbers must come in ascending order.
    pub(crate) fn add_rule(&mut self, who: &[Who], turn: Turn, number: u32) {
        for one in who {
            let lists = match one {
                Who::Everyone => &mut self.everyone,
                Who::Name(name) => &mut self.members.entry(Arc::clone(name)).or_default().own,
                Who::Group(group) => self.groups.entry(Arc::clone(group)).or_default(),
            };
            lists.push(turn, number);
        }
    }

    pub(crate) fn add_member(&mut self, group: &Arc<str>, name: &Arc<str>) {
        let groups = &mut self.members.entry(Arc::clone(name)).or_default().groups;
        if !groups.contains(group) {
            groups.push(Arc::clone(group));
        }
    }

    /// What the index knows about an identity, with one look-up.
    pub(crate) fn entry<'a>(&'a self, identity: &'a Identity) -> Entry<'a> {
        Entry {
            index: self,
            member: self.members.get(&identity.name),
            identity,
        }
    }
}

/// The rules and groups of one identity.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    index: &'a Index,
    member: Option<&'a Member>,
    identity: &'a Identity,
}

impl<'a> Entry<'a> {
    /// The groups the policy file puts the identity into.
    pub(crate) fn file_groups(&self) -> &'a [Arc<str>] {
        self.member.map_or(&[], |member| &member.groups)
    }

    /// The numbers of the rules that are for the identity, ascending, each once.
    pub(crate) fn rules(self, turn: Turn) -> Rules<'a> {
        Rules {
            everyone: self.index.everyone.of(turn),
            own: self.member.map_or(&[], |member| member.own.of(turn)),
            entry: self,
            turn,
            next: 0,
        }
    }

    fn group_lists(&self, turn: Turn) -> impl Iterator<Item = &'a [u32]> {
        let index = self.index;
        // Most policies have no rule for a group; then no group is looked up.
        let groups: (&'a [Arc<str>], &'a [Arc<str>]) = if index.groups.is_empty() {
            (&[], &[])
        } else {
            (self.file_groups(), &self.identity.groups)
        };
        groups
            .0
            .iter()
            .chain(groups.1)
            .filter_map(move |group| index.groups.get(group))
            .map(move |lists| lists.of(turn))
    }
}

/// Walks several ascending lists as one.
pub(crate) struct Rules<'a> {
    everyone: &'a [u32],
    own: &'a [u32],
    entry: Entry<'a>,
    turn: Turn,
    /// The smallest number not yet walked.
    next: u32,
}

impl Rules<'_> {
    /// The smallest number not yet walked that is `number` or of a group.
    fn first_of_groups(&self, number: Option<u32>) -> Option<u32> {
        let lists = self.entry.group_lists(self.turn);
        let in_groups =
            lists.filter_map(|list| list.get(list.partition_point(|&n| n < self.next)).copied());
        number.into_iter().chain(in_groups).min()
    }
}

impl Iterator for Rules<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        // The usual end, and the usual list of rules that always decide, without looking at groups.
        if self.everyone.is_empty() && self.own.is_empty() && self.entry.index.groups.is_empty() {
            return None;
        }
        let number = match (self.everyone.first(), self.own.first()) {
            (Some(everyones), Some(own)) => Some(*everyones.min(own)),
            (first, None) | (None, first) => first.copied(),
        };
        let number = match self.entry.index.groups.is_empty() {
            true => number,
            false => self.first_of_groups(number),
        }?;
        for list in [&mut self.everyone, &mut self.own] {
            if let [first, rest @ ..] = *list
                && *first == number
            {
                *list = rest;
            }
        }
        self.next = number.checked_add(1)?;
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_walked_in_the_order_of_the_file() {
        let (dev, ops): (Arc<str>, Arc<str>) = ("dev".into(), "ops".into());
        let mut index = Index::default();
        index.add_member(&ops, &dev);
        index.add_rule(&[Who::Everyone], Turn::Ordered, 0);
        index.add_rule(&[Who::Group(ops.clone())], Turn::Ordered, 1);
        index.add_rule(&[Who::Name(dev.clone()), Who::Everyone], Turn::Ordered, 2);
        index.add_rule(&[Who::Name("other".into())], Turn::Ordered, 3);
        index.add_rule(&[Who::Group("idp".into())], Turn::Ordered, 4);
        index.add_rule(&[Who::Name(dev.clone()), Who::Group(ops)], Turn::Ordered, 5);
        index.add_rule(&[Who::Everyone], Turn::Always, 6);

        let mut identity = Identity::from_password(dev);
        identity.groups.push("idp".into());
        let walk = |turn| index.entry(&identity).rules(turn).collect::<Vec<_>>();
        assert_eq!(walk(Turn::Ordered), [0, 1, 2, 4, 5]);
        assert_eq!(walk(Turn::Always), [6]);
        let stranger = Identity::from_password("stranger");
        let walked: Vec<u32> = index.entry(&stranger).rules(Turn::Ordered).collect();
        assert_eq!(walked, [0, 2]);
    }
}
