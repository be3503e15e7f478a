//! A shop on topics: what is sent into them, and what a subscriber sees.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use etalage_kafka::{
    Brokers, Group, InputKind, Position, Publisher, Received, Secret, Source, SourceOptions, Subscription, To,
};
use etalage_tests::{
    Shop,
    binary::root,
    broker::Broker,
    story::{Kind, Story},
};
use rand::{RngExt, seq::SliceRandom};
use serde_json::{Value, json};

/// All views.
pub(crate) const VIEWS: [&str; 4] = ["item.sellable", "item.popularity", "scope.totals", "set.bestsellers"];

/// Partitions of each topic that is read.
pub(crate) const PARTITIONS: u32 = 3;

/// How long everything that was sent may take to be seen.
const PATIENCE: Duration = Duration::from_secs(120);

/// Newest values by view and key.
pub(crate) type Values = BTreeMap<(String, String), String>;

/// A shop whose topics begin with a name of its own.
pub(crate) struct TopicShop {
    pub(crate) shop: Shop,
    pub(crate) name: String,
    pub(crate) brokers: Brokers,
    /// What else stands in `[kafka]`.
    pub(crate) more: String,
}

/// A message, and the topic that it goes to.
pub(crate) type Sent = (Kind, Value);

impl TopicShop {
    /// A shop with topics on `broker`, made by `etalage topics create`.
    pub(crate) fn new(broker: &Broker, name: &str, workers: usize) -> TopicShop {
        TopicShop::with(broker, name, workers, "")
    }

    /// The same, with `more` keys in `[kafka]`.
    pub(crate) fn with(broker: &Broker, name: &str, workers: usize, more: &str) -> TopicShop {
        let (shop, more) = (Shop::new(""), more.to_owned());
        let topics = TopicShop { shop, name: name.to_owned(), brokers: broker.brokers(), more };
        topics.configure(workers);
        let read = ["events", "inventory", "catalog"].map(|kind| format!("{name}-in.{kind}"));
        broker.make(&read.each_ref().map(|topic| (topic.as_str(), PARTITIONS)));
        topics.shop.ended(&["topics", "create"]).with_code(0);
        topics
    }

    pub(crate) fn configure(&self, workers: usize) {
        self.shop.configure(&self.config(workers));
    }

    pub(crate) fn config(&self, workers: usize) -> String {
        // On two workers views are paced, too.
        let paced = ["", r#"publish_interval = ["item.popularity=100ms", "set.bestsellers=50ms"]"#][(workers + 1) % 2];
        format!("{}{}{paced}\n{}\n", views_config(workers), self.kafka_config(), self.more)
    }

    fn kafka_config(&self) -> String {
        let TopicShop { name, brokers: Brokers { bootstrap, properties, secrets }, .. } = self;
        let properties: Vec<String> = properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let place = |(name, secret): &(String, Secret)| match secret {
            Secret::File(path) => format!("{name}=file:{}", path.display()),
            Secret::Variable(variable) => format!("{name}=env:{variable}"),
        };
        let secrets: Vec<String> = secrets.iter().map(place).collect();
        format!(
            r#"
[kafka]
brokers = ["{bootstrap}"]
properties = {properties:?}
secrets = {secrets:?}
events = ["{name}-in.events"]
inventory = ["{name}-in.inventory"]
catalog = ["{name}-in.catalog"]
quarantine = "{name}.quarantine"
prefix = "{name}."
partitions = 2
discover = "500ms"
"#
        )
    }

    /// From here on the service is somebody else to the brokers.
    pub(crate) fn become_user(&mut self, brokers: Brokers) {
        self.brokers = brokers;
        self.configure(1);
    }

    pub(crate) fn topic(&self, kind: Kind) -> String {
        let kind = match kind {
            Kind::Event => "events",
            Kind::Inventory => "inventory",
            Kind::Catalogue => "catalog",
        };
        format!("{}-in.{kind}", self.name)
    }

    /// Sends messages in their order, each into a partition that its id decides.
    pub(crate) fn send(&self, publisher: &Publisher, messages: &[Sent]) {
        for (kind, message) in messages {
            let id = message["messageId"].as_str().expect("a message has an id");
            let partition = Some(id.bytes().map(u32::from).sum::<u32>() % PARTITIONS);
            let to = To { topic: &self.topic(*kind), partition, key: id };
            publisher.send(to, Some(message.to_string().as_bytes())).expect("the broker takes messages");
        }
    }

    /// Sends into every partition a message that shows when everything before it was taken.
    pub(crate) fn send_last(&self, publisher: &Publisher, at_ms: u64) -> Vec<Sent> {
        let last = last(at_ms);
        for (at, (kind, message)) in last.iter().enumerate() {
            let to = To { topic: &self.topic(*kind), partition: Some(at as u32 % PARTITIONS), key: "last" };
            publisher.send(to, Some(message.to_string().as_bytes())).expect("the broker takes messages");
        }
        publisher.flush(PATIENCE).expect("everything is delivered");
        last
    }

    /// Waits until everything before [`TopicShop::send_last`] is seen; the newest values then.
    pub(crate) fn seen(&self, brokers: &Brokers) -> Values {
        let open = Subscription::open(brokers, &format!("{}.", self.name), Group::Shop, &VIEWS);
        let mut subscription = open.expect("the topics can be read");
        let (mut values, until, mut tick) = (Values::new(), Instant::now() + PATIENCE, 0);
        while !has_all(&values) {
            assert!(Instant::now() < until, "not everything was seen: {} values as of {tick}", values.len());
            let Some(cut) = subscription.next(Duration::from_secs(1)).expect("the topics can be read") else {
                continue;
            };
            assert!(cut.tick >= tick, "progress goes back from {tick} to {}", cut.tick);
            tick = cut.tick;
            for change in cut.changes {
                let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("JSON is text");
                let place = (change.view.to_string(), text(change.key));
                match change.value {
                    Some(value) => _ = values.insert(place, text(value)),
                    None => _ = values.remove(&place),
                }
            }
            assert_promise(&values, tick);
        }
        values
    }

    /// What the service has stored, recomputed plainly, is what it answers: for every view and key.
    pub(crate) fn verify(&self) {
        self.shop.ended(&["verify"]).with_code(0);
    }

    /// What the embedded mode makes of the same messages.
    pub(crate) fn embedded(&self, messages: &[Sent]) -> Values {
        let embedded = Shop::new(&views_config(1));
        let lines: Vec<String> = messages.iter().map(|(_, message)| message.to_string()).collect();
        let file = embedded.write("all.jsonl", lines.join("\n"));
        let mut arguments = vec!["replay", file.to_str().expect("a path that is text"), "--format", "jsonl", "--quiet"];
        VIEWS.iter().for_each(|view| arguments.extend(["--dump", view]));
        let ended = embedded.ended(&arguments).with_code(0).says(&["0 refused"]);
        let mut values = Values::new();
        for line in ended.out.lines() {
            // Values byte for byte; keys with their fields in the order of their names.
            let entry: BTreeMap<String, Box<serde_json::value::RawValue>> =
                serde_json::from_str(line).expect("a dump is JSON lines");
            let view = entry["view"].get().trim_matches('"').to_owned();
            let key: Value = serde_json::from_str(entry["key"].get()).expect("a key is JSON");
            values.insert((view, key.to_string()), entry["value"].get().to_owned());
        }
        values
    }
}

/// Everything that topics hold, tombstones and old values included.
pub(crate) fn everything_in(broker: &Broker, topics: impl IntoIterator<Item = String>) -> Vec<Received> {
    let mut source = source(broker, topics, &[]);
    let mut all = Vec::new();
    while !source.has_caught_up() {
        all.extend(source.receive(Duration::from_millis(100)).expect("the topics can be read"));
    }
    all
}

pub(crate) fn source(broker: &Broker, topics: impl IntoIterator<Item = String>, from: &[Position]) -> Source {
    let options = SourceOptions {
        brokers: broker.brokers(),
        topics: topics.into_iter().map(|topic| (topic, InputKind::Events)).collect(),
        group: "look".to_owned(),
        discover_every: Duration::from_secs(60),
    };
    Source::open(options, from).expect("the topics can be read")
}

/// How many messages the topics of all views hold.
pub(crate) fn messages_in(topics: &TopicShop, broker: &Broker) -> usize {
    everything_in(broker, VIEWS.map(|view| format!("{}.{view}.v1", topics.name))).len()
}

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis() as u64
}

pub(crate) fn publisher(broker: &Broker) -> Publisher {
    Publisher::open(&broker.brokers(), Duration::from_millis(1)).expect("a publisher")
}

/// No set holds an item that is not sellable at that tick.
fn assert_promise(values: &Values, tick: u64) {
    let sold_out = |item: &str| {
        let key = ("item.sellable".to_owned(), json!({ "item_id": item }).to_string());
        values.get(&key).is_some_and(|value| value.contains(r#""sellable":false"#))
    };
    for ((_, key), value) in values.iter().filter(|((view, _), _)| view == "set.bestsellers") {
        let set: Value = serde_json::from_str(value).expect("a set is JSON");
        for item in set["items"].as_array().expect("a set has items") {
            let item = item["item_id"].as_str().expect("an item has an id");
            assert!(!sold_out(item), "{key} holds {item}, which is sold out, as of {tick}");
        }
    }
}

/// Keys and values are as the published schemas say, which are those that `etalage schema` prints.
pub(crate) fn assert_described(values: &Values) {
    for view in VIEWS {
        let path = root().join(format!("docs/schemas/{view}.v1.json"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let printed = Shop::new("").ended(&["schema", view]).with_code(0);
        assert_eq!(printed.out, text, "`etalage schema {view} > {}` makes it anew", path.display());
        let schema: Value = serde_json::from_str(&text).expect("a schema is JSON");
        let schema = jsonschema::validator_for(&schema).expect("a schema is one");
        let parsed = |json: &str| serde_json::from_str::<Value>(json).expect("JSON");
        let rows: Vec<_> = values.iter().filter(|((other, _), _)| other == view).collect();
        assert!(!rows.is_empty(), "no row of {view}");
        for ((_, key), value) in rows {
            let row = json!({ "key": parsed(key), "value": parsed(value) });
            let wrong: Vec<String> = schema.iter_errors(&row).map(|error| error.to_string()).collect();
            assert!(wrong.is_empty(), "{view}: {row}: {wrong:?}");
        }
        assert!(!schema.is_valid(&json!({ "key": {}, "value": {} })), "the schema of {view} takes anything");
    }
}

fn views_config(workers: usize) -> String {
    format!(
        r#"
[windows]
names = ["1d", "7d"]
bucket = "1d"
[scopes]
dimensions = ["global", "category", "country"]
[sets]
k = 4
[workers]
count = {workers}
"#
    )
}

/// One message for each partition of each topic, the items of which are no others.
fn last(at_ms: u64) -> Vec<Sent> {
    let partitions = 0..PARTITIONS;
    let of_partition = |at: u32| {
        let event = json!({
            "messageId": format!("last-e{at}"), "event": "view_item", "timestamp": at_ms,
            "properties": { "items": [{ "item_id": "last" }] },
        });
        let stock = json!({
            "messageId": format!("last-s{at}"), "item_id": format!("last-s{at}"), "op": "set", "available": 1,
            "occurred_at": at_ms,
        });
        let entry =
            json!({ "messageId": format!("last-c{at}"), "item_id": format!("last-c{at}"), "updated_at": at_ms });
        [(Kind::Event, event), (Kind::Inventory, stock), (Kind::Catalogue, entry)]
    };
    let mut all: Vec<Sent> = partitions.flat_map(of_partition).collect();
    // Those of one kind stand together, so that their places are their partitions.
    all.sort_by_key(|(kind, _)| *kind as u8);
    all
}

/// True where every message of [`last`] shows.
fn has_all(values: &Values) -> bool {
    let is_there = |view: &str, key: Value| values.contains_key(&(view.to_owned(), key.to_string()));
    let viewed = json!({ "item_id": "last", "scope": "global", "window": "1d" }).to_string();
    let viewed = values.get(&("item.popularity".to_owned(), viewed));
    viewed.is_some_and(|value| value.contains(&format!(r#""views":{PARTITIONS},"#)))
        && (0..PARTITIONS).all(|at| {
            ["s", "c"].iter().all(|kind| is_there("item.sellable", json!({ "item_id": format!("last-{kind}{at}") })))
        })
}

/// Random messages of the last ten minutes before `now_ms`, each once, in the order of their times.
pub(crate) fn story(random: etalage_tests::seed::Random, count: usize, now_ms: u64) -> Vec<Sent> {
    let mut story = Story::new(random, 20);
    let mut instants: Vec<u64> = (0..count).map(|_| now_ms - story.random().random_range(0..600_000)).collect();
    instants.sort_unstable();
    instants.into_iter().map(|at_ms| story.any(at_ms)).collect()
}

/// The same messages in an order in which some come late, some of them twice.
pub(crate) fn disturbed(messages: &[Sent], random: &mut etalage_tests::seed::Random) -> Vec<Sent> {
    let mut all: Vec<Sent> = Vec::new();
    for message in messages {
        all.extend(std::iter::repeat_n(message.clone(), if random.random_bool(0.2) { 2 } else { 1 }));
    }
    all.chunks_mut(20).for_each(|near| near.shuffle(random));
    all
}
