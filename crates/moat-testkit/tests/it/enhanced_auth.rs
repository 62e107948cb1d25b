//! AUTH packets: the exchange before a session, and the proof that is given again (MQTT 5.0 section 4.12).

use std::num::NonZeroU32;

use moat_codec::{Auth, Connect, Disconnect, Packet, QoS, ReasonCode, Version};
use moat_events::Event;
use moat_testkit::TestBroker;
use moat_testkit::broker::{Builder, Transport};
use moat_testkit::mechanism::{ChallengeResponse, METHOD, answer, last_word};
use moat_testkit::raw::RawClient;

everywhere!(
    mqtt5_4_12_0_5__an_exchange_ends_in_a_session_with_method_and_last_word,
    mqtt5_4_12_0_4__a_wrong_answer_is_refused,
    mqtt5_4_12_0_1__a_method_nobody_knows_is_refused,
    mqtt5_3_1_2_30__nothing_else_may_come_before_the_connack,
    mqtt5_4_12_0_3__an_auth_of_another_reason_or_method_is_refused,
    a_goodbye_in_the_middle_of_an_exchange_ends_it,
    an_exchange_counts_against_the_connect_timeout,
    a_challenge_that_does_not_fit_the_client_is_refused,
    another_user_name_than_the_one_that_was_proved_is_refused,
    mqtt5_4_12_1__a_client_proves_again_who_it_is_while_its_messages_go_on,
    mqtt5_4_12_1_2__a_wrong_proof_later_ends_the_connection,
    a_client_cannot_become_somebody_else,
    mqtt5_4_12_0_7__auth_without_a_method_is_a_protocol_error,
);

const SECRET: &str = "anna's secret";
const OTHER: &str = "bert's secret";

fn broker(shards: usize) -> Builder {
    let secrets = [("anna", SECRET), ("bert", OTHER)];
    let builder = TestBroker::builder().shards(shards).identity_required();
    builder.mechanism(ChallengeResponse::new(&secrets))
}

fn opening<'a>(client_id: &'a str, name: &'a str) -> Connect<'a> {
    let mut connect = Connect::new(Version::V5, client_id);
    connect.properties.authentication_method = Some(METHOD);
    connect.properties.authentication_data = Some(name.as_bytes());
    connect
}

fn say(client: &mut RawClient, reason: ReasonCode, method: &str, data: &[u8]) {
    client.send_packet(&Packet::Auth(Auth {
        authentication_method: Some(method),
        authentication_data: Some(data),
        ..Auth::new(reason)
    }));
}

/// The reason and the data of an AUTH, which names the method.
fn hear(client: &mut RawClient) -> (ReasonCode, Vec<u8>) {
    client.recv(|packet| match packet {
        Packet::Auth(auth) => {
            // [MQTT-4.12.0-5]
            assert_eq!(auth.authentication_method, Some(METHOD));
            let data = auth.authentication_data.unwrap_or_default().to_vec();
            (auth.reason, data)
        }
        other => panic!("not an AUTH: {other:?}"),
    })
}

/// Sends a CONNECT and returns the challenge.
fn challenged(client: &mut RawClient, connect: &Connect<'_>) -> Vec<u8> {
    client.send_packet(&Packet::Connect(connect.clone()));
    let (reason, challenge) = hear(client);
    // [MQTT-4.12.0-2]
    assert_eq!(reason, ReasonCode::ContinueAuthentication);
    challenge
}

/// A client with a session.
fn connected(broker: &TestBroker, transport: Transport, client_id: &str) -> RawClient {
    let mut client = broker.client(transport);
    let challenge = challenged(&mut client, &opening(client_id, "anna"));
    let proof = answer(SECRET, &challenge);
    say(
        &mut client,
        ReasonCode::ContinueAuthentication,
        METHOD,
        &proof,
    );
    assert_eq!(client.connack(), ReasonCode::Success);
    client
}

fn failure(broker: &TestBroker) -> (String, String) {
    broker.wait_for(|event| match event {
        Event::AuthenticationFailed { method, reason, .. } => {
            Some((method.clone(), reason.clone()))
        }
        _ => None,
    })
}

/// Proves 5.0 [MQTT-4.12.0-2] [MQTT-4.12.0-5].
fn mqtt5_4_12_0_5__an_exchange_ends_in_a_session_with_method_and_last_word(
    transport: Transport,
    shards: usize,
) {
    let broker = broker(shards).start();
    let mut client = broker.client(transport);
    let challenge = challenged(&mut client, &opening("device", "anna"));
    let proof = answer(SECRET, &challenge);
    say(
        &mut client,
        ReasonCode::ContinueAuthentication,
        METHOD,
        &proof,
    );
    client.recv(|packet| {
        let Packet::ConnAck(connack) = packet else {
            panic!("not a CONNACK: {packet:?}")
        };
        assert_eq!(connack.reason, ReasonCode::Success);
        let properties = connack.properties;
        assert_eq!(properties.authentication_method, Some(METHOD));
        let last = last_word(SECRET, &challenge);
        assert_eq!(properties.authentication_data, Some(&*last));
    });
    let identity = broker.wait_for(|event| match event {
        Event::ClientConnected { identity, .. } => Some(identity.clone()),
        _ => None,
    });
    assert_eq!(identity, "anna");
    client.subscribe("t", QoS::AtMostOnce);
    client.publish("t", b"in", QoS::AtMostOnce, 0);
    assert_eq!(client.message().payload, b"in");
    broker.stop();
}

/// Proves 5.0 [MQTT-4.12.0-4].
fn mqtt5_4_12_0_4__a_wrong_answer_is_refused(transport: Transport, shards: usize) {
    let broker = broker(shards).start();
    let mut client = broker.client(transport);
    let challenge = challenged(&mut client, &opening("device", "anna"));
    let proof = answer(OTHER, &challenge);
    say(
        &mut client,
        ReasonCode::ContinueAuthentication,
        METHOD,
        &proof,
    );
    assert_eq!(client.connack(), ReasonCode::NotAuthorized);
    client.expect_closed();
    let (method, reason) = failure(&broker);
    assert_eq!(method, "enhanced");
    assert!(reason.contains("wrong"), "{reason}");

    let mut nobody = broker.client(transport);
    let reason = nobody.connect_with(&opening("device", "nobody"));
    assert_eq!(reason, ReasonCode::NotAuthorized);
    nobody.expect_closed();
    broker.stop();
}

/// Proves 5.0 [MQTT-4.12.0-1].
fn mqtt5_4_12_0_1__a_method_nobody_knows_is_refused(transport: Transport, shards: usize) {
    let broker = broker(shards).start();
    for method in ["SCRAM-SHA-256", "moat-test", ""] {
        let mut client = broker.client(transport);
        let mut connect = opening("device", "anna");
        connect.properties.authentication_method = Some(method);
        let reason = client.connect_with(&connect);
        assert_eq!(reason, ReasonCode::BadAuthenticationMethod);
        client.expect_closed();
    }
    broker.stop();
}

fn mqtt5_3_1_2_30__nothing_else_may_come_before_the_connack(transport: Transport, shards: usize) {
    let broker = broker(shards).start();
    let mut client = broker.client(transport);
    challenged(&mut client, &opening("device", "anna"));
    client.send_packet(&Packet::PingReq);
    assert_eq!(client.connack(), ReasonCode::ProtocolError);
    client.expect_closed();

    // Behind the last answer, in the same bytes.
    let mut client = broker.client(transport);
    let challenge = challenged(&mut client, &opening("device", "anna"));
    let proof = answer(SECRET, &challenge);
    let auth = Auth {
        authentication_method: Some(METHOD),
        authentication_data: Some(&proof),
        ..Auth::new(ReasonCode::ContinueAuthentication)
    };
    let mut bytes = Vec::new();
    auth.encode(Version::V5, &mut bytes).unwrap();
    bytes.extend_from_slice(&[0xC0, 0]);
    client.send(&bytes);
    assert_eq!(client.connack(), ReasonCode::ProtocolError);
    client.expect_closed();
    assert_eq!(broker.report().sizes.sessions, 0);
    broker.stop();
}

/// Proves 5.0 [MQTT-4.12.0-5].
fn mqtt5_4_12_0_3__an_auth_of_another_reason_or_method_is_refused(
    transport: Transport,
    shards: usize,
) {
    let broker = broker(shards).start();
    for (reason, method) in [
        (ReasonCode::ReAuthenticate, METHOD),
        (ReasonCode::Success, METHOD),
        (ReasonCode::ContinueAuthentication, "OTHER"),
    ] {
        let mut client = broker.client(transport);
        let challenge = challenged(&mut client, &opening("device", "anna"));
        say(&mut client, reason, method, &answer(SECRET, &challenge));
        assert_eq!(client.connack(), ReasonCode::ProtocolError);
        client.expect_closed();
    }
    broker.stop();
}

fn a_goodbye_in_the_middle_of_an_exchange_ends_it(transport: Transport, shards: usize) {
    let broker = broker(shards).start();
    let mut client = broker.client(transport);
    challenged(&mut client, &opening("device", "anna"));
    let goodbye = Disconnect::new(ReasonCode::NORMAL_DISCONNECTION);
    client.send_packet(&Packet::Disconnect(goodbye));
    client.expect_closed();
    broker.stop();
}

fn an_exchange_counts_against_the_connect_timeout(transport: Transport, shards: usize) {
    let broker = broker(shards).connect_timeout_secs(1).start();
    let mut client = broker.client(transport);
    challenged(&mut client, &opening("device", "anna"));
    client.expect_closed();
    broker.wait_for(|event| match event {
        Event::ConnectionRefused { reason, .. } => {
            reason.contains("connect_timeout_secs").then_some(())
        }
        _ => None,
    });
    broker.stop();
}

fn a_challenge_that_does_not_fit_the_client_is_refused(transport: Transport, shards: usize) {
    let broker = broker(shards).start();
    let mut client = broker.client(transport);
    let mut connect = opening("device", "anna");
    connect.properties.maximum_packet_size = NonZeroU32::new(40);
    assert_eq!(client.connect_with(&connect), ReasonCode::PacketTooLarge);
    client.expect_closed();
    broker.stop();
}

/// Proves 5.0 [MQTT-4.12.0-4].
fn another_user_name_than_the_one_that_was_proved_is_refused(transport: Transport, shards: usize) {
    let broker = broker(shards).start();
    let mut client = broker.client(transport);
    let mut connect = opening("device", "anna");
    connect.username = Some("bert");
    let challenge = challenged(&mut client, &connect);
    let proof = answer(SECRET, &challenge);
    say(
        &mut client,
        ReasonCode::ContinueAuthentication,
        METHOD,
        &proof,
    );
    assert_eq!(client.connack(), ReasonCode::BadUserNameOrPassword);
    client.expect_closed();
    broker.stop();
}

fn mqtt5_4_12_1__a_client_proves_again_who_it_is_while_its_messages_go_on(
    transport: Transport,
    shards: usize,
) {
    let broker = broker(shards).start();
    let mut client = connected(&broker, transport, "device");
    client.subscribe("t", QoS::AtMostOnce);
    for round in 0..3_u8 {
        say(&mut client, ReasonCode::ReAuthenticate, METHOD, b"anna");
        let (reason, challenge) = hear(&mut client);
        assert_eq!(reason, ReasonCode::ContinueAuthentication);
        client.publish("t", &[round], QoS::AtMostOnce, 0);
        assert_eq!(client.message().payload, [round]);
        let proof = answer(SECRET, &challenge);
        say(
            &mut client,
            ReasonCode::ContinueAuthentication,
            METHOD,
            &proof,
        );
        let done = (ReasonCode::Success, last_word(SECRET, &challenge));
        assert_eq!(hear(&mut client), done);
    }
    client.ping();
    broker.stop();
}

/// Proves 5.0 [MQTT-4.12.1-1] [MQTT-4.12.1-2].
fn mqtt5_4_12_1_2__a_wrong_proof_later_ends_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards).start();
    let mut client = connected(&broker, transport, "device");
    say(&mut client, ReasonCode::ReAuthenticate, METHOD, b"anna");
    let (_, challenge) = hear(&mut client);
    let proof = answer(OTHER, &challenge);
    say(
        &mut client,
        ReasonCode::ContinueAuthentication,
        METHOD,
        &proof,
    );
    assert_eq!(client.expect_disconnect(), ReasonCode::NotAuthorized);
    client.expect_closed();
    assert_eq!(failure(&broker).0, "enhanced");

    // [MQTT-4.12.1-1]
    let mut client = connected(&broker, transport, "device");
    say(&mut client, ReasonCode::ReAuthenticate, "OTHER", b"anna");
    assert_eq!(client.expect_disconnect(), ReasonCode::ProtocolError);
    client.expect_closed();
    broker.stop();
}

fn a_client_cannot_become_somebody_else(transport: Transport, shards: usize) {
    let broker = broker(shards).start();
    let mut client = connected(&broker, transport, "device");
    say(&mut client, ReasonCode::ReAuthenticate, METHOD, b"bert");
    let (_, challenge) = hear(&mut client);
    let proof = answer(OTHER, &challenge);
    say(
        &mut client,
        ReasonCode::ContinueAuthentication,
        METHOD,
        &proof,
    );
    assert_eq!(client.expect_disconnect(), ReasonCode::NotAuthorized);
    client.expect_closed();
    assert!(failure(&broker).1.contains("another identity"));
    broker.stop();
}

/// Proves 5.0 [MQTT-4.12.0-7].
fn mqtt5_4_12_0_7__auth_without_a_method_is_a_protocol_error(transport: Transport, shards: usize) {
    let broker = TestBroker::builder()
        .shards(shards)
        .mechanism(ChallengeResponse::new(&[("anna", SECRET)]))
        .start();
    let mut client = broker.client(transport);
    client.hello("device");
    say(&mut client, ReasonCode::ReAuthenticate, METHOD, b"anna");
    assert_eq!(client.expect_disconnect(), ReasonCode::ProtocolError);
    client.expect_closed();
    broker.stop();
}
