//! `moat store stats`

use std::time::{Duration, SystemTime};

use moat_broker::Clock;
use moat_store::disk::{self, PartStats, SegmentStats, Stats};
use moat_store::layout::{self, Inspection};
use serde_json::{Value, json};

use crate::config_file;
use crate::data_folder::DataPlace;
use crate::exit::Failure;
use crate::output::{Output, duration, size};
use crate::service::status::rfc3339;
use crate::store;

/// Counts what is in the store.
///
/// # Errors
/// There is no store, it is in use, or it is damaged.
pub(crate) fn run(place: &DataPlace, output: &Output) -> Result<(), Failure> {
    let config = config_file::load(place)?.config.store;
    store::check_owner(&config.path)?;
    let stats = disk::stats(&config.path).map_err(Failure::failed)?;
    let store = store::open_disk(&config)?;
    let found = layout::inspect(&*store, Clock::start().now()).map_err(Failure::failed)?;
    output.result(&text(&stats, &found), || value(&stats, &found));
    Ok(())
}

/// How many takers still wait for records of a segment.
fn waiting(found: &Inspection, part: &PartStats, segment: &SegmentStats) -> u64 {
    let records = segment.first.0..segment.first.0 + segment.records;
    let is_in = |position: &moat_store::Position| {
        position.part == part.part && records.contains(&position.sequence.0)
    };
    let takers = found.live.iter().filter(|(position, _)| is_in(position));
    takers.map(|(_, takers)| u64::from(*takers)).sum()
}

fn text(stats: &Stats, found: &Inspection) -> String {
    let tally = &found.tally;
    let mut lines = vec![
        format!("{} on the disk", size(stats.bytes)),
        format!(
            "{} sessions, {} messages that wait for them, {} retained messages",
            tally.sessions, tally.entries, tally.retained
        ),
    ];
    for part in &stats.parts {
        lines.push(format!(
            "log part {}: records {} to {}",
            part.part.0,
            part.first.0,
            part.next.0.saturating_sub(1)
        ));
        for segment in &part.segments {
            lines.push(format!(
                "  segment {}: {} records, {}, {} to deliver, begun {} ago",
                segment.first.0,
                segment.records,
                size(segment.bytes),
                waiting(found, part, segment),
                age(segment.created_ms)
            ));
        }
    }
    for bucket in &stats.buckets {
        let (name, keys) = (&bucket.name, bucket.keys);
        lines.push(format!(
            "bucket {name}: {keys} keys, {}",
            size(bucket.bytes)
        ));
    }
    lines.join("\n")
}

fn age(created_ms: u64) -> String {
    let created = SystemTime::UNIX_EPOCH + Duration::from_millis(created_ms);
    duration(created.elapsed().map_or(0, |age| age.as_secs()))
}

fn value(stats: &Stats, found: &Inspection) -> Value {
    let segment = |part: &PartStats, segment: &SegmentStats| {
        json!({
            "first": segment.first.0,
            "records": segment.records,
            "bytes": segment.bytes,
            "created_at": rfc3339(SystemTime::UNIX_EPOCH + Duration::from_millis(segment.created_ms)),
            "to_deliver": waiting(found, part, segment),
        })
    };
    let part = |part: &PartStats| {
        let segments: Vec<Value> = part.segments.iter().map(|s| segment(part, s)).collect();
        json!({ "part": part.part.0, "first": part.first.0, "next": part.next.0, "segments": segments })
    };
    let parts: Vec<Value> = stats.parts.iter().map(part).collect();
    let bucket = |bucket: &disk::BucketStats| json!({ "name": bucket.name, "keys": bucket.keys, "bytes": bucket.bytes });
    let buckets: Vec<Value> = stats.buckets.iter().map(bucket).collect();
    json!({
        "bytes": stats.bytes,
        "sessions": found.tally.sessions,
        "messages": found.tally.entries,
        "retained": found.tally.retained,
        "parts": parts,
        "buckets": buckets,
    })
}
