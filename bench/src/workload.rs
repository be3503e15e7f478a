//! The workload `sb`, seeded: clicks with Zipf-distributed items, stock that sells out.
//!
//! Of the default shape: 500 events a second of event time, 1 % of them up to 2 s late; items Zipf 1.05
//! over 100,000 with ranks permuted; 90 % views, 7 % carts, 3 % purchases; 20 regions; category = item
//! mod 500. Every item starts with ten units. One inventory update for every 20 clicks: 30 % of them set
//! the stock of a popular item to 0; of the others half put popular items back in stock, and half
//! fall on any item. Were every event counted at once, 2.5 million lists would change for the 2.1
//! million messages of the default shape (`throughput --beside-hand` shows it).

use std::{collections::BTreeSet, sync::Arc};

use etalage_model::{
    Catalogue, CatalogueEntry, Event, EventKind, Inventory, Item, Message, Micros, Record, ScoreWeights, SealedBatch,
    StockOp, Sym, Tick,
};
use etalage_operators::expire::{DEFAULT_MAX_BUCKETS, Phase};
use etalage_views::{Dataflow, PeopleOptions, ShopOptions, UnknownStock, Window, scope::Scopes};
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};
use timely::worker::Worker;

/// Events a second of event time.
pub(crate) const EVENTS_PER_S: u64 = 500;
/// The first instant of event time.
pub(crate) const START_US: u64 = 1_700_000_000_000_000;
/// An item's category is its number modulo this.
pub(crate) const CATEGORIES: usize = 500;
const REGIONS: usize = 20;
const BRANDS: usize = 1_000;
const DEVICES: [&str; 3] = ["desktop", "mobile", "tablet"];
const LANGUAGES: [&str; 4] = ["nl", "de", "fr", "en"];
const CHANNELS: [&str; 5] = ["direct", "search", "email", "social", "affiliate"];
const CLICKS_PER_UPDATE: u64 = 20;
/// Units of every item at the beginning.
pub(crate) const UNITS: i64 = 10;
/// The length of the window.
pub(crate) const WINDOW_US: u64 = 600_000_000;
/// The length of the lists.
pub(crate) const K: usize = 10;
const RESTOCK_SHARE: f64 = 0.5;

/// What is drawn.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Shape {
    /// Clicks
    #[arg(long, default_value_t = 2_000_000)]
    pub events: u64,
    /// Items
    #[arg(long, default_value_t = 100_000, value_parser = at_least_one)]
    pub items: usize,
    /// Exponent of the Zipf distribution of items: the greater, the more of all events the most popular get
    #[arg(long, default_value_t = 1.05, value_parser = exponent)]
    pub skew: f64,
    /// The share of events that arrive late
    #[arg(long, default_value_t = 0.01, value_parser = share)]
    pub disorder: f64,
    /// How late they are at the most, in milliseconds
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub max_late_ms: u64,
    /// The share of stock updates that sell a popular item out
    #[arg(long, default_value_t = 0.3, value_parser = share)]
    pub volatility: f64,
    /// Seed
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl Default for Shape {
    /// As the command line has it where nothing is said.
    fn default() -> Shape {
        #[derive(clap::Parser)]
        struct Alone {
            #[command(flatten)]
            shape: Shape,
        }
        <Alone as clap::Parser>::parse_from(["alone"]).shape
    }
}

/// Reads a share from 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "expected a number from 0 to 1".into())
}

/// Reads how many there are.
fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "expected a whole number of at least 1".into())
}

/// Reads an exponent.
fn exponent(text: &str) -> Result<f64, String> {
    let exponent = text.parse().ok().filter(|exponent| (0.0..=10.0).contains(exponent));
    exponent.ok_or_else(|| "expected a number from 0 to 10".into())
}

/// A generator of messages, in the order of their arrival.
pub(crate) struct Workload {
    shape: Shape,
    random: ChaCha8Rng,
    zipf: Zipf<f64>,
    items: Vec<Sym>,
    regions: Vec<Sym>,
    circumstances: Vec<Circumstances>,
    made: u64,
}

impl Workload {
    /// The generator of a shape.
    pub(crate) fn new(shape: &Shape) -> Workload {
        let mut random = ChaCha8Rng::seed_from_u64(shape.seed);
        let mut items: Vec<Sym> = (0..shape.items).map(|at| Sym::new(&format!("i{at}"))).collect();
        items.shuffle(&mut random);
        let regions = (0..REGIONS).map(|at| Sym::new(&format!("r{at}"))).collect();
        let zipf = Zipf::new(shape.items as f64, shape.skew).expect("the exponent is positive");
        Workload {
            shape: shape.clone(),
            random,
            zipf,
            items,
            regions,
            circumstances: Circumstances::in_turn(),
            made: 0,
        }
    }

    /// What the shop knows before the first click: a category and ten units of every item.
    fn opening(items: &[Sym]) -> Vec<Record> {
        let of_item = |item: &Sym| {
            let number: usize = item.as_str()[1..].parse().unwrap_or(0);
            let category = Some(Sym::new(&format!("c{}", number % CATEGORIES)));
            let brand = Some(Sym::new(&format!("b{}", number % BRANDS)));
            let entry = CatalogueEntry { category, brand, ..CatalogueEntry::default() };
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
            let sold_out = self.random.random_bool(self.shape.volatility);
            let item = match sold_out || self.random.random_bool(RESTOCK_SHARE) {
                true => self.popular(),
                false => self.items[self.random.random_range(0..self.items.len())],
            };
            let units = if sold_out { 0 } else { self.random.random_range(1..50) };
            out.push(record(stock(format!("s{}", self.made), item, units, at)));
        }
        let is_late = self.random.random_bool(self.shape.disorder);
        let late = if is_late { self.random.random_range(0..self.shape.max_late_ms * 1_000) } else { 0 };
        let kind = match self.random.random_range(0..100) {
            0..90 => EventKind::ViewItem,
            90..97 => EventKind::AddToCart,
            _ => EventKind::Purchase,
        };
        let item = self.popular();
        let region = self.regions[self.random.random_range(0..REGIONS)];
        let circumstances =
            Circumstances { region, ..self.circumstances[self.made as usize % self.circumstances.len()] };
        out.push(record(Message::Event(click(self.made, kind, item, circumstances, at - late))));
        self.made += 1;
    }

    fn popular(&mut self) -> Sym {
        self.items[self.zipf.sample(&mut self.random) as usize - 1]
    }
}

fn record(message: Message) -> Record {
    Record { message, content: 0 }
}

/// So many units of an item from an instant on.
pub(crate) fn stock(message_id: String, item_id: Sym, units: i64, at: u64) -> Message {
    let op = StockOp::Set(units);
    Message::Inventory(Inventory { message_id, item_id, location_id: None, op, version: None, occurred_at: Micros(at) })
}

/// What an event says of where it happened.
#[derive(Clone, Copy)]
struct Circumstances {
    region: Sym,
    device: Sym,
    language: Sym,
    channel: Sym,
}

impl Circumstances {
    /// Devices, languages and channels in turn.
    fn in_turn() -> Vec<Circumstances> {
        let nth = |all: &[&str], at: usize| Sym::new(all[at % all.len()]);
        let each = |at| Circumstances {
            region: Sym::new("r0"),
            device: nth(&DEVICES, at),
            language: nth(&LANGUAGES, at),
            channel: nth(&CHANNELS, at),
        };
        (0..DEVICES.len() * LANGUAGES.len() * CHANNELS.len()).map(each).collect()
    }
}

fn click(number: u64, kind: EventKind, item_id: Sym, circumstances: Circumstances, at: u64) -> Event {
    Event {
        country: Some(circumstances.region),
        device: Some(circumstances.device),
        language: Some(circumstances.language),
        channel: Some(circumstances.channel),
        anonymous_id: Some(format!("v{}", number % 1_000_000)),
        ..plain_click(format!("e{number}"), kind, item_id, at)
    }
}

/// An event that says neither who it was nor where.
pub(crate) fn plain_click(message_id: String, kind: EventKind, item_id: Sym, at: u64) -> Event {
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
        message_id,
        kind,
        name: None,
        timestamp: Micros(at),
        user_id: None,
        anonymous_id: None,
        previous_id: None,
        group_id: None,
        country: None,
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

/// What is asked of the job: as a rule one window, and two scopes an event.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Job {
    /// Windows: 10m, and then 5m, 20m, 30m, 1h
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=WINDOWS.len() as i64))]
    pub windows: u8,
    /// Scopes of an event: global and category, and then country, brand, device, language, channel and category
    /// by country
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=DIMENSIONS.len() as i64))]
    pub scopes: u8,
}

impl Default for Job {
    fn default() -> Job {
        Job { windows: 1, scopes: 2 }
    }
}

impl Job {
    /// True where it is `sb`.
    pub(crate) fn is_sb(&self) -> bool {
        (self.windows, self.scopes) == (1, 2)
    }
}

const WINDOWS: [(&str, u64); 5] =
    [("10m", WINDOW_US), ("5m", WINDOW_US / 2), ("20m", 2 * WINDOW_US), ("30m", 3 * WINDOW_US), ("1h", 6 * WINDOW_US)];
const DIMENSIONS: [&str; 8] =
    ["global", "category", "country", "brand", "device", "language", "channel", "category+country"];

/// The job's views: bestsellers by category and `global`, of the last ten minutes. Nothing else is
/// switched on.
pub(crate) fn options(job: Job) -> ShopOptions {
    let windows = WINDOWS[..usize::from(job.windows)].iter();
    let dimensions = DIMENSIONS[..usize::from(job.scopes)].iter().map(|dimension| (*dimension).to_owned());
    ShopOptions {
        windows: windows.map(|(label, length_us)| Window { label: (*label).into(), length_us: *length_us }).collect(),
        half_lives: Vec::new(),
        bucket_us: 10_000_000,
        max_buckets: DEFAULT_MAX_BUCKETS,
        phase: Phase::Spread,
        scopes: Scopes::parse(&dimensions.collect::<Vec<_>>()).expect("dimensions that there are"),
        weights: ScoreWeights::default(),
        k: K,
        locations: BTreeSet::new(),
        unknown_stock: UnknownStock::Sellable,
        safety_threshold: 0,
        people: PeopleOptions::default(),
        off: etalage_views::VIEWS
            .iter()
            .map(|view| view.name)
            .filter(|name| *name != WANTED[1])
            .map(str::to_owned)
            .collect(),
        dedup: None,
        ungated: false,
    }
}

/// Lets one step of a single worker's dataflow through, and cuts it off: what changed.
pub(crate) fn seal(
    worker: &mut Worker,
    dataflow: &mut Dataflow,
    records: Arc<Vec<Record>>,
    tick: Tick,
) -> Vec<SealedBatch> {
    dataflow.send(records, tick);
    dataflow.advance(tick + 1);
    while !dataflow.has_passed(tick + 1) {
        worker.step();
    }
    dataflow.cut(tick + 1)
}

/// What an event is worth.
pub(crate) fn weight(kind: EventKind) -> i64 {
    let weights = ScoreWeights::default();
    match kind {
        EventKind::Purchase => weights.order,
        EventKind::AddToCart => weights.cart,
        _ => weights.view,
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
