//! A snapshot of each format version that was ever written, as it lies in `fixtures`, is read.

use std::path::{Path, PathBuf};

use etalage_model::{Position, codec};
use etalage_store::snapshot::{Checked, LogPart, Manifest, Place, SectionName, State, Writer, list, load};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/snapshot-v1")
}

fn head() -> Manifest {
    let position = Position { source: "clicks".into(), partition: 3, next: 17 };
    Manifest {
        tick: 1_291_191_962_000_000,
        epoch: 0x9cae_0733_e463_6be8,
        created_at_us: 1_790_000_000_000_000,
        written_by: "0.1.0".into(),
        options: "1-00".into(),
        records: 10,
        log: LogPart { next_frame: 4, segments: vec![(0, 77), (3, 78)] },
        state: State { is_live: true, has_event: true, positions: vec![position.into()] },
        sections: Vec::new(),
    }
}

/// The rows of a section: numbers and texts.
fn rows(of: &str) -> Vec<u8> {
    let mut rows = Vec::new();
    for number in 0..50u64 {
        codec::frame_into(&(number, format!("{of} {number}")), &mut rows).unwrap();
    }
    rows
}

fn sections() -> [SectionName; 2] {
    [("shop", "Windows by item"), ("sequencer", "Ids")]
        .map(|(part, name)| SectionName { part: part.into(), name: name.into() })
}

#[test]
fn a_snapshot_of_version_1_is_read() {
    let place = Place::folder(&fixture()).unwrap();
    let listed = list(&place).unwrap();
    assert_eq!(listed.iter().map(|listed| listed.tick).collect::<Vec<_>>(), [head().tick]);
    let snapshot = load(&place, head().tick).unwrap();
    for SectionName { part, name } in sections() {
        let mut of_name =
            snapshot.manifest.sections.iter().filter(|section| section.part == part && section.name == name);
        let section = of_name.next().unwrap();
        let read: Vec<u8> = section.chunks.iter().flat_map(|chunk| snapshot.rows(chunk).unwrap()).collect();
        assert!(read == rows(&name), "{name}");
    }
    assert_eq!(Manifest { sections: Vec::new(), ..snapshot.manifest }, head());
}

/// What this build writes is what the fixture holds, however well it is compressed. A new version gets its fixture from here:
/// `ETALAGE_FIXTURE_DIR=fixtures/snapshot-v2 cargo test -p etalage-store --test snapshot_fixture`.
#[test]
fn this_build_writes_version_1() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = std::env::var_os("ETALAGE_FIXTURE_DIR").map_or(temporary.path().join("snapshots"), PathBuf::from);
    let place = Place::folder(&dir).unwrap();
    let mut writer = Writer::begin(&place, &Checked::default()).unwrap();
    for section in sections() {
        writer.add(&section, 0, &rows(&section.name)).unwrap();
    }
    writer.finish(head()).unwrap();
    let manifest = |dir: &Path| {
        let mut manifest = load(&Place::folder(dir).unwrap(), head().tick).unwrap().manifest;
        let chunks = manifest.sections.iter_mut().flat_map(|section| &mut section.chunks);
        chunks.for_each(|chunk| chunk.stored_bytes = 0);
        manifest
    };
    assert_eq!(manifest(&dir), manifest(&fixture()));
}
