//! Small shops, told one message after the other.

use std::collections::BTreeSet;

use etalage_model::{
    Catalogue, CatalogueEntry, Event, EventKind, Inventory, Item, KeyFields, KeyText, Message, Micros, ScoreWeights,
    StockOp, Sym, Tick,
};
use etalage_operators::expire::Phase;
use etalage_views::{
    PeopleOptions, ShopOptions, UnknownStock, Window, bestsellers, options::MAX_BUCKETS, popularity, scope::Scopes,
    sellable, totals, trend, trending,
};
use serde_json::Value;

use crate::harness::{Arrivals, Rows, check, record};

pub(crate) const MINUTE: u64 = 60_000_000;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;

/// Where stories begin: midnight of some day, an edge of every bucket.
pub(crate) const START: Tick = 14_945 * DAY;

/// The scopes called `names`.
pub(crate) fn scopes(names: &[&str]) -> Scopes {
    Scopes::parse(&names.iter().map(|name| name.to_string()).collect::<Vec<_>>()).expect("names of scopes")
}

/// Windows `1h` and `7d` of aligned ten-minute buckets, the half-life `1h`, the scope `global`, sets of two, the
/// default weights, unknown stock sellable.
pub(crate) fn plain() -> ShopOptions {
    let window = |label: &str, length_us| Window { label: label.into(), length_us };
    ShopOptions {
        windows: vec![window("1h", HOUR), window("7d", 7 * DAY)],
        half_lives: vec![window("1h", HOUR)],
        bucket_us: 10 * MINUTE,
        max_buckets: MAX_BUCKETS,
        phase: Phase::Aligned,
        scopes: scopes(&["global"]),
        weights: ScoreWeights::default(),
        k: 2,
        locations: BTreeSet::new(),
        unknown_stock: UnknownStock::Sellable,
        safety_threshold: 0,
        people: PeopleOptions::default(),
        off: BTreeSet::new(),
        dedup: None,
        ungated: false,
    }
}

/// An event without any detail.
pub(crate) fn event(kind: EventKind, message_id: String, at: Tick) -> Event {
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
        items: Vec::new(),
    }
}

/// One unit of an item, at 2.50.
pub(crate) fn line(item: &str) -> Item {
    Item {
        item_id: item.into(),
        brand: None,
        category: None,
        variant: None,
        list_id: None,
        location_id: None,
        quantity: 1,
        price_micros: 2_500_000,
    }
}

/// A catalogue entry in this category.
pub(crate) fn in_category(path: &[&str]) -> CatalogueEntry {
    let category = etalage_model::message::category_path(path.iter().copied());
    CatalogueEntry { category, ..CatalogueEntry::default() }
}

/// A story: what arrives, and when it is looked at. Messages arrive at the present tick and are
/// dated to it, unless they say otherwise.
pub(crate) struct Story {
    pub(crate) options: ShopOptions,
    pub(crate) arrivals: Arrivals,
    pub(crate) uppers: Vec<Tick>,
    now: Tick,
}

impl Story {
    pub(crate) fn new(options: ShopOptions) -> Story {
        Story { options, arrivals: Vec::new(), uppers: Vec::new(), now: START }
    }

    /// The present tick.
    pub(crate) fn now(&self) -> Tick {
        self.now
    }

    /// Time passes.
    pub(crate) fn wait(&mut self, span_us: u64) -> &mut Story {
        self.now += span_us;
        self
    }

    /// Cuts everything up to and with the present tick; one microsecond passes.
    pub(crate) fn cut(&mut self) -> &mut Story {
        self.now += 1;
        self.uppers.push(self.now);
        self
    }

    fn id(&self) -> String {
        format!("m{:03}", self.arrivals.len())
    }

    fn arrive(&mut self, message: Message) -> &mut Story {
        self.arrivals.push((self.now, record(message)));
        self
    }

    /// An event that is dated now, with whatever `detail` adds.
    pub(crate) fn event(&mut self, kind: EventKind, detail: impl FnOnce(&mut Event)) -> &mut Story {
        let mut event = event(kind, self.id(), self.now);
        detail(&mut event);
        self.arrive(Message::Event(event))
    }

    /// Somebody looks at an item.
    pub(crate) fn view(&mut self, item: &str) -> &mut Story {
        self.event(EventKind::ViewItem, |event| event.items.push(line(item)))
    }

    /// A message that carries these items of an order.
    pub(crate) fn purchase(&mut self, order: &str, items: &[&str]) -> &mut Story {
        self.event(EventKind::Purchase, |event| {
            event.transaction_id = Some(order.to_owned());
            event.items.extend(items.iter().map(|item| line(item)));
        })
    }

    /// An item's stock, in a shop of one location, is now so many.
    pub(crate) fn stock(&mut self, item: &str, units: i64) -> &mut Story {
        self.stock_op(item, None, StockOp::Set(units), None)
    }

    /// A stock message of any sort, dated now.
    pub(crate) fn stock_op(
        &mut self,
        item: &str,
        location: Option<&str>,
        op: StockOp,
        version: Option<u64>,
    ) -> &mut Story {
        let (item_id, location_id) = (item.into(), location.map(Sym::from));
        let (message_id, occurred_at) = (self.id(), Micros(self.now));
        self.arrive(Message::Inventory(Inventory { message_id, item_id, location_id, op, version, occurred_at }))
    }

    /// The catalogue says this of an item.
    pub(crate) fn listed(&mut self, item: &str, entry: CatalogueEntry) -> &mut Story {
        self.catalogue(item, Some(entry))
    }

    /// The item is deleted from the catalogue.
    pub(crate) fn delisted(&mut self, item: &str) -> &mut Story {
        self.catalogue(item, None)
    }

    fn catalogue(&mut self, item: &str, entry: Option<CatalogueEntry>) -> &mut Story {
        let (message_id, updated_at) = (self.id(), Micros(self.now));
        self.arrive(Message::Catalogue(Catalogue { message_id, item_id: item.into(), updated_at, entry }))
    }

    /// Plays the story on every worker count, checks every cut, and gives what was seen at each.
    pub(crate) fn check(&self) -> Vec<Seen> {
        check(&self.options, &self.arrivals, &self.uppers).into_iter().map(Seen).collect()
    }
}

/// What readers see after a cut.
pub(crate) struct Seen(Rows);

impl Seen {
    /// The row of a view under a key in path form.
    pub(crate) fn row(&self, view: &str, path: &str) -> Option<Value> {
        let pieces = path.split('/').map(etalage_model::key::unescape).collect();
        let value = self.0.get(view)?.get(&KeyFields(pieces) as &dyn KeyText)?;
        Some(serde_json::from_str(value).expect("a value is JSON"))
    }

    /// A measure of an item's popularity; 0 where there is no row.
    pub(crate) fn popularity(&self, path: &str, measure: &str) -> i64 {
        self.row(popularity::NAME, path).map_or(0, |row| row[measure].as_i64().expect("a whole number"))
    }

    /// A measure of a scope's totals; 0 where there is no row.
    pub(crate) fn totals(&self, path: &str, measure: &str) -> i64 {
        self.row(totals::NAME, path).map_or(0, |row| row[measure].as_i64().expect("a whole number"))
    }

    /// Whether an item may be shown; `None` where nothing is known of it.
    pub(crate) fn sellable(&self, path: &str) -> Option<bool> {
        self.row(sellable::NAME, path).map(|row| row["sellable"].as_bool().expect("a truth value"))
    }

    /// The instant at which the score of an item is 1, by its trend; `None` where there is no row.
    pub(crate) fn one_at(&self, path: &str) -> Option<Tick> {
        self.row(trend::NAME, path).map(|row| row["one_at_us"].as_u64().expect("an instant after 1970"))
    }

    /// The items of a set of bestsellers, in its order.
    pub(crate) fn set(&self, path: &str) -> Vec<String> {
        self.items(bestsellers::NAME, path)
    }

    /// The items that are trending, in the order of the set.
    pub(crate) fn trending(&self, path: &str) -> Vec<String> {
        self.items(trending::NAME, path)
    }

    fn items(&self, view: &str, path: &str) -> Vec<String> {
        let row = self.row(view, path);
        let entries = row.iter().flat_map(|row| row["items"].as_array().expect("a set has items"));
        entries.map(|entry| entry["item_id"].as_str().expect("an item has an id").to_owned()).collect()
    }

    /// The keys of a view, in path form.
    pub(crate) fn keys(&self, view: &str) -> Vec<String> {
        self.0.get(view).into_iter().flatten().map(|(key, _)| key.path()).collect()
    }
}
