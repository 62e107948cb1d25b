use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use moat_pki::{Authority, Existing, Kind, PkiError, SubjectTemplate};

use crate::{DAY, NOW, authority, now, openssl, openssl_time, x509_text};

#[test]
fn keys_are_0600_and_the_folder_is_0700() {
    let (data, _authority) = authority();
    let pki = data.path().join("pki");
    let mode = |name: &str| fs::metadata(pki.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("."), 0o700);
    assert_eq!(
        (
            mode("root.key"),
            mode("intermediate.key"),
            mode("issued.jsonl")
        ),
        (0o600, 0o600, 0o600)
    );
    let mut names: Vec<_> = fs::read_dir(&pki)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "ca.crt",
            "chain.crt",
            "intermediate.crt",
            "intermediate.key",
            "issued.jsonl",
            "root.crt",
            "root.key"
        ]
    );
    assert_eq!(
        fs::read_dir(data.path()).unwrap().count(),
        1,
        "nothing is left beside the folder"
    );
}

#[test]
fn openssl_accepts_root_and_intermediate() {
    let (data, _authority) = authority();
    let file = |name: &str| {
        data.path()
            .join("pki")
            .join(name)
            .to_str()
            .unwrap()
            .to_owned()
    };
    let at = NOW.as_secs().to_string();
    openssl(&[
        "verify",
        "-x509_strict",
        "-check_ss_sig",
        "-attime",
        &at,
        "-CAfile",
        &file("ca.crt"),
        &file("intermediate.crt"),
    ]);
    let root = x509_text(&data.path().join("pki/root.crt"));
    assert!(
        root.contains("CA:TRUE, pathlen:1")
            && root.contains("secp384r1")
            && root.contains("ecdsa-with-SHA384"),
        "{root}"
    );
    assert!(root.contains("OU=Metering,O=Lab,C=US"), "{root}");
    let intermediate = x509_text(&data.path().join("pki/intermediate.crt"));
    assert!(
        intermediate.contains("CA:TRUE, pathlen:0") && intermediate.contains("prime256v1"),
        "{intermediate}"
    );
    assert!(
        intermediate.contains("Certificate Sign, CRL Sign"),
        "{intermediate}"
    );
}

#[test]
fn root_ends_after_ten_years_and_intermediate_after_five() {
    let (data, authority) = authority();
    let root = x509_text(&data.path().join("pki/root.crt"));
    let intermediate = x509_text(&data.path().join("pki/intermediate.crt"));
    let begins = openssl_time(NOW.as_secs() - 300);
    assert!(root.contains(&format!("Not Before: {begins}")) && intermediate.contains(&begins));
    assert!(
        root.contains(&openssl_time(NOW.as_secs() + 3653 * 86_400)),
        "{root}"
    );
    assert!(
        intermediate.contains(&openssl_time(NOW.as_secs() + 1826 * 86_400)),
        "{intermediate}"
    );
    let issued = authority.issued().unwrap();
    assert_eq!(
        issued.iter().map(|e| e.kind).collect::<Vec<_>>(),
        [Kind::Root, Kind::Intermediate]
    );
    assert_eq!(issued[0].not_before, "2026-11-22T05:28:20Z");
}

#[test]
fn fingerprint_is_openssls() {
    let (data, authority) = authority();
    let path = data.path().join("pki/ca.crt");
    let printed = openssl(&[
        "x509",
        "-noout",
        "-fingerprint",
        "-sha256",
        "-in",
        path.to_str().unwrap(),
    ]);
    assert_eq!(
        printed.trim().rsplit('=').next().unwrap(),
        authority.fingerprint()
    );
    assert_eq!(
        authority.issued().unwrap()[0].fingerprint,
        authority.fingerprint()
    );
}

#[test]
fn an_occupied_folder_is_refused_and_untouched() {
    let (data, _authority) = authority();
    let pki = data.path().join("pki");
    let before = crate::contents(data.path());
    let error = Authority::create(&pki, now(), &SubjectTemplate::default()).unwrap_err();
    assert_eq!(error, PkiError::AlreadyExists { path: pki });
    assert_eq!(crate::contents(data.path()), before);
}

#[test]
fn a_reopened_authority_is_the_same() {
    let (data, first) = authority();
    let second = Authority::open(&data.path().join("pki"), now()).unwrap();
    assert_eq!(second.fingerprint(), first.fingerprint());
    second
        .device_certificate("a", now(), Existing::Refuse)
        .unwrap();
    let again = first.device_certificate("a", now(), Existing::Refuse);
    assert!(
        matches!(again, Err(PkiError::DuplicateDevice { .. })),
        "both see one index"
    );
}

#[test]
fn the_root_key_may_be_offline() {
    let (data, _authority) = authority();
    fs::remove_file(data.path().join("pki/root.key")).unwrap();
    let opened = Authority::open(&data.path().join("pki"), now()).unwrap();
    assert!(
        opened
            .device_certificate("a", now(), Existing::Refuse)
            .is_ok()
    );
}

fn open_error(spoil: impl FnOnce(&std::path::Path)) -> PkiError {
    let (data, _authority) = authority();
    let pki = data.path().join("pki");
    spoil(&pki);
    let error = Authority::open(&pki, now()).unwrap_err();
    // Whatever happens, the text names a file of this folder.
    assert!(error.to_string().contains(pki.to_str().unwrap()), "{error}");
    error
}

#[test]
fn each_damage_has_its_own_error() {
    let other = authority();
    let other = other.0.path().join("pki");
    let missing = open_error(|pki| fs::remove_file(pki.join("root.crt")).unwrap());
    assert!(matches!(missing, PkiError::Missing { .. }));
    let no_pem = open_error(|pki| fs::write(pki.join("root.crt"), "no pem").unwrap());
    assert!(matches!(no_pem, PkiError::Malformed { .. }));
    let no_key = open_error(|pki| fs::write(pki.join("intermediate.key"), "no pem").unwrap());
    assert!(matches!(no_key, PkiError::Malformed { .. }));
    let wrong_key = open_error(|pki| {
        fs::copy(other.join("intermediate.key"), pki.join("intermediate.key")).unwrap();
    });
    assert!(matches!(wrong_key, PkiError::KeyMismatch { .. }));
    let wrong_root_key = open_error(|pki| {
        fs::copy(other.join("root.key"), pki.join("root.key")).unwrap();
    });
    assert!(matches!(wrong_root_key, PkiError::KeyMismatch { .. }));
    let wrong_root = open_error(|pki| {
        fs::copy(other.join("root.crt"), pki.join("root.crt")).unwrap();
        fs::copy(other.join("root.key"), pki.join("root.key")).unwrap();
    });
    assert!(matches!(wrong_root, PkiError::ChainBroken { .. }));
}

#[test]
fn keys_that_others_can_read_are_refused() {
    for (name, mode) in [("root.key", 0o640), ("intermediate.key", 0o604)] {
        let error = open_error(|pki| {
            fs::set_permissions(pki.join(name), Permissions::from_mode(mode)).unwrap()
        });
        assert!(
            matches!(error, PkiError::KeyPermissions { mode: found, .. } if found == mode),
            "{error}"
        );
        assert!(error.to_string().contains("chmod 600"));
    }
}

#[test]
fn an_authority_outside_its_time_does_not_open() {
    let (data, _authority) = authority();
    let open = |at| Authority::open(&data.path().join("pki"), at).map(|_| ());
    assert!(matches!(
        open(now() + DAY * 1827),
        Err(PkiError::Expired { .. })
    ));
    assert!(matches!(
        open(now() - DAY),
        Err(PkiError::NotYetValid { .. })
    ));
    assert!(matches!(
        open(SystemTime::UNIX_EPOCH),
        Err(PkiError::NotYetValid { .. })
    ));
    assert_eq!(open(now() + DAY * 1825), Ok(()));
}

#[test]
fn a_bad_subject_makes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let subject = SubjectTemplate {
        country: Some("Germany".into()),
        ..SubjectTemplate::default()
    };
    let error = Authority::create(&data.path().join("pki"), now(), &subject).unwrap_err();
    assert!(matches!(
        error,
        PkiError::InvalidSubject {
            field: "country",
            ..
        }
    ));
    assert!(crate::contents(data.path()).is_empty());
}

#[test]
fn debug_output_holds_no_key() {
    let (_data, authority) = authority();
    let issued = authority
        .device_certificate("a", now(), Existing::Refuse)
        .unwrap();
    let text = format!("{authority:?}{issued:?}");
    assert!(
        !text.contains("PRIVATE") && !text.contains("KeyPair"),
        "{text}"
    );
}
