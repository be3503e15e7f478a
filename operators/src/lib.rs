//! Operators for timely and differential dataflow that know no shop: rolling windows, gated
//! top-k, deduplication, ordered upserts, small reductions, latest times, sealing.
//!
//! Each takes and gives collections of `(data, tick, diff)` whose timestamp is a `u64` tick, so
//! that it composes with differential's own `join`, `reduce` and `consolidate`. Each is a plain
//! *core* (see [`shell::Core`]) without timely types inside a thin shell; the core tells what it
//! holds (`export`) and takes it back (`import`).
//!
//! No operator reads a clock, draws a random number or does I/O: time is an input.

pub mod dedup;
pub mod expire;
pub mod latest;
pub mod reduce;
pub mod seal;
pub mod shell;
pub mod table;
pub mod top_k;
pub mod upsert;

/// The dataflow timestamp: pipeline time in microseconds.
pub type Tick = u64;
/// A differential collection of `D` with differences `R`.
pub type Collection<'scope, D, R = isize> = differential_dataflow::VecCollection<'scope, Tick, D, R>;

#[cfg(test)]
mod testing;
