//! `set.trending`: the first K sellable items of a scope and half-life, hottest first.
//!
//! - **Input** ranks of items by half-life (`item.trend`), places of items, stock.
//! - **Output** (scope, half-life) → up to K items by (instant at which the score is 1 descending, item id
//!   ascending), each with what is available; a scope without any has no row.
//! - **Time**: as in `set.bestsellers`: at every tick no set holds an item that is not sellable at that
//!   tick. Time alone overtakes nobody: all scores fade alike.
//! - **State bound**: a rank per item, event part and half-life; an order near the cut.

use std::{collections::BTreeMap, sync::Arc};

use etalage_model::{Group, Key, Sym, Value, ViewValue, Written};
use etalage_operators::{decay::HalfLives, inflow::Inflow, lanes::Lanes, seal::seal_differences, top_k::Feed};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    View,
    bestsellers::{Items, Set, plain_sets, sets},
    oracle::{History, json},
    parts::Parts,
    row_schema,
    sealed::{Published, Sealable},
    trend::plain_ranks,
};

/// The view's name.
pub const NAME: &str = "set.trending";

/// The view.
pub const VIEW: View = View {
    name: NAME,
    group: Group::Shop,
    key_fields: &["scope", "half_life"],
    about: "the first K sellable items of a scope by a score that is halved after each half-life",
    has_window_start: false,
    causes: &[],
    schema: || row_schema::<Row>(),
    read: Written::known::<WrittenRow>,
    build,
    oracle,
};

/// A set as readers see it.
#[derive(Debug, JsonSchema, Serialize)]
struct Row {
    items: Vec<Entry>,
}

#[derive(Debug, JsonSchema, Serialize)]
struct Entry {
    #[schemars(with = "String")]
    item_id: Sym,
    /// The instant at which the score is 1, as in `item.trend`.
    one_at_us: i64,
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
}

fn row(half_lives: &HalfLives, half_life: u8, items: &[(Sym, i64, Option<i64>)]) -> Row {
    let entry = |(item_id, rank, available): &(Sym, i64, Option<i64>)| {
        let one_at_us = half_lives.one_at_us(usize::from(half_life), *rank);
        Entry { item_id: *item_id, one_at_us, available: *available }
    };
    Row { items: items.iter().map(entry).collect() }
}

/// The items of a published set, in its order.
pub fn items(value: &dyn ViewValue) -> impl Iterator<Item = Sym> + use<'_> {
    let made = value.as_any().downcast_ref::<Row>().into_iter();
    let made = made.flat_map(|row| row.items.iter().map(|entry| entry.item_id));
    let written = value.as_any().downcast_ref::<WrittenRow>().into_iter();
    made.chain(written.flat_map(|row| row.items.iter().map(|entry| entry.item_id)))
}

fn build<'scope>(parts: &Parts<'scope>) -> Box<dyn Sealable<'scope> + 'scope> {
    let (options, half_lives) = (Arc::clone(&parts.options), parts.options.decay());
    let ranks = Inflow::of(parts.trends(), |cell, ranks: &Lanes<i64>| (Feed::Score((*cell).into()), ranks.clone()));
    let sets = sets(parts, ranks, None, options.half_lives.len(), "Trending");
    let publish = move |(part, place, half_life): Set, list: Option<Items>| {
        let scope = options.scopes.scope(&part, &place).expect("a group is a scope");
        let value = list.map(|items| Arc::new(row(&half_lives, half_life, &items)) as Value);
        (Key::new(&[scope, options.half_life_label(half_life)]), value)
    };
    Published::rows(seal_differences(sets, NAME, |set| *set), publish)
}

fn oracle(history: &History<'_>) -> BTreeMap<Key, String> {
    let (options, half_lives) = (history.options, history.options.decay());
    let published = |((scope, half_life), items): ((Sym, u8), Vec<(Sym, i64, Option<i64>)>)| {
        (Key::new(&[scope, options.half_life_label(half_life)]), json(&row(&half_lives, half_life, &items)))
    };
    plain_sets(history, plain_ranks(history)).into_iter().map(published).collect()
}
