//! `kill -9` while requests are in flight: nothing acknowledged is lost, nothing counts twice.
//!
//! A ledger outside of the process knows every event and whether it was acknowledged. After each
//! kill the server is started on the same folder and what was not acknowledged is sent again, as a
//! client would. At the end every event counts exactly once. The report says at which stage the
//! kills hit.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use etalage_tests::{Http, Shop, http::eventually, seed};
use rand::RngExt;
use serde_json::{Value, json};

const KILLS: usize = 50;
const BATCH: usize = 20;
const SENDERS: usize = 3;
const ITEMS: usize = 7;

/// What is known of the events outside of the process.
#[derive(Default)]
struct Ledger {
    /// Number → acknowledged.
    events: BTreeMap<u64, bool>,
    in_flight: usize,
    /// Batches that were answered, and that were sent in vain.
    answered: u64,
    unanswered: u64,
}

fn event(number: u64) -> Value {
    let item = format!("i{}", number as usize % ITEMS);
    json!({
        "messageId": format!("e{number}"), "event": "purchase",
        "properties": { "transaction_id": format!("t{number}"), "items": [{ "item_id": item, "price": 1, "quantity": 2 }] },
    })
}

/// Sends batches, first of what is not acknowledged, then of new events, until told to stop or the
/// server is gone.
fn send(http: &Http, ledger: &Mutex<Ledger>, stop: &AtomicBool, lane: u64) {
    while !stop.load(Ordering::SeqCst) {
        let numbers: Vec<u64> = {
            let mut ledger = ledger.lock().expect("no sender panics");
            ledger.in_flight += 1;
            let again = ledger.events.iter().filter(|(number, known)| !**known && **number % SENDERS as u64 == lane);
            let mut numbers: Vec<u64> = again.map(|(number, _)| *number).take(BATCH).collect();
            let mut next = ledger.events.last_key_value().map_or(0, |(last, _)| last + 1);
            while numbers.len() < BATCH {
                if next % SENDERS as u64 == lane {
                    numbers.push(next);
                }
                next += 1;
            }
            ledger.events.extend(numbers.iter().map(|number| (*number, false)));
            numbers
        };
        let body: String = numbers.iter().map(|number| format!("{}\n", event(*number))).collect();
        let answer = http.try_post("/v1/events", body);
        let mut ledger = ledger.lock().expect("no sender panics");
        ledger.in_flight -= 1;
        match answer {
            Ok(answer) if answer.status == 200 => {
                ledger.answered += 1;
                for (number, status) in numbers.iter().zip(answer.statuses()) {
                    assert!(status == "stored" || status == "duplicate", "{status} for {number}");
                    ledger.events.insert(*number, true);
                }
            }
            _ => {
                ledger.unanswered += 1;
                return;
            }
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_counts_twice() {
    let (_, mut random) = seed::draw("kill");
    let shop = Shop::new("[windows]\nnames = [\"7d\"]\nbucket = \"1h\"\n[scopes]\ndimensions = [\"global\"]\n");
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut stages: BTreeMap<&str, usize> = BTreeMap::new();
    for kill in 0..KILLS {
        // Every fifth server is killed while it starts and reads its log back.
        let is_starting = kill % 5 == 4;
        let server = if is_starting { shop.start() } else { shop.run() };
        let stop = Arc::new(AtomicBool::new(false));
        let senders: Vec<_> = (0..SENDERS as u64)
            .map(|lane| {
                let (http, ledger, stop) = (server.http.clone(), Arc::clone(&ledger), Arc::clone(&stop));
                std::thread::spawn(move || send(&http, &ledger, &stop, lane))
            })
            .collect();
        std::thread::sleep(Duration::from_micros(random.random_range(0..if is_starting { 20_000 } else { 150_000 })));
        let in_flight = ledger.lock().expect("no sender panics").in_flight;
        server.kill();
        stop.store(true, Ordering::SeqCst);
        senders.into_iter().for_each(|sender| sender.join().expect("no sender panics"));
        let stage = match (is_starting, in_flight) {
            (true, _) => "starting, the log being read back",
            (false, 0) => "between requests",
            (false, _) => "requests in flight",
        };
        *stages.entry(stage).or_default() += 1;
    }
    let server = shop.run();
    let mut ledger = Arc::into_inner(ledger).expect("all senders have ended").into_inner().expect("none panicked");
    let acknowledged = ledger.events.values().filter(|known| **known).count();
    for (number, known) in &mut ledger.events {
        let statuses = server.http.post("/v1/events", event(*number).to_string()).statuses();
        assert!(
            !*known || statuses == ["duplicate"],
            "event {number} was acknowledged, and is not there: {statuses:?}"
        );
        *known = true;
    }
    let expected = ledger.events.len() as i64;
    let key = json!({ "scope": "global", "window": "7d" });
    eventually("every event counts once", || {
        let totals = server.http.value("scope.totals", &key)?;
        (totals["orders"] == expected && totals["lines"] == expected && totals["units"] == 2 * expected).then_some(())
    });
    println!(
        "{KILLS} kills, {stages:?}; {} batches answered, {} not; {} events, {acknowledged} acknowledged before the last start",
        ledger.answered,
        ledger.unanswered,
        ledger.events.len()
    );
    assert!(stages["requests in flight"] >= 10, "the kills hit requests: {stages:?}");
    server.terminate().with_code(0);
    shop.ended(&["verify"]).with_code(0);
}
