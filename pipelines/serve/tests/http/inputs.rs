//! The inputs: results in order, packed bodies, limits, and the errors of a body as a whole.

use std::io::{Read, Write};

use etalage_serve::{Busy, ServeOptions, StoreOptions};
use flate2::{Compression, write::GzEncoder};
use serde_json::Value as Json;

use crate::shop::{Mood, Shop, half_a_request, sent, status};

const EVENTS: &str = "/v1/events";

fn event(id: &str) -> String {
    format!(r#"{{"type":"track","event":"view_item","messageId":"{id}","properties":{{"items":[{{"item_id":"1"}}]}}}}"#)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn results(body: &Json) -> Vec<String> {
    let result =
        |one: &Json| format!("{}:{}", one["messageId"].as_str().unwrap_or("-"), one["status"].as_str().unwrap());
    body["results"].as_array().expect("results").iter().map(result).collect()
}

#[test]
fn every_item_is_answered_in_its_place() {
    let shop = Shop::open();
    let lines =
        [event("m1").as_str(), "{broken", &event("m2"), r#"{"messageId":"m3","type":7}"#, &event("m1")].join("\n");
    let answer = shop.post(EVENTS, lines.as_bytes(), &[]);
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!(results(&body), ["m1:stored", "-:refused", "m2:stored", "m3:refused", "m1:duplicate"]);
    assert!(body["results"][0].get("reason").is_none());
    let reason = body["results"][1]["reason"].as_str().unwrap();
    assert!(reason.starts_with("malformed: "), "{reason}");
    let array = format!("[{},{}]", event("m4"), event("m2"));
    assert_eq!(results(&shop.post(EVENTS, array.as_bytes(), &[]).json()), ["m4:stored", "m2:duplicate"]);
    let stored: Vec<_> = shop.door.stored.lock().clone();
    assert_eq!(stored[0], ("POST /v1/events".to_owned(), "m1".to_owned()));
    assert!(shop.post(EVENTS, b"[]", &[]).json()["results"].as_array().unwrap().is_empty());
}

#[test]
fn stock_and_catalogue_have_their_own_doors() {
    let shop = Shop::open();
    let stock = r#"{"messageId":"s1","item_id":"1","op":"set","available":3,"occurred_at":"2010-12-01T08:00:00Z"}"#;
    assert_eq!(results(&shop.post("/v1/inventory", stock.as_bytes(), &[]).json()), ["s1:stored"]);
    let item = r#"{"messageId":"c1","item_id":"1","op":"upsert","brand":"x","updated_at":"2010-12-01T08:00:00Z"}"#;
    assert_eq!(results(&shop.post("/v1/catalog", item.as_bytes(), &[]).json()), ["c1:stored"]);
    let sources: Vec<String> = shop.door.stored.lock().iter().map(|(source, _)| source.clone()).collect();
    assert_eq!(sources, ["POST /v1/inventory", "POST /v1/catalog"]);
}

#[test]
fn packed_bodies_are_unpacked() {
    let shop = Shop::open();
    let two_members = [gzip(event("g1").as_bytes()), gzip(format!("\n{}", event("g2")).as_bytes())].concat();
    let answer = shop.post(EVENTS, &two_members, &[("content-encoding", "gzip")]);
    assert_eq!(results(&answer.json()), ["g1:stored", "g2:stored"]);
    let zstd = zstd::encode_all(event("z1").as_bytes(), 3).unwrap();
    let answer = shop.post(EVENTS, &zstd, &[("content-encoding", "ZSTD")]);
    assert_eq!(results(&answer.json()), ["z1:stored"]);
    let answer = shop.post(EVENTS, event("i1").as_bytes(), &[("content-encoding", "identity")]);
    assert_eq!(results(&answer.json()), ["i1:stored"]);
}

#[test]
fn a_body_that_cannot_be_read_is_refused_as_a_whole() {
    let shop = Shop::open();
    let packed = gzip(event("t1").as_bytes());
    let zstd = zstd::encode_all(event("t2").as_bytes(), 3).unwrap();
    let (gz, zs, br) = (("content-encoding", "gzip"), ("content-encoding", "zstd"), ("content-encoding", "br"));
    for (what, body, header, status, code) in [
        ("empty", &b""[..], None, 400, "unreadable_body"),
        ("no JSON", b"hello", None, 400, "unreadable_body"),
        ("no UTF-8", b"\xFF\xFE", None, 400, "unreadable_body"),
        ("truncated array", b"[{}", None, 400, "unreadable_body"),
        ("truncated gzip", &packed[..packed.len() / 2], Some(gz), 400, "unreadable_body"),
        ("gzip without its end", &packed[..packed.len() - 1], Some(gz), 400, "unreadable_body"),
        ("no gzip", b"{}", Some(gz), 400, "unreadable_body"),
        ("truncated zstd", &zstd[..zstd.len() / 2], Some(zs), 400, "unreadable_body"),
        ("no zstd", b"{}", Some(zs), 400, "unreadable_body"),
        ("unknown encoding", b"{}", Some(br), 415, "unknown_encoding"),
    ] {
        let answer = shop.post(EVENTS, body, header.as_slice());
        assert_eq!(answer.error(), (status, code.to_owned()), "{what}");
    }
    assert!(shop.door.stored.lock().is_empty());
}

#[test]
fn a_body_is_held_to_its_limit_unpacked() {
    let one = event("m1") + &" ".repeat(1_000);
    let options = ServeOptions { max_body_bytes: one.len(), ..ServeOptions::default() };
    let shop = Shop::with(options, StoreOptions::default());
    assert_eq!(shop.post(EVENTS, one.as_bytes(), &[]).status, 200);
    let longer = format!("{one} ");
    let gz = [("content-encoding", "gzip")];
    let zs = [("content-encoding", "zstd")];
    assert_eq!(shop.post(EVENTS, &gzip(one.as_bytes()), &gz).status, 200);
    for answer in [
        shop.post(EVENTS, longer.as_bytes(), &[]),
        shop.post(EVENTS, &gzip(longer.as_bytes()), &gz),
        shop.post(EVENTS, &zstd::encode_all(longer.as_bytes(), 3).unwrap(), &zs),
    ] {
        assert_eq!(answer.error(), (413, "body_too_large".into()));
    }
}

/// Packed, each fits the limit; unpacked, they would be hundreds of megabytes. They break off
/// before their end: whoever unpacks that far answers 400.
#[test]
fn a_bomb_is_stopped() {
    let shop = Shop::open();
    let spaces = vec![b' '; 100 << 20];
    for (packed, encoding) in [(zstd::encode_all(&spaces[..], 1).unwrap(), "zstd"), (gzip(&spaces), "gzip")] {
        assert!(packed.len() < 512_000, "{}", packed.len());
        let answer = shop.post(EVENTS, &packed[..packed.len() - 1], &[("content-encoding", encoding)]);
        assert_eq!(answer.error(), (413, "body_too_large".into()), "{encoding}");
    }
}

#[test]
fn a_body_without_a_length_is_counted_as_it_comes() {
    let options = ServeOptions { max_body_bytes: 1_000, ..ServeOptions::default() };
    let shop = Shop::with(options, StoreOptions::default());
    let mut endless = std::io::repeat(b' ').take(5_000);
    let request = ureq::post(format!("{}{EVENTS}", shop.url)).config().http_status_as_error(false).build();
    let answer = request.send(ureq::SendBody::from_reader(&mut endless)).unwrap();
    assert_eq!(answer.status(), 413);
}

/// Whoever sends too much gets to read why, unless it is far too much: the rest is not waited for.
#[test]
fn a_body_that_is_too_long_is_read_to_its_end_and_one_that_is_far_too_long_is_not() {
    let options = ServeOptions { max_body_bytes: 1_000, max_discarded_bytes: 4 << 20, ..ServeOptions::default() };
    let shop = Shop::with(options, StoreOptions::default());
    let too_long = vec![b' '; 4 << 20];
    for _ in 0..20 {
        assert_eq!(shop.post(EVENTS, &too_long, &[]).error(), (413, "body_too_large".into()));
    }
    let head = |length: usize| format!("POST {EVENTS} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n");
    let waiting = format!("{}expect: 100-continue\r\n\r\n", head(2_000));
    for request in [format!("{}\r\n", head(5 << 20)), waiting] {
        assert_eq!(status(sent(&shop, &request)), "413", "answered without a byte of the body");
    }
}

/// A sender who is told of a time-out tries again; one that sends too much should not.
#[test]
fn a_body_that_is_too_long_and_slow_is_too_long() {
    let options = ServeOptions { max_body_bytes: 1_000, body_timeout_s: 1, ..ServeOptions::default() };
    let shop = Shop::with(options, StoreOptions::default());
    let head = format!("POST {EVENTS} HTTP/1.1\r\nhost: x\r\n");
    let claimed = format!("{head}content-length: 5000\r\n\r\n{}", " ".repeat(1_500));
    let counted = format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{}\r\n", 1_500, " ".repeat(1_500));
    for request in [claimed, counted] {
        assert_eq!(status(sent(&shop, &request)), "413");
    }
}

#[test]
fn a_body_that_does_not_arrive_is_given_up() {
    let options = ServeOptions { body_timeout_s: 1, ..ServeOptions::default() };
    let shop = Shop::with(options, StoreOptions::default());
    assert_eq!(status(half_a_request(&shop)), "408");
}

#[test]
fn too_many_messages_are_no_batch() {
    let shop = Shop::open();
    let lines: Vec<String> = (0..101).map(|n| event(&format!("n{n}"))).collect();
    let answer = shop.post(EVENTS, lines.join("\n").as_bytes(), &[]);
    assert_eq!(answer.error(), (413, "batch_too_large".into()));
    assert_eq!(shop.post(EVENTS, lines[1..].join("\n").as_bytes(), &[]).status, 200);
}

#[test]
fn a_door_that_cannot_take_it_now_says_when() {
    let shop = Shop::open();
    let busy = |overload| Mood::Busy(Busy { retry_after_s: 7, reason: "the queue is full".into(), overload });
    for (mood, error, retry_after) in [
        (busy(true), (429, "busy"), "7"),
        (busy(false), (503, "unavailable"), "7"),
        (Mood::Fails, (503, "not_stored"), "1"),
        (Mood::Stops, (503, "unknown_outcome"), "1"),
    ] {
        *shop.door.mood.lock() = mood;
        let answer = shop.post(EVENTS, event("m1").as_bytes(), &[]);
        assert_eq!((answer.error(), answer.header("retry-after")), ((error.0, error.1.to_owned()), retry_after));
    }
    *shop.door.mood.lock() = Mood::Takes;
    assert_eq!(results(&shop.post(EVENTS, event("m1").as_bytes(), &[]).json()), ["m1:stored"]);
}
