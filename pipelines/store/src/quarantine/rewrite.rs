//! Rewriting the quarantine: a new file beside the one that is used, which takes its name in one step.
//!
//! **Whole**: killed at any point, the next [`Quarantine::open`] finds the old file or the new one, and
//! removes what lies beside. **Who waits**: [`Quarantine::add`] until it is done, readers for the moment
//! of the exchange. **Memory**: one record and the caches of two files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use etalage_model::{
    Quarantined,
    codec::{self, CodecError},
};
use parking_lot::RwLockUpgradableReadGuard;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError};

use super::{COUNTERS, Quarantine, RECORDS, broken, create};
use crate::{
    StoreError,
    disk::{Disk, RealDisk},
};

impl Quarantine {
    /// Drops every record that `keep` does not want; how many. It is asked once for each, oldest first.
    /// Numbers and counters stay. When this returns `Ok`, no byte of them is left in the file, durably,
    /// nor of any record that was dropped earlier to stay within `max_records`.
    ///
    /// # Errors
    /// [`StoreError::Full`], and an error of reading, leave the quarantine as it was. Otherwise it is
    /// unknown whether the new file or the old one is found at the next open.
    pub fn rewrite(&self, mut keep: impl FnMut(&Quarantined) -> bool) -> Result<u64, StoreError> {
        let old = self.database.upgradable_read();
        discard(&self.path)?;
        let beside = beside(&self.path);
        let (new, dropped) = match copy(&old, &self.path, &mut keep) {
            Ok(copied) => copied,
            Err(error) => {
                // What is left of it is removed at the next attempt too, or the next open.
                let _ = fs::remove_file(&beside);
                return Err(error);
            }
        };
        fs::rename(&beside, &self.path).map_err(|error| broken(&self.path, redb::Error::Io(error)))?;
        *RwLockUpgradableReadGuard::upgrade(old) = new;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        RealDisk.sync_folder(folder).map_err(|error| broken(&self.path, redb::Error::Io(error)))?;
        Ok(dropped)
    }
}

/// The first file: made beside its place, which it takes in one step, so that a process that is killed meanwhile
/// leaves nothing there.
pub(super) fn begin(path: &Path) -> Result<Database, DatabaseError> {
    let beside = beside(path);
    let database = match create(&beside) {
        // Somebody else begins it.
        Err(error @ DatabaseError::DatabaseAlreadyOpen) => return Err(error),
        Err(_) if beside.exists() => {
            fs::remove_file(&beside).map_err(StorageError::Io)?;
            create(&beside)?
        }
        created => created?,
    };
    fs::rename(&beside, path).map_err(StorageError::Io)?;
    RealDisk.sync_folder(path.parent().unwrap_or(Path::new("."))).map_err(StorageError::Io)?;
    Ok(database)
}

/// A new file beside that of `old`, with what is kept, durable; and how many records are not.
fn copy(
    old: &Database,
    path: &Path,
    keep: &mut dyn FnMut(&Quarantined) -> bool,
) -> Result<(Database, u64), StoreError> {
    let failed = |error: redb::Error| match error {
        redb::Error::Io(error) if crate::log::is_full(&error) => StoreError::Full { path: beside(path), error },
        other => broken(path, other),
    };
    let new = create(&beside(path)).map_err(|error| failed(error.into()))?;
    let dropped = transfer(old, &new, keep).map_err(failed)??;
    Ok((new, dropped))
}

/// Brings into the empty `new` in one commit what is kept of `old`, byte for byte.
fn transfer(
    old: &Database,
    new: &Database,
    keep: &mut dyn FnMut(&Quarantined) -> bool,
) -> Result<Result<u64, CodecError>, redb::Error> {
    let (reading, writing) = (old.begin_read()?, new.begin_write()?);
    let mut dropped = 0;
    {
        let mut records = writing.open_table(RECORDS)?;
        for row in reading.open_table(RECORDS)?.iter()? {
            let (seq, bytes) = row?;
            let mut record: Quarantined = match codec::decode(bytes.value()) {
                Ok(record) => record,
                Err(error) => return Ok(Err(error)),
            };
            record.seq = seq.value();
            match keep(&record) {
                true => drop(records.insert(seq.value(), bytes.value())?),
                false => dropped += 1,
            }
        }
        let mut counters = writing.open_table(COUNTERS)?;
        for row in reading.open_table(COUNTERS)?.iter()? {
            let (name, count) = row?;
            counters.insert(name.value(), count.value())?;
        }
    }
    writing.commit()?;
    Ok(Ok(dropped))
}

/// Where the quarantine is written anew.
fn beside(path: &Path) -> PathBuf {
    path.with_extension("redb.new")
}

/// Removes a new file that never took its place. For whoever has the quarantine open.
pub(super) fn discard(path: &Path) -> Result<(), StoreError> {
    let beside = beside(path);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", &beside)(error)),
        _ => Ok(()),
    }
}
