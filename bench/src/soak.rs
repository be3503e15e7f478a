//! Hours of a shop in minutes: whether memory grows although nothing does that is kept.
//!
//! The job `sb` at a fixed rate in this process, its input made tick by tick. Event time goes as fast as 500
//! events a second make it, so that at 50,000/s a window of ten minutes passes in six seconds.

use std::time::{Duration, Instant};

use etalage_model::Group;
use etalage_views::Dataflow;

use crate::{
    figures::{Better, KEPT_UP_SHARE, Part},
    machine::{self, MemoryWatch},
    workload::{self, EVENTS_PER_S, Job, START_US, Shape, Workload},
};

/// By how many percent memory may grow in ten minutes once it is warm.
const BAR_PERCENT: f64 = 1.0;

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Items
    #[arg(long, default_value_t = 100_000)]
    items: usize,
    /// Clicks a second
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Minutes that are counted
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Minutes before that are not: the last nine statements of each item's stock are kept, and until all items have
    /// nine memory grows
    #[arg(long, default_value_t = 15.0)]
    warm_up_minutes: f64,
    /// Clicks in a tick
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    tick_events: u64,
    /// Seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Measures.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Part> {
    let mut part = Part::begin(
        "soak",
        format!("sb at {} clicks a second for {} minutes, in-process, no store", options.rate, options.minutes),
    );
    let memory = MemoryWatch::of("self".into());
    let chosen = options.clone();
    let (clicks, took) = timely::execute_directly(move |worker| {
        let shape = Shape { items: chosen.items, seed: chosen.seed, ..Shape::default() };
        let mut shop = Dataflow::build(worker, Group::Shop, workload::options(Job::default()));
        let mut workload = Workload::new(&shape);
        let mut seal = |records, tick| workload::seal(worker, &mut shop, records, tick);
        for (tick, records) in workload::opening_ticks(&workload, chosen.tick_events as usize) {
            seal(records, tick);
        }
        let (began, mut clicks) = (Instant::now(), 0);
        let long = Duration::from_secs_f64((chosen.minutes + chosen.warm_up_minutes) * 60.0);
        while began.elapsed() < long {
            let due = Duration::from_secs_f64(clicks as f64 / chosen.rate as f64);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            let mut records = Vec::new();
            (0..chosen.tick_events).for_each(|_| workload.next(&mut records));
            clicks += chosen.tick_events;
            seal(records.into(), START_US + clicks * 1_000_000 / EVENTS_PER_S);
        }
        (clicks, began.elapsed())
    });
    let achieved = clicks as f64 / took.as_secs_f64();
    if achieved < options.rate as f64 * KEPT_UP_SHARE {
        part.part.remarks.push(format!("{} clicks a second were offered, {achieved:.0} achieved", options.rate));
    }
    let curve = memory.curve("this process");
    let warm_s = options.warm_up_minutes * 60.0;
    let warm: Vec<(f64, f64)> = curve.lines[0].points.iter().copied().filter(|(at_s, _)| *at_s >= warm_s).collect();
    part.figure("clicks", "a second", Better::Higher, vec![achieved]);
    part.figure("growth of memory", "% in ten minutes", Better::Lower, vec![percent_in_ten_minutes(&warm)])
        .bar(BAR_PERCENT);
    part.figure("peak RSS", "MiB", Better::Lower, vec![machine::peak_rss_mib("self")]);
    part.part.curves.push(curve);
    Ok(part.done())
}

/// The slope of a line through the points (least squares), of their mean.
fn percent_in_ten_minutes(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (mean_s, mean_mib) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|(at_s, _)| (at_s - mean_s).powi(2)).sum();
    let slope = points.iter().map(|(at_s, mib)| (at_s - mean_s) * (mib - mean_mib)).sum::<f64>() / spread;
    slope * 600.0 / mean_mib * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_the_slope_of_a_line() {
        let growing: Vec<(f64, f64)> = (0..1_200).map(|at| (f64::from(at), 100.0 + f64::from(at) / 600.0)).collect();
        assert!((percent_in_ten_minutes(&growing) - 0.99).abs() < 0.01);
        let steady: Vec<(f64, f64)> = (0..100).map(|at| (f64::from(at), 100.0 + f64::from(at % 2))).collect();
        assert!(percent_in_ten_minutes(&steady).abs() < 1.0);
    }
}
