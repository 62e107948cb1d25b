//! Each mistake ends with one clear error, the documented exit code, and nothing half-made.

use std::fs;
use std::net::TcpListener;

use moat_testkit::certs::{Authority, Validity};

use crate::folder::{ANYWHERE, Folder, is_root, names, set_mode};

/// A configuration whose one listener uses this certificate and key of the data folder.
fn with_certificate(certificate: &str, key: &str) -> Folder {
    Folder::configured(&format!(
        "[[listener]]\nbind = [\"127.0.0.1:0\"]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n"
    ))
}

#[test]
fn a_second_broker_on_the_same_folder_is_refused_and_the_first_is_named() {
    let folder = Folder::new();
    let broker = folder.start(&ANYWHERE);
    let refused = folder.start_fails(&ANYWHERE);
    refused.failed(1, &[&format!("process {}", broker.id()), "--data"]);
    assert_eq!(folder.status()["pid"], broker.id());
}

#[test]
fn a_taken_port_is_named_with_a_way_to_find_who_has_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = Folder::new();
    let refused = folder.start_fails(&["--bind", &address]);
    refused.failed(1, &[&address, "taken by another program", "ss -ltnp"]);
    // The folder is complete: with another port the next start works.
    folder.start(&ANYWHERE);
}

#[test]
fn an_unknown_key_is_an_error_with_its_place_and_the_nearest_name() {
    let folder = Folder::configured("[limits]\nconnection_max = 7\n");
    for ended in [
        folder.start_fails(&ANYWHERE),
        folder.moat(&["user", "add", "anna", "--generate"]),
    ] {
        ended.failed(
            3,
            &[
                "moat.toml:2:1: unknown key",
                "did you mean \"connections_max\"",
            ],
        );
    }
    assert_eq!(names(&folder.data()), ["moat.toml"]);
}

#[test]
fn a_value_of_the_wrong_type_is_an_error_that_says_what_is_allowed() {
    let folder = Folder::configured("[limits]\nconnections_max = \"many\"\n");
    let refused = folder.start_fails(&ANYWHERE);
    refused.failed(3, &["moat.toml:2:19:", "\"many\"", "allowed: 1 to"]);
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let folder = with_certificate("my.crt", "my.key");
    Authority::new("ca").server().write(&folder.data(), "my");
    set_mode(&folder.data().join("my.key"), 0o644);
    folder
        .start_fails(&[])
        .failed(3, &["my.key", "mode 0644", "chmod 600"]);
}

#[test]
fn the_own_key_is_refused_as_well_if_others_can_read_it() {
    let folder = Folder::new();
    drop(folder.start(&ANYWHERE));
    set_mode(&folder.data().join("pki/intermediate.key"), 0o640);
    let refused = folder.start_fails(&ANYWHERE);
    refused.failed(3, &["intermediate.key", "mode 0640", "chmod 600"]);
}

#[test]
fn a_key_file_that_is_not_there_is_named() {
    let folder = with_certificate("my.crt", "gone.key");
    Authority::new("ca").server().write(&folder.data(), "my");
    folder
        .start_fails(&[])
        .failed(3, &["cannot read", "gone.key"]);
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let folder = with_certificate("one.crt", "other.key");
    let authority = Authority::new("ca");
    authority.server().write(&folder.data(), "one");
    authority.server().write(&folder.data(), "other");
    let refused = folder.start_fails(&[]);
    refused.failed(3, &["one.crt", "other.key", "do not belong together"]);
}

#[test]
fn an_expired_server_certificate_is_refused() {
    let folder = with_certificate("old.crt", "old.key");
    let old = Authority::new("ca").client_valid("localhost", Validity::Expired);
    old.write(&folder.data(), "old");
    folder
        .start_fails(&[])
        .failed(3, &["old.crt", "expired 1 days ago"]);
}

#[test]
fn a_policy_with_a_mistake_is_refused_with_its_place() {
    let folder = Folder::configured("");
    folder.write("policy.toml", "version = 2\n");
    folder
        .start_fails(&ANYWHERE)
        .failed(3, &["policy.toml:1:11:", "version = 1"]);
}

#[test]
fn dev_listens_on_nothing_but_loopback() {
    for bind in ["0.0.0.0", "[::]:0", "192.0.2.1:1883"] {
        let folder = Folder::new();
        let refused = folder.start_fails(&["--dev", "--bind", bind]);
        refused.failed(2, &["loopback", "127.0.0.1"]);
        assert_eq!(names(folder.parent()), Vec::<String>::new());
    }
}

#[test]
fn a_folder_that_others_can_change_is_refused() {
    let folder = Folder::configured("");
    set_mode(&folder.data(), 0o777);
    folder
        .start_fails(&ANYWHERE)
        .failed(1, &["mode 0777", "chmod 700"]);
}

#[test]
fn a_folder_of_another_user_is_refused() {
    if !is_root("to make a folder of another user") {
        return;
    }
    let folder = Folder::configured("");
    std::os::unix::fs::chown(folder.data(), Some(65_534), None).unwrap();
    let refused = folder.start_fails(&ANYWHERE);
    refused.failed(1, &["belongs to user nobody", "runs as root", "key user"]);
    assert_eq!(names(&folder.data()), ["moat.toml"]);
}

#[test]
fn a_file_where_the_folder_should_be_is_refused() {
    let folder = Folder::new();
    fs::write(folder.data(), "no folder").unwrap();
    folder
        .start_fails(&ANYWHERE)
        .failed(1, &["is not a folder"]);
    assert_eq!(fs::read(folder.data()).unwrap(), b"no folder");
}

#[test]
fn a_user_that_does_not_exist_is_a_mistake_of_the_configuration() {
    let folder = Folder::configured("user = \"no-such-user\"\n");
    folder
        .start_fails(&ANYWHERE)
        .failed(3, &["no-such-user", "useradd"]);
}
