//! Ranks against sums that are written out in full.

use std::cmp::Ordering;

use proptest::prelude::*;

use super::super::{exact, *};

/// A whole number of 64 limbs, least first, in two's complement.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Full([u64; 64]);

impl Full {
    fn of(sums: &[Sum]) -> Full {
        let mut full = Full([0; 64]);
        for sum in sums {
            let (limb, bit) = ((sum.number / 64) as usize, sum.number % 64);
            let shifted = i128::from(sum.sum) << bit;
            let mut carry = false;
            for (at, to) in full.0.iter_mut().enumerate().skip(limb) {
                let part = (shifted >> (64 * (at - limb)).min(127)) as u64;
                let (with_part, first) = to.overflowing_add(part);
                let (with_carry, second) = with_part.overflowing_add(u64::from(carry));
                (*to, carry) = (with_carry, first || second);
            }
        }
        full
    }

    fn is_above_zero(&self) -> bool {
        self.0[63] >> 63 == 0 && self.0.iter().any(|limb| *limb != 0)
    }

    /// The logarithm in floating point, of a number above 0.
    fn log2(&self) -> f64 {
        let top = self.0.iter().rposition(|limb| *limb != 0).expect("a number above 0");
        let below = if top == 0 { 0.0 } else { self.0[top - 1] as f64 / 2f64.powi(64) };
        (self.0[top] as f64 + below).log2() + 64.0 * top as f64
    }
}

impl PartialOrd for Full {
    /// Of numbers above 0.
    fn partial_cmp(&self, other: &Full) -> Option<Ordering> {
        Some(self.0.iter().rev().cmp(other.0.iter().rev()))
    }
}

/// Sums that lie near each other, far from each other, and cancel each other out.
fn sums() -> impl Strategy<Value = Vec<Sum>> {
    let gap = prop_oneof![6 => 1u64..4, 2 => 4u64..70, 1 => 70u64..300];
    let sum = prop_oneof![
        3 => -100_000i64..1_000_000,
        1 => any::<i64>(),
        1 => Just(0),
        1 => (0u32..62).prop_map(|bit| -(1 << bit)),
        1 => Just(1),
    ];
    (0u64..200, prop::collection::vec((gap, sum), 1..12)).prop_map(|(mut number, sums)| {
        let of = |(gap, sum)| {
            number += gap;
            Sum { which: 0, number, sum }
        };
        sums.into_iter().map(of).collect()
    })
}

const HOUR_US: u64 = 3_600_000_000;

fn rank(sums: &[Sum]) -> i64 {
    HalfLives::new(&[HOUR_US]).rank(0, sums)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn there_is_a_rank_exactly_if_the_sum_is_above_zero(sums in sums()) {
        let rank = rank(&sums);
        prop_assert!(rank >= 0);
        prop_assert_eq!(rank > 0, Full::of(&sums).is_above_zero());
    }

    #[test]
    fn a_greater_sum_never_has_the_lesser_rank(one in sums(), other in sums()) {
        let (a, b) = (Full::of(&one), Full::of(&other));
        if a.is_above_zero() && b.is_above_zero() {
            let order = rank(&one).cmp(&rank(&other));
            prop_assert!(order == Ordering::Equal || Some(order) == a.partial_cmp(&b));
        }
    }

    /// A little more or less, wherever, moves a rank in its own direction or not at all.
    #[test]
    fn what_is_added_never_lowers_a_rank(sums in sums(), number in 0u64..700, more in 1i64..1_000) {
        let mut with_more = sums.clone();
        match with_more.binary_search_by_key(&number, |sum| sum.number) {
            Ok(place) => with_more[place].sum = with_more[place].sum.saturating_add(more),
            Err(place) => with_more.insert(place, Sum { which: 0, number, sum: more }),
        }
        prop_assert!(rank(&with_more) >= rank(&sums));
    }

    /// The rank is the sum's logarithm, an hour for each doubling, and one.
    #[test]
    fn a_rank_is_the_logarithm_within_two_parts_in_ten_million(sums in sums()) {
        let full = Full::of(&sums);
        if full.is_above_zero() {
            let error = (rank(&sums) - 1) as f64 / HOUR_US as f64 - full.log2();
            prop_assert!((-2.0e-7..2.0e-9).contains(&error), "{}", error);
        }
    }

    /// One sum may be written in many ways.
    #[test]
    fn equal_sums_have_equal_ranks(sums in sums(), place: prop::sample::Index) {
        let place = place.index(sums.len());
        let Sum { which, number, sum } = sums[place];
        if sum % 2 == 0 && sums.get(place + 1).is_none_or(|next| next.number > number + 1) {
            let mut other = sums.clone();
            other[place] = Sum { which, number: number + 1, sum: sum / 2 };
            prop_assert_eq!(rank(&other), rank(&sums));
        }
    }
}

#[test]
fn weights_rise_from_one_unit_to_two_along_a_half_life() {
    let weights: Vec<i64> = (0..PLACES as usize).map(exact::weight).collect();
    assert_eq!((weights[0], weights[512], weights[1_023]), (32_768, 46_341, 65_492));
    assert!(weights.windows(2).all(|pair| pair[0] < pair[1]));
    for (place, weight) in weights.iter().enumerate() {
        let exactly = 2f64.powf(15.0 + place as f64 / 1_024.0);
        assert!((*weight as f64 - exactly).abs() <= 0.5 + 1e-9, "{place}: {weight} for {exactly}");
    }
}

#[test]
fn twice_as_much_is_one_half_life_more() {
    let sum = |number: u64, sum: i64| [Sum { which: 0, number, sum }];
    assert_eq!(rank(&sum(7, 32_768)), 22 * HOUR_US as i64 + 1);
    assert_eq!(rank(&sum(7, 65_536)) - rank(&sum(7, 32_768)), HOUR_US as i64);
    assert_eq!(rank(&sum(0, 1)), 1, "the least sum of all");
    assert_eq!(rank(&sum(u64::MAX, i64::MAX)), i64::MAX, "no sum is beyond the greatest rank");
}

#[test]
fn one_event_of_weight_one_is_worth_one_when_it_happens() {
    let half_lives = HalfLives::new(&[HOUR_US, 60_000_000]);
    for at in [0, 5 * HOUR_US, 1_700_000_000_000_000, 1_763_000_123_456_789] {
        for (which, length_us) in [(0, HOUR_US), (1, 60_000_000)] {
            let sum = Sum { which: 0, number: half_lives.number(which, at), sum: half_lives.weight(which, at) };
            let one_at_us = half_lives.one_at_us(which, half_lives.rank(which, &[sum]));
            // A place of the table, and the rounding of its value.
            let error_us = one_at_us.abs_diff(at as i64);
            assert!(error_us <= length_us / PLACES + length_us / 20_000, "{at}: {error_us}");
        }
    }
}
