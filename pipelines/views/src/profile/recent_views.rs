//! `profile.recent_views`: the last K items that somebody looked at, each once.
//!
//! - **Input** `view_item` events.
//! - **Output** profile → up to K items, the last look first; items of one event by their ids.
//! - **Time** plays no part but that of order.

use std::{cmp::Reverse, collections::BTreeMap};

use etalage_model::{Event, EventKind, Group, Key, Micros, Sym, Written};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KEY_FIELDS, plainly};
use crate::{
    View,
    oracle::History,
    people::{instant, recent::Recent, rows::Feature},
    row_schema,
};

/// The view's name.
pub const NAME: &str = "profile.recent_views";

/// The view.
pub const VIEW: View = View {
    name: NAME,
    group: Group::Customer,
    key_fields: KEY_FIELDS,
    about: "the items that somebody looked at last, each once",
    has_window_start: false,
    causes: &[EventKind::ViewItem],
    schema: || row_schema::<Row>(),
    read: Written::text,
    build: |parts| super::build(parts, Feature::RecentViews, NAME),
    oracle,
};

/// A row as readers see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
pub struct Row {
    items: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
struct Entry {
    #[schemars(with = "String")]
    item_id: Sym,
    #[serde(with = "instant")]
    #[schemars(with = "String")]
    viewed_at: Micros,
}

/// The row of a person.
pub fn row(recent: &Recent) -> Option<Row> {
    let items: Vec<Entry> = recent.items().map(|(item_id, viewed_at)| Entry { item_id, viewed_at }).collect();
    (!items.is_empty()).then_some(Row { items })
}

fn plain_row(events: &[&Event], most: usize) -> Option<Row> {
    let mut last: BTreeMap<Sym, (Micros, &str)> = BTreeMap::new();
    for event in events.iter().filter(|event| event.kind == EventKind::ViewItem) {
        let look = (event.timestamp, event.message_id.as_str());
        event.items.iter().for_each(|item| {
            let known = last.entry(item.item_id).or_insert(look);
            *known = (*known).max(look);
        });
    }
    let mut items: Vec<(Sym, (Micros, &str))> = last.into_iter().collect();
    items.sort_by_key(|(item, look)| (Reverse(*look), *item));
    items.truncate(most);
    let entry = |(item_id, (viewed_at, _))| Entry { item_id, viewed_at };
    (!items.is_empty()).then(|| Row { items: items.into_iter().map(entry).collect() })
}

fn oracle(history: &History<'_>) -> BTreeMap<Key, String> {
    let most = history.options.people.recent_views;
    plainly(history, |_, events| plain_row(events, most))
}
