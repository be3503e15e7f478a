//! The one monotonic clock of the process. Arrivals, sealing and emission are read off it, so
//! that their differences are true whatever the wall clock does.

use std::{sync::LazyLock, time::Instant};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Microseconds since the first call in this process. Never goes back.
pub fn monotonic_us() -> u64 {
    START.elapsed().as_micros() as u64
}
