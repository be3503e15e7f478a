//! A store of each format version that was ever written, as it lies in `fixtures`, is read.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use etalage_model::{Micros, Quarantined, Refusal, codec};
use etalage_store::{Durability, Frame, Log, LogOptions, Opened, frames};
use support::{collect, copy_store, records};

const V1_EPOCH: u64 = 0x9cae_0733_e463_6be8;

fn v1_frames() -> Vec<Frame> {
    vec![
        Frame { tick: 1_291_191_960_000_000, records: records(0, 6) },
        Frame { tick: 1_291_191_960_000_000, records: vec![] },
        Frame { tick: 1_291_191_961_000_000, records: records(6, 3) },
        Frame { tick: 1_291_191_962_000_000, records: records(9, 1) },
    ]
}

fn v1() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1")
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
}

/// What this build writes is what the fixture holds, but for the epoch that is drawn. A new version
/// gets its fixture from here: `ETALAGE_FIXTURE_DIR=fixtures/v2 cargo test -p etalage-store`.
#[test]
fn this_build_writes_version_1() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = std::env::var_os("ETALAGE_FIXTURE_DIR").map_or(temporary.path().join("store"), PathBuf::from);
    fs::create_dir_all(&dir).unwrap();
    let options = LogOptions { segment_bytes: 1_000, durability: Durability::Fsync, ..LogOptions::default() };
    let (mut log, opened) = Log::open(&dir, options).unwrap();
    assert_eq!(opened.frames, 0, "there is a store already");
    for frame in v1_frames() {
        log.append(frame.tick, &frame.records).unwrap();
    }
    drop(log);
    fs::remove_file(dir.join("store.lock")).unwrap();
    let quarantined = codec::encode(&v1_quarantined()).unwrap();
    fs::write(dir.join("quarantined.bin"), &quarantined).unwrap();

    let names = |dir: &Path| {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(names(&dir), names(&v1()));
    assert_eq!(quarantined, fs::read(v1().join("quarantined.bin")).unwrap());
    for name in names(&dir).into_iter().filter(|name| name != "quarantined.bin") {
        let (written, kept) = (fs::read(dir.join(&name)).unwrap(), fs::read(v1().join(&name)).unwrap());
        assert_eq!(written.len(), kept.len(), "{}", name.display());
    }
    assert_eq!(collect(frames(&dir)).unwrap(), v1_frames());
}
