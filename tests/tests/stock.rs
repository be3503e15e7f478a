//! The promise that matters most, as a client sees it: at every tick no set holds an item that is
//! not sellable at that tick. Random clicks, orders, stock that flips, a catalogue that withdraws
//! items, late and repeated messages go in over HTTP; readers follow sets and stock, in one stream
//! and in two that they join by `as_of`, and look at every tick.
//!
//! The same with the gate taken out of the dataflow (`ETALAGE_MUTANT=ungated`, which only builds
//! for tests know) must find broken promises: else this test could not.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use etalage_tests::{Http, Message, Server, Shop, Stream, seed, story::Story};
use rand::RngExt;
use serde_json::Value;

const CONFIG: &str = r#"
[windows]
names = ["2s", "10s", "1m"]
bucket = "1s"
[scopes]
dimensions = ["global", "category", "country"]
[sets]
k = 5
[workers]
count = 2
"#;

const SENDERS: u64 = 3;
const ITEMS: usize = 24;
/// For how long messages are sent.
const PLAY: Duration = Duration::from_secs(8);

/// What a client knows of one tick: sets, and items that must not be shown.
#[derive(Default)]
struct Shelf {
    sets: BTreeMap<String, BTreeSet<String>>,
    unsellable: BTreeSet<String>,
    /// Items that left a set in this tick.
    gone: Vec<String>,
    /// How often an item that is not sellable left a set.
    left: usize,
}

impl Shelf {
    fn apply(&mut self, message: &Message) {
        if message.event == "snapshot" {
            // What a snapshot does not name is not there. Here all are first messages.
            assert!(message.changes().all(|(.., value)| !value.is_null()), "{message:?}");
        }
        assert_ne!(message.event, "reset", "readers of this test keep up");
        for (view, key, value) in message.changes() {
            match view {
                "item.sellable" if key.get("location_id").is_none() => {
                    let item = key["item_id"].as_str().expect("an item has an id").to_owned();
                    match value["sellable"].as_bool() {
                        Some(false) => self.unsellable.insert(item),
                        _ => self.unsellable.remove(&item),
                    };
                }
                "item.sellable" => {}
                _ => {
                    let items = value["items"].as_array().into_iter().flatten();
                    let items = items.map(|item| item["item_id"].as_str().expect("an item has an id").to_owned());
                    let items: BTreeSet<String> = items.collect();
                    let before = self.sets.insert(key.to_string(), items.clone()).unwrap_or_default();
                    self.gone.extend(before.difference(&items).cloned());
                }
            }
        }
    }

    /// Ends a tick: how many items its sets hold although they are not sellable.
    fn broken(&mut self) -> usize {
        let unsellable = &self.unsellable;
        self.left += self.gone.drain(..).filter(|item| unsellable.contains(item)).count();
        self.sets.values().map(|set| set.intersection(&self.unsellable).count()).sum()
    }
}

/// What a reader found.
#[derive(Debug)]
struct Found {
    ticks: usize,
    left: usize,
    broken: usize,
}

/// Follows several streams and looks at every tick of which all of them have told.
fn follow(streams: &[Stream], until: impl Fn() -> Option<u64>) -> Found {
    let mut shelf = Shelf::default();
    let mut waiting: Vec<VecDeque<Message>> = streams.iter().map(|_| VecDeque::new()).collect();
    let (mut told, mut first) = (vec![0; streams.len()], 0);
    let (mut ticks, mut broken) = (0, 0);
    loop {
        // The one that has told least may hold back the others.
        let least = (0..streams.len()).min_by_key(|at| told[*at]).expect("there is a stream");
        let message = streams[least].next();
        if told[least] == 0 {
            assert_eq!(message.event, "snapshot");
            first = first.max(message.tick());
        }
        assert!(message.tick() >= told[least], "ticks of a stream never go back: {message:?}");
        told[least] = message.tick();
        waiting[least].push_back(message);
        let complete = *told.iter().min().expect("there is a stream");
        // A heartbeat may name a tick that has changes too: they came before it.
        while let Some(tick) = waiting.iter().filter_map(|queue| queue.front()).map(Message::tick).min() {
            if tick > complete {
                break;
            }
            for queue in &mut waiting {
                while let Some(message) = queue.pop_front_if(|message| message.tick() == tick) {
                    shelf.apply(&message);
                }
            }
            if tick >= first {
                ticks += 1;
                broken += shelf.broken();
            }
        }
        if until().is_some_and(|end| complete >= end) {
            return Found { ticks, left: shelf.left, broken };
        }
    }
}

/// Sends what a story tells until `stop`, with some messages again.
fn send(http: &Http, seed: u64, stop: &AtomicBool) -> usize {
    let mut story = Story::new(seed::from(seed), ITEMS);
    let mut sent: Vec<(&str, Value)> = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_millis() as u64;
        let late_ms = match story.random().random_range(0..20) {
            0..14 => 0..300,
            14..19 => 300..9_000,
            _ => 9_000..600_000,
        };
        let late_ms = story.random().random_range(late_ms);
        let (kind, message) = story.any(now_ms - late_ms);
        let path = kind.path();
        sent.push((path, message));
        let mut batch = vec![sent[sent.len() - 1].1.clone()];
        for _ in 0..story.random().random_range(0..3) {
            let again = story.random().random_range(0..sent.len());
            batch.extend((sent[again].0 == path).then(|| sent[again].1.clone()));
        }
        let statuses = http.post(path, Value::from(batch.clone()).to_string()).statuses();
        assert_eq!(statuses[0], "stored", "{}", batch[0]);
        assert!(statuses[1..].iter().all(|status| status == "duplicate"), "{statuses:?}");
    }
    sent.len()
}

/// Plays for a while and gives what the readers of one stream and of two found.
fn played(server: &Server, seed: u64) -> [Found; 2] {
    let http = &server.http;
    let open = |path: &str| Stream::open(http, path, None);
    let one = vec![open("/v1/stream?sub=set.bestsellers&sub=item.sellable")];
    let two = vec![open("/v1/stream/set.bestsellers"), open("/v1/stream/item.sellable")];
    let (stop, end) = (AtomicBool::new(false), std::sync::OnceLock::new());
    let until = || end.get().copied();
    std::thread::scope(|scope| {
        let readers = [one, two].map(|streams| scope.spawn(move || follow(&streams, until)));
        let stop = &stop;
        let senders: Vec<_> =
            (0..SENDERS).map(|sender| scope.spawn(move || send(http, seed.wrapping_add(sender), stop))).collect();
        std::thread::sleep(PLAY);
        stop.store(true, Ordering::SeqCst);
        let sent: usize = senders.into_iter().map(|sender| sender.join().expect("a sender ends")).sum();
        let tick = http.json("/v1/status")["tick"].as_u64().expect("a tick was sealed");
        end.set(tick).expect("it ends once");
        let found = readers.map(|reader| reader.join().expect("a reader ends"));
        eprintln!("{sent} messages sent; one stream: {:?}; two: {:?}", found[0], found[1]);
        found
    })
}

#[test]
fn no_set_ever_holds_an_item_that_is_not_sellable() {
    let (seed, _) = seed::draw("stock");
    let shop = Shop::new(CONFIG);
    let server = shop.run();
    for found in played(&server, seed) {
        assert_eq!(found.broken, 0, "{found:?}");
        assert!(found.ticks > 100 && found.left > 20, "enough must happen for this to mean something: {found:?}");
    }
    assert_eq!(server.http.metric("etalage_stock_violations_total"), Some(0.0));
    server.terminate().with_code(0);
    shop.ended(&["verify"]).with_code(0);
}

#[test]
fn without_the_gate_it_is_noticed() {
    let (seed, _) = seed::draw("stock, ungated");
    let shop = Shop::new(CONFIG).with_variable("ETALAGE_MUTANT", "ungated");
    let server = shop.run();
    for found in played(&server, seed) {
        assert!(found.broken > 20, "the readers must notice: {found:?}");
    }
    let counted = server.http.metric("etalage_stock_violations_total").expect("the counter is there");
    assert!(counted > 20.0, "the pipeline's own watch must notice: {counted}");
}
