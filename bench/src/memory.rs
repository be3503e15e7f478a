//! Bytes of state: what each view takes for a key that it publishes and for an event, and `sb` for a row.
//!
//! **State** is the anonymous memory of a process (`RssAnon`: what it has written, and not the pages of its
//! binary) when the last tick is cut and the input is gone, less the same of a process without the view, the
//! *floor*. So it has in it, besides rows: spare room of tables, buffers between operators, interned names,
//! and what the allocator cannot give back, since something on the same page is in use. It has nothing of the
//! store that readers read, of the log and of dedup.
//!
//! Each view runs alone, with all that it is made from. What several views are made from is in the figure of
//! each: together they take less than the sum, and that is measured too.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use anyhow::Context;
use etalage_model::{EventKind, Group, Message, Record};
use etalage_operators::expire::Windows;
use etalage_views::{Dataflow, VIEWS};

use crate::{
    figures::{Better, Measuring, Part},
    full::{AT_END, KEYS_OF},
    machine, suite,
    workload::{self, EVENTS_PER_S, Job, START_US, Shape},
};

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Events of `full`
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    events: u64,
    /// Customers of `full`
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    active: u64,
    /// Clicks of `sb`: 300,000 fill its window
    #[arg(long, default_value_t = 600_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    clicks: u64,
    /// Items of both
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    items: u64,
    /// How often `sb` is run; the median counts
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only `sb` in this process, so: the other runs start it
    #[arg(long, value_name = "HOW", hide = true)]
    alone: Option<Alone>,
}

/// How `sb` runs in a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Alone {
    /// As it is.
    Whole,
    /// Purchases are carts: there are as many rows, and no order whose transaction must be remembered.
    NoOrders,
    /// Without a view.
    Floor,
}

/// Bytes of a row of `sb`, distinct sets aside.
const BAR_ROW: f64 = 64.0;
/// Clicks of a tick.
const PER_TICK: u64 = 1_000;
/// Units of each item of `full`, so that `item.sellable` has something to say.
const UNITS: u64 = 10;
/// By how much the memory of the same code has differed, most of it from build to build: what lies on which of the
/// allocator's pages is not the same.
const RUNS_DIFFER_MIB: f64 = 6.0;
const MIB: f64 = 1_048_576.0;
/// The allocator gives back at once what is free; otherwise it does so when a second has passed and it is
/// called again, and what is left depends on the time of day.
const ENVIRONMENT: [(&str, &str); 1] = [("MIMALLOC_PURGE_DELAY", "0")];
/// What `sb` says before its first click.
const OPENED: &str = "anonymous memory before the first click";

/// Measures.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Part> {
    if let Some(alone) = options.alone {
        return Ok(sb_alone(options, alone));
    }
    let mut part = Part::begin(
        "memory",
        format!(
            "bytes of state: anonymous memory when the last tick is cut and the input is gone, less that of the same \
             run without a view (the floor). It includes spare room of tables, buffers, interned names and what the \
             allocator cannot give back, and the same code has differed by up to {RUNS_DIFFER_MIB} MiB. Readers' \
             store, log and dedup are no part of it. Each view of full alone with what it is made from, shared parts in \
             each, in a process of its own; {} events, {} s of event time, {} customers, {UNITS} units of each of {} \
             items beforehand. Then sb with {} clicks, {} s",
            options.events,
            options.events / EVENTS_PER_S,
            options.active,
            options.items,
            options.clicks,
            options.clicks / EVENTS_PER_S
        ),
    );
    views(&mut part, options)?;
    sb(&mut part, options)?;
    Ok(part.done())
}

/// The state of each view, and of all together.
fn views(part: &mut Measuring, options: &Options) -> anyhow::Result<()> {
    let floor_mib = full(options, |_| false)?.at_end_mib;
    part.figure("full without a view (the floor)", "MiB", Better::Neither, vec![floor_mib]);
    for view in VIEWS {
        let ran = full(options, |name| name == view.name)?;
        state(part, view.name, options, &ran, floor_mib);
    }
    let all = full(options, |_| true)?;
    state(part, "all views together", options, &all, floor_mib);
    Ok(())
}

/// Tells a state, and says where there is no key that it could be divided by, or where it is too little to tell.
fn state(part: &mut Measuring, whose: &str, options: &Options, ran: &Full, floor_mib: f64) {
    let state_mib = ran.at_end_mib - floor_mib;
    let bytes = state_mib * MIB;
    part.figure(&format!("{whose}: state"), "MiB", Better::Lower, vec![state_mib]);
    part.figure(&format!("{whose}: state by event"), "B an event", Better::Lower, vec![bytes / options.events as f64]);
    if ran.keys > 0.0 {
        part.figure(&format!("{whose}: keys"), "keys", Better::Neither, vec![ran.keys]);
        part.figure(&format!("{whose}: state by key"), "B a key", Better::Lower, vec![bytes / ran.keys]);
    } else {
        part.part.remarks.push(format!(
            "{whose}: no keys in this workload, so there are no bytes a key; its state is what it remembers"
        ));
    }
    if state_mib <= RUNS_DIFFER_MIB {
        part.part.remarks.push(format!(
            "{whose}: its state is not more than {RUNS_DIFFER_MIB} MiB, by which the same code has differed"
        ));
    }
}

/// A run of `full`.
struct Full {
    at_end_mib: f64,
    keys: f64,
}

/// Runs `full` with the views that `is_on` names.
fn full(options: &Options, is_on: impl Fn(&str) -> bool) -> anyhow::Result<Full> {
    let Options { events, active, items, seed, .. } = options;
    let mut line = format!("full --events {events} --active {active} --items {items} --seed {seed} --units {UNITS}");
    VIEWS.iter().filter(|view| !is_on(view.name)).for_each(|view| line.push_str(&format!(" --off {}", view.name)));
    let figures = measured(&line)?;
    let keys = figures.iter().filter(|(name, _)| name.starts_with(KEYS_OF)).map(|(_, keys)| keys).sum();
    Ok(Full { at_end_mib: *figures.get(AT_END).context("`full` measures its memory at the end")?, keys })
}

/// The figures of a part in a process of its own.
fn measured(line: &str) -> anyhow::Result<BTreeMap<String, f64>> {
    let part = suite::measure_part_in(line, &ENVIRONMENT).with_context(|| format!("`{line}`"))?;
    Ok(part.figures.iter().map(|figure| (figure.name.clone(), figure.median())).collect())
}

/// The state of `sb` by row.
fn sb(part: &mut Measuring, options: &Options) -> anyhow::Result<()> {
    let Options { clicks, items, seed, .. } = options;
    let run = |alone: &str| {
        let figures = measured(&format!("memory --alone {alone} --clicks {clicks} --items {items} --seed {seed}"))?;
        let of =
            |name: &str| figures.get(name).copied().with_context(|| format!("`memory --alone` measures no {name}"));
        anyhow::Ok((of(OPENED)?, of(AT_END)?))
    };
    let [mut opened, mut ended, mut no_orders, mut floors] = [const { Vec::new() }; 4];
    for _ in 0..options.runs {
        let (opened_floor_mib, floor_mib) = run("floor")?;
        let (opened_mib, ended_mib) = run("whole")?;
        opened.push(opened_mib - opened_floor_mib);
        ended.push(ended_mib - floor_mib);
        no_orders.push(run("no-orders")?.1 - floor_mib);
        floors.push(floor_mib);
    }
    let rows = rows(options) as f64;
    let by_row = |mib: &[f64]| mib.iter().map(|mib| mib * MIB / rows).collect::<Vec<_>>();
    let clicks: Vec<f64> = ended.iter().zip(&opened).map(|(ended, opened)| ended - opened).collect();
    let [all, aside, clicks] = [&ended, &no_orders, &clicks].map(|mib| by_row(mib));
    part.figure("sb without its view (the floor)", "MiB", Better::Neither, floors);
    part.figure("sb: (item, bucket) rows in the window", "rows", Better::Neither, vec![rows]);
    part.figure("sb: state", "MiB", Better::Lower, ended);
    part.figure("sb: state without distinct orders", "MiB", Better::Lower, no_orders);
    part.figure("sb: state before the first click", "MiB", Better::Lower, opened);
    part.figure("sb: state by row", "B a row", Better::Lower, all);
    part.figure("sb: the same, distinct orders aside", "B a row", Better::Lower, aside).bar(BAR_ROW);
    part.figure("sb: what clicks have added, by row", "B a row", Better::Lower, clicks);
    part.part.remarks.push(
        "sb: rows are distinct pairs of an item and a bucket in which it had a click that the window still holds, \
         counted plainly; the state is that of the whole dataflow, so catalogue, stock, scores and lists of every item \
         are in it. Without distinct orders: the same with carts in place of purchases, which are as many rows"
            .into(),
    );
    Ok(())
}

impl Options {
    fn shape(&self) -> Shape {
        Shape { events: self.clicks, items: self.items as usize, seed: self.seed, ..Shape::default() }
    }
}

/// `sb` in this process: what is resident before the first click, and after the last.
fn sb_alone(options: &Options, alone: Alone) -> Part {
    let mut part = Part::begin("memory", format!("sb in this process, {alone:?}"));
    let shape = options.shape();
    let (opened_mib, ended_mib) = timely::execute_directly(move |worker| {
        let mut views = workload::options(Job::default());
        if alone == Alone::Floor {
            views.off = VIEWS.iter().map(|view| view.name.to_owned()).collect();
        }
        let mut shop = Dataflow::build(worker, Group::Shop, views);
        let mut opened_mib = None;
        for (tick, mut records) in workload::ticks(&shape, PER_TICK) {
            if tick > START_US {
                opened_mib.get_or_insert_with(machine::anonymous_mib);
            }
            if alone == Alone::NoOrders {
                Arc::make_mut(&mut records).iter_mut().for_each(as_cart);
            }
            workload::seal(worker, &mut shop, records, tick);
        }
        (opened_mib.unwrap_or_default(), machine::anonymous_mib())
    });
    part.figure(OPENED, "MiB", Better::Lower, vec![opened_mib]);
    part.figure(AT_END, "MiB", Better::Lower, vec![ended_mib]);
    part.done()
}

/// Makes a cart of a purchase.
fn as_cart(record: &mut Record) {
    if let Message::Event(event) = &mut record.message
        && event.kind == EventKind::Purchase
    {
        event.kind = EventKind::AddToCart;
    }
}

/// How many pairs of an item and a bucket the window of `sb` holds at the last tick.
fn rows(options: &Options) -> usize {
    let views = workload::options(Job::default());
    let windows = views.expiry(views.phase);
    let (mut clicks, mut last) = (Vec::new(), START_US);
    for (tick, records) in workload::ticks(&options.shape(), PER_TICK) {
        last = tick;
        clicks.extend(etalage_views::lines::events(&records).map(|event| (event.items[0].item_id, event.timestamp.0)));
    }
    distinct_rows(&windows, clicks, last)
}

/// How many pairs of an item and a bucket with a click the first window holds at `tick`.
fn distinct_rows<K: std::hash::Hash + Eq>(
    windows: &Windows,
    clicks: impl IntoIterator<Item = (K, u64)>,
    tick: u64,
) -> usize {
    let held = clicks.into_iter().filter_map(|(item, at)| {
        let phase_us = windows.phase_us(&item);
        windows.holds(0, phase_us, at, tick).then(|| (item, windows.bucket_end(0, phase_us, at)))
    });
    held.collect::<HashSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use etalage_operators::expire::Phase;

    use super::*;

    #[test]
    fn rows_are_pairs_of_item_and_bucket_that_the_window_still_holds() {
        let windows = Windows::new(&[60], 10, 100, Phase::Aligned);
        // At 80 a bucket that ends at 20 or before has left; two clicks of one bucket are one row.
        let clicks = [("a", 5), ("a", 19), ("a", 21), ("a", 29), ("a", 30), ("b", 29), ("b", 79)];
        assert_eq!(distinct_rows(&windows, clicks, 80), 4);
    }
}
