//! What clients do: every packet they send, and how they go.

use moat_codec::{
    Ack, Disconnect, Packet, Publish, ReasonCode, SubscriptionOptions, TopicFilter, Unsubscribe,
};
use moat_core::shard::Then;

use super::packets::subscribe_packet;
use super::*;

impl World {
    pub(crate) fn send_raw(&mut self, client: Client, bytes: &[u8]) -> Then {
        self.wire(client).input.extend_from_slice(bytes);
        self.resume(client)
    }

    /// Hands over what was sent and not used up, as a driver does after a pause.
    pub(crate) fn resume(&mut self, client: Client) -> Then {
        if self.wire(client).closed {
            return Then::Closed;
        }
        let input = std::mem::take(&mut self.wire(client).input);
        let (shard, fx) = (&mut self.shards[client.shard], &mut self.fx[client.shard]);
        let received = shard.receive(client.at, &input, self.now, fx);
        self.wire(client).input = input[received.consumed..].to_vec();
        self.after_step();
        received.then
    }

    pub(crate) fn send(&mut self, client: Client, packet: &Packet<'_>) -> Then {
        self.send_raw(client, &encode(packet, client.version))
    }

    /// Sends a packet that is handled at once and leaves the connection open.
    pub(crate) fn sent(&mut self, client: Client, packet: &Packet<'_>) {
        let then = self.send(client, packet);
        assert!(
            matches!(then, Then::NeedMore(_)),
            "{then:?} after {packet:?}"
        );
    }

    pub(crate) fn next_id(&mut self, client: Client) -> u16 {
        let wire = self.wire(client);
        wire.last_id += 1;
        wire.last_id
    }

    /// Publishes, up to the end of the flow. Returns the reason code of PUBACK or PUBREC.
    pub(crate) fn publish(
        &mut self,
        client: Client,
        topic: &str,
        payload: &str,
        qos: u8,
    ) -> ReasonCode {
        self.publish_with(client, topic, payload, qos, |_| ())
    }

    pub(crate) fn publish_with<'a>(
        &mut self,
        client: Client,
        topic: &'a str,
        payload: &'a str,
        qos: u8,
        change: impl FnOnce(&mut Publish<'a>),
    ) -> ReasonCode {
        let id = self.next_id(client);
        let mut publish = message(topic, payload, qos, id);
        change(&mut publish);
        self.sent(client, &Packet::Publish(publish));
        let reason = match qos {
            0 => return ReasonCode::Success,
            1 => self.expect(client, |got| match got {
                Got::PubAck(_, reason) => Some(*reason),
                _ => None,
            }),
            _ => self.expect(client, |got| match got {
                Got::PubRec(of, reason) if *of == id => Some(*reason),
                _ => None,
            }),
        };
        if qos == 2 && !reason.is_error() {
            self.pubrel(client, id);
            let done = self.expect(client, |got| match got {
                Got::PubComp(of, reason) if *of == id => Some(*reason),
                _ => None,
            });
            assert_eq!(done, ReasonCode::Success);
        }
        reason
    }

    pub(crate) fn retain(
        &mut self,
        client: Client,
        topic: &str,
        payload: &str,
        qos: u8,
    ) -> ReasonCode {
        self.publish_with(client, topic, payload, qos, |p| p.retain = true)
    }

    pub(crate) fn puback(&mut self, client: Client, id: u16) {
        self.sent(client, &Packet::PubAck(Ack::new(packet_id(id))));
    }

    pub(crate) fn pubrec(&mut self, client: Client, id: u16) {
        self.sent(client, &Packet::PubRec(Ack::new(packet_id(id))));
    }

    pub(crate) fn pubrel(&mut self, client: Client, id: u16) {
        self.sent(client, &Packet::PubRel(Ack::new(packet_id(id))));
    }

    pub(crate) fn pubcomp(&mut self, client: Client, id: u16) {
        self.sent(client, &Packet::PubComp(Ack::new(packet_id(id))));
    }

    /// Subscribes and returns the reason code of the SUBACK; what follows it stays to be read.
    pub(crate) fn subscribe(&mut self, client: Client, filter: &str, qos: u8) -> ReasonCode {
        self.subscribe_with(client, filter, options(qos), None)
    }

    pub(crate) fn subscribe_with(
        &mut self,
        client: Client,
        filter: &str,
        options: SubscriptionOptions,
        subscription_id: Option<u32>,
    ) -> ReasonCode {
        self.send_subscribe(client, &[(filter, options)], subscription_id);
        let reasons = self.expect(client, |got| match got {
            Got::SubAck(_, reasons) => Some(reasons.clone()),
            _ => None,
        });
        assert_eq!(reasons.len(), 1);
        reasons[0]
    }

    /// Sends a SUBSCRIBE and does not wait for its SUBACK. Returns its packet identifier.
    pub(crate) fn send_subscribe(
        &mut self,
        client: Client,
        filters: &[(&str, SubscriptionOptions)],
        subscription_id: Option<u32>,
    ) -> u16 {
        let id = self.next_id(client);
        let bytes = encode(
            &subscribe_packet(id, filters, subscription_id, &mut Vec::new()),
            client.version,
        );
        self.send_raw(client, &bytes);
        id
    }

    /// The codes of a SUBACK, which has to be all that the client was sent.
    pub(crate) fn suback(&mut self, client: Client) -> Vec<ReasonCode> {
        let mut got = self.read(client);
        match (got.pop(), got.is_empty()) {
            (Some(Got::SubAck(_, codes)), true) => codes,
            (last, _) => panic!("not one SUBACK: {got:?}, {last:?}"),
        }
    }

    pub(crate) fn unsubscribe(&mut self, client: Client, filter: &str) -> Vec<ReasonCode> {
        let id = self.next_id(client);
        let filters = [TopicFilter::new(filter, &moat_codec::Limits::generous()).unwrap()];
        self.sent(
            client,
            &Packet::Unsubscribe(Unsubscribe::new(packet_id(id), &filters)),
        );
        self.expect(client, |got| match got {
            Got::UnsubAck(_, reasons) => Some(reasons.clone()),
            _ => None,
        })
    }

    pub(crate) fn disconnect(&mut self, client: Client) {
        self.disconnect_with(client, Disconnect::new(ReasonCode::NORMAL_DISCONNECTION));
    }

    pub(crate) fn disconnect_with(&mut self, client: Client, disconnect: Disconnect<'_>) {
        let then = self.send(client, &Packet::Disconnect(disconnect));
        assert_eq!(then, Then::Closed);
    }

    /// The network connection is gone without a word.
    pub(crate) fn lose(&mut self, client: Client) {
        self.wire(client).closed = true;
        let (shard, fx) = (&mut self.shards[client.shard], &mut self.fx[client.shard]);
        shard.connection_lost(client.at, "lost", self.now, fx);
        self.after_step();
    }
}
