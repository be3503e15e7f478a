//! People as the oracles see them: the events of each profile, plainly.

use std::collections::BTreeMap;

use etalage_model::Event;

use super::{Identifier, identity::plain_owners};
use crate::oracle::History;

/// The events of each profile, in order.
pub fn profiles<'a>(history: &'a History<'_>) -> BTreeMap<Identifier, Vec<&'a Event>> {
    let owners = plain_owners(history);
    let mut profiles: BTreeMap<Identifier, Vec<&Event>> = BTreeMap::new();
    for event in history.events() {
        let Some(id) = Identifier::of(event) else { continue };
        let owner = owners.get(&id).cloned().unwrap_or(id);
        profiles.entry(owner).or_default().push(event);
    }
    for events in profiles.values_mut() {
        events.sort_by_key(|event| (event.timestamp, &event.message_id));
    }
    profiles
}
