//! The buckets of one level: what happened to which keys, by the instant at which a bucket ends.

use std::{
    collections::BTreeSet,
    ops::{Bound, Range},
};

use differential_dataflow::difference::Abelian;
use hashbrown::HashMap;

use crate::table::{Mix, Slot};

/// A bucket of more rows than this has at most twice as many as keys. Few in tests, so that all of
/// them see rows being merged.
const MERGED_FROM_ROWS: usize = if cfg!(test) { 2 } else { 64 };

/// A key, by its slot, and what happened to it.
pub(crate) type Row<R> = (Slot, R);

/// Bucket end → rows. Most that is added belongs to buckets that are known: these are found by a
/// hash, and only new ones take their place in the order.
pub(super) struct Buckets<R> {
    by_end: HashMap<u64, Bucket<R>, Mix>,
    order: BTreeSet<u64>,
}

/// Rows in the order in which they came; a key may have several until they are merged.
struct Bucket<R> {
    rows: Vec<Row<R>>,
    /// Rows are merged when there are so many.
    merged_at: usize,
    /// Which rows an export under way is yet to write.
    awaited: Range<usize>,
}

impl<R> Default for Buckets<R> {
    fn default() -> Self {
        Buckets { by_end: HashMap::default(), order: BTreeSet::new() }
    }
}

impl<R: Abelian> Buckets<R> {
    /// Adds to the bucket that ends at `end`. Rows that an export awaits and that change are handed
    /// to `copy`, with that end.
    pub(super) fn add(&mut self, end: u64, slot: Slot, diff: R, mut copy: impl FnMut(u64, &Row<R>)) {
        let bucket = self.by_end.entry(end).or_insert_with(|| {
            self.order.insert(end);
            Bucket { rows: Vec::with_capacity(1), merged_at: MERGED_FROM_ROWS, awaited: 0..0 }
        });
        bucket.rows.push((slot, diff));
        if bucket.rows.len() >= bucket.merged_at {
            bucket.merge(|row| copy(end, row));
        }
    }

    /// The least end within a bound.
    pub(super) fn first_after(&self, bound: Bound<u64>) -> Option<u64> {
        self.order.range((bound, Bound::Unbounded)).next().copied()
    }

    /// What ends in (`after`, `until`].
    pub(super) fn between(&self, after: u64, until: u64) -> impl Iterator<Item = &[Row<R>]> {
        let ends = self.order.range((Bound::Excluded(after), Bound::Included(until)));
        ends.map(|end| self.by_end[end].rows.as_slice())
    }

    /// Takes out what ends first, if it does by `until`. Rows that an export awaits are handed to
    /// `copy`, with their end.
    pub(super) fn take_first(&mut self, until: u64, mut copy: impl FnMut(u64, &Row<R>)) -> Option<(u64, Vec<Row<R>>)> {
        let end = self.order.first().copied().filter(|end| *end <= until)?;
        self.order.pop_first();
        let bucket = self.by_end.remove(&end)?;
        bucket.rows[bucket.awaited].iter().for_each(|row| copy(end, row));
        Some((end, bucket.rows))
    }

    /// How many rows there are.
    #[cfg(test)]
    pub(super) fn rows(&self) -> usize {
        self.by_end.values().map(|bucket| bucket.rows.len()).sum()
    }

    /// Lets an export await all rows that are here now; gives the ends of their buckets.
    pub(super) fn await_all(&mut self) -> impl Iterator<Item = u64> {
        self.by_end.values_mut().for_each(|bucket| bucket.awaited = 0..bucket.rows.len());
        self.order.iter().copied()
    }

    /// The next awaited rows of a bucket, at most `max_rows`; none where no more are awaited.
    pub(super) fn next_awaited(&mut self, end: u64, max_rows: usize) -> &[Row<R>] {
        let Some(bucket) = self.by_end.get_mut(&end) else { return &[] };
        let first = bucket.awaited.start;
        bucket.awaited.start = bucket.awaited.end.min(first + max_rows);
        &bucket.rows[first..bucket.awaited.start]
    }
}

impl<R: Abelian> Bucket<R> {
    /// Leaves one row a key. One that adds up to nothing stays, so that its key is looked at again.
    fn merge(&mut self, copy: impl FnMut(&Row<R>)) {
        self.rows[std::mem::take(&mut self.awaited)].iter().for_each(copy);
        // Those that were merged before are in order: a stable sort takes them as one run.
        self.rows.sort_by_key(|(slot, _)| *slot);
        self.rows.dedup_by(|(slot, more), (kept, sum)| {
            let is_same = slot == kept;
            if is_same {
                sum.plus_equals(more);
            }
            is_same
        });
        self.merged_at = MERGED_FROM_ROWS.max(2 * self.rows.len());
    }
}
