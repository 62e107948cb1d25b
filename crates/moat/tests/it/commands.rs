//! The commands beside `start`.

use std::fs;

use crate::folder::{ANYWHERE, Folder, mode, names};

const GOOD: &str = "a long enough password";

#[test]
fn a_device_gets_its_files_and_commands_while_the_broker_runs() {
    let folder = Folder::new();
    let mut broker = folder.start(&ANYWHERE);
    let port = broker.address().port();
    let added = folder.moat(&["device", "add", "meter-1"]).done();
    let bundle = folder.parent().join("meter-1");
    assert_eq!(
        names(&bundle),
        ["ca.crt", "meter-1.crt", "meter-1.json", "meter-1.key"]
    );
    assert_eq!(mode(&bundle.join("meter-1.key")), 0o600);
    let publish = format!("-p {port} --cafile meter-1/ca.crt --cert meter-1/meter-1.crt");
    for part in [
        "mosquitto_pub -h 127.0.0.1",
        &publish,
        "publish.single(",
        "\"skip_cn_check\": false",
    ] {
        assert!(added.out.contains(part), "{part} in {added:?}");
    }
    let settings = fs::read_to_string(bundle.join("meter-1.json")).unwrap();
    assert!(settings.contains(&format!(":{port}\"")), "{settings}");
}

#[test]
fn a_device_is_not_added_twice_and_no_file_is_overwritten() {
    let folder = Folder::new();
    drop(folder.start(&ANYWHERE));
    folder.moat(&["device", "add", "meter-1"]).done();
    let issued = || fs::read(folder.data().join("pki/issued.jsonl")).unwrap();
    let before = issued();
    folder
        .moat(&["device", "add", "meter-1"])
        .failed(1, &["nothing is overwritten"]);
    let elsewhere = ["device", "add", "meter-1", "--out", "other"];
    folder.moat(&elsewhere).failed(1, &["--reissue"]);
    assert!(!folder.parent().join("other").exists());
    assert_eq!(issued(), before);
    folder
        .moat(&[&elsewhere[..], &["--reissue"]].concat())
        .done();
    assert_ne!(issued(), before);
}

#[test]
fn names_and_hosts_that_cannot_be_are_refused_before_anything_is_made() {
    let folder = Folder::new();
    drop(folder.start(&ANYWHERE));
    folder
        .moat(&["device", "add", "a/b"])
        .failed(1, &["\"a/b\"", "allowed"]);
    folder
        .moat(&["device", "add", "m", "--host", "a b"])
        .failed(1, &["\"a b\"", "allowed"]);
    assert_eq!(names(folder.parent()), ["data"]);
}

#[test]
fn commands_without_a_data_folder_say_how_to_make_one() {
    let folder = Folder::new();
    for command in [
        &["status"][..],
        &["device", "add", "m"],
        &["user", "add", "a", "--generate"],
    ] {
        folder
            .moat(command)
            .failed(1, &["no data folder", "moat start"]);
    }
    folder.moat(&["check"]).done();
}

#[test]
fn a_status_without_a_broker_says_that_none_runs() {
    let folder = Folder::configured("");
    folder
        .moat(&["status"])
        .failed(1, &["no broker runs", "moat start"]);
}

#[test]
fn the_status_tells_what_the_broker_is_and_has_given_up() {
    let folder = Folder::new();
    let mut broker = folder.start(&["--bind", "127.0.0.1:0", "--shards", "3"]);
    let status = folder.status();
    assert_eq!(status["pid"], broker.id());
    assert_eq!(status["shards"], 3);
    assert_eq!(
        status["listeners"][0]["address"],
        broker.address().to_string()
    );
    assert_eq!(status["certificates"][0]["days_left"], 364);
    for given_up in [
        "no_new_privs",
        "core_dumps_disabled",
        "capabilities_dropped",
    ] {
        assert_eq!(status["hardening"][given_up], true, "{given_up}");
    }
    let text = folder.moat(&["status"]).done().out;
    assert!(
        text.contains("no capabilities, no new privileges"),
        "{text}"
    );
    broker.wait_for(|line| line.contains("admin.request").then_some(()));
}

#[test]
fn a_password_comes_from_a_file_and_has_twelve_characters() {
    let folder = Folder::new();
    drop(folder.start(&ANYWHERE));
    let add = |name, password: &str| {
        folder.moat_reading(&["user", "add", name, "--password-file", "-"], password)
    };
    add("anna", "elevenchars").failed(1, &["11 characters", "at least 12"]);
    add("anna", "").failed(1, &["0 characters"]);
    let added = add("anna", &format!("{GOOD}\n")).done();
    assert!(!added.out.contains(GOOD), "{added:?}");
    add("anna", GOOD).failed(1, &["exists", "moat user passwd"]);
    let users = fs::read_to_string(folder.data().join("users")).unwrap();
    assert!(
        users.starts_with("anna:$argon2id$") && !users.contains(GOOD),
        "{users}"
    );
    assert_eq!(mode(&folder.data().join("users")), 0o600);
}

#[test]
fn a_password_is_never_an_argument_and_never_asked_without_a_terminal() {
    let folder = Folder::new();
    drop(folder.start(&ANYWHERE));
    for args in [
        &["user", "add", "anna", GOOD][..],
        &["user", "add", "anna", "--password", GOOD],
    ] {
        assert_eq!(folder.moat(args).code, 2, "{args:?}");
    }
    folder
        .moat(&["user", "add", "anna"])
        .failed(2, &["--password-file", "--generate"]);
    let both = ["user", "add", "anna", "--generate", "--password-file", "-"];
    assert_eq!(folder.moat(&both).code, 2);
}

#[test]
fn a_generated_password_is_shown_once_and_can_be_replaced() {
    let folder = Folder::new();
    drop(folder.start(&ANYWHERE));
    let generate = |command| folder.moat(&["--json", "user", command, "anna", "--generate"]);
    generate("passwd")
        .err
        .contains("moat user add anna")
        .then_some(())
        .unwrap();
    let password = |command| {
        generate(command).json()["password"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (first, second) = (password("add"), password("passwd"));
    assert_eq!((first.len(), second.len()), (32, 32));
    assert_ne!(first, second);
}

#[test]
fn check_tells_everything_that_is_wrong_at_once() {
    let folder = Folder::configured("[limits]\nqos = 1\n[log]\nlevel = \"loud\"\n");
    let found = folder.moat(&["check"]);
    found.failed(3, &["2 errors"]);
    for part in [
        "moat.toml:2:1: unknown key",
        "moat.toml:4:9: log.level is \"loud\"",
    ] {
        assert!(found.out.contains(part), "{part} in {found:?}");
    }
}

#[test]
fn check_says_what_a_plain_and_anonymous_listener_exposes() {
    let plain = "[[listener]]\nprotocol = \"tcp\"\nbind = [\"0.0.0.0:1883\"]\nanonymous = true\n";
    let folder = Folder::configured(plain);
    let found = folder.moat(&["check"]).done();
    for part in ["has no TLS", "without an identity"] {
        assert!(found.out.contains(part), "{part} in {found:?}");
    }
    let json = folder.moat(&["--json", "check"]).json();
    assert_eq!(json["warnings"].as_array().unwrap().len(), 2);
}

#[test]
fn check_reads_the_file_it_is_given_and_changes_nothing() {
    let folder = Folder::configured("");
    let other = folder.parent().join("other.toml");
    fs::write(&other, "user = 7\n").unwrap();
    let found = folder.moat(&["check", other.to_str().unwrap()]);
    found.failed(3, &["1 error found"]);
    assert!(found.out.contains("other.toml:1:8:"), "{found:?}");
    assert_eq!(names(&folder.data()), ["moat.toml"]);
}

#[test]
fn completions_and_man_pages_come_from_the_command_line() {
    let folder = Folder::new();
    let script = folder.moat(&["completions", "bash"]).done().out;
    assert!(script.contains("complete -F _moat"));
    assert!(folder.moat(&["man"]).done().out.contains(".TH moat"));
    folder.moat(&["man", "--out", "pages"]).done();
    assert!(folder.parent().join("pages/moat-device-add.1").exists());
}

#[test]
fn help_documents_the_exit_codes() {
    let help = Folder::new().moat(&["--help"]).done().out;
    assert!(help.contains("0 done, 1 refused or failed, 2 usage, 3 bad configuration"));
}

#[test]
fn devices_and_users_are_listed_and_a_user_can_be_removed() {
    let folder = Folder::new();
    let mut broker = folder.start(&ANYWHERE);
    broker.address();
    assert!(
        folder
            .moat(&["device", "list"])
            .done()
            .out
            .contains("no devices")
    );
    assert!(
        folder
            .moat(&["user", "list"])
            .done()
            .out
            .contains("no users")
    );
    folder.moat(&["device", "add", "meter-1"]).done();
    for user in ["anna", "bert"] {
        folder.moat(&["user", "add", user, "--generate"]).done();
    }
    let devices = folder.moat(&["--json", "device", "list"]).json();
    let certificates = devices["certificates"].as_array().unwrap();
    assert_eq!(
        certificates.len(),
        1,
        "the CA and the server are no devices"
    );
    assert_eq!(certificates[0]["name"], "meter-1");
    let users = || folder.moat(&["--json", "user", "list"]).json()["users"].clone();
    assert_eq!(users(), serde_json::json!(["anna", "bert"]));
    folder.moat(&["user", "remove", "anna"]).done();
    folder
        .moat(&["user", "remove", "anna"])
        .failed(1, &["no user \"anna\"", "moat user add anna"]);
    assert_eq!(users(), serde_json::json!(["bert"]));
}
