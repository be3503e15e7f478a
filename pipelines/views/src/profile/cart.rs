//! `cart.state`: what is in somebody's cart, on whatever device.
//!
//! - **Input** `add_to_cart`, `remove_from_cart`, `purchase`.
//! - **Output** profile → lines by item and variant; no row where nothing is in it. See
//!   [`crate::people::cart`] for the fold.
//! - **Time** plays no part but that of order.

use std::collections::BTreeMap;

use etalage_model::{EventKind, Group, Key, Micros, Sym, Written};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KEY_FIELDS, plainly};
use crate::{
    View,
    oracle::History,
    people::{
        cart::{Content, Line, plain_fold},
        instant,
        rows::Feature,
    },
    row_schema,
    totals::published_micros,
};

/// The view's name.
pub const NAME: &str = "cart.state";

/// The view.
pub const VIEW: View = View {
    name: NAME,
    group: Group::Customer,
    key_fields: KEY_FIELDS,
    about: "what is in somebody's cart, on whatever device",
    has_window_start: false,
    causes: &[EventKind::AddToCart, EventKind::RemoveFromCart, EventKind::Purchase],
    schema: || row_schema::<Row>(),
    read: Written::text,
    build: |parts| super::build(parts, Feature::Cart, NAME),
    oracle,
};

/// A row as readers see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
pub struct Row {
    /// The messageId that the cart began with.
    cart_id: String,
    lines: Vec<Entry>,
    units: i64,
    value_micros: i64,
    #[serde(with = "instant")]
    #[schemars(with = "String")]
    updated_at: Micros,
}

/// A line as readers see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize, Deserialize)]
pub struct Entry {
    #[schemars(with = "String")]
    item_id: Sym,
    #[schemars(with = "Option<String>")]
    variant: Option<Sym>,
    quantity: i64,
    price_micros: i64,
}

impl Entry {
    /// The line of a cart.
    pub fn of(line: &Line) -> Entry {
        let Line { item, variant, units, price_micros } = *line;
        Entry { item_id: item, variant, quantity: units, price_micros }
    }
}

/// Units and worth of lines.
pub fn worth<'a>(lines: impl Iterator<Item = &'a Line>) -> (i64, i64) {
    let (units, micros) = lines.fold((0i64, 0i128), |(units, micros), line| {
        let worth = i128::from(line.units) * i128::from(line.price_micros);
        (units.saturating_add(line.units), micros + worth)
    });
    (units, published_micros(micros))
}

/// The row of a cart.
pub fn row(cart: Content) -> Option<Row> {
    let (units, value_micros) = worth(cart.lines.iter());
    (!cart.lines.is_empty()).then(|| Row {
        cart_id: cart.id.into(),
        lines: cart.lines.iter().map(Entry::of).collect(),
        units,
        value_micros,
        updated_at: cart.last.0,
    })
}

fn oracle(history: &History<'_>) -> BTreeMap<Key, String> {
    let people = &history.options.people;
    plainly(history, |_, events| row(plain_fold(events, people.max_cart_lines, people.cart_idle_us).cart))
}
