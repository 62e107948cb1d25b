//! Writing: one plan, one batch, one fsync; and the segments that nobody waits for any more.

use std::collections::BTreeMap;
use std::sync::MutexGuard;
use std::time::SystemTime;

use bytes::Bytes;

use super::limits::{MEASURE_EVERY_BYTES, RESERVE_BYTES};
use super::notes::{Note, State};
use super::plan::{Change, Plan, What};
use super::recover::ENDS;
use super::shared::{Live, Writer};
use super::{DiskStore, ends, read_lock, value, write_lock};
use crate::bucket::EXPIRE_KEYS_MAX;
use crate::watch::locked;
use crate::{Part, Position, Sequence, StoreError};

impl DiskStore {
    /// Makes a commit of what `add` plans, then takes `released` in.
    pub(super) fn write<T>(
        &self,
        now: Option<SystemTime>,
        released: &[Position],
        add: impl FnOnce(&mut Plan<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut writer = locked(&self.writer);
        if let Some(stopped) = &writer.stopped {
            return Err(stopped.clone());
        }
        writer.now = now.or(writer.now);
        let now = writer.now.unwrap_or(SystemTime::UNIX_EPOCH);
        let done = self
            .shared
            .with(|live| self.write_with(live, &mut writer, now, add));
        match done {
            Ok(done) => {
                let mut index = write_lock(&self.shared.index);
                released
                    .iter()
                    .for_each(|position| index.release(*position));
                drop(index);
                // The commit is durable: what goes wrong from here on is told by the next one.
                let _ = self.sweep(writer, Some(now));
                Ok(done)
            }
            Err(error) => {
                stop_on(&mut writer, &error);
                Err(error)
            }
        }
    }

    fn write_with<T>(
        &self,
        live: &Live,
        writer: &mut Writer,
        now: SystemTime,
        add: impl FnOnce(&mut Plan<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut plan = Plan::new(&self.shared, live, writer, now);
        let added = add(&mut plan)?;
        plan.seal()?;
        self.check_room(plan.bytes, plan.appends)?;
        plan.wait_for_room()?;
        let (batch, outcome) = plan.finish();
        live.engine.commit(batch)?;
        outcome.apply(&self.shared, writer);
        if writer.written >= MEASURE_EVERY_BYTES {
            writer.written = 0;
            self.shared.measure();
        }
        Ok(added)
    }

    fn check_room(&self, bytes: u64, appends: bool) -> Result<(), StoreError> {
        let limit = self.options.store_bytes_max;
        let reserve = if appends { 0 } else { RESERVE_BYTES };
        let fits = |usage: u64| usage.saturating_add(bytes) <= limit.saturating_add(reserve);
        if fits(self.shared.usage()) || fits(self.shared.measure()) {
            return Ok(());
        }
        Err(StoreError::Full { limit })
    }

    pub(super) fn trim_part(&self, part: Part, below: Sequence) -> Result<(), StoreError> {
        let mut writer = locked(&self.writer);
        if let Some(stopped) = &writer.stopped {
            return Err(stopped.clone());
        }
        let trimmed = self.shared.with(|live| {
            let index = read_lock(&self.shared.index);
            let Some(known) = index.parts.get(&part) else {
                return Ok(());
            };
            let first = below.0.min(known.next);
            if first <= known.first {
                return Ok(());
            }
            let whole = known
                .segments
                .iter()
                .filter(|(_, segment)| segment.next <= first);
            let whole: Vec<_> = whole.map(|(first, _)| *first).collect();
            drop(index);
            self.retire(live, part, &whole, first)
        });
        trimmed.inspect_err(|error| stop_on(&mut writer, error))
    }

    /// Drops the segments that nobody waits for.
    pub(super) fn sweep(
        &self,
        mut writer: MutexGuard<'_, Writer>,
        now: Option<SystemTime>,
    ) -> Result<(), StoreError> {
        let now = now.and_then(value::nanos).unwrap_or(0) / 1_000_000;
        let mut by_part: BTreeMap<Part, Vec<u64>> = BTreeMap::new();
        for (part, first) in read_lock(&self.shared.index).done(now) {
            by_part.entry(part).or_default().push(first);
        }
        if by_part.is_empty() {
            return Ok(());
        }
        let swept = self.shared.with(|live| {
            by_part
                .iter()
                .try_for_each(|(part, segments)| self.retire(live, *part, segments, 0))
        });
        swept.inspect_err(|error| stop_on(&mut writer, error))
    }

    /// Drops segments of a part, and raises its first record to `first` at least.
    ///
    /// The notes are durable before a keyspace goes: a crash between the two leaves a keyspace that
    /// the next start takes away.
    fn retire(
        &self,
        live: &Live,
        part: Part,
        segments: &[u64],
        first: u64,
    ) -> Result<(), StoreError> {
        let mut index = write_lock(&self.shared.index);
        let Some(known) = index.parts.get_mut(&part) else {
            return Ok(());
        };
        let (mut notes, mut gone, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
        for start in segments {
            if let Some(segment) = known.segments.get_mut(start) {
                dropped.extend(segment.keyspace.take());
                notes.push(Note::Segment {
                    part,
                    first: *start,
                    created: segment.created,
                    state: State::Dropped(segment.next),
                });
            }
        }
        known.first = known.first.max(first);
        while let Some(oldest) = known.segments.first_entry()
            && oldest.get().keyspace.is_none()
        {
            known.first = known.first.max(oldest.get().next);
            gone.push(Note::Segment {
                part,
                first: *oldest.key(),
                created: 0,
                state: State::Open,
            });
            oldest.remove();
        }
        notes.push(Note::Part {
            part,
            first: known.first,
            next: known.next,
        });
        drop(index);
        let gone: Vec<_> = gone.iter().map(Note::key).collect();
        write_notes(live, &notes, &gone)?;
        for keyspace in dropped {
            live.engine.delete(keyspace)?;
        }
        self.shared.measure();
        Ok(())
    }

    pub(super) fn expire_due(&self, now: SystemTime) -> Result<usize, StoreError> {
        let Some(nanos) = value::nanos(now) else {
            return Ok(0);
        };
        let is_due = locked(&self.writer)
            .next_end
            .is_some_and(|end| end <= nanos);
        let mut removed = 0;
        // Ends of values that were replaced do not count, so there may be several rounds.
        let mut more = is_due;
        while more && removed < EXPIRE_KEYS_MAX {
            let max = EXPIRE_KEYS_MAX - removed;
            let (count, examined) = self.write(Some(now), &[], |plan| plan.expire(nanos, max))?;
            removed += count;
            more = examined == max;
        }
        if is_due {
            let mut writer = locked(&self.writer);
            writer.next_end = self.shared.with(next_end)?;
        }
        Ok(removed)
    }
}

impl Plan<'_> {
    /// Removes values whose end has come, looking at `max` ends. How many, and at how many it looked.
    fn expire(&mut self, nanos: u64, max: usize) -> Result<(usize, usize), StoreError> {
        let (mut removed, mut examined) = (0, 0);
        for entry in self.live().ends.range(..ends::after(nanos)).take(max) {
            let (key, stored) = entry
                .into_inner()
                .map_err(|error| self.live().engine.error(ENDS, error))?;
            let key = Bytes::from(key);
            let end = ends::decode(&key, stored.into()).ok_or_else(|| StoreError::Corrupt {
                place: "ends of values".to_owned(),
                lost: "which value ends".to_owned(),
            })?;
            examined += 1;
            let bucket = self.bucket(&end.bucket)?;
            let current = bucket.stored(&self.live().engine, &end.key)?;
            if current.is_some_and(|current| current.revision == end.revision) {
                let what = What::Delete { expired: true };
                let key = end.key;
                self.change(Change { bucket, key, what })?;
                removed += 1;
            }
            self.remove_end(key);
        }
        Ok((removed, examined))
    }
}

/// After these the state of the engine is unknown: nothing is written until it is opened again.
fn stop_on(writer: &mut Writer, error: &StoreError) {
    let fatal = matches!(
        error,
        StoreError::DiskFull | StoreError::Broken { .. } | StoreError::Corrupt { .. }
    );
    if fatal {
        writer.stopped = Some(error.clone());
    }
}

/// Writes and removes notes, durably.
pub(super) fn write_notes(live: &Live, put: &[Note], remove: &[Bytes]) -> Result<(), StoreError> {
    let mut batch = live.batch();
    for note in put {
        batch.insert(&live.notes, note.key(), note.value());
    }
    for key in remove {
        batch.remove(&live.notes, key.clone());
    }
    live.engine.commit_synced(batch)
}

/// When the next value ends.
pub(super) fn next_end(live: &Live) -> Result<Option<u64>, StoreError> {
    let Some(first) = live.ends.first_key_value() else {
        return Ok(None);
    };
    let key = first
        .key()
        .map_err(|error| live.engine.error(ENDS, error))?;
    let nanos = key.get(..8).and_then(|bytes| bytes.try_into().ok());
    Ok(Some(nanos.map_or(0, u64::from_be_bytes)))
}
