//! The core of [`super::Expire`]: rows per key and bucket, and an index of bucket ends per level.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::Hash,
    ops::Bound::{Excluded, Unbounded},
};

use differential_dataflow::{ExchangeData, difference::Abelian};
use serde::{Deserialize, Serialize};

use super::{ExpireRow, Windows, bucket_end, ends::Ends};
use crate::{
    Tick,
    shell::{Core, Out},
    table::{Hint, Idle, Slot, Table},
};

/// A row: what happened to a key within one bucket of one level.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bucket<R> {
    /// The instant at which the bucket ends, exclusive.
    pub end: u64,
    /// Which level's bucket it is: 0 is the finest.
    pub level: u8,
    /// The sum of all that happened in it.
    pub sum: R,
}

/// The windows that share one length of bucket.
pub struct Level {
    bucket_us: u64,
    /// Window and length, shortest first.
    windows: Vec<(u8, u64)>,
    /// Which keys have something in a bucket.
    ends: Ends,
}

impl Level {
    fn longest_us(&self) -> u64 {
        self.windows.last().map_or(0, |(_, length_us)| *length_us)
    }

    /// The windows of that length.
    fn longest(&self) -> impl Iterator<Item = &(u8, u64)> {
        self.windows.iter().filter(|(_, length_us)| *length_us == self.longest_us())
    }
}

/// Rolling windows without a dataflow.
pub struct ExpireCore<K, R> {
    phase_of: Box<dyn Fn(&K) -> u64>,
    levels: Vec<Level>,
    keys: Table<K, Rows<R>>,
    /// Keys without rows.
    idle: Idle,
    changes: Changes<R>,
    now: Tick,
}

/// What a key holds.
#[derive(Clone)]
struct Rows<R> {
    buckets: VecDeque<Bucket<R>>,
    /// The key's place among the changes of this tick.
    change: Option<u32>,
}

impl<R> Default for Rows<R> {
    fn default() -> Self {
        Rows { buckets: VecDeque::with_capacity(1), change: None }
    }
}

impl<R> Rows<R> {
    fn is_idle(&self) -> bool {
        self.buckets.is_empty() && self.change.is_none()
    }
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
            Level { bucket_us, windows, ends: Ends::default() }
        });
        let changes = Changes { windows: windows.lengths_us.len(), slots: Vec::new(), sums: Vec::new() };
        ExpireCore {
            phase_of,
            levels: levels.collect(),
            keys: Table::default(),
            idle: Idle::default(),
            changes,
            now: 0,
        }
    }

    /// How many rows the core holds.
    pub fn rows(&self) -> usize {
        self.keys.iter().map(|(_, rows)| rows.buckets.len()).sum()
    }

    /// Takes what happened to a key at an instant.
    fn take(&mut self, hint: Hint, (key, at): (K, u64), diff: &R) {
        let phase_us = (self.phase_of)(&key);
        let slot = self.keys.find_or_insert_near(hint, &key, Rows::default);
        self.write(slot, 0, phase_us, at, diff);
    }

    /// Writes `diff` into the row of the finest level, from `finest` on, that still keeps that
    /// bucket, and adds it to each window, of those levels, that holds the bucket now.
    fn write(&mut self, slot: Slot, finest: usize, phase_us: u64, at: u64, diff: &R) {
        let now = self.now;
        let rows = self.keys.get_mut(slot).1;
        let mut written = None;
        for (at_level, level) in self.levels.iter().enumerate().skip(finest) {
            let end = bucket_end(level.bucket_us, phase_us, at);
            if written.is_none() && end + level.longest_us() <= now {
                continue;
            }
            written = written.or(Some((at_level, end)));
            let sums = self.changes.of(slot, &mut rows.change);
            for (window, _) in level.windows.iter().filter(|(_, length_us)| end + length_us > now) {
                sums[usize::from(*window)].plus_equals(diff);
            }
        }
        let Some((at_level, end)) = written else {
            self.forget_if_empty(slot);
            return;
        };
        let rows = &mut rows.buckets;
        let is_it = |row: &Bucket<R>| row.end == end && usize::from(row.level) == at_level;
        // Mostly it is the newest, or newer than that.
        if let Some(newest) = rows.back_mut().filter(|row| is_it(row)) {
            newest.sum.plus_equals(diff);
            return;
        }
        let is_before = |row: &Bucket<R>| (row.end, usize::from(row.level)) < (end, at_level);
        let place = if rows.back().is_none_or(is_before) { rows.len() } else { rows.partition_point(is_before) };
        if let Some(row) = rows.get_mut(place).filter(|row| is_it(row)) {
            row.sum.plus_equals(diff);
            return;
        }
        for (level_number, level) in self.levels.iter_mut().enumerate().skip(at_level) {
            let end = bucket_end(level.bucket_us, phase_us, at);
            if within(rows, level_number, end, level.bucket_us).next().is_none() {
                level.ends.add(end, slot);
            }
        }
        rows.insert(place, Bucket { end, level: at_level as u8, sum: diff.clone() });
    }

    /// Takes what ended in (`after`, `until`] out of one window.
    fn leave(&mut self, at: usize, window: u8, after: u64, until: u64) {
        let level = &self.levels[at];
        for (end, slots) in level.ends.between(after, until) {
            self.keys.fetch(slots.iter().copied(), oldest);
            for slot in slots {
                let rows = self.keys.get_mut(*slot).1;
                let mut bucket = within(&rows.buckets, at, end, level.bucket_us).map(|row| row.sum.clone());
                let Some(mut sum) = bucket.next() else { continue };
                bucket.for_each(|other| sum.plus_equals(&other));
                sum.negate();
                self.changes.of(*slot, &mut rows.change)[usize::from(window)].plus_equals(&sum);
            }
        }
    }

    /// Lets a key without rows wait for more, and forgets the one that has waited longest.
    fn forget_if_empty(&mut self, slot: Slot) {
        if !self.keys.peek(slot).is_some_and(Rows::is_idle) {
            return;
        }
        self.idle.add(slot);
        while let Some(slot) = self.idle.pop(self.keys.len()) {
            if self.keys.peek(slot).is_some_and(Rows::is_idle) {
                self.keys.remove(slot);
            }
        }
    }

    /// Takes the buckets that end by `until` out of the longest windows of a level, and rolls them up
    /// or drops them.
    fn retire(&mut self, at: usize, until: u64) {
        while let Some((end, slots)) = self.levels[at].ends.take_first(until) {
            self.keys.fetch(slots.iter().copied(), oldest);
            for slot in slots {
                self.retire_bucket(at, end, slot);
            }
        }
    }

    fn retire_bucket(&mut self, at: usize, end: u64, slot: Slot) {
        let level = &self.levels[at];
        let (key, rows) = self.keys.get_mut(slot);
        let buckets = &mut rows.buckets;
        let mut place = first_within(buckets, end, level.bucket_us);
        let mut sum: Option<R> = None;
        while let Some(row) = buckets.get(place).filter(|row| row.end <= end) {
            if usize::from(row.level) > at {
                place += 1;
                continue;
            }
            let row = buckets.remove(place).expect("it was just looked at");
            match &mut sum {
                Some(sum) => sum.plus_equals(&row.sum),
                None => sum = Some(row.sum),
            }
        }
        let Some(mut sum) = sum else { return };
        if let Some(coarser) = self.levels.get(at + 1) {
            let end = bucket_end(coarser.bucket_us, (self.phase_of)(key), end - 1);
            let level = at as u8 + 1;
            let place = buckets.partition_point(|row| (row.end, row.level) < (end, level));
            match buckets.get_mut(place).filter(|row| row.end == end && row.level == level) {
                Some(row) => row.sum.plus_equals(&sum),
                None => buckets.insert(place, Bucket { end, level, sum: sum.clone() }),
            }
        }
        sum.negate();
        let sums = self.changes.of(slot, &mut rows.change);
        for (window, _) in level.longest() {
            sums[usize::from(*window)].plus_equals(&sum);
        }
    }
}

/// What is to be read of rows that something leaves: mostly it is the oldest.
fn oldest<R>(rows: &Rows<R>) -> u64 {
    rows.buckets.front().map_or(0, |bucket| bucket.end)
}

/// The place of the first row within the bucket that ends at `end`, or that it would have. Mostly it
/// is the oldest, or newer than all.
fn first_within<R>(rows: &VecDeque<Bucket<R>>, end: u64, bucket_us: u64) -> usize {
    let is_before = |row: &Bucket<R>| row.end + bucket_us <= end;
    match (rows.front(), rows.back()) {
        (Some(oldest), Some(newest)) if is_before(oldest) && !is_before(newest) => rows.partition_point(is_before),
        (Some(oldest), Some(_)) if is_before(oldest) => rows.len(),
        _ => 0,
    }
}

/// The rows, of level `at` or finer, within the bucket that ends at `end`.
fn within<R>(rows: &VecDeque<Bucket<R>>, at: usize, end: u64, bucket_us: u64) -> impl Iterator<Item = &Bucket<R>> {
    let first = first_within(rows, end, bucket_us);
    rows.range(first..).take_while(move |row| row.end <= end).filter(move |row| usize::from(row.level) <= at)
}

impl<K: ExchangeData + Hash, R: ExchangeData + Abelian> Core for ExpireCore<K, R> {
    type In = (K, u64);
    type InDiff = R;
    type Out = (K, u8);
    type OutDiff = R;
    type Row = ExpireRow<K, R>;

    fn advance(&mut self, tick: Tick, _out: &mut Out<(K, u8), R>) {
        let before = self.now;
        self.now = before.max(tick);
        for at in 0..self.levels.len() {
            let longest_us = self.levels[at].longest_us();
            for place in 0..self.levels[at].windows.len() {
                let (window, length_us) = self.levels[at].windows[place];
                if let Some(until) = self.now.checked_sub(length_us).filter(|_| length_us < longest_us) {
                    self.leave(at, window, before.saturating_sub(length_us), until);
                }
            }
            if let Some(until) = self.now.checked_sub(longest_us) {
                self.retire(at, until);
            }
        }
    }

    fn absorb(&mut self, data: (K, u64), _tick: Tick, diff: R, _out: &mut Out<(K, u8), R>) {
        self.take(Hint::NONE, data, &diff);
    }

    fn absorb_all(&mut self, updates: &mut Vec<((K, u64), R)>, _tick: Tick, _out: &mut Out<(K, u8), R>) {
        let newest = |rows: &Rows<R>| rows.buckets.back().map_or(0, |bucket| bucket.end);
        let hints = self.keys.look_ahead(updates.iter().map(|((key, _), _)| key), newest);
        for ((data, diff), hint) in updates.drain(..).zip(hints) {
            self.take(hint, data, &diff);
        }
    }

    fn settle(&mut self, tick: Tick, out: &mut Out<(K, u8), R>) {
        let slots = std::mem::take(&mut self.changes.slots);
        let mut sums = self.changes.sums.drain(..);
        for slot in &slots {
            let (key, rows) = self.keys.get_mut(*slot);
            rows.change = None;
            for (window, sum) in sums.by_ref().take(self.changes.windows).enumerate() {
                if !sum.is_zero() {
                    out.push(((key.clone(), window as u8), tick, sum));
                }
            }
        }
        drop(sums);
        slots.iter().for_each(|slot| self.forget_if_empty(*slot));
        self.changes.slots = slots;
        self.changes.slots.clear();
    }

    fn due(&self) -> Option<Tick> {
        let of_level = |level: &Level| {
            let next = |length_us: u64| {
                let passed = self.now.checked_sub(length_us).map_or(Unbounded, Excluded);
                level.ends.first_after(passed).map(|end| end + length_us)
            };
            level.windows.iter().filter_map(|(_, length_us)| next(*length_us)).min()
        };
        self.levels.iter().filter_map(of_level).min()
    }

    fn begin_export(&mut self) {
        self.keys.begin_export();
    }

    fn export_slice(&mut self, max_rows: usize, out: &mut Vec<Self::Row>) -> bool {
        self.keys
            .export_slice(max_rows, out, |key, rows| (!rows.buckets.is_empty()).then(|| (key, Vec::from(rows.buckets))))
    }

    /// Rows come back as they were; what they add to each window is emitted at `tick`.
    fn import(&mut self, (key, rows): Self::Row, _tick: Tick, _out: &mut Out<(K, u8), R>) {
        let phase_us = (self.phase_of)(&key);
        for row in rows {
            let slot = self.keys.find_or_insert(&key, Rows::default);
            let finest = usize::from(row.level).min(self.levels.len() - 1);
            self.write(slot, finest, phase_us, row.end - 1, &row.sum);
        }
    }
}
