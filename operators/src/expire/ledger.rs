//! What happened, by level and bucket, over keys that somebody else holds: what the windows of each key
//! gain and lose, and when.
//!
//! [`super::ExpireCore`] adds the gains and losses up by key and tells them; `top_k` ranks by them.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use differential_dataflow::difference::Abelian;

use super::{
    BucketRow, Windows, bucket_end,
    buckets::{Buckets, Row},
};
use crate::{Tick, table::Slot};

/// Whoever holds the keys of a [`Ledger`], by slot.
pub(crate) trait Accounts<K, R> {
    /// The key of a slot in use.
    fn key(&self, slot: Slot) -> K;
    /// Its phase in microseconds.
    fn phase_us(&self, slot: Slot) -> u64;
    /// Something of the key has entered these windows.
    fn enter(&mut self, slot: Slot, windows: impl Iterator<Item = u8>, more: &R);
    /// These rows have left these windows.
    fn leave(&mut self, rows: &[Row<R>], windows: &[u8]);
}

/// The windows that share one length of bucket.
struct Level<R> {
    bucket_us: u64,
    /// The length of the longest of them.
    longest_us: u64,
    /// Window and length, shortest first.
    windows: Vec<(u8, u64)>,
    buckets: Buckets<R>,
}

/// Rows by level and bucket; `K` is what exported rows are told under.
pub(crate) struct Ledger<K, R> {
    /// Finest first.
    levels: Vec<Level<R>>,
    walk: Walk<K, R>,
    now: Tick,
}

/// An export under way: the buckets that are still to be written, last first, and rows that had to
/// be copied before it came to them.
struct Walk<K, R> {
    buckets: Vec<(u8, u64)>,
    copied: Vec<(K, BucketRow<R>)>,
}

impl<K, R: Clone> Walk<K, R> {
    /// Copies rows of a level, handed to it one by one with their end, that are about to change or go.
    fn copy<'a, A: Accounts<K, R>>(
        &'a mut self,
        of: &'a A,
        level: usize,
    ) -> impl FnMut(u64, &Row<R>) + use<'a, A, K, R> {
        move |end, row| self.copied.push(told(of, level as u8, end, row))
    }
}

fn told<K, R: Clone>(of: &impl Accounts<K, R>, level: u8, end: u64, (slot, sum): &Row<R>) -> (K, BucketRow<R>) {
    (of.key(*slot), BucketRow { end, level, sum: sum.clone() })
}

impl<K, R: Abelian> Ledger<K, R> {
    /// An empty ledger of `windows`.
    pub(crate) fn new(windows: &Windows) -> Self {
        let mut levels: BTreeMap<u64, Vec<(u8, u64)>> = BTreeMap::new();
        for (window, bucket_us) in windows.buckets_us.iter().enumerate() {
            let number = u8::try_from(window).expect("at most 256 windows");
            levels.entry(*bucket_us).or_default().push((number, windows.lengths_us[window]));
        }
        let levels = levels.into_iter().map(|(bucket_us, mut windows)| {
            windows.sort_by_key(|(_, length_us)| *length_us);
            let longest_us = windows.last().map_or(0, |(_, length_us)| *length_us);
            Level { bucket_us, longest_us, windows, buckets: Buckets::default() }
        });
        Ledger { levels: levels.collect(), walk: Walk { buckets: Vec::new(), copied: Vec::new() }, now: 0 }
    }

    /// To where time has come.
    pub(crate) fn now(&self) -> Tick {
        self.now
    }

    /// How many rows there are.
    #[cfg(test)]
    pub(crate) fn rows(&self) -> usize {
        self.levels.iter().map(|level| level.buckets.rows()).sum()
    }

    /// Adds what happened to a key at an instant to each window that holds its bucket now; gives the tick at
    /// which the last of them lets it go, if any holds it.
    pub(crate) fn add(&mut self, of: &mut impl Accounts<K, R>, slot: Slot, at: u64, diff: R) -> Option<Tick> {
        self.write(of, slot, 0, at, diff)
    }

    /// Takes an exported row back: rows come back as they were.
    pub(crate) fn import(&mut self, of: &mut impl Accounts<K, R>, slot: Slot, row: BucketRow<R>) -> Option<Tick> {
        let finest = usize::from(row.level).min(self.levels.len() - 1);
        self.write(of, slot, finest, row.end - 1, row.sum)
    }

    /// Writes into the first of the levels from `finest` on that keeps the bucket.
    fn write(&mut self, of: &mut impl Accounts<K, R>, slot: Slot, finest: usize, at: u64, diff: R) -> Option<Tick> {
        let (now, phase_us) = (self.now, of.phase_us(slot));
        let (mut written, mut until) = (None, 0);
        for (at_level, level) in self.levels.iter().enumerate().skip(finest) {
            let end = bucket_end(level.bucket_us, phase_us, at);
            until = end + level.longest_us;
            if until <= now {
                continue;
            }
            written = written.or(Some((at_level, end)));
            let holding = level.windows.iter().filter(|(_, length_us)| end + length_us > now);
            of.enter(slot, holding.map(|(window, _)| *window), &diff);
        }
        let (level, end) = written?;
        let copy = self.walk.copy(of, level);
        self.levels[level].buckets.add(end, slot, diff, copy);
        Some(until)
    }

    /// Time has come to `tick`: what has left a window since is told, rows that have left all windows of a
    /// level are rolled up into the next.
    pub(crate) fn advance(&mut self, of: &mut impl Accounts<K, R>, tick: Tick) {
        let before = self.now;
        self.now = before.max(tick);
        for level in 0..self.levels.len() {
            let Level { longest_us, windows, buckets, .. } = &self.levels[level];
            for (window, length_us) in windows.iter().filter(|(_, length_us)| length_us < longest_us) {
                if let Some(until) = self.now.checked_sub(*length_us) {
                    let after = before.saturating_sub(*length_us);
                    buckets.between(after, until).for_each(|rows| of.leave(rows, &[*window]));
                }
            }
            if let Some(until) = self.now.checked_sub(*longest_us) {
                self.retire(of, level, until);
            }
        }
    }

    /// Takes the buckets that end by `until` out of the longest windows of a level, and rolls them up
    /// or drops them.
    fn retire(&mut self, of: &mut impl Accounts<K, R>, level: usize, until: u64) {
        let Level { longest_us, windows, .. } = &self.levels[level];
        let longest = windows.iter().filter(|(_, length_us)| length_us == longest_us);
        let longest: Vec<u8> = longest.map(|(window, _)| *window).collect();
        loop {
            let copy = self.walk.copy(of, level);
            let Some((end, rows)) = self.levels[level].buckets.take_first(until, copy) else { return };
            of.leave(&rows, &longest);
            if let Some(coarser) = self.levels.get_mut(level + 1) {
                for (slot, sum) in rows {
                    let end = bucket_end(coarser.bucket_us, of.phase_us(slot), end - 1);
                    coarser.buckets.add(end, slot, sum, self.walk.copy(of, level + 1));
                }
            }
        }
    }

    /// The least tick at which something leaves a window.
    pub(crate) fn due(&self) -> Option<Tick> {
        let of_level = |level: &Level<R>| {
            let next = |length_us: u64| {
                let passed = self.now.checked_sub(length_us).map_or(Unbounded, Excluded);
                level.buckets.first_after(passed).map(|end| end + length_us)
            };
            level.windows.iter().filter_map(|(_, length_us)| next(*length_us)).min()
        };
        self.levels.iter().filter_map(of_level).min()
    }

    /// Begins an export of the rows as they are now.
    pub(crate) fn begin_export(&mut self) {
        self.walk.copied.clear();
        self.walk.buckets.clear();
        for (number, level) in self.levels.iter_mut().enumerate().rev() {
            self.walk.buckets.extend(level.buckets.await_all().map(|end| (number as u8, end)));
        }
    }

    /// Appends the next rows, about `max_rows`; true when there are no more.
    pub(crate) fn export_slice(
        &mut self,
        of: &impl Accounts<K, R>,
        max_rows: usize,
        out: &mut Vec<(K, BucketRow<R>)>,
    ) -> bool {
        let full = out.len() + max_rows;
        let copied = self.walk.copied.len().min(max_rows);
        out.extend(self.walk.copied.drain(self.walk.copied.len() - copied..));
        while let (Some((level, end)), true) = (self.walk.buckets.last().copied(), out.len() < full) {
            let rows = self.levels[usize::from(level)].buckets.next_awaited(end, full - out.len());
            out.extend(rows.iter().map(|row| told(of, level, end, row)));
            if rows.is_empty() {
                self.walk.buckets.pop();
            }
        }
        self.walk.buckets.is_empty() && self.walk.copied.is_empty()
    }
}
