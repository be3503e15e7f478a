//! Operators alone: their cores without a dataflow, each fed with what it is mostly fed with in the job.
//!
//! Keys are items, Zipf-distributed; 500 updates a second of event time, a thousand in a tick. The clock is
//! read around telling the core the time, handing it a tick's updates, and letting it settle. What `stitch`,
//! `join_small` and `seal` cost shows in `full --stages`: they have no work of their own without a view.

use std::{
    hint::black_box,
    rc::Rc,
    time::{Duration, Instant},
};

use etalage_operators::{
    Tick,
    decay::{DecayCore, HalfLives},
    dedup::{DedupCore, DedupLimits},
    expire::{DEFAULT_MAX_BUCKETS, ExpireCore, Phase, Windows},
    lanes::Lanes,
    latest::LatestCore,
    reduce::ReduceCore,
    shell::Core,
    table::hash_of,
    timers::TimersCore,
    top_k::{Feed, StageOne, TopKOptions},
    upsert::{Op, UpsertCore, UpsertOptions},
};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};

use crate::{
    figures::{Better, Measuring, Part},
    workload::{CATEGORIES, EVENTS_PER_S, K, START_US, WINDOW_US},
};

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Updates of each operator
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    updates: u64,
    /// Items
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    items: u32,
    /// Updates of a tick
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    tick_updates: u64,
    /// How often the whole is run
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// An update of an item.
#[derive(Clone, Copy)]
struct Update {
    number: u64,
    item: u32,
    at: u64,
}

/// Measures.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Part> {
    let mut part = Part::begin(
        "operators",
        format!(
            "cores of operators without a dataflow; {} items, Zipf 1.05; ticks of {} updates",
            options.items, options.tick_updates
        ),
    );
    let ticks = ticks(options);
    let phase_of = || Box::new(|item: &u32| hash_of(item) % 10_000_000);
    let windows = |lengths_us: &[u64]| Windows::new(lengths_us, 10_000_000, DEFAULT_MAX_BUCKETS, Phase::Spread);
    let five: Vec<u64> = (1..=5).map(|times| times * WINDOW_US / 5).collect();
    run(
        &mut part,
        options,
        "expire, one window",
        || ExpireCore::new(windows(&[WINDOW_US]), phase_of()),
        &ticks,
        counted,
    );
    run(&mut part, options, "expire, five windows", || ExpireCore::new(windows(&five), phase_of()), &ticks, counted);
    let half_lives = || HalfLives::new(&[WINDOW_US, 6 * WINDOW_US]);
    run(&mut part, options, "decay, two half-lives", || DecayCore::new(half_lives(), phase_of()), &ticks, counted);
    run(&mut part, options, "latest", || LatestCore::new(WINDOW_US), &ticks, |update| ((update.item, update.at), 1));
    let timer = |update: Update| ((update.item, update.at + WINDOW_US), 1);
    run(&mut part, options, "timers", TimersCore::default, &ticks, timer);
    let stock = UpsertOptions { keep_superseded: 8, add: |sum: &mut i64, more: &i64| *sum += more };
    let set = |update: Update| ((update.item, (update.at, Op::Set((update.number % 50) as i64))), 1);
    run(&mut part, options, "upsert", || UpsertCore::new(stock), &ticks, set);
    let brand = |update: Update| ((update.item, update.number as u32 % 4), 1);
    let greatest = || {
        ReduceCore::new(Box::new(|_: &u32, values: &[(u32, isize)], out: &mut Vec<u32>| {
            out.extend(values.last().map(|(value, _)| *value));
        }))
    };
    run(&mut part, options, "reduce_small, four values a key", greatest, &ticks, brand);
    run(&mut part, options, "top_k, two lists an item", || lists(options, None), &ticks, scored);
    let window = || lists(options, Some(windows(&[WINDOW_US])));
    run(&mut part, options, "top_k over a window, two lists an item", window, &ticks, happened);
    dedup(&mut part, options, &ticks);
    Ok(part.done())
}

fn counted(update: Update) -> ((u32, u64), i64) {
    ((update.item, update.at), 1)
}

/// Every other update takes back what one before has given: as many lose as gain.
fn scored(update: Update) -> (Feed<u32, (), u32, ()>, Lanes<i64>) {
    (Feed::Score((update.item, ())), Lanes::one(0, if update.number.is_multiple_of(2) { 2 } else { -2 }))
}

fn happened(update: Update) -> (Feed<u32, (), u32, ()>, Lanes<i64>) {
    (Feed::Happened((update.item, ()), update.at), Lanes::one(0, 1))
}

/// Lists of all items, and of each category.
fn lists(options: &Options, windows: Option<Windows>) -> StageOne<u32, (), u32, ()> {
    let everyone = CATEGORIES as u32;
    let options_of_lists = TopKOptions {
        k: K,
        lanes: 1,
        windows,
        everywhere: vec![everyone],
        is_group: Rc::new(|(), _| true),
        without_gate: Some(()),
        tie: |item: &u32| u64::from(*item),
    };
    let mut lists = StageOne::new(options_of_lists, true);
    let place = |item: u32| (Feed::Place(item, item % everyone), Lanes::one(0, 1));
    lists.absorb_all(&mut (0..options.items).map(place).collect(), START_US, &mut Vec::new());
    lists
}

/// The updates by tick, in the order of their arrival.
fn ticks(options: &Options) -> Vec<(Tick, Vec<Update>)> {
    let mut random = ChaCha8Rng::seed_from_u64(options.seed);
    let zipf = Zipf::new(f64::from(options.items), 1.05).expect("the exponent is positive");
    // Neighbours in popularity are none in number.
    let mut items: Vec<u32> = (0..options.items).collect();
    items.shuffle(&mut random);
    let mut update = |number: u64| Update {
        number,
        item: items[zipf.sample(&mut random) as usize - 1],
        at: START_US + number * 1_000_000 / EVENTS_PER_S,
    };
    let of_tick = |first: u64| {
        let end = options.updates.min(first + options.tick_updates);
        (START_US + end * 1_000_000 / EVENTS_PER_S, (first..end).map(&mut update).collect())
    };
    (0..options.updates).step_by(options.tick_updates as usize).map(of_tick).collect()
}

/// Runs a core over all ticks, and tells what an update cost.
fn run<C: Core>(
    part: &mut Measuring,
    options: &Options,
    name: &str,
    core: impl Fn() -> C,
    ticks: &[(Tick, Vec<Update>)],
    fed: impl Fn(Update) -> (C::In, C::InDiff),
) {
    let once = || {
        let (mut core, mut busy, mut out) = (core(), Duration::ZERO, Vec::new());
        for (tick, updates) in ticks {
            let mut updates: Vec<(C::In, C::InDiff)> = updates.iter().map(|update| fed(*update)).collect();
            let began = Instant::now();
            core.advance(*tick, &mut out);
            core.absorb_all(&mut updates, *tick, &mut out);
            core.settle(*tick, &mut out);
            busy += began.elapsed();
            black_box(&out);
            out.clear();
        }
        busy.as_nanos() as f64 / options.updates as f64
    };
    let samples = (0..options.runs).map(|_| once()).collect();
    part.figure(name, "ns an update", Better::Lower, samples);
}

/// Deduplication as a source uses it, one arrival after the other, each a new one.
fn dedup(part: &mut Measuring, options: &Options, ticks: &[(Tick, Vec<Update>)]) {
    let once = || {
        let mut dedup = DedupCore::new(DedupLimits { horizon_us: 3_600_000_000, max_ids: 10_000_000 });
        let began = Instant::now();
        for (tick, updates) in ticks {
            for update in updates {
                let id = u128::from(hash_of(&update.number)) << 64 | u128::from(update.number);
                black_box(dedup.offer(id, 0, *tick));
            }
        }
        began.elapsed().as_nanos() as f64 / options.updates as f64
    };
    let samples = (0..options.runs).map(|_| once()).collect();
    part.figure("dedup", "ns an update", Better::Lower, samples);
}
