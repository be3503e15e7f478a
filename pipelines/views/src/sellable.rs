//! `item.sellable`: what is available of an item, and whether it may be shown.
//!
//! - **Input** inventory and catalogue messages.
//! - **Output** `{"item_id"}` → available over the locations that sets count (all, unless the
//!   configuration names some), and, where messages name locations, `{"item_id","location_id"}` →
//!   available there. Sellable is: available above the safety threshold, and not withdrawn.
//! - **Time** plays no part but that of order: per (item, location) the greatest `set` by
//!   (version, occurred_at, messageId), with the deltas ordered after it.
//! - **State bound**: per (item, location) the changes since the greatest `set`.
//!
//! Deltas without a `set` leave the stock unknown, and so does an item that only the catalogue
//! knows: its `available` is null, and the policy for unknown stock decides.

use std::{collections::BTreeMap, sync::Arc};

use etalage_model::{CatalogueEntry, Group, Key, Message, Record, StockOp, Sym, Value, ViewValue, Written};
use etalage_operators::{
    Collection,
    inflow::Inflow,
    reduce::ReduceSmall,
    seal::seal_values,
    upsert::{Op, Upsert, UpsertOptions},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    View,
    attributes::entry_in_force,
    options::{ShopOptions, UnknownStock},
    oracle::{History, json},
    parts::Parts,
    row_schema,
    sealed::{Published, Sealable},
};

/// The view's name.
pub const NAME: &str = "item.sellable";

/// The view.
pub const VIEW: View = View {
    name: NAME,
    group: Group::Shop,
    key_fields: &["item_id", "location_id"],
    about: "units available of an item, in all and by location, and whether it may be shown",
    has_window_start: false,
    causes: &[],
    schema: || row_schema::<Row>(),
    read: Written::known::<WrittenRow>,
    build,
    oracle,
};

/// Order among the changes of one (item, location): version, occurred_at, messageId.
type Order = (u64, u64, Box<str>);

/// An item and, except for the sum over its locations, a location.
pub(crate) type ItemAt = (Sym, Option<Sym>);

/// What is known of an item's stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stock {
    /// Units; `None` where nobody has told.
    pub available: Option<i64>,
    /// Whether it may be shown.
    pub sellable: bool,
}

/// A row as readers see it.
#[derive(Debug, JsonSchema, Serialize)]
struct Row {
    available: Option<i64>,
    availability: &'static str,
    sellable: bool,
}

/// What is looked at of a row that another process has made.
#[derive(Deserialize)]
struct WrittenRow {
    sellable: bool,
}

/// What the catalogue says about selling an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Terms {
    threshold: Option<i64>,
    withdrawn: bool,
}

/// What decides about an item: its terms, and its stock by location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Fact {
    Terms(Terms),
    At(Option<Sym>, i64),
}

impl Stock {
    fn of(available: Option<i64>, terms: Option<Terms>, options: &ShopOptions) -> Stock {
        let threshold = terms.and_then(|terms| terms.threshold).unwrap_or(options.safety_threshold);
        let enough = available.map_or(options.unknown_stock == UnknownStock::Sellable, |units| units > threshold);
        Stock { available, sellable: enough && !terms.is_some_and(|terms| terms.withdrawn) }
    }

    fn row(self) -> Row {
        let availability = if self.sellable { "in_stock" } else { "out_of_stock" };
        Row { available: self.available, availability, sellable: self.sellable }
    }
}

/// Whether a published row of this view says that the item may be shown; `None` for a value of
/// another view.
pub fn is_sellable(value: &dyn ViewValue) -> Option<bool> {
    let written = || value.as_any().downcast_ref::<WrittenRow>().map(|row| row.sellable);
    value.as_any().downcast_ref::<Row>().map(|row| row.sellable).or_else(written)
}

fn build<'scope>(parts: &Parts<'scope>) -> Box<dyn Sealable<'scope> + 'scope> {
    let whole = parts.stock().map(|(item, stock)| ((item, None), stock));
    let options = Arc::clone(&parts.options);
    let of_locations = move |_item: &Sym, facts: &[(Fact, isize)], out: &mut Vec<(Sym, Stock)>| {
        let (terms, at) = split(facts);
        let named = at.filter_map(|(location, units)| location.map(|location| (location, units)));
        out.extend(named.map(|(location, units)| (location, Stock::of(Some(units), terms, &options))));
    };
    let by_location = facts(parts).reduce_small(parts.wiring("Stock by location"), |item| *item, of_locations);
    let rows = whole.concat(by_location.map(|(item, (location, stock))| ((item, Some(location)), stock)));
    let publish = |(item, location): ItemAt, stock: Option<Stock>| {
        let value = stock.map(|stock| Arc::new(stock.row()) as Value);
        (key(item, location), value)
    };
    Published::rows(seal_values(rows, NAME, |(item, _)| *item), publish)
}

fn key(item: Sym, location: Option<Sym>) -> Key {
    match location {
        None => Key::new(&[item]),
        Some(location) => Key::new(&[item, location]),
    }
}

/// Stock and sellability of each item over the locations that sets count.
pub fn stock<'scope>(parts: &Parts<'scope>) -> Collection<'scope, (Sym, Stock)> {
    let options = Arc::clone(&parts.options);
    let of_item = move |_item: &Sym, facts: &[(Fact, isize)], out: &mut Vec<Stock>| {
        let (terms, at) = split(facts);
        out.push(Stock::of(total(at, &options), terms, &options));
    };
    facts(parts).reduce_small(parts.wiring("Stock by item"), |item| *item, of_item)
}

/// Units by item and location, where some `set` tells them.
pub(crate) fn units<'scope>(parts: &Parts<'scope>) -> Collection<'scope, (ItemAt, i64)> {
    let options = UpsertOptions {
        keep_superseded: crate::attributes::KEEP_SUPERSEDED,
        add: |sum: &mut i64, more: &i64| *sum = sum.saturating_add(*more),
    };
    parts.found_once(stock_changes).upsert(options, parts.kept("Stock"), |(item, _)| *item)
}

/// What decides about each item: its terms, and its stock by location.
fn facts<'scope>(parts: &Parts<'scope>) -> Inflow<'scope, (Sym, Fact)> {
    let terms = |(item, entry): &(Sym, CatalogueEntry), diff: &isize| ((*item, Fact::Terms(Terms::of(entry))), *diff);
    let at = |((item, location), units): &(ItemAt, i64), diff: &isize| ((*item, Fact::At(*location, *units)), *diff);
    Inflow::of(parts.units(), at).and(Inflow::of(parts.catalogue(), terms))
}

impl Terms {
    fn of(entry: &CatalogueEntry) -> Terms {
        Terms { threshold: entry.safety_threshold, withdrawn: entry.withdrawn }
    }
}

/// An item's terms, and its stock by location: there is at most one fact of each.
fn split(facts: &[(Fact, isize)]) -> (Option<Terms>, impl Iterator<Item = (Option<Sym>, i64)>) {
    let terms = facts.iter().find_map(|(fact, _)| if let Fact::Terms(terms) = fact { Some(*terms) } else { None });
    let at = facts.iter().filter_map(|(fact, _)| match fact {
        Fact::At(location, units) => Some((*location, *units)),
        Fact::Terms(_) => None,
    });
    (terms, at)
}

/// The sum over the locations that count; unknown where none of them is known.
fn total(at: impl Iterator<Item = (Option<Sym>, i64)>, options: &ShopOptions) -> Option<i64> {
    let counts = |location: &Option<Sym>| {
        options.locations.is_empty() || location.is_some_and(|location| options.locations.contains(&location))
    };
    at.filter(|(location, _)| counts(location)).map(|(_, units)| units).reduce(i64::saturating_add)
}

fn stock_changes(batch: &[Record]) -> Vec<(ItemAt, (Order, Op<i64>))> {
    let changes = batch.iter().filter_map(|record| match &record.message {
        Message::Inventory(stock) => {
            let order = (stock.version.unwrap_or(0), stock.occurred_at.0, stock.message_id.as_str().into());
            let op = match stock.op {
                StockOp::Set(units) => Op::Set(units),
                StockOp::Delta(units) => Op::Add(units),
            };
            Some(((stock.item_id, stock.location_id), (order, op)))
        }
        _ => None,
    });
    changes.collect()
}

/// Stock and sellability of each item, plainly: used by the oracles of this view and of sets.
pub fn plain_stock(history: &History<'_>) -> BTreeMap<Sym, (Stock, BTreeMap<Sym, Stock>)> {
    let mut changes: BTreeMap<ItemAt, Vec<((u64, u64, &str), StockOp)>> = BTreeMap::new();
    let mut terms: BTreeMap<Sym, (u64, &str, Terms)> = BTreeMap::new();
    for message in history.messages() {
        match message {
            Message::Inventory(stock) => {
                let order = (stock.version.unwrap_or(0), stock.occurred_at.0, stock.message_id.as_str());
                changes.entry((stock.item_id, stock.location_id)).or_default().push((order, stock.op));
            }
            Message::Catalogue(item) => {
                let newer = terms
                    .get(&item.item_id)
                    .is_none_or(|(at, id, _)| (*at, *id) < (item.updated_at.0, &item.message_id));
                if newer {
                    let known = Terms::of(&entry_in_force(item));
                    terms.insert(item.item_id, (item.updated_at.0, &item.message_id, known));
                }
            }
            Message::Event(_) => {}
        }
    }
    let mut units: BTreeMap<Sym, BTreeMap<Option<Sym>, i64>> = BTreeMap::new();
    for ((item, location), mut changes) in changes {
        changes.sort();
        let last_set = changes.iter().rposition(|(_, op)| matches!(op, StockOp::Set(_)));
        if let Some(last_set) = last_set {
            let sum = changes[last_set..].iter().map(|(_, op)| match op {
                StockOp::Set(units) | StockOp::Delta(units) => *units,
            });
            units.entry(item).or_default().insert(location, sum.sum());
        }
    }
    let items = terms.keys().chain(units.keys()).copied().collect::<std::collections::BTreeSet<Sym>>();
    let of_item = |item: Sym| {
        let (at, terms) = (units.get(&item).cloned().unwrap_or_default(), terms.get(&item).map(|known| known.2));
        let whole = Stock::of(
            total(at.iter().map(|(location, units)| (*location, *units)), history.options),
            terms,
            history.options,
        );
        let named = at.iter().filter_map(|(location, units)| location.map(|location| (location, *units)));
        let by_location = named.map(|(location, units)| (location, Stock::of(Some(units), terms, history.options)));
        (item, (whole, by_location.collect()))
    };
    items.into_iter().map(of_item).collect()
}

fn oracle(history: &History<'_>) -> BTreeMap<Key, String> {
    let mut rows = BTreeMap::new();
    for (item, (whole, by_location)) in plain_stock(history) {
        rows.insert(key(item, None), json(&whole.row()));
        rows.extend(by_location.into_iter().map(|(location, stock)| (key(item, Some(location)), json(&stock.row()))));
    }
    rows
}
