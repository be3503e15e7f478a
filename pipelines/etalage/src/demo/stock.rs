//! Simulated stock: every item starts with some, each sale takes from it, an item that is sold
//! out gets more some hours later. The data has no stock levels; that items sell out is the
//! point of a demonstration.

use std::{cmp::Reverse, collections::BTreeMap, collections::BinaryHeap};

use etalage_model::{Micros, Record, StockOp, Sym};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{data::Facts, message};

/// Days on which the shop of the data sold anything.
const ACTIVE_DAYS: i64 = 305;
/// What an item starts with, in tenths of a day's sales: little, so that much sells out soon.
const INITIAL_TENTHS: std::ops::Range<i64> = 2..40;
/// What a delivery brings, in days of sales.
const DELIVERY_DAYS: std::ops::Range<i64> = 1..7;
/// How long a delivery takes.
const DELIVERY_HOURS: std::ops::Range<u64> = 2..14;
/// The least that an item starts with, and the least that a delivery brings.
const LEAST_UNITS: i64 = 6;

const MINUTE_US: u64 = 60_000_000;

/// The levels of all items.
pub(super) struct Stock {
    /// Item → (units available, units sold on an average day).
    levels: BTreeMap<Sym, Level>,
    /// What has been ordered: when it comes, for which item, how much.
    deliveries: BinaryHeap<Reverse<(Micros, Sym, i64)>>,
    next_number: u64,
}

struct Level {
    available: i64,
    per_day: i64,
    is_ordered: bool,
}

impl Stock {
    /// The levels at the beginning, and the messages that set them.
    pub(super) fn new(at: Micros, facts: &BTreeMap<String, Facts>, random: &mut ChaCha8Rng) -> (Stock, Vec<Record>) {
        let mut stock = Stock { levels: BTreeMap::new(), deliveries: BinaryHeap::new(), next_number: 0 };
        let mut messages = Vec::with_capacity(facts.len());
        for (code, facts) in facts {
            let item = Sym::new(code);
            let per_day = (facts.units / ACTIVE_DAYS).max(1);
            let available = LEAST_UNITS.max(per_day * random.random_range(INITIAL_TENTHS) / 10);
            stock.levels.insert(item, Level { available, per_day, is_ordered: false });
            messages.push(stock.message("stock", at, item, StockOp::Set(available)));
        }
        (stock, messages)
    }

    /// Takes `units` of an item, at most what is there: what more was sold in the data came from
    /// elsewhere. Gives the change of stock, where there is one.
    pub(super) fn take(&mut self, at: Micros, item: Sym, units: i64, random: &mut ChaCha8Rng) -> Option<Record> {
        let level = self.levels.get_mut(&item)?;
        let taken = units.min(level.available);
        if taken <= 0 {
            return None;
        }
        level.available -= taken;
        if level.available == 0 && !level.is_ordered {
            level.is_ordered = true;
            let units = LEAST_UNITS.max(level.per_day * random.random_range(DELIVERY_DAYS));
            let minutes = random.random_range(DELIVERY_HOURS.start * 60..DELIVERY_HOURS.end * 60);
            // Off the minute, so that a delivery never coincides with a row of the data.
            let comes = at.plus(minutes * MINUTE_US + random.random_range(1..MINUTE_US));
            self.deliveries.push(Reverse((comes, item, units)));
        }
        Some(self.message("sold", at, item, StockOp::Delta(-taken)))
    }

    /// Puts found units on the shelf.
    pub(super) fn put(&mut self, at: Micros, item: Sym, units: i64) -> Option<Record> {
        self.levels.get_mut(&item)?.available += units;
        Some(self.message("found", at, item, StockOp::Delta(units)))
    }

    /// When the next delivery comes.
    pub(super) fn next_delivery(&self) -> Option<Micros> {
        self.deliveries.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes the next delivery in.
    pub(super) fn deliver(&mut self) -> Option<(Micros, Record)> {
        let Reverse((at, item, units)) = self.deliveries.pop()?;
        let level = self.levels.get_mut(&item)?;
        level.is_ordered = false;
        level.available += units;
        let available = level.available;
        Some((at, self.message("delivery", at, item, StockOp::Set(available))))
    }

    fn message(&mut self, what: &str, at: Micros, item: Sym, op: StockOp) -> Record {
        self.next_number += 1;
        message::stock(what, self.next_number, at, item, op)
    }
}
