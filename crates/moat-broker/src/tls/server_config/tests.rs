use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::tls::fixtures::{DAY, Leaf, Setup};

fn error(setup: &Setup) -> String {
    load(&setup.files).unwrap_err().to_string()
}

#[test]
fn good_files_load_without_warnings() {
    let setup = Setup::new();
    let loaded = load(&setup.files).unwrap();
    assert_eq!(loaded.warnings, []);
    assert!(loaded.not_after > SystemTime::now() + 89 * DAY);
    assert_eq!(loaded.config.max_early_data_size, 0);
    assert_eq!(loaded.config.send_tls13_tickets, 1);
    assert!(!loaded.config.ignore_client_order);
    let groups = &loaded.config.crypto_provider().kx_groups;
    assert_eq!(groups[0].name(), rustls::NamedGroup::X25519MLKEM768);
}

#[test]
fn a_missing_file_is_named() {
    for pick in [
        |f: &mut TlsFiles| f.certificate = "/nowhere/x.pem".into(),
        |f: &mut TlsFiles| f.key = "/nowhere/x.pem".into(),
        |f: &mut TlsFiles| f.client_ca = Some("/nowhere/x.pem".into()),
    ] {
        let mut setup = Setup::new();
        pick(&mut setup.files);
        assert!(error(&setup).starts_with("cannot read /nowhere/x.pem: "));
    }
}

#[test]
fn a_key_open_to_others_is_refused_with_the_command_that_helps() {
    for mode in [0o644, 0o640, 0o604, 0o620] {
        let setup = Setup::new();
        let key = &setup.files.key;
        fs::set_permissions(key, fs::Permissions::from_mode(mode)).unwrap();
        let path = key.display();
        assert_eq!(
            error(&setup),
            format!(
                "key file {path} is open to other users (mode {mode:04o}); run: chmod 600 {path}"
            )
        );
    }
}

#[test]
fn certificate_and_key_must_match() {
    let setup = Setup::new();
    let other = setup.root.issue(Leaf::server("localhost"));
    setup.replace(&setup.files.key, &other.key_pem());
    assert!(matches!(
        load(&setup.files),
        Err(TlsConfigError::KeyMismatch { .. })
    ));
}

#[test]
fn a_ca_is_no_server_certificate() {
    let setup = Setup::new();
    setup.replace(&setup.files.certificate, &setup.root.pem());
    setup.replace(&setup.files.key, &setup.root.key_pem());
    assert!(matches!(
        load(&setup.files),
        Err(TlsConfigError::CertificateIsCa { .. })
    ));
}

#[test]
fn validity_is_judged_by_the_clock() {
    let setup = Setup::new();
    let now = SystemTime::now();
    let at = |time| load_at(&setup.files, time);
    match at(now + 93 * DAY) {
        Err(TlsConfigError::Expired { days: 2 | 3, .. }) => {}
        other => panic!("{other:?}"),
    }
    match at(now - 2 * DAY) {
        Err(TlsConfigError::NotYetValid { hours: 23 | 24, .. }) => {}
        other => panic!("{other:?}"),
    }
    let soon = at(now + 80 * DAY).unwrap().warnings;
    assert!(matches!(
        &soon[..],
        [TlsConfigWarning::ExpiresSoon {
            days_left: 9 | 10,
            ..
        }]
    ));
    assert_eq!(at(now + 59 * DAY).unwrap().warnings, []);
}

#[test]
fn files_without_the_right_content_are_refused() {
    let setup = Setup::new();
    let (certificate, key) = (&setup.files.certificate, &setup.files.key);
    let good = fs::read_to_string(certificate).unwrap();
    setup.replace(certificate, "hello");
    assert!(error(&setup).contains("has no certificate"));
    setup.replace(
        certificate,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    assert!(error(&setup).starts_with("certificate 1 of "));
    setup.replace(
        certificate,
        &"#".repeat(usize::try_from(PEM_FILE_BYTES_MAX).unwrap() + 1),
    );
    assert!(error(&setup).contains("is longer than"));
    setup.replace(certificate, &good);
    setup.replace(key, &good);
    assert!(error(&setup).contains("has no private key"));
    setup.replace(
        key,
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    assert!(
        error(&setup).contains("cannot be used"),
        "{}",
        error(&setup)
    );
}

#[test]
fn asking_for_certificates_needs_a_ca() {
    let mut setup = Setup::new();
    setup.files.client_ca = None;
    assert!(matches!(
        load(&setup.files),
        Err(TlsConfigError::NoClientCa)
    ));
    setup.files.client_auth = ClientAuth::Off;
    assert!(load(&setup.files).is_ok());
}
