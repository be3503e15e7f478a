//! Exponential decay: what happens counts half as much after each half-life, exactly and without a
//! clock.
//!
//! - **Input** `((key, at), tick, weight)`: something of `key` happened at `at` (µs) and weighs so
//!   much; weights may be negative and add up.
//! - **Output** `(key, tick, lanes)`: at every tick the accumulated output of a key has, in the lane of
//!   each half-life, the *rank* of the key's sum, or 0 where the sum is not above 0.
//! - **Time** is the tick. A key's rank changes when something of it arrives, is taken back, or is
//!   let go: what happened within a half-life is let go together, 33 half-lives after its beginning
//!   and at one of [`PHASES`] phases ([`HalfLives::leaves`]), so that no instant concerns all keys. When
//!   a half-life ends, no rank changes for that.
//! - **State bound**: per key and half-life at most one sum for each of the 34 half-lives of which
//!   something may count, and for those that lie ahead of the tick.
//! - **Late data** count until what they belong to is let go, and not any more. Retractions are late
//!   data like any other.
//!
//! ```text
//!   weight at `at`     1 ───── 2 ───── 4 ───── 8 ───── 16      forward: nobody's weight ever changes;
//!   half-lives since   │  n    │ n + 1 │ n + 2 │ n + 3 │       that of the present goes up
//!   1970               └─ sum ─┴─ sum ─┴─ sum ─┴─ sum ─┘
//!                         let go at (n + 33) half-lives + phase
//! ```
//!
//! **The sum.** Something that happened in the `n`th half-life since 1970 weighs `2^n` times a table's
//! value for the place within the half-life ([`HalfLives::weight`], 16 bits, [`PLACES`] places). The
//! sum of a key is `Σ sum_n × 2^n` over the half-lives that count: a whole number of any length, which
//! no order of arrival changes. At an instant `t` it stands for the decayed score
//! `sum / 2^15 / 2^(t / half-life)`.
//!
//! **The rank** is an instant, in µs since 1970 and a constant more: that at which the decayed score
//! is 1 ([`HalfLives::one_at_us`]). So the greater of two ranks belongs to the greater score at every
//! instant, a rank does not go stale by time alone, and a reader has the score at `t`:
//! `2^((one_at − t) / half-life)`. It is made of the exact sum in whole numbers and never falls where
//! the sum grows; sums whose ranks would differ by less than a microsecond share one. The logarithm is
//! interpolated between [`PLACES`] places, so that a score is read within two parts in 10^7.

mod core;
mod exact;

pub use core::{DecayCore, DecayRow, Sum};
pub use exact::PLACES;

use std::hash::Hash;

use differential_dataflow::ExchangeData;

use crate::{
    Collection, Tick,
    expire::PHASES,
    inflow::Inflow,
    lanes::Lanes,
    shell::{Wiring, run},
    table::hash_of,
};

/// How many half-lives count. What is let go weighs less than one part in 2^32 of what is new.
pub const HELD: u64 = 33;

/// The half-lives that an operator keeps, numbered in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HalfLives {
    lengths_us: Vec<u64>,
}

impl HalfLives {
    /// Half-lives of `lengths_us`.
    ///
    /// # Panics
    /// Where a length is 0, or there are more than 256: a configuration checks that first.
    pub fn new(lengths_us: &[u64]) -> HalfLives {
        assert!(lengths_us.len() <= 256 && lengths_us.iter().all(|length_us| *length_us > 0));
        HalfLives { lengths_us: lengths_us.to_vec() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lengths_us.len()
    }

    /// True where there is none.
    pub fn is_empty(&self) -> bool {
        self.lengths_us.is_empty()
    }

    /// The longest time for which anything counts after it happened.
    pub fn horizon_us(&self) -> u64 {
        self.lengths_us.iter().max().map_or(0, |longest_us| longest_us.saturating_mul(HELD + 1))
    }

    /// In which half-life since 1970 an instant lies.
    pub fn number(&self, which: usize, at: u64) -> u64 {
        at / self.lengths_us[which]
    }

    /// The weight of an instant within its half-life: from 2^15 to just below 2^16.
    pub fn weight(&self, which: usize, at: u64) -> i64 {
        let length_us = u128::from(self.lengths_us[which]);
        exact::weight((u128::from(at) % length_us * u128::from(PLACES) / length_us) as usize)
    }

    /// The phase of a key, as a number below [`PHASES`].
    pub fn phase<K: Hash + ?Sized>(&self, key: &K) -> u64 {
        hash_of(key) % PHASES
    }

    /// The tick at which a key of this phase lets go of what happened in the half-life `number`.
    pub fn leaves(&self, which: usize, phase: u64, number: u64) -> Tick {
        let length_us = self.lengths_us[which];
        let phase_us = u128::from(phase) * u128::from(length_us) / u128::from(PHASES);
        number.saturating_add(HELD).saturating_mul(length_us).saturating_add(phase_us as u64)
    }

    /// True where something dated `at` counts at `tick`: the definition, which the core must agree
    /// with and an oracle may use.
    pub fn holds(&self, which: usize, phase: u64, at: u64, tick: Tick) -> bool {
        self.leaves(which, phase, self.number(which, at)) > tick
    }

    /// The rank of a sum, given by half-life since 1970, ascending; 0 where it is not above 0.
    pub fn rank(&self, which: usize, sums: &[Sum]) -> i64 {
        // The sum is a whole number above 0, so its logarithm is at least 0; the rank is above that.
        exact::log2(sums).map_or(0, |log2| log2.times(self.lengths_us[which]).saturating_add(1))
    }

    /// The instant at which the decayed score of a rank is 1; before 1970, it is negative.
    pub fn one_at_us(&self, which: usize, rank: i64) -> i64 {
        let unit_us = self.lengths_us[which].saturating_mul(u64::from(exact::UNIT_BITS));
        rank.saturating_sub(1).saturating_sub(i64::try_from(unit_us).unwrap_or(i64::MAX))
    }
}

/// Decay over a collection of `(key, at)`, or an [`Inflow`] of it.
pub trait Decay<'scope, K: ExchangeData + Hash> {
    /// The rank of each key by each of `half_lives`, as differences; `phase_key` says which part of a
    /// key decides its phase.
    ///
    /// ```
    /// use differential_dataflow::input::Input;
    /// use etalage_operators::{decay::{Decay, HalfLives}, shell::Wiring};
    ///
    /// timely::example(|scope| {
    ///     let half_lives = HalfLives::new(&[3_600_000_000]);
    ///     let clicks = scope.new_collection_from_raw(vec![(("shoe".to_string(), 5u64), 5, 1i64)]).1;
    ///     clicks.decay(half_lives, Wiring::fresh("Decay", scope), |key| key.clone());
    /// });
    /// ```
    fn decay<P: Hash + 'static>(
        self,
        half_lives: HalfLives,
        wiring: Wiring<'scope, DecayRow<K>>,
        phase_key: impl Fn(&K) -> P + 'static,
    ) -> Collection<'scope, K, Lanes<i64>>;
}

impl<'scope, K, I> Decay<'scope, K> for I
where
    K: ExchangeData + Hash,
    I: Into<Inflow<'scope, (K, u64), i64>>,
{
    fn decay<P: Hash + 'static>(
        self,
        half_lives: HalfLives,
        wiring: Wiring<'scope, DecayRow<K>>,
        phase_key: impl Fn(&K) -> P + 'static,
    ) -> Collection<'scope, K, Lanes<i64>> {
        let phase_key = std::rc::Rc::new(phase_key);
        let (by_data, by_row) = (std::rc::Rc::clone(&phase_key), std::rc::Rc::clone(&phase_key));
        let phases = half_lives.clone();
        let core = DecayCore::new(half_lives, Box::new(move |key: &K| phases.phase(&phase_key(key))));
        run(self, wiring, core, move |(key, _)| by_data(key), move |(key, _)| by_row(key))
    }
}

#[cfg(test)]
mod tests;
