//! What can be mended: a damaged log and a damaged quarantine by `etalage repair`, refused messages by `etalage
//! quarantine retry`, a full disk by making room.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use etalage_tests::{Http, Shop, http::eventually};
use serde_json::{Value, json};

const CONFIG: &str = "[windows]\nnames = [\"7d\"]\nbucket = \"1h\"\n";

fn purchase(number: usize) -> Value {
    let items = json!([{ "item_id": "shoe", "price": 1, "quantity": 1 }]);
    let properties = json!({ "transaction_id": format!("t{number}"), "items": items });
    json!({ "messageId": format!("e{number}"), "event": "purchase", "userId": "ann", "properties": properties })
}

fn sell(http: &Http, numbers: std::ops::Range<usize>) {
    http.store("/v1/events", &numbers.map(purchase).collect::<Vec<_>>());
}

fn lines(http: &Http) -> Option<u64> {
    http.value("scope.totals", &json!({ "scope": "global", "window": "7d" }))?["lines"].as_u64()
}

fn has_lines(http: &Http, count: u64) {
    eventually("everything is counted", || lines(http).filter(|lines| *lines == count));
}

#[test]
fn a_damaged_log_goes_on_with_what_stands_before_the_damage() {
    let shop = Shop::new(CONFIG);
    let server = shop.run();
    sell(&server.http, 0..10);
    server.http.post("/v1/snapshots", "");
    let length = fs::metadata(&shop.segments()[0]).expect("there is a log").len();
    (1..10).for_each(|batch| sell(&server.http, batch * 10..batch * 10 + 10));
    server.http.post("/v1/snapshots", "");
    server.terminate().with_code(0);
    let file = OpenOptions::new().write(true).open(&shop.segments()[0]).expect("the log can be written");
    file.write_all_at(&[0xFF; 4], length + 60).expect("it can be damaged");

    shop.ended(&["run", "--port", "0"]).with_code(3).says(&["is damaged at byte", "etalage repair --apply"]);
    let before = fs::read(&shop.segments()[0]).expect("the log can be read");
    let found = shop.ended(&["repair"]).with_code(0);
    assert!(found.out.contains("10 records in ") && found.out.contains("nothing was changed"), "{found}");
    assert_eq!(fs::read(&shop.segments()[0]).expect("the log can be read"), before);
    let repaired = shop.ended(&["repair", "--apply"]).with_code(0);
    assert!(repaired.out.contains("set aside: "), "{repaired}");
    assert!(shop.ended(&["repair"]).with_code(0).out.contains("nothing is damaged"));
    assert_eq!(
        shop.ended(&["snapshot", "list"]).with_code(0).out.lines().count(),
        1,
        "the other holds more than the log"
    );

    let server = shop.run();
    has_lines(&server.http, 10);
    // What was set aside is not known any more: it can be sent again.
    assert_eq!(server.http.post("/v1/events", purchase(50).to_string()).statuses(), ["stored"]);
    assert_eq!(server.http.post("/v1/events", purchase(5).to_string()).statuses(), ["duplicate"]);
    has_lines(&server.http, 11);
    server.terminate().with_code(0);
    shop.ended(&["verify"]).with_code(0);
}

#[test]
fn a_store_in_use_is_not_repaired_and_a_damaged_quarantine_is_set_aside() {
    let shop = Shop::new(CONFIG);
    let server = shop.run();
    sell(&server.http, 0..1);
    server.http.post("/v1/events", "{\"event\": 5}");
    shop.ended(&["repair", "--apply"]).with_code(3).says(&["is in use"]);
    server.terminate().with_code(0);
    let quarantine = shop.data().join("quarantine.redb");
    let length = fs::metadata(&quarantine).expect("there is one").len();
    let file = OpenOptions::new().write(true).open(&quarantine).expect("it can be written");
    (0..length / 512).for_each(|at| file.write_all_at(&[0xA5; 64], at * 512).expect("it can be damaged"));
    shop.ended(&["run", "--port", "0"]).with_code(3).says(&["quarantine", "etalage repair --apply"]);
    let repaired = shop.ended(&["repair", "--apply"]).with_code(0);
    assert!(repaired.out.contains("quarantine.redb.damaged"), "{repaired}");
    let server = shop.run();
    has_lines(&server.http, 1);
}

#[test]
fn refused_messages_are_taken_once_what_they_were_refused_for_is_mended() {
    let shop = Shop::new(&format!("{CONFIG}[time]\nretention = \"8d\"\n"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let old = |number: usize, days: u64| {
        let mut event = purchase(number);
        event["timestamp"] = (now.as_millis() as u64 - days * 86_400_000).into();
        event
    };
    let mut dear = purchase(3);
    dear["properties"]["currency"] = "SEK".into();
    let server = shop.run();
    let refused = [old(1, 10), old(2, 20), dear, json!({ "messageId": "e4", "event": 5 })];
    let body: String = refused.iter().map(|event| format!("{event}\n")).collect();
    assert_eq!(server.http.post("/v1/events", body).statuses(), ["refused"; 4]);
    let codes = |http: &Http| -> Vec<String> {
        let page = http.json("/v1/quarantine");
        let records = page["records"].as_array().expect("a list").iter();
        records.map(|record| record["code"].as_str().expect("a text").to_owned()).collect()
    };
    eventually("all are in the quarantine", || (codes(&server.http).len() == 4).then_some(()));
    server.terminate().with_code(0);

    shop.configure(&format!(
        "{CONFIG}[time]\nretention = \"15d\"\n[shop]\nrates = {{ SEK = {{ \"2020-01-01\" = 0.1 }} }}\n"
    ));
    let server = shop.run();
    let url = server.http.url().to_owned();
    let retried = shop.ended(&["quarantine", "retry", "--code", "too_old", "--json", "--url", &url]).with_code(0);
    let statuses: Vec<Value> = retried.json_lines().iter().map(|line| line["status"].clone()).collect();
    assert_eq!(statuses, ["stored", "refused"], "{retried}");
    eventually("one is back", || (codes(&server.http) == ["unknown_currency", "invalid", "too_old"]).then_some(()));
    let retried = shop.ended(&["quarantine", "retry", "3", "4", "99", "--url", &url]).with_code(0);
    assert!(retried.out.contains("stored") && retried.out.contains("no such record"), "{retried}");
    eventually("two are back", || (codes(&server.http) == ["too_old", "invalid"]).then_some(()));
    // It is known by the content that was sent.
    assert_eq!(server.http.post("/v1/events", old(1, 10).to_string()).statuses(), ["duplicate"]);
    has_lines(&server.http, 1);
    let answer = server.http.post("/v1/quarantine/retry", "");
    assert_eq!(answer.status, 400, "{}", answer.text);
    server.terminate().with_code(0);
    // In the folder, without a server.
    shop.configure(&format!("{CONFIG}[time]\nretention = \"40d\"\n"));
    let retried = shop.ended(&["quarantine", "retry", "--code", "too_old"]).with_code(0);
    assert!(retried.out.contains("stored"), "{retried}");
    shop.ended(&["verify"]).with_code(0);
}

/// A small disk of its own, in memory; it is unmounted when this value goes away.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, megabytes: u32) -> SmallDisk {
        fs::create_dir_all(at).expect("a folder");
        let size = format!("size={megabytes}m");
        let path = at.to_str().expect("a path that is text");
        as_root(&["mount", "-t", "tmpfs", "-o", &format!("{size},mode=777"), "tmpfs", path]);
        SmallDisk(at.to_path_buf())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        as_root(&["umount", "--lazy", self.0.to_str().expect("a path that is text")]);
    }
}

fn as_root(command: &[&str]) {
    let uid = Command::new("id").arg("-u").output().expect("id tells who this is").stdout;
    let sudo = if uid.trim_ascii() == b"0" { None } else { Some("sudo") };
    let words: Vec<&str> = sudo.into_iter().chain(command.iter().copied()).collect();
    let status = Command::new(words[0]).args(&words[1..]).status().expect("the command is there");
    assert!(status.success(), "{words:?}");
}

#[test]
fn on_a_full_disk_reads_go_on_and_writes_wait_until_there_is_room() {
    let shop = Shop::new(CONFIG);
    let _disk = SmallDisk::mount(&shop.data(), 24);
    let server = shop.run();
    sell(&server.http, 0..100);
    let filler = shop.data().join("filler");
    let mut next = 100;
    let mut acknowledged = 100;
    // Whatever is left is taken by something else; then the log has no room.
    let fill = || {
        let file = fs::File::create(&filler).expect("a file");
        let block = vec![0; 64 * 1024];
        let mut at = 0;
        while file.write_all_at(&block, at).is_ok() {
            at += block.len() as u64;
        }
    };
    fill();
    let mut refused = None;
    for _ in 0..200 {
        let batch: String = (next..next + 100).map(|number| format!("{}\n", purchase(number))).collect();
        let answer = server.http.post("/v1/events", batch);
        if answer.status == 200 {
            acknowledged += 100;
            next += 100;
        } else {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("the disk is full at last");
    assert_eq!(refused.status, 503, "{}", refused.text);
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert!(refused.text.contains("full"), "{}", refused.text);
    // Reads go on, and time with them.
    has_lines(&server.http, acknowledged);
    let tick = || server.http.json("/v1/status")["tick"].as_u64().expect("a tick");
    let before = tick();
    eventually("time goes on", || (tick() > before + 1_500_000).then_some(()));
    assert_eq!(server.http.get("/readyz").status, 200);
    fs::remove_file(&filler).expect("room is made");
    sell(&server.http, next..next + 100);
    has_lines(&server.http, acknowledged + 100);
    server.kill();
    let server = shop.run();
    has_lines(&server.http, acknowledged + 100);
    server.terminate().with_code(0);
    shop.ended(&["verify"]).with_code(0);
}
