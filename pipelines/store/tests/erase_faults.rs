//! The log rewritten on a disk that fails, fills up, or dies in the middle: what is found afterwards is
//! the whole old log or the whole new one, and a second attempt leaves nothing.

mod support;

use std::{io::ErrorKind, path::Path, sync::Arc};

use etalage_store::{Durability, Fate, Frame, Log, LogOptions, StoreError, frames_on};
use support::{
    collect,
    erasure::{frame, is_kept, is_named_in, kept, mixed, rewrite},
    records,
    sim::{Call, Fault, SimDisk},
};

const FSYNC: LogOptions =
    LogOptions { segment_bytes: 1_500, durability: Durability::Fsync, max_frame_bytes: 100_000, write_behind_bytes: 0 };

fn dir() -> &'static Path {
    Path::new("/store")
}

fn open(disk: &SimDisk) -> Result<Log, StoreError> {
    Log::open_on(Arc::new(disk.clone()), dir(), FSYNC).map(|(log, _)| log)
}

fn stored(disk: &SimDisk) -> Vec<Frame> {
    collect(frames_on(Arc::new(disk.clone()), dir())).unwrap()
}

/// Segments before the first with a record of the person, between, and behind; the open one has some.
fn old() -> Vec<Frame> {
    (0..24).map(|n| if n > 5 && n % 4 == 1 || n == 23 { mixed(n) } else { frame(n) }).collect()
}

fn new() -> Vec<Frame> {
    old().iter().map(kept).collect()
}

fn written() -> (SimDisk, Log) {
    let disk = SimDisk::default();
    let mut log = open(&disk).unwrap();
    for frame in old() {
        log.append_bound(frame.tick, &frame.records, &frame.binding).unwrap();
    }
    assert!(disk.files().iter().any(|path| is_named_in(&disk.bytes(path))));
    (disk, log)
}

/// No file names the person, and none is left that the log does not need.
fn is_erased(disk: &SimDisk, told: &str) {
    for path in disk.files() {
        assert!(!is_named_in(&disk.bytes(&path)), "{told}: {}", path.display());
        assert_eq!(path.extension().and_then(|end| end.to_str()), Some("seg"), "{told}");
    }
}

/// Reads the disk before and after it is opened, finishes the erasure and goes on; whether the disk held
/// the new log.
fn check(disk: &SimDisk, told: &str) -> bool {
    let read = stored(disk);
    let is_new = read == new();
    assert!(is_new || read == old(), "{told}: {} frames that are neither the old nor the new ones", read.len());
    let mut log = open(disk).unwrap_or_else(|error| panic!("{told}: {error}"));
    assert_eq!(stored(disk), read, "{told}: opening changes nothing of what is read");
    let held: u64 = read.iter().map(|frame| frame.records.len() as u64).sum();
    assert_eq!(log.records(), held, "{told}");
    if is_new {
        is_erased(disk, told);
    }
    rewrite(&mut log, &mut is_kept).unwrap_or_else(|error| panic!("{told}: {error}"));
    is_erased(disk, told);
    let next = Frame { tick: 1_000_000, records: records(7, 1), ..Frame::default() };
    log.append(next.tick, &next.records).unwrap_or_else(|error| panic!("{told}: {error}"));
    let all = [new(), vec![next]].concat();
    assert_eq!(stored(disk), all, "{told}");
    drop(log);
    let opened = open(disk).unwrap_or_else(|error| panic!("{told}: {error}"));
    assert_eq!((stored(disk), opened.records()), (all, records_of(&new()) + 1), "{told}");
    is_new
}

fn records_of(frames: &[Frame]) -> u64 {
    frames.iter().map(|frame| frame.records.len() as u64).sum()
}

/// Bytes that the fatal call still writes, different from call to call.
fn some_bytes(nth: usize) -> usize {
    (nth * 37) % 200
}

/// The disk at the death of the process in the `nth` call of a rewriting; `None` where it was done before.
fn killed_at(nth: usize) -> Option<SimDisk> {
    let (disk, mut log) = written();
    disk.die(nth, some_bytes(nth));
    let done = rewrite(&mut log, &mut is_kept);
    assert_eq!(done.is_err(), disk.is_dead(), "call {nth}");
    disk.is_dead().then_some(disk)
}

#[test]
fn a_kill_at_any_call_leaves_the_old_log_or_the_new() {
    let (mut olds, mut news) = (0, 0);
    for (nth, disk) in (1..).map_while(|nth| Some((nth, killed_at(nth)?))) {
        match check(&disk.after_kill(), &format!("call {nth}")) {
            true => news += 1,
            false => olds += 1,
        }
    }
    assert!(olds > 30 && news > 10, "killed {olds} times before the commit, {news} times after");
}

#[test]
fn a_power_loss_at_any_call_leaves_the_old_log_or_the_new() {
    let (mut olds, mut news) = (0, 0);
    for (nth, disk) in (1..).map_while(|nth| Some((nth, killed_at(nth)?))) {
        for seed in 0..12 {
            match check(&disk.after_power_loss(seed), &format!("call {nth}, seed {seed}")) {
                true => news += 1,
                false => olds += 1,
            }
        }
    }
    assert!(olds > 300 && news > 100, "{olds} times before the commit, {news} times after");
}

/// What opening does after a crash can be cut short as well, by a kill or a power loss.
#[test]
fn a_second_death_while_the_first_is_mended() {
    let mut second_deaths = 0;
    for (nth, disk) in (1..).map_while(|nth| Some((nth, killed_at(nth)?))) {
        for seed in 0..3 {
            for again in 1.. {
                let lost = if seed == 0 { disk.after_kill() } else { disk.after_power_loss(seed) };
                lost.die(again, some_bytes(again));
                let opened = open(&lost);
                if !lost.is_dead() {
                    break;
                }
                drop(opened);
                second_deaths += 1;
                let told = format!("call {nth}, seed {seed}, then call {again}");
                check(&lost.after_kill(), &told);
                check(&lost.after_power_loss(seed + 7), &told);
            }
        }
    }
    assert!(second_deaths > 500, "{second_deaths}");
}

#[test]
fn what_was_reported_as_done_survives_a_power_loss() {
    for seed in 0..50 {
        let (disk, mut log) = written();
        rewrite(&mut log, &mut is_kept).unwrap();
        let lost = disk.after_power_loss(seed);
        for path in lost.files() {
            assert!(!is_named_in(&lost.bytes(&path)), "seed {seed}: {}", path.display());
        }
        assert!(check(&lost, &format!("seed {seed}")));
    }
}

#[test]
fn a_failed_call_ends_the_writing_and_its_fate_is_honest() {
    let (mut failed, mut unknown) = (0, 0);
    for nth in 1.. {
        let (disk, mut log) = written();
        disk.fail(Fault { call: None, kind: ErrorKind::Other, written: some_bytes(nth) }, nth as u64);
        let Err(error) = rewrite(&mut log, &mut is_kept) else { break };
        let StoreError::Write { fate, .. } = error else { panic!("call {nth}: {error}") };
        let appends = disk.count(Call::Append);
        for refused in [rewrite(&mut log, &mut is_kept).map(drop), log.append(2_000, &[])] {
            assert!(matches!(refused, Err(StoreError::Poisoned { .. })), "call {nth}: {refused:?}");
        }
        assert_eq!(disk.count(Call::Append), appends, "call {nth}");
        let killed = disk.after_kill();
        // Whoever reads meanwhile finds one of the two.
        let read = stored(&disk);
        let is_new = check(&killed, &format!("call {nth}"));
        assert_eq!(read, if is_new { new() } else { old() }, "call {nth}");
        match fate {
            Fate::Failed => assert!(!is_new, "call {nth}: {error}"),
            Fate::Unknown => unknown += 1,
        }
        failed += u64::from(fate == Fate::Failed);
        for seed in 0..4 {
            let is_new = check(&disk.after_power_loss(seed), &format!("call {nth}, seed {seed}"));
            assert!(fate == Fate::Unknown || !is_new, "call {nth}, seed {seed}: {error}");
        }
    }
    assert!(failed > 20 && unknown > 10, "{failed} failed, {unknown} unknown");
}

#[test]
fn a_full_disk_leaves_the_old_log_and_passes() {
    for call in [Call::Create, Call::Append] {
        let mut times = 0;
        for nth in 1.. {
            let (disk, mut log) = written();
            disk.fail(Fault { call: Some(call), kind: ErrorKind::StorageFull, written: some_bytes(nth) }, nth as u64);
            let Err(error) = rewrite(&mut log, &mut is_kept) else { break };
            times += 1;
            assert!(matches!(error, StoreError::Full { .. }) && error.is_retryable(), "{call:?} {nth}: {error}");
            assert_eq!((error.fate(), log.poison()), (Fate::Failed, None), "{call:?} {nth}");
            assert_eq!((stored(&disk), log.records()), (old(), records_of(&old())), "{call:?} {nth}");
            let names = disk.files();
            let is_segment = |path: &&std::path::PathBuf| path.extension().is_some_and(|end| end == "seg");
            assert_eq!(names.iter().filter(is_segment).count(), names.len(), "{call:?} {nth}: {names:?}");
            // The same log takes more, and the same rewriting is tried again.
            let next = Frame { tick: 5_000, records: records(3, 2), ..Frame::default() };
            log.append(next.tick, &next.records).unwrap();
            rewrite(&mut log, &mut is_kept).unwrap();
            is_erased(&disk, &format!("{call:?} {nth}"));
            assert_eq!(stored(&disk), [new(), vec![next]].concat(), "{call:?} {nth}");
        }
        assert!(times > 5, "{call:?}: only {times}");
    }
}

#[test]
fn a_damaged_manifest_is_named_and_nothing_is_changed() {
    let disk = (1..).find_map(|nth| {
        let disk = killed_at(nth).expect("it dies before it is done");
        disk.files().iter().any(|path| path.ends_with("rewrite.commit")).then_some(disk)
    });
    let disk = disk.unwrap().after_kill();
    let path = dir().join("rewrite.commit");
    let mut bytes = disk.bytes(&path);
    bytes[20] ^= 1;
    disk.put(&path, &bytes);
    let names = disk.files();
    for error in [open(&disk).err().unwrap(), frames_on(Arc::new(disk.clone()), dir()).err().unwrap()] {
        assert!(matches!(&error, StoreError::Corrupt { path: named, .. } if *named == path), "{error}");
        assert!(error.to_string().ends_with("Nothing was changed. Restore the folder from a copy"), "{error}");
    }
    assert_eq!(disk.files(), names);
    bytes[20] ^= 1;
    bytes[7] = 9;
    disk.put(&path, &bytes);
    let newer = open(&disk).err().unwrap();
    assert!(matches!(newer, StoreError::NewerFormat { found: 9, known: 1, .. }), "{newer}");
    bytes[7] = 1;
    disk.put(&path, &bytes);
    assert!(check(&disk, "as it was"));
}
