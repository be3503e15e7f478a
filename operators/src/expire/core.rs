//! The core of [`super::Expire`]: a ledger of what happened, and the keys it happened to.

use std::hash::Hash;

use differential_dataflow::{
    ExchangeData,
    difference::{Abelian, IsZero},
};
use serde::{Deserialize, Serialize};

use super::{
    ExpireRow, Windows,
    buckets::Row,
    ledger::{Accounts, Ledger},
};
use crate::{
    Tick,
    idle::Idle,
    lanes::Lanes,
    shell::{Core, Out},
    table::{Hint, Slot, Table},
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

/// Rolling windows without a dataflow.
pub struct ExpireCore<K, R> {
    ledger: Ledger<K, R>,
    held: Held<K, R>,
    /// Keys of which nothing is held.
    idle: Idle,
}

/// The keys, and what changes for them.
struct Held<K, R> {
    phase_of: Box<dyn Fn(&K) -> u64>,
    keys: Table<K, Known>,
    changes: Changes<R>,
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

impl<K: ExchangeData + Hash, R: ExchangeData + Abelian> Accounts<K, R> for Held<K, R> {
    fn key(&self, slot: Slot) -> K {
        self.keys.get(slot).0.clone()
    }

    fn phase_us(&self, slot: Slot) -> u64 {
        (self.phase_of)(self.keys.get(slot).0)
    }

    fn enter(&mut self, slot: Slot, windows: impl Iterator<Item = u8>, more: &R) {
        let sums = self.changes.of(slot, &mut self.keys.get_mut(slot).1.change);
        windows.for_each(|window| sums[usize::from(window)].plus_equals(more));
    }

    fn leave(&mut self, rows: &[Row<R>], windows: &[u8]) {
        self.keys.fetch(rows.iter().map(|(slot, _)| *slot), |known| known.until);
        for (slot, sum) in rows {
            let mut less = sum.clone();
            less.negate();
            self.enter(*slot, windows.iter().copied(), &less);
        }
    }
}

impl<K: ExchangeData + Hash, R: ExchangeData + Abelian> ExpireCore<K, R> {
    /// The core of `windows`; `phase_of` gives the phase of a key in microseconds.
    pub fn new(windows: Windows, phase_of: Box<dyn Fn(&K) -> u64>) -> Self {
        let changes = Changes { windows: windows.lengths_us.len(), slots: Vec::new(), sums: Vec::new() };
        let held = Held { phase_of, keys: Table::default(), changes };
        ExpireCore { ledger: Ledger::new(&windows), held, idle: Idle::default() }
    }

    /// How many keys the core holds.
    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        self.held.keys.len()
    }

    /// How many rows the core holds.
    #[cfg(test)]
    pub(super) fn rows(&self) -> usize {
        self.ledger.rows()
    }

    /// Takes what happened to a key at an instant.
    fn take(&mut self, hint: Hint, (key, at): (K, u64), diff: R) {
        let slot = self.held.keys.find_or_insert_near(hint, &key, Known::default);
        let until = self.ledger.add(&mut self.held, slot, at, diff);
        self.keep_until(slot, until);
    }

    fn keep_until(&mut self, slot: Slot, until: Option<Tick>) {
        match until {
            Some(until) => {
                let known = self.held.keys.get_mut(slot).1;
                known.until = known.until.max(until);
            }
            None => self.forget_if_idle(slot),
        }
    }

    /// Lets a key of which nothing is held wait for more, and forgets the one that has waited longest.
    fn forget_if_idle(&mut self, slot: Slot) {
        let now = self.ledger.now();
        let is_idle = |known: &Known| known.until <= now && known.change.is_none();
        let keys = &mut self.held.keys;
        if !keys.peek(slot).is_some_and(is_idle) {
            return;
        }
        self.idle.add(slot);
        while let Some(slot) = self.idle.pop(keys.len()) {
            if keys.peek(slot).is_some_and(is_idle) {
                keys.remove(slot);
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
        self.ledger.advance(&mut self.held, tick);
    }

    fn absorb(&mut self, data: (K, u64), _tick: Tick, diff: R, _out: &mut Out<K, Lanes<R>>) {
        self.take(Hint::NONE, data, diff);
    }

    fn absorb_all(&mut self, updates: &mut Vec<((K, u64), R)>, _tick: Tick, _out: &mut Out<K, Lanes<R>>) {
        let hints = self.held.keys.look_ahead(updates.iter().map(|((key, _), _)| key), |known| known.until);
        for ((data, diff), hint) in updates.drain(..).zip(hints) {
            self.take(hint, data, diff);
        }
    }

    fn settle(&mut self, tick: Tick, out: &mut Out<K, Lanes<R>>) {
        let Held { keys, changes, .. } = &mut self.held;
        let slots = std::mem::take(&mut changes.slots);
        let mut sums = changes.sums.drain(..);
        for slot in &slots {
            let (key, known) = keys.get_mut(*slot);
            known.change = None;
            let lanes = Lanes::of(sums.by_ref().take(changes.windows));
            out.extend((!lanes.is_zero()).then(|| (key.clone(), tick, lanes)));
        }
        drop(sums);
        slots.iter().for_each(|slot| self.forget_if_idle(*slot));
        self.held.changes.slots = slots;
        self.held.changes.slots.clear();
    }

    fn due(&self) -> Option<Tick> {
        self.ledger.due()
    }

    fn begin_export(&mut self) {
        self.ledger.begin_export();
    }

    fn export_slice(&mut self, max_rows: usize, out: &mut Vec<Self::Row>) -> bool {
        self.ledger.export_slice(&self.held, max_rows, out)
    }

    /// Rows come back as they were; what they add to each window is emitted at `tick`.
    fn import(&mut self, (key, row): Self::Row, _tick: Tick, _out: &mut Out<K, Lanes<R>>) {
        let slot = self.held.keys.find_or_insert(&key, Known::default);
        let until = self.ledger.import(&mut self.held, slot, row);
        self.keep_until(slot, until);
    }
}
