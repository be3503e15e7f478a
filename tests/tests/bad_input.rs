//! What users get wrong: each gets an error that names the place and says what to do, with the
//! right exit code, and nothing panics (the harness looks for that in every output).

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::Stdio,
    time::{Duration, Instant},
};

use etalage_tests::{Ended, Shop, binary::signal, etalage, http::eventually};
use serde_json::json;

fn replay(shop: &Shop, file: &str) -> Ended {
    shop.ended(&["replay", shop.path(file).to_str().expect("a path that is text"), "--format", "jsonl"])
}

#[test]
fn files_that_cannot_be_replayed() {
    let shop = Shop::new("");
    replay(&shop, "missing.jsonl").with_code(1).says(&["missing.jsonl"]);
    fs::create_dir(shop.path("folder")).expect("a folder");
    replay(&shop, "folder").with_code(1).says(&["folder"]);
    shop.write("empty.jsonl", "");
    replay(&shop, "empty.jsonl").with_code(1).says(&["empty.jsonl", "empty"]);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    for number in 0..2_000 {
        writeln!(packed, r#"{{"messageId":"{number}","event":"view_item","timestamp":"2024-01-01T00:00:00Z"}}"#)
            .expect("memory");
    }
    let packed = packed.finish().expect("memory");
    shop.write("cut.jsonl.gz", &packed[..packed.len() / 2]);
    replay(&shop, "cut.jsonl.gz").with_code(1).says(&["cut.jsonl.gz"]);
    shop.ended(&["replay", "x", "--format", "xml"]).with_code(2).says(&["jsonl", "online-retail"]);
    shop.ended(&["replay", "x", "--format", "jsonl", "--until", "soon"]).with_code(2).says(&["soon", "2011-12-01"]);
    shop.ended(&["replay", "x", "--format", "jsonl", "--dump", "set.nothing"]).with_code(2).says(&["set.bestsellers"]);
}

#[test]
fn bad_lines_are_quarantined_with_their_place_and_the_replay_goes_on() {
    let shop = Shop::new("");
    let good = |id: &str, at: &str| {
        format!(
            r#"{{"messageId":"{id}","event":"view_item","timestamp":"{at}","properties":{{"items":[{{"item_id":"a"}}]}}}}"#
        )
    };
    let lines = [
        good("1", "2024-01-01T00:00:00Z"),
        "{broken".to_owned(),
        r#"{"messageId":"2","event":"view_item","timestamp":"2024-01-01T00:00:00Z","properties":{"items":"none"}}"#
            .to_owned(),
        format!(r#"{{"messageId":"3","event":"view_item","userId":"{}"}}"#, "x".repeat(1_000_000)),
        good("4", "3000-01-01T00:00:00Z"),
        good("5", "2024-01-01T00:01:00Z"),
    ];
    shop.write("mixed.jsonl", lines.join("\n"));
    let file = shop.path("mixed.jsonl");
    let file = file.to_str().expect("a path that is text");
    let ended = shop.ended(&["replay", file, "--format", "jsonl", "--dump", "item.popularity:global/1h/"]);
    let ended = ended.with_code(0).says(&["2 messages stored", "4 refused"]);
    assert_eq!(ended.json_lines()[0]["value"]["views"], 2, "{ended}");
    let listed = shop.ended(&["quarantine", "list", "--json"]).with_code(0).json_lines();
    let places: Vec<String> = listed.iter().map(|row| row["source"].as_str().unwrap_or_default().to_owned()).collect();
    for line in ["mixed.jsonl:2", "mixed.jsonl:3", "mixed.jsonl:4", "mixed.jsonl:5"] {
        assert!(places.iter().any(|place| place.ends_with(line)), "{line} among {places:?}");
    }
}

#[test]
fn requests_that_are_wrong() {
    let shop = Shop::new("");
    let server = shop.run();
    let http = &server.http;
    assert_eq!(http.post("/v1/events", "{\"event\":").status, 400, "broken JSON");
    assert_eq!(http.post("/v1/events", "").status, 400, "nothing");
    let wrong =
        http.post("/v1/events", r#"{"event":"view_item","properties":{"items":[{"item_id":"a"},{"price":"much"}]}}"#);
    assert_eq!(wrong.statuses(), ["refused"]);
    assert!(wrong.text.contains("items[1]"), "the place is named: {}", wrong.text);
    let future = http.post("/v1/events", r#"{"event":"view_item","timestamp":"3000-01-01T00:00:00Z"}"#);
    assert_eq!(future.statuses(), ["refused"]);
    assert!(future.text.contains("max_clock_skew"), "{}", future.text);
    let large = format!(r#"{{"event":"view_item","userId":"{}"}}"#, "x".repeat(1_000_000));
    let answer = http.post("/v1/events", &large);
    assert_eq!(answer.status, 413, "{}", answer.text);
    let medium = json!({ "event": "view_item", "userId": "x".repeat(100_000) }).to_string();
    let answer = http.post("/v1/events", medium);
    assert_eq!(answer.statuses(), ["refused"], "{}", answer.text);
    assert_eq!(http.post("/v1/inventory", r#"{"item_id":"a","op":"delta","available":1}"#).statuses(), ["refused"]);
    assert_eq!(http.get("/v1/views/set.nothing").status, 404);
    assert_eq!(http.get("/v1/views/set.bestsellers?prefix=a/b/c/d").status, 400);
    server.terminate().with_code(0);
}

#[test]
fn a_configuration_with_five_errors_lists_them_all_and_opens_nothing() {
    let shop = Shop::new(
        "[windows]\nnames = [\"7\"]\nbucket = \"often\"\n[sets]\nk = 0\n[stock]\nunknown = \"maybe\"\n[score]\nclick = 1\n",
    );
    let names = ["windows.names", "windows.bucket", "sets.k", "stock.unknown", "score.click"];
    shop.ended(&["run", "--port", "0"]).with_code(2).says(&names);
    assert!(!shop.data().exists(), "nothing is opened");
}

#[test]
fn places_that_cannot_be_had() {
    let shop = Shop::new("");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    shop.ended(&["run", "--port", &port]).with_code(1).says(&[&port, "--port"]);
    fs::write(shop.data(), "a file").expect("a file in place of the folder");
    shop.ended(&["run", "--port", "0"]).with_code(3).says(&["data", "folder"]);
    // The system's own read-only folder: the rights of a root user do not help there.
    let mut read_only = etalage(["run", "--port", "0", "--data-dir", "/proc/etalage"]);
    read_only.env("ETALAGE_LOG", "warn");
    Ended::of(read_only).with_code(3).says(&["/proc/etalage"]);
}

#[test]
fn a_store_is_used_by_one_process_at_a_time() {
    let shop = Shop::new("");
    let server = shop.run();
    shop.ended(&["run", "--port", "0"]).with_code(3).says(&["in use"]);
    shop.ended(&["verify"]).with_code(3).says(&["in use"]);
    server.terminate().with_code(0);
}

#[test]
fn the_last_bytes_cut_off_are_cut_and_a_flipped_byte_in_the_middle_is_refused() {
    let shop = Shop::new("");
    let server = shop.run();
    for number in 0..20 {
        server.http.store("/v1/events", &[json!({ "messageId": format!("m{number}"), "event": "view_item" })]);
    }
    server.kill();
    let segment = shop.segments().pop().expect("a segment");
    let bytes = fs::read(&segment).expect("it can be read");
    fs::write(&segment, &bytes[..bytes.len() - 3]).expect("it can be written");
    let server = shop.run();
    assert!(server.said().contains("torn"), "{}", server.said());
    assert_eq!(server.http.post("/v1/events", r#"{"messageId":"m0","event":"view_item"}"#).statuses(), ["duplicate"]);
    assert_eq!(server.http.post("/v1/events", r#"{"messageId":"m19","event":"view_item"}"#).statuses(), ["stored"]);
    server.kill();
    let mut bytes = fs::read(&segment).expect("it can be read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(&segment, &bytes).expect("it can be written");
    let name = segment.file_name().and_then(|name| name.to_str()).expect("a name");
    shop.ended(&["run", "--port", "0"]).with_code(3).says(&[name, "byte"]);
}

#[test]
fn packed_bodies_that_cannot_be_unpacked() {
    let shop = Shop::new("");
    let server = shop.run();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(br#"{"messageId":"m","event":"view_item"}"#).expect("memory");
    let packed = packed.finish().expect("memory");
    let gzip = server.http.with("Content-Encoding", "gzip");
    assert_eq!(gzip.post("/v1/events", &packed[..packed.len() - 9]).status, 400, "cut off");
    assert_eq!(gzip.post("/v1/events", "plain").status, 400, "not packed at all");
    assert_eq!(server.http.with("Content-Encoding", "br").post("/v1/events", &packed).status, 415);
    // A small body that is large unpacked is turned away, not unpacked.
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b' '; 50_000_000]).expect("memory");
    assert_eq!(gzip.post("/v1/events", bomb.finish().expect("memory")).status, 413);
    assert_eq!(gzip.post("/v1/events", &packed).statuses(), ["stored"], "and it goes on");
}

#[test]
fn configurations_that_cannot_be_read() {
    let shop = Shop::new("[windows\n");
    shop.ended(&["check"]).with_code(2).says(&["shop.toml", "1"]);
    let check = |path: &str| Ended::of(etalage(["check", "--config", path]));
    check("/nowhere/shop.toml").with_code(2).says(&["/nowhere/shop.toml"]);
    let folder = shop.path("");
    check(folder.to_str().expect("a path that is text")).with_code(2).says(&["etalage-tests-"]);
}

/// A file of `count` items, each viewed once.
fn views(shop: &Shop, count: usize) -> String {
    let view = |at: usize| {
        let items = json!([{ "item_id": format!("i{at}") }]);
        let at = 1_704_067_200_000 + 1_000 * at as u64;
        json!({ "event": "view_item", "timestamp": at, "properties": { "items": items } }).to_string()
    };
    let lines: Vec<String> = (0..count).map(view).collect();
    shop.write("views.jsonl", lines.join("\n")).to_str().expect("a path that is text").to_owned()
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let shop = Shop::new("");
    let file = views(&shop, 5_000);
    let mut command = shop.command(&["replay", &file, "--format", "jsonl", "--dump", "item.popularity"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut first = String::new();
    // As `| head -1` does: it reads a line, and goes.
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut first).expect("a line");
    assert!(first.starts_with(r#"{"view":"item.popularity""#), "{first}");
    let ended = Ended::wait(child, "replay, whose reader has gone".into()).with_code(0);
    assert!(!ended.err.contains("etalage:"), "nothing has failed: {ended}");
}

#[test]
fn a_service_that_is_interrupted_ends_cleanly_and_keeps_what_it_has_stored() {
    let shop = Shop::new("");
    let server = shop.run();
    server.http.store("/v1/events", &[json!({ "messageId": "m", "event": "view_item" })]);
    server.interrupt().with_code(0);
    let server = shop.run();
    assert_eq!(server.http.post("/v1/events", r#"{"messageId":"m","event":"view_item"}"#).statuses(), ["duplicate"]);
    server.terminate().with_code(0);
}

#[test]
fn a_replay_that_is_interrupted_ends_cleanly_and_keeps_what_it_has_stored() {
    let shop = Shop::new("");
    let file = views(&shop, 20_000);
    // Five and a half hours of views, in about a minute.
    let mut command = shop.command(&["replay", &file, "--format", "jsonl", "--speed", "300"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    eventually("the replay has stored something", || {
        let segment = shop.data().exists().then(|| shop.segments().pop()).flatten()?;
        (fs::metadata(segment).ok()?.len() > 10_000).then_some(())
    });
    let interrupted = Instant::now();
    signal(&child, "INT");
    let ended = Ended::wait(child, "replay, interrupted".into()).with_code(0).says(&["interrupted before the end"]);
    assert!(interrupted.elapsed() < Duration::from_secs(10), "{ended}");
    let verified = shop.ended(&["verify"]).with_code(0);
    let stored: u64 = verified
        .out
        .lines()
        .find_map(|line| line.split_once(" messages"))
        .and_then(|(count, _)| count.parse().ok())
        .unwrap_or_else(|| panic!("{verified}"));
    assert!((1..20_000).contains(&stored), "{verified}");
    assert!(ended.err.contains(&format!("{stored} messages stored")), "what was reported is there: {ended}{verified}");
}
