//! The disk against what a program really does, watched by strace.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::process::Command;

use super::*;
use crate::trace;

/// Set for the process that is watched: the folder it works in.
const WORKPLACE: &str = "MOAT_CRASH_WORKPLACE";

#[test]
#[ignore = "the test below runs it, under strace"]
fn work() {
    let Some(folder) = std::env::var_os(WORKPLACE).map(PathBuf::from) else {
        return;
    };
    let sync_folder = || File::open(&folder).unwrap().sync_all().unwrap();
    let write = |name: &str, text: &str| {
        let mut file = File::create(folder.join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    };
    // Durable as a whole, then written to again at its end and in the middle.
    let mut synced = write("synced", "0123456789");
    synced.sync_all().unwrap();
    let copy = synced.try_clone().unwrap();
    sync_folder();
    synced.write_all(b"tail").unwrap();
    (&copy).seek(SeekFrom::Start(2)).unwrap();
    synced.write_all(b"XX").unwrap();
    let mut appending = OpenOptions::new()
        .append(true)
        .open(folder.join("synced"))
        .unwrap();
    appending.write_all(b"end").unwrap();
    // Its bytes are durable and its name is not.
    write("nameless", "text").sync_data().unwrap();
    // The other way round.
    write("empty", "text");
    sync_folder();
    // Renamed, and that is not durable.
    write("draft", "new").sync_all().unwrap();
    sync_folder();
    fs::rename(folder.join("draft"), folder.join("final")).unwrap();
    fs::create_dir(folder.join("below")).unwrap();
    write("below/file", "deep").sync_all().unwrap();
    fs::remove_file(folder.join("old")).unwrap();
    let long = File::create(folder.join("long")).unwrap();
    long.set_len(1 << 20).unwrap();
}

fn text(folder: &Path, name: &str) -> Option<String> {
    let bytes = fs::read(folder.join(name)).ok()?;
    Some(String::from_utf8(bytes).unwrap())
}

#[test]
fn a_power_cut_leaves_what_was_synced_and_any_part_of_the_rest() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, log) = (parent.path().join("work"), parent.path().join("log"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("old"), "old").unwrap();
    let mut disk = Disk::of_folder(&folder);

    let strace = trace::strace(&log);
    let mut watched = Command::new(&strace[0]);
    watched
        .args(&strace[1..])
        .arg(std::env::current_exe().unwrap());
    watched.args(["--exact", "disk::tests::work", "--ignored"]);
    let mut child = watched.env(WORKPLACE, &folder).spawn().unwrap();
    let process = child.id();
    assert!(child.wait().unwrap().success());
    let calls = trace::read(&log, process);
    disk.replay(&calls, u64::MAX - 1);

    let mut dice = Dice::new(1, 1);
    let mut left = |loss| {
        let folder = parent.path().join(format!("left-{loss:?}"));
        disk.leave(&folder, loss, &mut dice);
        folder
    };
    let all = left(Loss::None);
    assert_eq!(text(&all, "synced").as_deref(), Some("01XX456789tailend"));
    assert_eq!(text(&all, "below/file").as_deref(), Some("deep"));
    assert_eq!(fs::metadata(all.join("long")).unwrap().len(), 1 << 20);
    // It is what the program left behind.
    for name in [
        "synced", "nameless", "empty", "draft", "final", "old", "long",
    ] {
        assert_eq!(text(&all, name), text(&folder, name), "{name}");
    }

    let least = left(Loss::All);
    assert_eq!(text(&least, "synced").as_deref(), Some("0123456789"));
    // The sync of the folder after it was for all of its entries.
    assert_eq!(text(&least, "nameless").as_deref(), Some("text"));
    assert_eq!(text(&least, "empty").as_deref(), Some(""));
    assert_eq!(text(&least, "draft").as_deref(), Some("new"));
    assert_eq!(text(&least, "old").as_deref(), Some("old"));
    for name in ["final", "below", "long"] {
        assert!(!least.join(name).exists(), "{name}");
    }

    // What is durable is there whatever else is.
    let some = left(Loss::Some(50));
    assert!(text(&some, "synced").unwrap().len() >= 10);
}

#[test]
fn a_moment_in_between_knows_nothing_of_what_comes_after() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("work");
    fs::create_dir(&folder).unwrap();
    let path: String = folder
        .join("a")
        .to_str()
        .unwrap()
        .bytes()
        .map(|byte| format!("\\x{byte:02x}"))
        .collect();
    let log = format!(
        "1 0.000100 openat(AT_FDCWD, \"{path}\", O_RDWR|O_CREAT, 0600) = 3 <0.000001>\n\
         1 0.000200 write(3, \"\\x61\", 1) = 1 <0.000001>\n\
         1 0.000300 write(3, \"\\x62\", 1 <unfinished ...>\n\
         2 0.000310 fsync(3 <unfinished ...>\n\
         1 0.000320 <... write resumed>) = 1 <0.000020>\n\
         2 0.000400 <... fsync resumed>) = 0 <0.000090>\n\
         1 0.000500 write(3, \"\\x63\", 1) = 1 <0.000001>\n"
    );
    let calls = trace::parse(&log);
    let lengths = |until| {
        let mut disk = Disk::of_folder(&folder);
        disk.replay(&calls, until);
        let Kind::File { len, durable, .. } = &disk.nodes[1].kind else {
            panic!("a file");
        };
        (*len, durable.len)
    };
    assert_eq!(lengths(250), (1, 0));
    // The write has begun, and may be there.
    assert_eq!(lengths(305), (2, 0));
    assert_eq!(lengths(350), (2, 0));
    // The sync began before the second write returned, so it need not have had it.
    assert_eq!(lengths(450), (2, 1));
    assert_eq!(lengths(600), (3, 1));
}
