use super::*;

const GOOD: &str = "GET /mqtt HTTP/1.1\r\nHost: broker.example:8084\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

fn rules() -> Rules {
    Rules {
        path: "/mqtt".to_owned(),
        origins: vec!["https://pages.example".to_owned()],
        frame_bytes_max: 1000,
    }
}

fn judged(head: &str) -> Result<Accepted, Refusal> {
    judge(head.as_bytes(), &rules())
}

/// The good request with something else in the place of `what`.
fn with(what: &str, instead: &str) -> Result<Accepted, Refusal> {
    assert!(GOOD.contains(what), "{what}");
    judged(&GOOD.replacen(what, instead, 1))
}

/// The good request with more fields.
fn and(fields: &str) -> Result<Accepted, Refusal> {
    with("\r\n\r\n", &format!("\r\n{fields}\r\n\r\n"))
}

#[test]
fn the_key_of_the_rfc_is_accepted_with_the_proof_of_the_rfc() {
    let mut out = Vec::new();
    judged(GOOD).unwrap().write(&mut out);
    let answer = String::from_utf8(out).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert!(answer.contains("\r\nSec-WebSocket-Protocol: mqtt\r\n"));
    assert!(answer.ends_with("\r\n\r\n"));
}

#[test]
fn names_and_tokens_are_read_in_any_case_and_a_query_is_ignored() {
    assert!(with("Upgrade: websocket", "uPGRADE:WebSocket").is_ok());
    assert!(with("keep-alive, Upgrade", "upgrade ,\tkeep-alive").is_ok());
    assert!(with("/mqtt ", "/mqtt?device=7 ").is_ok());
}

#[test]
fn the_subprotocol_is_chosen_among_those_offered() {
    for (offer, chosen) in [
        ("chat, mqtt", "mqtt"),
        ("mqttv3.1", "mqttv3.1"),
        ("mqttv3.1, mqtt", "mqtt"),
        ("chat\r\nSec-WebSocket-Protocol: mqtt", "mqtt"),
    ] {
        let accepted = with("mqtt\r\n\r\n", &format!("{offer}\r\n\r\n")).unwrap();
        assert_eq!(accepted.subprotocol, chosen, "{offer}");
    }
    for offer in ["chat", "MQTT", "mqttv5"] {
        let refused = with("mqtt\r\n\r\n", &format!("{offer}\r\n\r\n"));
        assert_eq!(refused, Err(Refusal::Subprotocol), "{offer}");
    }
    let none = with("Sec-WebSocket-Protocol: mqtt\r\n", "");
    assert_eq!(none, Err(Refusal::Subprotocol));
}

#[test]
fn each_thing_that_is_wrong_has_its_answer() {
    for (refused, refusal, status) in [
        (with("GET", "POST"), Refusal::Method, "405"),
        (with("/mqtt", "/"), Refusal::Path, "404"),
        (with("/mqtt", "/mqtt/"), Refusal::Path, "404"),
        (
            with("Host: broker.example:8084\r\n", ""),
            Refusal::Host,
            "400",
        ),
        (and("Host: other"), Refusal::Host, "400"),
        (
            with("Upgrade: websocket\r\n", ""),
            Refusal::NotAnUpgrade,
            "426",
        ),
        (
            with("Upgrade: websocket", "Upgrade: h2c"),
            Refusal::NotAnUpgrade,
            "426",
        ),
        (
            with("keep-alive, Upgrade", "close"),
            Refusal::NotAnUpgrade,
            "426",
        ),
        (with("Version: 13", "Version: 8"), Refusal::Version, "426"),
        (
            with("Sec-WebSocket-Version: 13\r\n", ""),
            Refusal::Version,
            "426",
        ),
        (
            with("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="),
            Refusal::Key,
            "400",
        ),
        (with("dGhlIHNhbXBsZSBub25jZQ==", "!"), Refusal::Key, "400"),
        (
            and("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
            Refusal::Key,
            "400",
        ),
        (and("Content-Length: 3"), Refusal::Body, "400"),
        (and("Transfer-Encoding: chunked"), Refusal::Body, "400"),
        (and("Origin: https://evil.example"), Refusal::Origin, "403"),
    ] {
        assert_eq!(refused, Err(refusal));
        assert!(refusal.status().starts_with(status), "{refusal}");
    }
}

#[test]
fn a_page_needs_a_listed_origin_or_the_very_host_and_port() {
    for allowed in [
        "https://pages.example",
        "HTTPS://PAGES.example",
        "https://broker.example:8084",
        "http://Broker.example:8084",
    ] {
        assert!(and(&format!("Origin: {allowed}")).is_ok(), "{allowed}");
    }
    for other in [
        "",
        "null",
        "https://",
        "broker.example:8084",
        "https://broker.example",
        "http://pages.example",
        "https://pages.example:8443",
        "https://pages.example.evil.example",
        "https://pages.example\r\nOrigin: https://pages.example",
    ] {
        assert_eq!(
            and(&format!("Origin: {other}")),
            Err(Refusal::Origin),
            "{other}"
        );
    }
}

#[test]
fn what_is_not_http_1_1_to_the_letter_is_malformed() {
    for (what, instead) in [
        ("HTTP/1.1", "HTTP/1.0"),
        ("HTTP/1.1", "HTTP/2.0"),
        ("GET ", "GET  "),
        (" HTTP/1.1", ""),
        ("GET /mqtt", "GET /m\u{e9}"),
        ("Host:", "Host :"),
        ("Host:", "Ho st:"),
        ("Host:", ":"),
        ("Host: ", "no field\r\nHost: "),
        ("Upgrade: websocket", " folded\r\nUpgrade: websocket"),
        ("broker", "bro\nker"),
        ("broker", "bro\rker"),
        ("broker", "bro\0ker"),
    ] {
        assert_eq!(with(what, instead), Err(Refusal::Malformed), "{instead:?}");
    }
}

#[test]
fn fields_are_counted() {
    let fields = |count: usize| and(&vec!["X: y"; count].join("\r\n"));
    let in_it = GOOD.matches(": ").count();
    assert!(fields(HEADERS_MAX - in_it).is_ok());
    assert_eq!(
        fields(HEADERS_MAX - in_it + 1),
        Err(Refusal::TooManyHeaders)
    );
}

#[test]
fn a_refusal_is_a_whole_answer_that_closes() {
    for (refusal, field) in [
        (Refusal::Method, "\r\nAllow: GET\r\n"),
        (Refusal::Version, "\r\nSec-WebSocket-Version: 13\r\n"),
        (Refusal::NotAnUpgrade, "\r\nUpgrade: websocket\r\n"),
        (Refusal::Path, "\r\nConnection: close\r\n"),
    ] {
        let mut out = Vec::new();
        write_refusal(refusal, &mut out);
        let answer = String::from_utf8(out).unwrap();
        assert!(answer.contains(field), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {}\r\n", refusal.status())));
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
    }
}
