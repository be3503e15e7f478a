//! Events a second through the dataflow in this process.

use std::time::Instant;

use etalage_model::SealedBatch;
use etalage_views::Shop;

use crate::{
    report,
    workload::{self, Shape},
};

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    shape: Shape,
    /// Clicks in a tick: 500 at a million a second are ticks of half a millisecond
    #[arg(long, default_value_t = 500)]
    tick_events: u64,
    /// How often the whole is run; each run is printed
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

/// Runs and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    report::heading();
    println!("job      sb: set.bestsellers over 10m, global and 500 categories, K = 10; 1 worker, no dedup, no store");
    let ticks = workload::ticks(&options.shape, options.tick_events);
    let messages: usize = ticks.iter().skip(1).map(|(_, records)| records.len()).sum();
    println!(
        "input    {messages} messages in {} ticks, peak RSS {:.0} MiB",
        ticks.len() - 1,
        report::peak_rss_mib("self")
    );
    for run in 1..=options.runs {
        let ticks = ticks.clone();
        let cpu_s = report::cpu_s("self");
        let took = timely::execute_directly(move |worker| {
            let mut shop = Shop::build(worker, workload::options());
            let mut lists = 0;
            let mut began = Instant::now();
            for (at, (tick, records)) in ticks.into_iter().enumerate() {
                if at == 1 {
                    began = Instant::now();
                }
                shop.send(records, tick);
                shop.advance(tick + 1);
                while !shop.has_passed(tick + 1) {
                    worker.step();
                }
                let changes: usize = shop.cut(tick + 1).iter().map(|SealedBatch { upserts, .. }| upserts.len()).sum();
                lists += changes;
            }
            (began.elapsed().as_secs_f64(), lists)
        });
        let (seconds, lists) = took;
        println!(
            "run {run}    {:.0} messages/s, {:.2} CPU s per million, {lists} list changes, peak RSS {:.0} MiB",
            messages as f64 / seconds,
            (report::cpu_s("self") - cpu_s) * 1e6 / messages as f64,
            report::peak_rss_mib("self")
        );
    }
    Ok(())
}
