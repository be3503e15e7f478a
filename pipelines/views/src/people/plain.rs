//! People as the oracles see them: the events of each profile, plainly.

use std::collections::BTreeMap;

use etalage_model::Event;

use super::{Identifier, identity::plain_owners};
use crate::oracle::History;

/// The events of each profile that count, in order.
pub fn profiles<'a>(history: &'a History<'_>) -> BTreeMap<Identifier, Vec<&'a Event>> {
    let owners = plain_owners(history);
    let mut by_identifier: BTreeMap<Identifier, Vec<&Event>> = BTreeMap::new();
    for event in history.events() {
        let Some(id) = Identifier::of(event) else { continue };
        by_identifier.entry(id).or_default().push(event);
    }
    let mut profiles: BTreeMap<Identifier, Vec<&Event>> = BTreeMap::new();
    for (id, mut events) in by_identifier {
        forget(&mut events, history.tick, history.options.people.retention_us);
        if !events.is_empty() {
            profiles.entry(owners.get(&id).cloned().unwrap_or(id)).or_default().extend(events);
        }
    }
    for events in profiles.values_mut() {
        events.sort_by_key(|event| (event.timestamp, &event.message_id));
    }
    profiles
}

/// Leaves of an identifier's events those that no pause longer than `retention_us` follows.
fn forget(events: &mut Vec<&Event>, tick: u64, retention_us: u64) {
    events.sort_by_key(|event| event.timestamp);
    let is_long = |from: &Event, to: u64| from.timestamp.0.saturating_add(retention_us) < to;
    let next = |at: usize| events.get(at + 1).map_or(tick, |next| next.timestamp.0);
    let forgotten = (0..events.len()).rev().find(|at| is_long(events[*at], next(*at))).map_or(0, |last| last + 1);
    events.drain(..forgotten);
}
