//! The log on a disk that fails: failed calls, a full disk, power losses. The oracle is the list
//! of what was acknowledged, kept outside.

mod support;

use std::{io::ErrorKind, path::Path, sync::Arc};

use etalage_store::{Durability, Fate, Frame, Log, LogOptions, StoreError, frames_on};
use support::{
    collect, records,
    sim::{Call, Fault, Random, SimDisk},
};

const FSYNC: LogOptions =
    LogOptions { segment_bytes: 1_500, durability: Durability::Fsync, max_frame_bytes: 100_000, write_behind_bytes: 0 };
const PROCESS: LogOptions = LogOptions { durability: Durability::Process, ..FSYNC };

fn dir() -> &'static Path {
    Path::new("/store")
}

fn open(disk: &SimDisk, options: LogOptions) -> Result<Log, StoreError> {
    Log::open_on(Arc::new(disk.clone()), dir(), options).map(|(log, _)| log)
}

fn stored(disk: &SimDisk) -> Vec<Frame> {
    collect(frames_on(Arc::new(disk.clone()), dir())).unwrap()
}

fn frame(n: u64) -> Frame {
    Frame { tick: 1_000 + n, records: records(n * 10, 1 + n % 5), ..Frame::default() }
}

/// A log with two frames, on a disk of which the next call named fails.
fn failing(options: LogOptions, faults: &[Fault]) -> (SimDisk, Log) {
    let disk = SimDisk::default();
    let mut log = open(&disk, options).unwrap();
    for n in 0..2 {
        log.append(frame(n).tick, &frame(n).records).unwrap();
    }
    for fault in faults {
        disk.fail(*fault, 1);
    }
    (disk, log)
}

fn fault(call: Call, kind: ErrorKind, written: usize) -> Fault {
    Fault { call: Some(call), kind, written }
}

#[test]
fn after_a_failed_write_the_log_refuses() {
    let (disk, mut log) = failing(PROCESS, &[fault(Call::Append, ErrorKind::Other, 50)]);
    let error = log.append(frame(2).tick, &frame(2).records).unwrap_err();
    assert!(matches!(error, StoreError::Write { fate: Fate::Failed, .. }), "{error}");
    assert!(!error.is_retryable());
    let writes = disk.count(Call::Append);
    for _ in 0..3 {
        let refused = log.append(frame(2).tick, &frame(2).records).unwrap_err();
        assert!(matches!(refused, StoreError::Poisoned { .. }), "{refused}");
        assert!(refused.to_string().contains("injected"), "{refused}");
    }
    assert_eq!(disk.count(Call::Append), writes);
    assert!(log.poison().is_some());
    drop(log);
    assert_eq!(stored(&disk), [frame(0), frame(1)]);
    open(&disk, PROCESS).unwrap().append(frame(2).tick, &frame(2).records).unwrap();
    assert_eq!(stored(&disk), [frame(0), frame(1), frame(2)]);
}

#[test]
fn a_failed_write_that_cannot_be_taken_back_is_unknown() {
    let faults = [fault(Call::Append, ErrorKind::StorageFull, 50), fault(Call::Cut, ErrorKind::Other, 0)];
    let (disk, mut log) = failing(PROCESS, &faults);
    let error = log.append(frame(2).tick, &frame(2).records).unwrap_err();
    assert!(matches!(error, StoreError::Write { fate: Fate::Unknown, .. }), "{error}");
    drop(log);
    let (_, opened) = Log::open_on(Arc::new(disk.clone()), dir(), PROCESS).unwrap();
    assert_eq!((opened.frames, opened.cut_bytes), (2, 50));
}

#[test]
fn a_full_disk_passes() {
    for durability in [Durability::Process, Durability::Fsync] {
        let (disk, mut log) =
            failing(LogOptions { durability, ..FSYNC }, &[fault(Call::Append, ErrorKind::StorageFull, 77)]);
        let error = log.append(frame(2).tick, &frame(2).records).unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
        assert_eq!((error.fate(), error.is_retryable()), (Fate::Failed, true));
        assert_eq!(stored(&disk), [frame(0), frame(1)]);
        log.append(frame(3).tick, &frame(3).records).unwrap();
        assert_eq!(stored(&disk), [frame(0), frame(1), frame(3)]);
    }
}

#[test]
fn a_full_disk_passes_when_a_segment_begins() {
    for call in [Call::Create, Call::Append] {
        let every_frame = LogOptions { segment_bytes: 0, ..FSYNC };
        let (disk, mut log) = failing(every_frame, &[fault(call, ErrorKind::StorageFull, 10)]);
        let error = log.append(frame(2).tick, &frame(2).records).unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
        assert_eq!(stored(&disk), [frame(0), frame(1)]);
        log.append(frame(2).tick, &frame(2).records).unwrap();
        assert_eq!(stored(&disk), [frame(0), frame(1), frame(2)]);
    }
}

/// What was acknowledged must be stored; beside it at most the frame that was on its way.
fn check(disk: &SimDisk, acknowledged: &[Frame], on_its_way: Option<&Frame>, told: &str) {
    let before = disk.count(Call::Create);
    let mut log = open(disk, FSYNC).unwrap_or_else(|error| panic!("{told}: {error}"));
    let found = stored(disk);
    let expected: Vec<Frame> = acknowledged.iter().chain(on_its_way).cloned().collect();
    assert!(found == acknowledged || found == expected, "{told}: {} of {}", found.len(), acknowledged.len());
    // And the store goes on from there.
    let next = Frame { tick: 1_000_000, records: records(7, 1), ..Frame::default() };
    log.append(next.tick, &next.records).unwrap_or_else(|error| panic!("{told}: {error}"));
    assert_eq!(stored(disk), [found, vec![next]].concat(), "{told}");
    assert!(disk.count(Call::Create) > before);
}

/// Appends frames until a call fails; what was acknowledged, what was not, and the error.
fn run(disk: &SimDisk, options: LogOptions, count: u64) -> (Vec<Frame>, Option<Frame>, Option<StoreError>) {
    let mut acknowledged = Vec::new();
    let mut log = match open(disk, options) {
        Ok(log) => log,
        Err(error) => return (acknowledged, None, Some(error)),
    };
    for n in 0..count {
        let frame = frame(n);
        match log.append(frame.tick, &frame.records) {
            Ok(()) => acknowledged.push(frame),
            Err(error) => {
                let calls = (disk.count(Call::SyncFile), disk.count(Call::Append));
                let refused = log.append(frame.tick, &frame.records).unwrap_err();
                assert!(matches!(refused, StoreError::Poisoned { .. }), "{error}, then {refused}");
                assert_eq!((disk.count(Call::SyncFile), disk.count(Call::Append)), calls, "{error}");
                return (acknowledged, Some(frame), Some(error));
            }
        }
    }
    (acknowledged, None, None)
}

#[test]
fn no_sync_is_tried_again_whichever_fails() {
    for call in [Call::SyncFile, Call::SyncFolder] {
        let mut failures = 0;
        for nth in 1.. {
            let disk = SimDisk::default();
            disk.fail(fault(call, ErrorKind::Other, 0), nth);
            let (acknowledged, on_its_way, error) = run(&disk, FSYNC, 20);
            let Some(error) = error else { break };
            failures += 1;
            if on_its_way.is_some() {
                assert!(matches!(error, StoreError::Write { .. }), "sync {nth}: {error}");
            }
            for seed in 0..8 {
                let told = format!("{call:?} {nth}, seed {seed}");
                check(&disk.after_power_loss(seed), &acknowledged, on_its_way.as_ref(), &told);
            }
            check(&disk.after_kill(), &acknowledged, on_its_way.as_ref(), &format!("{call:?} {nth}, killed"));
        }
        assert!(failures >= if call == Call::SyncFile { 20 } else { 5 }, "{call:?}: only {failures}");
    }
}

/// What the thread that writes behind meets ends the writing, though no append waits for it.
#[test]
fn a_sync_that_fails_behind_the_log_ends_its_writing() {
    let disk = SimDisk::default();
    let options = LogOptions { segment_bytes: u64::MAX, write_behind_bytes: 1, ..PROCESS };
    let mut log = open(&disk, options).unwrap();
    disk.fail(fault(Call::SyncFile, ErrorKind::Other, 0), 1);
    let mut acknowledged = Vec::new();
    let error = loop {
        let frame = frame(acknowledged.len() as u64);
        match log.append(frame.tick, &frame.records) {
            Ok(()) => acknowledged.push(frame),
            Err(error) => break error,
        }
        assert!(acknowledged.len() < 10_000, "it is never told");
        std::thread::sleep(std::time::Duration::from_millis(1));
    };
    assert!(matches!(error, StoreError::Write { fate: Fate::Failed, .. }), "{error}");
    let refused = log.append(2_000_000, &[]).unwrap_err();
    assert!(matches!(refused, StoreError::Poisoned { .. }), "{refused}");
    drop(log);
    assert_eq!(stored(&disk), acknowledged);
}

#[test]
fn an_error_that_says_failed_means_it() {
    for nth in 1..120 {
        let disk = SimDisk::default();
        disk.fail(Fault { call: None, kind: ErrorKind::Other, written: (nth as usize * 37) % 300 }, nth);
        let (acknowledged, on_its_way, error) = run(&disk, FSYNC, 20);
        if let (Some(_), Some(StoreError::Write { fate: Fate::Failed, .. })) = (on_its_way, error) {
            check(&disk.after_kill(), &acknowledged, None, &format!("call {nth}"));
        }
    }
}

#[test]
fn a_power_loss_at_any_call_loses_nothing_acknowledged() {
    let mut torn = 0;
    for seed in 0..400 {
        let mut random = Random(seed);
        let disk = SimDisk::default();
        let written = random.below(400) as usize;
        disk.fail(Fault { call: None, kind: ErrorKind::Other, written }, 1 + random.below(90));
        let (acknowledged, on_its_way, _) = run(&disk, FSYNC, 20);
        let lost = disk.after_power_loss(seed);
        if let Ok(mut frames) = frames_on(Arc::new(lost.clone()), dir()) {
            frames.by_ref().for_each(|frame| drop(frame.unwrap_or_else(|error| panic!("seed {seed}: {error}"))));
            torn += u64::from(frames.torn_bytes() > 0);
        }
        check(&lost, &acknowledged, on_its_way.as_ref(), &format!("seed {seed}"));
    }
    assert!(torn > 20, "only {torn} torn tails: the simulation is too kind");
}

#[test]
fn a_kill_at_any_call_loses_nothing_acknowledged() {
    for nth in 1..80 {
        let disk = SimDisk::default();
        disk.fail(Fault { call: None, kind: ErrorKind::Other, written: (nth as usize * 53) % 300 }, nth);
        let (acknowledged, on_its_way, _) = run(&disk, PROCESS, 20);
        check(&disk.after_kill(), &acknowledged, on_its_way.as_ref(), &format!("call {nth}"));
    }
}

/// A process that goes on where another was killed relies on what that one has done: it must be on the device by then.
#[test]
fn a_power_loss_after_a_kill_loses_nothing_that_either_process_acknowledged() {
    let mut kills = 0;
    for nth in 1.. {
        let disk = SimDisk::default();
        disk.die(nth, (nth * 53) % 300);
        let (first, on_its_way, _) = run(&disk, FSYNC, 12);
        if !disk.is_dead() {
            break;
        }
        kills += 1;
        for seed in 0..12 {
            let second = disk.after_kill();
            let mut log = open(&second, FSYNC).unwrap();
            let mut acknowledged = stored(&second);
            assert!(acknowledged.len() >= first.len(), "call {nth}");
            assert!(acknowledged.len() <= first.len() + usize::from(on_its_way.is_some()), "call {nth}");
            for n in 100..100 + seed % 3 {
                log.append(frame(n).tick, &frame(n).records).unwrap();
                acknowledged.push(frame(n));
            }
            let lost = second.after_power_loss(seed);
            check(&lost, &acknowledged, None, &format!("call {nth}, seed {seed}"));
        }
    }
    assert!(kills > 30, "{kills}");
}

#[test]
fn what_was_only_written_becomes_durable_when_it_is_opened_to_be_so() {
    let disk = SimDisk::default();
    let (acknowledged, _, _) = run(&disk, PROCESS, 20);
    let loses = (0..20).any(|seed| {
        let found = frames_on(Arc::new(disk.after_power_loss(seed)), dir()).map(|frames| frames.flatten().count());
        found.unwrap_or(0) < acknowledged.len()
    });
    assert!(loses, "`process` is not expected to survive a power loss");
    open(&disk, FSYNC).unwrap();
    for seed in 0..20 {
        check(&disk.after_power_loss(seed), &acknowledged, None, &format!("seed {seed}"));
    }
}
