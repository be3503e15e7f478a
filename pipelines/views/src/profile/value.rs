//! `profile.value`: what a customer is worth.
//!
//! - **Input** purchases and refunds.
//! - **Output** profile → orders (distinct transactions), lines, units and money bought and returned,
//!   distinct items bought, first and last order, the average order. Gross: returns are told apart.
//! - **Time** plays no part: everything since the beginning counts.

use std::collections::BTreeMap;

use etalage_model::{Event, EventKind, Group, Key, Micros, Written};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KEY_FIELDS, plainly};
use crate::{
    View,
    oracle::History,
    people::{
        instant,
        orders::{Orders, plain_orders},
        rows::Feature,
    },
    row_schema,
    totals::published_micros,
};

/// The view's name.
pub const NAME: &str = "profile.value";

/// The view.
pub const VIEW: View = View {
    name: NAME,
    group: Group::Customer,
    key_fields: KEY_FIELDS,
    about: "orders, units, money and returns of a customer since the beginning",
    has_window_start: false,
    causes: &[EventKind::Purchase, EventKind::Refund],
    schema: || row_schema::<Row>(),
    read: Written::text,
    build: |parts| super::build(parts, Feature::Value, NAME),
    oracle,
};

/// A row as readers see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
pub struct Row {
    orders: i64,
    lines: i64,
    units: i64,
    spend_micros: i64,
    refund_lines: i64,
    refund_units: i64,
    refund_micros: i64,
    distinct_items: i64,
    #[serde(with = "instant::maybe")]
    #[schemars(with = "Option<String>")]
    first_order: Option<Micros>,
    #[serde(with = "instant::maybe")]
    #[schemars(with = "Option<String>")]
    last_order: Option<Micros>,
    /// What was spent, divided by orders, rounded down; null without orders.
    average_order_micros: Option<i64>,
}

/// The row of a person.
pub fn row(orders: &Orders) -> Option<Row> {
    let (bought, refunded) = (&orders.bought, &orders.refunded);
    (orders.count > 0 || refunded.lines > 0).then(|| Row {
        orders: orders.count,
        lines: bought.lines,
        units: bought.units,
        spend_micros: published_micros(bought.micros),
        refund_lines: refunded.lines,
        refund_units: refunded.units,
        refund_micros: published_micros(refunded.micros),
        distinct_items: orders.distinct_items,
        first_order: orders.dated.map(|(first, _)| first),
        last_order: orders.dated.map(|(_, last)| last),
        average_order_micros: bought.micros.checked_div(orders.count.into()).map(published_micros),
    })
}

fn plain_row(events: &[&Event]) -> Option<Row> {
    let of = |kind| events.iter().copied().filter(move |event| event.kind == kind && !event.items.is_empty());
    let items = |kind| of(kind).flat_map(|event| &event.items);
    let (bought, refunded) = (|| items(EventKind::Purchase), || items(EventKind::Refund));
    if bought().next().is_none() && refunded().next().is_none() {
        return None;
    }
    let orders = plain_orders(events).values().filter(|order| order.bought.iter().any(|e| !e.items.is_empty())).count();
    let spend: i128 = bought().map(|item| item.amount_micros()).sum();
    let distinct: std::collections::BTreeSet<_> = bought().map(|item| item.item_id).collect();
    Some(Row {
        orders: orders as i64,
        lines: bought().count() as i64,
        units: bought().map(|item| item.quantity).sum(),
        spend_micros: published_micros(spend),
        refund_lines: refunded().count() as i64,
        refund_units: refunded().map(|item| item.quantity).sum(),
        refund_micros: published_micros(refunded().map(|item| item.amount_micros()).sum()),
        distinct_items: distinct.len() as i64,
        first_order: of(EventKind::Purchase).map(|event| event.timestamp).min(),
        last_order: of(EventKind::Purchase).map(|event| event.timestamp).max(),
        average_order_micros: spend.checked_div(orders as i128).map(published_micros),
    })
}

fn oracle(history: &History<'_>) -> BTreeMap<Key, String> {
    plainly(history, |_, events| plain_row(events))
}
