//! Latency through the dataflow in this process, open loop.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use etalage_model::Group;
use etalage_views::Dataflow;
use hdrhistogram::Histogram;

use crate::{
    report,
    workload::{self, Shape, Workload},
};

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    shape: Shape,
    /// Clicks a second
    #[arg(long, default_value_t = 100_000)]
    rate: u64,
    /// Length of a tick, in microseconds of real time
    #[arg(long, default_value_t = 1_000)]
    tick_us: u64,
    /// Seconds that are not counted at the beginning
    #[arg(long, default_value_t = 2)]
    warm_up_s: u64,
    /// A stall of this many milliseconds in the middle, to see that it shows
    #[arg(long, default_value_t = 0)]
    stall_ms: u64,
    /// Writes the whole distribution there
    #[arg(long)]
    hgrm: Option<PathBuf>,
}

/// Runs and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    report::heading();
    println!("job      sb, in-process, 1 worker, no dedup, no store; from the intended instant to the cut");
    report::latencies("noise", &report::noise(Duration::from_secs(2)));
    let (chosen, stolen_ms) = (options.clone(), report::stolen_ms());
    let (histogram, achieved) = timely::execute_directly(move |worker| measure(worker, &chosen));
    println!("offered  {} clicks/s, achieved {achieved:.0}", options.rate);
    if achieved < options.rate as f64 * 0.99 {
        println!("could not keep up: the percentiles below are those of a growing queue");
    }
    report::latencies("latency", &histogram);
    println!("stolen     {:.0} ms of this machine's CPU time meanwhile", report::stolen_ms() - stolen_ms);
    println!("memory     peak RSS {:.0} MiB", report::peak_rss_mib("self"));
    options.hgrm.as_deref().map_or(Ok(()), |path| report::write_hgrm(path, &histogram))
}

fn measure(worker: &mut timely::worker::Worker, options: &Options) -> (Histogram<u64>, f64) {
    let mut shop = Dataflow::build(worker, Group::Shop, workload::options());
    let mut workload = Workload::new(&options.shape);
    let mut seal = |worker: &mut timely::worker::Worker, records, tick| {
        shop.send(Arc::new(records), tick);
        shop.advance(tick + 1);
        while !shop.has_passed(tick + 1) {
            worker.step();
        }
        shop.cut(tick + 1).len()
    };
    let mut tick = workload::START_US;
    seal(worker, workload.opening(), tick);
    let per_tick = (options.rate * options.tick_us / 1_000_000).max(1);
    let ticks = options.shape.events / per_tick;
    let warm_up = options.warm_up_s * 1_000_000 / options.tick_us;
    // The input is made beforehand, so that making it is no part of what is measured.
    let mut batches: Vec<Vec<_>> = Vec::new();
    for _ in 0..ticks {
        let mut records = Vec::new();
        (0..per_tick).for_each(|_| workload.next(&mut records));
        batches.push(records);
    }
    let mut histogram = report::histogram();
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
        if at as u64 >= warm_up {
            for click in 0..per_tick {
                let intended_us = opens_us + click * options.tick_us / per_tick;
                histogram.saturating_record(done_us - intended_us);
            }
        }
    }
    (histogram, (ticks * per_tick) as f64 / began.elapsed().as_secs_f64())
}
