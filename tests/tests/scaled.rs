//! The demonstration: it says where it listens and what is simulated, plays real data in its own
//! time, things sell out and leave their sets, and what is sent to it from outside counts.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use etalage_tests::{Server, Stream, etalage, http::eventually};
use serde_json::{Value, json};

const SET: &str = r#"{"scope":"global","window":"24h"}"#;

#[test]
fn it_plays_for_as_long_as_it_is_told() {
    let began = Instant::now();
    let server = Server::start(etalage(["demo", "--for", "5s", "--port", "0"]));
    server.wait_ready();
    let status = server.http.json("/v1/status");
    assert!(status["mode"].as_str().is_some_and(|mode| mode.contains("simulated")), "{status}");
    let as_of = status["as_of"].as_str().expect("a tick was sealed").to_owned();
    assert!(as_of.starts_with("2010-12-"), "the time is that of the data: {as_of}");
    assert_eq!(server.http.get("/").header("content-type").map(|kind| kind.starts_with("text/html")), Some(true));
    let ended = server.wait().with_code(0).says(&["Online Retail", "simulated", "messages stored", "0 refused"]);
    assert!((4..60).contains(&began.elapsed().as_secs()), "{ended}");
}

/// The items of the set that is watched.
fn listed(sets: &BTreeMap<String, Value>) -> Vec<String> {
    let items = sets.get(SET).and_then(|set| set["items"].as_array()).into_iter().flatten();
    items.map(|item| item["item_id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn what_sells_out_leaves_the_sets() {
    let server = Server::start(etalage(["demo", "--port", "0", "--speed", "3600"]));
    server.wait_ready();
    let stream = Stream::open(&server.http, "/v1/stream?sub=item.sellable&sub=set.bestsellers", None);
    let (mut sets, mut sellable) = (BTreeMap::new(), BTreeMap::new());
    let (mut sold_out, mut sent) = (0, None);
    let end = Instant::now() + Duration::from_secs(60);
    while sold_out == 0 || sent.as_ref().is_none_or(|item| listed(&sets).contains(item)) {
        assert!(Instant::now() < end, "{sold_out} sold out by themselves; sent a sell-out of {sent:?}");
        let before = listed(&sets);
        for (view, key, value) in stream.next().changes() {
            if view == "set.bestsellers" {
                sets.insert(key.to_string(), value.clone());
            } else if key.get("location_id").is_none() {
                sellable.insert(key["item_id"].as_str().expect("an id").to_owned(), value["sellable"] == true);
            }
        }
        let now = listed(&sets);
        let is_gone = |item: &&String| !now.contains(item) && sellable.get(*item) == Some(&false);
        sold_out += before.iter().filter(is_gone).filter(|item| Some(*item) != sent.as_ref()).count();
        // A message from outside is dated in real time, and takes effect now in the data's time.
        if sent.is_none() && now.len() == 10 {
            let stock = json!({ "messageId": "outside", "item_id": now[0], "op": "set", "available": 0 });
            server.http.store("/v1/inventory", &[stock]);
            sent = Some(now[0].clone());
        }
    }
    assert_eq!(server.http.metric("etalage_stock_violations_total"), Some(0.0));
    server.interrupt().with_code(0);
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let first = |seed: &str| {
        let server = Server::start(etalage(["demo", "--port", "0", "--speed", "1", "--seed", seed]));
        server.wait_ready();
        // Stock at the beginning is there before the first sale.
        let page = eventually("the first levels of stock", || {
            let page = server.http.json("/v1/views/item.sellable?limit=20");
            (page["entries"].as_array().map(Vec::len) == Some(20)).then_some(page)
        });
        page["entries"].clone()
    };
    assert_eq!(first("7"), first("7"));
    assert_ne!(first("7"), first("8"));
}
