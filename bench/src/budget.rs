//! The way of one event through the pipeline, stage by stage: what each costs on one core.
//!
//! The stages are those of the service, one after the other in this process, over the same messages: a line
//! of JSON is decoded and checked, its id is compared with those known, it is appended to the log (process),
//! goes through the dataflow, is cut off with its tick, kept for readers, and written as a reader gets it.
//! The clock is read around each stage of a whole tick.

use std::{
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use etalage_model::{
    Group, Micros, Record, SealedBatch, SealedTick, TickTimes, decode::json, hash::hash128, key::value_json,
    money::Currencies,
};
use etalage_operators::dedup::{DedupCore, DedupLimits};
use etalage_serve::{ReadStore, StoreOptions};
use etalage_store::{Log, LogOptions};
use etalage_views::Dataflow;
use timely::worker::Worker;

use crate::{
    figures::{Better, Part},
    generate,
    workload::{self, Job, START_US, Shape},
};

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    shape: Shape,
    /// Clicks in a tick
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    tick_events: u64,
    /// How often the whole is run
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// The stages, in the order of the way.
const STAGES: [&str; 7] = ["decode", "dedup", "store", "dataflow", "seal", "keep", "write"];

/// Measures.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Part> {
    let mut part = Part::begin(
        "budget",
        format!(
            "sb, one worker, ticks of {} clicks, each stage after the other on one core: JSON lines decoded; ids \
             compared; appended (process); set.bestsellers maintained; cut off; kept to be read; changed lists \
             written as JSON",
            options.tick_events
        ),
    );
    let mut samples = [const { Vec::new() }; STAGES.len()];
    for _ in 0..options.runs {
        let dir = tempfile::tempdir()?;
        let (path, shape, per_tick) = (dir.path().to_owned(), options.shape.clone(), options.tick_events);
        let spent = timely::execute_directly(move |worker| Way::new(worker, &path)?.run(worker, &shape, per_tick))?;
        for (samples, spent) in samples.iter_mut().zip(spent.per_event_ns()) {
            samples.push(spent);
        }
    }
    let in_all = (0..samples[0].len()).map(|run| samples.iter().map(|stage| stage[run]).sum()).collect();
    for (stage, samples) in STAGES.iter().zip(samples) {
        part.figure(stage, "ns an event", Better::Lower, samples);
    }
    part.figure("sum of the stages", "ns an event", Better::Lower, in_all);
    Ok(part.done())
}

/// What the stages have taken for so many messages.
#[derive(Default)]
struct Spent {
    messages: usize,
    stages: [Duration; STAGES.len()],
}

impl Spent {
    fn per_event_ns(&self) -> [f64; STAGES.len()] {
        self.stages.map(|spent| spent.as_nanos() as f64 / self.messages as f64)
    }
}

/// A pipeline whose stages run one after the other.
struct Way {
    currencies: Currencies,
    limits: json::Limits,
    dedup: DedupCore,
    log: Log,
    shop: Dataflow,
    store: ReadStore,
    lower: u64,
}

impl Way {
    fn new(worker: &mut Worker, dir: &Path) -> anyhow::Result<Way> {
        let options = workload::options(Job::default());
        let (log, _) = Log::open(dir, LogOptions::default())?;
        Ok(Way {
            currencies: Currencies::only("EUR"),
            limits: json::Limits::default(),
            dedup: DedupCore::new(DedupLimits { horizon_us: 3_600_000_000, max_ids: 10_000_000 }),
            log,
            store: ReadStore::new(&etalage_views::infos(&options), StoreOptions::default()),
            shop: Dataflow::build(worker, Group::Shop, options),
            lower: 0,
        })
    }

    fn run(mut self, worker: &mut Worker, shape: &Shape, per_tick: u64) -> anyhow::Result<Spent> {
        let mut spent = Spent::default();
        for (tick, records) in workload::ticks(shape, per_tick) {
            let lines: Vec<Vec<u8>> = records.iter().map(|record| generate::line(&record.message, 0)).collect();
            let stages = self.take(worker, &lines, tick)?;
            // What the shop knew before is not counted.
            if tick > START_US {
                spent.messages += lines.len();
                spent.stages.iter_mut().zip(stages).for_each(|(all, stage)| *all += stage);
            }
        }
        Ok(spent)
    }

    /// Takes one tick all the way; how long each stage took.
    fn take(&mut self, worker: &mut Worker, lines: &[Vec<u8>], tick: u64) -> anyhow::Result<[Duration; STAGES.len()]> {
        let mut watch = Watch::begin();
        let context =
            json::Context { now: Micros(tick), map_time: None, currencies: &self.currencies, limits: &self.limits };
        let decode = |line: &Vec<u8>| json::message(line, &context).map_err(|refused| anyhow::anyhow!("{refused:?}"));
        let records: Vec<Record> = lines.iter().map(decode).collect::<anyhow::Result<_>>()?;
        watch.lap();
        for record in &records {
            let id = hash128(record.message.message_id().as_bytes());
            black_box(self.dedup.offer(id, record.content, tick));
        }
        watch.lap();
        self.log.append(tick, &records)?;
        watch.lap();
        self.shop.send(Arc::new(records), tick);
        self.shop.advance(tick + 1);
        while !self.shop.has_passed(tick + 1) {
            worker.step();
        }
        watch.lap();
        let batches = self.shop.cut(tick + 1);
        watch.lap();
        let (lower, upper) = (std::mem::replace(&mut self.lower, tick + 1), tick + 1);
        let sealed = Arc::new(SealedTick { group: Group::Shop, lower, upper, times: TickTimes::default(), batches });
        self.store.publish(&sealed);
        watch.lap();
        for change in sealed.batches.iter().flat_map(SealedBatch::changes) {
            black_box(change.1.as_deref().map(value_json));
        }
        watch.lap();
        Ok(watch.laps)
    }
}

/// The time that each stage takes, one after the other.
struct Watch {
    since: Instant,
    laps: [Duration; STAGES.len()],
    next: usize,
}

impl Watch {
    fn begin() -> Watch {
        Watch { since: Instant::now(), laps: [Duration::ZERO; STAGES.len()], next: 0 }
    }

    fn lap(&mut self) {
        let now = Instant::now();
        self.laps[self.next] = now - std::mem::replace(&mut self.since, now);
        self.next += 1;
    }
}
