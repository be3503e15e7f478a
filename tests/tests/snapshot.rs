//! Snapshots: a restart from one is a restart like any other, whatever is wrong with it, and whoever is erased is in
//! none.

use std::{collections::BTreeMap, fs, path::PathBuf};

use etalage_tests::{Http, Server, Shop, http::eventually};
use serde_json::{Value, json};

const CONFIG: &str = "[windows]\nnames = [\"1h\", \"7d\"]\nbucket = \"10m\"\n";
/// Views whose rows do not change by time alone within a test.
const VIEWS: [&str; 9] = [
    "item.sellable",
    "item.popularity",
    "scope.totals",
    "set.bestsellers",
    "profile.value",
    "profile.purchases",
    "identity.assignment",
    "cart.state",
    "item.buyers",
];

fn event(number: usize) -> Value {
    let kind = ["view_item", "purchase", "add_to_cart"][number % 3];
    json!({
        "messageId": format!("e{number}"), "event": kind, "userId": format!("user {}", number % 11),
        "anonymousId": format!("device {}", number % 17), "context": { "country": "Germany" },
        "properties": {
            "transaction_id": format!("t{number}"),
            "items": [{ "item_id": format!("item {}", number % 7), "item_brand": "Acme", "price": "9.99" }],
        },
    })
}

fn stock(id: &str, item: &str, available: i64) -> Value {
    json!({ "messageId": id, "item_id": item, "op": "set", "available": available })
}

fn sell(http: &Http, numbers: std::ops::Range<usize>) {
    http.store("/v1/events", &numbers.map(event).collect::<Vec<_>>());
}

/// Key → value of the views, once everything that was acknowledged is sealed.
fn settled(http: &Http) -> BTreeMap<String, String> {
    let tick = || http.json("/v1/status")["tick"].as_u64().expect("a tick was sealed");
    let acknowledged = tick();
    eventually("later ticks are sealed", || (tick() > acknowledged + 50_000).then_some(()));
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

/// A snapshot that is asked for over HTTP; its tick.
fn snapshot(http: &Http) -> u64 {
    let answer = http.post("/v1/snapshots", "");
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()["tick"].as_u64().expect("a tick")
}

/// The server says what it starts from.
fn shop(config: &str) -> Shop {
    Shop::new(config).with_variable("ETALAGE_LOG", "etalage=info")
}

fn read_back(server: &Server) -> Option<u64> {
    let said = server.said();
    let line = said.lines().find(|line| line.contains("the log was read back"))?;
    line.split("records=").nth(1)?.split(' ').next()?.parse().ok()
}

fn files(shop: &Shop, folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(shop.data().join("snapshots").join(folder)).expect("there are snapshots");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files
}

/// One worker, two, and one again: the rest of the log is all that is read, nothing is lost, and nothing counts twice.
#[test]
fn a_restart_begins_with_the_newest_snapshot_whatever_the_number_of_workers() {
    let with = |workers: usize| format!("{CONFIG}[workers]\ncount = {workers}\n");
    let shop = shop(&with(1));
    let server = shop.run();
    sell(&server.http, 0..60);
    server.http.store("/v1/inventory", &[stock("s1", "item 1", 5), stock("s2", "item 2", 0)]);
    let first = snapshot(&server.http);
    sell(&server.http, 60..75);
    let before = settled(&server.http);
    assert!(before.len() > 100, "{}", before.len());
    server.kill();

    shop.configure(&with(2));
    let server = shop.run();
    assert!(server.said().contains("started from a snapshot"), "{}", server.said());
    assert_eq!(read_back(&server), Some(15));
    assert_eq!(settled(&server.http), before);
    for (number, status) in [(3, "duplicate"), (70, "duplicate"), (80, "stored")] {
        assert_eq!(server.http.post("/v1/events", event(number).to_string()).statuses(), [status], "event {number}");
    }
    server.http.store("/v1/inventory", &[stock("s3", "item 1", 0)]);
    let second = snapshot(&server.http);
    assert!(second > first);
    let before = settled(&server.http);
    server.kill();

    shop.configure(&with(1));
    let server = shop.run();
    assert_eq!((read_back(&server), settled(&server.http)), (None, before));
    let mixed = json!({ "messageId": "s4", "item_id": "item 1", "op": "set", "available": 3, "version": 7 });
    assert_eq!(server.http.post("/v1/inventory", mixed.to_string()).statuses(), ["refused"], "versions are not mixed");
    server.terminate().with_code(0);
    shop.ended(&["verify"]).with_code(0);
    let listed = shop.ended(&["snapshot", "list", "--json"]).with_code(0).json_lines();
    assert_eq!(listed.iter().map(|line| line["tick"].as_u64()).collect::<Vec<_>>(), [Some(first), Some(second)]);
    let inspected = shop.ended(&["snapshot", "inspect"]).with_code(0).out;
    assert!(inspected.contains("People by identifier") && inspected.contains("records     79"), "{inspected}");
    let verified = shop.ended(&["snapshot", "verify"]).with_code(0).out;
    assert_eq!(verified.matches("whole").count(), 2, "{verified}");
}

/// The newest is damaged: the one before takes its place. All are: the log does.
#[test]
fn a_damaged_snapshot_is_passed_over() {
    let shop = shop(CONFIG);
    let server = shop.run();
    sell(&server.http, 0..30);
    snapshot(&server.http);
    let of_first = files(&shop, "chunks");
    sell(&server.http, 30..50);
    let second = snapshot(&server.http);
    sell(&server.http, 50..55);
    let before = settled(&server.http);
    server.kill();
    let of_second: Vec<PathBuf> = files(&shop, "chunks").into_iter().filter(|path| !of_first.contains(path)).collect();
    assert!(!of_second.is_empty(), "what has changed was written");
    for (damaged, records) in [(&of_second, 25), (&of_first, 55)] {
        for path in damaged {
            let mut bytes = fs::read(path).expect("a chunk");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).expect("a chunk");
        }
        let server = shop.run();
        assert!(server.said().contains("is damaged"), "{}", server.said());
        assert_eq!((read_back(&server), settled(&server.http)), (Some(records), before.clone()));
        server.kill();
    }
    let ended = shop.ended(&["snapshot", "verify", &second.to_string()]).with_code(3);
    assert!(ended.out.contains("damaged") && ended.err.contains("cannot be used"), "{ended}");
}

#[test]
fn with_other_options_the_log_is_read() {
    let shop = shop(CONFIG);
    let server = shop.run();
    sell(&server.http, 0..20);
    snapshot(&server.http);
    server.terminate().with_code(0);
    shop.configure("[windows]\nnames = [\"1h\", \"7d\", \"28d\"]\nbucket = \"10m\"\n");
    let server = shop.run();
    assert!(server.said().contains("other options"), "{}", server.said());
    assert_eq!(read_back(&server), Some(20));
    let key = json!({ "scope": "global", "window": "28d" });
    assert_eq!(server.http.value("scope.totals", &key).expect("a row")["orders"], 7);
    server.terminate().with_code(0);
    shop.ended(&["verify"]).with_code(0);
}

/// Snapshots are taken by number of records while events come in, and servers are killed meanwhile.
#[test]
fn snapshots_are_taken_by_themselves() {
    let shop = shop(&format!("{CONFIG}[snapshots]\nafter_records = 40\n"));
    let (mut number, mut starts) = (0, 0);
    for round in 0..4 {
        let server = shop.run();
        starts += usize::from(server.said().contains("started from a snapshot"));
        for part in 0..6 {
            sell(&server.http, number..number + 15);
            number += 15;
            let moved = stock(&format!("s{round}-{part}"), &format!("item {}", part % 7), (part % 2) as i64 * 9);
            server.http.store("/v1/inventory", &[moved]);
        }
        let listed = || !shop.ended(&["snapshot", "list", "--json"]).json_lines().is_empty();
        eventually("a snapshot was taken", || listed().then_some(()));
        server.kill();
    }
    assert_eq!(starts, 3, "all starts but the first began with a snapshot");
    shop.ended(&["verify"]).with_code(0);
}

/// What is damaged is written anew by the next snapshot, although it has not changed.
#[test]
fn a_damaged_chunk_does_not_stand_in_the_next_snapshot() {
    let shop = shop(CONFIG);
    let server = shop.run();
    sell(&server.http, 0..30);
    snapshot(&server.http);
    server.kill();
    for path in files(&shop, "chunks") {
        let bytes = fs::read(&path).expect("a chunk");
        fs::write(&path, &bytes[..bytes.len() - 1]).expect("a chunk");
    }
    let server = shop.run();
    assert_eq!(read_back(&server), Some(30), "{}", server.said());
    let before = settled(&server.http);
    snapshot(&server.http);
    server.kill();
    let server = shop.run();
    assert!(server.said().contains("started from a snapshot"), "{}", server.said());
    assert_eq!((read_back(&server), settled(&server.http)), (None, before));
    server.terminate().with_code(0);
    shop.ended(&["verify"]).with_code(0);
}

/// A snapshot that nobody knew of when somebody was erased still holds them: it is not used.
#[test]
fn a_snapshot_from_before_an_erasure_is_not_used() {
    let shop = shop(CONFIG);
    let server = shop.run();
    sell(&server.http, 0..30);
    snapshot(&server.http);
    server.terminate().with_code(0);
    shop.configure(&format!("{CONFIG}[snapshots]\non = \"no\"\n"));
    shop.ended(&["erase", "user 1"]).with_code(0);
    shop.configure(CONFIG);
    let server = shop.run();
    assert!(server.said().contains("before somebody was erased"), "{}", server.said());
    assert_eq!(server.http.value("profile.snapshot", &json!({ "profile_id": "user 1" })), None);
    server.terminate().with_code(0);
    shop.ended(&["verify"]).with_code(0);
}

#[test]
fn whoever_is_erased_is_in_no_snapshot() {
    const WHO: &str = "customer-to-forget";
    let shop = shop(CONFIG);
    let server = shop.run();
    let mut theirs = event(1);
    theirs["userId"] = json!(WHO);
    server.http.store("/v1/events", &[theirs]);
    sell(&server.http, 2..30);
    settled(&server.http);
    snapshot(&server.http);
    let answer = server.http.try_delete(&format!("/v1/profiles/{WHO}")).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text);
    let left: usize = ["snapshots", "chunks"].iter().map(|folder| files(&shop, folder).len()).sum();
    assert_eq!(left, 0, "what could hold them is gone");
    snapshot(&server.http);
    let before = settled(&server.http);
    server.kill();
    let server = shop.run();
    assert_eq!((read_back(&server), settled(&server.http)), (None, before));
    assert_eq!(server.http.value("profile.value", &json!({ "profile_id": WHO })), None);
    server.terminate().with_code(0);
    shop.ended(&["verify"]).with_code(0);
}

#[test]
fn a_store_without_a_server_can_be_taken_one_of_and_other_places_are_told() {
    let shop = shop(CONFIG);
    let nowhere = shop.ended(&["snapshot", "now"]).with_code(3);
    assert!(nowhere.err.contains("cannot list"), "{nowhere}");
    let server = shop.run();
    sell(&server.http, 0..10);
    server.terminate().with_code(0);
    let taken = shop.ended(&["snapshot", "now", "--json"]).with_code(0).json_lines();
    assert_eq!((taken.len(), &taken[0]["records"]), (1, &json!(10)));
    let missing = shop.ended(&["snapshot", "inspect", "5"]).with_code(1);
    assert!(missing.err.contains("no such snapshot"), "{missing}");
    shop.configure(&format!("{CONFIG}[snapshots]\nurl = \"gopher://somewhere\"\n"));
    shop.ended(&["run", "--port", "0"]).with_code(2).says(&["snapshots.url", "s3://bucket/path"]);
    shop.configure(&format!("{CONFIG}[snapshots]\non = \"no\"\n"));
    let server = shop.run();
    let answer = server.http.post("/v1/snapshots", "");
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!("no_snapshot")), "{}", answer.text);
    assert_eq!(read_back(&server), Some(10), "without snapshots the log is read");
    server.terminate().with_code(0);
}

/// With `trim_log` the log before the oldest snapshot goes; what needs all of it says so.
#[test]
fn the_log_before_the_oldest_snapshot_is_trimmed_where_that_is_wanted() {
    let trimming =
        format!("{CONFIG}[store]\nsegment_bytes = 1_048_576\n[snapshots]\nevery = \"1h\"\ntrim_log = \"yes\"\n");
    let shop = shop(&trimming);
    let server = shop.run();
    let mut sold = 0;
    while shop.segments().len() < 4 {
        sell(&server.http, sold..sold + 1_000);
        sold += 1_000;
    }
    let first = snapshot(&server.http);
    assert!(shop.segments().len() >= 4, "one snapshot is too few");
    // Whoever asks while one is taken is answered with that one.
    while snapshot(&server.http) == first {}
    eventually("the log is trimmed", || (shop.segments().len() == 1).then_some(()));
    sell(&server.http, sold..sold + 100);
    let before = settled(&server.http);
    assert_eq!(server.http.try_delete("/v1/profiles/user%201").expect("an answer").status, 503);
    server.kill();
    let server = shop.run();
    assert_eq!(settled(&server.http), before);
    assert_eq!(server.http.post("/v1/events", event(3).to_string()).statuses(), ["duplicate"]);
    server.terminate().with_code(0);
    shop.ended(&["verify"]).with_code(1).says(&["trimmed"]);
    fs::remove_dir_all(shop.data().join("snapshots")).expect("the snapshots can be removed");
    shop.ended(&["run", "--port", "0"]).with_code(3).says(&["was trimmed", "none of the snapshots"]);
}
