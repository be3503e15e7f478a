//! The core of [`super::Expire`]: what happened, by level and bucket, and the keys it happened to.

use std::{
    collections::BTreeMap,
    hash::Hash,
    ops::Bound::{Excluded, Unbounded},
};

use differential_dataflow::{
    ExchangeData,
    difference::{Abelian, IsZero},
};
use serde::{Deserialize, Serialize};

use super::{
    ExpireRow, Windows, bucket_end,
    buckets::{Buckets, Row},
};
use crate::{
    Tick,
    lanes::Lanes,
    shell::{Core, Out},
    table::{Hint, Idle, Slot, Table},
};

/// What happened to a key within one bucket of one level, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BucketRow<R> {
    /// The instant at which the bucket ends, exclusive.
    pub end: u64,
    /// Which level's bucket it is: 0 is the finest.
    pub level: u8,
    /// The sum of all that happened in it.
    pub sum: R,
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

impl<R> Level<R> {
    /// The windows of that length.
    fn longest(&self) -> impl Iterator<Item = usize> {
        let is_longest = |(_, length_us): &&(u8, u64)| *length_us == self.longest_us;
        self.windows.iter().filter(is_longest).map(|(window, _)| usize::from(*window))
    }
}

/// Rolling windows without a dataflow.
pub struct ExpireCore<K, R> {
    phase_of: Box<dyn Fn(&K) -> u64>,
    /// Finest first.
    levels: Vec<Level<R>>,
    keys: Table<K, Known>,
    /// Keys of which nothing is held.
    idle: Idle,
    changes: Changes<R>,
    walk: Walk<K, R>,
    now: Tick,
}

/// What is known of a key by itself.
#[derive(Clone, Default)]
struct Known {
    /// When the last of what happened to it will have left every level.
    until: Tick,
    /// Its place among the changes of this tick.
    change: Option<u32>,
}

/// What a tick adds to the windows of the keys that it concerns: the output, summed up by key, so
/// that what enters and what leaves at one tick is one update or none.
struct Changes<R> {
    windows: usize,
    slots: Vec<Slot>,
    /// One sum for each slot and window.
    sums: Vec<R>,
}

impl<R: Abelian> Changes<R> {
    fn of(&mut self, slot: Slot, change: &mut Option<u32>) -> &mut [R] {
        let at = *change.get_or_insert_with(|| {
            self.slots.push(slot);
            self.sums.extend(std::iter::repeat_with(R::zero).take(self.windows));
            self.slots.len() as u32 - 1
        });
        &mut self.sums[at as usize * self.windows..][..self.windows]
    }
}

/// An export under way: the buckets that are still to be written, last first, and rows that had to
/// be copied before it came to them.
struct Walk<K, R> {
    buckets: Vec<(u8, u64)>,
    copied: Vec<ExpireRow<K, R>>,
}

impl<K: Clone + Hash + Eq, R: Clone> Walk<K, R> {
    /// Copies rows of a level, handed to it one by one with their end, that are about to change or go.
    fn copy<'a>(&'a mut self, keys: &'a Table<K, Known>, level: usize) -> impl FnMut(u64, &Row<R>) + use<'a, K, R> {
        move |end, row| self.copied.push(exported(keys, level as u8, end, row))
    }
}

fn exported<K, R>(keys: &Table<K, Known>, level: u8, end: u64, (slot, sum): &Row<R>) -> ExpireRow<K, R>
where
    K: Clone + Hash + Eq,
    R: Clone,
{
    (keys.get(*slot).0.clone(), BucketRow { end, level, sum: sum.clone() })
}

impl<K: ExchangeData + Hash, R: ExchangeData + Abelian> ExpireCore<K, R> {
    /// The core of `windows`; `phase_of` gives the phase of a key in microseconds.
    pub fn new(windows: Windows, phase_of: Box<dyn Fn(&K) -> u64>) -> Self {
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
        ExpireCore {
            phase_of,
            levels: levels.collect(),
            keys: Table::default(),
            idle: Idle::default(),
            changes: Changes { windows: windows.lengths_us.len(), slots: Vec::new(), sums: Vec::new() },
            walk: Walk { buckets: Vec::new(), copied: Vec::new() },
            now: 0,
        }
    }

    /// How many keys the core holds.
    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// How many rows the core holds.
    pub fn rows(&self) -> usize {
        self.levels.iter().map(|level| level.buckets.rows()).sum()
    }

    /// Takes what happened to a key at an instant.
    fn take(&mut self, hint: Hint, (key, at): (K, u64), diff: R) {
        let phase_us = (self.phase_of)(&key);
        let slot = self.keys.find_or_insert_near(hint, &key, Known::default);
        self.write(slot, 0, phase_us, at, diff);
    }

    /// Adds `diff` to each window, of the levels from `finest` on, that holds its bucket now, and
    /// writes it into the first of these levels that keeps the bucket.
    fn write(&mut self, slot: Slot, finest: usize, phase_us: u64, at: u64, diff: R) {
        let now = self.now;
        let known = self.keys.get_mut(slot).1;
        let (mut written, mut until) = (None, 0);
        for (at_level, level) in self.levels.iter().enumerate().skip(finest) {
            let end = bucket_end(level.bucket_us, phase_us, at);
            until = end + level.longest_us;
            if until <= now {
                continue;
            }
            written = written.or(Some((at_level, end)));
            let sums = self.changes.of(slot, &mut known.change);
            for (window, _) in level.windows.iter().filter(|(_, length_us)| end + length_us > now) {
                sums[usize::from(*window)].plus_equals(&diff);
            }
        }
        match written {
            Some((level, end)) => {
                known.until = known.until.max(until);
                let copy = self.walk.copy(&self.keys, level);
                self.levels[level].buckets.add(end, slot, diff, copy);
            }
            None => self.forget_if_idle(slot),
        }
    }

    /// Takes what ended in (`after`, `until`] out of one window.
    fn leave(&mut self, level: usize, window: u8, after: u64, until: u64) {
        for rows in self.levels[level].buckets.between(after, until) {
            self.keys.fetch(rows.iter().map(|(slot, _)| *slot), |known| known.until);
            for (slot, sum) in rows {
                let mut sum = sum.clone();
                sum.negate();
                let change = &mut self.keys.get_mut(*slot).1.change;
                self.changes.of(*slot, change)[usize::from(window)].plus_equals(&sum);
            }
        }
    }

    /// Takes the buckets that end by `until` out of the longest windows of a level, and rolls them up
    /// or drops them.
    fn retire(&mut self, level: usize, until: u64) {
        loop {
            let copy = self.walk.copy(&self.keys, level);
            let Some((end, rows)) = self.levels[level].buckets.take_first(until, copy) else { return };
            self.keys.fetch(rows.iter().map(|(slot, _)| *slot), |known| known.until);
            for (slot, sum) in rows {
                self.retire_row(level, end, slot, sum);
            }
        }
    }

    fn retire_row(&mut self, level: usize, end: u64, slot: Slot, mut sum: R) {
        if level + 1 < self.levels.len() {
            let phase_us = (self.phase_of)(self.keys.get(slot).0);
            let end = bucket_end(self.levels[level + 1].bucket_us, phase_us, end - 1);
            let copy = self.walk.copy(&self.keys, level + 1);
            self.levels[level + 1].buckets.add(end, slot, sum.clone(), copy);
        }
        sum.negate();
        let sums = self.changes.of(slot, &mut self.keys.get_mut(slot).1.change);
        for window in self.levels[level].longest() {
            sums[window].plus_equals(&sum);
        }
    }

    /// Lets a key of which nothing is held wait for more, and forgets the one that has waited longest.
    fn forget_if_idle(&mut self, slot: Slot) {
        let now = self.now;
        let is_idle = |known: &Known| known.until <= now && known.change.is_none();
        if !self.keys.peek(slot).is_some_and(is_idle) {
            return;
        }
        self.idle.add(slot);
        while let Some(slot) = self.idle.pop(self.keys.len()) {
            if self.keys.peek(slot).is_some_and(is_idle) {
                self.keys.remove(slot);
            }
        }
    }
}

impl<K: ExchangeData + Hash, R: ExchangeData + Abelian> Core for ExpireCore<K, R> {
    type In = (K, u64);
    type InDiff = R;
    type Out = K;
    type OutDiff = Lanes<R>;
    type Row = ExpireRow<K, R>;

    fn advance(&mut self, tick: Tick, _out: &mut Out<K, Lanes<R>>) {
        let before = self.now;
        self.now = before.max(tick);
        for level in 0..self.levels.len() {
            let longest_us = self.levels[level].longest_us;
            for place in 0..self.levels[level].windows.len() {
                let (window, length_us) = self.levels[level].windows[place];
                if let Some(until) = self.now.checked_sub(length_us).filter(|_| length_us < longest_us) {
                    self.leave(level, window, before.saturating_sub(length_us), until);
                }
            }
            if let Some(until) = self.now.checked_sub(longest_us) {
                self.retire(level, until);
            }
        }
    }

    fn absorb(&mut self, data: (K, u64), _tick: Tick, diff: R, _out: &mut Out<K, Lanes<R>>) {
        self.take(Hint::NONE, data, diff);
    }

    fn absorb_all(&mut self, updates: &mut Vec<((K, u64), R)>, _tick: Tick, _out: &mut Out<K, Lanes<R>>) {
        let hints = self.keys.look_ahead(updates.iter().map(|((key, _), _)| key), |known| known.until);
        for ((data, diff), hint) in updates.drain(..).zip(hints) {
            self.take(hint, data, diff);
        }
    }

    fn settle(&mut self, tick: Tick, out: &mut Out<K, Lanes<R>>) {
        let slots = std::mem::take(&mut self.changes.slots);
        let mut sums = self.changes.sums.drain(..);
        for slot in &slots {
            let (key, known) = self.keys.get_mut(*slot);
            known.change = None;
            let lanes = Lanes::of(sums.by_ref().take(self.changes.windows));
            out.extend((!lanes.is_zero()).then(|| (key.clone(), tick, lanes)));
        }
        drop(sums);
        slots.iter().for_each(|slot| self.forget_if_idle(*slot));
        self.changes.slots = slots;
        self.changes.slots.clear();
    }

    fn due(&self) -> Option<Tick> {
        let of_level = |level: &Level<R>| {
            let next = |length_us: u64| {
                let passed = self.now.checked_sub(length_us).map_or(Unbounded, Excluded);
                level.buckets.first_after(passed).map(|end| end + length_us)
            };
            level.windows.iter().filter_map(|(_, length_us)| next(*length_us)).min()
        };
        self.levels.iter().filter_map(of_level).min()
    }

    fn begin_export(&mut self) {
        self.walk.copied.clear();
        self.walk.buckets.clear();
        for (number, level) in self.levels.iter_mut().enumerate().rev() {
            self.walk.buckets.extend(level.buckets.await_all().map(|end| (number as u8, end)));
        }
    }

    fn export_slice(&mut self, max_rows: usize, out: &mut Vec<Self::Row>) -> bool {
        let full = out.len() + max_rows;
        out.append(&mut self.walk.copied);
        while let (Some((level, end)), true) = (self.walk.buckets.last().copied(), out.len() < full) {
            let rows = self.levels[usize::from(level)].buckets.next_awaited(end, full - out.len());
            out.extend(rows.iter().map(|row| exported(&self.keys, level, end, row)));
            if rows.is_empty() {
                self.walk.buckets.pop();
            }
        }
        self.walk.buckets.is_empty()
    }

    /// Rows come back as they were; what they add to each window is emitted at `tick`.
    fn import(&mut self, (key, row): Self::Row, _tick: Tick, _out: &mut Out<K, Lanes<R>>) {
        let phase_us = (self.phase_of)(&key);
        let slot = self.keys.find_or_insert(&key, Known::default);
        let finest = usize::from(row.level).min(self.levels.len() - 1);
        self.write(slot, finest, phase_us, row.end - 1, row.sum);
    }
}
