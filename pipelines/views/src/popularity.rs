//! `item.popularity`: what happened to an item, per scope and rolling window.
//!
//! - **Input** views, carts, purchases and refunds, by line.
//! - **Output** (scope, window, item) → measures and score. A key without anything has no row.
//! - **Time**: an event counts while its bucket ends after the tick less the window.
//! - **State bound**: one row per item, event part and bucket; per item and event part its sums by window.
//!
//! A scope with an item half follows the item: when its category changes, its rows leave the old
//! scope and enter the new one in the same tick.

use std::{collections::BTreeMap, sync::Arc};

use etalage_model::{Group, Key, Measures, Sym, Value, Written};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    View,
    measures::Sum,
    options::ShopOptions,
    oracle::{self, History, json},
    parts::Parts,
    row_schema,
    sealed::{Sealable, Shows},
    totals::{held_micros, published_micros},
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
    read: Written::text,
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
        revenue_micros: held_micros(measures.revenue_micros),
        refund_lines: measures.refund_lines,
        refund_units: measures.refund_units,
        refund_micros: held_micros(measures.refund_micros),
        score: options.score(measures),
    }
}

fn build<'scope>(parts: &Parts<'scope>) -> Box<dyn Sealable<'scope> + 'scope> {
    let options = Arc::clone(&parts.options);
    let value = move |_, sum: &Sum| Arc::new(row(&sum.measures(), &options)) as Value;
    let shows = Shows { labels: parts.options.labels().collect(), value: Arc::new(value), watch: count_overflows };
    parts.by_scope(parts.windowed(), NAME, shows)
}

/// Counts money that does not fit where it is published, once for all scopes. Rows are made whenever they
/// are read.
fn count_overflows(sum: &Sum) {
    for micros in sum.money_micros() {
        published_micros(micros);
    }
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
