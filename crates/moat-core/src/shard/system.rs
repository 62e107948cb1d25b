//! What the broker says about itself, below `$SYS/`.

use std::sync::Arc;

use moat_codec::{Limits, QoS, Resolved, TopicName};
use moat_policy::Identity;

use super::{PeerMessage, Shard};
use crate::effects::Effects;
use crate::message::{Message, Outgoing};
use crate::time::Time;

impl Shard {
    /// Publishes a value of the broker itself, retained and with QoS 0: what is old by the time a client comes back is
    /// not worth a place in its queue.
    ///
    /// Like every retained message it goes by way of the shard that owns its topic. Neither rates nor the limits of
    /// retained messages hold for it: there are as many as `SysTree` has names.
    pub fn publish_system(&mut self, topic: &str, payload: &[u8], now: Time, fx: &mut Effects) {
        // By the limits of the codec, not by the operator's: clients may well be allowed fewer levels.
        let Ok(name) = TopicName::new(topic, &Limits::default()) else {
            return;
        };
        let resolved = Resolved::new(name, payload, QoS::AtMostOnce, true);
        let Some(publish) = self.policy.authorize_system(resolved) else {
            return;
        };
        let broker: Arc<str> = Identity::BROKER_NAME.into();
        let message = Arc::new(Message::new(&publish, &broker, now));
        let owner = self.topology.owner(topic);
        if owner == self.id {
            self.own_system(&message, now, fx);
        } else {
            fx.tell(owner, PeerMessage::System { message });
        }
    }

    /// Keeps and fans out a value whose topic this shard owns.
    pub(super) fn own_system(&mut self, message: &Arc<Message>, now: Time, fx: &mut Effects) {
        self.retained.set_system(message);
        for shard in self.interest.shards_wanting(message.topic()).iter() {
            let message = Arc::clone(message);
            fx.tell(shard, PeerMessage::SystemDeliver { message });
        }
        self.fan_out_system(message, now, fx);
    }

    /// Hands a value to the sessions and groups here that want it.
    pub(super) fn fan_out_system(&mut self, message: &Arc<Message>, now: Time, fx: &mut Effects) {
        let (mut delivery, frames, _) = self.delivery();
        let mut outgoing = Outgoing::of_message(message, frames, now);
        delivery.deliver(&mut outgoing, None, fx);
    }
}
