//! The job `full`: the default configuration with every view on, shop and people.
//!
//! Seeded: 500 events a second of event time, 1 % of them up to 2 s late; 84 % views, 8 % added to
//! carts, 1 % taken out, 3 % purchases, 4 % searches; customers Zipf 0.9 among `--active`, every third
//! of them logged in (user and device), the others anonymous; items Zipf 1.05, each with a category of
//! two levels and a brand that events state; 20 countries. `--customers` beyond the active ones were
//! seen once, two months before. `--heavy` gives that share of all events to a single guest id. Stock is not
//! known, unless `--units` says so many of each item beforehand.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use etalage::{config::Config, runtime::shop_options};
use etalage_model::{
    Event, EventKind, Group, Item, Message, Micros, Record, SealedBatch, SealedTick, Sym, Tick, TickTimes,
};
use etalage_serve::{ReadStore, StoreOptions};
use etalage_views::{Dataflow, ShopOptions};
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};
use timely::worker::Worker;

use crate::{
    figures::{Better, Latency, Part, Recorder},
    machine::{self, MemoryWatch},
    stages::{self, Stages},
    workload::{self, EVENTS_PER_S, START_US},
};

const REGIONS: usize = 20;
const CATEGORIES: usize = 500;
const BRANDS: usize = 1_000;
const LATE_SHARE: f64 = 0.01;
const MAX_LATE_US: u64 = 2_000_000;
/// How long ago customers of before were seen: longer than any window is.
const BEFORE_US: u64 = 60 * 24 * 3_600 * 1_000_000;
/// Records of a tick while customers of before are made, and stock is told.
const OPENING_TICK: usize = 10_000;

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Events
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Events a second; 0 runs as fast as it goes
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// Events of a tick where it runs as fast as it goes
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    tick_events: u64,
    /// Length of a tick at a rate, in microseconds of real time
    #[arg(long, default_value_t = 1_000)]
    tick_us: u64,
    /// Customers that are active
    #[arg(long, default_value_t = 1_000_000)]
    active: u64,
    /// Customers in all
    #[arg(long, default_value_t = 0)]
    customers: u64,
    /// Items
    #[arg(long, default_value_t = 100_000)]
    items: usize,
    /// Units of each item that are told beforehand; none where nothing is said
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
    units: Option<i64>,
    /// The part of all events that a single guest makes
    #[arg(long, default_value_t = 0.0)]
    heavy: f64,
    /// Views to switch off
    #[arg(long, value_name = "VIEW")]
    off: Vec<String>,
    /// Keep what is published as the service does, to be read: its time is counted
    #[arg(long)]
    served: bool,
    /// Say how long each operator took too
    #[arg(long)]
    stages: bool,
    /// Seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds that are not counted at the beginning
    #[arg(long, default_value_t = 2)]
    warm_up_s: u64,
}

/// What a core should do a second, and how late it may be at a rate: percentile and milliseconds.
const BAR_PER_S: f64 = 100_000.0;
const BARS_AT_PER_S: u64 = 50_000;
const BAR_MS: (f64, f64) = (99.0, 10.0);

/// The figure of what is resident when the last tick is cut and the input is gone; and that of a view's keys.
pub(crate) const AT_END: &str = "anonymous memory at the end";
pub(crate) const KEYS_OF: &str = "keys of ";

/// Measures.
pub(crate) fn measure(options: &Options) -> Part {
    let mut part = Part::begin(
        "full",
        format!(
            "full: the default configuration with every view on, shop and people, in this process; 1 worker, no dedup, \
             no log; what is published {} kept to be read; off: {:?}; {} minutes of event time, so that longer windows \
             lose nothing",
            if options.served { "is" } else { "is not" },
            options.off,
            options.events / EVENTS_PER_S / 60
        ),
    );
    if options.rate > 0 {
        part.latency(machine::noise(machine::NOISE));
    }
    let memory = MemoryWatch::of("self".into());
    let chosen = options.clone();
    let Measured { events, busy, cpu_s, upserts, keys, at_end_mib, latencies, stages } =
        timely::execute_directly(move |worker| run(worker, &chosen));
    let events = events as f64;
    part.figure("events", "a second", Better::Higher, vec![events / busy.as_secs_f64()]).bar(BAR_PER_S);
    part.figure("CPU", "s a million events", Better::Lower, vec![cpu_s * 1e6 / events]);
    part.figure("changed keys", "an event", Better::Neither, vec![upserts as f64 / events]);
    part.figure("peak RSS", "MiB", Better::Lower, vec![machine::peak_rss_mib("self")]);
    part.figure(AT_END, "MiB", Better::Lower, vec![at_end_mib]);
    for (view, keys) in keys {
        part.figure(&format!("{KEYS_OF}{view}"), "", Better::Neither, vec![keys as f64]);
    }
    stages::figures(&mut part, &stages, events as u64);
    latencies.into_iter().for_each(|latency| part.latency(latency));
    part.part.curves.push(memory.curve("this process"));
    part.done()
}

/// What a run comes to.
struct Measured {
    /// Whole ticks of them.
    events: u64,
    busy: Duration,
    cpu_s: f64,
    upserts: usize,
    keys: Vec<(&'static str, usize)>,
    at_end_mib: f64,
    latencies: Vec<Latency>,
    /// Operators and their nanoseconds.
    stages: Vec<(String, u128)>,
}

/// The dataflows of both groups, which are cut at the same ticks.
struct Both {
    groups: [Dataflow; 2],
    /// First tick that is not cut off yet.
    lower: Tick,
    store: Option<ReadStore>,
    upserts: usize,
}

const GROUPS: [Group; 2] = [Group::Shop, Group::Customer];

impl Both {
    /// Hands over batches, one each `span_us` of pipeline time, and cuts them off together.
    fn seal(&mut self, worker: &mut Worker, step: &[Arc<Vec<Record>>], tick: &mut Tick, span_us: u64) {
        for records in step {
            *tick += span_us;
            self.groups.iter_mut().for_each(|dataflow| dataflow.send(Arc::clone(records), *tick));
        }
        let upper = *tick + 1;
        self.groups.iter_mut().for_each(|dataflow| dataflow.advance(upper));
        while !self.groups.iter().all(|dataflow| dataflow.has_passed(upper)) {
            worker.step();
        }
        for (dataflow, group) in self.groups.iter_mut().zip(GROUPS) {
            let batches = dataflow.cut(upper);
            self.upserts += batches.iter().map(SealedBatch::len).sum::<usize>();
            if let Some(store) = &self.store {
                let (lower, times) = (self.lower, TickTimes::default());
                store.publish(&Arc::new(SealedTick { group, lower, upper, times, batches }));
            }
        }
        self.lower = upper;
    }
}

fn run(worker: &mut Worker, options: &Options) -> Measured {
    let views = views(options);
    let stages = options.stages.then(|| Stages::watch(worker));
    let groups = GROUPS.map(|group| Dataflow::build(worker, group, views.clone()));
    let store = options.served.then(|| ReadStore::new(&etalage_views::infos(&views), StoreOptions::default()));
    let mut both = Both { groups, lower: 0, store, upserts: 0 };
    let mut workload = Workload::new(options);
    let mut tick = open(worker, options, &mut both, &mut workload);
    let per_tick =
        if options.rate > 0 { options.rate * options.tick_us / 1_000_000 } else { options.tick_events }.max(1);
    let span_us = per_tick * 1_000_000 / EVENTS_PER_S;
    let ticks = (options.events / per_tick).max(1);
    let [mut all, mut others] = [(); 2].map(|()| Recorder::after(options.warm_up_s * 1_000_000));
    // At a rate the input is made beforehand, so that making it is no part of what is measured.
    let mut batches = (0..ticks).map(|_| Arc::new((0..per_tick).map(|_| workload.next()).collect::<Vec<_>>()));
    let mut ahead: std::collections::VecDeque<_> =
        if options.rate > 0 { batches.by_ref().collect() } else { Default::default() };
    stages.iter().for_each(Stages::begin);
    (both.upserts, tick) = (0, tick.next_multiple_of(span_us));
    let (mut busy, mut cpu_s) = (Duration::ZERO, 0.0);
    let (began, tick_time) = (Instant::now(), Duration::from_micros(options.tick_us));
    let mut at = 0;
    while at < ticks {
        let first = at;
        while options.rate > 0 && began.elapsed() < tick_time * (first + 1) as u32 {
            std::hint::spin_loop();
        }
        // As the service does: whatever has come since the last cut is one step.
        let complete = began.elapsed().as_micros() as u64 / options.tick_us;
        let end = if options.rate > 0 { complete.clamp(first + 1, ticks) } else { first + 1 };
        let due = || ahead.pop_front().or_else(|| batches.next());
        let step: Vec<Arc<Vec<Record>>> = std::iter::from_fn(due).take((end - first) as usize).collect();
        let (started, cpu) = (Instant::now(), machine::thread_cpu_s());
        both.seal(worker, &step, &mut tick, span_us);
        busy += started.elapsed();
        cpu_s += machine::thread_cpu_s() - cpu;
        at = end;
        let done_us = began.elapsed().as_micros() as u64;
        for (batch, number) in step.iter().zip(first..).filter(|_| options.rate > 0) {
            for (place, record) in batch.iter().enumerate() {
                let due_us = number * options.tick_us + place as u64 * options.tick_us / per_tick;
                all.record(due_us, done_us);
                if !is_heavy(record) {
                    others.record(due_us, done_us);
                }
            }
        }
    }
    let achieved = (ticks * per_tick) as f64 / began.elapsed().as_secs_f64();
    let latency = |name: &str, recorder: &Recorder| {
        let latency = recorder.latency(name).at_rate((per_tick * 1_000_000 / options.tick_us) as f64, achieved);
        let has_bar = options.rate == BARS_AT_PER_S && options.heavy == 0.0;
        Latency { bars_ms: if has_bar { vec![BAR_MS] } else { Vec::new() }, ..latency }
    };
    let mut latencies = Vec::new();
    if options.rate > 0 {
        latencies.push(latency(&format!("at {}/s", options.rate), &all));
    }
    if options.rate > 0 && options.heavy > 0.0 {
        latencies.push(latency("of all but the heavy one", &others));
    }
    drop((batches, ahead));
    let at_end_mib = machine::anonymous_mib();
    let keys = both.groups.iter().flat_map(Dataflow::keys).collect();
    let stages = stages.map_or_else(Vec::new, |stages| stages.told());
    Measured { events: ticks * per_tick, busy, cpu_s, upserts: both.upserts, keys, at_end_mib, latencies, stages }
}

/// Tells what the shop knows before the first event: its last tick.
fn open(worker: &mut Worker, options: &Options, both: &mut Both, workload: &mut Workload) -> Tick {
    let mut tick = START_US;
    let gone: Vec<u64> = (options.active..options.customers.max(options.active)).collect();
    for gone in gone.chunks(OPENING_TICK) {
        both.seal(worker, &[Arc::new(workload.opening(gone))], &mut tick, 1);
    }
    let Some(units) = options.units else { return tick };
    for items in workload.catalogue.chunks(OPENING_TICK) {
        let told = |item: &Item| {
            let message = workload::stock(format!("open-{}", item.item_id), item.item_id, units, START_US);
            Record { message, content: 0 }
        };
        both.seal(worker, &[Arc::new(items.iter().map(told).collect())], &mut tick, 1);
    }
    tick
}

fn views(options: &Options) -> ShopOptions {
    ShopOptions { off: options.off.iter().cloned().collect(), ..shop_options(&Config::default()) }
}

const HEAVY: &str = "heavy";

fn is_heavy(record: &Record) -> bool {
    matches!(&record.message, Message::Event(event) if event.anonymous_id.as_deref() == Some(HEAVY))
}

/// A generator of events, in the order of their arrival.
struct Workload {
    random: ChaCha8Rng,
    items: Zipf<f64>,
    customers: Zipf<f64>,
    catalogue: Vec<Item>,
    regions: Vec<Sym>,
    heavy: f64,
    made: u64,
}

impl Workload {
    fn new(options: &Options) -> Workload {
        let mut random = ChaCha8Rng::seed_from_u64(options.seed);
        let item = |at: usize| Item {
            item_id: Sym::new(&format!("i{at}")),
            brand: Some(Sym::new(&format!("b{}", at % BRANDS))),
            category: Some(Sym::new(&format!("c{}/c{}", at % 20, at % CATEGORIES))),
            variant: None,
            list_id: None,
            location_id: None,
            quantity: 1,
            price_micros: 1_000_000 + (at as i64 % 100) * 990_000,
        };
        let mut catalogue: Vec<Item> = (0..options.items).map(item).collect();
        catalogue.shuffle(&mut random);
        Workload {
            random,
            items: Zipf::new(options.items as f64, 1.05).expect("the exponent is positive"),
            customers: Zipf::new(options.active as f64, 0.9).expect("the exponent is positive"),
            catalogue,
            regions: (0..REGIONS).map(|at| Sym::new(&format!("r{at}"))).collect(),
            heavy: options.heavy,
            made: 0,
        }
    }

    /// A view by each of these customers, who are not active any more.
    fn opening(&mut self, gone: &[u64]) -> Vec<Record> {
        gone.iter().map(|customer| self.event(EventKind::ViewItem, *customer, START_US - BEFORE_US)).collect()
    }

    fn next(&mut self) -> Record {
        let at = START_US + self.made * 1_000_000 / EVENTS_PER_S;
        let late = if self.random.random_bool(LATE_SHARE) { self.random.random_range(0..MAX_LATE_US) } else { 0 };
        let kind = match self.random.random_range(0..100) {
            0..84 => EventKind::ViewItem,
            84..92 => EventKind::AddToCart,
            92 => EventKind::RemoveFromCart,
            93..96 => EventKind::Purchase,
            _ => EventKind::Search,
        };
        let customer = self.customers.sample(&mut self.random) as u64 - 1;
        let mut record = self.event(kind, customer, at - late);
        if self.heavy > 0.0
            && self.random.random_bool(self.heavy)
            && let Message::Event(event) = &mut record.message
        {
            (event.user_id, event.anonymous_id) = (None, Some(HEAVY.to_owned()));
        }
        record
    }

    fn event(&mut self, kind: EventKind, customer: u64, at: u64) -> Record {
        self.made += 1;
        let item = self.catalogue[self.items.sample(&mut self.random) as usize - 1].clone();
        let is_purchase = kind == EventKind::Purchase;
        let event = Event {
            message_id: format!("e{}", self.made),
            kind,
            name: None,
            timestamp: Micros(at),
            user_id: customer.is_multiple_of(3).then(|| format!("u{customer}")),
            anonymous_id: Some(format!("v{customer}")),
            previous_id: None,
            group_id: None,
            country: Some(self.regions[customer as usize % REGIONS]),
            device: None,
            language: None,
            channel: None,
            transaction_id: is_purchase.then(|| format!("t{}", self.made)),
            value_micros: None,
            coupon: None,
            search_term: None,
            items: if kind == EventKind::Search { Vec::new() } else { vec![item] },
        };
        Record { message: Message::Event(event), content: 0 }
    }
}
