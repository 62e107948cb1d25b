use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use moat_pki::{Authority, Existing, Issued, Kind, PkiError, SubjectTemplate};

use crate::{DAY, NOW, authority, now, openssl, openssl_time, x509_text};

fn save(folder: &Path, issued: &Issued) -> String {
    let path = folder.join("leaf.crt");
    fs::write(&path, &issued.cert_chain_pem).unwrap();
    fs::write(folder.join("leaf.key"), issued.key_pem.as_bytes()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn openssl_accepts_a_device_certificate_as_a_client_only() {
    let (data, authority) = authority();
    let issued = authority
        .device_certificate("whatwatt-001", now(), Existing::Refuse)
        .unwrap();
    let leaf = save(data.path(), &issued);
    let ca = authority.ca_path().to_str().unwrap().to_owned();
    let at = NOW.as_secs().to_string();
    let verify = |purpose: &str| {
        let arguments = [
            "verify",
            "-x509_strict",
            "-attime",
            &at,
            "-purpose",
            purpose,
            "-CAfile",
            &ca,
            "-untrusted",
            &leaf,
            &leaf,
        ];
        std::process::Command::new("openssl")
            .args(arguments)
            .output()
            .unwrap()
            .status
            .success()
    };
    assert!(verify("sslclient"));
    assert!(!verify("sslserver"));
    let key = openssl(&[
        "pkey",
        "-pubout",
        "-in",
        data.path().join("leaf.key").to_str().unwrap(),
    ]);
    assert_eq!(
        key,
        openssl(&["x509", "-noout", "-pubkey", "-in", &leaf]),
        "the key is the certificate's"
    );
}

#[test]
fn a_device_certificate_is_the_profile_and_nothing_else() {
    let (data, authority) = authority();
    let issued = authority
        .device_certificate("whatwatt-001", now(), Existing::Refuse)
        .unwrap();
    save(data.path(), &issued);
    let text = x509_text(&data.path().join("leaf.crt"));
    for wanted in [
        "Subject: CN=whatwatt-001,OU=Metering,O=Lab,C=US\n",
        "ecdsa-with-SHA256",
        "prime256v1",
        "CA:FALSE",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "TLS Web Client Authentication\n",
        "X509v3 Subject Key Identifier",
        "X509v3 Authority Key Identifier",
        &format!("Not Before: {}", openssl_time(NOW.as_secs() - 300)),
        &format!("Not After : {}", openssl_time(NOW.as_secs() + 90 * 86_400)),
    ] {
        assert!(text.contains(wanted), "{wanted:?} in {text}");
    }
    assert!(!text.contains("Server Authentication"));
    assert_eq!(
        issued.not_after,
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOW.as_secs() + 90 * 86_400)
    );
    let serial = openssl(&[
        "x509",
        "-noout",
        "-serial",
        "-in",
        data.path().join("leaf.crt").to_str().unwrap(),
    ]);
    assert_eq!(
        serial.trim().to_lowercase(),
        format!("serial={}", issued.serial)
    );
    assert!(
        issued.serial.len() >= 32 && issued.serial.as_bytes()[0] < b'8',
        "positive, 16 bytes or more"
    );
}

#[test]
fn what_is_issued_is_in_the_index() {
    let (_data, authority) = authority();
    let issued = authority
        .device_certificate("a", now(), Existing::Refuse)
        .unwrap();
    let entry = authority.issued().unwrap().pop().unwrap();
    assert_eq!((entry.kind, entry.name.as_str()), (Kind::Device, "a"));
    assert_eq!(
        (entry.serial, entry.fingerprint),
        (issued.serial, issued.fingerprint)
    );
    assert_eq!(entry.not_after, "2027-02-20T05:33:20Z");
}

#[test]
fn a_second_certificate_needs_reissue_or_the_end_of_the_first() {
    let (_data, authority) = authority();
    authority
        .device_certificate("a", now(), Existing::Refuse)
        .unwrap();
    let error = authority
        .device_certificate("a", now() + DAY * 89, Existing::Refuse)
        .unwrap_err();
    let not_after = "2027-02-20T05:33:20Z".to_owned();
    assert_eq!(
        error,
        PkiError::DuplicateDevice {
            name: "a".into(),
            not_after
        }
    );
    assert!(
        authority
            .device_certificate("b", now(), Existing::Refuse)
            .is_ok()
    );
    assert!(
        authority
            .device_certificate("a", now(), Existing::Reissue)
            .is_ok()
    );
    assert!(
        authority
            .device_certificate("a", now() + DAY * 91, Existing::Refuse)
            .is_ok()
    );
}

#[test]
fn a_refused_name_leaves_no_trace() {
    let (data, authority) = authority();
    let before = crate::contents(data.path());
    let error = authority
        .device_certificate("a/+", now(), Existing::Refuse)
        .unwrap_err();
    assert!(matches!(error, PkiError::InvalidName { .. }));
    assert_eq!(crate::contents(data.path()), before);
}

#[test]
fn no_device_outlives_the_intermediate() {
    let (_data, authority) = authority();
    let late = authority.intermediate_not_after() - DAY;
    let issued = authority
        .device_certificate("a", late, Existing::Refuse)
        .unwrap();
    assert_eq!(issued.not_after, authority.intermediate_not_after());
    let after =
        authority.device_certificate("b", authority.intermediate_not_after(), Existing::Refuse);
    assert!(matches!(after, Err(PkiError::Expired { .. })));
}

#[test]
fn subject_parts_can_be_left_out() {
    let data = tempfile::tempdir().unwrap();
    let subject = SubjectTemplate {
        country: None,
        organization: Some("Müller & Co".into()),
        organizational_unit: None,
    };
    Authority::create(&data.path().join("pki"), now(), &subject).unwrap();
    let reopened = Authority::open(&data.path().join("pki"), now()).unwrap();
    let issued = reopened
        .device_certificate("a", now(), Existing::Refuse)
        .unwrap();
    let leaf = save(data.path(), &issued);
    let printed = openssl(&[
        "x509",
        "-noout",
        "-subject",
        "-nameopt",
        "utf8,sep_comma_plus",
        "-in",
        &leaf,
    ]);
    assert_eq!(printed.trim(), "subject=O=Müller & Co,CN=a");
}

#[test]
fn eight_threads_issue_with_unique_serials_and_whole_lines() {
    const THREADS: usize = 8;
    const EACH: usize = 10;
    let (data, _authority) = authority();
    let pki = data.path().join("pki");
    let workers: Vec<_> = (0..THREADS)
        .map(|thread| {
            let pki = pki.clone();
            // An authority of its own for each thread, as separate processes have.
            thread::spawn(move || {
                let authority = Authority::open(&pki, now()).unwrap();
                for n in 0..EACH {
                    authority
                        .device_certificate(&format!("d-{thread}-{n}"), now(), Existing::Refuse)
                        .unwrap();
                }
            })
        })
        .collect();
    workers
        .into_iter()
        .for_each(|worker| worker.join().unwrap());
    let issued = Authority::open(&pki, now()).unwrap().issued().unwrap();
    assert_eq!(issued.len(), 2 + THREADS * EACH);
    let serials: HashSet<_> = issued.iter().map(|entry| &entry.serial).collect();
    assert_eq!(serials.len(), issued.len());
}

#[test]
fn of_two_threads_that_add_one_device_one_is_refused() {
    let (_data, authority) = authority();
    let results = thread::scope(|scope| {
        let add = || {
            authority
                .device_certificate("same", now(), Existing::Refuse)
                .is_ok()
        };
        let threads = [scope.spawn(add), scope.spawn(add)];
        threads.map(|thread| thread.join().unwrap())
    });
    assert_ne!(results[0], results[1]);
}
