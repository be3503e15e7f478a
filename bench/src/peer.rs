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
    fmt::Write as _,
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::Context;
use clap::ValueEnum;
use etalage_model::{
    Catalogue, CatalogueEntry, EventKind, Group, Message, Micros, Record, SealedBatch, Sym, Tick, Value,
};
use etalage_operators::expire::Phase;
use etalage_views::{Dataflow, ShopOptions, bestsellers};
use serde_json::json;
use timely::worker::Worker;

use crate::{
    hand::{self, Hand},
    machine,
    workload::{self, Job},
};

const MINUTE_US: u64 = 60_000_000;
/// How long after a minute's end a message that is dated in it may arrive: late by 2 s, and the 2 ms that every
/// message is on its way.
const LATE_US: u64 = 2_002_000;
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
    let row = Row {
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
    };
    (row.is_stock || kind_of(row.amount).is_some()).then_some(row)
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
        for (list, members) in shop.step(worker, records, tick) {
            writeln!(changes, "{tick},{list},{members}")?;
            shop.lists.insert(list, members);
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
    /// The items whose categories the dataflow knows, by number.
    known: Vec<Option<Sym>>,
    messages: u64,
    changed: usize,
    /// The members of each list as text; none where it is empty.
    lists: BTreeMap<Sym, String>,
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

    /// Makes messages of a row: one, or two where its item is a new one. Of two updates of stock at one
    /// instant the one whose row comes later holds, so that ids are ordered as rows are.
    fn take(&mut self, row: &Row, records: &mut Vec<Record>) {
        self.messages += 1;
        let message_id = format!("{:012}", self.messages);
        let item = self.item(row, records);
        let message = match row.is_stock {
            true => workload::stock(message_id, item, row.amount, row.at_us),
            false => Message::Event(workload::plain_click(
                message_id,
                kind_of(row.amount).expect("a row was checked"),
                item,
                row.at_us,
            )),
        };
        records.push(Record { message, content: 0 });
    }

    /// The item of a row; of a new one the dataflow is told the category. Ids are ordered as numbers are.
    fn item(&mut self, row: &Row, records: &mut Vec<Record>) -> Sym {
        let number = row.item as usize;
        if self.known.len() <= number {
            self.known.resize(number + 1, None);
        }
        *self.known[number].get_or_insert_with(|| {
            let item_id = Sym::new(&format!("{number:010}"));
            let category = Some(Sym::new(&row.category.to_string()));
            let entry = Some(CatalogueEntry { category, ..CatalogueEntry::default() });
            let listed = Catalogue { message_id: format!("c{number}"), item_id, updated_at: Micros(0), entry };
            records.push(Record { message: Message::Catalogue(listed), content: 0 });
            item_id
        })
    }

    /// One tick; the lists that changed, with their members as text.
    fn step(&mut self, worker: &mut Worker, records: Vec<Record>, tick: Tick) -> Vec<(Sym, String)> {
        let batches = workload::seal(worker, &mut self.dataflow, Arc::new(records), tick);
        let told = batches.iter().flat_map(SealedBatch::changes);
        let told = told.map(|(key, value)| (key.field(0).expect("a scope"), value.map_or_else(String::new, members)));
        let told: Vec<(Sym, String)> = told.collect();
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
        for (scope, members) in self.lists.iter().filter(|(_, members)| !members.is_empty()) {
            let list = scope.as_str().strip_prefix("category:").unwrap_or(scope.as_str());
            writeln!(self.out, "{minute_us},{list},{members}")?;
        }
        Ok(())
    }
}

/// The members of a published list, as the answers have them.
fn members(set: Value) -> String {
    let mut text = String::new();
    for (item, score) in bestsellers::ranked(&*set) {
        let number = item.as_str().trim_start_matches('0');
        let space = if text.is_empty() { "" } else { " " };
        write!(text, "{space}{}:{score}", if number.is_empty() { "0" } else { number }).expect("a text takes all");
    }
    text
}

/// What happened, by what it is worth; `None` for what is worth nothing that there is.
fn kind_of(amount: i64) -> Option<EventKind> {
    let kinds = [EventKind::ViewItem, EventKind::AddToCart, EventKind::Purchase];
    kinds.into_iter().find(|kind| workload::weight(*kind) == amount)
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
