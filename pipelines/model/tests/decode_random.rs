//! Whatever bytes come in, decoding ends without a panic and gives one result for each item.

mod common;

use common::shop;
use etalage_model::{
    InputKind,
    decode::{
        ReadError, json,
        online_retail::{COLUMNS, Options, Reader},
    },
};
use proptest::{collection::vec, prelude::*, sample::Index};

const KINDS: [InputKind; 3] = [InputKind::Events, InputKind::Inventory, InputKind::Catalogue];

/// Messages that touch every field, one of each kind and then some.
const VALID: [&str; 5] = [
    r#"{"messageId":"m1","type":"track","event":"purchase","userId":7,"anonymousId":"a","timestamp":"2026-11-21T10:00:00Z","context":{"location":{"country":"DE"},"device":{"type":"mobile"},"locale":"de-AT","campaign":{"medium":"email"}},"properties":{"transaction_id":"T","currency":"GBP","value":25.5,"coupon":"c","items":[{"item_id":"A","item_brand":"b","item_category":"Home","item_category2":"Kitchen","price":12.75,"quantity":2},{"item_id":"B"}]}}"#,
    r#"{"event":"Product Added","timestamp_micros":1790000000000000,"properties":{"product_id":"A","category":"Home > Kitchen","price":"3.50","quantity":"2","variant":42}}"#,
    r#"{"type":"alias","userId":"u\u00e9\ud83d\ude00","previousId":"p"}"#,
    r#"{"messageId":"s","item_id":"A","location_id":"L","op":"delta","available":-3,"version":7,"occurred_at":1790000000000}"#,
    r#"{"messageId":"c","op":"upsert","id":"A","updated_at":"2026-11-21T10:00:00Z","category":["Home","Kitchen"],"title":"Mug","price":15.0,"safety_threshold":2,"withdrawn":false}"#,
];

/// One of [`VALID`] with some bytes overwritten, taken out or put in; never a line end.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        prop::sample::select(b"{}[]\",:\\0-9.eEu".to_vec()),
        any::<u8>().prop_map(|byte| if byte == b'\n' { b' ' } else { byte }),
    ];
    let change = (any::<Index>(), 0..3_u8, byte);
    (prop::sample::select(VALID.to_vec()), vec(change, 0..6)).prop_map(|(valid, changes)| {
        let mut bytes = valid.as_bytes().to_vec();
        for (at, how, byte) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    })
}

/// Any JSON value where an object is expected: keys that mean something, values of every type.
fn strange() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
        prop::sample::select(vec!["purchase", "set", "delta", "upsert", "track", "2026-11-21", "1e99", " > "])
            .prop_map(Into::into),
    ];
    let key = prop::sample::select(vec![
        "messageId",
        "type",
        "event",
        "timestamp",
        "timestamp_micros",
        "userId",
        "context",
        "properties",
        "items",
        "products",
        "item_id",
        "price",
        "quantity",
        "category",
        "item_category",
        "currency",
        "value",
        "device",
        "location",
        "country",
        "locale",
        "op",
        "available",
        "version",
        "occurred_at",
        "id",
        "updated_at",
        "title",
        "safety_threshold",
        "withdrawn",
        "other",
    ]);
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Into::into),
            vec((key.clone(), inner), 0..8)
                .prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let shop = shop();
        for kind in KINDS {
            let _ = shop.body(kind, &bytes);
            if let Err(rejected) = json::one(kind, &bytes, &shop.context()) {
                prop_assert!(bytes.windows(rejected.raw.len().max(1)).any(|part| part == rejected.raw) || rejected.raw.is_empty());
            }
        }
        let _ = json::message(&bytes, &shop.context());
    }

    #[test]
    fn mutated_messages_give_one_result_a_line(lines in vec(mutated(), 1..6)) {
        let shop = shop();
        for kind in KINDS {
            let first = VALID[match kind { InputKind::Events => 0, InputKind::Inventory => 3, InputKind::Catalogue => 4 }];
            let mut body = first.as_bytes().to_vec();
            for line in &lines {
                body.push(b'\n');
                body.extend(line);
            }
            let results = shop.body(kind, &body).unwrap();
            let expected = 1 + lines.iter().filter(|line| !line.trim_ascii().is_empty()).count();
            prop_assert_eq!(results.len(), expected);
            prop_assert!(results[0].is_ok());
            for (result, line) in results[1..].iter().zip(&lines) {
                prop_assert_eq!(result, &json::one(kind, line, &shop.context()));
            }
        }
    }

    #[test]
    fn strange_values_give_one_result_each_in_lines_and_in_arrays(values in vec(strange(), 1..6)) {
        let shop = shop();
        for kind in KINDS {
            let expected: Vec<_> = values.iter().map(|value| shop.one(kind, value.clone())).collect();
            let array = serde_json::Value::from(values.clone()).to_string();
            prop_assert_eq!(&shop.body(kind, array.as_bytes()).unwrap(), &expected);
            let lines: Vec<_> = values.iter().map(ToString::to_string).collect();
            if values.iter().any(serde_json::Value::is_object) && !values[0].is_array() {
                prop_assert_eq!(&shop.body(kind, lines.join("\n").as_bytes()).unwrap(), &expected);
            }
            for (value, result) in values.iter().zip(&expected) {
                let pretty = serde_json::to_string_pretty(value).unwrap();
                let again = json::one(kind, pretty.as_bytes(), &shop.context());
                match (result, again) {
                    (Ok(record), Ok(again)) => prop_assert_eq!(record, &again),
                    (Err(rejected), Err(again)) => prop_assert_eq!(&rejected.message_id, &again.message_id),
                    (result, again) => prop_assert!(false, "{:?} but {:?}", result, again),
                }
            }
        }
    }

    #[test]
    fn online_retail_accounts_for_every_row(rows in vec("[0-9CA\", .:-]{0,40}|C?[0-9]{1,3},[A-C],x,-?[0-9],2010-12-0[1-9] 08:26:00,-?[0-9],,DE", 0..30)) {
        let text = format!("{}\n{}", COLUMNS.join(","), rows.join("\n"));
        let mut reader = Reader::new(text.as_bytes(), Options::default()).unwrap();
        let (mut messages, mut bad) = (0, 0);
        for result in reader.by_ref() {
            match result {
                Ok(_) => messages += 1,
                Err(ReadError::Line(_)) => bad += 1,
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
        let counts = reader.counts();
        let classes = counts.sale + counts.cancel + counts.free + counts.adjust + counts.baddebt;
        prop_assert_eq!(counts.rows, classes + counts.bad);
        prop_assert_eq!((counts.messages, counts.bad), (messages, bad));
    }

    #[test]
    fn online_retail_reads_any_bytes_behind_its_header(bytes in vec(any::<u8>(), 0..400)) {
        let text = [COLUMNS.join(",").as_bytes(), b"\n", &bytes].concat();
        let reader = Reader::new(text.as_slice(), Options::default()).unwrap();
        prop_assert!(reader.count() <= bytes.len());
    }
}
