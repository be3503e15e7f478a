//! The order in which messages arrive makes no difference. The same admitted messages, shuffled,
//! each sent one to five times, on 1, 2 or 4 workers, in pieces between which and in the middle of
//! which the process is killed: evaluated at one tick, all views are byte for byte the same, and the
//! same as their oracles (`verify`).
//!
//! Every file ends with a message that counts for nothing and is dated [`UNTIL_MS`], so that all of
//! them are evaluated at that tick.

use std::{process::Stdio, time::Duration};

use etalage_tests::{Ended, Shop, seed, seed::Random, story::Story};
use rand::{RngExt, seq::SliceRandom};
use serde_json::json;

/// 2024-01-01, and what happens lies within the ten days after it.
const FROM_MS: u64 = 1_704_067_200_000;
const DAY_MS: u64 = 24 * 3_600_000;
const SPAN_MS: u64 = 10 * DAY_MS;
/// An hour in the middle of which buckets of both phases end.
const UNTIL_MS: u64 = FROM_MS + SPAN_MS + 1_234_567;
const MESSAGES: usize = 500;
const ITEMS: usize = 14;
const PIECES: usize = 4;
const KILLS_PER_PIECE: usize = 3;
const VIEWS: [&str; 6] =
    ["item.sellable", "item.popularity", "scope.totals", "set.bestsellers", "item.trend", "set.trending"];

fn config(phase: &str, workers: usize) -> String {
    format!(
        r#"
[windows]
names = ["6h", "1d", "7d", "28d"]
bucket = "1h"
phase = "{phase}"
[scopes]
dimensions = ["global", "category", "brand", "country", "device", "country+category"]
[sets]
k = 4
[dedup]
horizon = "60d"
[workers]
count = {workers}
"#
    )
}

/// The messages in the order in which they happened. Every tenth instant is that of another one.
fn messages(random: Random) -> Vec<String> {
    let mut story = Story::new(random, ITEMS);
    let mut instants: Vec<u64> = (0..MESSAGES).map(|_| FROM_MS + story.random().random_range(0..SPAN_MS)).collect();
    for at in (0..MESSAGES).step_by(10) {
        instants[at] = instants[(at + 7) % MESSAGES];
    }
    instants.sort_unstable();
    instants.into_iter().map(|at_ms| story.any(at_ms).1.to_string()).collect()
}

fn last() -> String {
    json!({ "messageId": "last", "event": "search", "timestamp": UNTIL_MS }).to_string()
}

/// The same messages in any order, each one to five times.
fn shuffled(messages: &[String], random: &mut Random) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for message in messages {
        all.extend(std::iter::repeat_n(message.clone(), random.random_range(1..=5)));
    }
    all.shuffle(random);
    all
}

fn arguments<'a>(file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let dumps = VIEWS.iter().flat_map(|view| ["--dump", view]);
    ["replay", file, "--format", "jsonl", "--append", "--quiet"]
        .into_iter()
        .chain(more.iter().copied())
        .chain(dumps)
        .collect()
}

/// Replays `lines` in one go and gives what all views are then.
fn replayed(shop: &Shop, lines: &[String], distinct: usize) -> Ended {
    let file = shop.write("all.jsonl", format!("{}\n{}\n", lines.join("\n"), last()));
    let ended = shop.ended(&arguments(file.to_str().expect("a path that is text"), &[])).with_code(0);
    let duplicates = lines.len() - distinct;
    ended.says(&[&format!("{} messages stored, {duplicates} duplicates, 0 refused", distinct + 1)])
}

/// The same in pieces, on changing numbers of workers; each piece is killed at random moments and
/// begun again. Gives what all views are then, and how many replays were hit.
fn replayed_in_pieces(shop: &Shop, phase: &str, lines: &[String], random: &mut Random) -> (Ended, usize) {
    let mut hits = 0;
    for (number, piece) in lines.chunks(lines.len().div_ceil(PIECES)).enumerate() {
        shop.configure(&config(phase, [1, 2, 4][number % 3]));
        let file = shop.write(&format!("piece-{number}.jsonl"), piece.join("\n"));
        let file = file.to_str().expect("a path that is text");
        for _ in 0..KILLS_PER_PIECE {
            let mut command = shop.command(&arguments(file, &[]));
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
            std::thread::sleep(Duration::from_micros(random.random_range(0..120_000)));
            hits += usize::from(child.try_wait().expect("a child can be asked").is_none());
            child.kill().expect("a child can be killed");
            child.wait().expect("a child can be waited for");
        }
        shop.ended(&arguments(file, &[])).with_code(0);
    }
    let file = shop.write("last.jsonl", last());
    (shop.ended(&arguments(file.to_str().expect("a path that is text"), &[])).with_code(0), hits)
}

/// Says in which line two outputs part.
#[track_caller]
fn assert_same(found: &Ended, expected: &Ended, what: &str) {
    if found.out == expected.out {
        return;
    }
    let (mut found, mut expected) = (found.out.lines(), expected.out.lines());
    loop {
        let (ours, theirs) = (found.next(), expected.next());
        assert_eq!(ours, theirs, "{what}: what is computed depends on the order");
    }
}

fn any_order(phase: &str) {
    let (seed, mut random) = seed::draw("order");
    let messages = messages(seed::from(seed));
    let in_order = Shop::new(&config(phase, 1));
    let expected = replayed(&in_order, &messages, MESSAGES);
    for view in VIEWS {
        assert!(expected.out.contains(&format!(r#""view":"{view}""#)), "{view} has values");
    }
    assert!(expected.out.contains("2024-01-11T00:20:34.567000Z"), "all is evaluated at the last tick: {expected}");
    in_order.ended(&["verify"]).with_code(0);

    for workers in [1, 2, 4] {
        let shop = Shop::new(&config(phase, workers));
        let found = replayed(&shop, &shuffled(&messages, &mut random), MESSAGES);
        assert_same(&found, &expected, &format!("{phase}, shuffled, {workers} workers"));
        shop.ended(&["verify"]).with_code(0);
    }

    let shop = Shop::new("");
    let lines = shuffled(&messages, &mut random);
    let (found, hits) = replayed_in_pieces(&shop, phase, &lines, &mut random);
    eprintln!("{phase}: {hits} of {} kills hit a running replay", PIECES * KILLS_PER_PIECE);
    assert!(hits > 0, "at least one kill must hit a running replay");
    assert_same(&found, &expected, &format!("{phase}, shuffled, in pieces with kills between"));
    shop.ended(&["verify"]).with_code(0);
}

#[test]
fn with_aligned_windows() {
    any_order("aligned");
}

#[test]
fn with_spread_windows() {
    any_order("spread");
}
