//! Clocks that stand until they are moved.

use std::sync::Arc;

use etalage::runtime::{Reading, Time};
use parking_lot::Mutex;

/// When simulated shops open: 2026-01-01.
pub(crate) const OPENING_US: u64 = 1_767_225_600_000_000;

/// The clocks of a simulated machine. Clones share them.
#[derive(Clone)]
pub(crate) struct Clocks(Arc<Mutex<Hands>>);

struct Hands {
    /// What happens in the shop, happens now.
    true_us: u64,
    monotonic_us: u64,
    /// How far the wall clock is off.
    off_us: i64,
}

impl Clocks {
    pub(crate) fn new() -> Clocks {
        Clocks(Arc::new(Mutex::new(Hands { true_us: OPENING_US, monotonic_us: 0, off_us: 0 })))
    }

    /// Time passes.
    pub(crate) fn pass(&self, us: u64) {
        let mut hands = self.0.lock();
        hands.true_us += us;
        hands.monotonic_us += us;
    }

    /// The wall clock is set wrong, or right.
    pub(crate) fn set_off(&self, off_us: i64) {
        self.0.lock().off_us = off_us;
    }

    /// The machine starts again.
    pub(crate) fn reboot(&self) {
        self.0.lock().monotonic_us = 0;
    }

    /// When what happens now happens, in milliseconds since 1970.
    pub(crate) fn true_ms(&self) -> u64 {
        self.0.lock().true_us / 1_000
    }
}

impl Time for Clocks {
    fn now(&self) -> Reading {
        let hands = self.0.lock();
        Reading { monotonic_us: hands.monotonic_us, wall_us: hands.true_us.saturating_add_signed(hands.off_us) }
    }
}
