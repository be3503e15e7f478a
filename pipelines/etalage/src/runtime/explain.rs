//! Which events made a value of somebody: read from the log, newest first, at most so many.
//!
//! The log is read from its beginning; the pipeline goes on meanwhile.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use etalage_model::{Event, KeyFields, Message, Micros, Tick};
use etalage_store::{StoreError, disk::Disk};
use etalage_views::people::{Identifier, Kind};
use serde::Serialize;

/// The events behind a value.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The view.
    pub view: String,
    /// The identifiers of whoever it is about.
    pub identifiers: Vec<Named>,
    /// The newest events, the newest first.
    pub events: Vec<Cause>,
    /// Events beyond the limit, which are older.
    pub more: u64,
}

/// An identifier.
#[derive(Debug, Serialize)]
pub struct Named {
    kind: &'static str,
    id: String,
}

/// An event, and when it was admitted.
#[derive(Debug, Serialize)]
pub struct Cause {
    /// The tick.
    pub tick: Tick,
    /// When it happened.
    pub timestamp: String,
    /// What happened.
    pub name: &'static str,
    /// The event as it is stored.
    pub event: Event,
}

/// Why the events behind a value could not be told.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The view or the key: a sentence that says what is wrong.
    #[error("{0}")]
    Asked(String),
    /// The log, or who belongs together, cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

/// Reads the log in `dir` for the events behind the value of `key`.
pub(super) fn explain(
    disk: Arc<dyn Disk>,
    dir: &Path,
    identify: &(dyn Fn(&str) -> Vec<Identifier> + Send + Sync),
    view: &str,
    key: &KeyFields,
    limit: usize,
) -> Result<Explanation, ExplainError> {
    let asked = ExplainError::Asked;
    let unreadable = |error: StoreError| ExplainError::Unreadable(error.to_string());
    let of_view = etalage_views::view(view).ok_or_else(|| asked(format!("there is no view `{view}`")))?;
    if of_view.causes.is_empty() {
        let why = "is about nobody in particular: its values come from too many events to list";
        return Err(asked(format!("`{view}` {why}")));
    }
    // Who an identifier belongs to is asked for by its kind and text, a profile by its id.
    let who = match of_view.key_fields[0] {
        "kind" => key.0.get(1).map(|id| named(&key.0[0], id)),
        _ => key.0.first().cloned(),
    };
    let who = who.ok_or_else(|| asked(format!("the key of `{view}` is {}", of_view.key_fields.join("/"))))?;
    let identifiers = identify(&who);
    let item = of_view.key_fields.iter().position(|field| *field == "item_id").and_then(|at| key.0.get(at));
    let is_cause = |event: &Event| {
        let is_theirs = identifiers.iter().any(|identifier| is_about(event, identifier, of_view.is_about_links()));
        let is_item = item.is_none_or(|item| event.items.iter().any(|line| line.item_id.as_str() == item));
        is_theirs && is_item && of_view.causes.contains(&event.kind)
    };
    let (mut newest, mut count) = (BTreeMap::new(), 0);
    for frame in etalage_store::frames_on(disk, dir).map_err(unreadable)? {
        let frame = frame.map_err(unreadable)?;
        for record in frame.records {
            let Message::Event(event) = record.message else { continue };
            if !is_cause(&event) {
                continue;
            }
            count += 1;
            newest.insert((event.timestamp, event.message_id.clone()), (frame.tick, event));
            if newest.len() > limit {
                newest.pop_first();
            }
        }
    }
    let events: Vec<Cause> = newest.into_values().rev().map(|(tick, event)| cause(tick, event)).collect();
    let named = |identifier: &Identifier| Named { kind: identifier.kind.name(), id: identifier.id.to_string() };
    let identifiers = identifiers.iter().map(named).collect();
    let more = count - events.len() as u64;
    Ok(Explanation { view: view.to_owned(), identifiers, events, more })
}

fn cause(tick: Tick, event: Event) -> Cause {
    Cause { tick, timestamp: Micros(event.timestamp.0).to_string(), name: event.kind.name(), event }
}

/// An identifier as readers write it.
fn named(kind: &str, id: &str) -> String {
    if kind == Kind::Anonymous.name() { Identifier::anonymous(id).profile_id().to_string() } else { id.to_owned() }
}

/// Whether an event changes the state of an identifier, or with `links` says whom it belongs to.
fn is_about(event: &Event, identifier: &Identifier, links: bool) -> bool {
    let is = |id: &Option<String>| id.as_deref() == Some(identifier.id.as_str());
    match identifier.kind {
        Kind::User => is(&event.user_id) || links && is(&event.previous_id),
        Kind::Anonymous => is(&event.anonymous_id) && (links || event.user_id.is_none()),
    }
}
