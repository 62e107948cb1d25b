//! What memory learns from a commit once it is durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::buckets::BucketHandle;
use super::index::{Index, PartIndex, Segment, Starts};
use super::plan::{PartPlan, Target};
use super::shared::{Shared, Writer};
use super::write_lock;
use crate::log::DEDUP_IDS_KEPT;
use crate::{Event, Part};

/// What a commit changed, for memory.
pub(super) struct Outcome {
    pub(super) parts: BTreeMap<Part, PartPlan>,
    pub(super) created: Vec<Arc<BucketHandle>>,
    pub(super) events: Vec<(Arc<str>, Event)>,
    pub(super) revision: u64,
    pub(super) earliest_end: Option<u64>,
    pub(super) bytes: u64,
    pub(super) now_ms: u64,
}

impl Outcome {
    /// Tells memory and the watches.
    pub(super) fn apply(mut self, shared: &Shared, writer: &mut Writer) {
        writer.revision = self.revision;
        writer.written += self.bytes;
        shared.add_usage(self.bytes);
        if let Some(end) = self.earliest_end {
            writer.next_end = Some(writer.next_end.map_or(end, |next| next.min(end)));
        }
        for plan in self.parts.values_mut() {
            remember_ids(writer, plan);
        }
        let mut index = write_lock(&shared.index);
        for plan in self.parts.into_values() {
            apply_part(&mut index, plan, self.now_ms);
        }
        drop(index);
        shared.add_buckets(self.created);
        shared.tell(self.events);
    }
}

fn remember_ids(writer: &mut Writer, plan: &mut PartPlan) {
    if plan.ids.is_empty() {
        return;
    }
    let known = writer.known.entry(plan.part).or_default();
    let mut new: Vec<_> = plan
        .ids
        .drain()
        .map(|(id, sequence)| (sequence, id))
        .collect();
    new.sort_unstable();
    for (sequence, id) in new {
        known.sequences.insert(id.clone(), sequence);
        known.order.push_back((sequence, id));
    }
    while known.order.len() > DEDUP_IDS_KEPT
        && let Some((_, oldest)) = known.order.pop_front()
    {
        known.sequences.remove(&oldest);
    }
}

fn apply_part(index: &mut Index, plan: PartPlan, now_ms: u64) {
    let counted = index.counted;
    let part = index.parts.entry(plan.part).or_default();
    for (sequence, takers) in plan.late.iter().filter(|_| counted) {
        let segment = part.segments.range_mut(..=*sequence).next_back();
        if let Some((_, segment)) = segment {
            segment.takers += u64::from(*takers);
        }
    }
    let new = plan.next - plan.first_new;
    if counted && (new > 0 || !plan.late.is_empty()) {
        let late = plan.late.last().map_or(0, |(sequence, _)| sequence + 1);
        let below = if new > 0 { plan.next } else { late };
        part.counted_below = part.counted_below.max(below);
    }
    if let Some(target) = plan.target.filter(|_| new > 0) {
        add_to_segment(part, target, plan.next, now_ms);
        if let Some((_, segment)) = part.segments.iter_mut().next_back() {
            segment.bytes += plan.bytes;
            segment.takers += if counted { plan.takers } else { 0 };
            if let Some(starts) = &mut segment.starts {
                plan.starts.iter().for_each(|start| starts.add(*start));
            }
        }
    }
    part.next = plan.next;
}

fn add_to_segment(part: &mut PartIndex, target: Target, next: u64, now_ms: u64) {
    if target.is_new {
        if let Some((_, before)) = part.segments.iter_mut().next_back() {
            before.sealed = true;
        }
        let segment = Segment {
            keyspace: Some(target.keyspace),
            next,
            created: now_ms,
            bytes: 0,
            takers: 0,
            sealed: false,
            starts: Some(Starts::new(target.first)),
        };
        part.segments.insert(target.first, segment);
    } else if let Some(segment) = part.segments.get_mut(&target.first) {
        segment.next = next;
    }
}
