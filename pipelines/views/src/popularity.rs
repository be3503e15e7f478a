//! `item.popularity`: what happened to an item, per scope and rolling window.
//!
//! - **Input** views, carts, purchases and refunds, by line.
//! - **Output** (scope, window, item) → measures and score. A key without anything has no row.
//! - **Time**: an event counts while its bucket ends after the tick less the window.
//! - **State bound**: one row per item, event part and bucket; one per key.
//!
//! A scope with an item half follows the item: when its category changes, its rows leave the old
//! scope and enter the new one in the same tick.

use std::{collections::BTreeMap, rc::Rc, sync::Arc};

use differential_dataflow::{
    ExchangeData,
    difference::{Abelian, Multiply},
};
use etalage_model::{Group, Key, Measures, Sym, Value};
use etalage_operators::{Collection, join_small::join_small, seal::seal_sums};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    View,
    lines::Cell,
    measures::Sum,
    options::ShopOptions,
    oracle::{self, History, json},
    parts::{Parts, Published, Sealable, Windowed},
    row_schema,
    scope::no_part,
    totals::published_micros,
};

/// The view's name.
pub const NAME: &str = "item.popularity";

/// The view.
pub const VIEW: View = View {
    name: NAME,
    group: Group::Shop,
    key_fields: &["scope", "window", "item_id"],
    about: "views, carts, orders, units, revenue, refunds and score of an item, per scope and rolling window",
    has_window_start: true,
    causes: &[],
    schema: || row_schema::<Row>(),
    build,
    oracle,
};

/// A row as readers see it.
#[derive(Debug, JsonSchema, Serialize)]
struct Row {
    views: i64,
    carts: i64,
    orders: i64,
    lines: i64,
    units: i64,
    revenue_micros: i64,
    refund_lines: i64,
    refund_units: i64,
    refund_micros: i64,
    score: i64,
}

fn row(measures: &Measures, options: &ShopOptions) -> Row {
    Row {
        views: measures.views,
        carts: measures.carts,
        orders: measures.orders,
        lines: measures.lines,
        units: measures.units,
        revenue_micros: published_micros(measures.revenue_micros),
        refund_lines: measures.refund_lines,
        refund_units: measures.refund_units,
        refund_micros: published_micros(measures.refund_micros),
        score: options.score(measures),
    }
}

fn build<'scope>(parts: &Parts<'scope>) -> Box<dyn Sealable<'scope> + 'scope> {
    let options = Rc::clone(&parts.options);
    let rows = scoped(parts, parts.windowed(), "Popularity by scope");
    let publish = move |(scope, window, item): (Sym, u8, Sym), sum: Option<Sum>| {
        let value = sum.map(|Sum(measures)| Arc::new(row(&measures, &options)) as Value);
        (Key::new(&[scope, options.label(window), item]), value)
    };
    Box::new(Published { sealing: seal_sums(rows, NAME, |(_, _, item)| *item), publish: Box::new(publish) })
}

/// What was counted per (scope, window, item): under event parts as it is, under item parts by a join
/// with the places of the item, by an operator called `name`.
pub(crate) fn scoped<'scope, R>(
    parts: &Parts<'scope>,
    windowed: Windowed<'scope, R>,
    name: &'static str,
) -> Collection<'scope, (Sym, u8, Sym), R>
where
    R: ExchangeData + Abelian + Multiply<isize, Output = R>,
{
    let scopes = parts.options.scopes.clone();
    let alone = windowed.clone().flat_map({
        let scopes = scopes.clone();
        move |(cell, window)| scopes.scope(&cell.part, &no_part()).map(|scope| (scope, window, cell.item))
    });
    if !scopes.has_item_parts() {
        return alone;
    }
    let by_item = windowed.map(|(Cell { item, part }, window)| (item, (part, window)));
    let placed = join_small(by_item, parts.places(), parts.wiring(name), move |item, (part, window), place| {
        scopes.scope(part, place).map(|scope| (scope, *window, *item))
    });
    alone.concat(placed)
}

/// The rows of every (scope, window, item), plainly: used by the oracles of this view and of sets.
pub fn plain_rows(history: &History<'_>) -> BTreeMap<(Sym, u8, Sym), Measures> {
    let windows = history.options.expiry(history.options.phase);
    let places = oracle::places(history);
    let mut rows: BTreeMap<(Sym, u8, Sym), (Measures, std::collections::BTreeSet<&str>)> = BTreeMap::new();
    for (event, item, measures) in oracle::lines(history) {
        let phase_us = windows.phase_us(&item.item_id);
        let scopes = oracle::scopes(&history.options.scopes, event, places.get(&item.item_id));
        for window in 0..windows.len() {
            if !windows.holds(window, phase_us, event.timestamp.0, history.tick) {
                continue;
            }
            for scope in &scopes {
                let (sum, orders) = rows.entry((*scope, window as u8, item.item_id)).or_default();
                sum.add(&measures);
                if measures.lines > 0 {
                    orders.insert(event.transaction_id.as_deref().unwrap_or(&event.message_id));
                }
            }
        }
    }
    let counted = rows.into_iter().map(|(key, (sum, orders))| (key, Measures { orders: orders.len() as i64, ..sum }));
    counted.collect()
}

fn oracle(history: &History<'_>) -> BTreeMap<Key, String> {
    let options = history.options;
    let published = |((scope, window, item), measures): ((Sym, u8, Sym), Measures)| {
        (Key::new(&[scope, options.label(window), item]), json(&row(&measures, options)))
    };
    plain_rows(history).into_iter().map(published).collect()
}
