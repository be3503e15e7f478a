//! The receipts of erasures: what is added comes back, nobody is named, a torn line is no damage.

mod support;

use std::{fs, io::ErrorKind, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use etalage_model::Micros;
use etalage_store::{Fate, MAX_RECEIPTS, RECEIPTS_FILE, RECEIPTS_KEY_FILE, Receipt, Receipts, StoreError};
use support::{
    erasure::{WHO, is_named_in},
    sim::{Call, Fault, SimDisk},
};

fn dir() -> &'static Path {
    Path::new("/store")
}

fn open(disk: &SimDisk) -> Result<Receipts, StoreError> {
    Receipts::open_on(Arc::new(disk.clone()), dir())
}

fn receipt(receipts: &Receipts, n: u64) -> Receipt {
    Receipt {
        receipt_id: format!("receipt-{n}"),
        profile: receipts.name(&format!("{WHO}-{n}")),
        as_of: 1_291_191_960_000_000 + n,
        erased_at: Micros(1_700_000_000_000_000 + n),
        records: n * 3,
        quarantined: n,
    }
}

#[test]
fn receipts_come_back_over_restarts_and_name_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let mut receipts = Receipts::open(dir.path()).unwrap();
    assert_eq!(receipts.list().unwrap(), []);
    let expected: Vec<Receipt> = (0..5).map(|n| receipt(&receipts, n)).collect();
    for receipt in &expected[..3] {
        receipts.append(receipt).unwrap();
    }
    drop(receipts);
    let mut receipts = Receipts::open(dir.path()).unwrap();
    for receipt in &expected[3..] {
        receipts.append(receipt).unwrap();
    }
    assert_eq!(receipts.list().unwrap(), expected);
    assert_eq!(receipt(&receipts, 4), expected[4], "the key is kept");
    for name in [RECEIPTS_FILE, RECEIPTS_KEY_FILE] {
        assert!(!is_named_in(&fs::read(dir.path().join(name)).unwrap()), "{name}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn a_line_is_plain_json() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(RECEIPTS_KEY_FILE), [7; 32]).unwrap();
    let mut receipts = Receipts::open(dir.path()).unwrap();
    let added = receipt(&receipts, 2);
    receipts.append(&added).unwrap();
    let profile = "d5ff696f2adb2e29a54456f4d7cc4690ce665863d2d015099b5d5b88338d3d05";
    let line = format!(
        "{{\"receipt_id\":\"receipt-2\",\"profile\":\"{profile}\",\"as_of\":1291191960000002,\
         \"erased_at\":1700000000000002,\"records\":6,\"quarantined\":2}}\n"
    );
    assert_eq!(fs::read_to_string(dir.path().join(RECEIPTS_FILE)).unwrap(), line);
}

#[test]
fn each_store_has_a_key_of_its_own_that_only_its_owner_reads() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = (Receipts::open(a.path()).unwrap(), Receipts::open(b.path()).unwrap());
    assert_eq!(first.name(WHO), first.name(WHO));
    assert_ne!(first.name(WHO), second.name(WHO));
    assert_ne!(first.name("a"), first.name("b"));
    assert!(first.name("").len() == 64 && first.name(WHO).bytes().all(|byte| byte.is_ascii_hexdigit()));
    let key = fs::metadata(a.path().join(RECEIPTS_KEY_FILE)).unwrap();
    assert_eq!((key.len(), key.permissions().mode() & 0o777), (32, 0o600));
}

#[test]
fn a_missing_or_damaged_key_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut receipts = Receipts::open(dir.path()).unwrap();
    let key = dir.path().join(RECEIPTS_KEY_FILE);
    // Nothing was made with it yet.
    fs::remove_file(&key).unwrap();
    drop(receipts);
    receipts = Receipts::open(dir.path()).unwrap();
    receipts.append(&receipt(&receipts, 1)).unwrap();
    let bytes = fs::read(&key).unwrap();
    fs::write(&key, &bytes[..31]).unwrap();
    let error = Receipts::open(dir.path()).err().unwrap();
    assert!(matches!(&error, StoreError::Corrupt { path, .. } if *path == key), "{error}");
    fs::remove_file(&key).unwrap();
    let error = Receipts::open(dir.path()).err().unwrap();
    assert!(matches!(&error, StoreError::MissingKey { path, .. } if *path == key), "{error}");
    assert!(!key.exists());
}

#[test]
fn a_torn_last_line_is_left_out_and_the_next_takes_its_place() {
    let original = tempfile::tempdir().unwrap();
    let mut receipts = Receipts::open(original.path()).unwrap();
    let expected: Vec<Receipt> = (0..4).map(|n| receipt(&receipts, n)).collect();
    for receipt in &expected[..3] {
        receipts.append(receipt).unwrap();
    }
    let path = original.path().join(RECEIPTS_FILE);
    let bytes = fs::read(&path).unwrap();
    let second_ends = bytes.len() - bytes.len() / 3;
    for length in second_ends..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        let mut receipts = Receipts::open(original.path()).unwrap();
        assert_eq!(receipts.list().unwrap(), expected[..2], "{length}");
        receipts.append(&expected[3]).unwrap();
        assert_eq!(receipts.list().unwrap(), [&expected[..2], &expected[3..]].concat(), "{length}");
    }
    // The same in the middle is damage.
    let mut flipped = bytes.clone();
    flipped[second_ends - 10] = 0;
    fs::write(&path, &flipped).unwrap();
    let error = Receipts::open(original.path()).err().unwrap();
    let begins = bytes.len() as u64 / 3;
    assert!(matches!(error, StoreError::Corrupt { offset, .. } if offset == begins), "{error}");
    assert_eq!(fs::read(&path).unwrap(), flipped);
}

#[test]
fn a_list_is_bounded_and_gives_the_newest() {
    let disk = SimDisk::default();
    let receipts = open(&disk).unwrap();
    let count = 50_000;
    let bytes: Vec<u8> = (0..count)
        .flat_map(|n| {
            let mut line = serde_json::to_vec(&receipt(&receipts, n)).unwrap();
            line.push(b'\n');
            line
        })
        .collect();
    assert!(bytes.len() > 8 * 1024 * 1024, "{}", bytes.len());
    disk.put(&dir().join(RECEIPTS_FILE), &bytes);
    let mut receipts = open(&disk).unwrap();
    let listed = receipts.list().unwrap();
    assert_eq!((listed.len(), &listed[MAX_RECEIPTS - 1]), (MAX_RECEIPTS, &receipt(&receipts, count - 1)));
    receipts.append(&receipt(&receipts, count)).unwrap();
    assert_eq!(receipts.list().unwrap().last(), Some(&receipt(&receipts, count)));
    assert!(disk.bytes(&dir().join(RECEIPTS_FILE)).starts_with(&bytes));
}

#[test]
fn a_power_loss_at_any_call_loses_no_receipt_that_was_given() {
    let mut deaths = 0;
    for nth in 1.. {
        let disk = SimDisk::default();
        disk.die(nth, (nth * 31) % 150);
        let mut given = Vec::new();
        if let Ok(mut receipts) = open(&disk) {
            for n in 0..4 {
                let next = receipt(&receipts, n);
                match receipts.append(&next) {
                    Ok(()) => given.push(next),
                    Err(_) => break,
                }
            }
        }
        if !disk.is_dead() {
            break;
        }
        deaths += 1;
        for seed in 0..20 {
            let lost = if seed == 0 { disk.after_kill() } else { disk.after_power_loss(seed) };
            let mut receipts = open(&lost).unwrap_or_else(|error| panic!("call {nth}, seed {seed}: {error}"));
            let found = receipts.list().unwrap();
            assert!(found.starts_with(&given) && found.len() <= given.len() + 1, "call {nth}, seed {seed}");
            if let Some(last) = given.last() {
                assert_eq!(receipt(&receipts, given.len() as u64 - 1), *last, "call {nth}, seed {seed}: the key");
            }
            let next = receipt(&receipts, 9);
            receipts.append(&next).unwrap();
            drop(receipts);
            assert_eq!(open(&lost).unwrap().list().unwrap(), [found, vec![next]].concat(), "call {nth}, seed {seed}");
        }
    }
    assert!(deaths > 10, "{deaths}");
}

#[test]
fn a_full_disk_passes_and_a_failed_sync_does_not() {
    let disk = SimDisk::default();
    let mut receipts = open(&disk).unwrap();
    for (nth, call) in [Call::Create, Call::Append, Call::Append].into_iter().enumerate() {
        disk.fail(Fault { call: Some(call), kind: ErrorKind::StorageFull, written: 20 }, 1);
        let error = receipts.append(&receipt(&receipts, nth as u64)).unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
        receipts.append(&receipt(&receipts, nth as u64)).unwrap();
        assert_eq!(receipts.list().unwrap().len(), nth + 1);
    }
    disk.fail(Fault { call: Some(Call::SyncFile), kind: ErrorKind::Other, written: 0 }, 1);
    let error = receipts.append(&receipt(&receipts, 7)).unwrap_err();
    assert!(matches!(error, StoreError::Write { fate: Fate::Unknown, .. }), "{error}");
    let refused = receipts.append(&receipt(&receipts, 8)).unwrap_err();
    assert!(matches!(refused, StoreError::Poisoned { .. }), "{refused}");
}
