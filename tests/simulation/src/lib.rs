//! The whole pipeline on a simulated machine, in one thread: one seed, one run.
//!
//! ```text
//!   seed ──> plan: options, how long each process lives, what fails in it
//!     └────> shop: requests ──> network (lost, twice, out of order) ──> door ─┐
//!                                                                            v
//!   clocks that jump ─────────────────────────────> the pipeline, a turn at a time
//!   a disk that fails, fills up, loses what was not synced ──┘    │
//!   a store of objects that fails, and rots                       v
//!                             readers: every sealed tick, and streams
//! ```
//!
//! After a run the log is what the shop sent (each message once, as it was sent, everything that was acknowledged), and
//! every view equals its oracle, the plain recomputation, as of the end and as of ticks that were published on the way,
//! by whichever process.

#[allow(dead_code, reason = "the tests of the store use more of it")]
#[path = "../../../pipelines/store/tests/support/sim.rs"]
mod disk;

mod check;
mod follower;
mod life;
mod network;
mod objects;
mod plan;
mod poller;
mod reader;
mod report;
mod scenario;
mod shop;
mod time;

pub use plan::{FAULTS, MUTANTS};
pub use report::Report;
pub use scenario::{Run, run};
