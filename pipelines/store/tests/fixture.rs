//! A store of each format version that was ever written, as it lies in `fixtures`, is read.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use etalage_model::{Binding, Micros, Position, Quarantined, Refusal, codec};
use etalage_store::{Durability, Frame, Log, LogOptions, Opened, frames};
use support::{collect, copy_store, records};

const V1_EPOCH: u64 = 0x9cae_0733_e463_6be8;

fn v1_frames() -> Vec<Frame> {
    vec![
        Frame { tick: 1_291_191_960_000_000, records: records(0, 6), ..Frame::default() },
        Frame { tick: 1_291_191_960_000_000, records: vec![], ..Frame::default() },
        Frame { tick: 1_291_191_961_000_000, records: records(6, 3), ..Frame::default() },
        Frame { tick: 1_291_191_962_000_000, records: records(9, 1), ..Frame::default() },
    ]
}

fn v1() -> PathBuf {
    fixture("v1")
}

fn v2() -> PathBuf {
    fixture("v2")
}

fn fixture(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(version)
}

#[test]
fn version_1_is_read_and_continued() {
    assert_eq!(collect(frames(&v1())).unwrap(), v1_frames());
    let dir = copy_store(&v1());
    let (mut log, opened) = Log::open(dir.path(), LogOptions::default()).unwrap();
    let expected = Opened {
        epoch: V1_EPOCH,
        last_tick: Some(1_291_191_962_000_000),
        frames: 4,
        records: 10,
        segments: 2,
        cut_bytes: 0,
    };
    assert_eq!(opened, expected);
    log.append(1_291_191_963_000_000, &records(10, 1)).unwrap();
    assert_eq!(collect(frames(dir.path())).unwrap().len(), 5);
}

/// A value of the quarantine's table; the file around it is redb's.
fn v1_quarantined() -> Quarantined {
    Quarantined {
        seq: 7,
        arrived_at: Micros(1_291_191_960_000_000),
        source: "orders.csv:17".to_owned(),
        reason: Refusal::TooLarge { bytes: 40_000, limit: 32_768 },
        raw: b"{\"event\":".to_vec(),
        raw_bytes: 40_000,
    }
}

#[test]
fn a_quarantined_record_of_version_1_is_read() {
    let bytes = fs::read(v1().join("quarantined.bin")).unwrap();
    assert_eq!(codec::decode::<Quarantined>(&bytes).unwrap(), v1_quarantined());
    assert_eq!(codec::encode(&v1_quarantined()).unwrap(), bytes, "this build writes the same");
}

fn v2_frames() -> Vec<Frame> {
    let position = |partition, next| Position { source: "shop.events".into(), partition, next };
    let bound = |positions, goes_live| Binding { positions, goes_live };
    let mut frames = v1_frames();
    frames[0].binding = bound(vec![position(0, 17), position(3, 4)], false);
    frames[1].binding = bound(vec![], true);
    frames[3].binding = bound(vec![position(3, 5)], false);
    frames
}

#[test]
fn version_2_is_read() {
    assert_eq!(collect(frames(&v2())).unwrap(), v2_frames());
}

/// A segment of version 1 gets no frames of version 2, whether it holds some or none.
#[test]
fn a_binding_begins_a_segment_of_its_own_version() {
    let binding = v2_frames()[0].binding.clone();
    let dir = copy_store(&v1());
    let (mut log, _) = Log::open(dir.path(), LogOptions::default()).unwrap();
    log.append_bound(1_291_191_963_000_000, &records(10, 1), &binding).unwrap();
    let read = collect(frames(dir.path())).unwrap();
    assert_eq!(read[..4], v1_frames());
    assert_eq!(read[4].binding, binding);

    let empty = tempfile::tempdir().unwrap();
    let name = "log-00000000000000000000.seg";
    fs::write(empty.path().join(name), &fs::read(v1().join(name)).unwrap()[..64]).unwrap();
    let (mut log, opened) = Log::open(empty.path(), LogOptions::default()).unwrap();
    assert_eq!((opened.frames, opened.segments), (0, 1));
    log.append_bound(7, &records(0, 1), &binding).unwrap();
    drop(log);
    let read = collect(frames(empty.path())).unwrap();
    assert_eq!((read.len(), &read[0].binding), (1, &binding));
    assert_eq!(Log::open(empty.path(), LogOptions::default()).unwrap().1.segments, 1);
}

/// What this build writes is what the fixture holds, but for the epoch that is drawn. A new version
/// gets its fixture from here: `ETALAGE_FIXTURE_DIR=fixtures/v3 cargo test -p etalage-store`.
#[test]
fn this_build_writes_version_2() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = std::env::var_os("ETALAGE_FIXTURE_DIR").map_or(temporary.path().join("store"), PathBuf::from);
    fs::create_dir_all(&dir).unwrap();
    let options = LogOptions { segment_bytes: 1_000, durability: Durability::Fsync, ..LogOptions::default() };
    let (mut log, opened) = Log::open(&dir, options).unwrap();
    assert_eq!(opened.frames, 0, "there is a store already");
    for frame in v2_frames() {
        log.append_bound(frame.tick, &frame.records, &frame.binding).unwrap();
    }
    drop(log);
    fs::remove_file(dir.join("store.lock")).unwrap();

    let names = |dir: &Path| {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(names(&dir), names(&v2()));
    for name in names(&dir) {
        let (written, kept) = (fs::read(dir.join(&name)).unwrap(), fs::read(v2().join(&name)).unwrap());
        assert_eq!(written.len(), kept.len(), "{}", name.display());
    }
    assert_eq!(collect(frames(&dir)).unwrap(), v2_frames());
}
