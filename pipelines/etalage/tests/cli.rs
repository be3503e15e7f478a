//! The binary as a user meets it: exit codes, errors, and a demonstration that is asked over HTTP.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use tempfile::TempDir;

fn etalage(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_etalage"));
    // Whoever runs the tests may have variables of his own.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ETALAGE_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Exit code, standard output, standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    told(etalage(arguments).output().unwrap())
}

fn told(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// A port on which nothing listens.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn help_teaches_and_explains_the_exit_codes() {
    let (code, out, _) = run(&["--help"]);
    assert_eq!(code, 0);
    for said in ["Examples:", "Exit codes:", "etalage demo", "--data-dir"] {
        assert!(out.contains(said), "{said}: {out}");
    }
    for command in ["run", "demo", "replay", "get", "watch", "check", "verify"] {
        let (code, out, _) = run(&[command, "--help"]);
        assert!(code == 0 && out.contains("Example"), "{command}: {out}");
    }
    assert_eq!(run(&["sell"]).0, 2);
    assert_eq!(run(&["demo", "--speed", "0"]).0, 2);
}

#[test]
fn a_wrong_configuration_lists_its_errors_and_opens_nothing() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("shop.toml");
    fs::write(&file, "[windows]\nbuket = \"1h\"\n[sets]\nk = 0\n[server]\nlisten = \"0.0.0.0:1\"\n").unwrap();
    let data = dir.path().join("data");
    let file = file.to_str().unwrap();
    for command in ["check", "run"] {
        let (code, _, err) = run(&[command, "--config", file, "--data-dir", data.to_str().unwrap()]);
        assert_eq!(code, 2, "{err}");
        assert!(err.contains("3 errors") && err.contains("did you mean `windows.bucket`?"), "{err}");
        assert!(err.contains(":4: sets.k") && err.contains(":6: server.listen"), "{err}");
    }
    assert!(!data.exists());
    let told = told(etalage(&["check"]).env("ETALAGE_SETS__K", "many").output().unwrap());
    assert!(told.0 == 2 && told.2.contains("environment variable ETALAGE_SETS__K: sets.k"), "{}", told.2);
}

#[test]
fn a_fine_configuration_is_checked_and_the_reference_is_one() {
    let dir = TempDir::new().unwrap();
    let (code, reference, _) = run(&["config", "reference"]);
    assert_eq!(code, 0);
    let file = dir.path().join("shop.toml");
    fs::write(&file, reference).unwrap();
    let (code, out, err) = run(&["check", "--config", file.to_str().unwrap()]);
    assert!(code == 0 && out.contains("no errors"), "{out}{err}");
}

#[test]
fn a_new_key_comes_with_its_hash() {
    let (code, out, _) = run(&["key", "new", "pk", "--json"]);
    assert_eq!(code, 0);
    let made: serde_json::Value = serde_json::from_str(&out).unwrap();
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with("pk_") && key.len() == 67, "{key}");
    assert_eq!(made["sha256"], etalage_serve::hash_key(key));
    assert_ne!(run(&["key", "new", "pk", "--json"]).1, out, "no two keys are the same");
}

#[test]
fn where_nothing_listens_the_error_says_so() {
    let port = free_port().to_string();
    for command in ["get", "watch"] {
        let (code, _, err) = run(&[command, "set.bestsellers", "--port", &port]);
        assert_eq!(code, 1);
        assert!(err.contains("nothing answers at http://127.0.0.1:") && err.contains("etalage run"), "{err}");
    }
    let (code, _, err) = run(&["get", "set.bestsellers", "--url", "shop.example"]);
    assert!(code == 2 && err.contains("http://"), "{err}");
}

#[test]
fn inputs_that_cannot_be_replayed_say_why() {
    let dir = TempDir::new().unwrap();
    let empty = dir.path().join("empty.jsonl");
    fs::write(&empty, "").unwrap();
    let fault = |file: &Path| {
        let (code, _, err) = run(&["replay", file.to_str().unwrap(), "--format", "jsonl"]);
        assert_eq!(code, 1, "{err}");
        err
    };
    assert!(fault(&empty).contains("is empty"));
    assert!(fault(dir.path()).contains("is a folder"));
    assert!(fault(&dir.path().join("nowhere")).contains("no such file"));
    let (code, _, err) = run(&["replay", empty.to_str().unwrap(), "--format", "xml"]);
    assert!(code == 2 && err.contains("jsonl, online-retail"), "{err}");
}

#[test]
fn a_refused_line_is_found_in_the_quarantine_with_its_place() {
    let dir = TempDir::new().unwrap();
    let (file, data) = (dir.path().join("day.jsonl"), dir.path().join("data"));
    let view = r#"{"messageId":"m1","event":"view_item","timestamp":"2010-12-01T08:26:00Z","properties":{"items":[{"item_id":"22086"}]}}"#;
    fs::write(&file, format!("{view}\n{{\"broken\n")).unwrap();
    let (file, data) = (file.to_str().unwrap(), data.to_str().unwrap());
    let (code, _, err) = run(&["quarantine", "list", "--data-dir", data]);
    assert!(code == 1 && err.contains("no quarantine in"), "{err}");
    let (code, out, err) =
        run(&["replay", file, "--format", "jsonl", "--data-dir", data, "--dump", "scope.totals:global/5m"]);
    assert!(code == 0 && out.contains(r#""views":1"#), "{out}{err}");
    assert!(err.contains("refused as malformed: 1"), "{err}");
    let (code, out, _) = run(&["quarantine", "list", "--data-dir", data]);
    assert!(code == 0 && out.contains(&format!("{file}:2")), "{out}");
    let (code, out, _) = run(&["quarantine", "show", "1", "--data-dir", data]);
    assert!(code == 0 && out.ends_with("{\"broken\n"), "{out}");
    assert_eq!(run(&["quarantine", "show", "2", "--data-dir", data]).0, 1);
    // A replay begins with a fresh store.
    assert_eq!(run(&["replay", file, "--format", "jsonl", "--data-dir", data]).0, 2);
    let (code, out, err) = run(&["verify", "--data-dir", data]);
    assert!(code == 0 && out.contains("0 different"), "{out}{err}");
}

/// A demonstration that ends with this value, and its folder for temporary files.
struct Demo {
    child: Child,
    url: String,
    _temporary: TempDir,
}

impl Demo {
    fn start() -> Demo {
        let temporary = TempDir::new().unwrap();
        let mut child = etalage(&["demo", "--port", "0", "--speed", "3600", "--for", "120s"])
            .env("TMPDIR", temporary.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        told.read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("etalage demo listens on ").unwrap_or_else(|| panic!("{line}")).to_owned();
        std::thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
        Demo { child, url, _temporary: temporary }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_demonstration_is_read_and_followed() {
    let demo = Demo::start();
    let url = demo.url.as_str();
    // The first change of a set comes as soon as the catalogue and the first views are in.
    let (code, out, err) = run(&["watch", "set.bestsellers:global/24h", "--limit", "3", "--json", "--url", url]);
    assert_eq!(code, 0, "{err}");
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line["key"]["window"] == "24h" && line["as_of"].is_string()), "{out}");

    let (code, out, err) = run(&["get", "set.bestsellers:global/24h", "--url", url]);
    assert_eq!(code, 0, "{err}");
    let mut rows = out.lines();
    assert_eq!(rows.next().unwrap().split_whitespace().next(), Some("scope"), "{out}");
    assert_eq!(rows.next().unwrap().split_whitespace().nth(2), Some("1"), "{out}");

    let (code, out, _) = run(&["get", "item.sellable", "--json", "--limit", "1500", "--url", url]);
    assert_eq!((code, out.lines().count()), (0, 1_500), "several pages are put together");
    let (code, _, err) = run(&["get", "set.bestseller", "--url", url]);
    assert!(code == 1 && err.contains("there is no view `set.bestseller`"), "{err}");
    let (code, _, err) = run(&["quarantine", "list", "--url", url]);
    assert!(code == 0 && err.contains("no message was refused"), "{err}");

    // Whoever reads only the beginning ends the command quietly.
    let mut child = etalage(&["watch", "item.sellable", "--url", url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("item.sellable"), "{first}");
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

#[test]
fn files_of_data_sets_are_replayed_together() {
    let file = |name: &str| format!("{}/../../tests/fixtures/formats/{name}", env!("CARGO_MANIFEST_DIR"));
    let (events, properties) = (file("retailrocket_events.csv"), file("retailrocket_properties.csv"));
    let dump = ["--dump", "item.sellable:460429", "--dump", "scope.totals:global/24h"];
    let files = ["replay", events.as_str(), properties.as_str(), "--format", "retailrocket", "--quiet"];
    let (code, out, err) = run(&[&files[..], &dump].concat());
    assert!(code == 0 && err.contains("13 messages stored") && err.contains("0 refused"), "{out}{err}");
    assert!(err.contains("retailrocket_events.csv: 10 rows: view 4") && err.contains("available 2"), "{err}");
    assert!(out.contains(r#""item_id":"460429""#) && out.contains(r#""available":0"#), "{out}");

    let (rees46, otto) = (file("rees46.csv"), file("otto.jsonl"));
    let (code, out, err) = run(&["replay", &rees46, "--format", "rees46", "--dump", "scope.totals:global/24h"]);
    assert!(code == 0 && err.contains("9 messages stored") && err.contains("11 rows: view 3"), "{out}{err}");
    // Three orders: two instants of one session, and another one. 1095.78 dollars are dollars.
    assert!(out.contains(r#""orders":3"#) && out.contains(r#""revenue_micros":1095780000"#), "{out}");
    let (code, out, err) = run(&["replay", &otto, "--format", "otto", "--dump", "scope.totals:global/24h"]);
    assert!(code == 0 && err.contains("9 messages stored") && err.contains("4 sessions: clicks 4"), "{out}{err}");
    assert!(out.contains(r#""orders":3"#) && out.contains(r#""lines":5"#), "{out}");
}

/// Damage with stored messages behind it is no torn end: it is named, and whoever reads the store ends.
#[test]
fn a_store_that_is_damaged_in_the_middle_is_named_and_the_command_ends() {
    let folder = TempDir::new().unwrap();
    let (file, store) = (folder.path().join("stock.jsonl"), folder.path().join("store"));
    let (id, at) = ("x".repeat(200), "2024-01-01T00:00:00Z");
    let line = |number: u32| {
        format!(
            "{{\"messageId\":\"{id}{number}\",\"item_id\":\"a\",\"available\":{number},\"occurred_at\":\"{at}\"}}\n"
        )
    };
    fs::write(&file, (0..6_000).map(line).collect::<String>()).unwrap();
    let (file, store) = (file.to_str().unwrap(), store.to_str().unwrap());
    let mut replay = etalage(&["replay", file, "--format", "jsonl", "--data-dir", store]);
    let (code, _, told_of) = told(replay.env("ETALAGE_STORE__SEGMENT_BYTES", "1048576").output().unwrap());
    assert_eq!(code, 0, "{told_of}");
    let mut segments: Vec<_> = fs::read_dir(store).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|ending| ending == "seg"));
    segments.sort();
    assert!(segments.len() > 1, "{segments:?}");
    let mut bytes = fs::read(&segments[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&segments[0], bytes).unwrap();
    let (code, _, told_of) = run(&["verify", "--data-dir", store]);
    let name = segments[0].file_name().unwrap().to_str().unwrap();
    assert!(code == 3 && told_of.contains(name) && told_of.contains("damaged"), "{code}: {told_of}");
}
