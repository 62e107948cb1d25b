//! What clients are sent: flushed as a driver does, decoded, and acknowledged where a test asks for it.

use moat_codec::{Framed, ReasonCode, frame};

use super::received::got;
use super::*;

impl World {
    /// Flushes what the client is owed, as often as there is more, and decodes it.
    pub(super) fn drain(&mut self, client: Client) {
        let mut first = true;
        while self.flush(client, first) {
            first = false;
        }
        let wire = self.wire(client);
        let mut used = 0;
        let limits = moat_codec::Limits::generous();
        while let Ok(Framed::Complete { total, .. }) = frame(&wire.incoming[used..], &limits) {
            let bytes = &wire.incoming[used..used + total];
            wire.inbox.push_back(got(bytes, client.version));
            used += total;
        }
        wire.incoming.drain(..used);
    }

    /// One write of the driver. Returns whether there was something to write.
    fn flush(&mut self, client: Client, must_be_dirty: bool) -> bool {
        let now = self.now;
        let shard = &mut self.shards[client.shard];
        let Some(link) = shard.link(client.at).filter(|l| l.conn == client.conn) else {
            return false;
        };
        if link.is_unannounced {
            return false;
        }
        let out = std::mem::take(&mut link.out);
        if out.is_empty() {
            return false;
        }
        let wire = &mut self.wires[client.conn.slot as usize];
        assert!(
            wire.dirty || !must_be_dirty,
            "the driver was not told to flush"
        );
        wire.dirty = false;
        wire.incoming.extend_from_slice(&out);
        shard.pool().give(out);
        shard.flushed(client.at, now, &mut self.fx[client.shard]);
        self.after_step();
        true
    }

    /// The bytes a client has been sent since the last look.
    pub(crate) fn raw(&mut self, client: Client) -> Vec<u8> {
        let mut first = true;
        while self.flush(client, first) {
            first = false;
        }
        std::mem::take(&mut self.wire(client).incoming)
    }

    /// Everything the client has been sent since the last look.
    pub(crate) fn read(&mut self, client: Client) -> Vec<Got> {
        self.drain(client);
        self.wire(client).inbox.drain(..).collect()
    }

    /// The next packet the client has been sent.
    pub(crate) fn read_one(&mut self, client: Client) -> Option<Got> {
        self.drain(client);
        self.wire(client).inbox.pop_front()
    }

    /// The PUBLISH packets of [`Self::read`], when there is nothing else.
    pub(crate) fn messages(&mut self, client: Client) -> Vec<Pub> {
        self.read(client)
            .into_iter()
            .map(|got| match got {
                Got::Publish(publish) => publish,
                other => panic!("not a PUBLISH: {other:?}"),
            })
            .collect()
    }

    /// The payloads of [`Self::messages`].
    pub(crate) fn payloads(&mut self, client: Client) -> Vec<String> {
        let messages = self.messages(client);
        messages.iter().map(|m| m.text().to_owned()).collect()
    }

    /// Reads and acknowledges until nothing more comes. Returns the messages.
    pub(crate) fn read_all(&mut self, client: Client) -> Vec<Pub> {
        let mut messages = Vec::new();
        loop {
            let got = self.read(client);
            if got.is_empty() {
                return messages;
            }
            for got in got {
                match got {
                    Got::Publish(publish) => {
                        match publish.qos {
                            1 => self.puback(client, publish.id),
                            2 => self.pubrec(client, publish.id),
                            _ => (),
                        }
                        messages.push(publish);
                    }
                    Got::PubRel(id, _) => self.pubcomp(client, id),
                    other => panic!("not part of a delivery: {other:?}"),
                }
            }
        }
    }

    /// The payloads of [`Self::read_all`].
    pub(crate) fn read_texts(&mut self, client: Client) -> Vec<String> {
        let messages = self.read_all(client);
        messages.iter().map(|m| m.text().to_owned()).collect()
    }

    /// Takes the first received packet that `pick` wants and leaves the others to be read.
    pub(crate) fn expect<T>(&mut self, client: Client, pick: impl Fn(&Got) -> Option<T>) -> T {
        self.drain(client);
        let inbox = &mut self.wire(client).inbox;
        let found = (0..inbox.len()).find_map(|i| Some((i, pick(&inbox[i])?)));
        let Some((place, picked)) = found else {
            panic!("not among what was received: {inbox:?}")
        };
        inbox.remove(place);
        picked
    }

    pub(crate) fn is_closed(&mut self, client: Client) -> bool {
        self.wire(client).closed
    }

    /// The reason of the DISCONNECT that closed a 5.0 connection, the last packet it got.
    pub(crate) fn goodbye(&mut self, client: Client) -> ReasonCode {
        assert!(self.is_closed(client), "still open");
        match self.read(client).pop() {
            Some(Got::Disconnect(reason)) => reason,
            other => panic!("not a DISCONNECT: {other:?}"),
        }
    }

    /// Unsent bytes for the client.
    pub(crate) fn unsent(&mut self, client: Client) -> usize {
        self.shards[client.shard].link(client.at).unwrap().out.len()
    }
}
