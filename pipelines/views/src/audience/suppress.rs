//! `audience.suppress`: no advertisement for what was just bought.
//!
//! - **Input** purchases, and refunds that name their transaction.
//! - **Output** (profile, item) → until when: `suppress_for` after the item was last bought in an order
//!   that was not returned. No row after that.
//! - **Time**: a row goes at its instant, with or without further input.
//! - **State bound**: a row per profile and item that was ever bought.

use std::collections::{BTreeMap, BTreeSet};

use etalage_model::{EventKind, Group, Key, Micros, Name, Sym, Value, Written};
use etalage_operators::{seal::seal_differences, timers::Timers};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    View,
    oracle::{History, json},
    parts::Parts,
    people::{
        instant,
        orders::plain_orders,
        plain,
        rows::{OWNED, Row as Told},
    },
    row_schema,
    sealed::{Published, Sealable},
};

/// The view's name.
pub const NAME: &str = "audience.suppress";

/// The view.
pub const VIEW: View = View {
    name: NAME,
    group: Group::Customer,
    key_fields: &["profile_id", "item_id"],
    about: "until when an item that somebody bought is not to be advertised to them",
    has_window_start: false,
    causes: &[EventKind::Purchase, EventKind::Refund],
    schema: || row_schema::<Row>(),
    read: Written::text,
    build,
    oracle,
};

/// A row as readers see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
struct Row {
    #[serde(with = "instant")]
    #[schemars(with = "String")]
    until: Micros,
}

fn build<'scope>(parts: &Parts<'scope>) -> Box<dyn Sealable<'scope> + 'scope> {
    let suppress_us = parts.options.people.suppress_us;
    let rows = parts.people().rows(OWNED).flat_map(move |row| match row {
        Told::Owned(profile, item, since) => Some(((profile, item), since.plus(suppress_us))),
        _ => None,
    });
    let ends = rows.clone().map(|(key, until)| ((key, until), until.0));
    let lifted = ends.timers(parts.wiring("Suppression ends"), |((profile, _), _)| profile.clone());
    let live = rows.concat(lifted.negate());
    let publish = |(profile, item): (Name, Sym), until: Option<Micros>| {
        let value = until.map(|until| std::sync::Arc::new(Row { until }) as Value);
        (Key::of_person(profile, &[item]), value)
    };
    let sealing = seal_differences(live, NAME, |(profile, _): &(Name, Sym)| profile.clone());
    Published::rows(sealing, publish)
}

fn oracle(history: &History<'_>) -> BTreeMap<Key, String> {
    let mut rows = BTreeMap::new();
    for (owner, events) in plain::profiles(history) {
        let mut last: BTreeMap<Sym, Micros> = BTreeMap::new();
        for order in plain_orders(&events).values() {
            let items: BTreeSet<Sym> = order.bought.iter().flat_map(|e| &e.items).map(|item| item.item_id).collect();
            for item in items.into_iter().filter(|item| order.net_units(Some(*item)) > 0) {
                let with_it = order.bought.iter().filter(|e| e.items.iter().any(|line| line.item_id == item));
                let at = with_it.map(|event| event.timestamp).max().unwrap_or_default();
                let known = last.entry(item).or_default();
                *known = (*known).max(at);
            }
        }
        for (item, at) in last {
            let until = at.plus(history.options.people.suppress_us);
            if until.0 > history.tick {
                rows.insert(Key::of_person(owner.profile_id(), &[item]), json(&Row { until }));
            }
        }
    }
    rows
}
