//! `profile.purchases`: the last K orders of a customer.
//!
//! - **Input** purchases, and refunds that name their transaction.
//! - **Output** profile → up to K orders, the newest first: by the time of their last message.
//! - **Time** plays no part but that of order.

use std::{cmp::Reverse, collections::BTreeMap};

use etalage_model::{Event, EventKind, Group, Item, Key, Micros, Written, hash::hash128};
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
pub const NAME: &str = "profile.purchases";

/// The view.
pub const VIEW: View = View {
    name: NAME,
    group: Group::Customer,
    key_fields: KEY_FIELDS,
    about: "the last orders of a customer, with what was returned of each",
    has_window_start: false,
    causes: &[EventKind::Purchase, EventKind::Refund],
    schema: || row_schema::<Row>(),
    read: Written::text,
    build: |parts| super::build(parts, Feature::Purchases, NAME),
    oracle,
};

/// A row as readers see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
pub struct Row {
    orders: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
struct Entry {
    /// As the purchase names it; the messageId of one that names none.
    transaction_id: String,
    #[serde(with = "instant")]
    #[schemars(with = "String")]
    ordered_at: Micros,
    lines: i64,
    units: i64,
    spend_micros: i64,
    refund_units: i64,
    refund_micros: i64,
}

/// The row of a person.
pub fn row(orders: &Orders) -> Option<Row> {
    let entries = orders.newest().filter_map(|order| {
        let (_, ordered_at) = order.dated?;
        Some(Entry {
            transaction_id: order.name.to_string(),
            ordered_at,
            lines: order.bought.lines,
            units: order.bought.units,
            spend_micros: published_micros(order.bought.micros),
            refund_units: order.refunded.units,
            refund_micros: published_micros(order.refunded.micros),
        })
    });
    let orders: Vec<Entry> = entries.collect();
    (!orders.is_empty()).then_some(Row { orders })
}

fn plain_row(events: &[&Event], most: usize) -> Option<Row> {
    let mut orders: Vec<(Micros, u128, Entry)> = Vec::new();
    for (name, order) in plain_orders(events) {
        let (bought, refunded): (Vec<&Item>, Vec<&Item>) = (
            order.bought.iter().flat_map(|event| &event.items).collect(),
            order.refunded.iter().flat_map(|event| &event.items).collect(),
        );
        let dated = order.bought.iter().filter(|event| !event.items.is_empty()).map(|event| event.timestamp).max();
        let Some(ordered_at) = dated else { continue };
        let entry = Entry {
            transaction_id: name.to_owned(),
            ordered_at,
            lines: bought.len() as i64,
            units: bought.iter().map(|item| item.quantity).sum(),
            spend_micros: published_micros(bought.iter().map(|item| item.amount_micros()).sum()),
            refund_units: refunded.iter().map(|item| item.quantity).sum(),
            refund_micros: published_micros(refunded.iter().map(|item| item.amount_micros()).sum()),
        };
        orders.push((ordered_at, hash128(name.as_bytes()), entry));
    }
    orders.sort_by_key(|(at, id, _)| Reverse((*at, *id)));
    orders.truncate(most);
    (!orders.is_empty()).then(|| Row { orders: orders.into_iter().map(|(_, _, entry)| entry).collect() })
}

fn oracle(history: &History<'_>) -> BTreeMap<Key, String> {
    let most = history.options.people.purchases;
    plainly(history, |_, events| plain_row(events, most))
}
