//! `profile.snapshot`: everything that is published of a profile, at one tick.
//!
//! - **Input** the other views of the profile.
//! - **Output** profile → their rows, each under its name; null where there is none.
//! - **Time** is that of the other views: it changes in the tick in which one of them does.

use std::{collections::BTreeMap, sync::Arc};

use etalage_model::{Group, Key, Written};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KEY_FIELDS, activity, affinity, cart, customer_status, purchases, recent_views, value};
use crate::{
    View,
    oracle::History,
    people::rows::{Feature, Profiled},
    row_schema,
};

/// The view's name.
pub const NAME: &str = "profile.snapshot";

/// The view.
pub const VIEW: View = View {
    name: NAME,
    group: Group::Customer,
    key_fields: KEY_FIELDS,
    about: "everything that is published of a profile, at one tick",
    has_window_start: false,
    causes: super::BEHAVIOUR,
    schema: || row_schema::<Row>(),
    read: Written::text,
    build: |parts| super::build(parts, Feature::Snapshot, NAME),
    oracle,
};

/// A row as readers see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
pub struct Row {
    customer_status: Option<Arc<customer_status::Row>>,
    value: Option<Arc<value::Row>>,
    purchases: Option<Arc<purchases::Row>>,
    recent_views: Option<Arc<recent_views::Row>>,
    affinity: Option<Arc<affinity::Row>>,
    activity: Option<Arc<activity::Row>>,
    cart: Option<Arc<cart::Row>>,
}

/// The row of a profile with these rows.
pub fn row(features: &[Option<Profiled>]) -> Option<Row> {
    let mut row = Row::default();
    for feature in features.iter().flatten().cloned() {
        match feature {
            Profiled::Value(value) => row.value = Some(value),
            Profiled::Purchases(purchases) => row.purchases = Some(purchases),
            Profiled::RecentViews(views) => row.recent_views = Some(views),
            Profiled::Affinity(affinity) => row.affinity = Some(affinity),
            Profiled::CustomerStatus(status) => row.customer_status = Some(status),
            Profiled::Activity(activity) => row.activity = Some(activity),
            Profiled::Cart(cart) => row.cart = Some(cart),
            Profiled::Snapshot(_) => {}
        }
    }
    (row != Row::default()).then_some(row)
}

/// The names under which the rows of other views stand.
const PARTS: [(&str, &View); 7] = [
    ("customer_status", &customer_status::VIEW),
    ("value", &value::VIEW),
    ("purchases", &purchases::VIEW),
    ("recent_views", &recent_views::VIEW),
    ("affinity", &affinity::VIEW),
    ("activity", &activity::VIEW),
    ("cart", &cart::VIEW),
];

fn oracle(history: &History<'_>) -> BTreeMap<Key, String> {
    let parts = PARTS.map(|(name, view)| (name, (view.oracle)(history)));
    let profiles: std::collections::BTreeSet<&Key> = parts.iter().flat_map(|(_, rows)| rows.keys()).collect();
    let row = |key: &Key| {
        let field = |(name, rows): &(&str, BTreeMap<Key, String>)| {
            format!("\"{name}\":{}", rows.get(key).map_or("null", String::as_str))
        };
        (key.clone(), format!("{{{}}}", parts.iter().map(field).collect::<Vec<_>>().join(",")))
    };
    profiles.into_iter().map(row).collect()
}
