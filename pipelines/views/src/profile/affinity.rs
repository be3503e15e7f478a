//! `profile.affinity`: the categories and brands that somebody is drawn to.
//!
//! - **Input** views, carts, purchases and refunds, weighed as in scores (a line of a purchase as much
//!   as an order), whose items state a category or a brand.
//! - **Output** profile → up to K categories and K brands, the greatest share first, then by name.
//!   Shares are of the weights of all categories, or brands, of the person, in millionths.
//! - **Time**: a weight halves with every half-life, all at once, so that shares stay the same by time
//!   alone, until something is forgotten after 32 of them.

use std::collections::BTreeMap;

use etalage_model::{Event, EventKind, Group, Item, Key, ScoreWeights, Sym, Written};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KEY_FIELDS, plainly};
use crate::{
    View,
    oracle::History,
    people::{
        affinity::{Share, plain_top},
        rows::Feature,
    },
    row_schema,
};

/// The view's name.
pub const NAME: &str = "profile.affinity";

/// The view.
pub const VIEW: View = View {
    name: NAME,
    group: Group::Customer,
    key_fields: KEY_FIELDS,
    about: "the categories and brands that somebody is drawn to, by decayed weight",
    has_window_start: false,
    causes: WEIGHED,
    schema: || row_schema::<Row>(),
    read: Written::text,
    build: |parts| super::build(parts, Feature::Affinity, NAME),
    oracle,
};

/// A row as readers see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
pub struct Row {
    categories: Vec<Category>,
    brands: Vec<Brand>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
struct Category {
    #[schemars(with = "String")]
    category: Sym,
    share_ppm: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
struct Brand {
    #[schemars(with = "String")]
    brand: Sym,
    share_ppm: i64,
}

/// What weighs anything.
const WEIGHED: &[EventKind] = &[EventKind::ViewItem, EventKind::AddToCart, EventKind::Purchase, EventKind::Refund];

/// What a line of an event weighs.
pub fn weight(kind: EventKind, weights: &ScoreWeights) -> i64 {
    match kind {
        EventKind::ViewItem => weights.view,
        EventKind::AddToCart => weights.cart,
        EventKind::Purchase => weights.order,
        EventKind::Refund => weights.refund,
        _ => 0,
    }
}

/// The row of a person.
pub fn row(categories: Vec<Share>, brands: Vec<Share>) -> Option<Row> {
    if categories.is_empty() && brands.is_empty() {
        return None;
    }
    let category = |share: Share| Category { category: share.label, share_ppm: share.share_ppm };
    let brand = |share: Share| Brand { brand: share.label, share_ppm: share.share_ppm };
    Some(Row {
        categories: categories.into_iter().map(category).collect(),
        brands: brands.into_iter().map(brand).collect(),
    })
}

fn oracle(history: &History<'_>) -> BTreeMap<Key, String> {
    let (options, tick) = (history.options, history.tick);
    let top = |events: &[&Event], label: fn(&Item) -> Option<Sym>| {
        let lines = events.iter().flat_map(|event| event.items.iter().map(move |item| (event, item)));
        let happened: Vec<(Sym, u64, i64)> = lines
            .filter_map(|(event, item)| Some((label(item)?, event.timestamp.0, weight(event.kind, &options.weights))))
            .collect();
        plain_top(&happened, options.people.affinity, tick, options.people.affinity_half_life_us)
    };
    plainly(history, |_, events| row(top(events, |item| item.category), top(events, |item| item.brand)))
}
