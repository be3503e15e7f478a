//! `profile.activity`: sessions, views and searches of somebody, per rolling window.
//!
//! - **Input** every event of a person.
//! - **Output** profile → for each window that holds anything, in the order of the configuration:
//!   sessions, views, searches.
//! - **Time**: an event counts while its bucket ends after the tick less the window. A session counts
//!   in the windows that hold its last event.

use std::collections::BTreeMap;

use etalage_model::{Group, Key, Sym, Written, hash::hash64};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KEY_FIELDS, plainly};
use crate::{
    View,
    oracle::History,
    people::{
        Rules,
        activity::{Counts, plain_counts},
        rows::Feature,
    },
    row_schema,
};

/// The view's name.
pub const NAME: &str = "profile.activity";

/// The view.
pub const VIEW: View = View {
    name: NAME,
    group: Group::Customer,
    key_fields: KEY_FIELDS,
    about: "sessions, views and searches of somebody, per rolling window",
    has_window_start: false,
    causes: super::BEHAVIOUR,
    schema: || row_schema::<Row>(),
    read: Written::text,
    build: |parts| super::build(parts, Feature::Activity, NAME),
    oracle,
};

/// A row as readers see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
pub struct Row {
    windows: Vec<Window>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
struct Window {
    #[schemars(with = "String")]
    window: Sym,
    sessions: i64,
    views: i64,
    searches: i64,
}

/// The row of a person.
pub fn row(counts: Vec<Counts>, labels: &[Sym]) -> Option<Row> {
    let held = labels.iter().zip(counts).filter(|(_, counts)| *counts != Counts::default());
    let window = |(window, Counts { sessions, views, searches }): (&Sym, Counts)| Window {
        window: *window,
        sessions,
        views,
        searches,
    };
    let windows: Vec<Window> = held.map(window).collect();
    (!windows.is_empty()).then_some(Row { windows })
}

fn oracle(history: &History<'_>) -> BTreeMap<Key, String> {
    let rules = Rules::new(history.options);
    let pace = &rules.pace;
    plainly(history, |owner, events| {
        let phase_us = pace.phase_us(hash64(owner.profile_id().as_bytes()));
        let counts = |window| plain_counts(events, window, phase_us, history.tick, pace);
        row((0..pace.windows.len()).map(counts).collect(), &rules.labels)
    })
}
