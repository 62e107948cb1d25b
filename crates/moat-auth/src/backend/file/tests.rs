use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, thread};

use moat_policy::Source;
use tempfile::TempDir;

use super::table::UserTable;
use super::{
    Config, EditError, FileBackend, LINE_BYTES_MAX, LineProblem, USERS_FILE_BYTES_MAX, UserFile,
    UsersError,
};
use crate::backend::contract::{Contract, certificate_request, password_request, secret};
use crate::{
    Authenticator, BackendConfig, Chain, ContinueOnError, Password, PasswordError, RejectReason,
    Verdict, check_user_name,
};

/// A hash of little work for tests that never compute it or only need it to be cheap.
const CHEAP: &str = "$argon2id$v=19$m=64,t=2,p=2$c2FsdHNhbHRzYWx0c2FsdA$Sh1LF6dsajp2YjljvL/T0Tk68lSWQP232iGGbb+Qa5Y";
/// [`CHEAP`] is of this password.
const CHEAP_PASSWORD: &str = "correct horse";
const CHEAP_WORK_KIB: u64 = 128;

fn users(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    write(&path, text);
    (folder, path)
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

fn backend(text: &str) -> FileBackend {
    let (_folder, path) = users(text);
    FileBackend::open(&Config { path }).unwrap()
}

fn line_error(text: &str) -> (usize, LineProblem) {
    match UserTable::parse(Path::new("users"), text.as_bytes()) {
        Err(error @ UsersError::Line { .. }) => {
            assert!(!error.to_string().contains("c2FsdHNh"), "{error}");
            let UsersError::Line { line, problem, .. } = error else {
                unreachable!()
            };
            (line, problem)
        }
        other => panic!("{other:?}"),
    }
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn it_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    let right = secret("right");
    UserFile::add(&path, "anna", &right.as_str().into()).unwrap();
    let backend = FileBackend::open(&Config { path }).unwrap();
    let reject = |reason| Verdict::Reject(reason);
    let mut no_password = password_request("anna", b"");
    no_password.password = None;
    Contract {
        backend: &backend,
        source: Source::Password,
        right: (password_request("anna", right.as_bytes()), "anna"),
        wrong: vec![
            (
                password_request("anna", secret("wrong").as_bytes()),
                reject(RejectReason::WrongPassword),
            ),
            (
                password_request("anna", format!("{right}\0").as_bytes()),
                reject(RejectReason::WrongPassword),
            ),
            (
                password_request("anna", b""),
                reject(RejectReason::EmptyPassword),
            ),
            // Unknown here, though a later backend may know them.
            (password_request("bert", right.as_bytes()), Verdict::NotMine),
            (password_request("Anna", right.as_bytes()), Verdict::NotMine),
            (password_request("", right.as_bytes()), Verdict::NotMine),
        ],
        not_mine: vec![certificate_request("anna", None), no_password],
    }
    .run();
}

#[test]
fn an_unknown_user_costs_as_much_as_a_wrong_password() {
    let backend = backend(&format!(
        "anna:{CHEAP}\nbert:{CHEAP}\nold:{}\n",
        CHEAP.replace("m=64", "m=1024")
    ));
    let cost = |name: &str| {
        let before = backend.work_kib();
        backend.authenticate(&password_request(name, b"not the password"));
        backend.work_kib() - before
    };
    assert_eq!(cost("anna"), CHEAP_WORK_KIB);
    assert_eq!(cost("nobody"), CHEAP_WORK_KIB, "as most users' hashes");
    assert_eq!(cost("old"), 2048);
}

/// A hash of mosquitto_passwd, of the same password as [`CHEAP`].
const PBKDF2: &str = include_str!("../../../testdata/mosquitto-pbkdf2.txt");

#[test]
fn an_unknown_user_among_mosquittos_costs_as_much_as_those() {
    let pbkdf2 = PBKDF2.trim();
    let backend = backend(&format!("anna:{pbkdf2}\nbert:{pbkdf2}\ncarl:{CHEAP}\n"));
    let cost = |name: &str| {
        let before = backend.work_kib();
        let verdict = backend.authenticate(&password_request(name, b"not the password"));
        assert!(!matches!(verdict, Verdict::Accept(_)));
        backend.work_kib() - before
    };
    assert_eq!(cost("anna"), 26);
    assert_eq!(cost("nobody"), 26);
    assert_eq!(cost("carl"), CHEAP_WORK_KIB);
}

#[test]
fn weak_hashes_work_and_are_warned_about_in_one_line() {
    let sha512 = include_str!("../../../testdata/mosquitto-sha512.txt").trim();
    let (_folder, path) = users(&format!(
        "carl:{CHEAP}\nanna:{sha512}\nbert:{}\n",
        PBKDF2.trim()
    ));
    let backend = FileBackend::open(&Config { path: path.clone() }).unwrap();
    for name in ["anna", "bert", "carl"] {
        let verdict = backend.authenticate(&password_request(name, CHEAP_PASSWORD.as_bytes()));
        assert!(matches!(verdict, Verdict::Accept(_)), "{name}: {verdict:?}");
    }
    assert_eq!(
        backend.warnings(),
        [format!(
            "{}:2: the hash of user \"anna\" is weak (one SHA-512): set it again with \
             `moat user passwd anna`, and 1 more hashes in this file are weak",
            path.display()
        )]
    );
    UserFile::set_password(&path, "anna", &"twelve chars".into()).unwrap();
    UserFile::set_password(&path, "bert", &"twelve chars".into()).unwrap();
    backend.reload().unwrap();
    assert_eq!(backend.warnings(), [""; 0]);
}

/// Needs Debian's mosquitto, which `cargo xtask test` installs.
#[test]
fn a_file_that_mosquitto_passwd_writes_is_taken_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    let add = |flags: &[&str], name: &str, password: &str| {
        let program = Command::new("mosquitto_passwd")
            .args(flags)
            .arg("-b")
            .args([path.as_os_str(), name.as_ref(), password.as_ref()])
            .output();
        let output = program.expect("mosquitto_passwd of the Debian package mosquitto");
        assert!(output.status.success(), "{output:?}");
    };
    add(&["-c"], "anna", "correct horse");
    add(&["-H", "sha512"], "bert", "battery staple");
    add(&["-H", "sha512-pbkdf2"], "carl", "ünïcode");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let backend = FileBackend::open(&Config { path }).unwrap();
    let ask =
        |name, password: &str| backend.authenticate(&password_request(name, password.as_bytes()));
    for (name, password) in [
        ("anna", "correct horse"),
        ("bert", "battery staple"),
        ("carl", "ünïcode"),
    ] {
        assert!(matches!(ask(name, password), Verdict::Accept(_)), "{name}");
        let wrong = ask(name, "another");
        assert_eq!(wrong, Verdict::Reject(RejectReason::WrongPassword));
    }
}

#[test]
fn without_users_an_unknown_one_costs_as_much_as_a_new_one_would() {
    let folder = tempfile::tempdir().unwrap();
    let backend = FileBackend::open(&Config {
        path: folder.path().join("users"),
    })
    .unwrap();
    assert_eq!(backend.users(), 0);
    assert_eq!(
        backend.authenticate(&password_request("anna", b"x")),
        Verdict::NotMine
    );
    assert_eq!(backend.work_kib(), 2 * 19_456);
}

#[test]
fn at_the_end_of_a_chain_an_unknown_user_is_refused() {
    let (_folder, path) = users(&format!("anna:{CHEAP}\n"));
    let chain = Chain::build(&[BackendConfig::File(Config { path })], ContinueOnError::No).unwrap();
    let ask =
        |name, password: &str| chain.authenticate(&password_request(name, password.as_bytes()));
    assert_eq!(
        ask("bert", CHEAP_PASSWORD),
        Verdict::Reject(RejectReason::UnknownUser)
    );
    assert!(matches!(ask("anna", CHEAP_PASSWORD), Verdict::Accept(_)));
}

#[test]
fn comments_and_empty_lines_are_skipped() {
    let backend = backend(&format!(
        "# users\n\n  # more\r\nanna:{CHEAP}\r\n\n a:b@c:{CHEAP}"
    ));
    assert_eq!(backend.users(), 2);
    let verdict = backend.authenticate(&password_request("a:b@c", CHEAP_PASSWORD.as_bytes()));
    assert!(matches!(verdict, Verdict::Accept(_)));
}

#[test]
fn each_bad_line_is_named_with_what_is_allowed() {
    assert_eq!(line_error("# fine\nanna\n"), (2, LineProblem::NoColon));
    assert!(matches!(
        line_error(&format!("a/b:{CHEAP}")),
        (1, LineProblem::Name(_))
    ));
    let weak = line_error(&format!("anna:{}", CHEAP.replace("argon2id", "argon2i")));
    assert_eq!(
        weak,
        (
            1,
            LineProblem::Hash {
                name: "anna".into()
            }
        )
    );
    assert!(weak.1.to_string().contains("$argon2id$v=19$m=M"));
    assert!(matches!(
        line_error("anna:secretword12"),
        (1, LineProblem::Hash { .. })
    ));
    let twice = line_error(&format!("anna:{CHEAP}\n# x\nanna:{CHEAP}\n"));
    assert_eq!(
        twice,
        (
            3,
            LineProblem::Duplicate {
                name: "anna".into(),
                first: 1
            }
        )
    );
    let error = UserTable::parse(Path::new("users"), b"a\n\xff\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "users:1: no `:` found: allowed is `name:hash`, a line that begins with `#`, or an empty line"
    );
    let error = UserTable::parse(Path::new("users"), b"\n\xff\n").unwrap_err();
    assert_eq!(error.to_string(), "users:2: not UTF-8 text");
}

#[test]
fn lines_and_files_beyond_their_bounds_are_refused() {
    let longest = "#".repeat(LINE_BYTES_MAX);
    assert!(UserTable::parse(Path::new("users"), longest.as_bytes()).is_ok());
    assert_eq!(
        line_error(&format!("\n{longest}#")),
        (2, LineProblem::TooLong)
    );
    let (_folder, path) = users("");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(USERS_FILE_BYTES_MAX + 1).unwrap();
    let error = FileBackend::open(&Config { path: path.clone() }).unwrap_err();
    assert_eq!(error, UsersError::TooLarge { path });
}

#[test]
fn a_line_of_the_longest_name_and_hash_fits() {
    let name = "n".repeat(crate::USER_NAME_CHARS_MAX);
    let long_salt = include_str!("../../../testdata/argon2id-long-salt.txt").trim();
    let line = format!(
        "{name}:{}",
        long_salt.replace("m=1024,t=1,p=1", "m=262144,t=10,p=8")
    );
    assert!(line.len() <= LINE_BYTES_MAX);
    assert_eq!(
        UserTable::parse(Path::new("users"), line.as_bytes())
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_file_that_everybody_can_read_is_refused() {
    let (_folder, path) = users("");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let error = FileBackend::open(&Config { path: path.clone() }).unwrap_err();
    assert_eq!(
        error,
        UsersError::Permissions {
            path: path.clone(),
            mode: 0o644
        }
    );
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    assert!(FileBackend::open(&Config { path }).is_ok());
}

#[test]
fn a_reload_takes_a_good_file_and_a_bad_one_changes_nothing() {
    let (_folder, path) = users(&format!("anna:{CHEAP}\n"));
    let backend = FileBackend::open(&Config { path: path.clone() }).unwrap();
    let knows = |name| {
        matches!(
            backend.authenticate(&password_request(name, CHEAP_PASSWORD.as_bytes())),
            Verdict::Accept(_)
        )
    };
    write(&path, &format!("bert:{CHEAP}\nbroken\n"));
    let error = backend.reload().unwrap_err();
    assert!(error.to_string().contains("users:2: "), "{error}");
    assert!(knows("anna") && !knows("bert"));
    write(&path, &format!("bert:{CHEAP}\n"));
    backend.reload().unwrap();
    assert!(!knows("anna") && knows("bert"));
    fs::remove_file(&path).unwrap();
    backend.reload().unwrap();
    assert!(!knows("bert"), "no file, nobody");
}

#[test]
fn edits_keep_comments_and_order() {
    let (_folder, path) = users(&format!("# head\nanna:{CHEAP}\n\n# middle\nbert:{CHEAP}"));
    UserFile::add(&path, "carl", &"twelve chars".into()).unwrap();
    UserFile::set_password(&path, "anna", &"other twelve chars".into()).unwrap();
    UserFile::remove(&path, "bert").unwrap();
    assert_eq!(UserFile::list(&path).unwrap(), ["anna", "carl"]);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text
        .lines()
        .map(|line| line.split(":$").next().unwrap())
        .collect();
    assert_eq!(lines, ["# head", "anna", "", "# middle", "carl"]);
    let backend = FileBackend::open(&Config { path }).unwrap();
    let ask = |name, password: &[u8]| backend.authenticate(&password_request(name, password));
    assert!(matches!(
        ask("anna", b"other twelve chars"),
        Verdict::Accept(_)
    ));
    assert!(matches!(ask("carl", b"twelve chars"), Verdict::Accept(_)));
    assert_eq!(
        ask("anna", CHEAP_PASSWORD.as_bytes()),
        Verdict::Reject(RejectReason::WrongPassword)
    );
}

#[test]
fn refused_edits_leave_the_file_alone() {
    let text = format!("anna:{CHEAP}\n");
    let (folder, path) = users(&text);
    let good: Password = "twelve chars".into();
    let name = || "bert".to_owned();
    assert_eq!(
        UserFile::add(&path, "anna", &good),
        Err(EditError::Exists {
            name: "anna".into()
        })
    );
    assert_eq!(
        UserFile::set_password(&path, "bert", &good),
        Err(EditError::Unknown { name: name() })
    );
    assert_eq!(
        UserFile::remove(&path, "bert"),
        Err(EditError::Unknown { name: name() })
    );
    let short = PasswordError::TooShort { chars: 11 };
    assert_eq!(
        UserFile::add(&path, "bert", &"eleven char".into()),
        Err(EditError::Password(short))
    );
    let bad_name = check_user_name("a b").unwrap_err();
    assert_eq!(
        UserFile::add(&path, "a b", &good),
        Err(EditError::Name(bad_name))
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert_eq!(
        names_in(folder.path()),
        ["users".to_owned(), ".users.lock".to_owned()].into()
    );
}

#[test]
fn a_file_with_an_error_is_not_written_over() {
    let text = format!("anna:{CHEAP}\nbroken\n");
    let (_folder, path) = users(&text);
    let error = UserFile::add(&path, "bert", &"twelve chars".into()).unwrap_err();
    assert!(
        matches!(error, EditError::Users(UsersError::Line { line: 2, .. })),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_new_file_is_0600_and_belongs_to_the_owner_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let euid = rustix::process::geteuid();
    let owner = if euid.is_root() {
        12_345
    } else {
        euid.as_raw()
    };
    std::os::unix::fs::chown(folder.path(), Some(owner), None).unwrap();
    let path = folder.path().join("users");
    assert_eq!(UserFile::list(&path).unwrap(), Vec::<String>::new());
    UserFile::add(&path, "anna", &"twelve chars".into()).unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(
        (metadata.permissions().mode() & 0o777, metadata.uid()),
        (0o600, owner)
    );
}

#[test]
fn concurrent_adds_are_all_kept() {
    let (_folder, path) = users("");
    thread::scope(|scope| {
        for n in 0..8 {
            let path = &path;
            scope.spawn(move || {
                UserFile::add(path, &format!("user-{n}"), &"twelve chars".into()).unwrap()
            });
        }
    });
    let names: BTreeSet<_> = UserFile::list(&path).unwrap().into_iter().collect();
    assert_eq!(names, (0..8).map(|n| format!("user-{n}")).collect());
}

const FOLDER: &str = "MOAT_AUTH_TEST_FOLDER";

#[test]
fn a_full_disk_changes_nothing_and_leaves_nothing() {
    let text: String = (0..8).map(|n| format!("user-{n}:{CHEAP}\n")).collect();
    let (folder, path) = users(&text);
    // No file may grow beyond one block of 512 bytes; ignoring the signal makes that an error.
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$1\" --exact \"$2\" --ignored --test-threads=1";
    let output = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(env::current_exe().unwrap())
        .arg("backend::file::tests::child_add")
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "{printed}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert_eq!(
        names_in(folder.path()),
        ["users".to_owned(), ".users.lock".to_owned()].into()
    );
}

#[test]
#[ignore = "run in a child process by a_full_disk_changes_nothing_and_leaves_nothing"]
fn child_add() {
    let path = PathBuf::from(env::var_os(FOLDER).unwrap()).join("users");
    let error = UserFile::add(&path, "anna", &"twelve chars".into()).unwrap_err();
    assert_eq!(error, EditError::DiskFull { path });
}

#[test]
fn debug_output_holds_no_hash() {
    let backend = backend(&format!("anna:{CHEAP}\n"));
    let table = UserTable::parse(Path::new("users"), format!("anna:{CHEAP}\n").as_bytes()).unwrap();
    let text = format!("{backend:?}{table:?}");
    assert!(
        !text.contains("c2FsdHNh") && !text.contains("115, 97, 108, 116"),
        "{text}"
    );
}
