//! What a restart leaves as it was, and what it tells those who were reading: values and refused
//! messages are the same, `as_of` never goes back, an ETag vouches for what has not changed and for nothing else, and a
//! stream goes on where it was.

use std::collections::BTreeMap;

use etalage_tests::{Ended, Http, Server, Shop, Stream, http::encoded};
use serde_json::{Value, json};

const CONFIG: &str = "[windows]\nnames = [\"1h\", \"7d\"]\nbucket = \"10m\"\n[store]\ndurability = \"fsync\"\n";
const VIEWS: [&str; 6] =
    ["item.sellable", "item.popularity", "scope.totals", "set.bestsellers", "item.trend", "set.trending"];

fn purchase(id: &str, item: &str) -> Value {
    json!({
        "messageId": id, "event": "purchase", "context": { "country": "Germany" },
        "properties": { "transaction_id": id, "items": [{ "item_id": item, "item_brand": "Acme", "price": "9.99" }] },
    })
}

fn stock(id: &str, item: &str, available: i64) -> Value {
    json!({ "messageId": id, "item_id": item, "op": "set", "available": available })
}

fn sell(http: &Http) {
    let events: Vec<Value> = (0..30).map(|at| purchase(&format!("p{at}"), &format!("item {}", at % 7))).collect();
    http.store("/v1/events", &events);
    http.store("/v1/inventory", &[stock("s1", "item 1", 5), stock("s2", "item 2", 0)]);
    http.store(
        "/v1/catalog",
        &[json!({ "messageId": "c1", "item_id": "item 3", "category": "Home", "withdrawn": true })],
    );
}

/// Key → value of every view, as texts, all at one time.
fn all(http: &Http) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for view in VIEWS {
        let page = http.json(&format!("/v1/views/{view}?limit=1000"));
        assert!(page["next"].is_null(), "one page holds the whole of {view}");
        for entry in page["entries"].as_array().expect("a list") {
            all.insert(format!("{view} {}", entry["key"]), entry["value"].to_string());
        }
    }
    all
}

/// What a server answers once everything that it has acknowledged is sealed.
fn settled(http: &Http) -> BTreeMap<String, String> {
    let acknowledged = tick(http);
    etalage_tests::http::eventually("later ticks are sealed", || (tick(http) > acknowledged + 50_000).then_some(()));
    all(http)
}

fn tick(http: &Http) -> u64 {
    http.json("/v1/status")["tick"].as_u64().expect("a tick was sealed")
}

/// Restarts a shop after each way of ending a server, and compares.
fn restarted(end: fn(Server) -> Ended) {
    let shop = Shop::new(CONFIG);
    let server = shop.run();
    sell(&server.http);
    let refused = server.http.post("/v1/events", r#"{"messageId":"r1","event":7}"#);
    assert_eq!(refused.statuses(), ["refused"]);
    let before = settled(&server.http);
    assert!(before.len() > 50, "{before:?}");
    let (epoch, last) = (server.http.json("/v1/status")["epoch"].clone(), tick(&server.http));
    let quarantined = server.http.json("/v1/quarantine")["records"].clone();
    assert_eq!(quarantined.as_array().map(Vec::len), Some(1));
    end(server);

    let server = shop.run();
    assert_eq!(all(&server.http), before);
    assert_eq!(server.http.json("/v1/status")["epoch"], epoch, "it is the same store");
    assert!(tick(&server.http) >= last, "as_of never goes back");
    assert_eq!(server.http.json("/v1/quarantine")["records"], quarantined);
    assert_eq!(server.http.post("/v1/events", purchase("p3", "item 3").to_string()).statuses(), ["duplicate"]);
    assert_eq!(server.http.post("/v1/events", purchase("p3", "item 4").to_string()).statuses(), ["refused"]);
    server.http.store("/v1/events", &[purchase("p30", "item 1")]);
    let key = json!({ "scope": "global", "window": "7d" });
    let orders = || server.http.value("scope.totals", &key).filter(|totals| totals["orders"] == 31);
    etalage_tests::http::eventually("it goes on counting", orders);
    server.terminate().with_code(0);
    shop.ended(&["verify"]).with_code(0);
}

#[test]
fn after_a_termination_everything_is_as_it_was() {
    restarted(|server| server.terminate().with_code(0));
}

#[test]
fn after_a_kill_everything_is_as_it_was() {
    restarted(Server::kill);
}

/// A part that panics takes the process with it, instead of leaving the others waiting.
#[test]
fn after_a_panic_the_process_ends_and_nothing_is_lost() {
    let shop = Shop::new(CONFIG);
    let mut event = purchase("p1", "item 1");
    event["timestamp"] = json!("2024-01-01T00:00:00Z");
    let file = shop.write("events.jsonl", format!("{event}\n"));
    let arguments = ["replay", file.to_str().expect("a path that is text"), "--format", "jsonl", "--append"];
    let mut broken = shop.command(&arguments);
    let ended = broken.env("ETALAGE_MUTANT", "broken-worker").output().expect("the binary starts");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(5), "{said}");
    assert!(said.contains("broken on purpose") && said.contains("the process ends"), "{said}");
    shop.ended(&arguments).with_code(0).says(&["0 messages stored, 1 duplicates"]);
    shop.ended(&["verify"]).with_code(0);
}

/// More messages of one instant than may wait for the dataflow: the instant is complete only when
/// the file is, and they are read back all the same.
#[test]
fn very_many_messages_of_one_instant_are_replayed_and_read_back() {
    const MESSAGES: usize = 80_000;
    let shop = Shop::new("[views]\noff = [\"item.popularity\", \"scope.totals\", \"set.bestsellers\"]\n");
    let line = |at: usize| {
        let entry = json!({ "messageId": format!("s{at}"), "item_id": format!("item {}", at % 100), "op": "set",
            "available": at, "occurred_at": "2024-01-01T00:00:00Z" });
        format!("{entry}\n")
    };
    let file = shop.write("stock.jsonl", (0..MESSAGES).map(line).collect::<String>());
    let arguments = ["replay", file.to_str().expect("a path that is text"), "--format", "jsonl", "--append"];
    shop.ended(&arguments).with_code(0).says(&[&format!("{MESSAGES} messages stored, 0 duplicates, 0 refused")]);
    let server = shop.run();
    let greatest = (0..MESSAGES).filter(|at| at % 100 == 7).map(|at| format!("s{at}")).max().expect("one");
    let row = server.http.value("item.sellable", &json!({ "item_id": "item 7" })).expect("it has stock");
    assert_eq!(format!("s{}", row["available"]), greatest, "of one instant the greatest message id holds");
    server.terminate().with_code(0);
}

/// Pipeline time passes while nothing comes in but what is known already.
#[test]
fn time_passes_under_duplicates() {
    let shop = Shop::new(CONFIG);
    let server = shop.run();
    server.http.store("/v1/events", &[purchase("p1", "item 1")]);
    let before = tick(&server.http);
    let until = std::time::Instant::now() + std::time::Duration::from_millis(400);
    while std::time::Instant::now() < until {
        // Without a pause between them, so that the pipeline is never idle for long.
        let bodies = std::thread::scope(|threads| {
            let send = || server.http.post("/v1/events", purchase("p1", "item 1").to_string()).statuses();
            let lanes: Vec<_> = (0..4).map(|_| threads.spawn(send)).collect();
            lanes.into_iter().flat_map(|lane| lane.join().expect("a request is answered")).collect::<Vec<_>>()
        });
        assert!(bodies.iter().all(|status| status == "duplicate"), "{bodies:?}");
    }
    assert!(tick(&server.http) > before + 300_000, "as_of stands still at {before}");
}

#[test]
fn as_of_rises_over_many_restarts() {
    let shop = Shop::new(CONFIG);
    let mut last = 0;
    for round in 0..5 {
        let server = shop.run();
        for at in 0..20 {
            server.http.store("/v1/events", &[purchase(&format!("{round}-{at}"), "item")]);
            let now = tick(&server.http);
            assert!(now >= last, "{now} after {last}");
            last = now;
        }
        server.kill();
    }
}

#[test]
fn an_etag_vouches_for_what_has_not_changed_and_for_nothing_else() {
    let shop = Shop::new(CONFIG);
    let server = shop.run();
    sell(&server.http);
    settled(&server.http);
    let path = format!("/v1/views/item.sellable/{}", encoded("item 1"));
    let answer = server.http.get(&path);
    let tag = answer.header("etag").expect("an answer has a tag").to_owned();
    let again = server.http.with("If-None-Match", &tag).get(&path);
    assert_eq!((again.status, again.text.as_str()), (304, ""), "nothing has changed");
    assert_eq!(again.header("etag"), Some(tag.as_str()));
    server.http.store("/v1/inventory", &[stock("s3", "item 1", 4)]);
    let fresh = etalage_tests::http::eventually("a change gives another tag", || {
        let answer = server.http.with("If-None-Match", &tag).get(&path);
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(fresh.json()["value"]["available"], 4);
    assert_ne!(fresh.header("etag"), Some(tag.as_str()));
    server.kill();

    let server = shop.run();
    let answer = server.http.with("If-None-Match", &tag).get(&path);
    assert_eq!((answer.status, &answer.json()["value"]["available"]), (200, &json!(4)), "an old tag is still old");
    let known = fresh.header("etag").expect("a tag");
    assert_eq!(answer.header("etag"), Some(known), "what has not changed has the tag that it had");
    assert_eq!(server.http.with("If-None-Match", known).get(&path).status, 304);
    server.kill();

    shop.configure(&CONFIG.replace("10m", "5m"));
    let server = shop.run();
    let answer = server.http.with("If-None-Match", known).get(&path);
    assert_eq!(answer.status, 200, "with other options a tag says nothing");
}

#[test]
fn a_stream_goes_on_where_it_was_after_a_termination() {
    a_stream_goes_on_where_it_was(|server| server.terminate().with_code(0));
}

#[test]
fn a_stream_goes_on_where_it_was_after_a_kill() {
    a_stream_goes_on_where_it_was(Server::kill);
}

fn a_stream_goes_on_where_it_was(end: fn(Server) -> Ended) {
    let shop = Shop::new(&CONFIG.replace("[store]\n", "[store]\nsegment_bytes = 1_048_576\n"));
    let server = shop.run();
    sell(&server.http);
    // More than one segment, of which the log drops none.
    for at in 0..10 {
        let events: Vec<Value> = (0..1_000).map(|of| purchase(&format!("more {at}-{of}"), "item 6")).collect();
        server.http.store("/v1/events", &events);
    }
    assert!(shop.segments().len() > 1);
    settled(&server.http);
    let path = "/v1/stream?sub=item.sellable&sub=set.bestsellers:global/7d";
    let first = Stream::open(&server.http, path, None).next();
    assert_eq!(first.event, "snapshot");
    let id = first.id.expect("a snapshot has an id");

    server.http.store("/v1/inventory", &[stock("s4", "item 5", 0)]);
    settled(&server.http);
    let resumed = Stream::open(&server.http, path, Some(&id)).next();
    assert_eq!(resumed.event, "changes");
    let changed: Vec<String> = resumed.changes().map(|(view, key, _)| format!("{view} {key}")).collect();
    let expected = [r#"item.sellable {"item_id":"item 5"}"#, r#"set.bestsellers {"scope":"global","window":"7d"}"#];
    assert_eq!(changed, expected, "what has changed since, and nothing else");
    let id = resumed.id.expect("changes have an id");
    let query = Stream::open(&server.http, &format!("{path}&after={id}"), None).next();
    assert_eq!((query.event.as_str(), query.changes().count()), ("changes", 0), "an id may stand in the query");
    let mut before = settled(&server.http);
    before.retain(|key, _| key.starts_with("item.sellable ") || key == expected[1]);
    let open = Stream::open(&server.http, path, None);
    assert_eq!(open.next().event, "snapshot");
    // The first heartbeats may name a tick that is not in the log.
    let id_of_log = loop {
        let heartbeat = open.next();
        assert_eq!(heartbeat.event, "heartbeat");
        let id = heartbeat.id.clone().expect("a heartbeat has an id");
        if !id.ends_with(&format!("-{}", heartbeat.tick())) {
            break id;
        }
    };
    end(server);
    // A kill may leave nothing to come.
    let id = open.rest().into_iter().filter_map(|message| message.id).next_back().unwrap_or(id_of_log);

    let server = shop.run();
    let resumed = Stream::open(&server.http, path, Some(&id)).next();
    assert_eq!((resumed.event.as_str(), resumed.changes().count()), ("changes", 0), "{id}: {resumed:?}");
    server.http.store("/v1/inventory", &[stock("s5", "item 6", 0)]);
    settled(&server.http);
    let resumed = Stream::open(&server.http, path, Some(&id)).next();
    let changed: Vec<&Value> = resumed.changes().map(|(_, key, _)| key).collect();
    assert_eq!(changed[0], &json!({ "item_id": "item 6" }), "what has changed since: {resumed:?}");
    before = settled(&server.http);
    before.retain(|key, _| key.starts_with("item.sellable ") || key == expected[1]);
    for id in ["0-17", "no id"] {
        let stream = Stream::open(&server.http, path, Some(id));
        let reset = stream.next();
        assert_eq!((reset.event.as_str(), reset.id), ("reset", None), "{id} is from elsewhere");
        let snapshot = stream.next();
        assert_eq!(snapshot.event, "snapshot");
        let values = snapshot.changes().map(|(view, key, value)| (format!("{view} {key}"), value.to_string()));
        assert_eq!(values.collect::<BTreeMap<String, String>>(), before, "{id}");
    }
}
