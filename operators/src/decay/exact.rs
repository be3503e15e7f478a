//! Exact sums and their logarithms, in whole numbers: the same bits on every machine.
//!
//! Both tables follow from square roots and squares of whole numbers. A logarithm looks at the
//! leading 64 bits of a sum; whatever lies below is cut off. Every step of it is monotone, so that a
//! greater sum never has a lesser logarithm.

use super::Sum;

/// Into how many places a half-life is divided; what happens in one weighs the same.
pub const PLACES: u64 = 1_024;
const PLACE_BITS: u32 = PLACES.ilog2();

/// The weight of the beginning of a half-life is 2 to this.
pub(super) const UNIT_BITS: u32 = 15;

/// The fraction of a logarithm has so many bits.
const FRACTION_BITS: u32 = 48;

static WEIGHTS: [u16; PLACES as usize] = weights();
static LOGARITHMS: [u64; PLACES as usize + 1] = logarithms();

/// The weight of a place: `2^(15 + place / PLACES)`, rounded.
pub(super) fn weight(place: usize) -> i64 {
    i64::from(WEIGHTS[place])
}

const fn weights() -> [u16; PLACES as usize] {
    /// A power is a product of repeated square roots of 2, in units of 2^-62.
    const ONE: u32 = 62;
    let mut weights = [0; PLACES as usize];
    let mut place = 0;
    while place < weights.len() {
        let (mut root, mut power) = (2u128 << ONE, 1u128 << ONE);
        let mut bit = PLACE_BITS;
        while bit > 0 {
            bit -= 1;
            root = (root << ONE).isqrt();
            if place >> bit & 1 == 1 {
                power = (power * root) >> ONE;
            }
        }
        let half = 1 << (ONE - UNIT_BITS - 1);
        weights[place] = ((power + half) >> (ONE - UNIT_BITS)) as u16;
        place += 1;
    }
    weights
}

/// `log2(1 + place / PLACES)` in units of 2^-48, cut off: of a number squared, the logarithm is twice
/// as much, which brings its bits out one by one.
const fn logarithms() -> [u64; PLACES as usize + 1] {
    let mut logarithms = [1 << FRACTION_BITS; PLACES as usize + 1];
    let mut place = 0;
    while place < PLACES as usize {
        let (mut number, mut logarithm) = ((PLACES + place as u64) << (63 - PLACE_BITS), 0u64);
        let mut bit = FRACTION_BITS;
        while bit > 0 {
            bit -= 1;
            let square = number as u128 * number as u128;
            let is_two = square >> 127 == 1;
            number = if is_two { (square >> 64) as u64 } else { (square >> 63) as u64 };
            logarithm |= (is_two as u64) << bit;
        }
        logarithms[place] = logarithm;
        place += 1;
    }
    logarithms
}

/// The logarithm to the base 2 of a whole number above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Log2 {
    pub(super) whole: u64,
    /// In units of 2^-48.
    pub(super) fraction: u64,
}

impl Log2 {
    /// So many times the logarithm, cut off, and held at the greatest number.
    pub(super) fn times(self, factor: u64) -> i64 {
        let whole = u128::from(self.whole) * u128::from(factor);
        let part = (u128::from(self.fraction) * u128::from(factor)) >> FRACTION_BITS;
        i64::try_from(whole.saturating_add(part)).unwrap_or(i64::MAX - 1)
    }
}

/// The logarithm of `Σ sum × 2^number` over `sums`, which ascend; `None` where that is not above 0.
pub(super) fn log2(sums: &[Sum]) -> Option<Log2> {
    let (unit, total) = leading(sums);
    let total = u128::try_from(total).ok().filter(|total| *total > 0)?;
    let top = total.ilog2();
    // The leading bit and the 63 that follow it.
    let number = if top < 64 { (total << (63 - top)) as u64 } else { (total >> (top - 63)) as u64 };
    let below_bits = 63 - PLACE_BITS;
    let place = (number >> below_bits) as usize - PLACES as usize;
    let below = u128::from(number & ((1 << below_bits) - 1));
    let (from, to) = (LOGARITHMS[place], LOGARITHMS[place + 1]);
    let fraction = from + ((u128::from(to - from) * below) >> below_bits) as u64;
    Some(Log2 { whole: unit.saturating_add(u64::from(top)), fraction })
}

/// A unit's exponent, and how often the unit goes into the sum, rounded down. Where that leaves a rest,
/// it has more than a hundred bits.
fn leading(sums: &[Sum]) -> (u64, i128) {
    // The newest come first, so that the oldest are those that may be cut off.
    let (mut unit, mut total) = (0, 0i128);
    for (place, sum) in sums.iter().enumerate().rev() {
        if total == 0 {
            unit = sum.number;
        }
        let room = total.unsigned_abs().leading_zeros().saturating_sub(2);
        let shift = (unit - sum.number).min(u64::from(room));
        total <<= shift;
        unit -= shift;
        if unit > sum.number {
            return (unit, total + rounded_down(&sums[..=place], unit));
        }
        total += i128::from(sum.sum);
    }
    (unit, total)
}

/// How often the unit goes into the sum, rounded down; every number lies below the unit's.
fn rounded_down(sums: &[Sum], unit: u64) -> i128 {
    let halved = |times: i128, number: u64, until: u64| times >> (until - number).min(127);
    let add =
        |(number, times): (u64, i128), sum: &Sum| (sum.number, halved(times, number, sum.number) + i128::from(sum.sum));
    let first = sums.first().map_or(unit, |sum| sum.number);
    let (number, times) = sums.iter().fold((first, 0), add);
    halved(times, number, unit)
}
