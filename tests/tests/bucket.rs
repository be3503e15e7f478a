//! Snapshots in a bucket of a real S3 server: what holds in a folder holds there, and a server that is away stops
//! nothing.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use etalage_tests::{
    Http, Server, Shop,
    http::eventually,
    s3::{BUCKET, S3, SECRET},
};
use serde_json::json;

/// Views whose rows do not change by time alone within a test.
const VIEWS: [&str; 4] = ["item.sellable", "item.popularity", "set.bestsellers", "profile.value"];

fn config() -> String {
    format!(
        "[windows]\nnames = [\"7d\"]\nbucket = \"10m\"\n[snapshots]\nurl = \"s3://{BUCKET}/shop/a\"\nretry_for = \"1s\"\n"
    )
}

/// A shop whose snapshots are there.
fn shop(s3: &S3) -> Shop {
    let shop = Shop::new(&config()).with_variable("ETALAGE_LOG", "etalage=info,object_store=trace,reqwest=trace");
    s3.environment().iter().fold(shop, |shop, (name, value)| shop.with_variable(name, value))
}

fn sell(http: &Http, numbers: std::ops::Range<usize>) {
    let event = |number: usize| {
        let kind = ["view_item", "purchase"][number % 2];
        json!({
            "messageId": format!("e{number}"), "event": kind,
            "userId": format!("user {}", number % 11),
            "properties": {
                "transaction_id": format!("t{number}"),
                "items": [{ "item_id": format!("item {}", number % 7), "price": "9.99" }],
            },
        })
    };
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
        for entry in page["entries"].as_array().expect("a list") {
            all.insert(format!("{view} {}", entry["key"]), entry["value"].to_string());
        }
    }
    all
}

/// A snapshot that is asked for as its users do; its tick.
fn snapshot(shop: &Shop, server: &Server) -> u64 {
    let taken = shop.ended(&["snapshot", "now", "--url", server.http.url(), "--json"]).with_code(0).json_lines();
    taken[0]["tick"].as_u64().expect("a tick")
}

fn read_back(server: &Server) -> Option<u64> {
    let said = server.said();
    let line = said.lines().find(|line| line.contains("the log was read back"))?;
    line.split("records=").nth(1)?.split(' ').next()?.parse().ok()
}

fn chunks(s3: &S3) -> Vec<String> {
    s3.keys().into_iter().filter(|key| key.starts_with("shop/a/chunks/")).collect()
}

#[test]
fn a_restart_begins_with_a_snapshot_in_a_bucket_and_a_damaged_one_is_passed_over() {
    let s3 = S3::start();
    let shop = shop(&s3);
    let server = shop.run();
    sell(&server.http, 0..60);
    server
        .http
        .store("/v1/inventory", &[json!({ "messageId": "s1", "item_id": "item 1", "op": "set", "available": 0 })]);
    let first = snapshot(&shop, &server);
    let of_first = chunks(&s3);
    sell(&server.http, 60..75);
    let second = snapshot(&shop, &server);
    sell(&server.http, 75..80);
    let before = settled(&server.http);
    server.kill();
    assert!(!shop.data().join("snapshots").exists(), "nothing is in a folder");

    let server = shop.run();
    assert!(server.said().contains("started from a snapshot"), "{}", server.said());
    assert_eq!((read_back(&server), settled(&server.http)), (Some(5), before.clone()));
    server.kill();
    let listed = shop.ended(&["snapshot", "list", "--json"]).with_code(0).json_lines();
    assert_eq!(listed.iter().map(|line| line["tick"].as_u64()).collect::<Vec<_>>(), [Some(first), Some(second)]);
    shop.ended(&["snapshot", "inspect"]).with_code(0);
    let verified = shop.ended(&["snapshot", "verify"]).with_code(0).out;
    assert_eq!(verified.matches("whole").count(), 2, "{verified}");

    // One that is damaged, then one that is gone, then none at all.
    let of_second: Vec<String> = chunks(&s3).into_iter().filter(|key| !of_first.contains(key)).collect();
    s3.put(of_second.first().expect("what has changed was written"), b"not what was written");
    let verified = shop.ended(&["snapshot", "verify"]).with_code(3);
    assert!(
        verified.out.contains("damaged") && verified.out.contains(&format!("s3://{BUCKET}/shop/a/chunks/")),
        "{verified}"
    );
    let server = shop.run();
    assert!(server.said().contains("is damaged"), "{}", server.said());
    assert_eq!((read_back(&server), settled(&server.http)), (Some(20), before.clone()));
    server.kill();
    s3.remove(&format!("shop/a/snapshots/{second:020}.manifest"));
    s3.remove(&of_first[0]);
    let server = shop.run();
    assert_eq!((read_back(&server), settled(&server.http)), (Some(81), before.clone()));
    let third = snapshot(&shop, &server);
    server.kill();
    let server = shop.run();
    assert_eq!((read_back(&server), settled(&server.http)), (None, before));
    server.terminate().with_code(0);
    assert!(third > second);
    shop.ended(&["verify"]).with_code(0);
}

#[test]
fn a_server_that_is_away_stops_nothing_and_snapshots_go_on_when_it_is_back() {
    let mut s3 = S3::start();
    let shop = shop(&s3).with_variable("AWS_TIMEOUT", "4s");
    let server = shop.run();
    sell(&server.http, 0..30);
    snapshot(&shop, &server);
    let place = format!("s3://{BUCKET}/shop/a");
    let fails = |expected: &[&str]| {
        let refused = shop.ended(&["snapshot", "now", "--url", server.http.url()]).with_code(1);
        refused.says(&[&place, "look at the network", "AWS_ENDPOINT"]).says(expected)
    };

    s3.kill();
    fails(&["cannot list", "refused"]);
    sell(&server.http, 30..40);
    assert_eq!(server.http.metric("etalage_snapshot_errors_total"), Some(1.0));
    s3.begin();
    snapshot(&shop, &server);

    // It takes connections and answers nothing.
    s3.freeze();
    fails(&["cannot list"]);
    sell(&server.http, 40..50);
    assert_eq!(server.http.metric("etalage_snapshot_errors_total"), Some(2.0));
    s3.thaw();
    snapshot(&shop, &server);
    let before = settled(&server.http);

    // Whoever stops does not wait for it.
    let slow = shop.command(&["snapshot", "now", "--url", server.http.url()]);
    s3.freeze();
    let asked = std::thread::spawn(move || etalage_tests::Ended::of(slow));
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    let ended = server.terminate().with_code(0);
    assert!(began.elapsed() < Duration::from_millis(2_500), "{:?}", began.elapsed());
    asked.join().expect("it ends with the server").with_code(1).says(&["etalage is stopping"]);
    assert!(ended.err.contains("no snapshot could be taken; the log keeps everything"), "{ended}");
    assert!(!ended.err.contains(SECRET), "{ended}");

    shop.ended(&["snapshot", "list"]).with_code(3).says(&["cannot list", &place, "look at the network"]);
    shop.ended(&["run", "--port", "0"]).with_code(3).says(&["cannot list", &place, "[snapshots] on = \"no\""]);
    s3.thaw();
    let server = shop.run();
    assert!(server.said().contains("started from a snapshot"), "{}", server.said());
    assert_eq!((read_back(&server), settled(&server.http)), (None, before));
    server.terminate().with_code(0);
}

#[test]
fn a_bucket_that_is_missing_and_one_that_refuses_are_told_at_the_start() {
    let s3 = S3::start();
    let shop = shop(&s3);
    shop.configure(&config().replace(BUCKET, "elsewhere"));
    let missing = shop.ended(&["run", "--port", "0"]).with_code(3);
    missing.says(&["cannot list s3://elsewhere/shop/a", "whether there is such a bucket"]);

    let guarded = S3::start_guarded();
    let shop = self::shop(&guarded);
    let refused = shop.ended(&["run", "--port", "0"]).with_code(3);
    let refused = refused.says(&[&format!("cannot list s3://{BUCKET}/shop/a"), "credentials", "AWS_ACCESS_KEY_ID"]);
    assert!(!refused.err.contains(SECRET), "{refused}");

    // What is wrong with the address itself is told before anything is opened, and no secret is repeated.
    for (url, what) in [("gopher://somewhere", "s3://bucket/path"), ("s3://me:SECRET@bucket/a", "environment")] {
        shop.configure(&format!("[snapshots]\nurl = \"{url}\"\n"));
        let wrong = shop.ended(&["check"]).with_code(2).says(&["snapshots.url", what]);
        assert!(!wrong.err.contains("SECRET"), "{wrong}");
    }
}
