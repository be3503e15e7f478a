//! Latency through the dataflow in this process, open loop.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use etalage_model::Group;
use etalage_views::Dataflow;
use timely::worker::Worker;

use crate::{
    figures::{Better, Curve, Latency, Line, Part, Recorder},
    machine::{self, MemoryWatch},
    workload::{self, Job, Shape, Workload},
};

/// The rate at which there are bars, and the bars: percentiles, and milliseconds.
const BARS_AT_PER_S: u64 = 100_000;
const BARS_MS: [(f64, f64); 2] = [(99.0, 2.0), (99.9, 10.0)];

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    shape: Shape,
    /// Clicks a second; several are run one after the other
    #[arg(long, value_delimiter = ',', default_value = "100000")]
    rate: Vec<u64>,
    /// Seconds that are counted, at most: a run ends with its clicks (`--events`)
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Length of a tick, in microseconds of real time
    #[arg(long, default_value_t = 1_000)]
    tick_us: u64,
    /// Seconds that are not counted at the beginning
    #[arg(long, default_value_t = 2)]
    warm_up_s: u64,
    /// A stall of this many milliseconds in the middle, to see that it shows
    #[arg(long, default_value_t = 0)]
    stall_ms: u64,
}

/// Measures.
pub(crate) fn measure(options: &Options) -> Part {
    let mut part = Part::begin(
        "latency",
        "sb, open loop in this process: set.bestsellers over 10m, every other view off; 1 worker, no dedup, no store; \
         from the instant at which a click is due to the cut that holds the lists it changed",
    );
    part.latency(machine::noise(machine::NOISE));
    let memory = MemoryWatch::of("self".into());
    let mut points = [("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9)].map(|(name, at)| (name, at, Vec::new()));
    for rate in &options.rate {
        let (chosen, rate) = (options.clone(), *rate);
        let mut latency = timely::execute_directly(move |worker| run(worker, &chosen, rate));
        if rate == BARS_AT_PER_S && options.stall_ms == 0 {
            latency.bars_ms = BARS_MS.to_vec();
        }
        if latency.kept_up() {
            let histogram = latency.histogram();
            for (_, percentile, points) in &mut points {
                points.push((rate as f64, histogram.value_at_percentile(*percentile) as f64 / 1_000.0));
            }
        }
        part.latency(latency);
    }
    if options.rate.len() > 1 {
        let lines = points.map(|(name, _, points)| Line { name: name.to_owned(), points });
        part.part.curves.push(Curve {
            name: "latency by throughput".into(),
            x: "clicks a second".into(),
            y: "ms".into(),
            is_log_x: true,
            lines: lines.to_vec(),
        });
    }
    part.part.curves.push(memory.curve("this process, input and all"));
    part.figure("peak RSS, input and all", "MiB", Better::Neither, vec![machine::peak_rss_mib("self")]);
    part.done()
}

/// Messages of a tick while the shop gets to know what it knows before.
const OPENING_TICK: usize = 1_000;

/// One run at a rate.
fn run(worker: &mut Worker, options: &Options, rate: u64) -> Latency {
    let mut shop = Dataflow::build(worker, Group::Shop, workload::options(Job::default()));
    let mut workload = Workload::new(&options.shape);
    let mut seal = |worker: &mut Worker, records, tick| workload::seal(worker, &mut shop, records, tick).len();
    let per_tick = (rate * options.tick_us / 1_000_000).max(1);
    for (tick, records) in workload::opening_ticks(&workload, OPENING_TICK) {
        seal(worker, records, tick);
    }
    let mut tick = workload::START_US;
    let longest = (options.warm_up_s + options.seconds) * 1_000_000 / options.tick_us;
    let ticks = (options.shape.events / per_tick).min(longest);
    // The input is made beforehand, so that making it is no part of what is measured.
    let mut batches = Vec::new();
    for _ in 0..ticks {
        let mut records = Vec::new();
        (0..per_tick).for_each(|_| workload.next(&mut records));
        batches.push(Arc::new(records));
    }
    let mut recorder = Recorder::after(options.warm_up_s * 1_000_000);
    let began = Instant::now();
    for (at, records) in batches.into_iter().enumerate() {
        // The clicks of a tick are due evenly within it; the tick closes at its end.
        let opens_us = at as u64 * options.tick_us;
        let closes = Duration::from_micros(opens_us + options.tick_us);
        while began.elapsed() < closes {
            std::hint::spin_loop();
        }
        if options.stall_ms > 0 && at as u64 == ticks / 2 {
            std::thread::sleep(Duration::from_millis(options.stall_ms));
        }
        tick += per_tick * 1_000_000 / workload::EVENTS_PER_S;
        seal(worker, records, tick);
        let done_us = began.elapsed().as_micros() as u64;
        (0..per_tick).for_each(|click| recorder.record(opens_us + click * options.tick_us / per_tick, done_us));
    }
    let achieved = (ticks * per_tick) as f64 / began.elapsed().as_secs_f64();
    recorder.latency(&format!("at {rate}/s")).at_rate((per_tick * 1_000_000 / options.tick_us) as f64, achieved)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Coordinated omission would hide it: a loop that waits for the pipeline before it sends on takes the
    /// stall for one slow event, and not for all those that were due meanwhile.
    #[test]
    fn a_stall_shows_in_what_was_due_meanwhile() {
        let options = |stall_ms| Options {
            shape: Shape { events: 6_000, items: 200, ..Shape::default() },
            rate: vec![2_000],
            seconds: 2,
            tick_us: 1_000,
            warm_up_s: 1,
            stall_ms,
        };
        let of = |stall_ms| {
            let options = options(stall_ms);
            timely::execute_directly(move |worker| run(worker, &options, 2_000))
        };
        let stalled = of(100).histogram();
        assert!(stalled.value_at_quantile(0.999) >= 95_000, "p99.9 is {} µs", stalled.value_at_quantile(0.999));
        // A stall of 100 ms in two seconds is 5 % of what is due, evenly spread between 0 and 100 ms.
        let late = stalled.count_between(50_000, u64::MAX) as f64 / stalled.len() as f64;
        assert!((0.02..0.2).contains(&late), "{late} of all are late by half of the stall");
        assert_eq!(stalled.len(), 4_000, "each click that was due is counted once");
    }
}
