//! The simplest broker that does what the specification says: lists, searched from end to end. No shards, no
//! packets, no windows; a clock in whole seconds.

use moat_codec::Version;

/// Topics that are published to. The last ones are those of wills, one per client.
pub(crate) const TOPICS: [&str; 4] = ["x/a", "x/b", "x/a/c", "w/0"];
pub(crate) const FILTERS: [&str; 7] = ["x/a", "x/+", "x/#", "#", "w/#", "+/b", "w/0"];
/// Clients, and their wills' topics.
pub(crate) const WILL_TOPICS: [&str; 3] = ["w/0", "w/1", "w/2"];
/// The longest session expiry, in seconds.
pub(crate) const EXPIRY_MAX_SECS: u32 = 1000;

/// What is forbidden; everything else is allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Forbidden {
    #[default]
    Nothing,
    /// Publishing to a topic.
    Publish(&'static str),
    /// Publishing there with RETAIN.
    Retain(&'static str),
    /// Receiving from there.
    Subscribe(&'static str),
    /// Wills.
    Wills,
}

impl Forbidden {
    pub(crate) fn allows_publish(self, topic: &str, retain: bool) -> bool {
        match self {
            Self::Publish(of) => topic != of,
            Self::Retain(of) => topic != of || !retain,
            Self::Wills => !topic.starts_with("w/"),
            Self::Nothing | Self::Subscribe(_) => true,
        }
    }

    /// A filter is refused when one topic it matches is.
    fn allows_subscribe(self, filter: &str) -> bool {
        !matches!(self, Self::Subscribe(of) if matches(filter, of))
    }

    fn allows_receive(self, topic: &str) -> bool {
        !matches!(self, Self::Subscribe(of) if topic == of)
    }
}

/// [MQTT-4.7.1-1..4] level by level; no topic here begins with `$`.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    let (filter, topic): (Vec<&str>, Vec<&str>) =
        (filter.split('/').collect(), topic.split('/').collect());
    for (at, level) in filter.iter().enumerate() {
        match (*level, topic.get(at)) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(name)) if level == *name => {}
            _ => return false,
        }
    }
    filter.len() == topic.len()
}

/// A message as it was published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Message {
    pub(crate) topic: &'static str,
    pub(crate) payload: String,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// When it is over, in seconds.
    pub(crate) expires_at: Option<u64>,
}

/// A message as somebody gets it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Copy {
    pub(crate) message: Message,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) ids: Vec<u32>,
    /// Seconds it had left when it was sent.
    pub(crate) left: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Will {
    pub(crate) message: Message,
    pub(crate) expiry_secs: Option<u32>,
    pub(crate) delay_secs: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wish {
    pub(crate) filter: &'static str,
    pub(crate) qos: u8,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    /// 0, 1 or 2.
    pub(crate) retain_handling: u8,
    pub(crate) id: Option<u32>,
}

/// What a CONNECT asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Arrival {
    pub(crate) version: Version,
    pub(crate) clean: bool,
    /// Seconds the session may outlive the connection.
    pub(crate) expiry_secs: u32,
    pub(crate) will: Option<Will>,
}

#[derive(Default)]
struct Session {
    online: Option<Version>,
    /// As the CONNECT said, which bounds what a DISCONNECT may say [MQTT-3.14.2-2].
    connect_expiry_secs: u32,
    expiry_secs: u32,
    ends_at: Option<u64>,
    will: Option<Will>,
    will_at: Option<u64>,
    wishes: Vec<Wish>,
    queue: Vec<Copy>,
}

/// The broker.
#[derive(Default)]
pub(crate) struct Naive {
    now: u64,
    policy: Forbidden,
    sessions: [Option<Session>; WILL_TOPICS.len()],
    retained: Vec<Message>,
    /// What each client has been sent since somebody looked.
    pub(crate) sent: [Vec<Copy>; WILL_TOPICS.len()],
}

impl Naive {
    pub(crate) fn is_online(&self, who: usize) -> bool {
        self.version(who).is_some()
    }

    pub(crate) fn version(&self, who: usize) -> Option<Version> {
        self.sessions[who].as_ref()?.online
    }

    /// Whether a DISCONNECT may name a session expiry.
    pub(crate) fn may_change_expiry(&self, who: usize) -> bool {
        let session = self.sessions[who].as_ref();
        session.is_some_and(|session| session.connect_expiry_secs > 0)
    }

    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    pub(crate) fn sessions(&self) -> usize {
        self.sessions.iter().flatten().count()
    }

    pub(crate) fn retained(&self) -> usize {
        self.retained.len()
    }

    /// Returns whether a session was there, or nothing if the CONNECT is refused.
    pub(crate) fn connect(&mut self, who: usize, arrival: Arrival) -> Option<bool> {
        if let Some(will) = &arrival.will
            && !self
                .policy
                .allows_publish(will.message.topic, will.message.retain)
        {
            return None;
        }
        self.connection_ends(who);
        if arrival.clean {
            self.session_ends(who);
        }
        let present = self.sessions[who].is_some();
        let expiry_secs = arrival.expiry_secs.min(EXPIRY_MAX_SECS);
        let session = self.sessions[who].get_or_insert_default();
        session.online = Some(arrival.version);
        session.connect_expiry_secs = arrival.expiry_secs;
        session.expiry_secs = expiry_secs;
        session.will = arrival.will;
        // In time: the delayed will of the last connection is not sent [MQTT-3.1.3-9].
        session.will_at = None;
        session.ends_at = None;
        let waiting = std::mem::take(&mut session.queue);
        for copy in waiting {
            self.send(who, copy);
        }
        Some(present)
    }

    /// A DISCONNECT; `is_normal` is reason 0, which deletes the will [MQTT-3.14.4-3].
    pub(crate) fn disconnect(&mut self, who: usize, is_normal: bool, expiry_secs: Option<u32>) {
        if let Some(session) = self.sessions[who].as_mut() {
            if is_normal {
                session.will = None;
            }
            if let Some(secs) = expiry_secs {
                session.expiry_secs = secs.min(EXPIRY_MAX_SECS);
            }
        }
        self.connection_ends(who);
    }

    pub(crate) fn connection_ends(&mut self, who: usize) {
        let now = self.now;
        let Some(session) = self.sessions[who].as_mut() else {
            return;
        };
        if session.online.take().is_none() {
            return;
        }
        if session.expiry_secs == 0 {
            return self.session_ends(who);
        }
        session.ends_at = Some(now + u64::from(session.expiry_secs));
        session.will_at = session
            .will
            .as_ref()
            .map(|will| now + u64::from(will.delay_secs));
        self.will_if_due(who);
    }

    fn session_ends(&mut self, who: usize) {
        self.publish_will(who);
        self.sessions[who] = None;
    }

    fn will_if_due(&mut self, who: usize) {
        let session = self.sessions[who].as_ref();
        let due = session.and_then(|session| session.will_at);
        if due.is_some_and(|due| due <= self.now) {
            self.publish_will(who);
        }
    }

    fn publish_will(&mut self, who: usize) {
        let Some(session) = self.sessions[who].as_mut() else {
            return;
        };
        session.will_at = None;
        if let Some(mut will) = session.will.take() {
            let secs = will.expiry_secs.map(u64::from);
            will.message.expires_at = secs.map(|secs| self.now + secs);
            self.publish(who, &will.message);
        }
    }

    /// Returns whether it is allowed.
    pub(crate) fn publish(&mut self, from: usize, message: &Message) -> bool {
        if !self.policy.allows_publish(message.topic, message.retain) {
            return false;
        }
        if message.retain {
            self.retained.retain(|kept| kept.topic != message.topic);
            if !message.payload.is_empty() {
                self.retained.push(message.clone());
            }
        }
        for who in 0..self.sessions.len() {
            self.route(from, who, message);
        }
        true
    }

    /// One copy, with the highest QoS and all identifiers [MQTT-3.3.4-2..4].
    fn route(&mut self, from: usize, who: usize, message: &Message) {
        let Some(session) = self.sessions[who].as_mut() else {
            return;
        };
        let wishes: Vec<&Wish> = session
            .wishes
            .iter()
            .filter(|wish| matches(wish.filter, message.topic) && !(wish.no_local && from == who))
            .collect();
        let Some(highest) = wishes.iter().map(|wish| wish.qos).max() else {
            return;
        };
        let copy = Copy {
            message: message.clone(),
            qos: highest.min(message.qos),
            retain: message.retain && wishes.iter().any(|wish| wish.retain_as_published),
            ids: wishes.iter().filter_map(|wish| wish.id).collect(),
            left: None,
        };
        if session.online.is_some() {
            self.send(who, copy);
        } else if copy.qos > 0 {
            session.queue.push(copy);
        }
    }

    /// Sends unless it is over [MQTT-3.3.2-5].
    fn send(&mut self, who: usize, mut copy: Copy) {
        let over = copy.message.expires_at.is_some_and(|at| at <= self.now);
        copy.left = copy
            .message
            .expires_at
            .map(|at| at.saturating_sub(self.now));
        if !over {
            self.sent[who].push(copy);
        }
    }

    /// Returns whether it is granted. Before 3.1.1 a refusal ends the connection: there is no code for it.
    pub(crate) fn subscribe(&mut self, who: usize, wish: Wish) -> bool {
        if !self.policy.allows_subscribe(wish.filter) {
            if self.version(who) == Some(Version::V31) {
                self.connection_ends(who);
            }
            return false;
        }
        let Some(session) = self.sessions[who].as_mut() else {
            return false;
        };
        let place = session
            .wishes
            .iter()
            .position(|known| known.filter == wish.filter);
        let existed = place.is_some();
        match place {
            Some(place) => session.wishes[place] = wish.clone(),
            None => session.wishes.push(wish.clone()),
        }
        let wants = wish.retain_handling == 0 || (wish.retain_handling == 1 && !existed);
        if wants {
            for message in self.retained.clone() {
                if matches(wish.filter, message.topic) {
                    let copy = Copy {
                        qos: wish.qos.min(message.qos),
                        retain: true,
                        ids: wish.id.into_iter().collect(),
                        left: None,
                        message,
                    };
                    self.send(who, copy);
                }
            }
        }
        true
    }

    /// Returns whether there was such a subscription.
    pub(crate) fn unsubscribe(&mut self, who: usize, filter: &str) -> bool {
        let Some(session) = self.sessions[who].as_mut() else {
            return false;
        };
        let before = session.wishes.len();
        session.wishes.retain(|wish| wish.filter != filter);
        session.wishes.len() < before
    }

    /// Second by second, since nothing here is in a hurry.
    pub(crate) fn pass(&mut self, secs: u64) {
        for _ in 0..secs {
            self.now += 1;
            for who in 0..self.sessions.len() {
                self.will_if_due(who);
                let session = self.sessions[who].as_ref();
                let ends = session.and_then(|session| session.ends_at);
                if ends.is_some_and(|at| at <= self.now) {
                    self.session_ends(who);
                }
            }
        }
        let now = self.now;
        self.retained
            .retain(|message| message.expires_at.is_none_or(|at| at > now));
    }

    /// What is no longer allowed ends: subscriptions, and what waits.
    pub(crate) fn set_policy(&mut self, policy: Forbidden) {
        self.policy = policy;
        for session in self.sessions.iter_mut().flatten() {
            session
                .wishes
                .retain(|wish| policy.allows_subscribe(wish.filter));
            session
                .queue
                .retain(|copy| policy.allows_receive(copy.message.topic));
        }
    }
}
