//! `set.bestsellers`: the first K sellable items of a scope and rolling window, by score.
//!
//! - **Input** scores per item and window, or, where `item.popularity` is off, what happened to items; places
//!   of items, stock.
//! - **Output** (scope, window) → up to K items by (score descending, item id ascending), each
//!   with what is available; a scope without any has no row.
//! - **Time**: at every tick no set holds an item that is not sellable at that tick. An item that
//!   sells out leaves and its successor enters in one update; a restock brings it back at once.
//! - **State bound**: a score per item, event part and window; an order near the cut; where `item.popularity`
//!   is off, a row per item, event part and bucket.

use std::{cmp::Reverse, collections::BTreeMap, rc::Rc, sync::Arc};

use etalage_model::{Group, Key, Sym, Value, ViewValue, Written};
use etalage_operators::{
    Collection,
    expire::Windows,
    inflow::Inflow,
    lanes::Lanes,
    seal::seal_differences,
    top_k::{Feed, Ranking, TopK, TopKOptions},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use crate::{
    View,
    options::UnknownStock,
    oracle::{History, json},
    parts::{Parts, RankFeed},
    popularity::plain_rows,
    row_schema,
    scope::{Part, no_part},
    sealed::{Published, Sealable},
    sellable::plain_stock,
};

/// The view's name.
pub const NAME: &str = "set.bestsellers";

/// The view.
pub const VIEW: View = View {
    name: NAME,
    group: Group::Shop,
    key_fields: &["scope", "window"],
    about: "the first K sellable items of a scope and rolling window, by score",
    has_window_start: false,
    causes: &[],
    schema: || row_schema::<Row>(),
    read: Written::known::<WrittenRow>,
    build,
    oracle,
};

/// Whose sets there are: event part, item part, and window or half-life.
pub(crate) type Set = (Part, Part, u8);

/// Items with score and what is available of each.
pub(crate) type Items = Ranking<Sym, Option<i64>>;

/// A set as readers see it.
#[derive(Debug, JsonSchema, Serialize)]
struct Row {
    #[serde(serialize_with = "entries")]
    #[schemars(with = "Vec<Entry>")]
    items: Items,
}

#[derive(JsonSchema, Serialize)]
struct Entry {
    #[schemars(with = "String")]
    item_id: Sym,
    score: i64,
    available: Option<i64>,
}

/// What is looked at of a set that another process has made.
#[derive(Deserialize)]
struct WrittenRow {
    items: Vec<WrittenEntry>,
}

#[derive(Deserialize)]
struct WrittenEntry {
    item_id: Sym,
    score: i64,
}

fn entries<S: Serializer>(items: &Items, serializer: S) -> Result<S::Ok, S::Error> {
    let entry = |(item_id, score, available): &(Sym, i64, Option<i64>)| Entry {
        item_id: *item_id,
        score: *score,
        available: *available,
    };
    serializer.collect_seq(items.iter().map(entry))
}

/// The items of a published set, in its order.
pub fn items(value: &dyn ViewValue) -> impl Iterator<Item = Sym> + use<'_> {
    ranked(value).map(|(item_id, _)| item_id)
}

/// The items of a published set with their scores, in its order.
pub fn ranked(value: &dyn ViewValue) -> impl Iterator<Item = (Sym, i64)> + use<'_> {
    let made = value.as_any().downcast_ref::<Row>().into_iter();
    let made = made.flat_map(|row| row.items.iter().map(|(item_id, score, _)| (*item_id, *score)));
    let written = value.as_any().downcast_ref::<WrittenRow>().into_iter();
    made.chain(written.flat_map(|row| row.items.iter().map(|entry| (entry.item_id, entry.score))))
}

fn build<'scope>(parts: &Parts<'scope>) -> Box<dyn Sealable<'scope> + 'scope> {
    let options = Arc::clone(&parts.options);
    let (scores, windows) = parts.scores();
    let sets = sets(parts, scores, windows, options.windows.len(), "Bestsellers");
    let publish = move |(part, place, window): Set, list: Option<Items>| {
        let scope = options.scopes.scope(&part, &place).expect("a group is a scope");
        let value = list.map(|items| Arc::new(Row { items }) as Value);
        (Key::new(&[scope, options.label(window)]), value)
    };
    Published::rows(seal_differences(sets, NAME, |set| *set), publish)
}

/// The first K sellable items of each scope by `scores`, which must be of items by event part, in so many
/// lanes; with `windows`, by what happened in each.
pub(crate) fn sets<'scope>(
    parts: &Parts<'scope>,
    scores: Inflow<'scope, RankFeed, Lanes<i64>>,
    windows: Option<Windows>,
    lanes: usize,
    name: &'static str,
) -> Collection<'scope, (Set, Items)> {
    let options = &parts.options;
    let scopes = options.scopes.clone();
    let top_k = TopKOptions {
        k: options.k,
        lanes,
        windows,
        everywhere: vec![no_part()],
        is_group: Rc::new(move |part: &Part, place: &Part| scopes.is_scope(part, place)),
        without_gate: options.without_gate(),
        tie: |item: &Sym| item.prefix(),
    };
    let places = options.scopes.has_item_parts().then(|| {
        Inflow::of(parts.places(), |(item, place), diff: &isize| {
            (Feed::Place(*item, *place), Lanes::one(0, *diff as i64))
        })
    });
    let ungated = options.ungated;
    let gates = Inflow::of(parts.stock(), move |(item, stock), diff: &isize| {
        (Feed::Gate(*item, (stock.sellable || ungated).then_some(stock.available)), Lanes::one(0, *diff as i64))
    });
    let feed = places.into_iter().fold(scores.and(gates), Inflow::and);
    // Scores that another operator tells are told again; what happened within windows is known here alone.
    let wiring = if top_k.windows.is_some() { parts.kept(name) } else { parts.wiring(name) };
    feed.top_k(top_k, wiring)
}

fn oracle(history: &History<'_>) -> BTreeMap<Key, String> {
    let options = history.options;
    let scores = plain_rows(history).into_iter().map(|(key, measures)| (key, options.score(&measures)));
    let published = |((scope, window), items): ((Sym, u8), Vec<(Sym, i64, Option<i64>)>)| {
        (Key::new(&[scope, options.label(window)]), json(&Row { items: items.into() }))
    };
    plain_sets(history, scores).into_iter().map(published).collect()
}

/// The sets that scores by (scope, window or half-life, item) make, plainly.
pub(crate) fn plain_sets(
    history: &History<'_>,
    scores: impl IntoIterator<Item = ((Sym, u8, Sym), i64)>,
) -> BTreeMap<(Sym, u8), Vec<(Sym, i64, Option<i64>)>> {
    let options = history.options;
    let stock = plain_stock(history);
    let mut sets: BTreeMap<(Sym, u8), Vec<(Sym, i64, Option<i64>)>> = BTreeMap::new();
    for ((scope, number, item), score) in scores {
        let known = stock.get(&item).map(|(whole, _)| *whole);
        let sellable = known.map_or(options.unknown_stock == UnknownStock::Sellable, |stock| stock.sellable);
        if sellable && score > 0 {
            sets.entry((scope, number)).or_default().push((item, score, known.and_then(|stock| stock.available)));
        }
    }
    for items in sets.values_mut() {
        items.sort_by_key(|(item, score, _)| (Reverse(*score), *item));
        items.truncate(options.k);
    }
    sets
}
