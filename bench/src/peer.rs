//! etalage, and the loop by hand, as `bench/peers/run` starts them: beside other engines, on the same file.
//!
//! **Mode hop**: the lists at every whole minute, of what is dated in the ten minutes before. What is dated
//! later waits until its minute has come, and a minute is answered when the newest arrival is two seconds
//! past it, as the other engines' watermarks have it. **Mode continuous**: every change of a list, a thousand
//! messages a tick; compared are the lists at the end.
//!
//! Reading, decoding the numbers and writing the answers is counted for all engines.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::Context;
use clap::ValueEnum;
use etalage_model::{
    Catalogue, CatalogueEntry, EventKind, Group, Message, Micros, Record, SealedBatch, Sym, Tick,
    key::{KeyText, value_json},
};
use etalage_operators::expire::Phase;
use etalage_views::{Dataflow, ShopOptions};
use serde_json::json;
use timely::worker::Worker;

use crate::{
    hand::{self, Hand},
    machine,
    workload::{self, Job},
};

const MINUTE_US: u64 = 60_000_000;
/// How late a message may be.
const LATE_US: u64 = 2_000_000;
/// Messages of a tick in mode continuous.
const TICK_MESSAGES: usize = 1_000;

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Who answers
    #[arg(long)]
    engine: Engine,
    /// When
    #[arg(long)]
    mode: Mode,
    /// The file, as `generate --format csv` writes it
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where the answers go
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// The last minute that is answered, in microseconds
    #[arg(long)]
    last_us: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Engine {
    Etalage,
    /// The loop by hand, in mode continuous only
    Hand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    Hop,
    Continuous,
}

/// A row of the file.
pub(crate) struct Row {
    pub(crate) arrival_us: Tick,
    pub(crate) at_us: u64,
    pub(crate) is_stock: bool,
    pub(crate) item: u32,
    category: u32,
    pub(crate) amount: i64,
}

/// Answers, measures, prints what was measured as JSON.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let (began, cpu_s) = (Instant::now(), machine::cpu_s("self"));
    let lists = match (options.engine, options.mode) {
        (Engine::Etalage, _) => {
            let chosen = options.clone();
            timely::execute_directly(move |worker| etalage(worker, &chosen))?
        }
        (Engine::Hand, Mode::Continuous) => by_hand(options)?,
        (Engine::Hand, Mode::Hop) => anyhow::bail!("the loop by hand answers in mode continuous only"),
    };
    let measured = json!({
        "engine": match options.engine { Engine::Etalage => "etalage", Engine::Hand => "by hand, Rust" },
        "mode": match options.mode { Mode::Hop => "hop", Mode::Continuous => "continuous" },
        "version": env!("CARGO_PKG_VERSION"),
        "parallelism": 1,
        "seconds": began.elapsed().as_secs_f64(),
        "cpu_seconds": machine::cpu_s("self") - cpu_s,
        "peak_rss_mib": machine::peak_rss_mib("self"),
        "start_seconds": 0.0,
        "lists": lists,
        "settings": settings(options),
    });
    println!("{measured}");
    Ok(())
}

fn settings(options: &Options) -> serde_json::Value {
    match (options.engine, options.mode) {
        (Engine::Hand, _) => json!({ "tick_messages": 1 }),
        (_, Mode::Hop) => json!({ "views": "set.bestsellers", "store": "none", "dedup": "none", "tick": "1 minute" }),
        (_, Mode::Continuous) => {
            json!({ "views": "set.bestsellers", "store": "none", "dedup": "none", "tick_messages": TICK_MESSAGES })
        }
    }
}

/// The rows of a file, in its order.
fn rows(path: &Path) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Row>>> {
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let lines = BufReader::with_capacity(1 << 20, file).lines();
    let told = path.display().to_string();
    Ok(lines.enumerate().skip(1).map(move |(at, line)| {
        let line = line?;
        row(&line).with_context(|| format!("{told}:{}: no row of `generate --format csv`: {line}", at + 1))
    }))
}

fn row(line: &str) -> Option<Row> {
    let mut fields = line.split(',');
    let mut next = || fields.next();
    Some(Row {
        arrival_us: next()?.parse().ok()?,
        at_us: next()?.parse().ok()?,
        is_stock: match next()? {
            "stock" => true,
            "click" => false,
            _ => return None,
        },
        item: next()?.parse().ok()?,
        category: next()?.parse().ok()?,
        amount: next()?.parse().ok()?,
    })
}

/// What etalage answers. How many lists have changed.
fn etalage(worker: &mut Worker, options: &Options) -> anyhow::Result<usize> {
    let mut shop = Shop::new(worker, options)?;
    match options.mode {
        Mode::Hop => hop(worker, &mut shop, options),
        Mode::Continuous => continuous(worker, &mut shop, options),
    }?;
    shop.out.flush()?;
    Ok(shop.changed)
}

/// Minute by minute.
fn hop(worker: &mut Worker, shop: &mut Shop, options: &Options) -> anyhow::Result<()> {
    let mut minute_us = workload::START_US.next_multiple_of(MINUTE_US);
    let (mut now, mut later) = (Vec::new(), Vec::<Row>::new());
    for row in rows(&options.input)? {
        let row = row?;
        while row.arrival_us >= minute_us + LATE_US {
            shop.answer(worker, std::mem::take(&mut now), minute_us)?;
            minute_us += MINUTE_US;
            let is_due = |row: &mut Row| row.at_us < minute_us;
            let due: Vec<Row> = later.extract_if(.., is_due).collect();
            due.iter().for_each(|row| shop.take(row, &mut now));
        }
        match row.at_us < minute_us {
            true => shop.take(&row, &mut now),
            false => later.push(row),
        }
    }
    while minute_us <= options.last_us {
        shop.answer(worker, std::mem::take(&mut now), minute_us)?;
        minute_us += MINUTE_US;
        later.extract_if(.., |row| row.at_us < minute_us).for_each(|row| shop.take(&row, &mut now));
    }
    Ok(())
}

/// A tick for every so many messages; what changes is written as it comes, and the lists at the end.
fn continuous(worker: &mut Worker, shop: &mut Shop, options: &Options) -> anyhow::Result<()> {
    let path = options.output.with_extension("changes");
    let mut changes = BufWriter::with_capacity(1 << 20, File::create(&path)?);
    let (mut records, mut tick, mut messages) = (Vec::new(), 0, 0);
    let mut step = |shop: &mut Shop, records, tick| -> anyhow::Result<()> {
        for change in shop.step(worker, records, tick) {
            let (scope, json) = &change;
            writeln!(changes, "{tick},{scope},{json}")?;
            shop.lists.insert(change.0, change.1);
        }
        Ok(())
    };
    for row in rows(&options.input)? {
        let row = row?;
        shop.take(&row, &mut records);
        tick = tick.max(row.arrival_us);
        messages += 1;
        if messages % TICK_MESSAGES == 0 {
            step(shop, std::mem::take(&mut records), tick)?;
            tick += 1;
        }
    }
    step(shop, records, options.last_us.max(tick))?;
    changes.flush()?;
    drop(changes);
    std::fs::remove_file(&path)?;
    shop.write_all(options.last_us)
}

/// The dataflow, and its lists as they are.
struct Shop {
    dataflow: Dataflow,
    /// Items whose category the dataflow knows.
    known: Vec<bool>,
    messages: u64,
    changed: usize,
    /// By scope, as JSON; empty where there is none.
    lists: BTreeMap<String, String>,
    out: BufWriter<File>,
}

impl Shop {
    fn new(worker: &mut Worker, options: &Options) -> anyhow::Result<Shop> {
        let shop = ShopOptions { phase: Phase::Aligned, ..workload::options(Job::default()) };
        Ok(Shop {
            dataflow: Dataflow::build(worker, Group::Shop, shop),
            known: Vec::new(),
            messages: 0,
            changed: 0,
            lists: BTreeMap::new(),
            out: BufWriter::new(File::create(&options.output)?),
        })
    }

    /// Makes messages of a row: one, or two where its item is a new one.
    fn take(&mut self, row: &Row, records: &mut Vec<Record>) {
        let item = item_of(row.item);
        self.messages += 1;
        let number = self.messages;
        if self.known.len() <= row.item as usize {
            self.known.resize(row.item as usize + 1, false);
        }
        if !std::mem::replace(&mut self.known[row.item as usize], true) {
            let category = Some(Sym::new(&row.category.to_string()));
            let entry = Some(CatalogueEntry { category, ..CatalogueEntry::default() });
            let listed = Catalogue { message_id: format!("c{item}"), item_id: item, updated_at: Micros(0), entry };
            records.push(Record { message: Message::Catalogue(listed), content: 0 });
        }
        let message = match row.is_stock {
            true => workload::stock(format!("s{number}"), item, row.amount, row.at_us),
            false => Message::Event(workload::plain_click(number, kind_of(row.amount), item, row.at_us)),
        };
        records.push(Record { message, content: 0 });
    }

    /// One tick; the lists that changed.
    fn step(&mut self, worker: &mut Worker, records: Vec<Record>, tick: Tick) -> Vec<(String, String)> {
        self.dataflow.send(Arc::new(records), tick);
        self.dataflow.advance(tick + 1);
        while !self.dataflow.has_passed(tick + 1) {
            worker.step();
        }
        let batches = self.dataflow.cut(tick + 1);
        let told = batches.iter().flat_map(SealedBatch::changes).map(|(key, value)| {
            let scope = key.text(0).unwrap_or_default().to_owned();
            (scope, value.map_or_else(String::new, |value| value_json(&*value)))
        });
        let told: Vec<(String, String)> = told.collect();
        self.changed += told.len();
        told
    }

    /// The answer of a minute.
    fn answer(&mut self, worker: &mut Worker, records: Vec<Record>, minute_us: u64) -> anyhow::Result<()> {
        let changed = self.step(worker, records, minute_us);
        self.lists.extend(changed);
        self.write_all(minute_us)
    }

    fn write_all(&mut self, minute_us: u64) -> anyhow::Result<()> {
        for (scope, json) in self.lists.iter().filter(|(_, json)| !json.is_empty()) {
            let set: Set = serde_json::from_str(json)?;
            let entry = |entry: &Entry| Ok(format!("{}:{}", entry.item_id.parse::<u32>()?, entry.score));
            let members = set.items.iter().map(entry).collect::<anyhow::Result<Vec<_>>>()?.join(" ");
            let list = scope.strip_prefix("category:").unwrap_or(scope);
            writeln!(self.out, "{minute_us},{list},{members}")?;
        }
        Ok(())
    }
}

/// A published list, as far as it matters here.
#[derive(serde::Deserialize)]
struct Set {
    items: Vec<Entry>,
}

#[derive(serde::Deserialize)]
struct Entry {
    item_id: String,
    score: i64,
}

/// Ids that are ordered as their numbers are.
fn item_of(number: u32) -> Sym {
    Sym::new(&format!("{number:010}"))
}

/// What happened, by what it is worth.
fn kind_of(amount: i64) -> EventKind {
    match amount {
        20 => EventKind::Purchase,
        5 => EventKind::AddToCart,
        _ => EventKind::ViewItem,
    }
}

fn by_hand(options: &Options) -> anyhow::Result<usize> {
    let mut hand = Hand::of_items(0);
    for row in rows(&options.input)? {
        hand.take(&hand::Input::of(&row?));
    }
    // The window of the last minute begins with what is dated ten minutes before it.
    hand.expire(options.last_us - 1);
    let mut out = BufWriter::new(File::create(&options.output)?);
    for (name, first) in hand.lists() {
        let members: Vec<String> = first.iter().map(|(score, item)| format!("{item}:{score}")).collect();
        if !members.is_empty() {
            writeln!(out, "{},{name},{}", options.last_us, members.join(" "))?;
        }
    }
    out.flush()?;
    Ok(hand.written)
}
