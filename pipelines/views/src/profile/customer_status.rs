//! `profile.customer_status`: prospect, new, or existing customer.
//!
//! - **Input** every event of a person.
//! - **Output** profile → `prospect` without orders, `new` with one, `existing` with more. An order
//!   that was returned as a whole, by refunds that name its transaction, is none.
//! - **Time** plays no part: the next order, a return or a merge changes it at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use etalage_model::{Event, EventKind, Group, Key, Written};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KEY_FIELDS, plainly};
use crate::{
    View,
    oracle::History,
    people::{orders::plain_orders, rows::Feature},
    row_schema,
};

/// The view's name.
pub const NAME: &str = "profile.customer_status";

/// The view.
pub const VIEW: View = View {
    name: NAME,
    group: Group::Customer,
    key_fields: KEY_FIELDS,
    about: "whether somebody is a prospect, a new customer, or an existing one",
    has_window_start: false,
    causes: &[EventKind::Purchase, EventKind::Refund],
    schema: || row_schema::<Row>(),
    read: Written::text,
    build: |parts| super::build(parts, Feature::CustomerStatus, NAME),
    oracle,
};

/// A row as readers see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
pub struct Row {
    status: Status,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Prospect,
    New,
    Existing,
}

/// The three rows that there are.
static ROWS: LazyLock<[Arc<Row>; 3]> =
    LazyLock::new(|| [Status::Prospect, Status::New, Status::Existing].map(|status| Arc::new(Row { status })));

/// The row of a person with so many standing orders.
pub fn row(orders: i64) -> Arc<Row> {
    Arc::clone(&ROWS[orders.clamp(0, 2) as usize])
}

fn plain_row(events: &[&Event]) -> Row {
    let status = match plain_orders(events).values().filter(|order| order.stands()).count() {
        0 => Status::Prospect,
        1 => Status::New,
        _ => Status::Existing,
    };
    Row { status }
}

fn oracle(history: &History<'_>) -> BTreeMap<Key, String> {
    plainly(history, |_, events| Some(plain_row(events)))
}
