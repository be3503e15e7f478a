//! Lanes: differences with several components, such as what a change adds to each of the windows that
//! hold it.
//!
//! `(key, tick, Lanes<R>)` says the same as one `((key, lane), tick, R)` for each lane, and whoever takes
//! it looks for the key once. Neighbouring lanes mostly have the same amount (what is new counts in every
//! window), so that amounts are held as runs.
//!
//! **Form**: runs ascend, do not overlap, are not zero, and neighbours differ: equal lanes are equal bytes.

use differential_dataflow::difference::{Abelian, IsZero, Monoid, Multiply, Semigroup};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// The most lanes that there are.
pub const MAX_LANES: usize = 256;

/// An amount in each of at most [`MAX_LANES`] lanes; most of the higher ones are zero.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lanes<R>(SmallVec<[Run<R>; 1]>);

/// Neighbouring lanes of one amount.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Run<R> {
    first: u8,
    last: u8,
    amount: R,
}

impl<R> Default for Lanes<R> {
    fn default() -> Self {
        Lanes(SmallVec::new())
    }
}

impl<R: Semigroup + PartialEq> Lanes<R> {
    /// An amount in a single lane.
    pub fn one(lane: u8, amount: R) -> Self {
        let mut lanes = Lanes::default();
        lanes.push(lane, lane, amount);
        lanes
    }

    /// An amount in each lane from 0 on.
    ///
    /// # Panics
    /// With more than [`MAX_LANES`].
    pub fn of(amounts: impl IntoIterator<Item = R>) -> Self {
        let mut lanes = Lanes::default();
        for (lane, amount) in amounts.into_iter().enumerate() {
            let lane = u8::try_from(lane).expect("at most 256 lanes");
            lanes.push(lane, lane, amount);
        }
        lanes
    }

    /// What is in a lane, unless it is zero.
    pub fn get(&self, lane: u8) -> Option<&R> {
        self.0.iter().find(|run| lane <= run.last).filter(|run| run.first <= lane).map(|run| &run.amount)
    }

    /// How many lanes are not zero.
    pub fn count(&self) -> usize {
        self.0.iter().map(|run| usize::from(run.last - run.first) + 1).sum()
    }

    /// The lanes that are not zero, in order, each with what is in it.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &R)> {
        self.0.iter().flat_map(|run| (run.first..=run.last).map(move |lane| (lane, &run.amount)))
    }

    /// What `of` makes of the amount in each lane; of zero it must make zero.
    pub fn map<S: Semigroup + PartialEq>(&self, of: impl Fn(&R) -> S) -> Lanes<S> {
        let mut mapped = Lanes::default();
        self.0.iter().for_each(|run| mapped.push(run.first, run.last, of(&run.amount)));
        mapped
    }

    /// The lanes in which `after` differs from this, in order, each with what is in it then.
    pub fn changes<'a>(&'a self, after: &'a Self) -> impl Iterator<Item = (u8, Option<&'a R>)> {
        let changes = Both { own: &self.0, other: &after.0, next: 0 };
        changes
            .filter(|(_, _, own, other)| own != other)
            .flat_map(|(first, last, _, other)| (first..=last).map(move |lane| (lane, other)))
    }

    /// Appends lanes above all that are here.
    fn push(&mut self, first: u8, last: u8, amount: R) {
        if amount.is_zero() {
            return;
        }
        match self.0.last_mut() {
            Some(run) if u16::from(run.last) + 1 == u16::from(first) && run.amount == amount => run.last = last,
            _ => self.0.push(Run { first, last, amount }),
        }
    }
}

/// Stretches of lanes in which neither of two changes: first and last lane, and the amounts of both.
struct Both<'a, R> {
    own: &'a [Run<R>],
    other: &'a [Run<R>],
    next: u16,
}

impl<'a, R> Iterator for Both<'a, R> {
    type Item = (u8, u8, Option<&'a R>, Option<&'a R>);

    fn next(&mut self) -> Option<Self::Item> {
        for runs in [&mut self.own, &mut self.other] {
            while let Some((run, rest)) = runs.split_first().filter(|(run, _)| u16::from(run.last) < self.next) {
                debug_assert!(run.first <= run.last);
                *runs = rest;
            }
        }
        let runs = [self.own.first(), self.other.first()];
        let first = runs.into_iter().flatten().map(|run| self.next.max(run.first.into())).min()?;
        let reaches =
            |run: &Run<R>| if u16::from(run.first) > first { u16::from(run.first) - 1 } else { run.last.into() };
        let last = runs.into_iter().flatten().map(reaches).min()?;
        self.next = last + 1;
        let [own, other] = runs.map(|run| run.filter(|run| u16::from(run.first) <= first).map(|run| &run.amount));
        Some((first as u8, last as u8, own, other))
    }
}

impl<R: Semigroup + PartialEq> IsZero for Lanes<R> {
    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }
}

impl<R: Semigroup + PartialEq> Semigroup for Lanes<R> {
    fn plus_equals(&mut self, more: &Lanes<R>) {
        match (self.0.as_mut_slice(), more.0.as_slice()) {
            (_, []) => {}
            ([], _) => self.clone_from(more),
            ([own], [more]) if (own.first, own.last) == (more.first, more.last) => {
                own.amount.plus_equals(&more.amount);
                if own.amount.is_zero() {
                    self.0.clear();
                }
            }
            _ => {
                let mut sum = Lanes::default();
                for (first, last, own, more) in (Both { own: &self.0, other: &more.0, next: 0 }) {
                    let amount = match (own, more) {
                        (Some(own), Some(more)) => {
                            let mut amount = own.clone();
                            amount.plus_equals(more);
                            amount
                        }
                        (Some(amount), None) | (None, Some(amount)) => amount.clone(),
                        (None, None) => continue,
                    };
                    sum.push(first, last, amount);
                }
                *self = sum;
            }
        }
    }
}

impl<R: Semigroup + PartialEq> Monoid for Lanes<R> {
    fn zero() -> Self {
        Lanes::default()
    }
}

impl<R: Abelian + PartialEq> Abelian for Lanes<R> {
    fn negate(&mut self) {
        self.0.iter_mut().for_each(|run| run.amount.negate());
    }
}

impl<R: Semigroup + PartialEq + Multiply<isize, Output = R>> Multiply<isize> for Lanes<R> {
    type Output = Lanes<R>;
    fn multiply(self, factor: &isize) -> Lanes<R> {
        self.map(|amount| amount.clone().multiply(factor))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Plain = BTreeMap<u8, isize>;

    fn plain() -> impl Strategy<Value = Plain> {
        let lane = prop_oneof![0u8..6, 253u8..=255];
        prop::collection::btree_map(lane, prop_oneof![Just(-1isize), Just(1), Just(2)], 0..7)
    }

    fn lanes(plain: &Plain) -> Lanes<isize> {
        Lanes::of((0..=255).map(|lane| plain.get(&lane).copied().unwrap_or(0)))
    }

    fn told(lanes: &Lanes<isize>) -> Plain {
        lanes.iter().map(|(lane, amount)| (lane, *amount)).collect()
    }

    proptest! {
        #[test]
        fn they_add_and_tell_as_maps_do(one in plain(), other in plain(), factor in -2isize..3) {
            let (a, b) = (lanes(&one), lanes(&other));
            prop_assert_eq!(told(&a), one.clone());
            prop_assert!((0..=255).all(|lane| a.get(lane) == one.get(&lane)));
            prop_assert_eq!(a.count(), one.len());
            let mut sum = a.clone();
            sum.plus_equals(&b);
            let mut expected = one.clone();
            other.iter().for_each(|(lane, amount)| *expected.entry(*lane).or_default() += amount);
            expected.retain(|_, amount| *amount != 0);
            prop_assert_eq!(&sum, &lanes(&expected), "one form for one content");
            prop_assert_eq!(sum.is_zero(), expected.is_empty());
            let mut parts = Lanes::default();
            expected.iter().for_each(|(lane, amount)| parts.plus_equals(&Lanes::one(*lane, *amount)));
            prop_assert_eq!(&parts, &sum);

            let mut back = sum.clone();
            let mut negative = b.clone();
            negative.negate();
            back.plus_equals(&negative);
            prop_assert_eq!(&back, &a);
            let product = expected.iter().map(|(lane, amount)| (*lane, amount * factor));
            prop_assert_eq!(told(&sum.clone().multiply(&factor)), product.filter(|(_, amount)| *amount != 0).collect());

            let lanes_of_both = one.keys().chain(other.keys()).copied().collect::<std::collections::BTreeSet<_>>();
            let changed = lanes_of_both.into_iter().filter(|lane| one.get(lane) != other.get(lane));
            let changed: Vec<_> = changed.map(|lane| (lane, other.get(&lane))).collect();
            prop_assert_eq!(a.changes(&b).collect::<Vec<_>>(), changed);
        }
    }
}
