//! Whoever subscribes: the feed generator, and a few lines of Python.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use etalage_kafka::{Group, MAX_HELD, Publisher, Subscription, To};
use etalage_tests::{binary::root, broker::Broker, http::eventually, seed, shop::Running, story::Kind};
use rand::RngExt;
use serde_json::{Value, json};

use crate::support::{TopicShop, VIEWS, everything_in, now_ms, publisher, story};

const ITEMS: usize = 12;
const ROUNDS: usize = 60;

/// Stock changes all the time. Every file that is ever seen offers nothing that was not sellable at the
/// instant that stands beside it.
#[test]
fn a_feed_never_offers_what_is_sold_out() {
    let broker = Broker::shared();
    let topics = TopicShop::new(broker, "feed", 1);
    let publisher = publisher(broker);
    let (_, mut random) = seed::draw("kafka feed");
    let listed = (0..ITEMS).map(|item| {
        let entry = json!({
            "messageId": format!("c{item}"), "item_id": format!("i{item}"), "updated_at": now_ms(),
            "title": format!("Item {item}"), "price": "9.95 EUR", "link": "https://shop.example/i",
        });
        (Kind::Catalogue, entry)
    });
    topics.send(&publisher, &listed.collect::<Vec<_>>());
    let server = topics.shop.run();
    let path = topics.shop.path("feed.tsv");
    let out = path.to_str().expect("a path that is text");
    let feed = Running::start(topics.shop.command(&["feed", "--out", out, "--every", "200ms"]));

    let mut files: BTreeMap<u64, BTreeMap<String, bool>> = BTreeMap::new();
    for round in 0..ROUNDS {
        let stock = (0..3).map(|at| {
            let item = random.random_range(0..ITEMS);
            let available = [0, 0, 4][random.random_range(0..3)];
            let id = format!("s{round}-{at}");
            (Kind::Inventory, json!({ "messageId": id, "item_id": format!("i{item}"), "op": "set", "available": available, "occurred_at": now_ms() }))
        });
        topics.send(&publisher, &stock.collect::<Vec<_>>());
        let until = Instant::now() + Duration::from_millis(40);
        while Instant::now() < until {
            files.extend(read_feed(&path));
        }
    }
    topics.send_last(&publisher, now_ms());
    eventually("the feed has seen the end", || {
        files.extend(read_feed(&path));
        let (_, newest) = files.last_key_value()?;
        newest.get("last-c0").is_some().then_some(())
    });
    assert_eq!(feed.terminate(), Some(0));
    server.terminate().with_code(0);
    assert!(files.len() > 10, "only {} files were seen", files.len());

    let history = history(broker, "feed.");
    let mut offered = 0;
    for (tick, rows) in &files {
        for (item, is_offered) in rows {
            let known =
                history.get(item).and_then(|known| known.range(..=tick).next_back()).map(|(_, sellable)| *sellable);
            assert_eq!(*is_offered, known.unwrap_or(false), "{item} as of {tick}");
            offered += usize::from(*is_offered);
        }
    }
    assert!(offered > 0, "nothing was ever offered");
}

/// The file, if it and what stands beside it belong together: its tick, and what it offers.
fn read_feed(path: &std::path::Path) -> Option<(u64, BTreeMap<String, bool>)> {
    let file = fs::read_to_string(path).ok()?;
    let about: Value = serde_json::from_slice(&fs::read(path.with_extension("tsv.json")).ok()?).ok()?;
    let hash = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(file.as_bytes()));
    if about["xxh3"] != hash {
        return None;
    }
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        (cells[0].to_owned(), cells[5] == "in_stock")
    };
    Some((about["tick"].as_u64()?, file.lines().skip(1).map(row).collect()))
}

/// Of each item, when it began and ceased to be sellable, as the topic says it.
fn history(broker: &Broker, prefix: &str) -> BTreeMap<String, BTreeMap<u64, bool>> {
    let mut subscription =
        Subscription::open(&broker.brokers(), prefix, Group::Shop, &["item.sellable"]).expect("the topic can be read");
    let mut history: BTreeMap<String, BTreeMap<u64, bool>> = BTreeMap::new();
    while let Some(cut) = subscription.next(Duration::from_secs(5)).expect("the topic can be read") {
        for change in cut.changes {
            let key: Value = serde_json::from_slice(&change.key).expect("a key is JSON");
            let value = change.value.map(|value| serde_json::from_slice::<Value>(&value).expect("a value is JSON"));
            let sellable = value.is_some_and(|value| value["sellable"] == true);
            let item = key["item_id"].as_str().expect("an item has an id").to_owned();
            history.entry(item).or_default().insert(change.as_of, sellable);
        }
    }
    history
}

/// A subscriber takes no more than it has to before it is told of progress, loses nothing by it, and reads
/// partitions that a topic has got since.
#[test]
fn a_subscriber_waits_for_progress_and_finds_new_partitions() {
    const MESSAGES: u64 = MAX_HELD as u64 + 500;
    let broker = Broker::shared();
    let (topic, progress) = ("grown.item.sellable.v1", "grown.progress.v1");
    broker.make(&[(topic, 1), (progress, 1)]);
    let open = Subscription::open(&broker.brokers(), "grown.", Group::Shop, &["item.sellable"]);
    let mut subscription = open.expect("the topics can be read");
    let send = |publisher: &Publisher, topic: &str, partition: u32, payload: &str| {
        let to = To { topic, partition: Some(partition), key: "{}" };
        publisher.send(to, Some(payload.as_bytes())).expect("the broker takes messages");
    };
    let tell = |publisher: &Publisher, tick: u64, ends: &[u64]| {
        let ends: BTreeMap<String, u64> = ends.iter().enumerate().map(|(at, end)| (at.to_string(), *end)).collect();
        send(publisher, progress, 0, &json!({ "tick": tick, "offsets": { topic: ends } }).to_string());
        publisher.flush(Duration::from_secs(30)).expect("everything is delivered");
    };
    let publisher = publisher(broker);
    (0..MESSAGES).for_each(|number| send(&publisher, topic, 0, &number.to_string()));
    publisher.flush(Duration::from_secs(30)).expect("everything is delivered");
    eventually("as much is read as may be", || {
        assert_eq!(subscription.next(Duration::from_secs(1)).expect("it goes on"), None);
        (subscription.held() >= MAX_HELD).then_some(())
    });
    assert_eq!(subscription.next(Duration::from_secs(1)).expect("it goes on"), None);
    assert_eq!(subscription.held(), MAX_HELD, "no more than that");
    tell(&publisher, 7, &[MESSAGES]);
    let cut = subscription.next(Duration::from_secs(30)).expect("it goes on").expect("there is progress");
    let values = cut.changes.iter().map(|change| String::from_utf8_lossy(change.value.as_deref().unwrap_or_default()));
    assert!(cut.tick == 7 && values.eq((0..MESSAGES).map(|number| number.to_string())), "{}", cut.changes.len());

    broker.add_partitions(topic, 2);
    let publisher = self::publisher(broker);
    send(&publisher, topic, 1, "new");
    tell(&publisher, 8, &[MESSAGES, 1]);
    let cut = subscription.next(Duration::from_secs(30)).expect("it goes on").expect("there is progress");
    assert_eq!((cut.tick, cut.changes.len()), (8, 1));
    assert_eq!(cut.changes[0].value.as_deref(), Some(&b"new"[..]));
}

#[test]
fn a_few_lines_of_python_see_what_etalage_answers() {
    let python = root().join("target/kafka/venv/bin/python");
    assert!(python.exists(), "tests/run makes {}", python.display());
    let broker = Broker::shared();
    let topics = TopicShop::new(broker, "python", 2);
    let publisher = publisher(broker);
    let now_ms = now_ms();
    topics.send(&publisher, &story(seed::from(11), 400, now_ms));
    let server = topics.shop.run();
    topics.send_last(&publisher, now_ms);
    let seen = topics.seen(&broker.brokers());

    let mut command = Command::new(python);
    command.arg(root().join("deploy/examples/consumer.py")).arg(broker.address()).arg("python.").args(VIEWS);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("Python starts");
    let output = BufReader::new(child.stdout.take().expect("its output is piped"));
    let (line, lines) = std::sync::mpsc::channel();
    // It ends with the child, or with the test.
    std::thread::spawn(move || output.lines().map_while(Result::ok).all(|text| line.send(text).is_ok()));
    let expected: BTreeMap<_, Value> = seen.iter().map(|(place, value)| (place.clone(), parsed(value))).collect();
    let (mut read, mut as_of): (BTreeMap<(String, String), Value>, String) = Default::default();
    while read != expected {
        let line = lines.recv_timeout(Duration::from_secs(60));
        let change =
            parsed(&line.unwrap_or_else(|_| panic!("Python has seen {} of {} values", read.len(), expected.len())));
        let told = change["as_of"].as_str().expect("an instant").to_owned();
        assert!(told >= as_of, "{told} comes after {as_of}");
        as_of = told;
        let place = (change["view"].as_str().expect("a view").to_owned(), change["key"].to_string());
        match &change["value"] {
            Value::Null => _ = read.remove(&place),
            value => _ = read.insert(place, value.clone()),
        }
    }
    child.kill().expect("it still runs");
    child.wait().expect("it ends");

    // The group says how far the topics have been read, for whoever watches lag.
    let topic = topics.topic(Kind::Event);
    let messages = everything_in(broker, [topic.clone()]).len() as i64;
    let script = "import sys; from confluent_kafka import Consumer, TopicPartition as T; \
        print(sum(max(p.offset, 0) for p in Consumer({'bootstrap.servers': sys.argv[1], 'group.id': 'etalage'})\
        .committed([T(sys.argv[2], n) for n in range(3)], 10)))";
    eventually("the group has read everything", || {
        let mut ask = Command::new(root().join("target/kafka/venv/bin/python"));
        let told = ask.args(["-c", script]).arg(broker.address()).arg(&topic).output().expect("Python starts");
        (String::from_utf8_lossy(&told.stdout).trim() == messages.to_string()).then_some(())
    });
    server.terminate().with_code(0);
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}
