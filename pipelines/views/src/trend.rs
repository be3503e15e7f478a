//! `item.trend`: how hot an item is, per scope and half-life.
//!
//! - **Input** views, carts, orders and refunds, weighed as in the score.
//! - **Output** (scope, half-life, item) → the instant at which its score is 1. What happens counts half
//!   as much after each half-life; the score at any instant `t` is `2^((one_at − t) / half-life)`. So
//!   of two items the one with the later instant is hotter, now and at any time, and a row changes
//!   only when something happens to the item. An item whose score is not above 0 has no row.
//! - **Time**: an order counts at its latest time. What happened is let go after 33 half-lives, when
//!   less than one part in 2^32 of it is left ([`etalage_operators::decay`]).
//! - **State bound**: per item, event part and half-life a sum for each half-life that counts, and a
//!   rank.
//!
//! Scopes with an item half follow the item, as in `item.popularity`.

use std::{collections::BTreeMap, sync::Arc};

use etalage_model::{Group, Key, Measures, Sym, Value, Written};
use etalage_operators::decay::Sum;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    View,
    oracle::{self, History, json},
    parts::Parts,
    row_schema,
    sealed::{Sealable, Shows},
};

/// The view's name.
pub const NAME: &str = "item.trend";

/// The view.
pub const VIEW: View = View {
    name: NAME,
    group: Group::Shop,
    key_fields: &["scope", "half_life", "item_id"],
    about: "when the score of an item, halved after each half-life, is down to 1, per scope: the later, the hotter",
    has_window_start: false,
    causes: &[],
    schema: || row_schema::<Row>(),
    read: Written::text,
    build,
    oracle,
};

/// A row as readers see it.
#[derive(Debug, JsonSchema, Serialize)]
struct Row {
    /// The instant at which the score is 1, in microseconds since 1970 (negative before); the score at an
    /// instant `t` is 2^((one_at_us - t) / half_life).
    one_at_us: i64,
}

fn build<'scope>(parts: &Parts<'scope>) -> Box<dyn Sealable<'scope> + 'scope> {
    let half_lives = parts.options.decay();
    let value = move |half_life: u8, rank: &i64| {
        let one_at_us = half_lives.one_at_us(usize::from(half_life), *rank);
        Arc::new(Row { one_at_us }) as Value
    };
    let labels = parts.options.half_life_labels().collect();
    parts.by_scope(parts.trends(), NAME, Shows { labels, value: Arc::new(value), watch: |_| () })
}

/// The rank of every (scope, half-life, item) that has one, plainly: used by the oracles of this view and
/// of sets.
pub fn plain_ranks(history: &History<'_>) -> BTreeMap<(Sym, u8, Sym), i64> {
    let (options, half_lives) = (history.options, history.options.decay());
    let places = oracle::places(history);
    // What happened in each scope to each item: when, and what it weighs.
    let mut happened: BTreeMap<(Sym, Sym), Vec<(u64, i64)>> = BTreeMap::new();
    let mut orders: BTreeMap<(Sym, Sym, &str), u64> = BTreeMap::new();
    for (event, item, measures) in oracle::lines(history) {
        let at = event.timestamp.0;
        for scope in oracle::scopes(&options.scopes, event, places.get(&item.item_id)) {
            happened.entry((scope, item.item_id)).or_default().push((at, options.score(&measures)));
            if measures.lines > 0 {
                let order = event.transaction_id.as_deref().unwrap_or(&event.message_id);
                let latest = orders.entry((scope, item.item_id, order)).or_default();
                *latest = at.max(*latest);
            }
        }
    }
    let one_order = options.score(&Measures { orders: 1, ..Default::default() });
    for ((scope, item, _), at) in orders {
        happened.entry((scope, item)).or_default().push((at, one_order));
    }
    let mut ranks = BTreeMap::new();
    for ((scope, item), happened) in happened {
        let phase = half_lives.phase(&item);
        for which in 0..half_lives.len() {
            let mut by_number: BTreeMap<u64, i64> = BTreeMap::new();
            for (at, weight) in happened.iter().filter(|(at, _)| half_lives.holds(which, phase, *at, history.tick)) {
                *by_number.entry(half_lives.number(which, *at)).or_default() += weight * half_lives.weight(which, *at);
            }
            let sum = |(number, sum)| Sum { which: which as u8, number, sum };
            let rank = half_lives.rank(which, &by_number.into_iter().map(sum).collect::<Vec<_>>());
            ranks.extend((rank > 0).then_some(((scope, which as u8, item), rank)));
        }
    }
    ranks
}

fn oracle(history: &History<'_>) -> BTreeMap<Key, String> {
    let half_lives = history.options.decay();
    let published = |((scope, half_life, item), rank): ((Sym, u8, Sym), i64)| {
        let row = Row { one_at_us: half_lives.one_at_us(usize::from(half_life), rank) };
        (Key::new(&[scope, history.options.half_life_label(half_life), item]), json(&row))
    };
    plain_ranks(history).into_iter().map(published).collect()
}
