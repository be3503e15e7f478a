//! The job `sb` as an engineer writes it for this job alone: one thread, one ordered set per list,
//! one queue of what expires. Plainly; it is what rates are compared with.
//!
//! Every message counts at once: a score changes, two sets are reordered, and a list whose first ten
//! are others is written out whole, as text. An event leaves exactly ten minutes after it happened.
//! It knows nothing of what etalage must do besides: no distinct orders, locations or catalogue, no
//! retraction, no second window, no recovery. Its messages are 40 bytes with numbers for names, where
//! etalage is given whole records.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, VecDeque},
    fs::File,
    io::{BufRead, BufReader, Write},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use etalage_model::{EventKind, Message, StockOp};

use crate::{
    peer,
    workload::{self, CATEGORIES, K, Shape, UNITS, WINDOW_US},
};

/// Where the list of all items stands, behind those of the categories.
const GLOBAL: usize = CATEGORIES;
/// Text is dropped when there is so much of it.
const MAX_TEXT_BYTES: usize = 1 << 16;

/// A message as this job needs it.
#[derive(Clone, Copy)]
pub(crate) struct Input {
    tick_us: u64,
    happened_us: u64,
    item: u32,
    change: Change,
}

impl Input {
    /// A row of a file that `etalage-bench generate --format csv` has written.
    pub(crate) fn of(row: &peer::Row) -> Input {
        let change = if row.is_stock { Change::Stock(row.amount) } else { Change::Score(row.amount) };
        Input { tick_us: row.arrival_us, happened_us: row.at_us, item: row.item, change }
    }
}

#[derive(Clone, Copy)]
enum Change {
    Score(i64),
    Stock(i64),
}

/// The messages of a shape in the order of their arrival, without the opening.
pub(crate) fn input(shape: &Shape) -> Vec<Input> {
    let number = |item: etalage_model::Sym| item.as_str()[1..].parse().expect("items are numbered");
    let each = |(tick_us, records): (u64, std::sync::Arc<Vec<etalage_model::Record>>)| {
        let of_record = |record: &etalage_model::Record| match &record.message {
            Message::Event(event) => {
                let score = workload::weight(event.kind);
                let item = number(event.items[0].item_id);
                Some(Input { tick_us, happened_us: event.timestamp.0, item, change: Change::Score(score) })
            }
            Message::Inventory(stock) => {
                let StockOp::Set(units) = stock.op else { return None };
                let (happened_us, item) = (stock.occurred_at.0, number(stock.item_id));
                Some(Input { tick_us, happened_us, item, change: Change::Stock(units) })
            }
            Message::Catalogue(_) => None,
        };
        records.iter().filter_map(of_record).collect::<Vec<_>>()
    };
    let clicks = workload::ticks(shape, 1).skip_while(|(tick, _)| *tick <= workload::START_US);
    clicks.flat_map(each).collect()
}

/// The lists, and all they are made of.
pub(crate) struct Hand {
    scores: Vec<i64>,
    stock: Vec<i64>,
    lists: Vec<List>,
    /// What is still counted, by the time at which it happened.
    counted: VecDeque<(u64, u32, i64)>,
    text: Vec<u8>,
    /// How many lists were written.
    pub(crate) written: usize,
}

#[derive(Default)]
struct List {
    order: BTreeSet<(Reverse<i64>, u32)>,
    /// The first ten as they were written last.
    first: Vec<(Reverse<i64>, u32)>,
}

impl Hand {
    /// The shop before the first message.
    pub(crate) fn new(shape: &Shape) -> Hand {
        Hand::of_items(shape.items)
    }

    /// A shop of so many items, ten of each; more are added as they come, none of them in stock.
    pub(crate) fn of_items(items: usize) -> Hand {
        Hand {
            scores: vec![0; items],
            stock: vec![UNITS; items],
            lists: (0..=GLOBAL).map(|_| List::default()).collect(),
            counted: VecDeque::new(),
            text: Vec::with_capacity(2 * MAX_TEXT_BYTES),
            written: 0,
        }
    }

    /// Takes one message.
    pub(crate) fn take(&mut self, input: &Input) {
        self.expire(input.tick_us);
        if self.scores.len() <= input.item as usize {
            self.scores.resize(input.item as usize + 1, 0);
            self.stock.resize(input.item as usize + 1, 0);
        }
        match input.change {
            Change::Score(score) => {
                let late = self.counted.iter().rev().take_while(|(at, ..)| *at > input.happened_us).count();
                self.counted.insert(self.counted.len() - late, (input.happened_us, input.item, score));
                self.add(input.item, score);
            }
            Change::Stock(units) => {
                let before = std::mem::replace(&mut self.stock[input.item as usize], units);
                let score = self.scores[input.item as usize];
                let shown = |units: i64| if units > 0 { score } else { 0 };
                self.rank(input.item, shown(before), shown(units));
            }
        }
    }

    /// Lets what happened ten minutes before go.
    pub(crate) fn expire(&mut self, tick_us: u64) {
        while let Some((_, item, score)) = self.counted.pop_front_if(|(at, ..)| *at + WINDOW_US <= tick_us) {
            self.add(item, -score);
        }
    }

    /// The lists as they are: name, and scores with items.
    pub(crate) fn lists(&self) -> impl Iterator<Item = (String, Vec<(i64, u32)>)> {
        self.lists.iter().enumerate().map(|(at, list)| {
            let name = if at == GLOBAL { "global".to_owned() } else { at.to_string() };
            (name, list.first.iter().map(|(Reverse(score), item)| (*score, *item)).collect())
        })
    }

    fn add(&mut self, item: u32, more: i64) {
        let before = self.scores[item as usize];
        self.scores[item as usize] += more;
        if self.stock[item as usize] > 0 {
            self.rank(item, before, before + more);
        }
    }

    /// Moves an item within its two lists; who has no score is in none.
    fn rank(&mut self, item: u32, before: i64, after: i64) {
        if before == after {
            return;
        }
        for at in [item as usize % CATEGORIES, GLOBAL] {
            let list = &mut self.lists[at];
            if before > 0 {
                list.order.remove(&(Reverse(before), item));
            }
            if after > 0 {
                list.order.insert((Reverse(after), item));
            }
            let last = list.first.get(K - 1).map_or(0, |(Reverse(score), _)| *score);
            if before.max(after) >= last && !list.order.iter().take(K).eq(&list.first) {
                list.first.clear();
                list.first.extend(list.order.iter().take(K));
                self.written += 1;
                write_list(&mut self.text, at, &list.first);
            }
        }
    }
}

fn write_list(text: &mut Vec<u8>, list: usize, first: &[(Reverse<i64>, u32)]) {
    if text.len() > MAX_TEXT_BYTES {
        std::hint::black_box(&mut *text).clear();
    }
    let wrote = write!(text, "{list}")
        .and_then(|()| first.iter().try_for_each(|(Reverse(score), item)| write!(text, " i{item}:{score}")));
    wrote.and_then(|()| writeln!(text)).expect("a vector takes all");
}

/// A line of a file that `etalage-bench generate --format jsonl` has written, as this job needs it.
#[derive(serde::Deserialize)]
struct Line<'a> {
    event: Option<&'a str>,
    timestamp: Option<&'a str>,
    occurred_at: Option<&'a str>,
    item_id: Option<&'a str>,
    available: Option<i64>,
    #[serde(borrow)]
    properties: Option<Properties<'a>>,
}

#[derive(serde::Deserialize)]
struct Properties<'a> {
    #[serde(borrow)]
    items: Vec<LineItem<'a>>,
}

#[derive(serde::Deserialize)]
struct LineItem<'a> {
    item_id: &'a str,
}

/// Reads a file of JSON lines and takes all of it, each message as of its own time; how long that takes. A
/// line of the catalogue says nothing that this job does not know.
pub(crate) fn take_json_lines(shape: &Shape, path: &Path) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let (mut hand, mut tick_us) = (Hand::new(shape), 0);
    for line in BufReader::with_capacity(1 << 20, File::open(path)?).lines() {
        let line = line?;
        let line: Line<'_> = serde_json::from_str(&line)?;
        let Some(at) = line.timestamp.or(line.occurred_at) else { continue };
        let happened_us = at.parse::<jiff::Timestamp>()?.as_microsecond() as u64;
        let change = match (line.event, line.available) {
            (_, Some(units)) => Change::Stock(units),
            (Some("purchase"), _) => Change::Score(workload::weight(EventKind::Purchase)),
            (Some("add_to_cart"), _) => Change::Score(workload::weight(EventKind::AddToCart)),
            _ => Change::Score(workload::weight(EventKind::ViewItem)),
        };
        let item = line.properties.and_then(|properties| Some(properties.items.first()?.item_id)).or(line.item_id);
        let item = item.context("a message is about an item")?[1..].parse()?;
        tick_us = happened_us.max(tick_us);
        hand.take(&Input { tick_us, happened_us, item, change });
    }
    std::hint::black_box(hand.written);
    Ok(began.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lists at the end are those of a plain count over all messages.
    #[test]
    fn the_lists_are_those_of_a_plain_count() {
        let shape = Shape { events: 400_000, items: 2_000, seed: 3, ..Shape::default() };
        let all = input(&shape);
        let mut hand = Hand::new(&shape);
        all.iter().for_each(|input| hand.take(input));
        let end_us = all.last().expect("a message").tick_us;
        let (mut scores, mut stock) = (vec![0; shape.items], vec![UNITS; shape.items]);
        for input in &all {
            match input.change {
                Change::Score(score) if input.happened_us + WINDOW_US > end_us => scores[input.item as usize] += score,
                Change::Score(_) => {}
                Change::Stock(units) => stock[input.item as usize] = units,
            }
        }
        for at in 0..=GLOBAL {
            let is_in = |item: &usize| at == GLOBAL || item % CATEGORIES == at;
            let shown = (0..shape.items).filter(|item| is_in(item) && stock[*item] > 0 && scores[*item] > 0);
            let mut expected: Vec<_> = shown.map(|item| (Reverse(scores[item]), item as u32)).collect();
            expected.sort();
            expected.truncate(K);
            assert_eq!(hand.lists[at].first, expected, "list {at}");
        }
        assert!(hand.written > 10_000 && stock.contains(&0));
    }
}
