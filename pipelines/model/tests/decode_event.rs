//! Events out of JSON: names, aliases, times, items, money, and what is said of each fault.

mod common;

use common::{AT, event, reason, shop};
use etalage_model::{EventKind, Micros, Refusal, decode::json::Limits};
use serde_json::json;

#[test]
fn a_ga4_purchase_is_read_whole() {
    let event = event(json!({
        "messageId": "m1", "type": "track", "event": "purchase",
        "userId": "u1", "anonymousId": "a1", "timestamp": "2026-11-21T10:00:00Z",
        "sentAt": "2026-11-21T10:00:01Z", "receivedAt": 7, "integrations": {"All": [true]},
        "context": {"country": "DE", "device": {"type": "mobile", "id": 7}, "locale": "de-AT",
                    "channel": "web", "consent": {"marketing": true}},
        "properties": {
            "transaction_id": "T1", "currency": "EUR", "value": 25.5, "coupon": "SPRING",
            "items": [
                {"item_id": "A", "item_name": "Mug", "item_brand": "Acme", "item_category": "Home",
                 "item_category2": "Kitchen", "item_variant": "red", "item_list_id": "top",
                 "location_id": "L1", "price": 12.75, "quantity": 2},
                {"item_id": "B"}
            ]
        }
    }));
    assert_eq!((event.message_id.as_str(), event.kind, event.name), ("m1", EventKind::Purchase, None));
    assert_eq!(Some(event.timestamp), Micros::parse("2026-11-21T10:00:00Z"));
    assert_eq!((event.user_id.as_deref(), event.anonymous_id.as_deref()), (Some("u1"), Some("a1")));
    let seen = [event.country, event.device, event.language, event.channel].map(|sym| sym.unwrap().as_str());
    assert_eq!(seen, ["DE", "mobile", "de", "web"]);
    assert_eq!((event.transaction_id.as_deref(), event.value_micros), (Some("T1"), Some(25_500_000)));
    assert_eq!(event.coupon.as_deref(), Some("SPRING"));
    let [mug, other] = event.items.as_slice() else { panic!("expected two items: {:?}", event.items) };
    assert_eq!((mug.item_id.as_str(), mug.quantity, mug.price_micros), ("A", 2, 12_750_000));
    let labels = [mug.brand, mug.category, mug.variant, mug.list_id, mug.location_id].map(|sym| sym.unwrap().as_str());
    assert_eq!(labels, ["Acme", "Home/Kitchen", "red", "top", "L1"]);
    assert_eq!((other.quantity, other.price_micros, other.category), (1, 0, None));
}

#[test]
fn a_segment_order_is_the_same_purchase() {
    let event = event(json!({
        "type": "track", "event": "Order Completed", "messageId": "m1", "userId": 4711,
        "context": {"location": {"country": "France"}, "device": "desktop", "campaign": {"medium": "email"}},
        "properties": {
            "order_id": "T1", "revenue": "25.50", "list_id": "search",
            "products": [{"product_id": "A", "sku": "S", "name": "Mug", "brand": "Acme", "variant": 42,
                          "category": "Home > Kitchen", "price": "12.75", "quantity": "2", "position": 1},
                         {"sku": "B", "list_id": "own"}]
        }
    }));
    assert_eq!((event.kind, event.name.as_deref()), (EventKind::Purchase, Some("Order Completed")));
    assert_eq!(event.timestamp, AT);
    assert_eq!((event.user_id.as_deref(), event.transaction_id.as_deref()), (Some("4711"), Some("T1")));
    assert_eq!(event.value_micros, Some(25_500_000));
    let seen = [event.country, event.device, event.channel].map(|sym| sym.unwrap().as_str());
    assert_eq!(seen, ["France", "desktop", "email"]);
    let [mug, other] = event.items.as_slice() else { panic!("expected two items: {:?}", event.items) };
    assert_eq!((mug.item_id.as_str(), mug.quantity, mug.price_micros), ("A", 2, 12_750_000));
    let labels = [mug.brand, mug.category, mug.variant, mug.list_id].map(|sym| sym.unwrap().as_str());
    assert_eq!(labels, ["Acme", "Home/Kitchen", "42", "search"]);
    assert_eq!((other.item_id.as_str(), other.list_id.unwrap().as_str()), ("B", "own"));
}

#[test]
fn an_event_of_a_single_product_is_its_own_item() {
    let properties = json!({"product_id": "A", "price": 3, "category": ["Home", "Tea/Coffee"]});
    for (name, expected) in [("Product Viewed", 1), ("Product Added", 1), ("remove_from_cart", 1), ("search", 0)] {
        let event = event(json!({"event": name, "properties": properties}));
        assert_eq!(event.items.len(), expected, "{name}");
        if let [item] = event.items.as_slice() {
            assert_eq!((item.item_id.as_str(), item.quantity, item.price_micros), ("A", 1, 3_000_000));
            assert_eq!(item.category.unwrap().as_str(), "Home/Tea%2FCoffee");
        }
    }
    let listed = event(json!({"event": "view_item", "properties": {"product_id": "A", "items": [{"item_id": "B"}]}}));
    assert_eq!(listed.items[0].item_id.as_str(), "B");
}

#[test]
fn the_names_of_three_vocabularies_mean_the_same() {
    let names = [
        (EventKind::ViewItem, ["view_item", "Product Viewed", "product_view"]),
        (EventKind::Purchase, ["purchase", "Order Completed", "transaction"]),
        (EventKind::Refund, ["refund", "Order Refunded", "Order Cancelled"]),
        (EventKind::Other, ["wishlist", "Signed Up", "PURCHASE"]),
    ];
    for (kind, names) in names {
        for name in names {
            assert_eq!(event(json!({"event": name})).kind, kind, "{name}");
            assert_eq!(event(json!({"name": name, "type": "track"})).kind, kind, "{name}");
        }
    }
}

#[test]
fn types_other_than_track_say_themselves_what_happened() {
    let ids = json!({"userId": "u", "anonymousId": "a", "previousId": "p", "groupId": "g"});
    let kinds = [
        ("page", EventKind::Page),
        ("screen", EventKind::Page),
        ("identify", EventKind::Identify),
        ("alias", EventKind::Alias),
        ("unlink", EventKind::Unlink),
        ("group", EventKind::Group),
    ];
    for (name, kind) in kinds {
        let mut message = ids.clone();
        message["type"] = json!(name);
        assert_eq!(event(message).kind, kind, "{name}");
    }
    assert_eq!(
        reason(json!({"type": "tracked", "event": "purchase"})),
        "invalid: `type`: expected track, page, screen, identify, alias, unlink or group, found the text `tracked`"
    );
    assert!(reason(json!({"type": "track"})).starts_with("invalid: `event` is missing"));
    assert!(reason(json!({"type": "alias", "userId": "u"})).starts_with("invalid: `previousId` is missing"));
    assert!(reason(json!({"type": "unlink", "userId": "u"})).starts_with("invalid: `anonymousId` is missing"));
    assert!(reason(json!({"type": "group", "userId": "u"})).starts_with("invalid: `groupId` is missing"));
}

#[test]
fn times_are_rfc_3339_or_milliseconds_or_the_pipelines() {
    let at = |field: &str, value: serde_json::Value| event(json!({"event": "search", field: value})).timestamp;
    let expected = Micros::parse("2026-11-21T10:00:00.5Z").unwrap();
    assert_eq!(at("timestamp", json!("2026-11-21T11:00:00.5+01:00")), expected);
    assert_eq!(at("timestamp", json!(expected.0 / 1000)), expected);
    assert_eq!(at("timestamp", json!(expected.0 as f64 / 1000.0)), expected);
    assert_eq!(at("timestamp_micros", json!(expected.0)), expected);
    assert_eq!(at("timestamp_micros", json!(expected.0.to_string())), expected);
    for absent in [json!(null), json!(""), json!("  ")] {
        assert_eq!(at("timestamp", absent), AT);
    }
    for bad in [json!("yesterday"), json!(-1), json!(1.5), json!(1e300), json!(true), json!({"at": 1})] {
        let reason = reason(json!({"event": "search", "timestamp": bad}));
        assert!(reason.starts_with("invalid: `timestamp`: expected a time after 1970"), "{reason}");
    }
    let far = reason(json!({"event": "search", "timestamp_micros": i64::MAX}));
    assert!(far.starts_with("invalid: `timestamp_micros`: expected whole microseconds"), "{far}");
}

#[test]
fn a_scaled_clock_maps_times_that_were_sent_and_no_others() {
    let mut shop = shop();
    let map = |at: Micros| at.plus(5);
    shop.map_time = Some(&map);
    let sent = shop.event(json!({"event": "search", "timestamp": 1000}));
    assert_eq!(sent.timestamp, Micros(1_000_005));
    assert_eq!(shop.event(json!({"event": "search"})).timestamp, AT);
}

#[test]
fn a_reason_names_the_field_of_an_item_and_what_was_expected_there() {
    let items = |item: serde_json::Value| {
        let good = json!({"item_id": "A"});
        json!({"event": "purchase", "properties": {"items": [good, good, good, item]}})
    };
    let of_an_item = [
        (json!({"price": 1}), "`properties.items[3].item_id` is missing: every item needs one"),
        (json!({"item_id": ""}), "`properties.items[3].item_id` is missing"),
        (json!({"item_id": ["A"]}), "`properties.items[3].item_id`: expected a text or an integer, found a list"),
        (json!({"item_id": 1.5}), "`properties.items[3].item_id`: expected a text or an integer, found 1.5"),
        (json!({"sku": true}), "`properties.items[3].sku`: expected a text or an integer, found true"),
        (
            json!({"item_id": "A", "quantity": 0}),
            "`properties.items[3].quantity`: expected a whole number of at least 1, found 0",
        ),
        (
            json!({"item_id": "A", "quantity": -2}),
            "`properties.items[3].quantity`: expected a whole number of at least 1, found -2",
        ),
        (
            json!({"item_id": "A", "quantity": 1.5}),
            "`properties.items[3].quantity`: expected a whole number of at least 1, found 1.5",
        ),
        (
            json!({"item_id": "A", "quantity": "two"}),
            "`properties.items[3].quantity`: expected a whole number of at least 1, found the text `two`",
        ),
        (
            json!({"item_id": "A", "quantity": 2_000_000_000}),
            "`properties.items[3].quantity`: 2000000000, at most 1000000000 are taken (max_quantity)",
        ),
        (
            json!({"item_id": "A", "price": -0.01}),
            "`properties.items[3].price`: expected an amount that is not negative, found -0.01",
        ),
        (json!({"item_id": "A", "price": "1,50"}), "`properties.items[3].price`: expected an amount such as"),
        (json!({"item_id": "A", "price": "inf"}), "`properties.items[3].price`: expected an amount such as"),
        (json!({"item_id": "A", "brand": {}}), "`properties.items[3].brand`: expected a text, found an object"),
        (
            json!({"item_id": "A", "category": 3}),
            "`properties.items[3].category`: expected a text such as `Home > Kitchen` or a list of texts, found 3",
        ),
        (json!({"item_id": "A", "category": [3]}), "`properties.items[3].category`: expected a text, found 3"),
        (json!("A"), "`properties.items[3]`: expected an object with `item_id`, found the text `A`"),
        (json!(null), "`properties.items[3]`: expected an object with `item_id`, found nothing"),
    ];
    for (item, expected) in of_an_item {
        let reason = reason(items(item));
        assert!(reason.starts_with(&format!("invalid: {expected}")), "{reason}");
    }
}

#[test]
fn a_reason_names_the_field_of_the_event() {
    let of_the_event = [
        (json!({"properties": {"items": "A"}}), "`properties.items`: expected a list of items, found the text `A`"),
        (json!({"properties": {"products": {}}}), "`properties.products`: expected a list of items, found an object"),
        (json!({"properties": {"products": [{}]}}), "`properties.products[0].item_id` is missing"),
        (json!({"properties": []}), "`properties`: expected an object, found a list"),
        (json!({"properties": {"currency": "EURO"}}), "`properties.currency`: expected an ISO 4217 code such as EUR"),
        (json!({"properties": {"value": []}}), "`properties.value`: expected an amount"),
        (json!({"properties": {"order_id": {}}}), "`properties.order_id`: expected a text or an integer"),
        (json!({"properties": {"query": 7}}), "`properties.query`: expected a text, found 7"),
        (json!({"context": 7}), "`context`: expected an object, found 7"),
        (json!({"context": {"location": "DE"}}), "`context.location`: expected an object, found the text `DE`"),
        (json!({"context": {"location": {"country": 1}}}), "`context.location.country`: expected a text, found 1"),
        (json!({"context": {"device": {"type": []}}}), "`context.device.type`: expected a text, found a list"),
        (json!({"context": {"device": 3}}), "`context.device`: expected an object with `type`, or a text, found 3"),
        (json!({"context": {"campaign": {"medium": 3}}}), "`context.campaign.medium`: expected a text, found 3"),
        (json!({"context": {"locale": 3}}), "`context.locale`: expected a text, found 3"),
        (json!({"userId": true}), "`userId`: expected a text or an integer, found true"),
        (json!({"messageId": {}}), "`messageId`: expected a text or an integer, found an object"),
        (json!({"event": 7}), "`event`: expected a text, found 7"),
    ];
    for (mut message, expected) in of_the_event {
        if message.get("event").is_none() {
            message["event"] = json!("search");
        }
        let reason = reason(message);
        assert!(reason.starts_with(&format!("invalid: {expected}")), "{reason}");
    }
}

#[test]
fn every_text_has_a_limit_with_a_name() {
    let long = |bytes: usize| "x".repeat(bytes);
    assert!(event(json!({"event": "search", "userId": long(256)})).user_id.is_some());
    let cases = [
        (
            json!({"event": "search", "userId": long(257)}),
            "`userId`: 257 bytes long, at most 256 are taken (max_id_bytes)",
        ),
        (json!({"event": long(257)}), "`event`: 257 bytes long, at most 256 are taken (max_label_bytes)"),
        (
            json!({"event": "search", "properties": {"query": long(2_049)}}),
            "`properties.query`: 2049 bytes long, at most 2048 are taken (max_search_bytes)",
        ),
        (json!({"event": "view_item", "properties": {"sku": long(257)}}), "`properties.sku`: 257 bytes long"),
        (
            json!({"event": "view_item", "properties": {"sku": "A", "category": long(257)}}),
            "`properties.category`: 257 bytes long",
        ),
        (
            json!({"event": "view_item", "properties": {"sku": "A", "category": "a/b/c/d/e/f/g/h/i/j/k"}}),
            "`properties.category`: 11 levels, at most 10 are taken (max_category_levels)",
        ),
    ];
    for (message, expected) in cases {
        let reason = reason(message);
        assert!(reason.starts_with(&format!("invalid: {expected}")), "{reason}");
    }
    let items =
        |count: usize| json!({"event": "purchase", "properties": {"items": vec![json!({"item_id": "A"}); count]}});
    assert_eq!(event(items(200)).items.len(), 200);
    assert_eq!(
        reason(items(201)),
        "invalid: `properties.items`: 201 items, at most 200 are taken (max_items); split the event"
    );
}

#[test]
fn an_event_is_taken_up_to_max_event_bytes() {
    let padded = |bytes: usize| {
        let message = json!({"messageId": "m1", "event": "search", "extra": ""}).to_string();
        message.replace(r#""extra":"""#, &format!(r#""extra":"{}""#, "x".repeat(bytes - message.len())))
    };
    let limit = Limits::default().max_event_bytes;
    assert!(shop().events(padded(limit).as_bytes()).unwrap()[0].is_ok());
    let too_large = padded(limit + 1);
    let mut results = shop().events(too_large.as_bytes()).unwrap();
    let rejected = results.remove(0).unwrap_err();
    assert_eq!(rejected.reason, Refusal::TooLarge { bytes: limit + 1, limit });
    assert_eq!(rejected.message_id.as_deref(), Some("m1"));
    assert_eq!(rejected.raw, too_large.into_bytes());
}

#[test]
fn money_is_converted_at_the_events_time_and_held_within_a_line() {
    let purchase = |currency: serde_json::Value, price: f64, quantity: i64| {
        json!({"event": "purchase", "timestamp": "2026-11-21T10:00:00Z", "properties": {
            "currency": currency, "value": 1, "items": [{"item_id": "A", "price": price, "quantity": quantity}]}})
    };
    let amounts = |message| {
        let event = event(message);
        (event.value_micros.unwrap(), event.items[0].price_micros)
    };
    assert_eq!(amounts(purchase(json!(null), 2.0, 1)), (1_000_000, 2_000_000));
    assert_eq!(amounts(purchase(json!("eur"), 2.0, 1)), (1_000_000, 2_000_000));
    assert_eq!(amounts(purchase(json!("GBP"), 2.0, 1)), (1_200_000, 2_400_000));
    assert!(reason(purchase(json!("USD"), 2.0, 1)).starts_with("unknown_currency: no rate for `USD`"));
    assert_eq!(event(json!({"event": "purchase", "properties": {"currency": "USD"}})).items, []);
    let mut early = purchase(json!("GBP"), 2.0, 1);
    early["timestamp"] = json!("2019-01-01T00:00:00Z");
    assert!(reason(early).starts_with("unknown_currency"));
    assert_eq!(amounts(purchase(json!("EUR"), 1e9, 1)).1, 1_000_000_000_000_000);
    for (currency, price, quantity) in
        [("EUR", 1e9, 2), ("EUR", 1.000_001, 1_000_000_000), ("GBP", 1e9, 1), ("EUR", 2e9, 1)]
    {
        assert!(
            reason(purchase(json!(currency), price, quantity)).starts_with("amount_too_large"),
            "{currency} {price}"
        );
    }
}

#[test]
fn categories_are_paths_however_they_are_written() {
    let category = |properties: serde_json::Value| {
        let mut message = json!({"event": "view_item", "properties": properties});
        message["properties"]["item_id"] = json!("A");
        event(message).items[0].category.map(|path| path.as_str())
    };
    for written in [json!("Home > Kitchen"), json!("Home>Kitchen"), json!("Home/Kitchen"), json!(["Home", "Kitchen"])] {
        assert_eq!(category(json!({"category": written})), Some("Home/Kitchen"));
    }
    assert_eq!(category(json!({"item_category": "Home", "item_category3": "Mugs"})), Some("Home/Mugs"));
    assert_eq!(category(json!({"item_category": "Home/Garden", "category": "x"})), Some("Home%2FGarden"));
    assert_eq!(category(json!({"category": "A/C > 100%"})), Some("A%2FC/100%25"));
    assert_eq!(category(json!({"category": " > / "})), Some("%2F"));
    for none in [json!({}), json!({"category": []}), json!({"category": ["", null]}), json!({"category": " > "})] {
        assert_eq!(category(none), None);
    }
}

#[test]
fn languages_are_the_primary_subtag() {
    for (locale, expected) in [("de-AT", Some("de")), ("EN_us.UTF-8", Some("en")), ("fr", Some("fr")), ("-", None)] {
        let event = event(json!({"event": "search", "context": {"locale": locale}}));
        assert_eq!(event.language.map(|language| language.as_str()), expected);
    }
}

#[test]
fn a_search_keeps_its_term() {
    for field in ["search_term", "query"] {
        let event = event(json!({"event": "Products Searched", "properties": {field: "red mug"}}));
        assert_eq!((event.kind, event.search_term.as_deref()), (EventKind::Search, Some("red mug")));
    }
}
