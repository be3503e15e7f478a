//! Whoever subscribes: the feed generator, and a few lines of Python.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use etalage_kafka::Subscription;
use etalage_tests::{binary::root, broker::Broker, http::eventually, seed, shop::Running, story::Kind};
use rand::RngExt;
use serde_json::{Value, json};

use crate::support::{TopicShop, VIEWS, Values, now_ms, publisher, story};

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
        Subscription::open(&broker.brokers(), prefix, &["item.sellable"]).expect("the topic can be read");
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
    let lines = BufReader::new(child.stdout.take().expect("its output is piped")).lines();
    let (mut values, until) = (Values::new(), Instant::now() + Duration::from_secs(60));
    let expected: BTreeMap<_, Value> = seen.iter().map(|(place, value)| (place.clone(), parsed(value))).collect();
    let mut read: BTreeMap<(String, String), Value> = BTreeMap::new();
    for line in lines {
        let change = parsed(&line.expect("Python goes on"));
        let place = (change["view"].as_str().expect("a view").to_owned(), change["key"].to_string());
        match &change["value"] {
            Value::Null => _ = read.remove(&place),
            value => _ = read.insert(place.clone(), value.clone()),
        }
        values.insert(place, change["as_of"].to_string());
        if read == expected {
            break;
        }
        assert!(Instant::now() < until, "Python has seen {} of {} values", read.len(), expected.len());
    }
    assert_eq!(read, expected);
    child.kill().expect("it still runs");
    child.wait().expect("it ends");
    server.terminate().with_code(0);
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}
