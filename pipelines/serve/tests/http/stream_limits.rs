//! Streams at their limits: readers and an encoder that lag, too many streams, too many keys,
//! and the end of the server.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use etalage_serve::{ServeOptions, StoreOptions};

use crate::shop::{Events, Shop, half_a_request};

/// What a client holds after these messages, and how many resets it took, read up to the point
/// where `last` has come.
fn follow(stream: &mut Events, last: &str) -> (BTreeMap<String, String>, usize) {
    let (mut held, mut resets) = (BTreeMap::new(), 0);
    while held.get("last").map(String::as_str) != Some(last) {
        let event = stream.next();
        match event.event.as_str() {
            "reset" => {
                resets += 1;
                held.clear();
                let next = stream.next();
                assert_eq!(next.event, "snapshot", "a snapshot follows a reset");
                apply(&mut held, &next.changes());
            }
            "snapshot" => panic!("a snapshot without a reset"),
            _ => apply(&mut held, &event.changes()),
        }
    }
    (held, resets)
}

fn apply(held: &mut BTreeMap<String, String>, changes: &[String]) {
    for change in changes {
        let (key, units) = change.rsplit_once('=').unwrap();
        match units {
            "null" => held.remove(key),
            units => held.insert(key.to_owned(), units.to_owned()),
        };
    }
}

/// The reader does not read while far more is sent than it may be behind and the sockets hold.
#[test]
fn a_reader_that_lags_is_told_and_starts_again() {
    let options = ServeOptions { max_lag_frames: 4, heartbeat_ms: 50, ..ServeOptions::default() };
    let shop = Shop::with(options, StoreOptions::default());
    let keys: Vec<String> = (0..2_000).map(|n| format!("item.sellable:{n:04}")).collect();
    let mut lagging = shop.stream("/v1/stream/item.sellable");
    assert!(lagging.expect("snapshot").is_empty());
    for n in 0..200 {
        let value = (n % 7 != 6).then_some(n);
        shop.tick(&keys.iter().map(|key| (key.as_str(), value)).collect::<Vec<_>>());
    }
    shop.tick(&[("item.sellable:0007", None), ("item.sellable:last", Some(1))]);
    let (held, resets) = follow(&mut lagging, "1");
    assert!(resets > 0, "200 messages of 140 kB fit nowhere");
    let mut fresh = BTreeMap::new();
    apply(&mut fresh, &shop.stream("/v1/stream/item.sellable").expect("snapshot"));
    assert_eq!(held, fresh);
    assert_eq!(held.len(), 2_000);
}

/// Ticks come faster than they can be encoded, and almost none may wait.
#[test]
fn an_encoder_that_lags_resets_every_stream() {
    let store = StoreOptions { max_waiting_ticks: 1, ..StoreOptions::default() };
    let shop = Shop::with(ServeOptions::default(), store);
    let mut streams: Vec<_> = ["", "?prefix=a", "?key=a1&key=last"]
        .iter()
        .map(|q| shop.stream(&format!("/v1/stream/item.sellable{q}")))
        .collect();
    streams.iter_mut().for_each(|stream| assert!(stream.expect("snapshot").is_empty()));
    for n in 0..5_000 {
        let removed = ["item.sellable:a1", "item.sellable:a2"][n as usize % 2];
        shop.tick(&[("item.sellable:a0", Some(n)), (removed, None), ("item.sellable:a3", Some(n))]);
        shop.tick(&[(removed, Some(n))]);
    }
    shop.tick(&[("item.sellable:alast", Some(1)), ("item.sellable:last", Some(1)), ("item.sellable:a1", None)]);
    let (all, resets) = follow(&mut streams[0], "1");
    assert!(resets > 0);
    assert_eq!(all.keys().map(String::as_str).collect::<Vec<_>>(), ["a0", "a2", "a3", "alast", "last"]);
    assert_eq!((all["a0"].as_str(), all["a2"].as_str()), ("4999", "4999"));
    let (keys, _) = follow(&mut streams[2], "1");
    assert_eq!(keys.keys().map(String::as_str).collect::<Vec<_>>(), ["last"]);
}

/// The server notices with the next heartbeats that nobody reads a stream.
fn wait_for_streams(shop: &Shop, open: u64) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while shop.get("/v1/status").json()["streams"] != open {
        assert!(Instant::now() < deadline, "more than {open} streams stay open");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn streams_are_counted_and_a_closed_one_makes_room() {
    let options = ServeOptions { max_streams: 2, heartbeat_ms: 20, ..ServeOptions::default() };
    let shop = Shop::with(options, StoreOptions::default());
    shop.tick(&[("item.sellable:a", Some(1))]);
    let path = "/v1/stream/item.sellable";
    let first = shop.stream(path);
    let _second = shop.stream(path);
    let refused = shop.get(path);
    assert_eq!((refused.error(), refused.header("retry-after")), ((503, "too_many_streams".into()), "1"));
    assert_eq!(shop.get("/v1/status").json()["streams"], 2);
    drop(first);
    wait_for_streams(&shop, 1);
    assert_eq!(shop.stream(path).expect("snapshot"), ["a=1"]);
}

#[test]
fn a_stream_does_not_start_from_more_keys_than_allowed() {
    let options = ServeOptions { max_snapshot_keys: 2, heartbeat_ms: 20, ..ServeOptions::default() };
    let shop = Shop::with(options, StoreOptions::default());
    let id = format!("beef-{}", shop.tick(&[("item.sellable:a", Some(1)), ("item.sellable:b", Some(1))]));
    assert_eq!(shop.stream("/v1/stream/item.sellable").expect("snapshot").len(), 2);
    shop.tick(&[("item.sellable:a", Some(2)), ("item.sellable:b", Some(2)), ("item.sellable:c", Some(2))]);
    for path in ["/v1/stream/item.sellable".to_owned(), format!("/v1/stream/item.sellable?after={id}")] {
        assert_eq!(shop.get(&path).error(), (400, "snapshot_too_large".into()), "{path}");
    }
    assert_eq!(shop.stream("/v1/stream/item.sellable?prefix=c").expect("snapshot"), ["c=2"]);
    wait_for_streams(&shop, 0);
}

#[test]
fn stopping_ends_the_streams_and_the_server() {
    let mut shop = Shop::open();
    shop.tick(&[("item.sellable:a", Some(1))]);
    let mut stream = shop.stream("/v1/stream/item.sellable");
    stream.expect("snapshot");
    let begin = Instant::now();
    shop.state.shutdown();
    assert_eq!(stream.any().map(|event| event.event), Some("heartbeat".into()), "it is told from where to go on");
    assert_eq!(stream.any(), None, "the stream ends");
    shop.server.take().unwrap().join().unwrap().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(4), "before stop_timeout_s");
}

#[test]
fn a_request_that_does_not_end_does_not_hold_up_the_stop() {
    let options = ServeOptions { stop_timeout_s: 1, ..ServeOptions::default() };
    let mut shop = Shop::with(options, StoreOptions::default());
    let _open = half_a_request(&shop);
    let begin = Instant::now();
    shop.state.shutdown();
    shop.server.take().unwrap().join().unwrap().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(10), "long before body_timeout_s");
}
