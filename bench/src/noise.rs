//! What the machine does by itself: nothing measured on it can be steadier.

use std::time::{Duration, Instant};

use crate::{
    figures::{Part, Recorder},
    machine,
};

/// How long a sleep is.
const SLEEP: Duration = Duration::from_millis(1);

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Seconds for each of both
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

/// Measures.
pub(crate) fn measure(options: &Options) -> Part {
    let length = Duration::from_secs(options.seconds);
    let mut part = Part::begin("noise", "nothing: a loop that watches the clock, then one that sleeps a millisecond");
    part.latency(machine::noise(length));
    let (began, mut slept) = (Instant::now(), Recorder::after(0));
    while began.elapsed() < length {
        let due = began.elapsed() + SLEEP;
        std::thread::sleep(SLEEP);
        slept.record(due.as_micros() as u64, began.elapsed().as_micros() as u64);
    }
    part.latency(slept.latency("woken late"));
    part.done()
}
