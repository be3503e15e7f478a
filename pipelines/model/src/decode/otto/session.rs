//! A line into a session and its acts. Ids are texts or whole numbers, taken as they are written.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    super::{draft::symbol, table::MAX_TEXT_BYTES},
    MAX_SESSION_EVENTS,
};
use crate::{EventKind, Micros, Refusal, Sym};

/// A line.
pub(super) struct Session {
    pub(super) session: String,
    pub(super) acts: Vec<Result<Act, BadAct>>,
}

/// One of the `events` of a session.
pub(super) struct Act {
    /// Its place among them, from 0, also where others are bad.
    pub(super) place: u32,
    pub(super) kind: EventKind,
    pub(super) item: Sym,
    pub(super) at: Micros,
}

/// One of the `events` that is none.
pub(super) struct BadAct {
    pub(super) raw: Vec<u8>,
    pub(super) reason: Refusal,
}

/// The session that `line` holds.
pub(super) fn read(line: &[u8]) -> Result<Session, Refusal> {
    let text = std::str::from_utf8(line).map_err(|_| Refusal::Malformed("not UTF-8".to_owned()))?;
    let raw: RawSession<'_> = json(text)?;
    let session = id(raw.session, "session")?.into_owned();
    let events = raw.events.ok_or_else(|| missing("events"))?;
    if !events.get().starts_with('[') {
        return Err(wrong("events", "a list", events));
    }
    let events: Vec<&RawValue> = json(events.get())?;
    let count = events.len();
    if count > MAX_SESSION_EVENTS {
        let reason = format!("`events`: {count} of them, at most {MAX_SESSION_EVENTS} are taken (MAX_SESSION_EVENTS)");
        return Err(Refusal::Invalid(reason));
    }
    let acts = (0..).zip(events).map(|(place, event)| {
        let bad = |reason| BadAct { raw: event.get().as_bytes().to_vec(), reason };
        act(event.get(), place).map_err(bad)
    });
    Ok(Session { session, acts: acts.collect() })
}

/// The members of a session that mean something here.
#[derive(Deserialize)]
struct RawSession<'a> {
    #[serde(borrow)]
    session: Option<&'a RawValue>,
    #[serde(borrow)]
    events: Option<&'a RawValue>,
}

/// The members of an event.
#[derive(Deserialize)]
struct RawAct<'a> {
    #[serde(borrow)]
    aid: Option<&'a RawValue>,
    #[serde(borrow)]
    ts: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
}

fn act(text: &str, place: u32) -> Result<Act, Refusal> {
    if !text.starts_with('{') {
        return Err(Refusal::Malformed("an event must be an object of `aid`, `ts` and `type`".to_owned()));
    }
    let raw: RawAct<'_> = json(text)?;
    let ts = raw.ts.ok_or_else(|| missing("ts"))?;
    let at = ts.get().parse().ok().and_then(Micros::from_millis);
    let at = at.ok_or_else(|| wrong("ts", "whole milliseconds since 1970", ts))?;
    let kind = raw.kind.ok_or_else(|| missing("type"))?;
    let name: Option<String> = serde_json::from_str(kind.get()).ok();
    let kind = match name.as_deref() {
        Some("clicks") => EventKind::ViewItem,
        Some("carts") => EventKind::AddToCart,
        Some("orders") => EventKind::Purchase,
        _ => return Err(wrong("type", "clicks, carts or orders", kind)),
    };
    Ok(Act { place, kind, item: symbol(&id(raw.aid, "aid")?)?, at })
}

/// An id as it is written.
fn id<'a>(value: Option<&'a RawValue>, name: &str) -> Result<Cow<'a, str>, Refusal> {
    let value = value.ok_or_else(|| missing(name))?;
    let is_number = value.get().bytes().all(|byte| byte.is_ascii_digit());
    let id: Option<Cow<'a, str>> = match is_number {
        true => Some(Cow::Borrowed(value.get())),
        false => serde_json::from_str(value.get()).ok().map(Cow::Owned),
    };
    match id.ok_or_else(|| wrong(name, "a text or a whole number", value))? {
        id if id.is_empty() => Err(missing(name)),
        id if id.len() > MAX_TEXT_BYTES => Err(wrong(name, "at most 256 bytes", value)),
        id => Ok(id),
    }
}

fn json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Refusal> {
    serde_json::from_str(text).map_err(|error| Refusal::Malformed(error.to_string()))
}

fn missing(name: &str) -> Refusal {
    Refusal::Invalid(format!("`{name}` is missing"))
}

fn wrong(name: &str, expected: &str, found: &RawValue) -> Refusal {
    let found: String = found.get().chars().take(40).collect();
    Refusal::Invalid(format!("`{name}`: expected {expected}, found {found}"))
}
