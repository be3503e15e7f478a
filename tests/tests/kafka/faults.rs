//! What does not go as planned: a broker that restarts, bad messages, tombstones, partitions that come
//! later or say nothing.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use etalage_kafka::{Group, KafkaError, Position, Subscription, To};
use etalage_tests::{broker::Broker, http::eventually, seed, story::Kind};
use serde_json::{Value, json};

use crate::{
    changes::{TRANSACTIONS, assert_told},
    support::{TopicShop, disturbed, everything_in, messages_in, now_ms, publisher, source, story},
};

/// How a broker goes away.
enum End {
    Stop,
    Kill,
}

/// Messages come without a pause while the broker is stopped, killed and started again, and the service
/// is killed. A subscriber sees no broken promise meanwhile.
#[test]
fn a_broker_that_restarts_under_load_changes_nothing() {
    restarts_change_nothing("");
}

/// The same, in transactions.
#[test]
fn a_broker_that_restarts_in_the_middle_of_transactions_changes_nothing() {
    restarts_change_nothing(TRANSACTIONS);
}

fn restarts_change_nothing(more: &str) {
    let mut broker = Broker::start();
    let (seed, mut random) = seed::draw("kafka broker");
    let topics = TopicShop::with(&broker, "restart", 2, more);
    let publisher = publisher(&broker);
    let now_ms = now_ms();
    let mut messages = story(seed::from(seed), 2_000, now_ms);
    let sent = disturbed(&messages, &mut random);
    let server = topics.shop.run();
    let seen = std::thread::scope(|scope| {
        let subscriber = scope.spawn({
            let (topics, brokers) = (&topics, broker.brokers());
            move || topics.seen(&brokers)
        });
        let load = scope.spawn(|| {
            for few in sent.chunks(10) {
                topics.send(&publisher, few);
                std::thread::sleep(Duration::from_millis(50));
            }
            topics.send_last(&publisher, now_ms)
        });
        let mut server = server;
        for (broker_ends, service_dies) in
            [(End::Stop, false), (End::Kill, true), (End::Stop, true), (End::Kill, false)]
        {
            std::thread::sleep(Duration::from_secs(1));
            match broker_ends {
                End::Stop => broker.stop(),
                End::Kill => broker.kill(),
            }
            if service_dies {
                server.kill();
                broker.begin();
                server = topics.shop.start();
            } else {
                broker.begin();
            }
        }
        messages.extend(load.join().expect("everything is sent"));
        let seen = subscriber.join().expect("everything is seen");
        if more == TRANSACTIONS {
            assert_told(&topics, &broker, &seen);
        }
        assert_eq!(server.http.get("/readyz").status, 200);
        server.terminate().with_code(0);
        seen
    });
    assert_eq!(seen, topics.embedded(&messages));
    topics.verify();
}

/// The service waits for a broker that comes later, and says so; one that has gone does not keep it.
#[test]
fn a_broker_that_comes_later_is_waited_for() {
    let mut broker = Broker::start();
    let topics = TopicShop::new(&broker, "later", 1);
    broker.stop();
    let server = std::thread::scope(|scope| {
        let starting = scope.spawn(|| topics.shop.run());
        // It gives a broker some seconds before it says so.
        std::thread::sleep(Duration::from_secs(8));
        assert!(!starting.is_finished(), "it does not start without a broker");
        broker.begin();
        starting.join().expect("it starts")
    });
    let said = server.said();
    assert!(said.contains("waiting for a broker") && said.contains(&broker.address()), "{said}");

    // It does not wait for ever for one that is away when it is stopped.
    broker.kill();
    let began = Instant::now();
    server.terminate().with_code(0);
    assert!(began.elapsed() < Duration::from_secs(25), "it took {:?} to stop", began.elapsed());
}

#[test]
fn after_a_restart_only_what_differs_is_sent() {
    let broker = Broker::shared();
    let topics = TopicShop::new(broker, "differs", 1);
    let publisher = publisher(broker);
    let now_ms = now_ms();
    let messages = story(seed::from(7), 300, now_ms);
    topics.send(&publisher, &messages);
    topics.send_last(&publisher, now_ms);
    let server = topics.shop.run();
    let before = topics.seen(&broker.brokers());
    server.terminate().with_code(0);
    let sent = messages_in(&topics, broker);
    assert!(sent >= before.len() && before.len() > 100, "{sent} messages for {} keys", before.len());

    // Nothing has changed.
    let server = topics.shop.run();
    let lines = |server: &etalage_tests::Server| server.http.json("/v1/status")["as_of"].to_string();
    let first = lines(&server);
    eventually("time passes", || (lines(&server) != first).then_some(()));
    server.terminate().with_code(0);
    assert_eq!(messages_in(&topics, broker), sent);

    // One list of another length: the sets change, and nothing else.
    topics.shop.configure(&topics.config(1).replace("k = 4", "k = 2"));
    let server = topics.shop.run();
    server.terminate().with_code(0);
    let sets = before.keys().filter(|(view, _)| view == "set.bestsellers").count();
    let more = messages_in(&topics, broker) - sent;
    assert!((1..=sets).contains(&more), "{more} messages for {sets} sets");
}

#[test]
fn what_cannot_be_taken_lies_in_the_quarantine_topic_as_it_was_sent() {
    let broker = Broker::shared();
    let topics = TopicShop::new(broker, "poison", 1);
    let publisher = publisher(broker);
    let now_ms = now_ms();
    let long = format!(r#"{{"messageId":"long","event":"{}"}}"#, "x".repeat(40_000));
    let bad: Vec<(Kind, &str, &str)> = vec![
        (Kind::Event, "no json", "malformed"),
        (Kind::Event, "[]", "malformed"),
        (Kind::Event, r#"{"messageId":"b1","event":7}"#, "invalid"),
        (Kind::Event, long.as_str(), "too_large"),
        (Kind::Event, r#"{"messageId":"b2","event":"view_item","timestamp":"2150-01-01T00:00:00Z"}"#, "future"),
        (Kind::Inventory, r#"{"messageId":"b3","item_id":"a","op":"set","available":"many"}"#, "invalid"),
        (Kind::Catalogue, r#"{"messageId":"b4","item_id":""}"#, "invalid"),
    ];
    let server = topics.shop.run();
    for (at, (kind, raw, _)) in bad.iter().enumerate() {
        let topic = topics.topic(*kind);
        let to = To { topic: &topic, partition: Some(at as u32 % 3), key: "bad" };
        publisher.send(to, Some(raw.as_bytes())).expect("the broker takes messages");
    }
    // A tombstone means nothing among events.
    let topic = topics.topic(Kind::Event);
    publisher.send(To { topic: &topic, partition: Some(0), key: "gone" }, None).expect("the broker takes messages");
    let good = topics.send_last(&publisher, now_ms);
    assert_eq!(topics.seen(&broker.brokers()), topics.embedded(&good), "the stream goes on");

    let quarantined = everything_in(broker, ["poison.quarantine".to_owned()]).into_iter();
    let found = quarantined.map(|message| (message.payload.unwrap_or_default(), message.headers.into_iter().collect()));
    let found: BTreeMap<Vec<u8>, BTreeMap<String, String>> = found.collect();
    for (at, (kind, raw, code)) in bad.iter().enumerate() {
        let headers = &found[raw.as_bytes()];
        assert_eq!(headers["code"], *code, "{raw:.60}");
        assert_eq!((&headers["topic"], &headers["partition"]), (&topics.topic(*kind), &(at % 3).to_string()));
        assert!(headers["offset"].parse::<u64>().is_ok() && !headers["reason"].is_empty());
    }
    assert_eq!(found[&Vec::new()]["code"], "invalid", "the tombstone");
    assert_eq!(found.len(), bad.len() + 1);
    server.terminate().with_code(0);
}

#[test]
fn a_tombstone_of_the_catalogue_withdraws_the_item() {
    let broker = Broker::shared();
    let topics = TopicShop::new(broker, "tombstone", 1);
    let publisher = publisher(broker);
    let now_ms = now_ms();
    let stocked = |item: &str| json!({ "messageId": format!("s-{item}"), "item_id": item, "op": "set", "available": 3, "occurred_at": now_ms });
    let listed =
        |item: &str| json!({ "messageId": format!("c-{item}"), "item_id": item, "updated_at": now_ms - 1_000 });
    topics.send(&publisher, &["gone", "kept"].map(|item| (Kind::Inventory, stocked(item))));
    topics.send(&publisher, &["gone", "kept"].map(|item| (Kind::Catalogue, listed(item))));
    let server = topics.shop.run();
    let topic = topics.topic(Kind::Catalogue);
    publisher.send(To { topic: &topic, partition: Some(1), key: "gone" }, None).expect("the broker takes messages");
    topics.send_last(&publisher, now_ms);
    let seen = topics.seen(&broker.brokers());
    let sellable = |item: &str| {
        let key = ("item.sellable".to_owned(), json!({ "item_id": item }).to_string());
        seen.get(&key).map(|value| value.contains(r#""sellable":true"#))
    };
    assert_eq!((sellable("gone"), sellable("kept")), (Some(false), Some(true)));
    server.terminate().with_code(0);
}

/// Only one partition of one topic has anything: the others hold nothing back. A partition that comes
/// later is found.
#[test]
fn idle_partitions_hold_nothing_back_and_new_ones_are_found() {
    let broker = Broker::shared();
    let topics = TopicShop::new(broker, "idle", 1);
    let publisher = publisher(broker);
    let at = now_ms();
    let event = |id: &str| json!({ "messageId": id, "event": "view_item", "timestamp": at, "properties": { "items": [{ "item_id": "a" }] } });
    let topic = topics.topic(Kind::Event);
    let send = |id: &str, partition: u32| {
        let to = To { topic: &topic, partition: Some(partition), key: id };
        publisher.send(to, Some(event(id).to_string().as_bytes())).expect("the broker takes messages");
    };
    let views = |server: &etalage_tests::Server| {
        let path = "/v1/views/item.popularity/global/1d/a";
        let answer = server.http.try_get(path).ok().filter(|answer| answer.status == 200)?;
        answer.json()["value"]["views"].as_u64()
    };
    send("before", 1);
    let server = topics.shop.run();
    eventually("what lay in one partition is there", || (views(&server) == Some(1)).then_some(()));
    send("while", 1);
    eventually("what comes is there", || (views(&server) == Some(2)).then_some(()));
    broker.add_partitions(&topic, 5);
    // A publisher knows the partitions that there are when it is opened.
    let publisher = self::publisher(broker);
    let send = |id: &str, partition: u32| {
        let to = To { topic: &topic, partition: Some(partition), key: id };
        publisher.send(to, Some(event(id).to_string().as_bytes())).expect("the broker takes messages");
    };
    send("new", 4);
    eventually("what lies in a new partition is there", || (views(&server) == Some(3)).then_some(()));
    server.kill();

    // It is known behind its offset after a restart.
    send("later", 4);
    let server = topics.shop.run();
    eventually("all of it is there", || (views(&server) == Some(4)).then_some(()));
    let open = Subscription::open(&broker.brokers(), "idle.", Group::Shop, &["item.popularity"]);
    let mut subscription = open.expect("the topics can be read");
    eventually("progress is told although most partitions are empty", || {
        let cut = subscription.next(Duration::from_secs(1)).expect("the topics can be read")?;
        (!cut.changes.is_empty()).then_some(())
    });
    server.terminate().with_code(0);
}

/// Three partitions of which each has an event every three hours, one hour apart from those of the next:
/// only in the order in which they happened is there no gap of more than an hour and a half. Stock
/// changes meanwhile, in a topic whose partitions bear the same numbers.
#[test]
fn a_backlog_is_taken_in_the_order_in_which_it_happened() {
    const HOURS: u64 = 240;
    let broker = Broker::shared();
    let topics = TopicShop::new(broker, "backlog", 1);
    topics.shop.configure(&format!("{}[time]\nmax_replay_gap = \"90m\"\n", topics.config(1)));
    let publisher = publisher(broker);
    let (now_ms, topic) = (now_ms(), topics.topic(Kind::Event));
    for hour in 0..HOURS {
        let at_ms = now_ms - (HOURS - hour) * 3_600_000;
        let id = format!("e{hour}");
        let event = json!({
            "messageId": id, "event": "view_item", "timestamp": at_ms,
            "properties": { "items": [{ "item_id": "a" }] },
        });
        let to = To { topic: &topic, partition: Some((hour % 3) as u32), key: &id };
        publisher.send(to, Some(event.to_string().as_bytes())).expect("the broker takes messages");
    }
    publisher.flush(Duration::from_secs(30)).expect("everything is delivered");
    let server = topics.shop.start();
    let mut sent = 0;
    while server.http.try_get("/readyz").ok().is_none_or(|answer| answer.status != 200) {
        let id = format!("s{sent}");
        let stock = json!({ "messageId": id, "item_id": "b", "op": "set", "available": sent, "occurred_at": crate::support::now_ms() });
        let to = To { topic: &topics.topic(Kind::Inventory), partition: Some(sent % 3), key: &id };
        publisher.send(to, Some(stock.to_string().as_bytes())).expect("the broker takes messages");
        sent += 1;
        std::thread::sleep(Duration::from_millis(5));
        assert!(sent < 10_000, "it does not become ready: {}", server.said());
    }
    publisher.flush(Duration::from_secs(30)).expect("everything is delivered");
    // What is left of the stock is taken live.
    let taken = || server.http.json("/v1/status")["counts"].clone();
    eventually("everything is taken", || {
        let counts = taken();
        (counts["stored"].as_u64()? + counts["refused"].as_u64()? >= HOURS + u64::from(sent)).then_some(())
    });
    assert_eq!(taken()["refused"], 0, "nothing comes before what happened before it");
    // Had a change of stock come before an event of the first days, that would be older than every window.
    assert_eq!(server.http.metric("etalage_ingest_late_total"), Some(0.0), "messages were late");
    let week = server.http.json("/v1/views/item.popularity/global/7d/a")["value"]["views"].clone();
    assert!(
        (24 * 7..=24 * 8).contains(&week.as_u64().expect("a number")),
        "{week} views in seven days of buckets of one"
    );
    server.terminate().with_code(0);

    // It goes live once. What comes later, however early it is dated, is taken in the time of the wall.
    let server = topics.shop.run();
    let to = To { topic: &topic, partition: Some(0), key: "late" };
    let late = json!({ "messageId": "late", "event": "view_item", "timestamp": now_ms - 1_000, "properties": { "items": [{ "item_id": "a" }] } });
    publisher.send(to, Some(late.to_string().as_bytes())).expect("the broker takes messages");
    let more = week.as_u64().map(|views| views + 1);
    eventually("it is taken", || {
        (server.http.json("/v1/views/item.popularity/global/7d/a")["value"]["views"].as_u64() == more).then_some(())
    });
    server.terminate().with_code(0);
    let frames = etalage_store::frames(&topics.shop.data()).expect("there is a store");
    let bindings: Vec<_> = frames.map(|frame| frame.expect("it can be read").binding).collect();
    assert_eq!(bindings.iter().filter(|binding| binding.goes_live).count(), 1);
    // Where the catalogue begins is bound although nothing of it was read.
    let of_catalogue = |position: &&Position| *position.source == topics.topic(Kind::Catalogue);
    let begun = bindings.iter().flat_map(|binding| &binding.positions).filter(of_catalogue);
    assert_eq!(begun.map(|position| position.next).collect::<Vec<_>>(), [0; 3]);
}

#[test]
fn messages_that_are_gone_before_they_were_read_are_an_error() {
    let broker = Broker::shared();
    broker.make(&[("gone.events", 2)]);
    let position = Position { source: "gone.events".into(), partition: 1, next: 1_000 };
    let mut source = source(broker, ["gone.events".to_owned()], &[position]);
    let error = loop {
        match source.receive(Duration::from_secs(10)) {
            Ok(message) => assert!(message.is_none()),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(&error, KafkaError::Gone { topic, partition: 1, next: 1_000 } if topic == "gone.events"),
        "{error}"
    );
    assert!(!error.is_passing());
}

/// A set that its topic does not take is told of. It holds back progress, and no other value.
#[test]
fn a_value_that_is_too_large_for_its_topic_holds_back_no_other() {
    for (name, more) in [("large", ""), ("large-at-once", r#"transactions = "yes""#)] {
        too_large_holds_back_no_other(name, more);
    }
}

fn too_large_holds_back_no_other(name: &str, more: &str) {
    let broker = Broker::shared();
    let limits = [("cleanup.policy", "compact"), ("max.message.bytes", "110000")];
    broker.make_with(&[(&format!("{name}.set.bestsellers.v1"), 1)], &limits);
    let topics = TopicShop::with(broker, name, 1, more);
    topics.shop.configure(&topics.config(1).replace("k = 4", "k = 700"));
    let publisher = publisher(broker);
    let (at, topic) = (now_ms(), topics.topic(Kind::Event));
    for number in 0..700 {
        let id = format!("{number}-{}", "x".repeat(200));
        let category = if number == 0 { json!("small") } else { Value::Null };
        let item = json!({ "item_id": id, "item_category": category });
        let event = json!({ "messageId": number.to_string(), "event": "view_item", "timestamp": at, "properties": { "items": [item] } });
        let to = To { topic: &topic, partition: Some(number % 3), key: &id };
        publisher.send(to, Some(event.to_string().as_bytes())).expect("the broker takes messages");
    }
    topics.send_last(&publisher, at);
    let server = topics.shop.run();
    eventually("it is said", || server.said().contains("a value is larger than the topic takes").then_some(()));
    let keys_in = |view: &str| -> Vec<String> {
        let messages = everything_in(broker, [format!("{name}.{view}.v1")]);
        messages.into_iter().filter_map(|message| String::from_utf8(message.key?).ok()).collect()
    };
    let has = |view: &str, key: Value| keys_in(view).contains(&key.to_string()).then_some(());
    eventually("other views go on", || has("item.sellable", json!({ "item_id": "last-s0" })));
    eventually("other values of the topic too", || {
        has("set.bestsellers", json!({ "scope": "category:small", "window": "1d" }))
    });
    assert!(has("set.bestsellers", json!({ "scope": "global", "window": "1d" })).is_none());
    assert!(everything_in(broker, [format!("{name}.progress.v1")]).is_empty(), "progress waits for it");
    let metrics = server.http.get("/metrics").text;
    let cancelled = r#"etalage_kafka_transactions_total{outcome="cancelled"}"#;
    let count = metrics.lines().find_map(|line| line.strip_prefix(cancelled)?.trim().parse::<u64>().ok());
    assert_eq!(count.is_some_and(|count| count > 0), !more.is_empty(), "{count:?} were cancelled");
    server.terminate().with_code(0);

    // Shorter sets fit.
    topics.configure(1);
    let server = topics.shop.run();
    let seen = topics.seen(&broker.brokers());
    assert!(
        seen.contains_key(&("set.bestsellers".to_owned(), json!({ "scope": "global", "window": "1d" }).to_string()))
    );
    server.terminate().with_code(0);
}

/// A broker holds a whole batch against what its topic takes.
#[test]
fn a_topic_that_takes_less_than_a_batch_is_refused() {
    let broker = Broker::shared();
    let limits = [("cleanup.policy", "compact"), ("max.message.bytes", "50000")];
    broker.make_with(&[("small.set.bestsellers.v1", 1)], &limits);
    let shop =
        etalage_tests::Shop::new(&format!("[kafka]\nbrokers = [\"{}\"]\nprefix = \"small.\"\n", broker.address()));
    let refused = shop.ended(&["topics", "create"]).with_code(1);
    refused.says(&["`small.set.bestsellers.v1` takes no more than 50000 bytes", "must take 110000"]);
}

/// What may wait does, for as long as its view is paced. That an item is sold out may not.
#[test]
fn what_is_sold_out_does_not_wait_for_its_pace() {
    let broker = Broker::shared();
    let topics = TopicShop::new(broker, "paced", 1);
    let paced = r#"publish_interval = ["set.bestsellers=1h", "item.popularity=1h"]"#;
    topics.shop.configure(&format!("{}{paced}\n", topics.config(1)));
    let publisher = publisher(broker);
    let view = |id: &str, item: &str| {
        let properties = json!({ "items": [{ "item_id": item }] });
        (Kind::Event, json!({ "messageId": id, "event": "view_item", "timestamp": now_ms(), "properties": properties }))
    };
    let stock = |id: &str, item: &str, available: u32| {
        (
            Kind::Inventory,
            json!({ "messageId": id, "item_id": item, "op": "set", "available": available, "occurred_at": now_ms() }),
        )
    };
    topics.send(
        &publisher,
        &[stock("s1", "a", 5), stock("s2", "b", 5), view("e1", "a"), view("e2", "b"), view("e3", "a")],
    );
    publisher.flush(Duration::from_secs(30)).expect("everything is delivered");
    let server = topics.shop.run();
    // The newest set of the topic, and how many messages of it there are.
    let set = || {
        let messages = everything_in(broker, ["paced.set.bestsellers.v1".to_owned()]);
        let key = json!({ "scope": "global", "window": "1d" }).to_string();
        let of_key: Vec<_> = messages.iter().filter(|message| message.key.as_deref() == Some(key.as_bytes())).collect();
        let newest = of_key.last().and_then(|message| message.payload.clone()).unwrap_or_default();
        (String::from_utf8(newest).expect("JSON is text"), of_key.len())
    };
    eventually("the set is there at the start", || set().0.contains(r#""item_id":"b""#).then_some(()));
    let before = set();
    assert!(before.0.contains(r#""item_id":"a""#), "{}", before.0);
    topics.send(&publisher, &[view("e4", "b"), view("e5", "b"), view("e6", "b")]);
    let score =
        |item: &str| server.http.json(&format!("/v1/views/item.popularity/global/1d/{item}"))["value"]["views"].clone();
    eventually("the change is sealed", || (score("b") == 4).then_some(()));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(set(), before, "a score may wait");
    topics.send(&publisher, &[stock("s3", "a", 0)]);
    eventually("what is sold out is gone", || (!set().0.contains(r#""item_id":"a""#)).then_some(()));
    server.terminate().with_code(0);
}
