//! `item.viewers`: how many distinct people looked at an item.
//!
//! - **Input** `view_item` events of people who can be told apart, places of items.
//! - **Output** (scope, window, item) → people. A key without any has no row.
//! - **Time**: as in `item.popularity`, by the latest event of each person.
//! - **State bound**: a time per person, item and event part within the longest window; a row per item,
//!   event part and bucket.

use std::{collections::BTreeMap, sync::Arc};

use etalage_model::{EventKind, Group, Key, Value, Written};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    View,
    oracle::{History, json},
    parts::Parts,
    people::rows::{LOOKED, Row as Told},
    row_schema,
    sealed::Sealable,
};

/// The view's name.
pub const NAME: &str = "item.viewers";

/// The view.
pub const VIEW: View = View {
    name: NAME,
    group: Group::Customer,
    key_fields: &["scope", "window", "item_id"],
    about: "how many distinct people looked at an item, per scope and rolling window",
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
    viewers: i64,
}

fn build<'scope>(parts: &Parts<'scope>) -> Box<dyn Sealable<'scope> + 'scope> {
    let latest = parts.people().rows(LOOKED).flat_map(|row| match row {
        Told::Looked(cell, at) => Some((cell, at)),
        _ => None,
    });
    super::by_item(parts, latest, NAME, "Viewers by item", |viewers| Arc::new(Row { viewers }) as Value)
}

fn oracle(history: &History<'_>) -> BTreeMap<Key, String> {
    let rows = super::plain_by_item(history, EventKind::ViewItem).into_iter();
    let key = |(scope, window, item)| Key::new(&[scope, history.options.label(window), item]);
    rows.map(|(place, viewers)| (key(place), json(&Row { viewers }))).collect()
}
