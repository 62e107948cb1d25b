use super::*;
use crate::table::Event;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn start(path: &Path, format: Format) -> (EventSender, EventLogHandle) {
    EventLog::start(Options {
        format,
        destination: Destination::File(path.to_owned()),
        level: Level::Info,
    })
    .unwrap()
}

fn reloaded(what: &str) -> Event {
    Event::ReloadSucceeded { what: what.into() }
}

#[test]
fn stopping_writes_everything_that_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("moat.log");
    let (sender, handle) = start(&path, Format::Text);
    let count = 10_000;
    for number in 0..count {
        sender.send(reloaded(&number.to_string()));
    }
    handle.flush_and_stop().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), count);
    for (number, line) in text.lines().enumerate() {
        assert!(
            line.ends_with(&format!(" NOTICE reload.succeeded what={number}")),
            "{line}"
        );
    }
}

#[test]
fn the_file_is_not_for_everybody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("moat.log");
    let (_sender, handle) = start(&path, Format::Text);
    handle.flush_and_stop().unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o137, 0, "{mode:o}");
}

#[test]
fn reopening_after_a_rename_writes_to_the_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("moat.log");
    let moved = folder.path().join("moat.log.1");
    let (sender, handle) = start(&path, Format::Json);
    sender.send(reloaded("before"));
    fs::rename(&path, &moved).unwrap();
    handle.reopen().unwrap();
    sender.send(reloaded("after"));
    handle.flush_and_stop().unwrap();
    let old = fs::read_to_string(&moved).unwrap();
    let new = fs::read_to_string(&path).unwrap();
    assert!(old.contains("before") && !old.contains("after"), "{old}");
    assert!(
        new.contains("log.reopened") && new.contains("after"),
        "{new}"
    );
}

#[test]
fn a_failed_reopen_keeps_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("log");
    fs::create_dir(&inner).unwrap();
    let (sender, handle) = start(&inner.join("moat.log"), Format::Text);
    let moved = folder.path().join("moved");
    fs::rename(&inner, &moved).unwrap();
    let error = handle.reopen().unwrap_err();
    assert!(
        error.to_string().starts_with("cannot open the log file "),
        "{error}"
    );
    sender.send(reloaded("still here"));
    handle.flush_and_stop().unwrap();
    let text = fs::read_to_string(moved.join("moat.log")).unwrap();
    assert!(text.contains("still here"));
}

#[test]
fn a_file_that_cannot_be_opened_fails_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent").join("moat.log");
    let options = Options {
        format: Format::Text,
        destination: Destination::File(path.clone()),
        level: Level::Info,
    };
    let error = EventLog::start(options).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains(path.to_str().unwrap()));
}

#[test]
fn dropped_events_are_told_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("moat.log");
    let (sender, handle) = start(&path, Format::Text);
    let queue = handle.queue.upgrade().unwrap();
    queue.dropped.store(7, std::sync::atomic::Ordering::Relaxed);
    drop(queue);
    sender.send(reloaded("policy"));
    handle.flush_and_stop().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(" ERROR events.dropped count=7\n"), "{text}");
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn the_log_ends_with_its_last_sender() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, handle) = start(&folder.path().join("moat.log"), Format::Text);
    drop(sender);
    handle.flush_and_stop().unwrap();
    assert_eq!(
        handle.reopen().unwrap_err().kind(),
        io::ErrorKind::BrokenPipe
    );
}

#[test]
fn stopping_twice_is_not_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, handle) = start(&folder.path().join("moat.log"), Format::Text);
    handle.flush_and_stop().unwrap();
    sender.send(reloaded("too late"));
    handle.flush_and_stop().unwrap();
}

#[test]
fn a_full_disk_loses_events_but_says_so() {
    // /dev/full fails every write as a full disk does.
    if !Path::new("/dev/full").exists() {
        return;
    }
    let (sender, handle) = start(Path::new("/dev/full"), Format::Text);
    sender.send(reloaded("policy"));
    let error = handle.flush_and_stop().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}
