//! The log in good days: what is appended comes back, in order, over segments and restarts.

mod support;

use std::{fs, path::Path, sync::Arc};

use etalage_store::{Durability, Fate, Frame, Log, LogOptions, Opened, StoreError, frames};
use proptest::prelude::*;
use support::{
    collect, record, records, segment_names,
    sim::{Call, Fault, SimDisk},
};

const SMALL: LogOptions = LogOptions {
    segment_bytes: 2_000,
    durability: Durability::Process,
    max_frame_bytes: 1_000_000,
    write_behind_bytes: 1_000,
};

#[test]
fn a_new_store_is_empty_and_has_an_epoch_of_its_own() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let deep = a.path().join("made/by/open");
    let (log, opened) = Log::open(&deep, LogOptions::default()).unwrap();
    let empty = Opened { epoch: log.epoch(), last_tick: None, frames: 0, records: 0, segments: 1, cut_bytes: 0 };
    assert_eq!(opened, empty);
    assert_eq!(collect(frames(&deep)).unwrap(), vec![]);
    let (other, _) = Log::open(b.path(), LogOptions::default()).unwrap();
    assert_ne!(log.epoch(), other.epoch());
}

#[test]
fn a_restart_keeps_epoch_last_tick_and_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, created) = Log::open(dir.path(), LogOptions::default()).unwrap();
    log.append(10, &records(0, 3)).unwrap();
    log.append(10, &[]).unwrap();
    log.append(12, &records(3, 1)).unwrap();
    assert_eq!((log.last_tick(), log.records()), (Some(12), 4));
    drop(log);
    for _ in 0..2 {
        let (log, opened) = Log::open(dir.path(), LogOptions::default()).unwrap();
        let Opened { epoch, last_tick, frames, records, segments, cut_bytes } = opened;
        assert_eq!((epoch, last_tick, frames, records), (created.epoch, Some(12), 3, 4));
        assert_eq!((segments, cut_bytes, log.epoch()), (1, 0, created.epoch));
    }
    let expected = vec![
        Frame { tick: 10, records: records(0, 3), ..Frame::default() },
        Frame { tick: 10, records: vec![], ..Frame::default() },
        Frame { tick: 12, records: records(3, 1), ..Frame::default() },
    ];
    assert_eq!(collect(frames(dir.path())).unwrap(), expected);
}

#[test]
fn segments_roll_over_and_are_named_after_their_first_frame() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(dir.path(), SMALL).unwrap();
    let expected: Vec<Frame> =
        (0..40).map(|n| Frame { tick: 100 + n, records: records(n * 5, 5), ..Frame::default() }).collect();
    for frame in &expected {
        log.append(frame.tick, &frame.records).unwrap();
    }
    drop(log);
    let names = segment_names(dir.path());
    assert!(names.len() > 10, "{names:?}");
    assert_eq!(names[0], "log-00000000000000000000.seg");
    for name in &names {
        assert!(fs::metadata(dir.path().join(name)).unwrap().len() <= SMALL.segment_bytes, "{name}");
    }
    assert_eq!(collect(frames(dir.path())).unwrap(), expected);
    let (_, opened) = Log::open(dir.path(), SMALL).unwrap();
    let Opened { last_tick, frames, records, segments, .. } = opened;
    assert_eq!((last_tick, frames, records, segments), (Some(139), 40, 200, names.len()));
}

#[test]
fn a_frame_longer_than_a_segment_has_one_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(dir.path(), SMALL).unwrap();
    for (tick, count) in [(1, 1), (2, 100), (3, 1), (4, 100)] {
        log.append(tick, &records(0, count)).unwrap();
    }
    let counts: Vec<usize> = collect(frames(dir.path())).unwrap().iter().map(|frame| frame.records.len()).collect();
    assert_eq!(counts, [1, 100, 1, 100]);
    assert_eq!(segment_names(dir.path()).len(), 4);
}

#[test]
fn frames_longer_than_what_is_read_at_once_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(dir.path(), LogOptions::default()).unwrap();
    let expected: Vec<Frame> = [4_000, 1, 9_000, 2]
        .iter()
        .map(|count| Frame { tick: 1, records: records(*count, *count), ..Frame::default() })
        .collect();
    for frame in &expected {
        log.append(frame.tick, &frame.records).unwrap();
    }
    drop(log);
    assert!(fs::metadata(dir.path().join("log-00000000000000000000.seg")).unwrap().len() > 1_500_000);
    assert_eq!(collect(frames(dir.path())).unwrap(), expected);
    assert_eq!(Log::open(dir.path(), LogOptions::default()).unwrap().1.records, 13_003);
}

#[test]
fn frames_can_be_read_while_the_log_writes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(dir.path(), SMALL).unwrap();
    for n in 0..10 {
        log.append(n, &records(n, 2)).unwrap();
    }
    let mut reading = frames(dir.path()).unwrap();
    assert_eq!(reading.epoch(), log.epoch());
    let first = reading.next().unwrap().unwrap();
    for n in 10..30 {
        log.append(n, &records(n, 2)).unwrap();
    }
    // It ends where the log ended when the reading began.
    let rest: Vec<Frame> = reading.collect::<Result<_, _>>().unwrap();
    let ticks: Vec<u64> = std::iter::once(&first).chain(&rest).map(|frame| frame.tick).collect();
    assert_eq!(ticks, (0..10).collect::<Vec<_>>());
    assert_eq!(collect(frames(dir.path())).unwrap().len(), 30);
}

#[test]
fn opening_reads_of_closed_segments_their_heads_only() {
    let (disk, dir) = (SimDisk::default(), Path::new("/store"));
    let (mut log, _) = Log::open_on(Arc::new(disk.clone()), dir, SMALL).unwrap();
    for n in 0..40 {
        log.append(n, &records(n, 5)).unwrap();
    }
    drop(log);
    disk.take_read_bytes();
    let (_, opened) = Log::open_on(Arc::new(disk.clone()), dir, SMALL).unwrap();
    let mut read: Vec<u64> = disk.take_read_bytes().into_values().collect();
    assert!(read.pop().unwrap() > 64);
    assert_eq!(read, vec![64; opened.segments - 1]);
}

#[test]
fn what_cannot_be_appended_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(dir.path(), LogOptions { max_frame_bytes: 1_000, ..SMALL }).unwrap();
    log.append(5, &records(0, 1)).unwrap();
    let back = log.append(4, &records(1, 1)).unwrap_err();
    assert!(matches!(back, StoreError::TickBack { tick: 4, last: 5 }), "{back}");
    let large = log.append(6, &records(1, 50)).unwrap_err();
    assert!(matches!(large, StoreError::FrameTooLarge { limit: 1_000, bytes } if bytes > 1_000), "{large}");
    assert_eq!((back.fate(), large.fate()), (Fate::Failed, Fate::Failed));
    log.append(5, &records(1, 1)).unwrap();
    let ticks: Vec<u64> = collect(frames(dir.path())).unwrap().iter().map(|frame| frame.tick).collect();
    assert_eq!(ticks, [5, 5]);
}

#[test]
fn a_payload_of_exactly_the_limit_is_taken() {
    let payload_bytes =
        etalage_model::codec::encode(&(records(0, 3), etalage_model::Binding::default())).unwrap().len() as u32;
    for (max_frame_bytes, fits) in [(payload_bytes, true), (payload_bytes - 1, false)] {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = Log::open(dir.path(), LogOptions { max_frame_bytes, ..SMALL }).unwrap();
        assert_eq!(log.append(1, &records(0, 3)).is_ok(), fits);
    }
}

#[test]
fn one_log_at_a_time_has_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(dir.path(), SMALL).unwrap();
    let error = Log::open(dir.path(), SMALL).err().unwrap();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert!(error.to_string().contains(dir.path().to_str().unwrap()), "{error}");
    drop(log);
    Log::open(dir.path(), SMALL).unwrap();
}

#[test]
fn a_file_in_place_of_the_folder_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "text").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = Log::open(&path, SMALL).err().unwrap();
        assert!(matches!(error, StoreError::NotAFolder { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let dir = Path::new("/store");
    for call in [Call::Lock, Call::Create] {
        let disk = SimDisk::default();
        disk.fail(Fault { call: Some(call), kind: std::io::ErrorKind::ReadOnlyFilesystem, written: 0 }, 1);
        let error = Log::open_on(Arc::new(disk), dir, SMALL).err().unwrap();
        assert!(matches!(error, StoreError::NotWritable { .. }), "{error}");
        assert!(error.to_string().starts_with("the store's folder /store cannot be written"), "{error}");
    }
}

#[test]
fn a_folder_without_a_store_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let empty = frames(dir.path()).err().unwrap();
    assert!(matches!(empty, StoreError::NoStore { .. }), "{empty}");
    let missing = frames(&dir.path().join("nowhere")).err().unwrap();
    assert!(missing.to_string().contains("nowhere"), "{missing}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Any frames, any segment length, restarts anywhere: what comes back is what was appended.
    #[test]
    fn everything_comes_back(
        script in prop::collection::vec((0u64..3, 0u64..12, any::<bool>()), 1..60),
        segment_bytes in 0u64..5_000,
    ) {
        let (disk, dir) = (SimDisk::default(), Path::new("/store"));
        let options = LogOptions { segment_bytes, ..SMALL };
        let (mut log, created) = Log::open_on(Arc::new(disk.clone()), dir, options).unwrap();
        let (mut expected, mut tick, mut taken) = (Vec::new(), 0, 0);
        for (ahead, count, restart) in script {
            tick += ahead;
            let frame = Frame { tick, records: (taken..taken + count).map(record).collect(), ..Frame::default() };
            taken += count;
            log.append(frame.tick, &frame.records).unwrap();
            expected.push(frame);
            if restart {
                drop(log);
                let (again, opened) = Log::open_on(Arc::new(disk.clone()), dir, options).unwrap();
                prop_assert_eq!(opened.epoch, created.epoch);
                prop_assert_eq!((opened.frames, opened.records), (expected.len() as u64, taken));
                prop_assert_eq!((opened.last_tick, opened.cut_bytes), (Some(tick), 0));
                log = again;
            }
        }
        let found = collect(etalage_store::frames_on(Arc::new(disk), dir)).unwrap();
        prop_assert_eq!(found, expected);
    }
}
