//! Rolling windows against their definition.

mod against_oracle;
mod cases;
mod round_trip;

use std::{collections::BTreeSet, sync::Arc};

use proptest::prelude::*;

use super::*;
use crate::testing::by_lane;
use crate::testing::{Build, Drive, Snapshot, Updates, add};

/// A key of the tests; its phase is decided by the whole key unless a test says otherwise.
type Key = u64;

/// Everything that a run of the operator depends on, the way it is driven aside.
#[derive(Clone, Debug)]
struct History {
    windows: Windows,
    input: Updates<(Key, u64)>,
    last: Tick,
}

impl History {
    /// The sums at `tick`, from the definition and the whole history.
    fn sums_at(&self, tick: Tick) -> Snapshot<(Key, u8)> {
        let mut sums = Snapshot::new();
        for ((key, at), _, diff) in self.input.iter().filter(|(_, arrived, _)| *arrived <= tick) {
            let phase_us = self.windows.phase_us(key);
            for window in (0..self.windows.len()).filter(|window| self.windows.holds(*window, phase_us, *at, tick)) {
                add(&mut sums, &(*key, window as u8), diff);
            }
        }
        sums
    }

    /// Every tick at which something arrives or leaves, and the one before each that leaves.
    fn ticks(&self) -> BTreeSet<Tick> {
        let mut ticks = BTreeSet::from([self.last]);
        for ((key, at), arrived, _) in &self.input {
            ticks.insert(*arrived);
            for (window, length_us) in self.windows.lengths_us.iter().enumerate() {
                let leaves = self.windows.bucket_end(window, self.windows.phase_us(key), *at) + length_us;
                ticks.extend([leaves - 1, leaves]);
            }
        }
        ticks.retain(|tick| *tick <= self.last);
        ticks
    }
}

/// Windows of which coarser ones nest, mostly, and of few buckets, so that there are several
/// levels; in any order.
fn windows() -> impl Strategy<Value = Windows> {
    let lengths = prop_oneof![
        3 => prop::collection::vec(1u64..=4, 1..=4).prop_map(|factors| {
            factors.iter().scan(1, |product, factor| { *product *= factor; Some(*product) }).collect::<Vec<_>>()
        }),
        1 => prop::collection::vec(1u64..=40, 1..=4),
    ];
    let max_buckets = prop_oneof![4 => 1u64..=5, 1 => Just(DEFAULT_MAX_BUCKETS)];
    let phase = prop_oneof![Just(Phase::Aligned), Just(Phase::Spread)];
    (1u64..=6, lengths.prop_shuffle(), max_buckets, phase).prop_map(|(bucket_us, lengths, max_buckets, phase)| {
        let lengths_us: Vec<u64> = lengths.into_iter().map(|length| length * bucket_us).collect();
        Windows::new(&lengths_us, bucket_us, max_buckets, phase)
    })
}

/// Updates that are early, late, far too late, and some that are taken back later.
fn history() -> impl Strategy<Value = History> {
    let update = (0u64..3, 0u64..150, -3i64..140, prop_oneof![Just(1isize), Just(2), Just(-1)]);
    let updates = prop::collection::vec((update, prop::option::of(0u64..160)), 1..40);
    let base = prop_oneof![Just(0u64), Just(1_000_003)];
    (windows(), updates, base, 0u64..=1_000).prop_map(|(windows, updates, base, share)| {
        let mut input = Updates::new();
        for ((key, tick, age, diff), retracted) in updates {
            let tick = base + tick;
            let at = tick.saturating_add_signed(-age);
            input.push(((key, at), tick, diff));
            input.extend(retracted.map(|later| ((key, at), tick + later, -diff)));
        }
        let last = base + 150 + windows.horizon_us() * share / 1_000;
        input.retain(|(_, tick, _)| *tick <= last);
        History { windows, input, last }
    })
}

type Built = Arc<Build<(Key, u64), isize, ExpireRow<Key, isize>, (Key, u8), isize>>;

/// The operator, with phases by key.
fn expire(windows: &Windows) -> Built {
    expire_by(windows, |key| key)
}

/// The operator, with phases by `phase_key`.
fn expire_by(windows: &Windows, phase_key: fn(Key) -> Key) -> Built {
    let windows = windows.clone();
    Arc::new(move |input, wiring| by_lane(input.expire(windows.clone(), wiring, move |key| phase_key(*key))))
}

impl History {
    fn drive(&self, workers: usize, seed: u64) -> Drive<(Key, u64), isize, ExpireRow<Key, isize>> {
        Drive::new(workers, seed, &self.input, self.last)
    }
}
