//! What a session knows of its shared subscriptions: who owns the group, and how much it may be dealt.
//!
//! Each message that was dealt to the session holds a token of its group. What the session still has
//! under way is the number of tokens, so a message that leaves by any way at all, acknowledged,
//! expired, dropped or returned, gives its credit back by itself.

use std::num::NonZeroU32;
use std::sync::Arc;

use moat_codec::SubscriptionOptions;

use crate::shard::ShardId;

/// The token of a group. [`super::parcel::Parcel`] holds one for each message dealt.
#[derive(Debug, PartialEq, Eq)]
pub struct Share {
    /// The whole filter, `$share/GROUP/` included.
    pub filter: Arc<str>,
}

/// A shared subscription of one session.
#[derive(Debug)]
pub struct Membership {
    /// Whose clones are under way to the client.
    share: Arc<Share>,
    /// The shard that deals for the group.
    pub owner: ShardId,
    /// What the SUBSCRIBE asked for.
    pub options: SubscriptionOptions,
    /// The subscription identifier, if one was given.
    pub id: Option<NonZeroU32>,
    /// Whether the policy granted the subscription alone and judges each message.
    pub judged_at_delivery: bool,
    /// Told with each joining: deals of an earlier one do not count against the credit of this one.
    pub epoch: u32,
    /// Credit that the owner has and has not used, as far as is known here.
    granted: u16,
    /// Whether a QoS 0 message was returned because the client does not read.
    pub is_congested: bool,
}

impl Membership {
    /// A membership the owner has yet to hear of.
    #[must_use]
    pub fn new(filter: &str, owner: ShardId) -> Self {
        Membership {
            share: Arc::new(Share {
                filter: filter.into(),
            }),
            owner,
            options: SubscriptionOptions::default(),
            id: None,
            judged_at_delivery: false,
            epoch: 0,
            granted: 0,
            is_congested: false,
        }
    }

    /// The group's token, to be cloned into each message dealt.
    #[must_use]
    pub fn share(&self) -> &Arc<Share> {
        &self.share
    }

    /// The whole filter.
    #[must_use]
    pub fn filter(&self) -> &Arc<str> {
        &self.share.filter
    }

    /// Messages dealt and not yet done with.
    #[must_use]
    pub fn under_way(&self) -> usize {
        Arc::strong_count(&self.share) - 1
    }

    /// Begins anew with the owner. Returns the credit to tell it for a window of `window` messages.
    pub fn join(&mut self, window: u16) -> u16 {
        self.epoch = self.epoch.wrapping_add(1);
        self.is_congested = false;
        self.granted = self.missing(window, 0);
        self.granted
    }

    /// A message of QoS 1 or 2 that the owner dealt in `epoch` has come.
    pub fn dealt(&mut self, epoch: u32) {
        if epoch == self.epoch {
            self.granted = self.granted.saturating_sub(1);
        }
    }

    /// Credit worth telling the owner about: half of the window, or whatever there is when the
    /// owner has none left.
    pub fn more_credit(&mut self, window: u16) -> Option<u16> {
        let more = self.missing(window, self.granted);
        let worth_it = more > 0 && (self.granted == 0 || more >= window.div_ceil(2));
        if !worth_it {
            return None;
        }
        self.granted += more;
        Some(more)
    }

    fn missing(&self, window: u16, granted: u16) -> u16 {
        let taken = self.under_way() + usize::from(granted);
        let free = usize::from(window).saturating_sub(taken);
        u16::try_from(free).unwrap_or(u16::MAX)
    }
}

/// All shared subscriptions of one session, in the order they were made.
#[derive(Debug, Default)]
pub struct Memberships {
    list: Vec<Membership>,
}

impl Memberships {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// The membership of `filter`.
    pub fn of(&mut self, filter: &str) -> Option<&mut Membership> {
        self.list
            .iter_mut()
            .find(|member| **member.filter() == *filter)
    }

    /// The membership of `filter`, made if need be.
    pub fn enter(&mut self, filter: &str, owner: ShardId) -> &mut Membership {
        let place = self
            .list
            .iter()
            .position(|member| **member.filter() == *filter);
        let place = place.unwrap_or_else(|| {
            self.list.push(Membership::new(filter, owner));
            self.list.len() - 1
        });
        &mut self.list[place]
    }

    /// Takes the membership of `filter` out.
    pub fn remove(&mut self, filter: &str) -> Option<Membership> {
        let place = self
            .list
            .iter()
            .position(|member| **member.filter() == *filter)?;
        Some(self.list.remove(place))
    }

    /// What the limits of the session's queue are divided by for each of its groups: their number, rounded up to a power
    /// of two, so that seldom all of them have to be told.
    #[must_use]
    pub fn divisor(&self) -> usize {
        self.list.len().next_power_of_two()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Each of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Membership> {
        self.list.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership() -> Membership {
        Membership::new("$share/g/t", ShardId::new(0))
    }

    #[test]
    fn a_token_that_goes_gives_its_credit_back() {
        let mut member = membership();
        assert_eq!(member.join(4), 4);
        let tokens: Vec<_> = (0..4)
            .map(|_| {
                member.dealt(1);
                Arc::clone(member.share())
            })
            .collect();
        assert_eq!((member.under_way(), member.more_credit(4)), (4, None));
        drop(tokens);
        assert_eq!(member.more_credit(4), Some(4));
        assert_eq!(member.more_credit(4), None);
    }

    #[test]
    fn credit_is_told_by_the_half_window_unless_the_owner_has_none() {
        let mut member = membership();
        member.join(4);
        for _ in 0..1 {
            member.dealt(1);
        }
        assert_eq!(member.more_credit(4), None);
        member.dealt(1);
        assert_eq!(member.more_credit(4), Some(2));
        let mut single = membership();
        single.join(1);
        single.dealt(1);
        assert_eq!(single.more_credit(1), Some(1));
    }

    #[test]
    fn a_deal_of_an_earlier_joining_does_not_count() {
        let mut member = membership();
        member.join(2);
        assert_eq!(member.join(2), 2);
        member.dealt(1);
        assert_eq!(member.more_credit(2), None);
    }

    #[test]
    fn what_is_under_way_counts_against_the_next_joining() {
        let mut member = membership();
        member.join(3);
        let _token = Arc::clone(member.share());
        assert_eq!(member.join(3), 2);
    }
}
