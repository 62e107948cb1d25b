//! A full disk, made by a child process whose files may not grow beyond a limit.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use moat_pki::{Authority, Existing, PkiError, SubjectTemplate, write_device_bundle};

use crate::{authority, contents, now};

const FOLDER: &str = "MOAT_PKI_TEST_FOLDER";
/// `ulimit -f` of Debian's sh counts in blocks of this many bytes.
const BLOCK_BYTES: u64 = 512;

/// Runs the ignored test `name` of this binary under a file size limit.
fn run_limited(name: &str, folder: &Path, blocks: u64) {
    // The signal is ignored so that a write fails with an error, as on a full disk.
    let script =
        "trap '' XFSZ; ulimit -f \"$1\"; exec \"$2\" --exact \"$3\" --ignored --test-threads=1";
    let output = Command::new("sh")
        .args(["-c", script, "sh", &blocks.to_string()])
        .arg(env::current_exe().unwrap())
        .arg(format!("full_disk::{name}"))
        .env(FOLDER, folder)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "{printed}"
    );
}

fn folder() -> std::path::PathBuf {
    env::var_os(FOLDER).expect("set by run_limited").into()
}

#[test]
fn a_full_disk_at_creation_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    run_limited("child_create", data.path(), 1);
    assert!(contents(data.path()).is_empty());
}

#[test]
#[ignore = "run in a child process by a_full_disk_at_creation_leaves_nothing"]
fn child_create() {
    let pki = folder().join("pki");
    let error = Authority::create(&pki, now(), &SubjectTemplate::default()).unwrap_err();
    // Keys fit into one block, certificates don't: some files were written before this one.
    assert_eq!(
        error,
        PkiError::DiskFull {
            path: pki.join("root.crt")
        }
    );
    assert!(error.to_string().contains("free some space"));
}

#[test]
fn a_full_disk_leaves_the_index_as_it_was() {
    let (data, authority) = authority();
    let index = data.path().join("pki/issued.jsonl");
    let mut filler = 0;
    // Up to the limit there is room for half a line.
    let blocks = loop {
        let length = fs::metadata(&index).unwrap().len();
        if length % BLOCK_BYTES > BLOCK_BYTES / 2 + 64 {
            break length / BLOCK_BYTES + 1;
        }
        authority
            .device_certificate(&format!("filler-{filler}"), now(), Existing::Refuse)
            .unwrap();
        filler += 1;
    };
    let before = contents(data.path());
    run_limited("child_issue", data.path(), blocks);
    assert_eq!(contents(data.path()), before);
}

#[test]
#[ignore = "run in a child process by a_full_disk_leaves_the_index_as_it_was"]
fn child_issue() {
    let pki = folder().join("pki");
    let authority = Authority::open(&pki, now()).unwrap();
    let error = authority
        .device_certificate("a", now(), Existing::Refuse)
        .unwrap_err();
    assert_eq!(
        error,
        PkiError::DiskFull {
            path: pki.join("issued.jsonl")
        }
    );
}

#[test]
fn a_full_disk_leaves_no_part_of_a_bundle() {
    let (data, _authority) = authority();
    // The index fits; the chain of leaf and intermediate (about 1.6 kB) does not.
    run_limited("child_bundle", data.path(), 3);
    assert!(contents(&data.path().join("out")).is_empty());
}

#[test]
#[ignore = "run in a child process by a_full_disk_leaves_no_part_of_a_bundle"]
fn child_bundle() {
    let authority = Authority::open(&folder().join("pki"), now()).unwrap();
    let issued = authority
        .device_certificate("a", now(), Existing::Refuse)
        .unwrap();
    let out = folder().join("out");
    let error = write_device_bundle(&out, &issued, "h", 8883, "a").unwrap_err();
    assert_eq!(
        error,
        PkiError::DiskFull {
            path: out.join("a.crt")
        }
    );
}
