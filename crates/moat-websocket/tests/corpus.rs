//! Replays `fuzz/corpus/ws_*` through the checks of the fuzz targets, so that what a fuzzer once found stays fixed
//! on machines without one.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;

use moat_websocket::checks;

/// Runs `check` on every file of a target's corpus and returns how many there were.
fn replay(target: &str, check: fn(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    for file in &files {
        let input = fs::read(file).unwrap();
        if std::panic::catch_unwind(|| check(&input)).is_err() {
            panic!("the check of {target} fails for {}", file.display());
        }
    }
    files.len()
}

#[test]
fn frame_corpus_holds() {
    assert!(replay("ws_frame", checks::ws_frame) > 0);
}

#[test]
fn upgrade_corpus_holds() {
    assert!(replay("ws_upgrade", checks::ws_upgrade) > 0);
}
