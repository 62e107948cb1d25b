//! A process that is killed while it writes, again and again: whole commits, and all that were
//! acknowledged. It writes so much that journals and segments come and go.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};

use super::*;

const FOLDER: &str = "MOAT_STORE_TEST_FOLDER";
const ROUNDS: u64 = 3;
/// Commits whose records are still wanted.
const WANTED: u64 = 200;
const KEYS: u64 = 50;
const RECORD_BYTES: usize = 200_000;

fn text(number: u64) -> String {
    let mut text = format!("{number} ");
    text.extend(std::iter::repeat_n(
        char::from(b"abcdefghij"[(number % 10) as usize]),
        RECORD_BYTES,
    ));
    text
}

fn commit_of(number: u64) -> Vec<Write> {
    let mut writes = vec![
        Write::Append {
            at: Some(Sequence(number)),
            record: record(&text(number)),
        },
        put(
            &format!("k{}", number % KEYS),
            &text(number)[..RECORD_BYTES / 4],
        ),
        put("last", &number.to_string()),
    ];
    if number > WANTED {
        writes.push(Write::Release(position(number - WANTED)));
    }
    writes
}

#[test]
#[ignore = "the process that is killed by the test below"]
fn writer() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let store = DiskStore::open(Path::new(&folder), SAFE).unwrap();
    let mut next = store.head(PART).unwrap().next.0;
    let live: Vec<_> = (next.saturating_sub(WANTED).max(1)..next)
        .map(|number| (position(number), 1))
        .collect();
    store.recount(&live).unwrap();
    let mut out = std::io::stdout().lock();
    loop {
        let now = now() + Duration::from_secs(4 * next);
        store.commit(commit_of(next), now).unwrap();
        writeln!(out, "committed {next}").unwrap();
        out.flush().unwrap();
        next += 1;
    }
}

/// Lets the writer commit so many times and kills it. The last commit that it has told.
fn run_writer(folder: &Path, commits: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "disk::tests::killed::writer",
            "--ignored",
            "--nocapture",
        ])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut told, mut count) = (0, 0);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some((_, number)) = line.split_once("committed ") {
            told = number.parse().unwrap();
            count += 1;
        }
        if count == commits {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(count >= commits, "the writer ended by itself");
    told
}

#[test]
fn a_killed_writer_leaves_whole_commits_and_all_that_it_told() {
    let folder = TempDir::new().unwrap();
    for round in 0..ROUNDS {
        let told = run_writer(folder.path(), 230 + 97 * round);
        let report = verify(folder.path(), &mut |_| {}).unwrap();
        assert_eq!(report.problems, []);
        let store = DiskStore::open(folder.path(), SAFE).unwrap();
        let extent = store.head(PART).unwrap();
        let last = extent.next.0 - 1;
        assert!(last == told || last == told + 1, "{last}, told {told}");
        let oldest = last.saturating_sub(WANTED) + 1;
        assert!(extent.first.0 <= oldest);
        assert!(round == 0 || extent.first.0 > 1, "old segments are dropped");
        for number in oldest.max(1)..=last {
            let found = store.read_exact(&[position(number)]).unwrap();
            assert_eq!(found, [Some(record(&text(number)))], "{number}");
        }
        for number in last - KEYS + 1..=last {
            let key = format!("k{}", number % KEYS);
            let found = store.get("things", key.as_bytes(), now()).unwrap().unwrap();
            assert!(found.value.starts_with(format!("{number} ").as_bytes()));
        }
        let found = store.get("things", b"last", now()).unwrap().unwrap();
        assert_eq!(*found.value, *last.to_string().as_bytes());
    }
}
