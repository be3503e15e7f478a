//! What a person is drawn to: weights of categories and brands, decayed with a half-life.
//!
//! Forward decay (Cormode et al., ICDE 2009) in exact integers: an event's weight doubles with every
//! half-life since the epoch, so that weights of all times add up and shares do not change by time
//! alone. An event is forgotten after [`LIVES`] half-lives.
//!
//! **State bound**: per label a sum for each half-life in which something happened.

use std::collections::BTreeMap;

use etalage_model::{Sym, Tick};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::small_map::SmallMap;

/// For how many whole half-lives an event counts, beside the one in which it happened.
pub const LIVES: u64 = 32;

/// Parts of a half-life that are told apart.
const PLACES: u64 = 64;

/// `2^(n/64)` in units of `1/2^15`, rounded: the 64th root of two, found by halving the half-life six
/// times (integer square roots).
static POWERS: std::sync::LazyLock<[i64; PLACES as usize]> = std::sync::LazyLock::new(|| {
    // Roots of two: 2^(1/2), 2^(1/4), …, scaled by 2^60.
    let roots: Vec<u128> = (0..6)
        .scan(2u128 << 60, |square, _| {
            *square = (*square << 60).isqrt();
            Some(*square)
        })
        .collect();
    std::array::from_fn(|place| {
        let bits = roots.iter().enumerate().filter(|(bit, _)| place >> (5 - bit) & 1 == 1);
        let power = bits.fold(1u128 << 60, |power, (_, root)| (power * (root >> 4)) >> 56);
        ((power + (1 << 44)) >> 45) as i64
    })
});

/// Sums by half-life since the epoch, in order.
type Lives = SmallVec<[(u64, i64); 2]>;

/// Weights by label.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Weights(SmallMap<Sym, Lives>);

/// A label with its share of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Category or brand.
    pub label: Sym,
    /// Its part of all weights, in millionths.
    pub share_ppm: i64,
}

/// The half-life in which `at` lies, and what a weight dated `at` counts there.
fn placed(at: u64, weight: i64, half_life_us: u64) -> (u64, i64) {
    let place = u128::from(at % half_life_us) * u128::from(PLACES) / u128::from(half_life_us);
    (at / half_life_us, weight.saturating_mul(POWERS[place as usize]))
}

/// The tick at which what happened in a half-life is forgotten.
fn ends(life: u64, half_life_us: u64) -> Tick {
    (life + LIVES + 1) * half_life_us
}

impl Weights {
    /// Something of weight `weight` happened.
    pub fn take(&mut self, label: Sym, at: u64, weight: i64, half_life_us: u64) {
        let (life, weight) = placed(at, weight, half_life_us);
        add(self.0.entry(label), life, weight);
    }

    /// Takes in all that `other` knows.
    pub fn merge(&mut self, other: &Weights) {
        for (label, lives) in other.0.iter() {
            let entry = self.0.entry(*label);
            lives.iter().for_each(|(life, weight)| add(entry, *life, *weight));
        }
    }

    /// The labels of the greatest weights at `tick`, the greatest first; and when that changes by time
    /// alone.
    pub fn top(&self, most: usize, tick: Tick, half_life_us: u64) -> (Vec<Share>, Option<Tick>) {
        let mut sums = Vec::with_capacity(self.0.len());
        let mut due = None;
        for (label, lives) in self.0.iter() {
            let live = lives.iter().filter(|(life, _)| ends(*life, half_life_us) > tick);
            let first = live.clone().map(|(life, _)| *life).next();
            due = due.into_iter().chain(first.map(|life| ends(life, half_life_us))).min();
            sums.extend(first.map(|_| (*label, live)));
        }
        let landmark = (tick / half_life_us).saturating_sub(LIVES);
        let sum = |(label, live): (Sym, _)| (label, exact(live, landmark));
        (shares(sums.into_iter().map(sum), most), due)
    }
}

/// The weights of all lives as a sum: each counts twice what the one before it counts.
fn exact<'a>(lives: impl Iterator<Item = &'a (u64, i64)>, landmark: u64) -> i128 {
    lives.map(|(life, weight)| i128::from(*weight) << lives_since(landmark, *life)).sum()
}

/// How many half-lives lie between the landmark and one that still counts. (One that is ahead of its
/// time by more than a clock may be is held where the sum has room.)
fn lives_since(landmark: u64, life: u64) -> u64 {
    life.saturating_sub(landmark).min(2 * LIVES - 4)
}

fn add(lives: &mut Lives, life: u64, weight: i64) {
    match lives.binary_search_by_key(&life, |(other, _)| *other) {
        Ok(place) => lives[place].1 = lives[place].1.saturating_add(weight),
        Err(place) => lives.insert(place, (life, weight)),
    }
}

fn shares(sums: impl Iterator<Item = (Sym, i128)>, most: usize) -> Vec<Share> {
    let mut sums: Vec<(Sym, i128)> = sums.filter(|(_, sum)| *sum > 0).collect();
    let total: i128 = sums.iter().map(|(_, sum)| sum).sum();
    sums.sort_unstable_by(|(one, a), (other, b)| b.cmp(a).then_with(|| one.cmp(other)));
    let share = |(label, sum): &(Sym, i128)| Share { label: *label, share_ppm: (sum * 1_000_000 / total) as i64 };
    sums.iter().take(most).map(share).collect()
}

/// The same of all that ever happened, plainly: label, time, weight.
pub fn plain_top(happened: &[(Sym, u64, i64)], most: usize, tick: Tick, half_life_us: u64) -> Vec<Share> {
    let mut sums: BTreeMap<Sym, i128> = BTreeMap::new();
    let landmark = (tick / half_life_us).saturating_sub(LIVES);
    for (label, at, weight) in happened {
        let (life, weight) = placed(*at, *weight, half_life_us);
        if ends(life, half_life_us) > tick {
            *sums.entry(*label).or_default() += i128::from(weight) << lives_since(landmark, life);
        }
    }
    shares(sums.into_iter(), most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_doubles_with_a_half_life() {
        assert_eq!((POWERS[0], POWERS[32]), (1 << 15, 46_341), "1 and the square root of two");
        assert!(POWERS.windows(2).all(|pair| pair[0] < pair[1]) && POWERS[63] < 1 << 16);
        let (label, other) = (Sym::new("shoes"), Sym::new("hats"));
        let mut weights = Weights::default();
        weights.take(label, 1_000, 2, 100);
        weights.take(other, 1_100, 1, 100);
        let half = |label| Share { label, share_ppm: 500_000 };
        assert_eq!(weights.top(5, 1_100, 100), (vec![half(other), half(label)], Some(4_300)));
        assert_eq!(weights.top(5, 4_300, 100).0, [Share { label: other, share_ppm: 1_000_000 }]);
    }
}
