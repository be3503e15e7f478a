//! A wall clock that is far off: not followed, told, and adopted by `etalage clock accept`.

use std::time::{SystemTime, UNIX_EPOCH};

use etalage_store::{Log, LogOptions};
use etalage_tests::{Shop, binary::binary, http::eventually};
use serde_json::{Value, json};

const CONFIG: &str = "[windows]\nnames = [\"7d\"]\nbucket = \"10m\"\n[time]\nmax_clock_step = \"2s\"\n";

/// A store whose last tick lies ahead of the wall clock, as after a process whose clock was wrong.
fn ahead(shop: &Shop, by_us: u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_micros() as u64;
    let (mut log, _) = Log::open(&shop.data(), LogOptions::default()).expect("a new store");
    log.append(now + by_us, &[]).expect("a frame is stored");
}

fn view(number: usize) -> Value {
    let properties = json!({ "items": [{ "item_id": "shoe" }] });
    json!({ "messageId": format!("e{number}"), "event": "view_item", "properties": properties })
}

#[test]
fn a_wall_clock_that_is_behind_is_adopted_and_time_stands_until_it_has_come() {
    // Built before, so that the clock is still behind when the server starts.
    binary();
    let shop = Shop::new(CONFIG);
    ahead(&shop, 10_000_000);
    let server = shop.run();
    let (http, url) = (&server.http, server.http.url().to_owned());
    let clock = || http.json("/v1/clock");
    eventually("it is not followed", || (clock()["followed"] == false).then_some(()));
    let off_ms = clock()["off_ms"].as_i64().expect("a number");
    assert!((-12_000..-3_000).contains(&off_ms), "{off_ms}");
    assert_eq!(http.metric("etalage_clock_astray"), Some(1.0));
    assert!(server.said().contains("etalage clock accept"), "{}", server.said());
    let shown = shop.ended(&["clock", "show", "--url", &url]).with_code(0).out;
    assert!(shown.contains("s behind") && shown.contains("not followed"), "{shown}");

    let accepted = shop.ended(&["clock", "accept", "--url", &url]).with_code(0).out;
    assert!(accepted.contains("s behind; pipeline time stands at "), "{accepted}");
    let standing = clock();
    assert_eq!((&standing["followed"], http.metric("etalage_clock_astray")), (&json!(true), Some(0.0)));
    assert!(standing["stands_for_ms"].as_u64().is_some_and(|ms| ms > 1_000), "{standing}");

    // What comes meanwhile is stored and seen, as of ticks that increase.
    let tick = || http.json("/v1/status")["tick"].as_u64().expect("a tick");
    let before = tick();
    http.store("/v1/events", &[view(1)]);
    let key = json!({ "scope": "global", "window": "7d", "item_id": "shoe" });
    eventually("it is seen", || http.value("item.popularity", &key).filter(|value| value["views"] == 1));
    assert!((before + 1..before + 100_000).contains(&tick()), "time stands at {before}: {}", tick());
    eventually("the wall clock has come", || (clock()["stands_for_ms"] == 0).then_some(()));
    eventually("time goes on", || (tick() > before + 500_000).then_some(()));
    assert_eq!(clock()["followed"], true);
    server.terminate().with_code(0);
    shop.ended(&["verify"]).with_code(0);
}

#[test]
fn a_wall_clock_that_is_followed_can_be_adopted_too() {
    let shop = Shop::new("");
    let server = shop.run();
    let url = server.http.url().to_owned();
    let accepted = shop.ended(&["clock", "accept", "--json", "--url", &url]).with_code(0).json_lines().remove(0);
    assert_eq!((&accepted["followed"], &accepted["mode"]), (&json!(true), &json!("wall")), "{accepted}");
    assert!(accepted["was_off_ms"].as_i64().is_some_and(|ms| ms.abs() < 1_000), "{accepted}");
    let shown = shop.ended(&["clock", "show", "--url", &url]).with_code(0).out;
    assert!(shown.contains("pipeline time  20") && !shown.contains("not followed"), "{shown}");
    server.terminate().with_code(0);
    shop.ended(&["clock", "show", "--url", &url]).with_code(1).says(&["nothing answers at"]);
}
