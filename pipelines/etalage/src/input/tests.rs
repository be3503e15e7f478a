//! Inputs as they come: packed, cut off, empty, and with bad lines between good ones.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use etalage_model::Message;
use tempfile::TempDir;

use super::*;

const EVENT: &str = r#"{"messageId":"m1","type":"track","event":"view_item","timestamp":"2010-12-01T08:26:00Z","properties":{"items":[{"item_id":"22086"}]}}"#;
const STOCK: &str = r#"{"messageId":"m2","item_id":"22086","op":"set","available":3}"#;
const RETAIL: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n\
                      536365,85123A,HOLDER,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom\n\
                      536365,POST,POSTAGE,1,2010-12-01 08:26:00,18,17850.0,United Kingdom\n\
                      536366,22086,CHAIN,many,2010-12-01 08:28:00,1.85,17850.0,United Kingdom\n\
                      536367,22086,CHAIN,2,2010-12-01 08:34:00,1.85,13047.0,United Kingdom\n";

fn options(format: Format) -> SourceOptions {
    SourceOptions {
        format,
        limits: decode::json::Limits::default(),
        currencies: Currencies::only("GBP"),
        non_items: BTreeSet::from(["POST".to_owned()]),
        not_after: Micros(1_800_000_000_000_000),
    }
}

fn written(dir: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn gzip(text: &str) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(text.as_bytes()).unwrap();
    packer.finish().unwrap()
}

/// Lines and message ids (or reasons) of the whole input, and how it ended.
fn read(path: &Path, format: Format) -> (Vec<(u64, String)>, Option<InputError>) {
    let mut source = match Opened::path(path).and_then(|opened| Source::new(opened, options(format))) {
        Ok(source) => source,
        Err(error) => return (vec![], Some(error)),
    };
    let mut all = Vec::new();
    loop {
        match source.next_batch() {
            Ok(Some(batch)) => {
                all.extend(batch.lines.into_iter().zip(batch.results.iter().map(|result| match result {
                    Ok(record) => record.message.message_id().to_owned(),
                    Err(rejected) => rejected.reason.code().to_owned(),
                })))
            }
            Ok(None) => {
                let read = source.read_bytes().load(Ordering::Relaxed);
                assert_eq!(source.total_bytes(), Some(read), "the bar ends at the end");
                return (all, None);
            }
            Err(error) => return (all, Some(error)),
        }
    }
}

#[test]
fn packing_is_told_by_the_first_bytes() {
    let dir = TempDir::new().unwrap();
    let text = format!("{EVENT}\n{STOCK}\n");
    let twice = [gzip(&text), gzip(&text)].concat();
    for (name, bytes, count) in [
        ("plain.gz", text.clone().into_bytes(), 2),
        ("gzip.jsonl", gzip(&text), 2),
        ("members", twice, 4),
        ("zstd.txt", zstd::encode_all(text.as_bytes(), 3).unwrap(), 2),
        ("short", b"{}".to_vec(), 1),
    ] {
        let (messages, error) = read(&written(&dir, name, &bytes), Format::Jsonl);
        assert!(error.is_none(), "{name}: {error:?}");
        assert_eq!(messages.len(), count, "{name}");
    }
}

#[test]
fn what_cannot_be_opened_says_why() {
    let dir = TempDir::new().unwrap();
    let fault = |path: PathBuf, format| read(&path, format).1.unwrap().to_string();
    assert!(fault(dir.path().join("nowhere"), Format::Jsonl).ends_with("nowhere: no such file"));
    assert!(fault(dir.path().to_owned(), Format::Jsonl).contains("is a folder"));
    assert!(fault(written(&dir, "empty", b""), Format::Jsonl).contains("is empty"));
    assert!(fault(written(&dir, "packed", &gzip("")), Format::Jsonl).contains("is empty"));
    assert!(fault(written(&dir, "json", STOCK.as_bytes()), Format::OnlineRetail).contains("no online-retail file"));
}

#[test]
fn a_cut_file_gives_what_stands_before_and_says_how_far_it_got() {
    let dir = TempDir::new().unwrap();
    // Bytes that do not pack well, so that the cut falls into the middle of the lines.
    let line = |at: u64| STOCK.replace("m2", &format!("{:016x}", at.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let text: String = (0..20_000).map(|at| line(at) + "\n").collect();
    for (name, mut bytes) in [("cut.gz", gzip(&text)), ("cut.zst", zstd::encode_all(text.as_bytes(), 3).unwrap())] {
        bytes.truncate(bytes.len() / 2);
        let (messages, error) = read(&written(&dir, name, &bytes), Format::Jsonl);
        let Some(InputError::CutOff { unpacked_bytes, line, .. }) = error else { panic!("{name}: {error:?}") };
        assert!(messages.len() > 5_000, "{name}: {}", messages.len());
        assert_eq!(line, messages.len() as u64 + 1, "{name}");
        assert!(unpacked_bytes >= messages.len() as u64 * STOCK.len() as u64, "{name}");
    }
    let (messages, error) = read(&written(&dir, "head.gz", &gzip(&text)[..5]), Format::Jsonl);
    assert!(messages.is_empty() && matches!(error, Some(InputError::CutOff { .. })), "{error:?}");
}

#[test]
fn damaged_packing_is_told_from_a_cut() {
    let dir = TempDir::new().unwrap();
    let text = format!("{EVENT}\n").repeat(2_000);
    let mut bytes = gzip(&text);
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8].fill(0xff);
    let (_, error) = read(&written(&dir, "bad.gz", &bytes), Format::Jsonl);
    assert!(matches!(error, Some(InputError::Damaged { .. })), "{error:?}");
}

#[test]
fn a_cut_online_retail_file_gives_no_half_row() {
    let dir = TempDir::new().unwrap();
    let rows: String = (0..5_000)
        .map(|at: u64| {
            let code = 10_000 + at.wrapping_mul(0x9e37_79b9) % 90_000;
            format!("{},{code},HOLDER,6,2010-12-01 08:26:00,2.55,,United Kingdom\n", 500_000 + at)
        })
        .collect();
    let text = RETAIL.lines().next().unwrap().to_owned() + "\n" + &rows;
    let bytes = gzip(&text);
    let (messages, error) = read(&written(&dir, "cut.csv.gz", &bytes[..bytes.len() * 2 / 3]), Format::OnlineRetail);
    assert!(matches!(error, Some(InputError::CutOff { .. })), "{error:?}");
    assert!(messages.len() > 100 && messages.iter().all(|(_, id)| id != "malformed" && id != "invalid"));
}

#[test]
fn bad_lines_come_out_at_their_place() {
    let dir = TempDir::new().unwrap();
    let long = format!(r#"{{"messageId":"long","x":"{}"}}"#, "x".repeat(1_000_000));
    let text = format!("{EVENT}\r\n\n{{\"broken\n{long}\n{STOCK}");
    let (messages, error) = read(&written(&dir, "mixed.jsonl", text.as_bytes()), Format::Jsonl);
    assert!(error.is_none());
    let expected = [(1, "m1"), (3, "malformed"), (4, "too_large"), (5, "m2")];
    assert_eq!(messages, expected.map(|(line, what)| (line, what.to_owned())));
}

#[test]
fn a_message_without_time_has_the_greatest_one_before_it() {
    let dir = TempDir::new().unwrap();
    let later = EVENT.replace("08:26", "09:00").replace("m1", "m3");
    let ahead = EVENT.replace("2010-", "3000-").replace("m1", "m4");
    let text = format!("{STOCK}\n{later}\n{EVENT}\n{ahead}\n{STOCK}\n");
    let path = written(&dir, "mixed.jsonl", text.as_bytes());
    let mut source = Source::new(Opened::path(&path).unwrap(), options(Format::Jsonl)).unwrap();
    let batch = source.next_batch().unwrap().unwrap();
    let first = batch.results[0].as_ref().unwrap_err();
    assert_eq!((first.reason.code(), first.message_id.as_deref()), ("invalid", Some("m2")));
    let Ok(Record { message: Message::Inventory(stock), .. }) = &batch.results[4] else { panic!("a stock message") };
    // One from the year 3000, which will be refused, lends its time to none.
    assert_eq!(stock.occurred_at, Micros::parse("2010-12-01T09:00:00Z").unwrap());
}

#[test]
fn online_retail_is_read_with_its_bad_lines() {
    let dir = TempDir::new().unwrap();
    let path = written(&dir, "retail.csv", RETAIL.as_bytes());
    let (messages, error) = read(&path, Format::OnlineRetail);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(messages.len(), 3, "two orders and a bad line: {messages:?}");
    assert_eq!(messages.iter().filter(|(line, _)| *line == 4).count(), 1, "the bad line names its number");
    let mut source = Source::new(Opened::path(&path).unwrap(), options(Format::OnlineRetail)).unwrap();
    while source.next_batch().unwrap().is_some() {}
    let Some(Tally::OnlineRetail(rows)) = source.tally() else { panic!("rows are counted") };
    assert_eq!((rows.rows, rows.sale, rows.non_items, rows.bad), (4, 3, 1, 1));
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/formats").join(name)
}

#[test]
fn each_format_reads_its_own_files_and_no_others() {
    let files = [
        (Format::Rees46, "rees46.csv", 9),
        (Format::Otto, "otto.jsonl", 9),
        (Format::Retailrocket, "retailrocket_events.csv", 9),
        (Format::Retailrocket, "retailrocket_properties.csv", 4),
    ];
    for (format, name, count) in files {
        let mut usd = options(format);
        usd.currencies = Currencies::only("USD");
        let mut source = Source::new(Opened::path(&fixture(name)).unwrap(), usd).unwrap();
        let batch = source.next_batch().unwrap().unwrap();
        assert_eq!(batch.results.iter().flatten().count(), count, "{name}");
        assert!(source.next_batch().unwrap().is_none());
        assert!(source.tally().unwrap().to_string().contains(" unreadable"), "{name}");
    }
    let wrong = read(&fixture("otto.jsonl"), Format::Rees46).1.unwrap().to_string();
    assert!(wrong.contains("otto.jsonl is no rees46 file") && wrong.contains("`event_time`, "), "{wrong}");
    let (messages, error) = read(&fixture("rees46.csv"), Format::Otto);
    assert!(error.is_none() && messages.iter().all(|(_, what)| what == "malformed"), "{messages:?}");
}

#[test]
fn of_a_cut_file_that_is_put_into_order_nothing_is_taken() {
    let dir = TempDir::new().unwrap();
    let rows =
        (0..5_000_u64).map(|at| format!("{},v,view,{},\n", 1_433_221_332_117 + at, at.wrapping_mul(0x9e37_79b9)));
    let text = format!("timestamp,visitorid,event,itemid,transactionid\nbad\n{}", rows.collect::<String>());
    let bytes = gzip(&text);
    let path = written(&dir, "cut.csv.gz", &bytes[..bytes.len() / 2]);
    let (messages, error) = read(&path, Format::Retailrocket);
    assert_eq!(messages, [(2, "malformed".to_owned())]);
    let Some(error @ InputError::CutOff { taken: Taken::Nothing, .. }) = error else { panic!("{error:?}") };
    assert!(error.to_string().contains("none of its messages were taken"), "{error}");
}

#[test]
fn several_files_are_merged_by_time() {
    let paths = [fixture("retailrocket_events.csv"), fixture("retailrocket_properties.csv")];
    let mut sources = Sources::open(&paths, &options(Format::Retailrocket)).unwrap();
    let batch = sources.next_batch().unwrap().unwrap();
    let at = |result: &Result<Record, Rejected>| result.as_ref().unwrap().message.at();
    assert!(batch.results.is_sorted_by_key(at));
    let files: Vec<_> = batch.lines.iter().map(|line| line.file).collect();
    assert_eq!(files, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    assert_eq!(batch.lines[0], FileLine { file: 1, line: 5 });
    assert!(sources.next_batch().unwrap().is_none());
    assert_eq!(sources.tallies().count(), 2);
    assert_eq!(sources.total_bytes(), Some(sources.read_bytes().iter().map(|read| read.load(Ordering::Relaxed)).sum()));

    let dir = TempDir::new().unwrap();
    let (one, other) = (written(&dir, "one", EVENT.as_bytes()), written(&dir, "other", b"{}"));
    let mut sources = Sources::open(&[one.clone(), other, one], &options(Format::Jsonl)).unwrap();
    let batch = sources.next_batch().unwrap().unwrap();
    let places: Vec<_> = batch.lines.iter().map(|line| (line.file, line.line)).collect();
    assert_eq!(places, [(1, 1), (0, 1), (2, 1)], "a bad line has no time; of equal times the first file goes first");
    let many = vec![dir.path().join("one"); MAX_FILES + 1];
    assert!(matches!(Sources::open(&many, &options(Format::Jsonl)), Err(InputError::TooManyFiles { .. })));
}

#[test]
fn what_was_merged_before_one_of_several_files_breaks_off_comes_out() {
    let dir = TempDir::new().unwrap();
    let line = |at: u64| EVENT.replace("m1", &format!("{:016x}", at.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let text: String = (0..5_000).map(|at| line(at) + "\n").collect();
    let bytes = gzip(&text);
    let (whole, cut) = (written(&dir, "whole", text.as_bytes()), written(&dir, "cut", &bytes[..bytes.len() / 2]));
    let mut sources = Sources::open(&[cut, whole], &options(Format::Jsonl)).unwrap();
    let mut count = 0;
    let error = loop {
        match sources.next_batch() {
            Ok(Some(batch)) => count += batch.results.len(),
            Ok(None) => panic!("the cut is not told"),
            Err(error) => break error,
        }
    };
    assert!(count > 1_000 && matches!(error, InputError::CutOff { .. }), "{count}: {error}");
}
