//! Change streams, with and without transactions: every step of every key, none twice, whatever is killed meanwhile.

use std::{collections::BTreeMap, time::Duration};

use etalage_kafka::Received;
use etalage_tests::{Shop, broker::Broker, http::eventually, seed, story::Kind};
use rand::RngExt;
use serde_json::{Value, json, value::RawValue};

use crate::support::{TopicShop, Values, disturbed, everything_in, now_ms, publisher, story};

/// Change streams of two views, one of which is paced on two workers.
pub(crate) const STREAMS: &str = r#"change_streams = ["item.sellable", "set.bestsellers"]"#;

/// The same, written in transactions.
pub(crate) const TRANSACTIONS: &str =
    "change_streams = [\"item.sellable\", \"set.bestsellers\"]\ntransactions = \"yes\"";

/// What the steps of each key of a stream lead to. What stands before each is what stood after the one before it.
fn told(messages: &[Received]) -> BTreeMap<String, String> {
    let mut newest: BTreeMap<String, String> = BTreeMap::new();
    let mut as_of: BTreeMap<String, String> = BTreeMap::new();
    for message in messages {
        let key = String::from_utf8(message.key.clone().expect("a change has a key")).expect("JSON is text");
        let Some(payload) = &message.payload else {
            // Of people it is all that is told.
            let had_value = newest.remove(&key).is_some();
            assert!(!had_value || key.contains("profile_id"), "a tombstone of {key}, which has a value");
            continue;
        };
        let change: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(payload).expect("a change is JSON");
        let [at, before, after] = ["as_of", "before", "after"].map(|field| change[field].get());
        let [before, after] = [before, after].map(|value| (value != "null").then_some(value));
        assert_eq!(before, newest.get(&key).map(String::as_str), "a step of {key} is missing or told twice");
        assert_ne!(before, after, "nothing has changed of {key}");
        let sealed = as_of.entry(key.clone()).or_default();
        assert!(sealed.as_str() <= at, "{key} goes back from {sealed} to {at}");
        *sealed = at.to_owned();
        match after {
            Some(after) => _ = newest.insert(key, after.to_owned()),
            None => _ = newest.remove(&key),
        }
    }
    newest
}

fn stream(topics: &TopicShop, broker: &Broker, view: &str) -> Vec<Received> {
    everything_in(broker, [format!("{}.{view}.changes.v1", topics.name)])
}

/// The change streams lead to the values that were seen.
pub(crate) fn assert_told(topics: &TopicShop, broker: &Broker, seen: &Values) {
    for view in ["item.sellable", "set.bestsellers"] {
        let of_view = seen.iter().filter(|((other, _), _)| other == view);
        let expected: BTreeMap<String, String> =
            of_view.map(|((_, key), value)| (key.clone(), value.clone())).collect();
        assert!(!expected.is_empty(), "nothing of {view}");
        assert_eq!(told(&stream(topics, broker, view)), expected, "{view}");
    }
}

/// `kill -9` at random moments while messages come, on changing numbers of workers.
fn kills_leave_out_no_step(name: &str, more: &str) {
    let broker = Broker::shared();
    let (seed, mut random) = seed::draw(name);
    let topics = TopicShop::with(broker, name, 1, more);
    let publisher = publisher(broker);
    let now_ms = now_ms();
    let mut messages = story(seed::from(seed), 2_000, now_ms);
    let sent = disturbed(&messages, &mut random);
    for (round, some) in sent.chunks(sent.len().div_ceil(6)).enumerate() {
        topics.configure(1 + round % 2);
        let steps = stream(&topics, broker, "item.sellable").len();
        let server = topics.shop.start();
        let (early, late) = some.split_at(some.len() / 2);
        topics.send(&publisher, early);
        if round % 2 == 1 {
            let more = || (stream(&topics, broker, "item.sellable").len() > steps).then_some(());
            eventually("changes are told", more);
        }
        for few in late.chunks(late.len().div_ceil(10)) {
            topics.send(&publisher, few);
            std::thread::sleep(Duration::from_millis(random.random_range(0..60)));
        }
        server.kill();
    }
    topics.configure(1);
    let server = topics.shop.run();
    messages.extend(topics.send_last(&publisher, now_ms));
    let seen = topics.seen(&broker.brokers());
    assert_eq!(seen, topics.embedded(&messages));
    server.terminate().with_code(0);
    assert_told(&topics, broker, &seen);
    let steps = stream(&topics, broker, "item.sellable").len();
    let keys = seen.keys().filter(|(view, _)| view == "item.sellable").count();
    assert!(steps > keys, "{steps} steps of {keys} keys");
    topics.verify();

    // Keys that are gone are told of, and may be forgotten.
    topics.shop.configure(&topics.config(1).replace(r#"["global", "category", "country"]"#, r#"["global"]"#));
    topics.shop.run().terminate().with_code(0);
    let sets = stream(&topics, broker, "set.bestsellers");
    let left = told(&sets);
    assert!(!left.is_empty() && left.keys().all(|key| key.contains(r#""scope":"global""#)), "{:?}", left.keys());
    let mut newest: BTreeMap<String, bool> = BTreeMap::new();
    for message in &sets {
        let key = String::from_utf8(message.key.clone().expect("a change has a key")).expect("JSON is text");
        newest.insert(key, message.payload.is_some());
    }
    assert!(newest.len() > left.len());
    assert!(newest.iter().all(|(key, is_there)| *is_there == left.contains_key(key)), "{newest:?}");
}

#[test]
fn kills_leave_out_no_step_of_a_change_stream() {
    kills_leave_out_no_step("changes", STREAMS);
}

#[test]
fn kills_in_the_middle_of_transactions_leave_out_no_step() {
    kills_leave_out_no_step("transactions", TRANSACTIONS);
}

/// Whoever follows a change stream knows from progress which steps belong to a tick; and the topic keeps them as long as
/// the configuration says.
#[test]
fn a_change_stream_is_told_of_by_progress_and_keeps_what_it_should() {
    let broker = Broker::shared();
    let topics = TopicShop::with(broker, "kept", 1, STREAMS);
    let publisher = publisher(broker);
    let server = topics.shop.run();
    topics.send_last(&publisher, now_ms());
    topics.seen(&broker.brokers());
    server.terminate().with_code(0);
    let progress = everything_in(broker, ["kept.progress.v1".to_owned()]);
    let newest = progress.last().and_then(|message| message.payload.as_ref()).expect("progress was told");
    let newest: serde_json::Value = serde_json::from_slice(newest).expect("progress is JSON");
    let ends = newest["offsets"]["kept.item.sellable.changes.v1"].as_object().expect("its partitions");
    let told: u64 = ends.values().filter_map(serde_json::Value::as_u64).sum();
    assert_eq!(told, stream(&topics, broker, "item.sellable").len() as u64);

    topics.shop.configure(&format!("{}change_retention = \"1d\"\n", topics.config(1)));
    topics.shop.ended(&["topics", "check"]).with_code(1).says(&[
        "`kept.set.bestsellers.changes.v1` has min.compaction.lag.ms = 604800000, and must have 86400000",
        "--add-config min.compaction.lag.ms=86400000",
    ]);
}

/// Steps are as `etalage schema VIEW --changes` says. Of somebody who is erased a tombstone is all that is told.
#[test]
fn of_somebody_who_is_erased_nothing_is_told_but_a_tombstone() {
    let broker = Broker::shared();
    let topics = TopicShop::with(broker, "erased", 1, r#"change_streams = ["profile.value"]"#);
    let publisher = publisher(broker);
    let buys = |id: u64| {
        let event = json!({
            "messageId": format!("b{id}"), "event": "purchase", "userId": "nobody-else", "timestamp": now_ms(),
            "properties": { "transaction_id": format!("t{id}"), "value": 10 + id, "items": [{ "item_id": "shoe" }] },
        });
        (Kind::Event, event)
    };
    let server = topics.shop.run();
    let steps = || stream(&topics, broker, "profile.value");
    for id in 1..=2 {
        topics.send(&publisher, &[buys(id)]);
        eventually("it is told", || (steps().len() as u64 == id).then_some(()));
    }
    let schema: Value = serde_json::from_str(&topics.shop.ended(&["schema", "profile.value", "--changes"]).out)
        .expect("a schema is JSON");
    let schema = jsonschema::validator_for(&schema).expect("a schema is one");
    for step in steps() {
        let [key, value] = [step.key, step.payload]
            .map(|json| serde_json::from_slice::<Value>(&json.expect("no tombstone")).expect("JSON"));
        let row = json!({ "key": key, "value": value });
        assert!(schema.is_valid(&row) && !schema.is_valid(&json!({ "key": row["key"], "value": {} })), "{row}");
    }
    server.terminate().with_code(0);
    topics.shop.ended(&["erase", "nobody-else"]).with_code(0);
    topics.shop.run().terminate().with_code(0);
    let left = steps();
    assert!(left.len() == 3 && left[2].payload.is_none(), "{left:?}");
    assert!(told(&left).is_empty());
    topics.shop.ended(&["topics", "check"]).with_code(0);
}

/// Two services that write under one prefix: the second ends the first, instead of both writing side by side.
#[test]
fn in_transactions_a_second_service_ends_the_first() {
    let broker = Broker::shared();
    let topics = TopicShop::with(broker, "fenced", 1, TRANSACTIONS);
    let publisher = publisher(broker);
    let mut first = topics.shop.run();
    topics.send_last(&publisher, now_ms());
    let seen = topics.seen(&broker.brokers());
    let metrics = first.http.get("/metrics").text;
    let committed = r#"etalage_kafka_transactions_total{outcome="committed"}"#;
    let count = metrics.lines().find_map(|line| line.strip_prefix(committed)?.trim().parse::<u64>().ok());
    assert!(count.is_some_and(|count| count > 0), "{metrics}");

    let other = Shop::new(&topics.config(1)).run();
    eventually("the first ends", || first.has_ended().then_some(()));
    first.wait().with_code(1).says(&["can no longer be sent to topics"]);
    assert_eq!(topics.seen(&broker.brokers()), seen);
    assert_told(&topics, broker, &seen);
    other.terminate().with_code(0);
    // Behind the newest message of progress stands the end of its transaction, and nobody writes any more.
    assert_eq!(topics.seen(&broker.brokers()), seen);
}
