//! What users get wrong: each gets an error that names the place and says what to do, with the
//! right exit code, and nothing panics (the harness looks for that in every output).

use std::{
    fs,
    io::Write,
    net::TcpListener,
    process::Stdio,
    time::{Duration, Instant},
};

use etalage_tests::{Ended, Shop, http::eventually};
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
    assert_eq!(http.post("/v1/events", large).status, 413);
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
    let mut read_only = etalage_tests::etalage(["run", "--port", "0", "--data-dir", "/proc/etalage"]);
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
fn interrupts_end_cleanly_and_a_gone_reader_is_no_error() {
    let shop = Shop::new("");
    let server = shop.run();
    server.http.store("/v1/events", &[json!({ "messageId": "m", "event": "view_item" })]);
    server.interrupt().with_code(0);
    let server = shop.run();
    assert_eq!(server.http.post("/v1/events", r#"{"messageId":"m","event":"view_item"}"#).statuses(), ["duplicate"]);
    server.terminate().with_code(0);

    let fresh = Shop::new("");
    let file = etalage_tests::binary::root().join("data/online-retail/online_retail.csv.zst");
    let mut command =
        fresh.command(&["replay", file.to_str().expect("text"), "--format", "online-retail", "--speed", "1000"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let began = Instant::now();
    eventually("the replay has stored something", || (!fresh.data().exists()).then_some(()).is_none().then_some(()));
    std::thread::sleep(Duration::from_secs(1));
    etalage_tests::binary::signal(&child, "INT");
    child.stdin.take();
    let ended = Ended::wait(child, "replay, interrupted".into()).with_code(0).says(&["interrupted"]);
    assert!(began.elapsed() < Duration::from_secs(60), "{ended}");
}
