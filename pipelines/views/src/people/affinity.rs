//! What a person is drawn to: weights of categories and brands, decayed with a half-life.
//!
//! Forward decay (Cormode et al., ICDE 2009) in exact integers: an event's weight doubles with every
//! half-life since the epoch, so that weights of all times add up and shares do not change by time
//! alone. An event is forgotten after [`LIVES`] half-lives. One that is dated almost as many ahead counts as
//! much as the sums have room for until its time is nearer.
//!
//! **Order**: between two half-lives nothing but an event changes which label comes before which. Of
//! somebody with many labels their order is kept, so that an event costs no more than of anybody else.
//!
//! **State bound**: per label a sum for each half-life in which something happened.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use etalage_model::{Sym, Tick};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::small_map::SmallMap;

/// For how many whole half-lives an event counts, beside the one in which it happened.
pub const LIVES: u64 = 32;

/// How many half-lives after the first that counts a sum has room for.
const MOST_LIVES_SINCE: u64 = 2 * LIVES - 4;

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

/// From so many labels on their order is kept. Few in tests, so that all of them see it.
const MIN_RANKED: usize = if cfg!(test) { 3 } else { 24 };

/// Weights by label.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Weights {
    labels: SmallMap<Sym, Lives>,
    #[serde(skip)]
    ranked: Option<Box<Ranked>>,
}

impl Clone for Weights {
    /// A copy makes its order when it needs one.
    fn clone(&self) -> Self {
        Weights { labels: self.labels.clone(), ranked: None }
    }
}

/// The order of many labels, as long as the same half-lives count.
#[derive(Debug)]
struct Ranked {
    /// The first half-life that counts.
    landmark: u64,
    /// The first of those that count in which something happened, and the last.
    span: Option<(u64, u64)>,
    /// Labels with a sum above 0, the greatest first.
    order: BTreeSet<(Reverse<i128>, Sym)>,
    /// Of all sums in that order.
    total: i128,
}

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

/// The first half-life that counts at `tick`.
fn landmark(tick: Tick, half_life_us: u64) -> u64 {
    (tick / half_life_us).saturating_sub(LIVES)
}

/// The tick at which what happened in a half-life is forgotten.
fn ends(life: u64, half_life_us: u64) -> Tick {
    (life + LIVES + 1) * half_life_us
}

impl Weights {
    /// Something of weight `weight` happened.
    pub fn take(&mut self, label: Sym, at: u64, weight: i64, half_life_us: u64) {
        let (life, weight) = placed(at, weight, half_life_us);
        let lives = self.labels.entry(label);
        match &mut self.ranked {
            None => add(lives, life, weight),
            Some(ranked) => {
                ranked.remove(label, lives);
                add(lives, life, weight);
                ranked.insert(label, lives);
            }
        }
    }

    /// Takes in all that `other` knows.
    pub fn merge(&mut self, other: &Weights) {
        self.ranked = None;
        for (label, lives) in other.labels.iter() {
            let entry = self.labels.entry(*label);
            lives.iter().for_each(|(life, weight)| add(entry, *life, *weight));
        }
    }

    /// The labels of the greatest weights at `tick`, the greatest first; and when that changes by time
    /// alone.
    pub fn top(&mut self, most: usize, tick: Tick, half_life_us: u64) -> (Vec<Share>, Option<Tick>) {
        let landmark = landmark(tick, half_life_us);
        if self.labels.len() < MIN_RANKED {
            let span = self.labels.iter().filter_map(|(_, lives)| span(lives, landmark)).reduce(widest);
            let mut sums: Vec<(Reverse<i128>, Sym)> =
                self.labels.iter().map(|(label, lives)| (Reverse(exact(lives, landmark)), *label)).collect();
            sums.retain(|(sum, _)| sum.0 > 0);
            sums.sort_unstable();
            let total = sums.iter().map(|(sum, _)| sum.0).sum();
            return (shares(&sums, most, total), due(span, landmark, half_life_us));
        }
        let ranked = self.ranked.take().filter(|ranked| ranked.landmark == landmark);
        let ranked = ranked.unwrap_or_else(|| Box::new(Ranked::of(&self.labels, landmark)));
        let due = due(ranked.span, landmark, half_life_us);
        let ranked = self.ranked.insert(ranked);
        (shares(&ranked.order, most, ranked.total), due)
    }
}

impl Ranked {
    fn of(labels: &SmallMap<Sym, Lives>, landmark: u64) -> Ranked {
        let mut ranked = Ranked { landmark, span: None, order: BTreeSet::new(), total: 0 };
        labels.iter().for_each(|(label, lives)| ranked.insert(*label, lives));
        ranked
    }

    fn insert(&mut self, label: Sym, lives: &Lives) {
        self.span = self.span.into_iter().chain(span(lives, self.landmark)).reduce(widest);
        let sum = exact(lives, self.landmark);
        if sum > 0 {
            self.order.insert((Reverse(sum), label));
            self.total += sum;
        }
    }

    fn remove(&mut self, label: Sym, lives: &Lives) {
        let sum = exact(lives, self.landmark);
        if self.order.remove(&(Reverse(sum), label)) {
            self.total -= sum;
        }
    }
}

/// The first half-life that counts in which something happened, and the last.
fn span(lives: &Lives, landmark: u64) -> Option<(u64, u64)> {
    let first = lives.iter().map(|(life, _)| *life).find(|life| *life >= landmark)?;
    lives.last().map(|(last, _)| (first, *last))
}

fn widest((first, last): (u64, u64), (other_first, other_last): (u64, u64)) -> (u64, u64) {
    (first.min(other_first), last.max(other_last))
}

/// When shares change by time alone: when the first half-life is forgotten; and with every half-life as
/// long as the last one is held back.
fn due(span: Option<(u64, u64)>, landmark: u64, half_life_us: u64) -> Option<Tick> {
    let (first, last) = span?;
    let is_held = last - landmark > MOST_LIVES_SINCE;
    Some(ends(if is_held { landmark } else { first }, half_life_us))
}

/// The weights of all half-lives that count as a sum: each counts twice what the one before it counts.
fn exact(lives: &Lives, landmark: u64) -> i128 {
    let live = lives.iter().filter(|(life, _)| *life >= landmark);
    live.map(|(life, weight)| i128::from(*weight) << lives_since(landmark, *life)).sum()
}

/// How many half-lives lie between the landmark and one that still counts. One that is further ahead of
/// its time is held where the sum has room.
fn lives_since(landmark: u64, life: u64) -> u64 {
    life.saturating_sub(landmark).min(MOST_LIVES_SINCE)
}

fn add(lives: &mut Lives, life: u64, weight: i64) {
    match lives.binary_search_by_key(&life, |(other, _)| *other) {
        Ok(place) => lives[place].1 = lives[place].1.saturating_add(weight),
        Err(place) => lives.insert(place, (life, weight)),
    }
}

/// The first of `sums`, which are in order, each with its part of `total`.
fn shares<'a>(sums: impl IntoIterator<Item = &'a (Reverse<i128>, Sym)>, most: usize, total: i128) -> Vec<Share> {
    let share =
        |(sum, label): &(Reverse<i128>, Sym)| Share { label: *label, share_ppm: (sum.0 * 1_000_000 / total) as i64 };
    sums.into_iter().take(most).map(share).collect()
}

/// The same of all that ever happened, plainly: label, time, weight.
pub fn plain_top(happened: &[(Sym, u64, i64)], most: usize, tick: Tick, half_life_us: u64) -> Vec<Share> {
    let mut sums: BTreeMap<Sym, i128> = BTreeMap::new();
    let landmark = landmark(tick, half_life_us);
    for (label, at, weight) in happened {
        let (life, weight) = placed(*at, *weight, half_life_us);
        if ends(life, half_life_us) > tick {
            *sums.entry(*label).or_default() += i128::from(weight) << lives_since(landmark, life);
        }
    }
    let mut sums: Vec<(Reverse<i128>, Sym)> = sums.into_iter().map(|(label, sum)| (Reverse(sum), label)).collect();
    sums.retain(|(sum, _)| sum.0 > 0);
    sums.sort();
    let total = sums.iter().map(|(sum, _)| sum.0).sum();
    shares(&sums, most, total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    proptest! {
        /// Few labels or many, kept in order or not, late and early: it is always what a sort says.
        #[test]
        fn the_greatest_are_those_of_a_sort(
            happened in prop::collection::vec((0u8..9, 1_000u64..9_000, -2i64..6, 0u64..60), 1..80),
        ) {
            let (mut weights, mut tick, mut plain) = (Weights::default(), 4_000, Vec::new());
            for (label, at, weight, later) in happened {
                tick += later;
                let label = Sym::new(&format!("label {label}"));
                weights.take(label, at, weight, 100);
                plain.push((label, at, weight));
                let (found, due) = weights.top(4, tick, 100);
                prop_assert_eq!(&found, &plain_top(&plain, 4, tick, 100));
                prop_assert_eq!(&weights.clone().top(4, tick, 100), &(found, due));
                // Until it is due nothing changes by time alone; it is not due without a reason.
                let due = due.unwrap_or(Tick::MAX);
                let ends = plain.iter().map(|(_, at, _)| ends(at / 100, 100)).filter(|ends| *ends > tick);
                let is_ahead = plain.iter().any(|(_, at, _)| at / 100 > tick / 100 + 28);
                prop_assert_eq!(due, ends.min().map_or(Tick::MAX, |ends| if is_ahead { tick / 100 * 100 + 100 } else { ends }));
                for later in (tick..due.min(tick + 10_000)).step_by(90) {
                    prop_assert_eq!(&weights.clone().top(4, later, 100).0, &plain_top(&plain, 4, tick, 100));
                }
            }
        }
    }
}
