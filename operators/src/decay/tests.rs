//! Decay against its definition.

mod against_oracle;
mod cases;
mod ranks;
mod round_trip;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;

use super::*;
use crate::testing::by_lane;
use crate::testing::{Build, Drive, Snapshot, Updates};

/// A key of the tests; its phase is decided by the whole key.
type Key = u64;

/// Everything that a run of the operator depends on, the way it is driven aside.
#[derive(Clone, Debug)]
struct History {
    half_lives: HalfLives,
    input: Updates<(Key, u64), i64>,
    last: Tick,
}

impl History {
    /// The ranks at `tick`, from the definition and the whole history.
    fn ranks_at(&self, tick: Tick) -> Snapshot<(Key, u8), i64> {
        let mut sums: BTreeMap<(Key, u8), BTreeMap<u64, i64>> = BTreeMap::new();
        for ((key, at), _, weight) in self.input.iter().filter(|(_, arrived, _)| *arrived <= tick) {
            let phase = self.half_lives.phase(key);
            for which in (0..self.half_lives.len()).filter(|which| self.half_lives.holds(*which, phase, *at, tick)) {
                let of_key = sums.entry((*key, which as u8)).or_default();
                *of_key.entry(self.half_lives.number(which, *at)).or_default() +=
                    weight * self.half_lives.weight(which, *at);
            }
        }
        let rank = |((key, which), of_key): ((Key, u8), BTreeMap<u64, i64>)| {
            let sums: Vec<Sum> = of_key.into_iter().map(|(number, sum)| Sum { which, number, sum }).collect();
            ((key, which), self.half_lives.rank(usize::from(which), &sums))
        };
        sums.into_iter().map(rank).filter(|(_, rank)| *rank > 0).collect()
    }

    /// Every tick at which something arrives or leaves, and the one before each that leaves.
    fn ticks(&self) -> BTreeSet<Tick> {
        let mut ticks = BTreeSet::from([self.last]);
        for ((key, at), arrived, _) in &self.input {
            ticks.insert(*arrived);
            for which in 0..self.half_lives.len() {
                let number = self.half_lives.number(which, *at);
                let leaves = self.half_lives.leaves(which, self.half_lives.phase(key), number);
                ticks.extend([leaves - 1, leaves]);
            }
        }
        ticks.retain(|tick| *tick <= self.last);
        ticks
    }

    fn drive(&self, workers: usize, seed: u64) -> Drive<(Key, u64), i64, DecayRow<Key>> {
        Drive::new(workers, seed, &self.input, self.last)
    }
}

/// Updates that are early, late, far too late, and some that are taken back later.
fn history() -> impl Strategy<Value = History> {
    let lengths = prop::collection::vec(prop_oneof![3 => 1u64..=6, 2 => 10u64..=70, 1 => 3_000u64..5_000], 1..=3);
    let weight = prop_oneof![3 => 1i64..4, 1 => -3i64..0, 1 => Just(1_000_000)];
    let age = prop_oneof![4 => 0i64..10, 2 => -80i64..0, 2 => 0i64..300];
    let update = (0u64..3, 0u64..250, age, weight);
    let updates = prop::collection::vec((update, prop::option::of(0u64..300)), 1..40);
    let base = prop_oneof![Just(0u64), Just(1_000_003), Just(1_700_000_000_000_000)];
    (lengths, updates, base, 0u64..=1_000).prop_map(|(lengths, updates, base, share)| {
        let half_lives = HalfLives::new(&lengths);
        let mut input = Updates::new();
        for ((key, tick, age, weight), retracted) in updates {
            let tick = base + tick;
            let at = tick.saturating_add_signed(-age);
            input.push(((key, at), tick, weight));
            input.extend(retracted.map(|later| ((key, at), tick + later, -weight)));
        }
        let last = base + 250 + half_lives.horizon_us() * share / 1_000;
        input.retain(|(_, tick, _)| *tick <= last);
        History { half_lives, input, last }
    })
}

type Built = Arc<Build<(Key, u64), i64, DecayRow<Key>, (Key, u8), i64>>;

/// The operator.
fn decay(half_lives: &HalfLives) -> Built {
    let half_lives = half_lives.clone();
    Arc::new(move |input, wiring| by_lane(input.decay(half_lives.clone(), wiring, |key| *key)))
}
