//! From a message of a topic to the items that it holds.

use etalage_kafka::Received;
use etalage_model::{
    InputKind, Micros, Record, Refusal, Rejected,
    decode::json::{self, Context},
};

use crate::runtime::TopicMessage;

/// A message of a topic, and what it says.
pub(super) struct Decoded {
    pub(super) message: TopicMessage,
    pub(super) items: Vec<Result<Record, Rejected>>,
}

impl Decoded {
    /// Decodes a message. What it cannot be read as is one refused item; none is ever without items.
    pub(super) fn of(received: Received, context: &Context<'_>) -> Decoded {
        let Received { topic, kind, partition, offset, at, key, payload, .. } = received;
        // What does not say when it happened happened when it was produced.
        let context = Context { now: at.unwrap_or(context.now), ..*context };
        let (raw, items) = match payload {
            Some(payload) => {
                let items = items(kind, &payload, &context);
                (payload, items)
            }
            None => {
                let key = key.unwrap_or_default();
                let place = format!("{topic}/{partition}@{offset}");
                let item = tombstone(kind, &key, &place, &context);
                (Vec::new(), vec![item])
            }
        };
        Decoded { message: TopicMessage { topic, partition, offset, raw }, items }
    }

    /// When it happened, as far as can be told: of what is refused nothing can.
    pub(super) fn at(&self) -> Micros {
        let times = self.items.iter().filter_map(|item| item.as_ref().ok()).map(|record| record.message.at());
        times.min().unwrap_or(Micros(0))
    }
}

fn items(kind: InputKind, payload: &[u8], context: &Context<'_>) -> Vec<Result<Record, Rejected>> {
    let rejected = |reason: String| {
        vec![Err(Rejected { message_id: None, raw: payload.to_vec(), reason: Refusal::Malformed(reason) })]
    };
    match json::body(kind, payload, context) {
        Ok(items) if items.is_empty() => rejected("an empty list".to_owned()),
        Ok(items) => items,
        Err(error) => rejected(error.to_string()),
    }
}

/// A message without a value: in a topic of the catalogue its key names the item that is withdrawn.
fn tombstone(kind: InputKind, key: &[u8], place: &str, context: &Context<'_>) -> Result<Record, Rejected> {
    let rejected = |reason: &str| {
        let reason = Refusal::Invalid(reason.to_owned());
        Err(Rejected { message_id: None, raw: Vec::new(), reason })
    };
    if kind != InputKind::Catalogue {
        return rejected("a message without a value means nothing in a topic of events or inventory");
    }
    let Some(item_id) = item_of(key) else {
        return rejected("a tombstone of the catalogue needs the item_id as its key, as text or as {\"item_id\":…}");
    };
    let delete = serde_json::json!({
        "messageId": place, "op": "delete", "item_id": item_id, "updated_at": context.now.to_string(),
    });
    json::one(kind, delete.to_string().as_bytes(), context)
}

/// The item that a key names.
fn item_of(key: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(key).ok()?.trim();
    let item = match serde_json::from_str::<serde_json::Value>(text) {
        Ok(serde_json::Value::Object(fields)) => fields.get("item_id")?.as_str()?.to_owned(),
        Ok(serde_json::Value::String(item)) => item,
        _ => text.to_owned(),
    };
    (!item.is_empty()).then_some(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_tombstone_is_text_or_json() {
        for key in ["85123A", " 85123A", "\"85123A\"", r#"{"item_id":"85123A"}"#] {
            assert_eq!(item_of(key.as_bytes()).as_deref(), Some("85123A"), "{key}");
        }
        assert_eq!(item_of(b"22086").as_deref(), Some("22086"), "a number is a text");
        for key in [&b""[..], b"{}", br#"{"item_id":7}"#, b"\xFF"] {
            assert_eq!(item_of(key), None);
        }
    }
}
