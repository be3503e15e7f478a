//! Rolling windows: each update counts in every window that holds its time, and is taken back
//! when the window has moved on.
//!
//! - **Input** `((key, at), tick, diff)`: something of `key` that happened at `at` (µs).
//! - **Output** `(key, tick, lanes)`: at every tick the accumulated output of a key has, in the lane
//!   of each window, the sum of the input whose bucket ends after `tick - length`.
//! - **Time** is the tick. A bucket that ends at `end` leaves a window of length `W` at the tick
//!   `end + W`, exactly, with or without further input.
//! - **State bound**: per bucket that any window still holds, a row per key that had something in
//!   it, at the most twice as many as keys once there are more than a few; keys with rows, and as
//!   many again that had some before.
//! - **Late data** count in the windows that still hold their bucket, and in no other.
//!   Retractions are late data like any other.
//!
//! ```text
//!            at            tick
//!   ─────────┼──────────────┼────────> time       windows:  ├──── 1h ────┤ bucket 10 s
//!     [bucket)…end          │                     ├────────── 7d ──────────┤ bucket 60 s
//!     counted in W while end + W > tick
//! ```
//!
//! Future retractions never sit in a differential batcher (which looks at all of them at every
//! seal): they are implied by an ordered index of bucket ends, shared by all windows of one length of
//! bucket, each with its own place in it. Rows lie in their buckets, in the order in which they came:
//! what leaves together lies together. Buckets *nest*: a window of many buckets has coarser ones
//! ([`DEFAULT_MAX_BUCKETS`]), an update is written once, into the finest, and rows are rolled up
//! into the next coarser bucket when the last window of the finer level has passed them.

mod buckets;
mod core;
mod ledger;

pub(crate) use buckets::Row;
pub use core::{BucketRow, ExpireCore};
pub(crate) use ledger::{Accounts, Ledger};

use std::hash::Hash;

use differential_dataflow::{ExchangeData, difference::Abelian};

use crate::{
    Collection, Tick,
    inflow::Inflow,
    lanes::Lanes,
    shell::{Wiring, run},
    table::hash_of,
};

/// The most buckets that a window has: a longer window gets coarser buckets. A week of minutes.
pub const DEFAULT_MAX_BUCKETS: u64 = 10_080;

/// How many different phases the buckets of spread keys have: the load of an edge is so many times
/// less. Each is an instant at which some bucket ends, and where steps are not announced
/// ([`crate::shell::Steps`]) a tick by itself.
pub const PHASES: u64 = 64;

/// Where the edges of a key's buckets lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// On multiples of the bucket.
    Aligned,
    /// Offset by a stable hash of the key, so that not all buckets end at one instant.
    Spread,
}

/// The windows that an operator keeps, shortest first, and their buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    lengths_us: Vec<u64>,
    buckets_us: Vec<u64>,
    phase: Phase,
}

impl Windows {
    /// Windows of `lengths_us`, numbered in that order. The finest bucket is `bucket_us`, which
    /// must divide every length; a window of more than `max_buckets` of them gets the least
    /// coarser bucket that nests and divides.
    ///
    /// # Panics
    /// Where a length is 0 or no multiple of the bucket: a configuration checks that first.
    pub fn new(lengths_us: &[u64], bucket_us: u64, max_buckets: u64, phase: Phase) -> Windows {
        assert!(bucket_us > 0 && lengths_us.iter().all(|length| *length > 0 && length.is_multiple_of(bucket_us)));
        let mut by_length: Vec<usize> = (0..lengths_us.len()).collect();
        by_length.sort_by_key(|window| lengths_us[*window]);
        let mut buckets_us = vec![bucket_us; lengths_us.len()];
        let mut finer_us = bucket_us;
        for window in by_length {
            let steps = lengths_us[window] / finer_us;
            let least = steps.div_ceil(max_buckets.max(1)).max(1);
            // Where the lengths do not nest, all windows keep the finest bucket.
            if !lengths_us[window].is_multiple_of(finer_us) {
                buckets_us.fill(bucket_us);
                break;
            }
            finer_us *= (least..=steps).find(|factor| steps.is_multiple_of(*factor)).unwrap_or(1);
            buckets_us[window] = finer_us;
        }
        Windows { lengths_us: lengths_us.to_vec(), buckets_us, phase }
    }

    /// How many windows there are.
    pub fn len(&self) -> usize {
        self.lengths_us.len()
    }

    /// True where there is none.
    pub fn is_empty(&self) -> bool {
        self.lengths_us.is_empty()
    }

    /// The longest time for which anything counts after it happened.
    pub fn horizon_us(&self) -> u64 {
        let sums = self.lengths_us.iter().zip(&self.buckets_us).map(|(length, bucket)| length + bucket);
        sums.max().unwrap_or(0)
    }

    /// The length of `window`'s buckets.
    pub fn bucket_us(&self, window: usize) -> u64 {
        self.buckets_us[window]
    }

    /// The length of the coarsest buckets.
    pub fn coarsest_us(&self) -> u64 {
        self.buckets_us.iter().copied().max().unwrap_or(0)
    }

    /// The offset of a key's bucket edges.
    pub fn phase_us<K: Hash + ?Sized>(&self, key: &K) -> u64 {
        match self.phase {
            Phase::Aligned => 0,
            Phase::Spread => hash_of(key) % PHASES * self.coarsest_us() / PHASES,
        }
    }

    /// The end of the bucket of `window` that holds `at`.
    pub fn bucket_end(&self, window: usize, phase_us: u64, at: u64) -> u64 {
        bucket_end(self.buckets_us[window], phase_us, at)
    }

    /// True where `window` holds an event dated `at` at `tick`: the definition, which the core
    /// must agree with and an oracle may use.
    pub fn holds(&self, window: usize, phase_us: u64, at: u64, tick: Tick) -> bool {
        self.end(window, phase_us, at) > tick
    }

    /// The tick at which `window` no longer holds an event dated `at`.
    pub fn end(&self, window: usize, phase_us: u64, at: u64) -> Tick {
        self.bucket_end(window, phase_us, at) + self.lengths_us[window]
    }

    /// The instant from which on events count in `window` at `tick`.
    pub fn start(&self, window: usize, phase_us: u64, tick: Tick) -> u64 {
        let length = self.lengths_us[window];
        let bucket = self.buckets_us[window];
        tick.checked_sub(length).map_or(0, |edge| self.bucket_end(window, phase_us, edge).saturating_sub(bucket))
    }
}

/// The end of the bucket of length `bucket_us` and offset `phase_us` that holds `at`.
fn bucket_end(bucket_us: u64, phase_us: u64, at: u64) -> u64 {
    let offset = phase_us % bucket_us;
    (at + bucket_us - offset) / bucket_us * bucket_us + offset
}

/// A key and a row of it, as exported. A key may have several rows of one bucket.
pub type ExpireRow<K, R> = (K, BucketRow<R>);

/// Rolling windows over a collection of `(key, at)`, or an [`Inflow`] of it.
pub trait Expire<'scope, K: ExchangeData + Hash, R: ExchangeData + Abelian> {
    /// The sums of each key in each of `windows`, as differences by window; `phase_key` says which part of
    /// a key decides its phase.
    ///
    /// ```
    /// use differential_dataflow::input::Input;
    /// use etalage_operators::{expire::{Expire, Phase, Windows}, shell::Wiring};
    ///
    /// timely::example(|scope| {
    ///     let windows = Windows::new(&[60, 600], 10, 1_000, Phase::Aligned);
    ///     let clicks = scope.new_collection_from(vec![("shoe".to_string(), 5u64)]).1;
    ///     clicks.expire(windows, Wiring::fresh("Expire", scope), |key| key.clone());
    /// });
    /// ```
    fn expire<P: Hash + 'static>(
        self,
        windows: Windows,
        wiring: Wiring<'scope, ExpireRow<K, R>>,
        phase_key: impl Fn(&K) -> P + 'static,
    ) -> Collection<'scope, K, Lanes<R>>;
}

impl<'scope, K, R, I> Expire<'scope, K, R> for I
where
    K: ExchangeData + Hash,
    R: ExchangeData + Abelian,
    I: Into<Inflow<'scope, (K, u64), R>>,
{
    fn expire<P: Hash + 'static>(
        self,
        windows: Windows,
        wiring: Wiring<'scope, ExpireRow<K, R>>,
        phase_key: impl Fn(&K) -> P + 'static,
    ) -> Collection<'scope, K, Lanes<R>> {
        let phase_key = std::rc::Rc::new(phase_key);
        let (by_data, by_row) = (std::rc::Rc::clone(&phase_key), std::rc::Rc::clone(&phase_key));
        let phases = windows.clone();
        let core = ExpireCore::new(windows, Box::new(move |key: &K| phases.phase_us(&phase_key(key))));
        run(self, wiring, core, move |(key, _)| by_data(key), move |(key, _)| by_row(key))
    }
}

#[cfg(test)]
mod tests;
