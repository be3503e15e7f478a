//! The quarantine rewritten without one person's records.

mod support;

use std::{fs, path::Path, sync::mpsc, thread};

use etalage_model::{Micros, Quarantined, Refusal};
use etalage_store::{QUARANTINE_FILE, Quarantine, QuarantineOptions, StoreError};
use support::erasure::{WHO, is_named_in};

const BESIDE: &str = "quarantine.redb.new";

/// The `n`-th refused record; every third is the person's.
fn refused(n: u64) -> Quarantined {
    let who = if n.is_multiple_of(3) { WHO } else { "somebody else" };
    let raw = format!("{{\"userId\":\"{who}\",\"n\":{n}}}").into_bytes();
    Quarantined {
        seq: 0,
        arrived_at: Micros(1_700_000_000_000_000 + n),
        source: "POST /v1/events".to_owned(),
        reason: Refusal::Malformed(format!("line {n}")),
        raw_bytes: raw.len() as u64,
        raw,
    }
}

fn is_kept(record: &Quarantined) -> bool {
    !is_named_in(&record.raw)
}

fn open(dir: &Path) -> Quarantine {
    Quarantine::open(dir, QuarantineOptions::default()).unwrap()
}

fn names_them(dir: &Path) -> bool {
    is_named_in(&fs::read(dir.join(QUARANTINE_FILE)).unwrap())
}

#[test]
fn what_is_kept_keeps_its_number_and_of_the_rest_no_byte_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = open(dir.path());
    quarantine.add((0..300).map(refused).collect()).unwrap();
    let kept: Vec<Quarantined> = quarantine.list(0, 1_000).unwrap().into_iter().filter(is_kept).collect();
    assert!(names_them(dir.path()) && kept.len() == 200);

    assert_eq!(quarantine.rewrite(is_kept).unwrap(), 100);
    assert!(!names_them(dir.path()));
    assert_eq!(quarantine.list(0, 1_000).unwrap(), kept);
    assert_eq!((quarantine.len().unwrap(), quarantine.dropped().unwrap()), (200, 0));
    assert_eq!((quarantine.get(1).unwrap(), quarantine.get(2).unwrap().as_ref()), (None, kept.first()));

    // It goes on with the next number, and holds its lock.
    assert_eq!(quarantine.add(vec![refused(1)]).unwrap(), 301..302);
    let error = Quarantine::open(dir.path(), QuarantineOptions::default()).err().unwrap();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert_eq!(quarantine.rewrite(is_kept).unwrap(), 0);
    drop(quarantine);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert!(!names_them(dir.path()));
    let quarantine = open(dir.path());
    assert_eq!(quarantine.list(0, 1_000).unwrap().len(), 201);
    assert_eq!(quarantine.add(vec![refused(2)]).unwrap(), 302..303);
}

/// What fell out at the limit is gone for readers, and its bytes are still in the file.
#[test]
fn records_that_were_dropped_before_are_gone_too() {
    let dir = tempfile::tempdir().unwrap();
    let options = QuarantineOptions { max_records: 20, ..QuarantineOptions::default() };
    let quarantine = Quarantine::open(dir.path(), options).unwrap();
    quarantine.add((0..200).map(|n| refused(n * 3)).collect()).unwrap();
    quarantine.add((0..20).map(|n| refused(n * 3 + 1)).collect()).unwrap();
    let listed = quarantine.list(0, 1_000).unwrap();
    assert!(listed.iter().all(is_kept) && names_them(dir.path()));
    assert_eq!(quarantine.rewrite(is_kept).unwrap(), 0);
    assert!(!names_them(dir.path()));
    assert_eq!((quarantine.list(0, 1_000).unwrap(), quarantine.dropped().unwrap()), (listed, 200));
}

#[test]
fn a_rewriting_that_was_cut_short_leaves_the_old_file() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let quarantine = open(dir.path());
    quarantine.add((0..30).map(refused).collect()).unwrap();
    let all = quarantine.list(0, 100).unwrap();
    // The folder as it is when the process dies at the n-th record.
    let mut asked = 0;
    let rewritten = quarantine.rewrite(|record| {
        let copy = copies.path().join(asked.to_string());
        fs::create_dir(&copy).unwrap();
        for name in [QUARANTINE_FILE, BESIDE] {
            fs::copy(dir.path().join(name), copy.join(name)).unwrap();
        }
        asked += 1;
        is_kept(record)
    });
    assert_eq!((rewritten.unwrap(), asked), (10, 30));
    for n in 0..asked {
        let copy = copies.path().join(n.to_string());
        let quarantine = open(&copy);
        assert!(!copy.join(BESIDE).exists(), "{n}");
        assert_eq!(quarantine.list(0, 100).unwrap(), all, "{n}");
        assert_eq!(quarantine.rewrite(is_kept).unwrap(), 10, "{n}");
        drop(quarantine);
        assert!(!names_them(&copy), "{n}");
    }
}

#[test]
fn a_leftover_is_removed_whatever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    for bytes in [&b""[..], b"not a database", WHO.as_bytes()] {
        fs::write(dir.path().join(BESIDE), bytes).unwrap();
        drop(open(dir.path()));
        assert!(!dir.path().join(BESIDE).exists());
        // Also where it appeared since.
        let quarantine = open(dir.path());
        fs::write(dir.path().join(BESIDE), bytes).unwrap();
        quarantine.rewrite(is_kept).unwrap();
        assert!(!dir.path().join(BESIDE).exists());
    }
}

#[test]
fn a_rewriting_that_fails_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = open(dir.path());
    quarantine.add((0..30).map(refused).collect()).unwrap();
    let all = quarantine.list(0, 100).unwrap();
    // A folder stands where the new file should.
    fs::create_dir(dir.path().join(BESIDE)).unwrap();
    let error = quarantine.rewrite(is_kept).unwrap_err();
    assert!(error.to_string().contains(BESIDE), "{error}");
    assert_eq!(quarantine.list(0, 100).unwrap(), all);
    assert_eq!(quarantine.add(vec![refused(1)]).unwrap(), 31..32);
    fs::remove_dir(dir.path().join(BESIDE)).unwrap();
    assert_eq!(quarantine.rewrite(is_kept).unwrap(), 10);
    assert_eq!(quarantine.len().unwrap(), 21);
}

#[test]
fn readers_go_on_meanwhile_and_what_is_added_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = open(dir.path());
    quarantine.add((0..300).map(refused).collect()).unwrap();
    thread::scope(|scope| {
        let (begun, begins) = mpsc::channel();
        let (read, is_read) = mpsc::channel();
        let quarantine = &quarantine;
        scope.spawn(move || {
            begins.recv().unwrap();
            read.send(quarantine.list(0, 1_000).unwrap().len()).unwrap();
            // This one waits, and finds itself in the new file.
            quarantine.add((301..311).map(|n| refused(n * 3 + 1)).collect()).unwrap();
        });
        let mut asked = 0;
        let dropped = quarantine.rewrite(|record| {
            asked += 1;
            if asked == 100 {
                begun.send(()).unwrap();
                assert_eq!(is_read.recv().unwrap(), 300);
            }
            is_kept(record)
        });
        assert_eq!(dropped.unwrap(), 100);
    });
    assert_eq!(quarantine.len().unwrap(), 210);
    assert_eq!(quarantine.list(300, 100).unwrap().len(), 10);
    assert!(!names_them(dir.path()));
}
