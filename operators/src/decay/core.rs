//! The core of [`super::Decay`]: what happened to each key, by half-life, and when it is let go.

use std::{collections::BTreeMap, hash::Hash};

use differential_dataflow::{ExchangeData, difference::IsZero};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::HalfLives;
use crate::{
    Tick,
    lanes::Lanes,
    shell::{Core, Out},
    table::{Hint, Slot, Table},
};

/// What happened to a key in one half-life since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sum {
    /// Which of the half-lives that are kept.
    pub which: u8,
    /// The how-manieth since 1970.
    pub number: u64,
    /// Weights by the table's values. It wraps, in any order to the same: the weights of a key in one
    /// half-life are to stay below 2^47 together.
    pub sum: i64,
}

/// A key and what happened to it, as exported.
pub type DecayRow<K> = (K, Vec<Sum>);

/// Decay without a dataflow.
pub struct DecayCore<K> {
    half_lives: HalfLives,
    phase_of: Box<dyn Fn(&K) -> u64>,
    keys: Table<K, State>,
    /// Tick at which something is let go → the slots that it concerns.
    leaving: BTreeMap<Tick, Vec<Slot>>,
    /// The keys whose sums changed in this tick.
    touched: Vec<Slot>,
    now: Tick,
}

#[derive(Clone)]
struct State {
    /// By half-life, then number. A sum that returns to 0 stays until it is let go: its slot is on
    /// the list.
    sums: SmallVec<[Sum; 2]>,
    /// The rank that was emitted, by half-life.
    ranks: SmallVec<[i64; 2]>,
    touched: bool,
}

impl<K: ExchangeData + Hash> DecayCore<K> {
    /// The core of `half_lives`; `phase_of` gives the phase of a key.
    pub fn new(half_lives: HalfLives, phase_of: Box<dyn Fn(&K) -> u64>) -> Self {
        let (keys, leaving, touched) = (Table::default(), BTreeMap::new(), Vec::new());
        DecayCore { half_lives, phase_of, keys, leaving, touched, now: 0 }
    }

    /// How many keys the core holds.
    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Takes what happened to a key at an instant.
    fn take(&mut self, hint: Hint, (key, at): (K, u64), weight: i64) {
        if weight == 0 {
            return;
        }
        let of = |which: usize| {
            let sum = weight.wrapping_mul(self.half_lives.weight(which, at));
            Sum { which: which as u8, number: self.half_lives.number(which, at), sum }
        };
        let sums: SmallVec<[Sum; 4]> = (0..self.half_lives.len()).map(of).collect();
        self.add(hint, &key, &sums);
    }

    /// Adds those of `sums` that still count.
    fn add(&mut self, hint: Hint, key: &K, sums: &[Sum]) {
        let phase = (self.phase_of)(key);
        let mut slot = None;
        for sum in sums {
            let leaves = self.half_lives.leaves(usize::from(sum.which), phase, sum.number);
            if leaves <= self.now {
                continue;
            }
            let ranks = self.half_lives.len();
            let fresh = || State { sums: SmallVec::new(), ranks: SmallVec::from_elem(0, ranks), touched: false };
            let slot = *slot.get_or_insert_with(|| self.keys.find_or_insert_near(hint, key, fresh));
            let state = self.keys.get_mut(slot).1;
            match state.sums.binary_search_by_key(&(sum.which, sum.number), |other| (other.which, other.number)) {
                Ok(place) => state.sums[place].sum = state.sums[place].sum.wrapping_add(sum.sum),
                Err(place) => {
                    state.sums.insert(place, *sum);
                    self.leaving.entry(leaves).or_default().push(slot);
                }
            }
            touch(state, slot, &mut self.touched);
        }
    }

    /// Lets go what a key has held for long enough.
    fn let_go(&mut self, slot: Slot) {
        let phase = (self.phase_of)(self.keys.get(slot).0);
        let (half_lives, now) = (&self.half_lives, self.now);
        let state = self.keys.get_mut(slot).1;
        state.sums.retain(|sum| half_lives.leaves(usize::from(sum.which), phase, sum.number) > now);
        touch(state, slot, &mut self.touched);
    }
}

fn touch(state: &mut State, slot: Slot, touched: &mut Vec<Slot>) {
    if !std::mem::replace(&mut state.touched, true) {
        touched.push(slot);
    }
}

impl<K: ExchangeData + Hash> Core for DecayCore<K> {
    type In = (K, u64);
    type InDiff = i64;
    type Out = K;
    type OutDiff = Lanes<i64>;
    type Row = DecayRow<K>;

    fn advance(&mut self, tick: Tick, _out: &mut Out<K, Lanes<i64>>) {
        self.now = self.now.max(tick);
        while let Some(entry) = self.leaving.first_entry().filter(|entry| *entry.key() <= self.now) {
            let slots = entry.remove();
            self.keys.fetch(slots.iter().copied(), |state| state.sums.len() as u64);
            slots.into_iter().for_each(|slot| self.let_go(slot));
        }
    }

    fn absorb(&mut self, data: (K, u64), _tick: Tick, weight: i64, _out: &mut Out<K, Lanes<i64>>) {
        self.take(Hint::NONE, data, weight);
    }

    fn absorb_all(&mut self, updates: &mut Vec<((K, u64), i64)>, _tick: Tick, _out: &mut Out<K, Lanes<i64>>) {
        let newest = |state: &State| state.sums.last().map_or(0, |sum| sum.number);
        let hints = self.keys.look_ahead(updates.iter().map(|((key, _), _)| key), newest);
        for ((data, weight), hint) in updates.drain(..).zip(hints) {
            self.take(hint, data, weight);
        }
    }

    fn settle(&mut self, tick: Tick, out: &mut Out<K, Lanes<i64>>) {
        for slot in std::mem::take(&mut self.touched) {
            let (key, state) = self.keys.get_mut(slot);
            state.touched = false;
            let mut sums = state.sums.as_slice();
            let lanes = Lanes::of(state.ranks.iter_mut().enumerate().map(|(which, before)| {
                let (own, others) = sums.split_at(sums.partition_point(|sum| usize::from(sum.which) == which));
                sums = others;
                let rank = self.half_lives.rank(which, own);
                rank - std::mem::replace(before, rank)
            }));
            out.extend((!lanes.is_zero()).then(|| (key.clone(), tick, lanes)));
            if state.sums.is_empty() {
                self.keys.remove(slot);
            }
        }
    }

    fn due(&self) -> Option<Tick> {
        self.leaving.keys().next().copied()
    }

    fn begin_export(&mut self) {
        self.keys.begin_export();
    }

    fn export_slice(&mut self, max_rows: usize, out: &mut Vec<Self::Row>) -> bool {
        self.keys.export_slice(max_rows, out, |key, state| {
            let sums: Vec<Sum> = state.sums.into_iter().filter(|sum| sum.sum != 0).collect();
            (!sums.is_empty()).then_some((key, sums))
        })
    }

    /// Sums come back as they were; the ranks that they make are emitted at `tick`.
    fn import(&mut self, (key, sums): Self::Row, _tick: Tick, _out: &mut Out<K, Lanes<i64>>) {
        let kept = self.half_lives.len();
        let sums: Vec<Sum> = sums.into_iter().filter(|sum| usize::from(sum.which) < kept).collect();
        self.add(Hint::NONE, &key, &sums);
    }
}
