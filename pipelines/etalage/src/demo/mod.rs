//! The demonstration's messages: the real Online Retail data, and around it a seeded simulation
//! of what that data lacks.
//!
//! | real | simulated |
//! |---|---|
//! | every invoice line: purchases, cancellations, write-offs, with item, price, customer, country, time | views and carts, shortly before each line and at random |
//! | titles | categories, guessed from the words of the title |
//! | | stock: levels at the start, what sales take, deliveries |
//!
//! What is simulated has an id that begins with [`LABEL`]. Messages come in the order of their
//! times, made as they are taken, in bounded memory (half an hour of them); the same seed gives
//! the same messages.

mod category;
mod data;
mod message;
mod stock;
mod visitors;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use etalage_model::{
    Event, EventKind, Message, Micros, Record, StockOp, Sym, decode::online_retail::Reader, money::Currencies,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

pub use category::{OTHER, guess};
pub use data::{ATTRIBUTION, NON_ITEMS};
pub use message::LABEL;

use stock::Stock;
use visitors::{LEAD_US, Visitors};

/// The seed where none is given.
pub const DEFAULT_SEED: u64 = 1;

/// The messages of the demonstration; see the module.
pub struct Demo {
    real: Reader<data::Rows>,
    /// The next message of the data.
    next_real: Option<Record>,
    start: Micros,
    /// When the next one comes who only looks.
    next_visit: Option<Micros>,
    stock: Stock,
    visitors: Visitors,
    random: ChaCha8Rng,
    /// What is made and not yet taken, the earliest on top.
    ready: BinaryHeap<Reverse<Ready>>,
    made: u64,
    /// Reused by what makes several messages at once.
    scratch: Vec<(Micros, Record)>,
}

/// A message that is ready; those of equal time in the order in which they were made.
struct Ready {
    place: (Micros, u64),
    record: Record,
}

impl Demo {
    /// The messages for `seed`, amounts in the shop's currency.
    pub fn new(seed: u64, currencies: &Currencies) -> Demo {
        let facts = data::facts();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut real = data::messages(currencies);
        let next_real = next_message(&mut real);
        let start = next_real.as_ref().map_or(Micros::default(), |record| record.message.at()).minus(LEAD_US);
        let (stock, levels) = Stock::new(start, &facts, &mut random);
        let items = facts.iter().map(|(code, facts)| (Sym::new(code), facts.price_micros, facts.lines));
        let mut demo = Demo {
            real,
            next_real,
            start,
            next_visit: Some(start),
            stock,
            visitors: Visitors::new(items),
            random,
            ready: BinaryHeap::new(),
            made: 0,
            scratch: Vec::new(),
        };
        for (record, (code, facts)) in levels.into_iter().zip(&facts) {
            let category = guess(&facts.title);
            demo.push(start, message::catalogue(start, Sym::new(code), &facts.title, category));
            demo.push(start, record);
        }
        demo
    }

    /// When the first message happens: half an hour before the first invoice.
    pub fn start(&self) -> Micros {
        self.start
    }

    fn push(&mut self, at: Micros, record: Record) {
        self.made += 1;
        self.ready.push(Reverse(Ready { place: (at, self.made), record }));
    }

    /// Takes the next message of the data in, with what is simulated around it.
    fn take_real(&mut self, record: Record) {
        let at = record.message.at();
        match record.message {
            Message::Event(ref event) if event.kind == EventKind::Purchase => {
                self.simulate_purchase(event);
                self.push(at, record);
            }
            // What the data writes off or finds is bounded by the simulated level.
            Message::Inventory(ref real) => {
                let changed = match real.op {
                    StockOp::Delta(units) if units < 0 => self.stock.take(at, real.item_id, -units, &mut self.random),
                    StockOp::Delta(units) => self.stock.put(at, real.item_id, units),
                    StockOp::Set(_) => None,
                };
                if let Some(changed) = changed {
                    self.push(at, changed);
                }
            }
            _ => self.push(at, record),
        }
        self.next_real = next_message(&mut self.real);
    }

    fn simulate_purchase(&mut self, event: &Event) {
        let mut made = std::mem::take(&mut self.scratch);
        let mut units: BTreeMap<Sym, i64> = BTreeMap::new();
        for line in &event.items {
            self.visitors.before(event, line, &mut self.random, &mut made);
            *units.entry(line.item_id).or_default() += line.quantity;
        }
        for (at, record) in made.drain(..) {
            self.push(at, record);
        }
        self.scratch = made;
        for (item, units) in units {
            if let Some(changed) = self.stock.take(event.timestamp, item, units, &mut self.random) {
                self.push(event.timestamp, changed);
            }
        }
    }

    fn take_visit(&mut self, at: Micros) {
        let mut made = std::mem::take(&mut self.scratch);
        self.visitors.visit(at, &mut self.random, &mut made);
        for (at, record) in made.drain(..) {
            self.push(at, record);
        }
        self.scratch = made;
        let next = Visitors::next_visit(at, &mut self.random);
        // With the data everything ends.
        self.next_visit = self.next_real.is_some().then_some(next);
    }
}

impl Iterator for Demo {
    type Item = (Micros, Record);

    fn next(&mut self) -> Option<(Micros, Record)> {
        loop {
            // What is ready comes first up to this time: whatever is made later is dated later.
            let at_ready = self.ready.peek().map(|Reverse(ready)| ready.place.0);
            let at_real = self.next_real.as_ref().map(|record| record.message.at().minus(LEAD_US));
            let at_delivery = self.stock.next_delivery();
            let is_before = |at: Option<Micros>, others: &[Option<Micros>]| {
                at.is_some_and(|at| others.iter().flatten().all(|other| at <= *other))
            };
            if is_before(at_ready, &[at_real, self.next_visit, at_delivery]) {
                return self.ready.pop().map(|Reverse(ready)| (ready.place.0, ready.record));
            }
            if is_before(self.next_visit, &[at_real, at_delivery])
                && let Some(at) = self.next_visit
            {
                self.take_visit(at);
            } else if is_before(at_delivery, &[self.next_real.as_ref().map(|record| record.message.at())]) {
                if let Some((at, record)) = self.stock.deliver() {
                    self.push(at, record);
                }
            } else {
                let record = self.next_real.take()?;
                self.take_real(record);
            }
        }
    }
}

/// The next message; what the data has of bad lines is none.
fn next_message(real: &mut Reader<data::Rows>) -> Option<Record> {
    real.by_ref().find_map(Result::ok)
}

impl PartialEq for Ready {
    fn eq(&self, other: &Ready) -> bool {
        self.place == other.place
    }
}
impl Eq for Ready {}
impl PartialOrd for Ready {
    fn partial_cmp(&self, other: &Ready) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Ready {
    fn cmp(&self, other: &Ready) -> std::cmp::Ordering {
        self.place.cmp(&other.place)
    }
}

#[cfg(test)]
mod tests;
