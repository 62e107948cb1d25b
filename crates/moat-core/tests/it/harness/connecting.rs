//! How a client gets in: CONNECT, CONNACK, and the steps of an authentication method.

use std::net::SocketAddr;
use std::sync::Arc;

use moat_codec::{Connect, Packet, ReasonCode, Version};
use moat_core::ConnId;
use moat_core::session::Opening;
use moat_core::session::enhanced::AuthenticationStep;
use moat_core::shard::{AnotherIdentity, Arrival, Refused};
use moat_policy::Identity;

use super::*;

impl World {
    /// What the CONNECT asks for, as the driver keeps it.
    pub(crate) fn opening(connect: &Connect<'_>) -> Result<Opening, ReasonCode> {
        let bytes = encode(&Packet::Connect(connect.clone()), connect.version);
        let limits = moat_codec::Limits::default();
        let Packet::Connect(connect) = Packet::decode(&bytes, connect.version, &limits).unwrap()
        else {
            panic!("not a CONNECT")
        };
        Opening::of_packet(&connect, |method| method == METHOD, || "made-up".into())
    }

    pub(crate) fn open(
        &mut self,
        identity: &str,
        connect: &Connect<'_>,
    ) -> Result<Client, Refused> {
        let opening = Self::opening(connect).unwrap();
        let shard = self.topology.home(identity, &opening.client_id).index();
        let conn = ConnId {
            slot: self.wires.len() as u32,
            generation: 1,
        };
        self.wires.push(Wire::default());
        let arrival = Arrival {
            conn,
            address: SocketAddr::from(([127, 0, 0, 1], 1000 + conn.slot as u16)).into(),
            listener: "test".into(),
            tls: None,
            opening,
            identity: Arc::new(Identity::from_password(identity)),
            expires_at: self.expires_at,
        };
        let (shard_, fx) = (&mut self.shards[shard], &mut self.fx[shard]);
        let result = shard_.connect(arrival, self.now, fx);
        self.after_step();
        let version = connect.version;
        result.map(|at| Client {
            shard,
            at,
            conn,
            version,
        })
    }

    /// Connects; the CONNACK waits to be read.
    pub(crate) fn connect(&mut self, connect: &Connect<'_>) -> Client {
        self.open(ANNA, connect).unwrap()
    }

    /// Connects and reads the CONNACK.
    pub(crate) fn connected(&mut self, connect: &Connect<'_>) -> (Client, Granted) {
        let client = self.connect(connect);
        let granted = self.connack(client);
        (client, granted)
    }

    /// A clean session without anything special.
    pub(crate) fn client(&mut self, version: Version, client_id: &str) -> Client {
        self.connected(&Connect::new(version, client_id)).0
    }

    /// A session that lasts.
    pub(crate) fn lasting(&mut self, version: Version, client_id: &str) -> Client {
        self.connected(&lasting(version, client_id)).0
    }

    pub(crate) fn connack(&mut self, client: Client) -> Granted {
        self.drain(client);
        match self.wire(client).inbox.pop_front() {
            Some(Got::ConnAck(granted)) => granted,
            other => panic!("not a CONNACK: {other:?}"),
        }
    }

    // --- what a driver does for an authentication method ---

    /// What clients said for the mechanism: whether it begins, and the data.
    pub(crate) fn proofs(&mut self, client: Client) -> Vec<(bool, Option<Vec<u8>>)> {
        let steps = std::mem::take(&mut self.fx[client.shard].authentications);
        let of = |step: AuthenticationStep| {
            assert_eq!((step.conn, &*step.method), (client.conn, METHOD));
            (step.begins, step.data)
        };
        steps.into_iter().map(of).collect()
    }

    pub(crate) fn challenge(&mut self, client: Client, data: &[u8]) {
        let (shard, fx) = (&mut self.shards[client.shard], &mut self.fx[client.shard]);
        shard.challenge(client.at, data, self.now, fx);
        self.after_step();
    }

    pub(crate) fn proved(
        &mut self,
        client: Client,
        identity: &Identity,
    ) -> Result<(), AnotherIdentity> {
        let (shard, fx) = (&mut self.shards[client.shard], &mut self.fx[client.shard]);
        let identity = Arc::new(identity.clone());
        let kept = shard.reauthenticated(
            client.at,
            (identity, self.expires_at),
            Some(b"last"),
            self.now,
            fx,
        );
        self.after_step();
        kept
    }
}
