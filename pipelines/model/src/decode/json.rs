//! JSON into messages: the bodies of `POST /v1/events`, `/v1/inventory` and `/v1/catalog`, and
//! the lines of a `jsonl` file.
//!
//! A body is one object, an array of objects, or NDJSON; the results stand in the order of the
//! items. A bad item is a [`Rejected`] with its reason and its bytes; only a body of which
//! nothing can be read is an error. Unknown fields are ignored, `null` and empty texts count as
//! absent, of a key that occurs twice the last one counts.
//!
//! Values are first read loosely (any JSON value fits anywhere, see `raw`) and then checked
//! one by one, so that a reason can name the field and what was expected there. Texts are
//! borrowed from the input until they are kept.

mod catalogue;
mod check;
mod event;
mod inventory;
mod item;
mod raw;

use std::io::BufRead;

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use self::raw::{Envelope, Nested, RawCatalogue, RawEvent, RawInventory, Scalar, Value};
use crate::{InputKind, Micros, Record, Refusal, Rejected, money::Currencies};

/// How much one message may hold. Every limit is refused by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message as sent. Default 32,768.
    pub max_event_bytes: usize,
    /// Messages in one body. Default 5,000.
    pub max_batch_events: usize,
    /// Items of one event. Default 200.
    pub max_items: usize,
    /// Bytes of an id (message, person, transaction, item). Default 256.
    pub max_id_bytes: usize,
    /// Bytes of a label (brand, country, a category's level, coupon, event name). Default 256.
    pub max_label_bytes: usize,
    /// Bytes of a search term. Default 2,048.
    pub max_search_bytes: usize,
    /// Bytes of a feed field of the catalogue. Default 20,000: the 5,000 characters that feeds
    /// grant a description.
    pub max_field_bytes: usize,
    /// Levels of a category path. Default 10.
    pub max_category_levels: usize,
    /// Units of one line. Default 1,000,000,000.
    pub max_quantity: i64,
    /// Units of one stock message, either way. Default 1,000,000,000,000.
    pub max_available: i64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_event_bytes: 32_768,
            max_batch_events: 5_000,
            max_items: 200,
            max_id_bytes: 256,
            max_label_bytes: 256,
            max_search_bytes: 2_048,
            max_field_bytes: 20_000,
            max_category_levels: 10,
            max_quantity: 1_000_000_000,
            max_available: 1_000_000_000_000,
        }
    }
}

/// What decoding needs to know beside the bytes.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Pipeline time: the time of a message that does not state one.
    pub now: Micros,
    /// Maps a sender's wall time onto pipeline time, where the clock is scaled.
    pub map_time: Option<&'a (dyn Fn(Micros) -> Micros + Sync)>,
    /// The shop's currency and the rates of others.
    pub currencies: &'a Currencies,
    /// What a message may hold.
    pub limits: &'a Limits,
}

impl Context<'_> {
    /// When a message happened in pipeline time, given the time that it was sent with.
    fn pipeline_time(&self, sent: Option<Micros>) -> Micros {
        match (sent, self.map_time) {
            (None, _) => self.now,
            (Some(at), None) => at,
            (Some(at), Some(map)) => map(at),
        }
    }
}

/// Why a body as a whole was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Nothing but white space.
    #[error("the body is empty: send one JSON object, an array of objects, or one object per line")]
    Empty,
    /// Not text.
    #[error("the body is not UTF-8")]
    NotUtf8,
    /// Text, but neither an object, nor an array, nor lines of which one could be read.
    #[error("the body is not readable as JSON: {0}")]
    Malformed(String),
    /// More messages than `max_batch_events`.
    #[error("the body holds more than {limit} messages (max_batch_events); send them in several")]
    TooManyEvents {
        /// How many it may hold.
        limit: usize,
    },
}

/// Decodes a body: one JSON object (over several lines if need be), an array, or NDJSON. One
/// result for each item, in their order; blank lines are no items.
///
/// # Errors
/// [`BodyError`] where the body as a whole cannot be read; a broken line between good ones is a
/// [`Rejected`] item.
pub fn body(kind: InputKind, bytes: &[u8], context: &Context<'_>) -> Result<Vec<Result<Record, Rejected>>, BodyError> {
    let bytes = trimmed(bytes);
    match bytes.first() {
        None => Err(BodyError::Empty),
        Some(b'[') => array(kind, bytes, context),
        Some(_) => lines(kind, bytes, context),
    }
}

/// Decodes one object of a known kind.
///
/// # Errors
/// What is wrong with it, and its bytes.
pub fn one(kind: InputKind, bytes: &[u8], context: &Context<'_>) -> Result<Record, Rejected> {
    let text = object_text(bytes, context)?;
    match kind {
        InputKind::Events => read::<RawEvent<'_>>(text, context),
        InputKind::Inventory => read::<RawInventory<'_>>(text, context),
        InputKind::Catalogue => read::<RawCatalogue<'_>>(text, context),
    }
}

/// Decodes a line of a file that mixes the three kinds. What names a `type` or an `event` is an
/// event; else `available` makes it an inventory message, and `op` `upsert` or `delete`, or
/// `updated_at`, a catalogue message.
///
/// # Errors
/// What is wrong with it, and its bytes.
pub fn message(bytes: &[u8], context: &Context<'_>) -> Result<Record, Rejected> {
    let text = object_text(bytes, context)?;
    let raw = parse::<RawEvent<'_>>(text)?;
    match raw.kind_by_fields() {
        InputKind::Events => checked(&*raw, text, context),
        InputKind::Inventory => read::<RawInventory<'_>>(text, context),
        InputKind::Catalogue => read::<RawCatalogue<'_>>(text, context),
    }
}

/// A message as it was read, not yet checked.
trait Raw<'a> {
    /// Its id, whatever stands there.
    fn message_id(&self) -> &Scalar<'a>;
    /// The message, if every field is as it must be.
    fn record(&self, context: &Context<'_>) -> Result<Record, Refusal>;
}

fn read<'a, T: Raw<'a>>(text: &'a str, context: &Context<'_>) -> Result<Record, Rejected>
where
    Box<T>: Nested<'a>,
{
    checked(&*parse::<T>(text)?, text, context)
}

fn parse<'a, T>(text: &'a str) -> Result<Box<T>, Rejected>
where
    Box<T>: Nested<'a>,
{
    let reason = match serde_json::from_str::<Value<'a, Box<T>>>(text) {
        Ok(Value::Is(raw)) => return Ok(raw),
        Ok(other) => format!("expected a JSON object, found {}", other.found()),
        Err(error) => error.to_string(),
    };
    Err(Rejected { message_id: None, raw: text.into(), reason: Refusal::Malformed(reason) })
}

fn checked<'a>(raw: &impl Raw<'a>, text: &str, context: &Context<'_>) -> Result<Record, Rejected> {
    raw.record(context).map_err(|reason| {
        let message_id = check::readable_id(raw.message_id(), context.limits);
        Rejected { message_id, raw: text.into(), reason }
    })
}

/// The text of one object, if it is text and of a size that is taken.
fn object_text<'a>(bytes: &'a [u8], context: &Context<'_>) -> Result<&'a str, Rejected> {
    let bytes = trimmed(bytes);
    let refuse = |message_id, reason| Err(Rejected { message_id, raw: bytes.to_vec(), reason });
    let Ok(text) = std::str::from_utf8(bytes) else {
        return refuse(None, Refusal::Malformed("not UTF-8".to_owned()));
    };
    let limit = context.limits.max_event_bytes;
    if bytes.len() > limit {
        let message_id = match serde_json::from_str::<Value<'_, Box<Envelope<'_>>>>(text) {
            Ok(Value::Is(envelope)) => check::readable_id(&envelope.message_id, context.limits),
            _ => None,
        };
        return refuse(message_id, Refusal::TooLarge { bytes: bytes.len(), limit });
    }
    Ok(text)
}

/// `bytes` without a byte order mark and without white space around them.
fn trimmed(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii()
}

fn array(kind: InputKind, bytes: &[u8], context: &Context<'_>) -> Result<Vec<Result<Record, Rejected>>, BodyError> {
    let text = std::str::from_utf8(bytes).map_err(|_| BodyError::NotUtf8)?;
    let malformed = |error: serde_json::Error| BodyError::Malformed(error.to_string());
    let limit = context.limits.max_batch_events;
    let mut json = serde_json::Deserializer::from_str(text);
    let (elements, count) = Elements { limit }.deserialize(&mut json).map_err(malformed)?;
    json.end().map_err(malformed)?;
    if count > limit {
        return Err(BodyError::TooManyEvents { limit });
    }
    Ok(elements.into_iter().map(|element| one(kind, element.get().as_bytes(), context)).collect())
}

fn lines(kind: InputKind, bytes: &[u8], context: &Context<'_>) -> Result<Vec<Result<Record, Rejected>>, BodyError> {
    let limit = context.limits.max_batch_events;
    let mut lines = Lines(bytes);
    let first = lines.next().map(|line| one(kind, line, context)).ok_or(BodyError::Empty)?;
    // A first line that is no object may be the beginning of one that is written over several.
    if is_malformed(&first)
        && let Some(results) = spread_objects(kind, bytes, context)?
    {
        return Ok(results);
    }
    let mut results = vec![first];
    for line in lines {
        if results.len() == limit {
            return Err(BodyError::TooManyEvents { limit });
        }
        results.push(one(kind, line, context));
    }
    if results.iter().all(is_malformed) {
        return Err(unreadable(bytes));
    }
    Ok(results)
}

/// The lines of a body, white space around them and blank ones left out.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];
    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.0.is_empty() {
            let rest = self.0;
            // Skipping in a slice in memory searches many bytes at once, and cannot fail.
            let length = self.0.skip_until(b'\n').unwrap_or(rest.len());
            let line = rest[..length].trim_ascii();
            if !line.is_empty() {
                return Some(line);
            }
        }
        None
    }
}

/// Objects written over several lines each. `None` where the body is no sequence of objects.
fn spread_objects(
    kind: InputKind,
    bytes: &[u8],
    context: &Context<'_>,
) -> Result<Option<Vec<Result<Record, Rejected>>>, BodyError> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Ok(None) };
    let limit = context.limits.max_batch_events;
    let mut results = Vec::new();
    for object in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        let Ok(object) = object else { return Ok(None) };
        if results.len() == limit {
            return Err(BodyError::TooManyEvents { limit });
        }
        results.push(one(kind, object.get().as_bytes(), context));
    }
    Ok(results.iter().any(|result| !is_malformed(result)).then_some(results))
}

fn is_malformed(result: &Result<Record, Rejected>) -> bool {
    matches!(result, Err(Rejected { reason: Refusal::Malformed(_), .. }))
}

/// Says where a body stops being JSON.
fn unreadable(bytes: &[u8]) -> BodyError {
    let Ok(text) = std::str::from_utf8(bytes) else { return BodyError::NotUtf8 };
    let reason = match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => "expected an object or an array of objects".to_owned(),
        Err(error) => error.to_string(),
    };
    BodyError::Malformed(reason)
}

/// Reads an array's elements as raw text: at most `limit` of them are kept, all are counted.
struct Elements {
    limit: usize,
}

impl<'de> DeserializeSeed<'de> for Elements {
    type Value = (Vec<&'de RawValue>, usize);
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements {
    type Value = (Vec<&'de RawValue>, usize);
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < self.limit
            && let Some(element) = seq.next_element::<&RawValue>()?
        {
            kept.push(element);
        }
        let mut count = kept.len();
        while count >= self.limit && seq.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok((kept, count))
    }
}

impl<'de, T: Nested<'de>> Deserialize<'de> for Value<'de, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(raw::Reading::new())
    }
}
