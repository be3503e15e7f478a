//! Snapshots in a folder and in memory.

use std::{fs, time::Duration};

use proptest::prelude::*;

use super::{chunk::Cutter, *};

fn head(tick: u64) -> Manifest {
    Manifest {
        tick,
        epoch: 7,
        created_at_us: 1,
        written_by: "test".into(),
        options: "o".into(),
        records: tick * 10,
        log: LogPart { next_frame: tick, segments: vec![(0, 7)] },
        state: State::default(),
        sections: Vec::new(),
    }
}

fn section(name: &str) -> SectionName {
    SectionName { part: "shop".into(), name: name.into() }
}

fn framed<'a>(rows: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let row = |row: &[u8]| [&(row.len() as u32).to_le_bytes()[..], row].concat();
    rows.into_iter().flat_map(row).collect()
}

/// So many rows of 100 bytes that differ, from `from` on.
fn rows(from: u64, count: u64) -> Vec<u8> {
    let row = |n: u64| (0..100u8).map(|at| (n.wrapping_mul(0x9E37_79B9) >> (at % 24)) as u8 ^ at).collect::<Vec<u8>>();
    let rows: Vec<Vec<u8>> = (from..from + count).map(row).collect();
    framed(rows.iter().map(Vec::as_slice))
}

fn write(place: &Place, tick: u64, sections: &[(&str, usize, &[u8])]) -> Written {
    let mut writer = Writer::begin(place, &Checked::default()).unwrap();
    for (name, from, rows) in sections {
        writer.add(&section(name), *from, rows).unwrap();
    }
    writer.finish(head(tick)).unwrap()
}

/// All rows of a section.
fn read(snapshot: &Snapshot, name: &str) -> Vec<u8> {
    let of_name = snapshot.manifest.sections.iter().find(|section| section.name == name);
    of_name.iter().flat_map(|section| &section.chunks).flat_map(|chunk| snapshot.rows(chunk).unwrap()).collect()
}

#[test]
fn what_is_written_comes_back_and_what_has_not_changed_is_not_written_again() {
    let place = Place::in_memory().unwrap();
    let (windows, stock) = (rows(0, 100_000), rows(1 << 40, 10));
    let first = write(&place, 5, &[("Windows", 0, &windows), ("Stock", 0, &stock)]);
    assert!(first.new_chunks >= 4, "{}", first.new_chunks);
    assert_eq!(first.manifest.rows(), 100_010);
    let snapshot = load(&place, 5).unwrap();
    snapshot.verify().unwrap();
    assert!(read(&snapshot, "Windows") == windows && read(&snapshot, "Stock") == stock);

    // A row in front moves all others; only the chunks around it are new.
    let moved = [rows(1 << 41, 1), windows.clone()].concat();
    let second = write(&place, 9, &[("Windows", 0, &moved), ("Stock", 0, &stock)]);
    assert!(second.new_chunks <= 2, "{} of {}", second.new_chunks, second.manifest.chunks().count());
    assert!(read(&load(&place, 9).unwrap(), "Windows") == moved);
    assert!(read(&load(&place, 5).unwrap(), "Windows") == windows);
    assert_eq!(list(&place).unwrap().iter().map(|listed| listed.tick).collect::<Vec<_>>(), [5, 9]);
}

#[test]
fn rows_of_several_workers_stand_in_one_section() {
    let place = Place::in_memory().unwrap();
    let (one, other) = (rows(0, 7), rows(100, 5));
    write(&place, 1, &[("Windows", 0, &one), ("Windows", 1, &other), ("Windows", 0, &one)]);
    let snapshot = load(&place, 1).unwrap();
    assert_eq!(snapshot.manifest.sections.len(), 1);
    assert_eq!(read(&snapshot, "Windows"), [one.clone(), one, other].concat());
}

#[test]
fn every_flipped_byte_of_every_file_is_seen_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::open(dir.path().to_str().unwrap(), Duration::ZERO).unwrap();
    write(&place, 5, &[("Windows", 0, &rows(0, 3))]);
    let files = ["snapshots", "chunks"].map(|folder| fs::read_dir(dir.path().join(folder)).unwrap());
    let files: Vec<_> = files.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 2);
    for path in files {
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            let error = load(&place, 5).and_then(|snapshot| snapshot.verify()).expect_err("it is damaged");
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(error.is_about_one() && error.to_string().contains(name), "byte {at} of {name}: {error}");
        }
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(load(&place, 5).and_then(|snapshot| snapshot.verify()).is_err(), "cut at {cut}");
        }
        fs::remove_file(&path).unwrap();
        assert!(load(&place, 5).is_err_and(|error| error.is_about_one()), "{} is missing", path.display());
        fs::write(&path, &whole).unwrap();
    }
    load(&place, 5).unwrap().verify().unwrap();
}

#[test]
fn a_later_format_is_told_from_damage() {
    let file = head(5).to_file();
    let text = String::from_utf8(file).unwrap().replacen("etalage-snapshot 1 ", "etalage-snapshot 2 ", 1);
    let error = Manifest::from_file("m", text.as_bytes()).unwrap_err();
    assert!(matches!(error, SnapshotError::Newer { found: 2, known: 1, .. }), "{error}");
}

#[test]
fn pruning_keeps_the_newest_and_what_is_young_and_the_chunks_of_those() {
    let place = Place::in_memory().unwrap();
    let shared = rows(0, 5);
    for tick in [10, 20, 30, 40] {
        write(&place, tick, &[("Windows", 0, &shared), ("Stock", 0, &rows(tick << 20, 4))]);
    }
    let ticks = || list(&place).unwrap().iter().map(|listed| listed.tick).collect::<Vec<_>>();
    let kept = Kept { newest: 1, for_us: 25, max_bytes: u64::MAX };
    let pruned = prune(&place, kept, 45).unwrap();
    assert_eq!((ticks(), pruned.snapshots, pruned.chunks, pruned.oldest), (vec![20, 30, 40], 1, 1, Some(20)));
    // Two stay, however old and large.
    let pruned = prune(&place, Kept { newest: 0, for_us: 25, max_bytes: 0 }, 1_000).unwrap();
    assert_eq!((ticks(), pruned.oldest), (vec![30, 40], Some(30)));
    assert!(read(&load(&place, 30).unwrap(), "Windows") == shared);

    // A damaged one counts for nothing, and stays as long as nothing better takes its place.
    place.put(&place.manifest(50), b"etalage-snapshot 1 0\n{}".to_vec()).unwrap();
    prune(&place, Kept { newest: 2, for_us: 0, max_bytes: 0 }, 50).unwrap();
    assert_eq!(ticks(), [30, 40, 50]);
    load(&place, 30).unwrap().verify().unwrap();

    let pruned = remove_all(&place).unwrap();
    assert_eq!((ticks(), pruned.snapshots, pruned.bytes), (vec![], 3, 0));
    assert!(place.chunks().unwrap().is_empty());
}

#[test]
fn a_place_that_cannot_be_is_told() {
    let error = Place::open("gopher://somewhere", Duration::ZERO).unwrap_err().to_string();
    assert!(error.contains("gopher://somewhere"), "{error}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let under = file.path().join("snapshots");
    let error = Place::open(under.to_str().unwrap(), Duration::ZERO).unwrap_err().to_string();
    assert!(error.contains(under.to_str().unwrap()), "{error}");
}

proptest! {
    /// Whatever the lengths, no row is lost, none is divided, and no chunk is much longer than it may be.
    #[test]
    fn chunks_hold_all_rows_in_order(lengths in prop::collection::vec(0usize..300, 0..200), target in 1usize..2_000) {
        let rows: Vec<Vec<u8>> = lengths.iter().enumerate().map(|(n, length)| vec![n as u8; *length]).collect();
        let mut cutter = Cutter::new(target);
        let mut cuts = Vec::new();
        for row in &rows {
            cuts.extend(cutter.add(row));
            prop_assert!(cutter.open_bytes() < 4 * target.max(4));
        }
        cuts.extend(cutter.finish());
        prop_assert_eq!(cuts.iter().map(|cut| cut.rows).sum::<u64>(), rows.len() as u64);
        prop_assert!(cuts.iter().all(|cut| cut.bytes.len() <= 4 * target.max(4) + 304));
        let bytes: Vec<u8> = cuts.into_iter().flat_map(|cut| cut.bytes).collect();
        prop_assert_eq!(bytes, framed(rows.iter().map(Vec::as_slice)));
    }
}
