//! What a commit costs: `cargo run --release -p moat-store --example commit -- [folder] [seconds]`.
//!
//! Commits of 1, 100 and 1000 records of 64 bytes, each with an fsync, beside bare writes and
//! `fdatasync` of as many bytes; then commits without an fsync, reads by position, and a scan.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement for developers, run by hand"
)]

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use moat_store::disk::{DiskOptions, DiskStore, Durability};
use moat_store::{Part, Position, Record, Sequence, Store, Want, Write};
use rustix::time::{ClockId, clock_gettime};

const PAYLOAD: &[u8] = &[b'x'; 64];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder: PathBuf = arguments
        .next()
        .unwrap_or_else(|| "commit-bench".into())
        .into();
    let seconds = arguments.next().map_or(2, |text| text.parse().unwrap());
    let time = Duration::from_secs(seconds);
    println!("durability  records  commits/s   records/s  cpu us/record  p50 us  p99 us");
    for count in [1, 100, 1000] {
        bare(&folder, count, time);
        for durability in [Durability::Fsync, Durability::Os] {
            commits(&folder, count, durability, time);
        }
    }
    puts(&folder, time);
    segments(&folder, time);
    reads(&folder);
    std::fs::remove_dir_all(&folder).unwrap();
}

fn fresh(folder: &Path) {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).unwrap();
}

fn store(folder: &Path, durability: Durability) -> DiskStore {
    let options = DiskOptions {
        durability,
        ..DiskOptions::default()
    };
    DiskStore::open(folder, options).unwrap()
}

fn record() -> Record {
    Record {
        part: Part(0),
        topic: "site/line/device/value".into(),
        headers: Bytes::from_static(&[1; 24]),
        payload: Bytes::from_static(PAYLOAD),
        dedup_id: None,
        takers: 1,
    }
}

fn batch(count: usize) -> Vec<Write> {
    let record = record();
    let append = || Write::Append {
        at: None,
        record: record.clone(),
    };
    (0..count).map(|_| append()).collect()
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        now.tv_sec.cast_unsigned(),
        u32::try_from(now.tv_nsec).unwrap(),
    )
}

/// Runs `step` for a while and prints what a call of it takes.
fn measure(label: &str, count: usize, time: Duration, mut step: impl FnMut()) {
    let (start, cpu_start) = (Instant::now(), cpu());
    let mut latencies = Vec::new();
    while start.elapsed() < time {
        let begin = Instant::now();
        step();
        latencies.push(begin.elapsed());
    }
    let (elapsed, used) = (start.elapsed().as_secs_f64(), cpu() - cpu_start);
    latencies.sort_unstable();
    let commits = latencies.len() as f64 / elapsed;
    println!(
        "{label:<10}  {count:>7}  {commits:>9.0}  {:>10.0}  {:>13.3}  {:>6}  {:>6}",
        commits * count as f64,
        used.as_secs_f64() * 1e6 / (latencies.len() * count) as f64,
        latencies[latencies.len() / 2].as_micros(),
        latencies[latencies.len() * 99 / 100].as_micros(),
    );
}

fn bare(folder: &Path, count: usize, time: Duration) {
    fresh(folder);
    let mut file = File::create(folder.join("bare")).unwrap();
    let bytes = vec![b'x'; count * record().size()];
    measure("fdatasync", count, time, || {
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
    });
}

fn commits(folder: &Path, count: usize, durability: Durability, time: Duration) {
    fresh(folder);
    let store = store(folder, durability);
    let label = match durability {
        Durability::Fsync => "fsync",
        Durability::Os => "os",
    };
    measure(label, count, time, || {
        store.commit(batch(count), SystemTime::now()).unwrap();
    });
}

fn puts(folder: &Path, time: Duration) {
    fresh(folder);
    let store = store(folder, Durability::Os);
    let mut number = 0u64;
    measure("os put", 1000, time, || {
        let put = |number: u64| Write::Put {
            bucket: "progress",
            key: Bytes::copy_from_slice(&(number % 100_000).to_be_bytes()),
            value: Bytes::from_static(&[7; 32]),
        };
        let writes = (number..number + 1000).map(put).collect();
        number += 1000;
        store.commit(writes, SystemTime::now()).unwrap();
    });
}

/// Each commit begins a segment, and the one before is dropped.
fn segments(folder: &Path, time: Duration) {
    fresh(folder);
    let store = store(folder, Durability::Fsync);
    let mut now = SystemTime::now();
    let mut last = store.commit(batch(1), now).unwrap();
    measure("segment", 1, time, || {
        now += Duration::from_secs(3600);
        let writes = [batch(1), vec![Write::Release(last[0])]].concat();
        last = store.commit(writes, now).unwrap();
    });
}

fn reads(folder: &Path) {
    const RECORDS: u64 = 1_000_000;
    const READS: u64 = 200_000;
    fresh(folder);
    let writer = store(folder, Durability::Os);
    for _ in 0..RECORDS / 1000 {
        writer.commit(batch(1000), SystemTime::now()).unwrap();
    }
    drop(writer);
    let start = Instant::now();
    let store = store(folder, Durability::Os);
    println!("open: {:?} with {RECORDS} records", start.elapsed());
    let position = |number: u64| Position {
        part: Part(0),
        sequence: Sequence(1 + number % RECORDS),
    };
    store.read_exact(&[position(0)]).unwrap();
    for (label, step) in [("ascending", 1), ("random", 7_919_777)] {
        let (start, cpu_start) = (Instant::now(), cpu());
        let positions: Vec<_> = (0..READS).map(|n| position(n * step)).collect();
        for chunk in positions.chunks(100) {
            assert!(store.read_exact(chunk).unwrap().iter().all(Option::is_some));
        }
        let (elapsed, used) = (start.elapsed(), cpu() - cpu_start);
        let per = |time: Duration| time.as_secs_f64() * 1e6 / READS as f64;
        println!(
            "read {label}: {:.2} us, cpu {:.2} us each",
            per(elapsed),
            per(used)
        );
    }
    let (start, mut from, mut count) = (Instant::now(), Sequence::FIRST, 0);
    loop {
        let page = store.read(Part(0), from, 4096, &Want::All).unwrap();
        count += page.records.len();
        from = page.next;
        if from == page.extent.next {
            break;
        }
    }
    println!("scan: {count} records in {:?}", start.elapsed());
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    println!(
        "resident: {} MiB; on disk: {} MiB",
        pages / 256,
        store.bytes() >> 20
    );
}
