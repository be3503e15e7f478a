//! The workload `sb`, seeded: clicks with Zipf-distributed items, stock that sells out.
//!
//! 500 events a second of event time, 1 % of them up to 2 s late; items Zipf 1.05 over 100,000
//! with ranks permuted; 90 % views, 7 % carts, 3 % purchases; 20 regions; category = item mod
//! 500. Every item starts with ten units. One inventory update for every 20 clicks: 30 % of them set
//! the stock of a popular item to 0; of the others half put popular items back in stock, and half
//! fall on any item. Were every event counted at once, 2.5 million lists would change for the 2.1
//! million messages of the default shape (`throughput --beside-hand` shows it).

use std::{collections::BTreeSet, sync::Arc};

use etalage_model::{
    Catalogue, CatalogueEntry, Event, EventKind, Inventory, Item, Message, Micros, Record, ScoreWeights, StockOp, Sym,
    Tick,
};
use etalage_operators::expire::{DEFAULT_MAX_BUCKETS, Phase};
use etalage_views::{PeopleOptions, ShopOptions, UnknownStock, Window, scope::Scopes};
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};

/// Events a second of event time.
pub(crate) const EVENTS_PER_S: u64 = 500;
/// The first instant of event time.
pub(crate) const START_US: u64 = 1_700_000_000_000_000;
/// An item's category is its number modulo this.
pub(crate) const CATEGORIES: usize = 500;
const REGIONS: usize = 20;
const LATE_SHARE: f64 = 0.01;
const MAX_LATE_US: u64 = 2_000_000;
const CLICKS_PER_UPDATE: u64 = 20;
/// Units of every item at the beginning.
pub(crate) const UNITS: i64 = 10;
/// The length of the window.
pub(crate) const WINDOW_US: u64 = 600_000_000;
/// The length of the lists.
pub(crate) const K: usize = 10;
const SOLD_OUT_SHARE: f64 = 0.3;
const RESTOCK_SHARE: f64 = 0.5;

/// What is drawn.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Shape {
    /// Clicks
    #[arg(long, default_value_t = 2_000_000)]
    pub events: u64,
    /// Items
    #[arg(long, default_value_t = 100_000)]
    pub items: usize,
    /// Seed
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// A generator of messages, in the order of their arrival.
pub(crate) struct Workload {
    random: ChaCha8Rng,
    zipf: Zipf<f64>,
    items: Vec<Sym>,
    regions: Vec<Sym>,
    made: u64,
}

impl Workload {
    /// The generator of a shape.
    pub(crate) fn new(shape: &Shape) -> Workload {
        let mut random = ChaCha8Rng::seed_from_u64(shape.seed);
        let mut items: Vec<Sym> = (0..shape.items).map(|at| Sym::new(&format!("i{at}"))).collect();
        items.shuffle(&mut random);
        let regions = (0..REGIONS).map(|at| Sym::new(&format!("r{at}"))).collect();
        let zipf = Zipf::new(shape.items as f64, 1.05).expect("the exponent is positive");
        Workload { random, zipf, items, regions, made: 0 }
    }

    /// What the shop knows before the first click: a category and ten units of every item.
    fn opening(items: &[Sym]) -> Vec<Record> {
        let of_item = |item: &Sym| {
            let number: usize = item.as_str()[1..].parse().unwrap_or(0);
            let category = Some(Sym::new(&format!("c{}", number % CATEGORIES)));
            let entry = CatalogueEntry { category, ..CatalogueEntry::default() };
            let message_id = format!("catalogue-{item}");
            let updated_at = Micros(START_US);
            let listed = Message::Catalogue(Catalogue { message_id, item_id: *item, updated_at, entry: Some(entry) });
            [record(listed), record(stock(format!("open-{item}"), *item, UNITS, START_US))]
        };
        items.iter().flat_map(of_item).collect()
    }

    /// The next messages: a click, and now and then an inventory update before it.
    pub(crate) fn next(&mut self, out: &mut Vec<Record>) {
        let at = START_US + self.made * 1_000_000 / EVENTS_PER_S;
        if self.made.is_multiple_of(CLICKS_PER_UPDATE) {
            let sold_out = self.random.random_bool(SOLD_OUT_SHARE);
            let item = match sold_out || self.random.random_bool(RESTOCK_SHARE) {
                true => self.popular(),
                false => self.items[self.random.random_range(0..self.items.len())],
            };
            let units = if sold_out { 0 } else { self.random.random_range(1..50) };
            out.push(record(stock(format!("s{}", self.made), item, units, at)));
        }
        let late = if self.random.random_bool(LATE_SHARE) { self.random.random_range(0..MAX_LATE_US) } else { 0 };
        let kind = match self.random.random_range(0..100) {
            0..90 => EventKind::ViewItem,
            90..97 => EventKind::AddToCart,
            _ => EventKind::Purchase,
        };
        let item = self.popular();
        let region = self.regions[self.random.random_range(0..REGIONS)];
        out.push(record(Message::Event(click(self.made, kind, item, region, at - late))));
        self.made += 1;
    }

    fn popular(&mut self) -> Sym {
        self.items[self.zipf.sample(&mut self.random) as usize - 1]
    }
}

fn record(message: Message) -> Record {
    Record { message, content: 0 }
}

fn stock(message_id: String, item_id: Sym, units: i64, at: u64) -> Message {
    let op = StockOp::Set(units);
    Message::Inventory(Inventory { message_id, item_id, location_id: None, op, version: None, occurred_at: Micros(at) })
}

fn click(number: u64, kind: EventKind, item_id: Sym, region: Sym, at: u64) -> Event {
    let item = Item {
        item_id,
        brand: None,
        category: None,
        variant: None,
        list_id: None,
        location_id: None,
        quantity: 1,
        price_micros: 9_990_000,
    };
    Event {
        message_id: format!("e{number}"),
        kind,
        name: None,
        timestamp: Micros(at),
        user_id: None,
        anonymous_id: Some(format!("v{}", number % 1_000_000)),
        previous_id: None,
        group_id: None,
        country: Some(region),
        device: None,
        language: None,
        channel: None,
        transaction_id: None,
        value_micros: None,
        coupon: None,
        search_term: None,
        items: vec![item],
    }
}

/// The views that the job needs.
const WANTED: [&str; 2] = ["item.sellable", "set.bestsellers"];

/// Every other view, as a configuration switches them off.
pub(crate) fn views_off() -> String {
    let names = etalage_views::VIEWS.iter().map(|view| view.name).filter(|name| !WANTED.contains(name));
    names.collect::<Vec<_>>().join(",")
}

/// The job's views: bestsellers by category and `global`, of the last ten minutes. Nothing else is
/// switched on.
pub(crate) fn options() -> ShopOptions {
    let off = ["item.sellable", "item.popularity", "scope.totals", "item.trend", "set.trending"];
    ShopOptions {
        windows: vec![Window { label: "10m".into(), length_us: WINDOW_US }],
        half_lives: Vec::new(),
        bucket_us: 10_000_000,
        max_buckets: DEFAULT_MAX_BUCKETS,
        phase: Phase::Spread,
        scopes: Scopes::parse(&["global".into(), "category".into()]).expect("two dimensions"),
        weights: ScoreWeights::default(),
        k: K,
        locations: BTreeSet::new(),
        unknown_stock: UnknownStock::Sellable,
        safety_threshold: 0,
        people: PeopleOptions::default(),
        off: off.map(str::to_owned).into(),
        dedup: None,
        ungated: false,
    }
}

/// Messages cut into ticks of `per_tick`: what the shop knows before, in ticks up to [`START_US`], and
/// clicks, each tick at the event time of its end.
pub(crate) fn ticks(shape: &Shape, per_tick: u64) -> impl Iterator<Item = (Tick, Arc<Vec<Record>>)> + use<> {
    let mut workload = Workload::new(shape);
    let opening = opening_ticks(&workload, per_tick as usize);
    let clicks = (1..=shape.events.div_ceil(per_tick)).map(move |tick| {
        let mut records = Vec::with_capacity(per_tick as usize + per_tick as usize / 16 + 1);
        (0..per_tick).for_each(|_| workload.next(&mut records));
        (START_US + tick * per_tick * 1_000_000 / EVENTS_PER_S, Arc::new(records))
    });
    opening.chain(clicks)
}

/// What the shop knows before, in ticks of about `per_tick` messages that end at [`START_US`].
pub(crate) fn opening_ticks(
    workload: &Workload,
    per_tick: usize,
) -> impl Iterator<Item = (Tick, Arc<Vec<Record>>)> + use<> {
    let (items, per_chunk) = (workload.items.clone(), per_tick.div_ceil(2));
    let chunks = items.len().div_ceil(per_chunk);
    (0..chunks).map(move |chunk| {
        let last = items.len().min((chunk + 1) * per_chunk);
        let records = Workload::opening(&items[chunk * per_chunk..last]);
        (START_US - (chunks - 1 - chunk) as u64, Arc::new(records))
    })
}
