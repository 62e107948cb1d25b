use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use moat_pki::{Kind, PkiError, RenewReason, SERVER_RENEW_BEFORE_DAYS, San, host_names};

use crate::{DAY, NOW, authority, now, openssl, openssl_time, x509_text};

fn names(texts: &[&str]) -> Vec<San> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn openssl_accepts_the_server_certificate_for_its_names() {
    let (_data, authority) = authority();
    let wanted = names(&["broker.example.com", "192.168.99.186", "2001:db8::1"]);
    let files = authority
        .ensure_server_certificate(&wanted, now(), SERVER_RENEW_BEFORE_DAYS)
        .unwrap();
    assert_eq!(files.renewed, Some(RenewReason::Absent));
    let (leaf, ca) = (files.certificate.to_str().unwrap(), authority.ca_path());
    let (ca, at) = (ca.to_str().unwrap(), NOW.as_secs().to_string());
    for check in [
        ["-verify_hostname", "broker.example.com"],
        ["-verify_ip", "192.168.99.186"],
        ["-verify_ip", "2001:db8::1"],
    ] {
        openssl(&[
            "verify",
            "-x509_strict",
            "-purpose",
            "sslserver",
            "-attime",
            &at,
            check[0],
            check[1],
            "-CAfile",
            ca,
            "-untrusted",
            leaf,
            leaf,
        ]);
    }
    let text = x509_text(&files.certificate);
    assert!(
        text.contains("TLS Web Server Authentication\n") && !text.contains("Client Authentication"),
        "{text}"
    );
    assert!(
        text.contains(&openssl_time(NOW.as_secs() + 365 * 86_400)),
        "{text}"
    );
    assert_eq!(
        fs::metadata(&files.key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        authority.issued().unwrap().last().unwrap().kind,
        Kind::Server
    );
}

#[test]
fn a_good_certificate_is_kept() {
    let (data, authority) = authority();
    let wanted = host_names();
    let first = authority
        .ensure_server_certificate(&wanted, now(), 30)
        .unwrap();
    let before = crate::contents(data.path());
    let mut reversed = wanted.clone();
    reversed.reverse();
    reversed.push(wanted[0].clone());
    let second = authority
        .ensure_server_certificate(&reversed, now() + DAY * 334, 30)
        .unwrap();
    assert_eq!((second.renewed, second.not_after), (None, first.not_after));
    assert_eq!(crate::contents(data.path()), before);
}

#[test]
fn it_is_renewed_near_its_end_and_for_other_names() {
    let (_data, authority) = authority();
    let ensure = |texts: &[&str], at| {
        authority
            .ensure_server_certificate(&names(texts), at, 30)
            .unwrap()
    };
    ensure(&["a.example"], now());
    let near = ensure(&["a.example"], now() + DAY * 335);
    assert_eq!(near.renewed, Some(RenewReason::NearExpiry));
    assert!(near.not_after > now() + DAY * 690);
    let after = ensure(&["a.example"], now() + DAY * 800);
    assert_eq!(after.renewed, Some(RenewReason::NearExpiry));
    let other = ensure(&["a.example", "10.0.0.1"], now() + DAY * 800);
    assert_eq!(other.renewed, Some(RenewReason::NamesChanged));
    assert_eq!(
        ensure(&["a.example", "10.0.0.1"], now() + DAY * 800).renewed,
        None
    );
}

#[test]
fn at_the_intermediates_end_it_is_not_issued_again_and_again() {
    let (_data, authority) = authority();
    let late = authority.intermediate_not_after() - DAY * 10;
    let first = authority
        .ensure_server_certificate(&names(&["a"]), late, 30)
        .unwrap();
    assert_eq!(first.not_after, authority.intermediate_not_after());
    assert_eq!(
        authority
            .ensure_server_certificate(&names(&["a"]), late, 30)
            .unwrap()
            .renewed,
        None
    );
}

#[test]
fn a_crash_between_key_and_certificate_heals() {
    let (data, authority) = authority();
    let files = authority
        .ensure_server_certificate(&names(&["a"]), now(), 30)
        .unwrap();
    // The key of the next certificate is in place, the certificate is not.
    let next = authority.server_certificate(&names(&["a"]), now()).unwrap();
    fs::write(&files.key, next.key_pem.as_bytes()).unwrap();
    let healed = authority
        .ensure_server_certificate(&names(&["a"]), now(), 30)
        .unwrap();
    assert_eq!(healed.renewed, Some(RenewReason::KeyMismatch));
    fs::remove_file(&files.key).unwrap();
    let healed = authority
        .ensure_server_certificate(&names(&["a"]), now(), 30)
        .unwrap();
    assert_eq!(healed.renewed, Some(RenewReason::Absent));
    assert!(data.path().join("pki/server.key").exists());
}

#[test]
fn a_certificate_of_somebody_else_is_never_overwritten() {
    let (_data, ours) = authority();
    let (_other_data, other) = authority();
    let files = ours
        .ensure_server_certificate(&names(&["a"]), now(), 30)
        .unwrap();
    let foreign = other.server_certificate(&names(&["a"]), now()).unwrap();
    fs::write(&files.certificate, &foreign.cert_chain_pem).unwrap();
    let error = ours
        .ensure_server_certificate(&names(&["a"]), now(), 30)
        .unwrap_err();
    assert_eq!(
        error,
        PkiError::ForeignServerCertificate {
            path: files.certificate.clone()
        }
    );
    assert_eq!(
        fs::read_to_string(&files.certificate).unwrap(),
        foreign.cert_chain_pem
    );
}

#[test]
fn a_server_key_that_others_can_read_is_refused() {
    let (_data, authority) = authority();
    let files = authority
        .ensure_server_certificate(&names(&["a"]), now(), 30)
        .unwrap();
    fs::set_permissions(&files.key, Permissions::from_mode(0o644)).unwrap();
    let error = authority
        .ensure_server_certificate(&names(&["a"]), now(), 30)
        .unwrap_err();
    assert_eq!(
        error,
        PkiError::KeyPermissions {
            path: files.key,
            mode: 0o644
        }
    );
}

#[test]
fn no_names_and_bad_names_are_refused() {
    let (_data, authority) = authority();
    let ensure = |sans: &[San]| {
        authority
            .ensure_server_certificate(sans, now(), 30)
            .unwrap_err()
    };
    assert_eq!(ensure(&[]), PkiError::NoNames);
    assert!(matches!(
        ensure(&[San::Dns("a b".into())]),
        PkiError::InvalidHostName { .. }
    ));
}
