//! The log rewritten without one person's records: what is kept stays as it was, and of the rest no
//! byte is left in any file.

mod support;

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use etalage_model::{Binding, Message, Position, Record};
use etalage_store::{Durability, Frame, Log, LogOptions, Rewritten, StoreError, frames, frames_on};
use support::{
    collect, copy_store,
    erasure::{WHO, frame, is_kept, is_named_in, kept, mixed, rewrite},
    records, segment_names,
    sim::SimDisk,
};

const SMALL: LogOptions = LogOptions {
    segment_bytes: 1_500,
    durability: Durability::Process,
    max_frame_bytes: 1_000_000,
    write_behind_bytes: 1_000,
};

/// A store of these frames, in small segments.
fn store(dir: &Path, frames: &[Frame]) -> Log {
    let (mut log, _) = Log::open(dir, SMALL).unwrap();
    for frame in frames {
        log.append_bound(frame.tick, &frame.records, &frame.binding).unwrap();
    }
    log
}

fn stored(dir: &Path) -> Vec<Frame> {
    collect(frames(dir)).unwrap()
}

/// Whether any file in `dir` names the person.
fn names_them(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().any(|entry| is_named_in(&fs::read(entry.unwrap().path()).unwrap()))
}

fn other_files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.ends_with(".seg")).collect()
}

#[test]
fn what_is_kept_is_as_it_was_and_of_the_rest_no_byte_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let before: Vec<Frame> = (0..40).map(mixed).collect();
    let after: Vec<Frame> = before.iter().map(kept).collect();
    let mut log = store(dir.path(), &before);
    let dropped = log.records() - after.iter().map(|frame| frame.records.len() as u64).sum::<u64>();
    assert!(names_them(dir.path()) && dropped > 10, "{dropped}");
    let epoch = log.epoch();

    let rewritten = rewrite(&mut log, &mut is_kept).unwrap();
    assert_eq!(rewritten.dropped_records, dropped);
    assert!(rewritten.segments > 3, "{rewritten:?}");
    assert!(!names_them(dir.path()));
    assert_eq!(stored(dir.path()), after);
    assert_eq!(other_files(dir.path()), ["store.lock"]);
    assert_eq!((log.epoch(), log.last_tick()), (epoch, Some(before[39].tick)));

    // It goes on, and a restart finds all of it.
    let next = frame(40);
    log.append_bound(next.tick, &next.records, &next.binding).unwrap();
    let all = [after, vec![next]].concat();
    assert_eq!(stored(dir.path()), all);
    let records = log.records();
    drop(log);
    let (_, opened) = Log::open(dir.path(), SMALL).unwrap();
    assert_eq!((opened.epoch, opened.frames, opened.records), (epoch, 41, records));
    assert_eq!((opened.last_tick, opened.cut_bytes), (all.last().map(|frame| frame.tick), 0));
    assert_eq!(stored(dir.path()), all);
}

#[test]
fn segments_without_a_dropped_record_keep_their_frames_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let before: Vec<Frame> = (0..30).map(|n| if n == 15 { mixed(n) } else { frame(n) }).collect();
    let mut log = store(dir.path(), &before);
    let names = segment_names(dir.path());
    let read = |name: &String| fs::read(dir.path().join(name)).unwrap();
    let files: Vec<Vec<u8>> = names.iter().map(read).collect();
    let touched = files.iter().position(|bytes| is_named_in(bytes)).unwrap();
    assert!(touched > 2 && touched + 3 < files.len(), "{touched} of {}", files.len());

    assert_eq!(rewrite(&mut log, &mut is_kept).unwrap().segments, 1);
    for (at, (name, bytes)) in names.iter().zip(&files).enumerate() {
        match at {
            at if at < touched => assert_eq!(read(name), *bytes, "{name}"),
            at if at > touched => assert_eq!(read(name)[64..], bytes[64..], "{name}"),
            _ => assert_ne!(read(name)[64..], bytes[64..], "{name}"),
        }
    }
    assert_eq!(stored(dir.path()), before.iter().map(kept).collect::<Vec<_>>());
}

#[test]
fn where_nothing_is_dropped_the_log_is_only_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let before: Vec<Frame> = (0..10).map(frame).collect();
    let mut log = store(dir.path(), &before);
    let names = segment_names(dir.path());
    let files: Vec<Vec<u8>> = names.iter().map(|name| fs::read(dir.path().join(name)).unwrap()).collect();
    for _ in 0..3 {
        assert_eq!(rewrite(&mut log, &mut is_kept).unwrap(), Rewritten::default());
    }
    assert_eq!(segment_names(dir.path()).len(), names.len() + 1, "one new segment, however often it is asked");
    for (name, bytes) in names.iter().zip(&files) {
        assert_eq!(fs::read(dir.path().join(name)).unwrap(), *bytes, "{name}");
    }
    assert_eq!(stored(dir.path()), before);

    let empty = tempfile::tempdir().unwrap();
    let mut log = store(empty.path(), &[]);
    assert_eq!(rewrite(&mut log, &mut is_kept).unwrap(), Rewritten::default());
    log.append(1, &records(0, 1)).unwrap();
    assert_eq!(stored(empty.path()).len(), 1);
}

#[test]
fn it_is_asked_once_for_each_record_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let before: Vec<Frame> = (0..30).map(mixed).collect();
    let mut log = store(dir.path(), &before);
    let mut asked: Vec<Record> = Vec::new();
    rewrite(&mut log, &mut |record| {
        asked.push(record.clone());
        !asked.len().is_multiple_of(3)
    })
    .unwrap();
    let all: Vec<Record> = before.into_iter().flat_map(|frame| frame.records).collect();
    assert_eq!(asked, all);
    let left = all.into_iter().enumerate().filter(|(at, _)| (at + 1) % 3 > 0).map(|(_, record)| record);
    let found: Vec<Record> = stored(dir.path()).into_iter().flat_map(|frame| frame.records).collect();
    assert_eq!(found, left.collect::<Vec<_>>());
}

#[test]
fn a_frame_whose_records_are_all_gone_stays_with_tick_and_binding() {
    let dir = tempfile::tempdir().unwrap();
    let before: Vec<Frame> = (0..20).map(mixed).collect();
    let mut log = store(dir.path(), &before);
    rewrite(&mut log, &mut |_| false).unwrap();
    assert_eq!(log.records(), 0);
    let after: Vec<Frame> = before.into_iter().map(|frame| Frame { records: vec![], ..frame }).collect();
    assert!(after.iter().any(|frame| !frame.binding.is_empty()));
    assert_eq!(stored(dir.path()), after);
    drop(log);
    let (mut log, opened) = Log::open(dir.path(), SMALL).unwrap();
    assert_eq!((opened.frames, opened.records), (20, 0));
    log.append(after[19].tick, &records(0, 1)).unwrap();
    assert_eq!(stored(dir.path()).len(), 21);
}

/// A folder may be rewritten as often as people ask for it.
#[test]
fn one_rewriting_after_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected: Vec<Frame> = (0..20).map(mixed).collect();
    let mut log = store(dir.path(), &expected);
    for round in 0..7u64 {
        let gone = |record: &Record| record.content % 7 == round;
        rewrite(&mut log, &mut |record| !gone(record)).unwrap();
        expected.iter_mut().for_each(|frame| frame.records.retain(|record| !gone(record)));
        let next = mixed(20 + round);
        log.append_bound(next.tick, &next.records, &next.binding).unwrap();
        expected.push(next);
        assert_eq!(stored(dir.path()), expected, "round {round}");
        if round % 2 == 0 {
            drop(log);
            log = Log::open(dir.path(), SMALL).unwrap().0;
        }
    }
}

#[test]
fn readers_under_way_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let before: Vec<Frame> = (0..40).map(mixed).collect();
    let after: Vec<Frame> = before.iter().map(kept).collect();
    let mut log = store(dir.path(), &before);
    let mut readers: Vec<_> = (0..=40).map(|_| frames(dir.path()).unwrap()).collect();
    let mut read: Vec<Vec<Frame>> = Vec::new();
    for (count, reader) in readers.iter_mut().enumerate() {
        read.push(reader.take(count).collect::<Result<_, _>>().unwrap());
    }
    rewrite(&mut log, &mut is_kept).unwrap();
    log.append(before[39].tick, &records(0, 1)).unwrap();
    // The file that it has open is the old one; those that it opens now are new.
    for (count, (reader, begun)) in readers.into_iter().zip(read).enumerate() {
        let all: Vec<Frame> = begun.into_iter().chain(reader.map(Result::unwrap)).collect();
        assert_eq!(all.len(), 40, "after {count}");
        let turned = (0..40).find(|at| all[*at] != before[*at]).unwrap_or(40);
        assert!(turned >= count, "after {count}");
        assert_eq!(all[turned..], after[turned..], "after {count}");
    }
}

/// Readers take no lock: whatever moment they begin in, they find whole frames, old or new.
#[test]
fn readers_may_begin_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let before: Vec<Frame> = (0..60).map(mixed).collect();
    let mut log = store(dir.path(), &before);
    let done = AtomicBool::new(false);
    let read = thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut read = 0;
                    while !done.load(Ordering::Relaxed) {
                        let found = collect(frames(dir.path())).unwrap();
                        assert!(found.len() >= before.len());
                        for (found, before) in found.iter().zip(&before) {
                            assert_eq!((found.tick, &found.binding), (before.tick, &before.binding));
                            assert!(found.records.iter().all(|record| before.records.contains(record)));
                        }
                        read += 1;
                    }
                    read
                })
            })
            .collect();
        for round in 0..20u64 {
            rewrite(&mut log, &mut |record| record.content % 20 != round).unwrap();
            log.append(before[59].tick + round, &records(0, 1)).unwrap();
            thread::sleep(Duration::from_millis(2));
        }
        done.store(true, Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u64>()
    });
    assert!(read > 20, "{read}");
}

#[test]
fn a_segment_is_read_at_most_twice() {
    let (disk, dir) = (SimDisk::default(), Path::new("/store"));
    let options = LogOptions { segment_bytes: u64::MAX, ..SMALL };
    let (mut log, _) = Log::open_on(Arc::new(disk.clone()), dir, options).unwrap();
    for n in 0..200 {
        let frame = if n == 100 { mixed(n) } else { Frame { records: records(n, 40), ..frame(n) } };
        log.append(frame.tick, &frame.records).unwrap();
    }
    let bytes = disk.bytes(&dir.join("log-00000000000000000000.seg")).len() as u64;
    assert!(bytes > 900_000, "{bytes}");
    disk.take_read_bytes();
    rewrite(&mut log, &mut is_kept).unwrap();
    // Once to look for the records, once more for the frames before the first of them.
    let read: u64 = disk.take_read_bytes().into_values().sum();
    assert!(read > bytes && read < 2 * bytes, "{read} of {bytes}");
    assert_eq!(collect(frames_on(Arc::new(disk), dir)).unwrap().len(), 200);
}

fn v1() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1")
}

/// Drops the record that was sent as `message_id`.
fn without(message_id: &'static str) -> impl FnMut(&Record) -> bool {
    move |record| {
        let id = match &record.message {
            Message::Event(event) => &event.message_id,
            Message::Inventory(inventory) => &inventory.message_id,
            Message::Catalogue(catalogue) => &catalogue.message_id,
        };
        id != message_id
    }
}

#[test]
fn a_store_of_version_1_is_rewritten_where_it_must_be() {
    for (gone, untouched) in
        [("message-4", "log-00000000000000000002.seg"), ("message-8", "log-00000000000000000000.seg")]
    {
        let dir = copy_store(&v1());
        let mut expected = stored(dir.path());
        expected.iter_mut().for_each(|frame| frame.records.retain(without(gone)));
        let (mut log, opened) = Log::open(dir.path(), SMALL).unwrap();
        assert_eq!(
            rewrite(&mut log, &mut without(gone)).unwrap(),
            Rewritten { dropped_records: 1, changed_records: 0, segments: 1 }
        );
        assert_eq!(stored(dir.path()), expected, "{gone}");
        for name in &segment_names(dir.path()) {
            let bytes = fs::read(dir.path().join(name)).unwrap();
            assert!(!bytes.windows(gone.len()).any(|part| part == gone.as_bytes()), "{name}");
            assert_eq!(bytes[7], if name == untouched { 1 } else { 2 }, "{name}");
        }
        // Version 1 had no bindings; what is appended now has.
        let position = Position { source: "shop.events".into(), partition: 1, next: 2 };
        let binding = Binding { positions: vec![position], goes_live: true };
        log.append_bound(u64::MAX, &records(10, 1), &binding).unwrap();
        drop(log);
        assert_eq!(stored(dir.path()).last().map(|frame| frame.binding.clone()), Some(binding), "{gone}");
        let (_, again) = Log::open(dir.path(), SMALL).unwrap();
        assert_eq!((again.epoch, again.frames, again.records), (opened.epoch, 5, 10), "{gone}");
    }
}

#[test]
fn a_damaged_log_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let before: Vec<Frame> = (0..20).map(mixed).collect();
    let mut log = store(dir.path(), &before);
    let damaged = dir.path().join(&segment_names(dir.path())[3]);
    let mut bytes = fs::read(&damaged).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&damaged, &bytes).unwrap();
    let error = rewrite(&mut log, &mut is_kept).unwrap_err();
    let StoreError::Corrupt { path, .. } = &error else { panic!("{error}") };
    assert_eq!((path, fs::read(&damaged).unwrap()), (&damaged, bytes.clone()));
    assert_eq!(other_files(dir.path()), ["store.lock"]);
    // Nothing was written over, and so nothing is in doubt.
    bytes[last] ^= 1;
    fs::write(&damaged, &bytes).unwrap();
    assert_eq!(stored(dir.path()), before);
    log.append(before[19].tick, &[]).unwrap();
    rewrite(&mut log, &mut is_kept).unwrap();
    assert!(!names_them(dir.path()), "{WHO}");
}
