//! Distinct people: how many looked at, or bought, something.
//!
//! Every window reaches up to now, so that it holds *some* look of a person at an item exactly if it
//! holds the latest: a person's latest looks, expired by window, are what is counted. A merge of two
//! profiles makes one of two people, an un-merge two again.

pub mod item_buyers;
pub mod item_viewers;
pub mod scope_buyers;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use etalage_model::{EventKind, Sym, Value};
use etalage_operators::{Collection, expire::Expire, expire::Phase};

use crate::{
    lines::Cell,
    oracle::{self, History},
    parts::Parts,
    people::{Identifier, plain},
    sealed::{Sealable, Shows},
};

/// How many people per scope, window and item, of the latest time per person and cell.
fn by_item<'scope>(
    parts: &Parts<'scope>,
    latest: Collection<'scope, (Cell, u64)>,
    name: &'static str,
    expiry: &'static str,
    value: fn(i64) -> Value,
) -> Box<dyn Sealable<'scope> + 'scope> {
    let options = &parts.options;
    let windowed = latest.expire(options.expiry(options.phase), parts.wiring(expiry), |cell: &Cell| cell.item);
    let value = move |_, people: &isize| value(*people as i64);
    parts.by_scope(windowed, name, Shows { labels: options.labels().collect(), value: Arc::new(value), watch: |_| () })
}

/// Distinct people per scope, window and item, plainly.
fn plain_by_item(history: &History<'_>, kind: EventKind) -> BTreeMap<(Sym, u8, Sym), i64> {
    let options = history.options;
    let windows = options.expiry(options.phase);
    let places = oracle::places(history);
    let mut people: BTreeMap<(Sym, u8, Sym), BTreeSet<Identifier>> = BTreeMap::new();
    for (owner, events) in plain::profiles(history) {
        for event in events.iter().filter(|event| event.kind == kind) {
            for item in &event.items {
                let phase_us = windows.phase_us(&item.item_id);
                let scopes = oracle::scopes(&options.scopes, event, places.get(&item.item_id));
                let holds = |window: &usize| windows.holds(*window, phase_us, event.timestamp.0, history.tick);
                for window in (0..windows.len()).filter(holds) {
                    for scope in &scopes {
                        people.entry((*scope, window as u8, item.item_id)).or_default().insert(owner.clone());
                    }
                }
            }
        }
    }
    people.into_iter().map(|(key, people)| (key, people.len() as i64)).collect()
}

/// Distinct people per scope and window, plainly; buckets are aligned.
fn plain_by_scope(history: &History<'_>, kind: EventKind) -> BTreeMap<(Sym, u8), i64> {
    let options = history.options;
    let windows = options.expiry(Phase::Aligned);
    let places = oracle::places(history);
    let mut people: BTreeMap<(Sym, u8), BTreeSet<Identifier>> = BTreeMap::new();
    for (owner, events) in plain::profiles(history) {
        for event in events.iter().filter(|event| event.kind == kind) {
            for item in &event.items {
                let scopes = oracle::scopes(&options.scopes, event, places.get(&item.item_id));
                let holds = |window: &usize| windows.holds(*window, 0, event.timestamp.0, history.tick);
                for window in (0..windows.len()).filter(holds) {
                    for scope in &scopes {
                        people.entry((*scope, window as u8)).or_default().insert(owner.clone());
                    }
                }
            }
        }
    }
    people.into_iter().map(|(key, people)| (key, people.len() as i64)).collect()
}
