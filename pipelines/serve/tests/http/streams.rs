//! Streams: snapshot, changes, going on after an id, reset, heartbeat, and how a snapshot and
//! what follows it join.

use etalage_model::Group;
use etalage_serve::{ServeOptions, StoreOptions};
use serde_json::Value as Json;

use crate::shop::{BEGIN, EPOCH, Shop};

fn beating_fast() -> ServeOptions {
    ServeOptions { heartbeat_ms: 20, ..ServeOptions::default() }
}

#[test]
fn a_snapshot_comes_first_and_then_what_changes() {
    let shop = Shop::open();
    shop.tick(&[
        ("item.popularity:global/7d/a", Some(1)),
        ("item.popularity:global/7d/b", Some(2)),
        ("item.popularity:brand:x/7d/a", Some(3)),
    ]);
    let mut stream = shop.stream("/v1/stream?sub=item.popularity:global/");
    let first = stream.next();
    assert_eq!((first.event.as_str(), first.tick()), ("snapshot", BEGIN + 1));
    assert_eq!(first.changes(), ["global/7d/a=1", "global/7d/b=2"]);
    assert_eq!(first.data["changes"][0]["view"], "item.popularity");

    shop.tick(&[("item.popularity:brand:x/7d/a", Some(4))]);
    let third = shop.tick(&[
        ("item.popularity:global/7d/c", Some(5)),
        ("item.popularity:global/7d/a", None),
        ("item.popularity:brand:x/7d/a", Some(6)),
    ]);
    let next = stream.next();
    assert_eq!((next.event.as_str(), next.tick()), ("changes", third), "a tick without a change here sends nothing");
    assert_eq!(next.changes(), ["global/7d/a=null", "global/7d/c=5"]);
    let times = &next.data["times"];
    assert!(times["freshness_ms"].as_f64().unwrap() >= 0.0, "{times}");
    assert!(times["sealed_ms"].as_f64().unwrap() <= times["emitted_ms"].as_f64().unwrap());
}

#[test]
fn one_stream_follows_several_parts_at_one_tick() {
    let shop = Shop::open();
    shop.tick(&[("item.sellable:a", Some(1)), ("item.popularity:global/7d/a", Some(2))]);
    let mut stream =
        shop.stream("/v1/stream?sub=item.popularity:global/7d&sub=item.sellable&sub=item.popularity:global/7d/a");
    assert_eq!(stream.expect("snapshot"), ["a=1", "global/7d/a=2"]);
    shop.tick(&[("item.popularity:global/7d/a", Some(3)), ("item.sellable:a", Some(0))]);
    assert_eq!(stream.expect("changes"), ["a=0", "global/7d/a=3"]);
}

#[test]
fn a_stream_of_keys_is_of_these_keys_only() {
    let shop = Shop::open();
    shop.tick(&[("item.sellable:a", Some(1)), ("item.sellable:ab", Some(2)), ("item.sellable:a/depot", Some(3))]);
    let mut stream = shop.stream("/v1/stream/item.sellable?key=a&key=zz");
    assert_eq!(stream.expect("snapshot"), ["a=1"]);
    shop.tick(&[("item.sellable:a/depot", Some(4)), ("item.sellable:ab", Some(4))]);
    shop.tick(&[("item.sellable:zz", Some(5)), ("item.sellable:ab", Some(5))]);
    assert_eq!(stream.expect("changes"), ["zz=5"]);
    let mut all = shop.stream("/v1/stream/item.sellable");
    assert_eq!(all.expect("snapshot"), ["a=1", "a/depot=4", "ab=5", "zz=5"]);
}

#[test]
fn a_stream_goes_on_after_an_id() {
    let shop = Shop::open();
    shop.tick(&[("item.sellable:a", Some(1)), ("item.sellable:b", Some(1)), ("item.sellable:c", Some(1))]);
    let mut stream = shop.stream("/v1/stream/item.sellable");
    let id = stream.next().id.unwrap();
    drop(stream);
    shop.tick(&[("item.sellable:a", Some(2)), ("item.sellable:b", None)]);
    shop.tick(&[("item.sellable:a", Some(3)), ("item.sellable:d", Some(1))]);
    shop.tick(&[("item.sellable:d", None)]);
    for (path, header) in [
        ("/v1/stream/item.sellable".to_owned(), Some(id.as_str())),
        (format!("/v1/stream/item.sellable?after={id}"), None),
        (format!("/v1/stream?sub=item.sellable&after=beef-{BEGIN}"), Some(id.as_str())),
    ] {
        let headers: Vec<_> = header.map(|id| ("last-event-id", id)).into_iter().collect();
        let mut resumed = shop.stream_with(&path, &headers);
        let first = resumed.next();
        assert_eq!((first.event.as_str(), first.tick()), ("changes", BEGIN + 4), "{path}");
        assert_eq!(first.changes(), ["a=3", "b=null", "d=null"], "each key once, with its newest state");
        // Going on from there, nothing is left.
        let mut up_to_date = shop.stream(&format!("/v1/stream/item.sellable?after={}", first.id.unwrap()));
        assert!(up_to_date.expect("changes").is_empty());
    }
    let mut narrow = shop.stream(&format!("/v1/stream/item.sellable?prefix=b&after={id}"));
    assert_eq!(narrow.expect("changes"), ["b=null"]);
}

#[test]
fn an_id_that_is_not_known_is_answered_with_reset() {
    let store = StoreOptions { tombstone_keep_us: 3, ..StoreOptions::default() };
    let shop = Shop::with(ServeOptions::default(), store);
    let first = shop.tick(&[("item.sellable:a", Some(1)), ("item.sellable:b", Some(1))]);
    let removed = shop.tick(&[("item.sellable:b", None)]);
    let now = (0..6).map(|_| shop.tick(&[])).last().unwrap();
    for (id, reason) in [
        (format!("{:x}-{first}", EPOCH + 1), "other_epoch"),
        (format!("beef-{}", now + 1), "forgotten"),
        (format!("beef-{first}"), "forgotten"),
        (format!("beef-{}", BEGIN - 2), "forgotten"),
        ("nonsense".to_owned(), "unknown_id"),
        (String::new(), "unknown_id"),
    ] {
        let mut stream = shop.stream_with("/v1/stream/item.sellable", &[("last-event-id", &id)]);
        let reset = stream.next();
        assert_eq!((reset.event.as_str(), &reset.data["reason"]), ("reset", &reason.into()), "{id}");
        assert_eq!(stream.expect("snapshot"), ["a=1"], "{id}");
    }
    // What was removed at a tick is known to whoever has that tick.
    let mut stream = shop.stream(&format!("/v1/stream/item.sellable?after=beef-{removed}"));
    assert!(stream.expect("changes").is_empty());
}

#[test]
fn ticks_from_before_this_process_are_known_if_it_has_sealed_them() {
    let shop = Shop::reading_back(ServeOptions::default(), StoreOptions::default());
    let old = shop.tick(&[("item.sellable:a", Some(1))]);
    let last = shop.tick(&[("item.sellable:a", Some(2))]);
    shop.store.begin(last + 10);
    let mut stream = shop.stream(&format!("/v1/stream/item.sellable?after=beef-{}", last + 1));
    assert_eq!(stream.next().event, "reset", "an earlier process may have published something then");
    for (id, changes) in [(old, vec!["a=2"]), (last, vec![]), (last + 9, vec![])] {
        let mut stream = shop.stream(&format!("/v1/stream/item.sellable?after=beef-{id}"));
        assert_eq!(stream.expect("changes"), changes, "{id}");
    }
}

/// What a snapshot as of a tick keeps, while the process that takes it goes on, is enough for the next one.
#[test]
fn streams_and_tags_of_an_earlier_process_are_known_from_a_snapshot() {
    let tag = |shop: &Shop| shop.get("/v1/views/item.sellable/a").header("etag").to_owned();
    let shop = Shop::open();
    let first = shop.tick(&[("item.sellable:a", Some(1)), ("item.sellable:b", Some(1))]);
    let second = shop.tick(&[("item.sellable:b", None)]);
    let third = shop.tick(&[("item.sellable:c", Some(3)), ("item.sellable:d", Some(3))]);
    let tag_of_a = tag(&shop);
    shop.tick(&[("item.sellable:d", None), ("item.sellable:e", Some(4))]);
    let kept: Vec<_> = shop.store.export_changes(third).map(|(section, rows)| (section, rows.unwrap())).collect();

    let next = Shop::reading_back(ServeOptions::default(), StoreOptions::default());
    // A part of the snapshot may make what the next one takes back.
    next.tick(&[("item.sellable:part", Some(1)), ("item.sellable:b", Some(1))]);
    next.tick(&[("item.sellable:part", None), ("item.sellable:b", None)]);
    let restored = [("item.sellable:a", Some(1)), ("item.sellable:c", Some(3)), ("item.sellable:d", Some(3))];
    assert_eq!(next.tick(&restored), third);
    next.store.begin_import(third);
    kept.iter().for_each(|(section, rows)| next.store.import_changes(section, rows).unwrap());
    next.store.begin(third + 10);
    assert_eq!(tag(&next), tag_of_a);
    for (id, changes) in
        [(first, vec!["b=null", "c=3", "d=3", "e=null"]), (second, vec!["c=3", "d=3", "e=null"]), (third, vec![])]
    {
        let mut stream = next.stream(&format!("/v1/stream/item.sellable?after=beef-{id}"));
        assert_eq!(stream.expect("changes"), changes, "{id}");
    }
    let mut stream = next.stream(&format!("/v1/stream/item.sellable?after=beef-{}", third + 1));
    assert_eq!(stream.next().event, "reset", "of what came after the snapshot the next process knows nothing");
}

/// More keys than are looked at at a time.
#[test]
fn a_snapshot_keeps_many_changes() {
    let names: Vec<String> = (0..9_000).map(|at| format!("item.sellable:{at:04}")).collect();
    let all: Vec<(&str, Option<u64>)> = names.iter().map(|name| (name.as_str(), Some(1))).collect();
    let shop = Shop::open();
    let first = shop.tick(&all[..8_990]);
    let last = shop.tick(&all[8_990..]);
    let next = Shop::reading_back(ServeOptions::default(), StoreOptions::default());
    (first..last).for_each(|_| _ = next.tick(&[]));
    next.tick(&all);
    for (section, rows) in shop.store.export_changes(last) {
        next.store.import_changes(section, &rows.unwrap()).unwrap();
    }
    next.store.begin(last + 10);
    let mut stream = next.stream(&format!("/v1/stream/item.sellable?after=beef-{first}"));
    assert_eq!(stream.expect("changes").len(), 10);
}

/// Of more keys than there is room for those that changed last are kept; the key of nobody who was erased is.
#[test]
fn a_snapshot_keeps_the_newest_changes_and_no_key_of_who_was_erased() {
    let store = StoreOptions { max_kept_changes: 2, ..StoreOptions::default() };
    let shop = Shop::with(ServeOptions::default(), store.clone());
    shop.tick(&[("item.sellable:a", Some(1)), ("item.sellable:erased", Some(1))]);
    let erased = shop.tick(&[("item.sellable:erased", None)]);
    shop.store.erased(erased);
    let third = shop.tick(&[("item.sellable:b", Some(1))]);
    let last = shop.tick(&[("item.sellable:c", Some(1))]);
    let kept: Vec<_> = shop.store.export_changes(last).map(|(section, rows)| (section, rows.unwrap())).collect();
    assert!(kept.iter().all(|(_, rows)| !rows.windows(6).any(|bytes| bytes == b"erased")));

    let next = Shop::reading_back(ServeOptions::default(), store);
    (erased - 1..last).for_each(|_| _ = next.tick(&[]));
    next.tick(&[("item.sellable:a", Some(1)), ("item.sellable:b", Some(1)), ("item.sellable:c", Some(1))]);
    kept.iter().for_each(|(section, rows)| next.store.import_changes(section, rows).unwrap());
    next.store.begin(last + 10);
    let mut stream = next.stream(&format!("/v1/stream/item.sellable?after=beef-{third}"));
    assert_eq!(stream.expect("changes"), ["c=1"]);
    let mut stream = next.stream(&format!("/v1/stream/item.sellable?after=beef-{}", erased - 1));
    assert_eq!(stream.next().event, "reset", "what was removed then is not known");
}

#[test]
fn a_heartbeat_tells_the_newest_tick_and_can_be_gone_on_from() {
    let shop = Shop::with(beating_fast(), StoreOptions::default());
    let mut stream = shop.stream("/v1/stream/item.sellable?prefix=a");
    stream.expect("snapshot");
    let early = stream.any().unwrap();
    assert_eq!((early.event.as_str(), early.tick()), ("heartbeat", BEGIN - 1), "also before the first tick");
    shop.tick(&[("item.sellable:a", Some(1))]);
    let mut stream = shop.stream("/v1/stream/item.sellable?prefix=a");
    let snapshot = stream.next();
    assert_eq!((snapshot.event.as_str(), &snapshot.data["times"]["freshness_ms"]), ("snapshot", &Json::Null));
    let newest = shop.tick(&[("item.sellable:b", Some(1))]);
    let beat = loop {
        let event = stream.any().unwrap();
        assert_eq!(event.event, "heartbeat");
        if event.tick() == newest {
            break event;
        }
    };
    assert!(beat.data.get("changes").is_none());
    assert_eq!(stream.any().unwrap().tick(), newest, "it is sent again while nothing happens");
    shop.tick(&[("item.sellable:a", Some(2))]);
    let mut resumed = shop.stream(&format!("/v1/stream/item.sellable?prefix=a&after={}", beat.id.unwrap()));
    assert_eq!(resumed.expect("changes"), ["a=2"]);
}

#[test]
fn customers_are_streamed_apart_from_the_shop() {
    let shop = Shop::open();
    shop.tick_of(Group::Customer, &[("profile.value:p", Some(1))]);
    let mut stream = shop.stream("/v1/stream/profile.value");
    assert_eq!(stream.expect("snapshot"), ["p=1"]);
    shop.tick(&[("item.sellable:a", Some(1))]);
    shop.tick_of(Group::Customer, &[("profile.value:p", Some(2))]);
    assert_eq!(stream.expect("changes"), ["p=2"]);
    let mixed = shop.get("/v1/stream?sub=profile.value&sub=item.sellable");
    assert_eq!(mixed.error(), (400, "bad_parameter".into()));
}

/// Every tick counts one key up by one. Readers that come at any moment, and some that come back
/// after their last id, must see every number from their snapshot on: no gap, no repetition.
#[test]
fn a_snapshot_and_what_follows_it_join_without_gap_or_repetition() {
    let options = ServeOptions { heartbeat_ms: 1, ..ServeOptions::default() };
    let shop = Shop::with(options, StoreOptions::default());
    shop.tick(&[("item.sellable:n", Some(0))]);
    let units = |event: &crate::shop::Event| event.data["changes"][0]["value"]["units"].as_u64();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..8)
            .map(|reader| {
                let shop = &shop;
                scope.spawn(move || {
                    let (mut id, mut seen) = (String::new(), None);
                    for round in 0..12 {
                        let after = if id.is_empty() { String::new() } else { format!("&after={id}") };
                        let mut stream = shop.stream(&format!("/v1/stream?sub=item.sellable:n{after}"));
                        let first = stream.next();
                        assert_eq!(first.event, if id.is_empty() { "snapshot" } else { "changes" });
                        seen = units(&first).or(seen);
                        for _ in 0..30 {
                            let next = stream.next();
                            assert_eq!(next.event, "changes");
                            assert_eq!(units(&next), seen.map(|seen| seen + 1), "reader {reader}, round {round}");
                            seen = units(&next);
                            id = next.id.unwrap();
                        }
                    }
                })
            })
            .collect();
        let mut n = 0;
        while readers.iter().any(|reader| !reader.is_finished()) {
            n += 1;
            shop.tick(&[("item.sellable:n", Some(n))]);
            std::thread::sleep(std::time::Duration::from_micros(300));
        }
        readers.into_iter().for_each(|reader| reader.join().expect("a reader saw every tick"));
    });
}
