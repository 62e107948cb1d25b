use std::fs;
use std::os::unix::fs::PermissionsExt;

use moat_pki::{Existing, PkiError, plan_device_bundle, write_device_bundle};

use crate::{authority, contents, now};

#[test]
fn a_bundle_is_four_files_that_a_device_can_use() {
    let (data, authority) = authority();
    let out = data.path().join("out/deep");
    let issued = authority
        .device_certificate("whatwatt-001", now(), Existing::Refuse)
        .unwrap();
    let paths =
        write_device_bundle(&out, &issued, "broker.example.com", 8883, "whatwatt-001").unwrap();
    let expected = "{\n  \"enable\": true,\n  \"url\": \"mqtts://broker.example.com:8883\",\n  \"skip_cn_check\": false,\n  \"client_id\": \"whatwatt-001\"\n}\n";
    assert_eq!(fs::read_to_string(&paths.settings).unwrap(), expected);
    assert_eq!(fs::read_to_string(&paths.ca).unwrap(), authority.root_pem());
    assert_eq!(
        fs::read_to_string(&paths.certificate).unwrap(),
        issued.cert_chain_pem
    );
    assert_eq!(fs::read_to_string(&paths.key).unwrap(), *issued.key_pem);
    assert_eq!(
        fs::metadata(&paths.key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let mut names: Vec<_> = contents(&out)
        .into_keys()
        .map(|p| p.file_name().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "ca.crt",
            "whatwatt-001.crt",
            "whatwatt-001.json",
            "whatwatt-001.key"
        ]
    );
}

#[test]
fn an_ipv6_host_stands_in_brackets() {
    let (data, authority) = authority();
    let issued = authority
        .device_certificate("a", now(), Existing::Refuse)
        .unwrap();
    let paths = write_device_bundle(data.path(), &issued, "2001:db8::1", 18883, "a").unwrap();
    assert!(
        fs::read_to_string(paths.settings)
            .unwrap()
            .contains("mqtts://[2001:db8::1]:18883\"")
    );
}

#[test]
fn a_host_that_is_no_name_is_refused_before_anything_is_written() {
    let (data, authority) = authority();
    let issued = authority
        .device_certificate("a", now(), Existing::Refuse)
        .unwrap();
    let out = data.path().join("out");
    let error = write_device_bundle(&out, &issued, "evil/host", 8883, "a").unwrap_err();
    assert!(matches!(error, PkiError::InvalidHostName { .. }));
    assert!(!out.exists());
}

#[test]
fn nothing_is_overwritten_and_a_refused_bundle_leaves_nothing() {
    let (data, authority) = authority();
    let issued = authority
        .device_certificate("a", now(), Existing::Refuse)
        .unwrap();
    for taken in ["a.crt", "a.key", "a.json", "ca.crt"] {
        let out = data.path().join(format!("out-{taken}"));
        fs::create_dir(&out).unwrap();
        fs::write(out.join(taken), "precious").unwrap();
        let before = contents(&out);
        let error = write_device_bundle(&out, &issued, "h", 8883, "a").unwrap_err();
        assert_eq!(
            error,
            PkiError::WouldOverwrite {
                path: out.join(taken)
            }
        );
        assert_eq!(contents(&out), before);
    }
}

#[test]
fn bundles_of_one_authority_share_a_folder() {
    let (data, authority) = authority();
    for name in ["a", "b"] {
        let issued = authority
            .device_certificate(name, now(), Existing::Refuse)
            .unwrap();
        write_device_bundle(&data.path().join("out"), &issued, "h", 8883, name).unwrap();
    }
    assert_eq!(contents(&data.path().join("out")).len(), 7);
}

#[test]
fn a_plan_finds_the_conflict_before_a_certificate_is_issued() {
    let data = tempfile::tempdir().unwrap();
    let paths = plan_device_bundle(data.path(), "a").unwrap();
    assert!(contents(data.path()).is_empty());
    fs::write(&paths.key, "precious").unwrap();
    let error = plan_device_bundle(data.path(), "a").unwrap_err();
    assert_eq!(error, PkiError::WouldOverwrite { path: paths.key });
    assert!(matches!(
        plan_device_bundle(data.path(), "../a"),
        Err(PkiError::InvalidName { .. })
    ));
}
