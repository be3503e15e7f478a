//! The log after its files were damaged: a torn tail is cut, everything else is refused with the
//! name of the file and the place.

mod support;

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use etalage_model::{Binding, codec};
use etalage_store::{
    Damage, FORMAT_VERSION, Frame, Log, LogOptions, Opened, StoreError, disk::Disk, find_damage, find_damage_on,
    frames, frames_on, set_damage_aside, set_damage_aside_on,
};
use support::{collect, copy_store, records, segment_names, sim::SimDisk};
use tempfile::TempDir;

const FIRST: &str = "log-00000000000000000000.seg";
const HEAD_BYTES: u64 = 64;

fn frame(n: u64) -> Frame {
    Frame { tick: 100 + n, records: records(n * 3, 2), ..Frame::default() }
}

/// A store of `count` frames, and where each of them begins, with the end behind them.
fn store(count: u64, options: LogOptions) -> (TempDir, Vec<u64>) {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(dir.path(), options).unwrap();
    let mut bounds = vec![HEAD_BYTES];
    for n in 0..count {
        log.append(frame(n).tick, &frame(n).records).unwrap();
        bounds.push(fs::metadata(dir.path().join(FIRST)).unwrap().len());
    }
    (dir, bounds)
}

fn open(dir: &Path) -> Result<Opened, StoreError> {
    Log::open(dir, LogOptions::default()).map(|(_, opened)| opened)
}

/// Reopens a copy of `dir` whose first segment was changed, and expects a refusal that names the
/// file and the place and leaves the file alone.
fn refused_at(dir: &Path, offset: u64, told: &str) {
    let path = dir.join(FIRST);
    let before = fs::read(&path).unwrap();
    for error in [open(dir).unwrap_err(), collect(frames(dir)).unwrap_err()] {
        let StoreError::Corrupt { path: named, offset: place, .. } = &error else { panic!("{told}: {error}") };
        assert_eq!((named, *place), (&path, offset), "{told}: {error}");
        let text = error.to_string();
        let advice = format!("etalage repair --apply --data-dir {}", dir.display());
        assert!(text.contains(&advice) && text.contains("Nothing was changed"), "{told}: {text}");
    }
    assert_eq!(fs::read(&path).unwrap(), before, "{told}");
}

#[test]
fn a_store_cut_at_any_byte_of_its_last_frames_opens_with_the_whole_ones() {
    let (original, bounds) = store(4, LogOptions::default());
    let bytes = fs::read(original.path().join(FIRST)).unwrap();
    for length in bounds[1]..=bounds[4] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FIRST), &bytes[..length as usize]).unwrap();
        let whole = bounds.iter().filter(|end| **end <= length).count() as u64 - 1;
        let cut_bytes = length - bounds[whole as usize];
        let expected: Vec<Frame> = (0..whole).map(frame).collect();

        // Readable as it is, without being opened for writing first.
        let mut reading = frames(dir.path()).unwrap();
        assert_eq!(reading.by_ref().collect::<Result<Vec<_>, _>>().unwrap(), expected, "{length}");
        assert_eq!(reading.torn_bytes(), cut_bytes, "{length}");

        let opened = open(dir.path()).unwrap();
        let Opened { last_tick, frames: found, records, cut_bytes: cut, .. } = opened;
        assert_eq!((last_tick, found, records), (Some(99 + whole), whole, whole * 2), "{length}");
        assert_eq!(cut, cut_bytes, "{length}");
        let (mut log, again) = Log::open(dir.path(), LogOptions::default()).unwrap();
        assert_eq!(again.cut_bytes, 0, "{length}");
        log.append(frame(9).tick, &frame(9).records).unwrap();
        assert_eq!(collect(frames(dir.path())).unwrap(), [expected, vec![frame(9)]].concat(), "{length}");
    }
}

#[test]
fn a_tail_of_zeros_or_noise_is_cut() {
    for tail in [vec![0u8; 5_000], (0..5_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()] {
        let (dir, bounds) = store(3, LogOptions::default());
        let file = OpenOptions::new().write(true).open(dir.path().join(FIRST)).unwrap();
        file.write_all_at(&tail, bounds[3]).unwrap();
        assert_eq!(open(dir.path()).unwrap().cut_bytes, 5_000);
        assert_eq!(collect(frames(dir.path())).unwrap(), [frame(0), frame(1), frame(2)]);
    }
}

#[test]
fn a_flipped_byte_in_the_middle_is_refused() {
    let (original, bounds) = store(4, LogOptions::default());
    let bytes = fs::read(original.path().join(FIRST)).unwrap();
    for at in bounds[0]..bounds[3] {
        let dir = tempfile::tempdir().unwrap();
        let mut flipped = bytes.clone();
        flipped[at as usize] ^= 0x10;
        fs::write(dir.path().join(FIRST), &flipped).unwrap();
        let begins = bounds.iter().rev().find(|bound| **bound <= at).unwrap();
        refused_at(dir.path(), *begins, &format!("byte {at}"));
    }
}

#[test]
fn a_damaged_head_of_a_segment_is_refused() {
    let (original, _) = store(2, LogOptions::default());
    let bytes = fs::read(original.path().join(FIRST)).unwrap();
    for at in (0..HEAD_BYTES as usize).filter(|at| *at != 7) {
        let dir = copy_store(original.path());
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        fs::write(dir.path().join(FIRST), &flipped).unwrap();
        refused_at(dir.path(), 0, &format!("byte {at}"));
    }
    for length in 0..HEAD_BYTES as usize {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FIRST), &bytes[..length]).unwrap();
        refused_at(dir.path(), 0, &format!("cut to {length}"));
    }
}

#[test]
fn a_later_format_is_refused_by_its_number() {
    let (dir, _) = store(1, LogOptions::default());
    let file = OpenOptions::new().write(true).open(dir.path().join(FIRST)).unwrap();
    file.write_all_at(&[FORMAT_VERSION + 1], 7).unwrap();
    for error in [open(dir.path()).unwrap_err(), collect(frames(dir.path())).unwrap_err()] {
        assert!(matches!(error, StoreError::NewerFormat { found: 3, known: 2, .. }), "{error}");
        assert!(error.to_string().contains("newer etalage"), "{error}");
    }
}

#[test]
fn damage_in_a_closed_segment_is_found_when_it_is_read() {
    let (original, _) = store(12, LogOptions { segment_bytes: 1_000, ..LogOptions::default() });
    let names = segment_names(original.path());
    assert!(names.len() >= 4);
    let sealed = fs::read(original.path().join(&names[1])).unwrap();
    for at in HEAD_BYTES as usize..sealed.len() {
        let dir = copy_store(original.path());
        let path = dir.path().join(&names[1]);
        let mut flipped = sealed.clone();
        flipped[at] ^= 1;
        fs::write(&path, &flipped).unwrap();
        let mut reading = frames(dir.path()).unwrap();
        let error = reading.find_map(Result::err).unwrap_or_else(|| panic!("byte {at} went unnoticed"));
        assert!(matches!(&error, StoreError::Corrupt { path: named, .. } if *named == path), "byte {at}: {error}");
        assert!(reading.next().is_none(), "nothing comes after an error");
    }
}

#[test]
fn a_missing_or_shortened_segment_is_refused_at_opening() {
    let (original, _) = store(12, LogOptions { segment_bytes: 1_000, ..LogOptions::default() });
    let names = segment_names(original.path());
    for (gone, next) in names.iter().zip(&names[1..]) {
        let dir = copy_store(original.path());
        fs::remove_file(dir.path().join(gone)).unwrap();
        let error = open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(next) && error.contains(&format!("{gone}, is missing")), "{error}");

        let dir = copy_store(original.path());
        let path = dir.path().join(gone);
        let length = fs::metadata(&path).unwrap().len();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 1).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(&error, StoreError::Corrupt { path: named, .. } if *named == path), "{error}");
    }
}

#[test]
fn a_segment_of_another_store_is_refused() {
    let options = LogOptions { segment_bytes: 1_000, ..LogOptions::default() };
    let ((one, _), (other, _)) = (store(12, options), store(12, options));
    let last = segment_names(one.path()).pop().unwrap();
    fs::copy(other.path().join(&last), one.path().join(&last)).unwrap();
    let error = open(one.path()).unwrap_err().to_string();
    assert!(error.contains(&last) && error.contains("another store"), "{error}");
}

#[test]
fn the_advice_of_the_error_works() {
    let (dir, bounds) = store(4, LogOptions::default());
    let path = dir.path().join(FIRST);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0xFF; 8], bounds[1] + 50).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::Corrupt { .. })));
    let (damage, aside) = set_damage_aside(dir.path(), agree).unwrap().expect("it is damaged");
    assert_eq!((damage.frames, damage.offset, aside.len()), (1, bounds[1], 1));
    assert_eq!(open(dir.path()).unwrap().frames, 1);
    assert_eq!(find_damage(dir.path()).unwrap(), None);
}

fn agree(_: &Damage) -> Result<(), StoreError> {
    Ok(())
}

/// Wherever it is damaged, it goes on with the frames before, and no byte is gone.
#[test]
fn a_repair_keeps_what_stands_before_and_sets_the_rest_aside() {
    let (original, _) = store(24, LogOptions { segment_bytes: 1_000, ..LogOptions::default() });
    let whole = collect(frames(original.path())).unwrap();
    let (names, mut kept) = (segment_names(original.path()), BTreeSet::new());
    assert!(names.len() > 3);
    for name in &names {
        let bytes = fs::read(original.path().join(name)).unwrap();
        for at in (0..bytes.len()).step_by(7) {
            let dir = copy_store(original.path());
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x20;
            fs::write(dir.path().join(name), &damaged).unwrap();
            let before = folder_bytes(dir.path());
            let found = match find_damage(dir.path()) {
                Ok(Some(found)) => found,
                // The last frame of all may be torn, and what looks newer is left to a newer build.
                Ok(None) => {
                    assert_eq!(name, names.last().unwrap());
                    continue;
                }
                Err(error) => {
                    assert!(matches!(error, StoreError::NewerFormat { .. }), "{error}");
                    continue;
                }
            };
            let (damage, aside) = set_damage_aside(dir.path(), agree).unwrap().expect("it is damaged");
            assert_eq!(damage, found);
            let set_aside: u64 = aside.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
            assert_eq!((set_aside, folder_bytes(dir.path())), (damage.bytes, before), "{name} at {at}");
            let opened = open(dir.path()).unwrap();
            assert_eq!(opened.frames, damage.frames);
            let left = frames(dir.path()).map_or_else(|_| Vec::new(), |frames| collect(Ok(frames)).unwrap());
            assert_eq!(left, whole[..damage.frames as usize], "{name} at {at}");
            kept.insert(damage.frames);
        }
    }
    assert!(kept.len() > 10, "{kept:?}");
}

/// The bytes of the log in a folder, in their place or set aside.
fn folder_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let of_log = entries.filter(|entry| entry.file_name().to_str().unwrap().starts_with("log-"));
    of_log.map(|entry| entry.metadata().unwrap().len()).sum()
}

/// It can be killed in any call, and goes on from there.
#[test]
fn a_repair_that_is_cut_off_is_repeated() {
    let (original, _) = store(24, LogOptions { segment_bytes: 1_000, ..LogOptions::default() });
    let names = segment_names(original.path());
    let disk = SimDisk::default();
    for name in &names {
        let mut bytes = fs::read(original.path().join(name)).unwrap();
        if *name == names[1] {
            bytes[200] ^= 1;
        }
        disk.put(&Path::new("/store").join(name), &bytes);
    }
    let expected = {
        let damage = find_damage_on(&(Arc::new(disk.clone()) as Arc<dyn Disk>), Path::new("/store")).unwrap();
        damage.expect("it is damaged").frames
    };
    for nth in 1.. {
        let disk = disk.after_kill();
        disk.die(nth, 30);
        let repaired = set_damage_aside_on(&(Arc::new(disk.clone()) as Arc<dyn Disk>), Path::new("/store"), agree);
        let died = disk.is_dead();
        assert_eq!(repaired.is_err(), died, "call {nth}");
        for disk in [disk.after_kill(), disk.after_power_loss(nth as u64)] {
            let disk: Arc<dyn Disk> = Arc::new(disk);
            while set_damage_aside_on(&disk, Path::new("/store"), agree).unwrap().is_some() {}
            let left = collect(frames_on(Arc::clone(&disk), Path::new("/store"))).unwrap();
            assert_eq!(left.len() as u64, expected, "call {nth}");
        }
        if !died {
            assert!(nth > 5);
            break;
        }
    }
}

/// A frame that a faulty writer could have made: its checksums are right.
fn forged(segment: &[u8], seq: u64, tick: u64, count: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xE7, b'F', b'R', 0xA9];
    bytes.extend((payload.len() as u32).to_le_bytes());
    bytes.extend(seq.to_le_bytes());
    bytes.extend(tick.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend(crc32fast::hash(payload).to_le_bytes());
    let salt = u32::from_le_bytes(segment[56..60].try_into().unwrap());
    let mut crc = crc32fast::Hasher::new_with_initial(salt);
    crc.update(&bytes);
    bytes.extend(crc.finalize().to_le_bytes());
    bytes.extend(payload);
    bytes
}

#[test]
fn frames_with_right_checksums_and_wrong_content_are_refused() {
    let (original, bounds) = store(2, LogOptions::default());
    let segment = fs::read(original.path().join(FIRST)).unwrap();
    let payload = codec::encode(&(records(0, 2), Binding::default())).unwrap();
    let with = |frame: Vec<u8>| {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FIRST), [&segment[..], &frame].concat()).unwrap();
        dir
    };
    let good = with(forged(&segment, 2, 101, 2, &payload));
    assert_eq!(open(good.path()).unwrap().frames, 3, "the forgery itself is right");
    refused_at(with(forged(&segment, 2, 100, 2, &payload)).path(), bounds[2], "a tick that goes back");
    refused_at(with(forged(&segment, 3, 101, 2, &payload)).path(), bounds[2], "a frame left out");
    refused_at(with(forged(&segment, 1, 101, 2, &payload)).path(), bounds[2], "a frame twice");
    for (frame, what) in [
        (forged(&segment, 2, 101, 3, &payload), "2 records and names 3"),
        (forged(&segment, 2, 101, 2, &payload[..payload.len() - 1]), "cannot be decoded"),
    ] {
        let dir = with(frame);
        let error = collect(frames(dir.path())).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { offset, .. } if offset == bounds[2]), "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn a_later_frame_is_found_wherever_the_windows_of_the_search_meet() {
    const WINDOW_BYTES: usize = 256 * 1024;
    let (original, _) = store(1, LogOptions::default());
    let head = fs::read(original.path().join(FIRST)).unwrap()[..HEAD_BYTES as usize].to_vec();
    for before in 0..40 {
        // The search begins one byte behind the damaged frame's first.
        let begins = HEAD_BYTES as usize + 1 + WINDOW_BYTES - before;
        let payload = vec![0xE7; begins - HEAD_BYTES as usize - 36];
        let (long, next) = (forged(&head, 0, 1, 1, &payload), forged(&head, 1, 1, 1, b"payload"));
        let mut bytes = [&head[..], &long, &next].concat();
        assert!(bytes[begins..].starts_with(&next));
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FIRST), &bytes).unwrap();
        assert_eq!(open(dir.path()).unwrap().frames, 2);
        bytes[HEAD_BYTES as usize] ^= 1;
        fs::write(dir.path().join(FIRST), &bytes).unwrap();
        refused_at(dir.path(), HEAD_BYTES, &format!("{before} bytes before the end of a window"));
    }
}
