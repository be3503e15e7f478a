//! Events a second through the dataflow in this process.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use etalage_model::Group;
use etalage_model::{Record, SealedBatch, Tick};
use etalage_views::Dataflow;

use crate::{
    hand, report,
    workload::{self, Shape},
};

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    shape: Shape,
    /// Clicks in a tick: 1,000 at a million a second are ticks of a millisecond
    #[arg(long, default_value_t = 1_000)]
    tick_events: u64,
    /// How often the whole is run; each run is printed
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Make the input tick by tick, outside of what is timed, instead of beforehand: the peak RSS is
    /// then that of the dataflow
    #[arg(long)]
    streamed: bool,
    /// Run a loop written by hand for this job after each run, and compare the rates; the peak RSS is
    /// then that of both
    #[arg(long, conflicts_with = "streamed")]
    beside_hand: bool,
}

/// Runs and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    report::heading();
    println!("job      sb: set.bestsellers over 10m, global and 500 categories, K = 10; 1 worker, no dedup, no store");
    let preloaded: Vec<_> = if options.streamed { Vec::new() } else { ticks(options).collect() };
    if !options.streamed {
        let messages: usize = preloaded.iter().map(|(_, records)| records.len()).sum();
        println!("input    {messages} messages beforehand, peak RSS {:.0} MiB", report::peak_rss_mib("self"));
    }
    let by_hand = options.beside_hand.then(|| hand::input(&options.shape));
    for run in 1..=options.runs {
        let (cpu_s, stolen_ms) = (report::cpu_s("self"), report::stolen_ms());
        let done = if options.streamed { pass(ticks(options)) } else { pass(preloaded.clone().into_iter()) };
        let Pass { messages, busy, lists } = done;
        let cpu = match options.streamed {
            true => "the CPU time is not told apart from that of the input".to_owned(),
            false => format!("{:.2} CPU s per million", (report::cpu_s("self") - cpu_s) * 1e6 / messages as f64),
        };
        println!(
            "run {run}    {:.0} messages/s, {cpu}, {lists} list changes, peak RSS {:.0} MiB, {:.0} ms stolen",
            messages as f64 / busy.as_secs_f64(),
            report::peak_rss_mib("self"),
            report::stolen_ms() - stolen_ms,
        );
        if let Some(input) = &by_hand {
            let by_hand = pass_by_hand(&options.shape, input);
            let rate = |messages: usize, busy: Duration| messages as f64 / busy.as_secs_f64();
            let rate_by_hand = rate(by_hand.messages, by_hand.busy);
            println!(
                "hand {run}   {rate_by_hand:.0} messages/s, {} list changes; etalage is {:.2} times as fast",
                by_hand.lists,
                rate(messages, busy) / rate_by_hand
            );
        }
    }
    Ok(())
}

fn pass_by_hand(shape: &Shape, input: &[hand::Input]) -> Pass {
    let mut hand = hand::Hand::new(shape);
    let began = Instant::now();
    input.iter().for_each(|message| hand.take(message));
    Pass { messages: input.len(), busy: began.elapsed(), lists: hand.written }
}

fn ticks(options: &Options) -> impl Iterator<Item = (Tick, Arc<Vec<Record>>)> + Send + use<> {
    workload::ticks(&options.shape, options.tick_events)
}

/// One pass over the input.
struct Pass {
    messages: usize,
    /// From handing a tick over to having cut it, all but the first.
    busy: Duration,
    lists: usize,
}

fn pass(ticks: impl Iterator<Item = (Tick, Arc<Vec<Record>>)> + Send + Sync + 'static) -> Pass {
    timely::execute_directly(move |worker| {
        let mut shop = Dataflow::build(worker, Group::Shop, workload::options());
        let mut pass = Pass { messages: 0, busy: Duration::ZERO, lists: 0 };
        for (at, (tick, records)) in ticks.enumerate() {
            let (began, messages) = (Instant::now(), records.len());
            shop.send(records, tick);
            shop.advance(tick + 1);
            while !shop.has_passed(tick + 1) {
                worker.step();
            }
            pass.lists += shop.cut(tick + 1).iter().map(SealedBatch::len).sum::<usize>();
            // The first tick is what the shop knew before.
            if at > 0 {
                pass.messages += messages;
                pass.busy += began.elapsed();
            }
        }
        pass
    })
}
