//! Trimming: whatever cuts it off, the log is the old one or the new one; what is lost is still told from what was
//! trimmed.

mod support;

use std::{io::ErrorKind, path::Path, sync::Arc};

use etalage_store::{Durability, Frame, Log, LogOptions, StoreError, frames_on};
use support::{
    collect, records,
    sim::{Fault, SimDisk},
};

const FSYNC: LogOptions =
    LogOptions { segment_bytes: 1_500, durability: Durability::Fsync, max_frame_bytes: 100_000, write_behind_bytes: 0 };

fn dir() -> &'static Path {
    Path::new("/store")
}

fn open(disk: &SimDisk) -> Result<Log, StoreError> {
    Log::open_on(Arc::new(disk.clone()), dir(), FSYNC).map(|(log, _)| log)
}

fn frame(n: u64) -> Frame {
    Frame { tick: 1_000 + n, records: records(n * 10, 1 + n % 5), ..Frame::default() }
}

fn append(log: &mut Log, numbers: std::ops::Range<u64>) {
    numbers.for_each(|n| log.append(frame(n).tick, &frame(n).records).unwrap());
}

/// The number of the first frame, and all frames.
fn stored(disk: &SimDisk) -> (u64, Vec<Frame>) {
    let frames = frames_on(Arc::new(disk.clone()), dir()).unwrap();
    (frames.begins_at(), collect(Ok(frames)).unwrap())
}

/// What is there is the end of what was written.
fn check(disk: &SimDisk, count: u64, told: &str) -> u64 {
    let (begins_at, frames) = stored(disk);
    assert_eq!(frames, (begins_at..count).map(frame).collect::<Vec<_>>(), "{told}");
    begins_at
}

fn written() -> (SimDisk, Log) {
    let disk = SimDisk::default();
    let mut log = open(&disk).unwrap();
    append(&mut log, 0..40);
    (disk, log)
}

#[test]
fn segments_before_a_frame_go_and_the_log_goes_on() {
    let (disk, mut log) = written();
    let segments = disk.files().len();
    assert_eq!(log.trim(0).unwrap(), 0, "nothing lies before the first frame");
    let gone = log.trim(25).unwrap();
    assert!(gone > 1);
    // The lock's file stays.
    assert_eq!(disk.files().len(), segments - gone);
    let begins_at = check(&disk, 40, "trimmed");
    assert!(begins_at > 0 && begins_at <= 25);
    assert_eq!(log.begins_at(), begins_at);
    append(&mut log, 40..60);
    assert!(log.trim(50).unwrap() > 0);
    assert!(check(&disk, 60, "trimmed twice") > begins_at);
    // The open segment stays, even where nothing of it is wanted.
    log.trim(60).unwrap();
    append(&mut log, 60..63);
    drop(log);
    let mut log = open(&disk).unwrap();
    assert_eq!((log.next_frame(), log.last_tick()), (63, Some(1_062)));
    append(&mut log, 63..80);
    check(&disk, 80, "opened again");
}

#[test]
fn whatever_cuts_it_off_the_log_is_the_old_one_or_the_new_one() {
    let (mut old, mut new) = (0, 0);
    for nth in 1.. {
        let (disk, mut log) = written();
        disk.die(nth, nth * 7 % 64);
        let trimmed = log.trim(25);
        let died = disk.is_dead();
        drop(log);
        assert_eq!(trimmed.is_err(), died, "call {nth}");
        for (seed, left) in (0..8).map(|seed| (seed, disk.after_power_loss(seed))).chain([(99, disk.after_kill())]) {
            let told = format!("call {nth}, seed {seed}");
            let begins_at = check(&left, 40, &told);
            let count = if begins_at == 0 { &mut old } else { &mut new };
            *count += 1;
            let mut log = open(&left).unwrap_or_else(|error| panic!("{told}: {error}"));
            append(&mut log, 40..45);
            drop(log);
            assert_eq!(check(&left.after_power_loss(seed), 45, &told), begins_at, "{told}");
        }
        if !died {
            break;
        }
    }
    assert!(old > 20 && new > 20, "{old} old ones, {new} new ones");
}

#[test]
fn a_disk_that_fails_leaves_the_log_whole() {
    for nth in 1..30 {
        for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
            let (disk, mut log) = written();
            disk.fail(Fault { call: None, kind, written: 3 }, nth);
            let trimmed = log.trim(25);
            let told = format!("call {nth}, {kind:?}");
            check(&disk.after_power_loss(nth), 40, &told);
            if trimmed.as_ref().is_err_and(StoreError::is_retryable) {
                assert!(log.trim(25).unwrap() > 0, "{told}");
                append(&mut log, 40..42);
                check(&disk, 42, &told);
            }
        }
    }
}

#[test]
fn a_segment_that_is_lost_is_not_taken_for_one_that_was_trimmed() {
    let (disk, mut log) = written();
    log.trim(15).unwrap();
    drop(log);
    let mut segments = disk.files();
    segments.retain(|path| path.extension().is_some_and(|ending| ending == "seg"));
    let lost = SimDisk::default();
    for path in &segments[1..] {
        lost.put(path, &disk.bytes(path));
    }
    let error = open(&lost).err().expect("the first segment is missing");
    assert!(matches!(error, StoreError::Corrupt { .. }) && error.to_string().contains("is missing"), "{error}");
}
