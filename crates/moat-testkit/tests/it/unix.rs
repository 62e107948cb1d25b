//! Unix sockets: who is at the other end. Everything else is with the other transports.

use moat_codec::{Connect, Packet};
use moat_events::{Event, PeerAddress, PeerCredentials};
use moat_testkit::broker::{TestBroker, Transport};

#[test]
fn the_address_of_a_client_is_its_process_user_and_group() {
    let broker = TestBroker::builder().start();
    let mut client = broker.client(Transport::Unix);
    client.send_packet(&Packet::Connect(Connect::new(client.version, "local")));
    let (address, listener) = broker.wait_for(|event| match event {
        Event::ClientConnected {
            address, listener, ..
        } => Some((*address, listener.clone())),
        _ => None,
    });
    assert_eq!(listener, "unix");
    assert_eq!(address, client.address());
    let PeerAddress::Unix(PeerCredentials { pid, .. }) = address else {
        panic!("{address}");
    };
    assert_eq!(pid, std::process::id());
    broker.stop();
}

#[test]
fn the_limit_of_an_address_is_that_of_a_user() {
    let broker = TestBroker::builder()
        .admission(|limits| limits.unauthenticated_per_address_max = 2)
        .start();
    let _held = [(); 2].map(|()| broker.client(Transport::Unix));
    let mut refused = broker.client(Transport::Unix);
    refused.expect_closed();
    // Who comes by TCP is somebody else.
    let mut client = broker.client(Transport::Plain);
    client.send_packet(&Packet::Connect(Connect::new(client.version, "by-tcp")));
    client.recv(|packet| assert!(matches!(packet, Packet::ConnAck(_)), "{packet:?}"));
    broker.stop();
}
