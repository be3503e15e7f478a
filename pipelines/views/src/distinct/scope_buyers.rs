//! `scope.buyers`: how many distinct people bought in a scope.
//!
//! - **Input** purchases of people who can be told apart, places of items.
//! - **Output** (scope, window) → people. A key without any has no row.
//! - **Time**: buckets are aligned, as in `scope.totals`, and for the same reasons.
//! - **State bound**: per person and item a time, per person and scope a time, within the longest
//!   window; per scope and bucket a row.

use std::{collections::BTreeMap, sync::Arc};

use etalage_model::{EventKind, Group, Key, Sym, Value, Written};
use etalage_operators::{
    expire::{Expire, Phase},
    latest::Latest,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    View,
    oracle::{History, json},
    parts::Parts,
    people::rows::{BOUGHT, Row as Told},
    row_schema,
    sealed::Sealable,
    totals,
};

/// The view's name.
pub const NAME: &str = "scope.buyers";

/// The view.
pub const VIEW: View = View {
    name: NAME,
    group: Group::Customer,
    key_fields: &["scope", "window"],
    about: "how many distinct people bought in a scope, per rolling window",
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
    buyers: i64,
}

fn build<'scope>(parts: &Parts<'scope>) -> Box<dyn Sealable<'scope> + 'scope> {
    let options = Arc::clone(&parts.options);
    let windows = options.expiry(Phase::Aligned);
    let bought = parts.people().rows(BOUGHT).flat_map(|row| match row {
        Told::Bought(cell, buyer, at) => Some(((cell, buyer), at)),
        _ => None,
    });
    let by_scope = totals::scoped(parts, bought, || parts.wiring("Bought by scope"))
        .map(|(scope, buyer, _item, at)| ((scope, buyer), at));
    let latest = by_scope.latest(windows.horizon_us(), parts.wiring("Buyers by scope"), |(_, buyer)| *buyer);
    let rows =
        latest
            .map(|((scope, _), at)| (scope, at))
            .expire(windows, parts.wiring("Windows of buyers"), |scope: &Sym| *scope);
    parts.by_window(rows, NAME, |buyers: &isize| Arc::new(Row { buyers: *buyers as i64 }) as Value)
}

fn oracle(history: &History<'_>) -> BTreeMap<Key, String> {
    let rows = super::plain_by_scope(history, EventKind::Purchase).into_iter();
    rows.map(|((scope, window), buyers)| (Key::new(&[scope, history.options.label(window)]), json(&Row { buyers })))
        .collect()
}
