//! `kill -9` at random moments loses nothing that was acknowledged, and counts nothing twice.
//!
//! Senders post batches of purchases over connections of their own ([`sender`]). A ledger outside
//! of the process ([`ledger`]) knows every event and whether it was acknowledged. After each kill the
//! server is started on the same folder, and what was not acknowledged is sent again, as a client
//! would. Snapshots are taken all the time, so that most starts begin with one. At the end every event counts exactly
//! once, in totals and for its item, whatever was acknowledged is answered `duplicate`, and the views equal their oracles.
//!
//! Between these kills the process dies at each of its failpoints: between storing and answering, between the parts of
//! a snapshot, while it reads back.
//!
//! The report says at which stage the kills hit each sender and each failpoint, and what had become of the batches that
//! were cut off. `ETALAGE_KILL_ROUNDS=5` kills five times as often, in five stores, one after the other.

mod failpoints;
mod ledger;
mod sender;

use std::{
    collections::BTreeMap,
    process::Stdio,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use etalage_tests::{Http, Server, Shop, http::eventually, seed, seed::Random};
use ledger::{ITEMS, Ledger, UNITS};
use rand::RngExt;
use sender::{Cut, Sender};
use serde_json::{Value, json};

const CONFIG: &str = r#"
[windows]
names = ["7d"]
bucket = "1h"
[scopes]
dimensions = ["global"]
[store]
durability = "process"
segment_bytes = 1_048_576
[snapshots]
every = "200ms"
after_records = 500
"#;

/// How often a server is killed while requests come in, in a round.
const KILLS: usize = 48;
/// After each fourth of these, one is killed before it listens, and one while it reads back.
const STARTS_EVERY: usize = 4;
/// So many of these are followed by a death at a failpoint.
const FAILPOINTS_OF: usize = 40;
const SENDERS: usize = 3;
/// Events that are sent at once when everything is sent once more at the end.
const CHECK_BATCH: usize = 1_000;

/// Where the kills hit.
#[derive(Default)]
struct Report {
    events: usize,
    acknowledged: usize,
    were_stored: usize,
    were_not_stored: usize,
    from_snapshots: usize,
    before_listening: usize,
    reading_back: usize,
    senders: BTreeMap<Cut, usize>,
    failpoints: BTreeMap<&'static str, usize>,
}

/// How many rounds of kills there are.
fn rounds() -> usize {
    std::env::var("ETALAGE_KILL_ROUNDS").ok().map_or(1, |rounds| rounds.parse().expect("a number of rounds"))
}

/// Lets senders work until `end` has made an end of the server; in which stage each of them was cut off.
fn work_until<T>(
    address: &str,
    ledger: &Mutex<Ledger>,
    random: &mut Random,
    report: &mut Report,
    end: impl FnOnce(&AtomicBool) -> T,
) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|lane| {
                let sender = Sender { address, ledger, stop: &stop, lane, random: seed::from(random.random()) };
                scope.spawn(|| sender.run())
            })
            .collect();
        let ended = end(&stop);
        for sender in senders {
            *report.senders.entry(sender.join().expect("no sender panics")).or_default() += 1;
        }
        ended
    })
}

/// Kills a server while senders are at work; each tells in which stage it was cut off.
fn kill_at_work(server: Server, ledger: &Mutex<Ledger>, random: &mut Random, report: &mut Report) {
    let wait = Duration::from_micros(random.random_range(0..300_000));
    let address = server.http.url().trim_start_matches("http://").to_owned();
    work_until(&address, ledger, random, report, |stop| {
        std::thread::sleep(wait);
        // Whoever is between two requests now sends no other; the rest is cut off.
        stop.store(true, Ordering::SeqCst);
        server.kill();
    });
}

/// Kills a server that has just been started, before it listens.
fn kill_early(shop: &Shop, random: &mut Random) {
    let mut command = shop.command(&["run", "--port", "0"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    std::thread::sleep(Duration::from_micros(random.random_range(0..6_000)));
    child.kill().expect("a child can be killed");
    child.wait().expect("a child can be waited for");
}

/// Sends everything once more, and compares the counts.
fn check(http: &Http, ledger: &mut Ledger) {
    let numbers: Vec<u64> = ledger.numbers().collect();
    for batch in numbers.chunks(CHECK_BATCH) {
        let statuses = http.post("/v1/events", ledger::body(batch)).statuses();
        for (number, status) in batch.iter().zip(statuses) {
            let is_known = ledger.is_acknowledged(*number);
            assert!(status == "duplicate" || !is_known && status == "stored", "event {number} was lost: {status}");
        }
    }
    let key = json!({ "scope": "global", "window": "7d" });
    let expected = numbers.len();
    let whole = |row: &Value, count: usize| {
        row["orders"] == count && row["lines"] == count && row["units"] == count as u64 * UNITS && row["views"] == 0
    };
    eventually("every event counts once", || http.value("scope.totals", &key).filter(|totals| whole(totals, expected)));
    for item in 0..ITEMS {
        let key = json!({ "scope": "global", "window": "7d", "item_id": ledger::item(item) });
        let row = http.value("item.popularity", &key).expect("every item was bought");
        let count = numbers.iter().filter(|number| *number % ITEMS == item).count();
        assert!(whole(&row, count), "item {item} was bought {count} times: {row}");
    }
}

/// Kills the servers of one store, and checks what is in it at the end.
fn kill_one_store(random: &mut Random, report: &mut Report) {
    let shop = Shop::new(CONFIG).with_variable("ETALAGE_LOG", "etalage=info");
    let ledger = Mutex::new(Ledger::default());
    for kill in 1..=KILLS {
        let server = shop.run();
        report.from_snapshots += usize::from(server.said().contains("started from a snapshot"));
        kill_at_work(server, &ledger, random, report);
        if kill % STARTS_EVERY == 0 {
            kill_early(&shop, random);
            report.before_listening += 1;
            let server = shop.start();
            let readiness = server.http.try_get("/readyz").map(|answer| answer.status);
            server.kill();
            report.reading_back += usize::from(readiness == Ok(503));
        }
        if kill % KILLS < FAILPOINTS_OF {
            failpoints::die(kill, &shop, &ledger, random, report);
        }
    }
    let server = shop.run();
    let mut ledger = ledger.into_inner().expect("no sender panics");
    report.acknowledged += ledger.acknowledged();
    check(&server.http, &mut ledger);
    assert!(shop.segments().len() > 1, "the log has grown over several segments");
    server.terminate().with_code(0);
    shop.ended(&["verify"]).with_code(0);
    report.events += ledger.numbers().count();
    report.were_stored += ledger.were_stored;
    report.were_not_stored += ledger.were_not_stored;
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_counts_twice() {
    let (_, mut random) = seed::draw("kill");
    let (mut report, kills) = (Report::default(), KILLS * rounds());
    (0..rounds()).for_each(|_| kill_one_store(&mut random, &mut report));

    assert!(report.from_snapshots > kills / 2, "{} starts began with a snapshot", report.from_snapshots);
    let (starts, at_failpoints) = (kills / STARTS_EVERY, report.failpoints.values().sum::<usize>());
    let all = kills + 2 * starts + at_failpoints;
    eprintln!(
        "{all} kills of {} stores, {} events, {} of them acknowledged",
        rounds(),
        report.events,
        report.acknowledged
    );
    eprintln!("  {} starts began with a snapshot", report.from_snapshots);
    eprintln!("  {} before the server listened", report.before_listening);
    eprintln!("  {starts} after that, {} of them seen reading back", report.reading_back);
    eprintln!("  {at_failpoints} at failpoints");
    for (name, count) in &report.failpoints {
        eprintln!("    {count:>4} {name}");
    }
    eprintln!("  {kills} at work; these and the failpoints hit each of {SENDERS} senders");
    for (cut, count) in &report.senders {
        eprintln!("    {count:>4} {cut}");
    }
    eprintln!("  batches sent again: {} had been stored, {} not", report.were_stored, report.were_not_stored);
    for cut in [Cut::Between, Cut::Sending, Cut::Awaiting] {
        assert!(report.senders.contains_key(&cut), "some kills must hit a sender {cut}");
    }
    for name in failpoints::ALL {
        assert!(report.failpoints.contains_key(name), "some deaths must be at {name}");
    }
    assert!(all >= 100, "{all} kills are too few to tell");
    assert!(report.were_stored + report.were_not_stored > 0, "some batches must be sent again");
}
