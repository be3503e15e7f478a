//! What the oracles share: the whole history, read plainly.
//!
//! An oracle knows the messages that were admitted up to a tick, each once, and the configuration.
//! It computes every value from the beginning, with maps and loops. It is slow and has no state.

use std::collections::BTreeMap;

use etalage_model::{Event, Item, Measures, Message, Sym, Tick};
use serde::Serialize;

use crate::{
    ShopOptions, lines,
    scope::{Part, Scopes, no_part},
};

/// All that was admitted up to a tick.
pub struct History<'a> {
    /// The tick as of which answers are wanted.
    pub tick: Tick,
    /// The configuration.
    pub options: &'a ShopOptions,
    /// Every message with the tick at which it was admitted.
    pub admitted: &'a [(Tick, Message)],
}

impl History<'_> {
    /// The messages admitted at or before the tick.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.admitted.iter().filter(|(tick, _)| *tick <= self.tick).map(|(_, message)| message)
    }

    /// The events among them.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.messages().filter_map(|message| match message {
            Message::Event(event) => Some(event),
            _ => None,
        })
    }
}

/// The JSON of a row.
pub fn json<T: Serialize>(row: &T) -> String {
    serde_json::to_string(row).expect("plain structs always encode")
}

/// Every line that counts: event, item, what it adds.
pub fn lines<'a>(history: &'a History<'_>) -> impl Iterator<Item = (&'a Event, &'a Item, Measures)> {
    let events = history.messages().filter_map(|message| match message {
        Message::Event(event) => Some(event),
        _ => None,
    });
    events.flat_map(|event| {
        event
            .items
            .iter()
            .filter_map(move |item| lines::measures(event.kind, item).map(|measures| (event, item, measures)))
    })
}

/// The places of each item: the catalogue's newest entry, else the newest event that states the
/// attribute.
pub fn places(history: &History<'_>) -> BTreeMap<Sym, Vec<Part>> {
    type Newest<'a> = BTreeMap<Sym, ((u64, &'a str), Option<Sym>)>;
    fn keep<'a>(newest: &mut Newest<'a>, item: Sym, order: (u64, &'a str), value: Option<Sym>) {
        let place = newest.entry(item).or_insert((order, value));
        *place = (*place).max((order, value));
    }
    let (mut listed, mut stated) = ([Newest::new(), Newest::new()], [Newest::new(), Newest::new()]);
    for message in history.messages() {
        match message {
            Message::Catalogue(item) => {
                let order = (item.updated_at.0, item.message_id.as_str());
                let entry = item.entry.as_ref();
                keep(&mut listed[0], item.item_id, order, entry.and_then(|entry| entry.category));
                keep(&mut listed[1], item.item_id, order, entry.and_then(|entry| entry.brand));
            }
            Message::Event(event) => {
                let order = (event.timestamp.0, event.message_id.as_str());
                for item in &event.items {
                    for (attribute, value) in [item.category, item.brand].into_iter().enumerate() {
                        if value.is_some() {
                            keep(&mut stated[attribute], item.item_id, order, value);
                        }
                    }
                }
            }
            Message::Inventory(_) => {}
        }
    }
    let value = |attribute: usize, item: &Sym| {
        let of = |newest: &Newest<'_>| newest.get(item).and_then(|(_, value)| *value);
        of(&listed[attribute]).or_else(|| of(&stated[attribute]))
    };
    let items: std::collections::BTreeSet<Sym> =
        listed.iter().chain(&stated).flat_map(|newest| newest.keys().copied()).collect();
    let placed = |item: Sym| (item, history.options.scopes.item_parts(value(0, &item), value(1, &item)));
    items.into_iter().map(placed).collect()
}

/// The scopes in which a line counts.
pub fn scopes(scopes: &Scopes, event: &Event, places: Option<&Vec<Part>>) -> Vec<Sym> {
    let mut parts = Vec::new();
    scopes.event_parts(event, &mut parts);
    let none = [no_part()];
    let places = || none.iter().chain(places.into_iter().flatten());
    parts.iter().flat_map(|part| places().filter_map(|place| scopes.scope(part, place))).collect()
}
