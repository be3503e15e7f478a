//! Reads: one key, many, lists; tags; errors; and that every answer is of one tick.

use std::sync::atomic::{AtomicBool, Ordering};

use etalage_model::Micros;
use etalage_serve::{ServeOptions, StoreOptions};

use crate::shop::{BEGIN, Shop};

#[test]
fn one_key_is_read_with_its_tick_and_its_tag() {
    let shop = Shop::open();
    let tick = shop.tick(&[("item.sellable:22086", Some(7)), ("item.sellable:22086/depot", Some(3))]);
    let answer = shop.get("/v1/views/item.sellable/22086");
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!(body["view"], "item.sellable");
    assert_eq!(body["key"], serde_json::json!({ "item_id": "22086" }));
    assert_eq!(body["value"], serde_json::json!({ "units": 7 }));
    assert_eq!(body["as_of"], Micros(tick).to_string());
    assert_eq!(body["times"]["max_event_time"], Micros(tick - 5).to_string());
    let (first, emitted) = (&body["times"]["first_arrival_ms"], &body["times"]["emitted_ms"]);
    assert!(first.as_f64().unwrap() <= emitted.as_f64().unwrap());
    assert_eq!(answer.header("as-of"), Micros(tick).to_string());
    assert_eq!(answer.header("etag"), format!("\"beef-{tick}\""));
    let depot = shop.get("/v1/views/item.sellable/22086/depot").json();
    assert_eq!(depot["key"], serde_json::json!({ "item_id": "22086", "location_id": "depot" }));
}

#[test]
fn an_unchanged_value_is_answered_with_304() {
    let shop = Shop::open();
    shop.tick(&[("item.sellable:a", Some(1))]);
    let path = "/v1/views/item.sellable/a";
    let tag = shop.get(path).header("etag").to_owned();
    let later = shop.tick(&[("item.sellable:b", Some(1))]);
    for asked in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".into()] {
        let answer = shop.get_with(path, &[("if-none-match", &asked)]);
        assert_eq!((answer.status, answer.bytes.len()), (304, 0), "{asked}");
        assert_eq!(answer.header("as-of"), Micros(later).to_string());
    }
    let changed = shop.tick(&[("item.sellable:a", Some(2))]);
    let answer = shop.get_with(path, &[("if-none-match", &tag)]);
    assert_eq!((answer.status, answer.header("etag")), (200, format!("\"beef-{changed}\"").as_str()));
}

#[test]
fn a_field_may_hold_what_a_path_is_made_of() {
    let shop = Shop::open();
    shop.tick(&[("item.popularity:category:Home%2FKitchen/7d/é 1", Some(4))]);
    let one = shop.get("/v1/views/item.popularity/category:Home%2FKitchen/7d/%C3%A9%201").json();
    assert_eq!(one["key"]["scope"], "category:Home/Kitchen");
    assert_eq!(one["value"]["units"], 4);
    let many = shop.get("/v1/views/item.popularity?prefix=category:Home%252FKitchen/7d/");
    assert_eq!(many.entries(), ["category:Home/Kitchen/7d/é 1=4"]);
}

#[test]
fn many_keys_come_in_the_order_asked_for() {
    let options = ServeOptions { max_keys: 4, ..ServeOptions::default() };
    let shop = Shop::with(options, StoreOptions::default());
    shop.tick(&[("item.popularity:global/7d/a", Some(1)), ("item.popularity:global/7d/b", Some(2))]);
    let json_key = "%7B%22scope%22:%22global%22,%22window%22:%227d%22,%22item_id%22:%22a%22%7D";
    let path = format!("/v1/views/item.popularity?key=global/7d/b&key={json_key}&key=global/7d/none&key=global/7d/b");
    assert_eq!(shop.get(&path).entries(), ["global/7d/b=2", "global/7d/a=1", "global/7d/none=null", "global/7d/b=2"]);
    let too_many = shop.get(&format!("{path}&key=global/7d/b"));
    assert_eq!(too_many.error(), (400, "too_many_keys".into()));
    assert_eq!(shop.get(&format!("{path}&prefix=x")).error(), (400, "bad_parameter".into()));
}

#[test]
fn a_list_is_paged_in_key_order_over_keys_that_vanish() {
    let shop = Shop::open();
    let items = ["a", "b", "c", "d", "e", "f"];
    let keys: Vec<String> = items.iter().map(|item| format!("item.popularity:global/7d/{item}")).collect();
    let changes: Vec<_> = keys.iter().map(|key| (key.as_str(), Some(1))).collect();
    shop.tick(&changes);
    shop.tick(&[("item.popularity:global/1d/z", Some(9)), ("item.popularity:globe/7d/a", Some(9))]);

    let path = "/v1/views/item.popularity?prefix=global/7d/&limit=2";
    let first = shop.get(path);
    assert_eq!(first.entries(), ["global/7d/a=1", "global/7d/b=1"]);
    let next = first.json()["next"].as_str().unwrap().to_owned();
    shop.tick(&[(&keys[1], None), (&keys[2], None)]);
    let second = shop.get(&format!("{path}&cursor={next}"));
    assert_eq!(second.entries(), ["global/7d/d=1", "global/7d/e=1"]);
    let next = second.json()["next"].as_str().unwrap().to_owned();
    let third = shop.get(&format!("{path}&cursor={next}"));
    assert_eq!(third.entries(), ["global/7d/f=1"]);
    assert!(third.json().get("next").is_none());
    assert_eq!(shop.get("/v1/views/item.popularity").entries().len(), 6);
}

#[test]
fn a_cursor_may_be_any_key() {
    let shop = Shop::open();
    shop.tick(&[("item.sellable:100%25", Some(1)), ("item.sellable:a%2Fb", Some(2)), ("item.sellable:{c}", Some(3))]);
    let mut seen = Vec::new();
    let mut cursor = String::new();
    for _ in 0..4 {
        let page = shop.get(&format!("/v1/views/item.sellable?limit=1{cursor}"));
        seen.extend(page.entries());
        let body = page.json();
        let Some(next) = body["next"].as_str() else { break };
        cursor = format!("&cursor={}", next.replace('%', "%25"));
    }
    assert_eq!(seen, ["100%=1", "a/b=2", "{c}=3"]);
}

#[test]
fn the_tag_of_a_list_moves_when_an_entry_leaves_it() {
    let store = StoreOptions { max_tombstones: 0, ..StoreOptions::default() };
    for store in [StoreOptions::default(), store] {
        let shop = Shop::with(ServeOptions::default(), store);
        shop.tick(&[("item.sellable:a", Some(1)), ("item.sellable:b", Some(1))]);
        let path = "/v1/views/item.sellable?prefix=";
        let before = shop.get(path).header("etag").to_owned();
        assert_eq!(shop.get_with(path, &[("if-none-match", &before)]).status, 304);
        shop.tick(&[("item.sellable:b", None)]);
        let after = shop.get_with(path, &[("if-none-match", &before)]);
        assert_eq!((after.status, after.entries()), (200, vec!["a=1".to_owned()]));
    }
}

#[test]
fn window_start_stands_beside_the_value() {
    let shop = Shop::open();
    let tick =
        shop.tick(&[("item.popularity:global/spread/a", Some(1)), ("item.popularity:global/aligned/a", Some(1))]);
    let start = Micros(tick - 3_600_000_000).to_string();
    let path = "/v1/views/item.popularity";
    assert_eq!(shop.get(&format!("{path}/global/spread/a")).json()["window_start"], start);
    assert!(shop.get(&format!("{path}/global/aligned/a")).json().get("window_start").is_none());
    let listed = shop.get(&format!("{path}?key=global/spread/a")).json();
    assert_eq!(listed["entries"][0]["window_start"], start);
}

#[test]
fn wrong_requests_say_what_is_wrong() {
    let shop = Shop::open();
    shop.tick(&[("item.sellable:a", Some(1))]);
    for (path, status, code) in [
        ("/v1/views/item.sold", 404, "unknown_view"),
        ("/v1/views/item.sold/a", 404, "unknown_view"),
        ("/v1/stream/item.sold", 404, "unknown_view"),
        ("/v1/stream?sub=item.sold:x", 404, "unknown_view"),
        ("/v1/views/item.sellable/none", 404, "no_value"),
        ("/v1/views/item.sellable/a/b/c", 400, "bad_key"),
        ("/v1/views/item.sellable/", 404, "no_route"),
        ("/v1/views/item.sellable//a", 400, "bad_key"),
        ("/v1/views/item.sellable/a//", 400, "bad_key"),
        ("/v1/views/item.sellable?key=a/b/c", 400, "bad_key"),
        ("/v1/views/item.sellable?prefix=%7B%22location_id%22:%22a%22%7D", 400, "bad_key"),
        ("/v1/views/item.sellable?limit=0", 400, "bad_parameter"),
        ("/v1/views/item.sellable?limit=10001", 400, "bad_parameter"),
        ("/v1/views/item.sellable?limit=ten", 400, "bad_parameter"),
        ("/v1/views/item.sellable?limit=1&limit=2", 400, "bad_parameter"),
        ("/v1/views/item.sellable?cursor=a/b/c", 400, "bad_parameter"),
        ("/v1/views/item.sellable?limt=1", 400, "bad_parameter"),
        ("/v1/stream", 400, "bad_parameter"),
        ("/v1/stream?sub=item.sellable&prefix=a", 400, "bad_parameter"),
        ("/v1/stream?sub=item.sellable:a/b/c", 400, "bad_key"),
        ("/v1/nothing", 404, "no_route"),
        ("/v1/events", 405, "wrong_method"),
    ] {
        assert_eq!(shop.get(path).error(), (status, code.to_owned()), "{path}");
    }
    let message = shop.get("/v1/views/item.sold").json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("item.sellable, item.popularity, profile.value"), "{message}");
    assert_eq!(shop.get("/v1/views/item.sellable/none").header("as-of"), Micros(BEGIN + 1).to_string());
}

#[test]
fn nothing_is_served_until_the_log_is_read_back() {
    let shop = Shop::reading_back(ServeOptions::default(), StoreOptions::default());
    shop.tick(&[("item.sellable:a", Some(1))]);
    for path in ["/v1/views/item.sellable/a", "/v1/views/item.sellable", "/v1/stream/item.sellable", "/readyz"] {
        let answer = shop.get(path);
        assert_eq!((answer.error(), answer.header("retry-after")), ((503, "not_ready".into()), "1"), "{path}");
    }
    assert_eq!(shop.get("/healthz").status, 200);
    assert_eq!(shop.get("/v1/status").json()["ready"], false);
    shop.store.begin(BEGIN + 2);
    assert_eq!(shop.get("/v1/views/item.sellable").entries(), ["a=1"]);
    assert_eq!(shop.get("/readyz").status, 200);
    *shop.door.not_ready.lock() = Some("the disk is full".into());
    let message = shop.get("/readyz").json()["error"]["message"].clone();
    assert_eq!(message, "the disk is full");
}

#[test]
fn views_and_status_tell_what_is_there() {
    let shop = Shop::open();
    shop.tick(&[("item.sellable:a", Some(1)), ("item.sellable:b", Some(1))]);
    let views = shop.get("/v1/views").json();
    assert_eq!(views["views"][0]["name"], "item.sellable");
    assert_eq!(views["views"][0]["keys"], 2);
    assert_eq!(views["views"][1]["key_fields"], serde_json::json!(["scope", "window", "item_id"]));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    // Freshness is noted by the thread that feeds the streams, soon after the tick is readable.
    let status = loop {
        let status = shop.get("/v1/status").json();
        if status["freshness"]["ticks"] == 1 {
            break status;
        }
        assert!(std::time::Instant::now() < deadline, "{status}");
    };
    assert_eq!((&status["ready"], &status["mode"], &status["epoch"]), (&true.into(), &"run".into(), &"beef".into()));
    assert_eq!(status["tick"], BEGIN + 1);
    assert!(status["freshness"]["p99_ms"].as_f64().unwrap() < 5_000.0);
}

#[test]
fn long_answers_are_packed_on_request() {
    let shop = Shop::open();
    let keys: Vec<String> = (0..600).map(|n| format!("item.sellable:{n:05}")).collect();
    shop.tick(&keys.iter().map(|key| (key.as_str(), Some(1))).collect::<Vec<_>>());
    let path = "/v1/views/item.sellable?limit=600";
    let plain = shop.get(path);
    assert_eq!(plain.entries().len(), 600);
    let packed = shop.get_with(path, &[("accept-encoding", "gzip")]);
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert!(packed.bytes.len() < plain.bytes.len() / 4);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed.bytes[..]), &mut text).unwrap();
    assert!(text.contains("00599"));
}

/// A writer moves one unit between two keys in every tick; whatever a reader sees, their sum is
/// the same, in lists and in reads of many keys.
#[test]
fn an_answer_is_never_torn() {
    let shop = Shop::open();
    shop.tick(&[("item.sellable:a", Some(1_000_000)), ("item.sellable:b", Some(0))]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut moved = 0;
            while !done.load(Ordering::Relaxed) {
                moved += 1;
                shop.tick(&[("item.sellable:a", Some(1_000_000 - moved)), ("item.sellable:b", Some(moved))]);
            }
            moved
        });
        let readers = ["?prefix=", "?key=a&key=b"].map(|query| {
            let shop = &shop;
            scope.spawn(move || {
                let mut last = BEGIN;
                for _ in 0..300 {
                    let body = shop.get(&format!("/v1/views/item.sellable{query}")).json();
                    let units = |at: usize| body["entries"][at]["value"]["units"].as_u64().unwrap();
                    assert_eq!(units(0) + units(1), 1_000_000, "{body}");
                    // The tick of the values is the one that the answer names.
                    let as_of = Micros::parse(body["as_of"].as_str().unwrap()).unwrap().0;
                    assert_eq!(as_of, BEGIN + 1 + units(1));
                    assert!(as_of >= last);
                    last = as_of;
                }
            })
        });
        let outcomes = readers.map(|reader| reader.join());
        done.store(true, Ordering::Relaxed);
        let moved = writer.join().unwrap();
        outcomes.into_iter().for_each(|outcome| outcome.expect("a reader saw whole ticks"));
        assert!(moved > 300, "only {moved} ticks were published meanwhile");
    });
}
