//! Operators for timely and differential dataflow that know no shop: rolling windows, decay, gated
//! top-k, deduplication, ordered upserts, small reductions and joins, latest times, timers, summaries
//! of what belongs together, sealing.
//!
//! Each takes and gives collections of `(data, tick, diff)` whose timestamp is a `u64` tick, so
//! that it composes with differential's own `join`, `reduce` and `consolidate`; where several
//! collections make its input, they flow in side by side ([`inflow::Inflow`]). Each is a plain
//! *core* (see [`shell::Core`]) without timely types inside a thin shell; the core tells what it
//! holds (`export`) and takes it back (`import`).
//!
//! No operator reads a clock, draws a random number or does I/O: time is an input.

mod chunked;
pub mod decay;
pub mod dedup;
mod dues;
pub mod expire;
pub mod idle;
pub mod inflow;
pub mod join_small;
pub mod lanes;
pub mod latest;
pub mod reduce;
pub mod seal;
pub mod shell;
pub mod stitch;
pub mod table;
pub mod timers;
pub mod top_k;
pub mod upsert;

/// The dataflow timestamp: pipeline time in microseconds.
pub type Tick = u64;
/// A differential collection of `D` with differences `R`.
pub type Collection<'scope, D, R = isize> = differential_dataflow::VecCollection<'scope, Tick, D, R>;

/// What is in `before` alone, and in `after` alone: multisets, both in `order`.
fn differences<T: Clone>(
    mut before: &[T],
    mut after: &[T],
    order: impl Fn(&T, &T) -> std::cmp::Ordering,
) -> (Vec<T>, Vec<T>) {
    let (mut gone, mut new) = (Vec::new(), Vec::new());
    while let (Some((old, older)), Some((young, younger))) = (before.split_first(), after.split_first()) {
        let order = order(old, young);
        if order.is_le() {
            before = older;
        }
        if order.is_ge() {
            after = younger;
        }
        if order.is_lt() {
            gone.push(old.clone());
        }
        if order.is_gt() {
            new.push(young.clone());
        }
    }
    gone.extend_from_slice(before);
    new.extend_from_slice(after);
    (gone, new)
}

/// Adds `diff` to the count of `value` in a list of a few; a count of zero takes no room.
fn count<T: PartialEq, A: smallvec::Array<Item = (T, isize)>>(
    counts: &mut smallvec::SmallVec<A>,
    value: T,
    diff: isize,
) {
    match counts.iter().position(|(other, _)| *other == value) {
        Some(at) => {
            counts[at].1 += diff;
            if counts[at].1 == 0 {
                counts.remove(at);
            }
        }
        None => counts.push((value, diff)),
    }
}

#[cfg(test)]
mod testing;
