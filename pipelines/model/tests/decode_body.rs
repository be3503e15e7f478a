//! Bodies, stock and catalogue messages, files that mix the three kinds, and fingerprints.

mod common;

use common::{AT, Results, shop};
use etalage_model::{
    InputKind, Message, Micros, Record, Refusal, StockOp,
    decode::json::{self, BodyError},
};
use serde_json::json;

/// The message ids of what was taken, and the codes of what was refused.
fn outline(results: Results) -> Vec<String> {
    let name = |result: Result<Record, etalage_model::Rejected>| match result {
        Ok(record) => record.message.message_id().to_owned(),
        Err(rejected) => format!("{}:{}", rejected.reason.code(), rejected.message_id.unwrap_or_default()),
    };
    results.unwrap().into_iter().map(name).collect()
}

fn events(body: &str) -> Vec<String> {
    outline(shop().events(body.as_bytes()))
}

#[test]
fn a_body_is_an_object_an_array_or_lines() {
    let (a, b) = (r#"{"messageId":"a","event":"search"}"#, r#"{"messageId":"b","event":"search"}"#);
    assert_eq!(events(a), ["a"]);
    assert_eq!(events(&format!("[{a}, {b}]")), ["a", "b"]);
    assert_eq!(events(&format!("{a}\n{b}\n")), ["a", "b"]);
    assert_eq!(events(&format!("\u{feff}\r\n{a}\r\n\r\n  \r\n{b}\r\n")), ["a", "b"]);
    assert_eq!(events(&format!("\u{feff}[\n{a}\n,{b}\n]\n")), ["a", "b"]);
    let spread = a.replace(',', ",\n  ").replace('{', "{\n  ").replace('}', "\n}");
    assert_eq!(events(&spread), ["a"]);
    assert_eq!(events(&format!("{spread}\n\n{b}\n{spread}")), ["a", "b", "a"]);
    assert_eq!(events("[]"), [""; 0]);
}

#[test]
fn a_bad_item_is_refused_at_its_place_and_the_others_are_taken() {
    let good = r#"{"messageId":"a","event":"search"}"#;
    let bad = r#"{"messageId":"b"}"#;
    let expected = ["a", "invalid:b", "a"];
    assert_eq!(events(&format!("[{good},{bad},{good}]")), expected);
    assert_eq!(events(&format!("{good}\n{bad}\n{good}")), expected);
    assert_eq!(events(&format!("[{good},7,null,{good}]")), ["a", "malformed:", "malformed:", "a"]);
    assert_eq!(events(&format!("{good}\n{{\"messageId\":\"c\"\n{good}")), ["a", "malformed:", "a"]);
    assert_eq!(events(&format!("{{\"messageId\":\n{good}")), ["malformed:", "a"]);
    assert_eq!(events(&format!("7\n{good}")), ["malformed:", "a"]);
    let mut bytes = format!("{good}\n").into_bytes();
    bytes.extend(b"{\"event\":\"\xff\"}\n");
    bytes.extend(good.as_bytes());
    let results = shop().events(&bytes).unwrap();
    let rejected = results[1].as_ref().unwrap_err();
    assert_eq!(rejected.reason, Refusal::Malformed("not UTF-8".to_owned()));
    assert_eq!(rejected.raw, b"{\"event\":\"\xff\"}");
    assert_eq!(outline(Ok(results)), ["a", "malformed:", "a"]);
}

#[test]
fn a_body_of_which_nothing_can_be_read_is_an_error() {
    let error = |body: &[u8]| shop().events(body).expect_err("taken");
    for empty in [&b""[..], b" \r\n\t\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"] {
        assert_eq!(error(empty), BodyError::Empty);
    }
    for broken in
        ["hello", "{", "7", "\"text\"", "null", "{\"event\":", "[", "[{}", "[{},]", "[{}] x", "[1 2]", "}\n}\n"]
    {
        assert!(matches!(error(broken.as_bytes()), BodyError::Malformed(_)), "{broken}");
    }
    assert_eq!(error(b"\x1f\x8b\x08\x00\xff"), BodyError::NotUtf8);
    assert_eq!(error(b"[\"\xff\"]"), BodyError::NotUtf8);
    let reason = error(b"{\"event\": purchase}").to_string();
    assert!(reason.contains("line 1 column 11"), "{reason}");
}

#[test]
fn a_body_holds_at_most_max_batch_events() {
    let mut shop = shop();
    shop.limits.max_batch_events = 3;
    let good = r#"{"messageId":"a","event":"search"}"#;
    let spread = "{\n\"event\":\"search\"\n}";
    for (one, separators) in [(good, ["[", ",", "]"]), (good, ["", "\n", ""]), (spread, ["", "\n", ""])] {
        let body = |count: usize| format!("{}{}{}", separators[0], vec![one; count].join(separators[1]), separators[2]);
        assert_eq!(shop.events(body(3).as_bytes()).unwrap().len(), 3);
        assert_eq!(shop.events(body(4).as_bytes()), Err(BodyError::TooManyEvents { limit: 3 }));
    }
}

#[test]
fn nesting_of_any_depth_is_read_or_refused_and_never_overflows() {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(200_000), close.repeat(200_000));
    let mut shop = shop();
    shop.limits.max_event_bytes = usize::MAX;
    let lists = deep("[", "]");
    let objects = deep("{\"a\":", "}").replace(":}", ":1}");
    for value in [&lists, &objects] {
        for field in ["unknown", "userId", "context", "properties"] {
            let body = format!("{{\"event\":\"search\",\"{field}\":{value}}}");
            assert_eq!(shop.events(body.as_bytes()).unwrap().len(), 1);
        }
        assert_eq!(shop.events(value.as_bytes()).unwrap().len(), 1);
    }
    assert!(shop.events("[".repeat(400_000).as_bytes()).is_err());
}

fn stock(message: serde_json::Value) -> Result<etalage_model::Inventory, String> {
    match shop().one(InputKind::Inventory, message) {
        Ok(Record { message: Message::Inventory(stock), .. }) => Ok(stock),
        Ok(other) => panic!("expected a stock message, found {other:?}"),
        Err(rejected) => Err(rejected.reason.to_string()),
    }
}

#[test]
fn stock_messages_set_or_move_what_is_available() {
    let set = stock(json!({"messageId": "s", "item_id": "A", "location_id": "L", "op": "set", "available": 7,
                           "version": 3, "occurred_at": "2026-11-21T10:00:00Z"}));
    let set = set.unwrap();
    assert_eq!((set.message_id.as_str(), set.item_id.as_str(), set.op), ("s", "A", StockOp::Set(7)));
    assert_eq!((set.location_id.unwrap().as_str(), set.version), ("L", Some(3)));
    assert_eq!(Some(set.occurred_at), Micros::parse("2026-11-21T10:00:00Z"));
    let bare = stock(json!({"item_id": 22086, "available": -1})).unwrap();
    assert_eq!((bare.item_id.as_str(), bare.op, bare.version), ("22086", StockOp::Set(-1), None));
    assert_eq!((bare.location_id, bare.occurred_at), (None, AT));
    assert!(bare.message_id.starts_with("auto:") && bare.message_id.len() == 37);
    let delta = stock(json!({"messageId": "d", "item_id": "A", "op": "delta", "available": "-2"})).unwrap();
    assert_eq!(delta.op, StockOp::Delta(-2));
}

#[test]
fn stock_messages_that_cannot_count_are_refused() {
    let cases = [
        (json!({"item_id": "A", "op": "delta", "available": 1}), "`messageId` is missing: a delta without one"),
        (json!({"available": 1}), "`item_id` is missing"),
        (json!({"item_id": "A"}), "`available` is missing"),
        (json!({"item_id": "A", "available": 1.5}), "`available`: expected a whole number of units, found 1.5"),
        (json!({"item_id": "A", "available": 1e30}), "`available`: expected a whole number of units"),
        (json!({"item_id": "A", "available": [1]}), "`available`: expected a whole number of units, found a list"),
        (
            json!({"item_id": "A", "available": i64::MIN}),
            "`available`: -9223372036854775808, at most 1000000000000 are taken (max_available)",
        ),
        (json!({"item_id": "A", "available": 1, "op": "add"}), "`op`: expected set or delta, found the text `add`"),
        (
            json!({"item_id": "A", "available": 1, "version": -1}),
            "`version`: expected a whole number that is not negative",
        ),
        (json!({"item_id": "A", "available": 1, "version": "1"}), "`version`: expected a whole number"),
        (json!({"item_id": "A", "available": 1, "occurred_at": "now"}), "`occurred_at`: expected a time"),
        (json!({"item_id": "A", "available": 1, "location_id": {}}), "`location_id`: expected a text or an integer"),
    ];
    for (message, expected) in cases {
        let reason = stock(message).unwrap_err();
        assert!(reason.starts_with(&format!("invalid: {expected}")), "{reason}");
    }
}

fn catalogue(message: serde_json::Value) -> Result<etalage_model::Catalogue, String> {
    match shop().one(InputKind::Catalogue, message) {
        Ok(Record { message: Message::Catalogue(item), .. }) => Ok(item),
        Ok(other) => panic!("expected a catalogue message, found {other:?}"),
        Err(rejected) => Err(rejected.reason.to_string()),
    }
}

#[test]
fn catalogue_messages_keep_feed_fields_as_text_in_the_order_of_their_names() {
    let item = catalogue(json!({
        "messageId": "c", "id": "A", "updated_at": 1000, "title": "Mug", "brand": "Acme", "price": "15.00 USD",
        "category": "Home > Kitchen", "safety_threshold": 2, "withdrawn": true, "custom_label_0": 7,
        "availability": "in stock", "mpn": "", "colour": "red"
    }));
    let item = item.unwrap();
    assert_eq!((item.item_id.as_str(), item.updated_at), ("A", Micros(1_000_000)));
    let entry = item.entry.unwrap();
    assert_eq!((entry.brand.unwrap().as_str(), entry.category.unwrap().as_str()), ("Acme", "Home/Kitchen"));
    assert_eq!((entry.safety_threshold, entry.withdrawn), (Some(2), true));
    let fields: Vec<_> = entry.fields.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(
        fields,
        [("availability", "in stock"), ("custom_label_0", "7"), ("price", "15.00 USD"), ("title", "Mug")]
    );
    let bare = catalogue(json!({"item_id": "A", "id": "B"})).unwrap();
    assert_eq!((bare.item_id.as_str(), bare.updated_at), ("A", AT));
    assert_eq!(bare.entry, Some(etalage_model::CatalogueEntry::default()));
    assert_eq!(catalogue(json!({"item_id": "A", "op": "delete", "title": 7})).unwrap().entry, None);
}

#[test]
fn catalogue_messages_that_are_wrong_are_refused() {
    let cases = [
        (json!({"title": "Mug"}), "`item_id` is missing"),
        (json!({"id": []}), "`id`: expected a text or an integer, found a list"),
        (json!({"id": "A", "op": "set"}), "`op`: expected upsert or delete, found the text `set`"),
        (json!({"id": "A", "withdrawn": "yes"}), "`withdrawn`: expected true or false, found the text `yes`"),
        (
            json!({"id": "A", "safety_threshold": -1}),
            "`safety_threshold`: expected a whole number of units that is not",
        ),
        (json!({"id": "A", "title": {}}), "`title`: expected a text, found an object"),
        (
            json!({"id": "A", "title": "x".repeat(20_001)}),
            "`title`: 20001 bytes long, at most 20000 are taken (max_field_bytes)",
        ),
        (json!({"id": "A", "updated_at": "soon"}), "`updated_at`: expected a time"),
    ];
    for (message, expected) in cases {
        let reason = catalogue(message).unwrap_err();
        assert!(reason.starts_with(&format!("invalid: {expected}")), "{reason}");
    }
}

#[test]
fn the_fields_of_a_line_tell_its_kind() {
    let shop = shop();
    let kind = |line: serde_json::Value| match json::message(line.to_string().as_bytes(), &shop.context()) {
        Ok(Record { message: Message::Event(_), .. }) => "event",
        Ok(Record { message: Message::Inventory(_), .. }) => "inventory",
        Ok(Record { message: Message::Catalogue(_), .. }) => "catalogue",
        Err(rejected) => rejected.reason.code(),
    };
    assert_eq!(kind(json!({"event": "search"})), "event");
    assert_eq!(kind(json!({"type": "page", "available": 3, "op": "delete"})), "event");
    assert_eq!(kind(json!({"item_id": "A", "op": "set", "available": 3})), "inventory");
    assert_eq!(kind(json!({"item_id": "A", "available": 3})), "inventory");
    assert_eq!(kind(json!({"item_id": "A", "op": "upsert", "updated_at": 1})), "catalogue");
    assert_eq!(kind(json!({"item_id": "A", "op": "delete"})), "catalogue");
    assert_eq!(kind(json!({"item_id": "A", "updated_at": 1})), "catalogue");
    assert_eq!(kind(json!({"item_id": "A"})), "invalid");
    assert_eq!(kind(json!([])), "malformed");
}

fn record(shop: &common::Shop<'_>, text: &str) -> Record {
    json::one(InputKind::Events, text.as_bytes(), &shop.context()).unwrap()
}

#[test]
fn a_retry_hashes_like_its_first_attempt_and_other_content_does_not() {
    let shop = shop();
    let first =
        record(&shop, r#"{"event":"purchase","properties":{"currency":"GBP","items":[{"item_id":"A","price":2}]}}"#);
    let mut later = common::shop();
    later.currencies.rates.get_mut("GBP").unwrap().insert(AT, 1_300_000);
    let map = |at: Micros| at.plus(1_000_000);
    later.map_time = Some(&map);
    let spaced = r#" { "properties" : {"items":[{"price":"2.00","item_id":"A","quantity":1}], "currency":"GBP"},
                       "sentAt":"2026-11-21T10:00:00Z","receivedAt":1,"unknown":[1], "event":"purchase", "userId":null } "#;
    let retry = record(&later, spaced);
    assert_ne!(first.message, retry.message, "the rate changed in between");
    assert_eq!(first.content, retry.content);
    assert_eq!(first.message.message_id(), retry.message.message_id());
    assert!(first.message.message_id().starts_with("auto:"));
    let named = record(
        &shop,
        r#"{"messageId":"m","event":"purchase","properties":{"currency":"GBP","items":[{"item_id":"A","price":2}]}}"#,
    );
    assert_eq!((named.content, named.message.message_id()), (first.content, "m"));
    for other in [
        r#"{"event":"purchase","properties":{"currency":"EUR","items":[{"item_id":"A","price":2}]}}"#,
        r#"{"event":"purchase","properties":{"currency":"GBP","items":[{"item_id":"A","price":3}]}}"#,
        r#"{"event":"purchase","timestamp":1790000000001,"properties":{"currency":"GBP","items":[{"item_id":"A","price":2}]}}"#,
        r#"{"event":"purchase","userId":"u","properties":{"currency":"GBP","items":[{"item_id":"A","price":2}]}}"#,
    ] {
        let other = record(&shop, other);
        assert_ne!(other.content, first.content);
        assert_ne!(other.message.message_id(), first.message.message_id());
    }
}

#[test]
fn of_a_key_that_occurs_twice_the_last_counts() {
    let shop = shop();
    let twice = record(&shop, r#"{"event":"search","event":"purchase","userId":"a","\u0075serId":"b"}"#);
    let Message::Event(event) = twice.message else { panic!("expected an event") };
    assert_eq!((event.kind.name(), event.user_id.as_deref()), ("purchase", Some("b")));
}
