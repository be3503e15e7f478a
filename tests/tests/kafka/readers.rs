//! Processes that serve the topics: what they answer is byte for byte what the process that made the values answers, never
//! half a tick, and streams go on from one of them to another.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use etalage_tests::{Http, Server, Stream, broker::Broker, http::eventually, seed, story::Kind};
use rand::RngExt;
use serde_json::{Value, json};

use crate::support::{TopicShop, disturbed, now_ms, publisher, story};

fn reader(topics: &TopicShop) -> Server {
    let server = Server::start(topics.shop.command(&["serve", "--from", "kafka", "--port", "0"]));
    server.wait_ready();
    server
}

/// View → the text of everything that it holds.
fn all(http: &Http) -> BTreeMap<String, String> {
    let views = http.json("/v1/views");
    let names = views["views"].as_array().expect("a list").iter().filter_map(|view| view["name"].as_str());
    let text = |view: &str| {
        let body = http.get(&format!("/v1/views/{view}?limit=10000")).text;
        let (_, entries) = body.split_once("\"entries\":").expect("a list");
        entries.to_owned()
    };
    names.map(|view| (view.to_owned(), text(view))).collect()
}

#[test]
fn a_reader_answers_byte_for_byte_what_was_computed() {
    let broker = Broker::shared();
    let topics = TopicShop::new(broker, "readers", 2);
    let publisher = publisher(broker);
    let (seed, mut random) = seed::draw("kafka readers");
    let now_ms = now_ms();
    let mut messages = story(seed::from(seed), 1_200, now_ms);
    // Some of the visitors log in.
    messages.extend((0..12).map(|at| {
        let link = json!({
            "messageId": format!("l{at}"), "type": "identify", "userId": format!("u{}", at % 5),
            "anonymousId": format!("a{at}"), "timestamp": now_ms - 1_000,
        });
        (Kind::Event, link)
    }));
    let sent = disturbed(&messages, &mut random);
    let (before, after) = sent.split_at(sent.len() / 2);
    topics.send(&publisher, before);
    publisher.flush(Duration::from_secs(30)).expect("everything is delivered");
    let computed = topics.shop.run();
    let early = reader(&topics);
    topics.send(&publisher, after);
    topics.send_last(&publisher, now_ms);
    topics.seen(&broker.brokers());
    // One follows what changes, the other begins with what there is.
    let late = reader(&topics);
    for server in [&early, &late] {
        let equal = || {
            let made = all(&computed.http);
            (all(&server.http) == made && all(&computed.http) == made).then_some(made.len())
        };
        assert!(eventually("a reader has what was computed", equal) > 15);
    }
    // Somebody is found under any of her identifiers.
    let one = late.http.json("/v1/views/profile.identifiers/anon:a1");
    assert_eq!(one["key"]["profile_id"], "u1");

    for (path, status, code) in [
        ("/v1/read?get=item.sellable:i01&get=profile.value:u1", 400, "groups_apart"),
        ("/v1/explain/profile.value/u1", 421, "elsewhere"),
        ("/v1/quarantine", 421, "elsewhere"),
    ] {
        let answer = late.http.try_get(path).expect("an answer");
        assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (status, Some(code)), "{path}");
    }
    assert_eq!(late.http.post("/v1/events", "{}").status, 421);
    assert_eq!(late.http.get("/v1/read?get=item.sellable:i01&get=set.bestsellers:global/7d").status, 200);

    // What is computed may go away: readers go on serving, and new ones start.
    let made = all(&computed.http);
    computed.kill();
    assert_eq!(all(&reader(&topics).http), made);
    assert_eq!(all(&early.http), made);
    early.terminate().with_code(0);
    late.kill();
}

/// While stock comes and goes, everything that a reader answers at once holds together.
#[test]
fn a_reader_never_shows_half_a_tick() {
    let broker = Broker::shared();
    let topics = TopicShop::new(broker, "half", 1);
    let publisher = publisher(broker);
    let items: Vec<String> = (0..8).map(|item| format!("i{item}")).collect();
    let bought = items.iter().map(|item| {
        let event = json!({
            "messageId": format!("p-{item}"), "event": "purchase", "timestamp": now_ms(),
            "properties": { "transaction_id": item, "items": [{ "item_id": item }] },
        });
        (Kind::Event, event)
    });
    topics.send(&publisher, &bought.collect::<Vec<_>>());
    let computed = topics.shop.run();
    let server = reader(&topics);
    let (_, mut random) = seed::draw("kafka half a tick");
    let (over, seen) = (AtomicBool::new(false), AtomicUsize::new(0));
    let looked = std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let path = items.iter().map(|item| format!("get=item.sellable:{item}")).collect::<Vec<_>>().join("&");
            let path = format!("/v1/read?get=set.bestsellers:global/7d&{path}");
            let (mut looked, mut sets) = (0, std::collections::BTreeSet::new());
            while !over.load(Ordering::SeqCst) {
                let read = server.http.json(&path);
                let entries = read["entries"].as_array().expect("a list");
                let set = entries[0]["value"]["items"].as_array().cloned().unwrap_or_default();
                for listed in &set {
                    let of_item = entries[1..].iter().find(|entry| entry["key"]["item_id"] == listed["item_id"]);
                    let of_item = &of_item.expect("it was asked for")["value"];
                    assert_ne!(of_item["sellable"], json!(false), "a set shows what is sold out: {read}");
                    assert!(listed["available"] == of_item["available"], "two ticks in one answer: {read}");
                }
                sets.insert(Value::from(set).to_string());
                seen.store(sets.len(), Ordering::SeqCst);
                looked += 1;
            }
            (looked, sets.len())
        });
        // However slow the machine is: until enough different sets were seen.
        for round in (0..3_000).take_while(|round| *round < 150 || seen.load(Ordering::SeqCst) <= 30) {
            let stock = (0..4).map(|at| {
                let available = [0, 0, 3, round + 1][random.random_range(0..4)];
                let item = &items[random.random_range(0..items.len())];
                (Kind::Inventory, json!({ "messageId": format!("s{round}-{at}"), "item_id": item, "op": "set", "available": available, "occurred_at": now_ms() }))
            });
            topics.send(&publisher, &stock.collect::<Vec<_>>());
            std::thread::sleep(Duration::from_millis(20));
        }
        over.store(true, Ordering::SeqCst);
        looking.join().expect("nobody saw half a tick")
    });
    assert!(looked.0 > 100 && looked.1 > 30, "{looked:?} looks, and different sets");
    server.terminate().with_code(0);
    computed.terminate().with_code(0);
}

/// Whoever follows a stream at one reader goes on at another, and has in the end what was computed.
#[test]
fn a_stream_goes_on_at_another_reader() {
    let broker = Broker::shared();
    let topics = TopicShop::new(broker, "streams", 1);
    let publisher = publisher(broker);
    let stock = |round: usize| {
        let of = |item: usize| {
            (
                Kind::Inventory,
                json!({ "messageId": format!("s{round}-{item}"), "item_id": format!("i{item}"), "op": "set", "available": round * 10 + item, "occurred_at": now_ms() }),
            )
        };
        (0..3).map(of).collect::<Vec<_>>()
    };
    let computed = topics.shop.run();
    let readers = [reader(&topics), reader(&topics)];
    let mut after: Option<String> = None;
    let mut held: BTreeMap<String, String> = BTreeMap::new();
    for round in 0..8 {
        let http = &readers[round % 2].http;
        let stream = Stream::open(http, "/v1/stream/item.sellable", after.as_deref());
        topics.send(&publisher, &stock(round));
        publisher.flush(Duration::from_secs(10)).expect("everything is delivered");
        let has_all = |held: &BTreeMap<String, String>| {
            (0..3).all(|item| {
                let key = json!({ "item_id": format!("i{item}") }).to_string();
                held.get(&key).is_some_and(|value| value.contains(&format!("\"available\":{}", round * 10 + item)))
            })
        };
        while !has_all(&held) {
            let message = stream.next();
            assert!(round == 0 || message.event != "reset", "the other reader knows where this one was");
            for (_, key, value) in message.changes() {
                held.insert(key.to_string(), value.to_string());
            }
            after = message.id.clone().or(after);
        }
    }
    computed.terminate().with_code(0);
    readers.into_iter().for_each(|server| _ = server.terminate().with_code(0));
}

/// What the dashboard and the alerts ask for of topics is there.
#[test]
fn metrics_of_topics_are_exposed() {
    let topics = TopicShop::new(Broker::shared(), "metrics", 1);
    let server = topics.shop.run();
    let files = ["deploy/prometheus/rules.yml", "deploy/grafana/dashboards/etalage.json"];
    let mut wanted = std::collections::BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(etalage_tests::binary::root().join(file)).expect("the file is there");
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        wanted.extend(words.filter(|word| word.starts_with("etalage_kafka_")).map(str::to_owned));
    }
    assert!(wanted.len() >= 4, "{wanted:?}");
    for name in wanted {
        eventually(&name, || server.http.metric(&name));
    }
    server.terminate().with_code(0);
}
