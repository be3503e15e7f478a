//! The quarantine: what is put in comes back, the limits hold, a damaged file is named.

mod support;

use std::{fs, path::Path, thread};

use etalage_model::{Micros, Quarantined, Refusal};
use etalage_store::{MAX_LIST, QUARANTINE_FILE, Quarantine, QuarantineOptions, StoreError};

fn refused(n: u64) -> Quarantined {
    let reason = match n % 3 {
        0 => Refusal::Malformed(format!("line {n}")),
        1 => Refusal::TooLarge { bytes: 40_000, limit: 32_768 },
        _ => Refusal::Conflict,
    };
    Quarantined {
        seq: 0,
        arrived_at: Micros(1_700_000_000_000_000 + n),
        source: "POST /v1/events".to_owned(),
        reason,
        raw: vec![n as u8; 10],
        raw_bytes: 10,
    }
}

fn open(dir: &Path) -> Quarantine {
    Quarantine::open(dir, QuarantineOptions::default()).unwrap()
}

fn numbers(records: &[Quarantined]) -> Vec<u64> {
    records.iter().map(|record| record.seq).collect()
}

#[test]
fn records_come_back_numbered_from_one_and_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = open(dir.path());
    assert!(quarantine.is_empty().unwrap());
    assert_eq!(quarantine.list(0, 10).unwrap(), vec![]);
    assert_eq!(quarantine.add(vec![]).unwrap(), 1..1);
    assert_eq!(quarantine.add((0..4).map(refused).collect()).unwrap(), 1..5);
    drop(quarantine);

    let quarantine = open(dir.path());
    assert_eq!(quarantine.add(vec![refused(4)]).unwrap(), 5..6);
    let expected: Vec<Quarantined> = (0..5).map(|n| Quarantined { seq: n + 1, ..refused(n) }).collect();
    assert_eq!(quarantine.list(0, 10).unwrap(), expected);
    assert_eq!(quarantine.list(2, 2).unwrap(), expected[2..4]);
    assert_eq!(quarantine.list(5, 10).unwrap(), vec![]);
    assert_eq!(quarantine.list(u64::MAX, 10).unwrap(), vec![]);
    assert_eq!(quarantine.get(3).unwrap().as_ref(), Some(&expected[2]));
    assert_eq!((quarantine.get(0).unwrap(), quarantine.get(6).unwrap()), (None, None));
    assert_eq!((quarantine.len().unwrap(), quarantine.dropped().unwrap()), (5, 0));
}

#[test]
fn at_the_limit_the_oldest_are_dropped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let options = QuarantineOptions { max_records: 5, ..QuarantineOptions::default() };
    let quarantine = Quarantine::open(dir.path(), options).unwrap();
    quarantine.add((0..5).map(refused).collect()).unwrap();
    assert_eq!((quarantine.len().unwrap(), quarantine.dropped().unwrap()), (5, 0));
    quarantine.add((5..8).map(refused).collect()).unwrap();
    assert_eq!(numbers(&quarantine.list(0, 10).unwrap()), [4, 5, 6, 7, 8]);
    assert_eq!((quarantine.get(3).unwrap(), quarantine.dropped().unwrap()), (None, 3));
    // A batch larger than the limit keeps its newest.
    assert_eq!(quarantine.add((8..20).map(refused).collect()).unwrap(), 9..21);
    assert_eq!(numbers(&quarantine.list(0, 10).unwrap()), [16, 17, 18, 19, 20]);
    assert_eq!(quarantine.dropped().unwrap(), 15);
    drop(quarantine);

    let lower = QuarantineOptions { max_records: 2, ..options };
    let quarantine = Quarantine::open(dir.path(), lower).unwrap();
    quarantine.add(vec![refused(20)]).unwrap();
    assert_eq!(numbers(&quarantine.list(0, 10).unwrap()), [20, 21]);
    assert_eq!(quarantine.dropped().unwrap(), 19);
}

#[test]
fn what_was_sent_is_cut_and_its_length_kept() {
    let dir = tempfile::tempdir().unwrap();
    let options = QuarantineOptions { max_raw_bytes: 8, ..QuarantineOptions::default() };
    let quarantine = Quarantine::open(dir.path(), options).unwrap();
    let long = Quarantined { raw: b"0123456789".to_vec(), raw_bytes: 0, ..refused(0) };
    // The sender's text was cut before already, and says how long it was.
    let cut = Quarantined { raw: b"0123".to_vec(), raw_bytes: 1_000_000, ..refused(1) };
    quarantine.add(vec![long, cut]).unwrap();
    let found = quarantine.list(0, 10).unwrap();
    assert_eq!((&found[0].raw[..], found[0].raw_bytes), (&b"01234567"[..], 10));
    assert_eq!((&found[1].raw[..], found[1].raw_bytes), (&b"0123"[..], 1_000_000));
}

#[test]
fn a_list_has_a_limit() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = open(dir.path());
    quarantine.add((0..MAX_LIST as u64 + 5).map(refused).collect()).unwrap();
    assert_eq!(quarantine.list(0, usize::MAX).unwrap().len(), MAX_LIST);
    assert_eq!(quarantine.list(MAX_LIST as u64, usize::MAX).unwrap().len(), 5);
}

#[test]
fn threads_get_numbers_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = open(dir.path());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..10 {
                    let given = quarantine.add(vec![refused(n), refused(n)]).unwrap();
                    assert_eq!(given.end - given.start, 2);
                }
            });
        }
    });
    assert_eq!(numbers(&quarantine.list(0, 100).unwrap()), (1..=80).collect::<Vec<_>>());
}

#[test]
fn one_process_has_the_quarantine() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let error = Quarantine::open(dir.path(), QuarantineOptions::default()).err().unwrap();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    drop(first);
    open(dir.path());
}

#[test]
fn a_file_that_is_no_quarantine_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(QUARANTINE_FILE);
    fs::write(&path, "not a database at all").unwrap();
    let error = Quarantine::open(dir.path(), QuarantineOptions::default()).err().unwrap();
    assert!(matches!(error, StoreError::Quarantine { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()) && text.contains("etalage repair --apply"), "{text}");

    let missing = Quarantine::open(&dir.path().join("nowhere"), QuarantineOptions::default()).err().unwrap();
    assert!(missing.to_string().contains("nowhere"), "{missing}");
}

/// Whatever byte is flipped: an error, or the records as they were; never others.
#[test]
fn a_flipped_byte_never_gives_wrong_records() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = open(dir.path());
    quarantine.add((0..50).map(refused).collect()).unwrap();
    let expected = quarantine.list(0, 100).unwrap();
    drop(quarantine);
    let path = dir.path().join(QUARANTINE_FILE);
    let bytes = fs::read(&path).unwrap();
    let stored = expected[7].source.as_bytes();
    let places: Vec<usize> = (0..bytes.len() - stored.len()).filter(|at| bytes[*at..].starts_with(stored)).collect();
    assert!(places.len() >= 50);
    let mut refusals = 0;
    for at in places.into_iter().step_by(5) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        fs::write(&path, &flipped).unwrap();
        match Quarantine::open(dir.path(), QuarantineOptions::default()) {
            Err(StoreError::Quarantine { .. }) => refusals += 1,
            Err(other) => panic!("{other}"),
            Ok(quarantine) => assert_eq!(quarantine.list(0, 100).unwrap(), expected, "byte {at}"),
        }
    }
    assert!(refusals > 0);
}

#[test]
fn a_later_format_is_refused_by_its_number() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let database = redb::Database::open(dir.path().join(QUARANTINE_FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    let counters = redb::TableDefinition::<&str, u64>::new("counters");
    transaction.open_table(counters).unwrap().insert("format", 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = Quarantine::open(dir.path(), QuarantineOptions::default()).err().unwrap();
    assert!(matches!(error, StoreError::NewerFormat { found: 2, known: 1, .. }), "{error}");
}

/// A process that was killed while it made the file has left a part of it beside its place.
#[test]
fn a_first_file_that_was_never_finished_is_made_again() {
    for left in [&b""[..], b"\0\0\0\0", b"half a file"] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("quarantine.redb.new"), left).unwrap();
        open(dir.path()).add(vec![refused(1)]).unwrap();
        assert_eq!(numbers(&open(dir.path()).list(0, 10).unwrap()), [1]);
        assert!(!dir.path().join("quarantine.redb.new").exists());
    }
}
