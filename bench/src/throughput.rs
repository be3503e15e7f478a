//! Events a second through the dataflow in this process.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use etalage_model::{Group, Record, SealedBatch, Tick};
use etalage_views::Dataflow;
use timely::worker::Worker;

use crate::{
    figures::{Better, Part},
    hand,
    machine::{self, MemoryWatch},
    stages::{self, Stages},
    workload::{self, Job, START_US, Shape},
};

/// How many times as fast as the loop by hand the dataflow should be, where a tick is at most a
/// millisecond.
const BAR_TIMES_HAND: f64 = 2.0;
/// What the dataflow alone should take, in MiB.
const BAR_RSS_MIB: f64 = 150.0;

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    job: Job,
    /// Workers: threads of this process
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    workers: u8,
    /// Clicks in a tick: 1,000 at a million a second are ticks of a millisecond
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    tick_events: u64,
    /// How often the whole is run
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Make the input tick by tick, outside of what is timed, instead of beforehand: the peak RSS is
    /// then that of the dataflow
    #[arg(long, conflicts_with = "workers")]
    streamed: bool,
    /// Say how long each operator took too
    #[arg(long, conflicts_with = "workers")]
    stages: bool,
    /// Run a loop written by hand for this job after each run, and compare the rates
    #[arg(long, conflicts_with = "streamed")]
    beside_hand: bool,
}

/// Measures.
pub(crate) fn measure(options: &Options) -> Part {
    let mut part = Part::begin(
        "throughput",
        format!(
            "{}; every other view off; in this process, {} worker(s), input as records beforehand, lists as rows and not as text, no dedup, no store",
            match options.job.is_sb() {
                true => "sb: set.bestsellers over 10m, global and 500 categories, K = 10".to_owned(),
                false => format!(
                    "as sb, but with {} window(s) and {} scope(s) an event",
                    options.job.windows, options.job.scopes
                ),
            },
            options.workers
        ),
    );
    let memory = MemoryWatch::of("self".into());
    let preloaded: Vec<_> = if options.streamed { Vec::new() } else { ticks(options).collect() };
    let by_hand = options.beside_hand.then(|| hand::input(&options.shape));
    let (mut rates, mut cpu, mut rates_by_hand) = (Vec::new(), Vec::new(), Vec::new());
    let (mut lists, mut stages, mut messages) = (0, Vec::new(), 0);
    for _ in 0..options.runs {
        let cpu_s = machine::cpu_s("self");
        let done = match options.streamed {
            true => pass(ticks(options), options),
            false if options.workers == 1 => pass(preloaded.clone().into_iter(), options),
            false => pass_on_workers(&preloaded, options),
        };
        cpu.push((machine::cpu_s("self") - cpu_s) * 1e6 / done.messages as f64);
        rates.push(done.rate());
        (lists, messages, stages) = (done.lists, done.messages, done.stages);
        rates_by_hand.extend(by_hand.as_ref().map(|input| pass_by_hand(&options.shape, input).rate()));
    }
    let times: Vec<f64> = rates.iter().zip(&rates_by_hand).map(|(rate, by_hand)| rate / by_hand).collect();
    part.figure("messages", "a second", Better::Higher, rates);
    part.figure("lists changed in a run", "", Better::Neither, vec![lists as f64]);
    if options.streamed {
        part.figure("peak RSS", "MiB", Better::Lower, vec![machine::peak_rss_mib("self")]).bar(BAR_RSS_MIB);
    } else {
        part.figure("CPU", "s a million messages", Better::Lower, cpu);
    }
    if options.beside_hand {
        part.figure("messages by hand", "a second", Better::Neither, rates_by_hand);
        let ratio = part.figure("as fast as by hand", "times", Better::Higher, times);
        if options.tick_events <= 1_000 && options.job.is_sb() && options.workers == 1 {
            ratio.bar(BAR_TIMES_HAND);
        }
    }
    stages::figures(&mut part, &stages, messages as u64);
    part.part.curves.push(memory.curve("this process, input and all"));
    part.done()
}

fn pass_by_hand(shape: &Shape, input: &[hand::Input]) -> Pass {
    let mut hand = hand::Hand::new(shape);
    let began = Instant::now();
    input.iter().for_each(|message| hand.take(message));
    Pass { messages: input.len(), busy: began.elapsed(), lists: hand.written, stages: Vec::new() }
}

fn ticks(options: &Options) -> impl Iterator<Item = (Tick, Arc<Vec<Record>>)> + Send + use<> {
    workload::ticks(&options.shape, options.tick_events)
}

/// One pass over the input.
struct Pass {
    messages: usize,
    /// From handing a tick of clicks over to having cut it.
    busy: Duration,
    lists: usize,
    /// Operators and their nanoseconds.
    stages: Vec<(String, u128)>,
}

impl Pass {
    fn rate(&self) -> f64 {
        self.messages as f64 / self.busy.as_secs_f64()
    }
}

fn pass(ticks: impl Iterator<Item = (Tick, Arc<Vec<Record>>)> + Send + Sync + 'static, options: &Options) -> Pass {
    let (job, is_watched) = (options.job, options.stages);
    timely::execute_directly(move |worker| {
        let stages = is_watched.then(|| Stages::watch(worker));
        let mut pass = feed(worker, job, ticks, || stages.iter().for_each(Stages::begin));
        pass.stages = stages.map_or_else(Vec::new, |stages| stages.told());
        pass
    })
}

/// Several workers, each with its share of every tick, all at the same tick.
fn pass_on_workers(ticks: &[(Tick, Arc<Vec<Record>>)], options: &Options) -> Pass {
    let (workers, job) = (usize::from(options.workers), options.job);
    let share = |worker: usize| {
        let of_tick = move |(tick, records): &(Tick, Arc<Vec<Record>>)| {
            let shares: Vec<&[Record]> = records.chunks(records.len().div_ceil(workers).max(1)).collect();
            (*tick, Arc::new(shares.get(worker).map_or_else(Vec::new, |share| share.to_vec())))
        };
        ticks.iter().map(of_tick).collect::<Vec<_>>()
    };
    let shares: Vec<Vec<(Tick, Arc<Vec<Record>>)>> = (0..workers).map(share).collect();
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let ticks = shares[worker.index()].clone();
        feed(worker, job, ticks.into_iter(), || {})
    });
    let passes = guards.expect("threads start").join().into_iter().map(|pass| pass.expect("no worker panics"));
    let both = |one: Pass, other: Pass| Pass {
        messages: one.messages + other.messages,
        busy: one.busy.max(other.busy),
        lists: one.lists + other.lists,
        stages: Vec::new(),
    };
    passes.reduce(both).expect("there is a worker")
}

/// How long a worker that waits for another one sleeps at the most.
const PARK: Duration = Duration::from_micros(50);

/// One worker's part of a pass; `opened` is called when the shop knows what it knew before.
fn feed(
    worker: &mut Worker,
    job: Job,
    ticks: impl Iterator<Item = (Tick, Arc<Vec<Record>>)>,
    opened: impl Fn(),
) -> Pass {
    let mut shop = Dataflow::build(worker, Group::Shop, workload::options(job));
    let mut pass = Pass { messages: 0, busy: Duration::ZERO, lists: 0, stages: Vec::new() };
    let is_alone = worker.peers() == 1;
    for (tick, records) in ticks {
        let (began, messages) = (Instant::now(), records.len());
        shop.send(records, tick);
        shop.advance(tick + 1);
        while !shop.has_passed(tick + 1) {
            match is_alone {
                true => _ = worker.step(),
                false => _ = worker.step_or_park(Some(PARK)),
            }
        }
        pass.lists += shop.cut(tick + 1).iter().map(SealedBatch::len).sum::<usize>();
        if tick > START_US {
            pass.messages += messages;
            pass.busy += began.elapsed();
        } else {
            opened();
        }
    }
    pass
}
