use moat_policy::Source;
use rcgen::{CustomExtension, SanType};

use super::*;
use crate::tls::fixtures::{Authority, DAY, Leaf};

fn identity(leaf: Leaf, key: IdentityKey) -> Result<Identity, IdentityError> {
    identity_from_chain(&[Authority::root("root").issue(leaf).der()], key)
}

fn common_name(name: &str) -> Result<Identity, IdentityError> {
    identity(Leaf::client(name), IdentityKey::CommonName)
}

#[test]
fn the_common_name_is_the_identity() {
    let found = common_name("meter-1").unwrap();
    assert_eq!(&*found.name, "meter-1");
    assert_eq!(found.source, Source::Certificate);
    assert_eq!(found.username, None);
    let facts = found.certificate.unwrap();
    assert_eq!(facts.common_name.as_deref(), Some("meter-1"));
    assert!(!facts.issuer.is_empty() && !facts.serial.is_empty());
    let days_left = facts.not_after.duration_since(SystemTime::now()).unwrap();
    assert!(days_left > 89 * DAY && days_left < 91 * DAY);
    assert_eq!(found.expires_at, Some(facts.not_after));
}

#[test]
fn each_alternative_name_can_be_the_identity() {
    let leaf = || Leaf {
        sans: vec![
            SanType::DnsName("meter-1.example".try_into().unwrap()),
            SanType::URI("urn:meter:1".try_into().unwrap()),
            SanType::Rfc822Name("meter-1@example".try_into().unwrap()),
        ],
        ..Leaf::client("m")
    };
    for (key, expected) in [
        (IdentityKey::SanDns, "meter-1.example"),
        (IdentityKey::SanUri, "urn:meter:1"),
        (IdentityKey::SanEmail, "meter-1@example"),
        (IdentityKey::CommonName, "m"),
    ] {
        assert_eq!(&*identity(leaf(), key).unwrap().name, expected);
    }
}

#[test]
fn a_missing_or_repeated_field_is_no_identity() {
    use IdentityError as E;
    use IdentityKey as K;
    for key in [K::SanDns, K::SanUri, K::SanEmail] {
        assert_eq!(
            identity(Leaf::client("m"), key).unwrap_err(),
            E::Missing(key)
        );
    }
    let nameless = Leaf {
        common_names: Vec::new(),
        ..Leaf::client("")
    };
    assert_eq!(
        identity(nameless, K::CommonName).unwrap_err(),
        E::Missing(K::CommonName)
    );
    let two = Leaf {
        sans: vec![
            SanType::DnsName("a.example".try_into().unwrap()),
            SanType::DnsName("b.example".try_into().unwrap()),
        ],
        ..Leaf::client("m")
    };
    let key = K::SanDns;
    assert_eq!(
        identity(two, key).unwrap_err(),
        E::Several { key, count: 2 }
    );
}

#[test]
fn several_common_names_are_no_identity() {
    let leaf = || Leaf {
        common_names: vec!["meter-1".into(), "admin".into()],
        sans: vec![SanType::DnsName("m.example".try_into().unwrap())],
        ..Leaf::client("")
    };
    let key = IdentityKey::CommonName;
    let expected = IdentityError::Several { key, count: 2 };
    assert_eq!(identity(leaf(), key).unwrap_err(), expected);
    let by_dns = identity(leaf(), IdentityKey::SanDns).unwrap();
    assert_eq!(by_dns.certificate.unwrap().common_name, None);
}

#[test]
fn names_that_could_do_harm_are_refused() {
    use IdentityError as E;
    let key = IdentityKey::CommonName;
    assert_eq!(common_name("").unwrap_err(), E::Empty(key));
    for (name, character) in [("a+", '+'), ("#", '#'), ("a/b", '/')] {
        let value = name.to_owned();
        let expected = E::TopicCharacter {
            key,
            value,
            character,
        };
        assert_eq!(common_name(name).unwrap_err(), expected);
    }
    for name in ["a\nb", "a\0", "\u{1b}[2J", "a\u{85}"] {
        let value = name.to_owned();
        assert_eq!(
            common_name(name).unwrap_err(),
            E::ControlCharacter { key, value }
        );
    }
    assert_eq!(
        common_name(Identity::ANONYMOUS_NAME).unwrap_err(),
        E::Reserved(key)
    );
}

#[test]
fn the_longest_name_is_accepted_and_no_longer_one() {
    assert!(common_name(&"x".repeat(IDENTITY_BYTES_MAX)).is_ok());
    let (key, length) = (IdentityKey::CommonName, IDENTITY_BYTES_MAX + 1);
    assert_eq!(
        common_name(&"x".repeat(length)).unwrap_err(),
        IdentityError::TooLong { key, length }
    );
}

#[test]
fn garbage_is_unreadable_and_nothing_is_no_certificate() {
    let key = IdentityKey::CommonName;
    assert_eq!(
        identity_from_chain(&[], key).unwrap_err(),
        IdentityError::NoCertificate
    );
    let garbage = CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]);
    assert_eq!(
        identity_from_chain(&[garbage], key).unwrap_err(),
        IdentityError::Unreadable
    );
    let mut trailing = Authority::root("r").issue(Leaf::client("m")).der().to_vec();
    trailing.push(0);
    let trailing = CertificateDer::from(trailing);
    assert_eq!(
        identity_from_chain(&[trailing], key).unwrap_err(),
        IdentityError::Unreadable
    );
}

#[test]
fn broken_alternative_names_are_unreadable() {
    let leaf = Leaf {
        extensions: vec![CustomExtension::from_oid_content(
            &[2, 5, 29, 17],
            vec![0x30, 5, 0x82],
        )],
        ..Leaf::client("m")
    };
    assert_eq!(
        identity(leaf, IdentityKey::CommonName).unwrap_err(),
        IdentityError::Unreadable
    );
}
