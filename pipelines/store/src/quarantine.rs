//! The quarantine: what was refused, with its reason and its first bytes, for somebody to look
//! at. One redb file beside the log.
//!
//! **Durable**: each [`Quarantine::add`] is one commit that survives a power loss, in either mode
//! of the log; so callers add in batches. **Bound**: the newest
//! [`QuarantineOptions::max_records`]; older ones are dropped and counted. **Erasure**: what redb
//! frees stays in its file, so [`Quarantine::rewrite`] makes a new one.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use etalage_model::{Quarantined, codec};
use parking_lot::RwLock;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    backends::InMemoryBackend,
};

use crate::StoreError;

mod rewrite;

/// The file's name in its folder.
pub const QUARANTINE_FILE: &str = "quarantine.redb";

/// The default of [`QuarantineOptions::max_records`].
pub const DEFAULT_MAX_RECORDS: u64 = 100_000;

/// The default of [`QuarantineOptions::max_raw_bytes`].
pub const DEFAULT_MAX_RAW_BYTES: usize = 4_096;

/// The most records that one [`Quarantine::list`] gives.
pub const MAX_LIST: usize = 10_000;

/// Memory for pages of the file; redb's own default is a gigabyte.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
/// The version of the tables, and the newest that is read.
const FORMAT_VERSION: u8 = 1;
const FORMAT: &str = "format";
const NEXT: &str = "next";
const DROPPED: &str = "dropped";

/// How much a [`Quarantine`] keeps.
#[derive(Clone, Copy, Debug)]
pub struct QuarantineOptions {
    /// The most records; at least 1.
    pub max_records: u64,
    /// The most bytes of what was sent that are kept of each.
    pub max_raw_bytes: usize,
}

impl Default for QuarantineOptions {
    fn default() -> QuarantineOptions {
        QuarantineOptions { max_records: DEFAULT_MAX_RECORDS, max_raw_bytes: DEFAULT_MAX_RAW_BYTES }
    }
}

/// The quarantine of one store; shared between threads by reference.
pub struct Quarantine {
    /// Whoever writes holds it upgradably, one at a time; readers go on beside, up to the moment in which
    /// a rewritten file takes the place of the one before.
    database: RwLock<Database>,
    path: PathBuf,
    options: QuarantineOptions,
}

impl Quarantine {
    /// Opens the quarantine in the folder `dir`, which must exist; creates it where there is
    /// none. Checks every page of the file.
    ///
    /// # Errors
    /// [`StoreError::Locked`] where another process has it, [`StoreError::NewerFormat`], and
    /// [`StoreError::Quarantine`] where the file is damaged or is something else.
    pub fn open(dir: &Path, options: QuarantineOptions) -> Result<Quarantine, StoreError> {
        let path = dir.join(QUARANTINE_FILE);
        let opened = if path.exists() { create(&path) } else { rewrite::begin(&path) };
        let database = match opened {
            Ok(database) => database,
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(StoreError::Locked { path: dir.to_path_buf() }),
            Err(error) => return Err(broken(&path, error)),
        };
        let options = QuarantineOptions { max_records: options.max_records.max(1), ..options };
        // Only now: before, the file may be another process's.
        rewrite::discard(&path)?;
        let quarantine = Quarantine { database: RwLock::new(database), path, options };
        let found = quarantine.prepare().map_err(|error| broken(&quarantine.path, error))?;
        if found > u64::from(FORMAT_VERSION) {
            let found = u8::try_from(found).unwrap_or(u8::MAX);
            return Err(StoreError::NewerFormat { path: quarantine.path, found, known: FORMAT_VERSION });
        }
        Ok(quarantine)
    }

    /// A quarantine that is gone with the process, for tests.
    ///
    /// # Errors
    /// As [`Quarantine::open`].
    pub fn in_memory(options: QuarantineOptions) -> Result<Quarantine, StoreError> {
        let path = PathBuf::from("memory");
        let database = Builder::new().create_with_backend(InMemoryBackend::new());
        let database = RwLock::new(database.map_err(|error| broken(&path, error))?);
        let options = QuarantineOptions { max_records: options.max_records.max(1), ..options };
        let quarantine = Quarantine { database, path, options };
        quarantine.prepare().map_err(|error| broken(&quarantine.path, error))?;
        Ok(quarantine)
    }

    /// Stores `records` in one commit, numbers them in their order (`seq` as given is not
    /// looked at), and cuts what was sent to the configured length. Gives the numbers.
    ///
    /// # Errors
    /// [`StoreError::Quarantine`]; whether the records are stored is then unknown.
    pub fn add(&self, records: Vec<Quarantined>) -> Result<Range<u64>, StoreError> {
        let mut encoded = Vec::with_capacity(records.len());
        for mut record in records {
            record.raw_bytes = record.raw_bytes.max(record.raw.len() as u64);
            record.raw.truncate(self.options.max_raw_bytes);
            encoded.push(codec::encode(&record)?);
        }
        self.commit(&encoded).map_err(|error| broken(&self.path, error))
    }

    /// The records after number `after`, oldest first, at most `limit` of them and at most
    /// [`MAX_LIST`].
    ///
    /// # Errors
    /// [`StoreError::Quarantine`] where the file cannot be read.
    pub fn list(&self, after: u64, limit: usize) -> Result<Vec<Quarantined>, StoreError> {
        let mut found = Vec::new();
        let Some(from) = after.checked_add(1) else { return Ok(found) };
        let read = || -> Result<Vec<(u64, Vec<u8>)>, redb::Error> {
            let database = self.database.read();
            let table = database.begin_read()?.open_table(RECORDS)?;
            let mut rows = Vec::new();
            for row in table.range(from..)?.take(limit.min(MAX_LIST)) {
                let (seq, bytes) = row?;
                rows.push((seq.value(), bytes.value().to_vec()));
            }
            Ok(rows)
        };
        for (seq, bytes) in read().map_err(|error| broken(&self.path, error))? {
            found.push(Quarantined { seq, ..codec::decode(&bytes)? });
        }
        Ok(found)
    }

    /// The greatest number that was given; 0 before the first.
    ///
    /// # Errors
    /// As [`Quarantine::list`].
    pub fn newest(&self) -> Result<u64, StoreError> {
        let read = || -> Result<u64, redb::Error> {
            let database = self.database.read();
            let counters = database.begin_read()?.open_table(COUNTERS)?;
            let next = counters.get(NEXT)?;
            Ok(next.map_or(0, |next| next.value().saturating_sub(1)))
        };
        read().map_err(|error| broken(&self.path, error))
    }

    /// The record with number `seq`, where it is still there.
    ///
    /// # Errors
    /// As [`Quarantine::list`].
    pub fn get(&self, seq: u64) -> Result<Option<Quarantined>, StoreError> {
        let Some(before) = seq.checked_sub(1) else { return Ok(None) };
        Ok(self.list(before, 1)?.pop().filter(|record| record.seq == seq))
    }

    /// Removes records: they are done with. What they held may stay in the file until it is written anew.
    ///
    /// # Errors
    /// As [`Quarantine::add`].
    pub fn remove(&self, numbers: &[u64]) -> Result<(), StoreError> {
        let remove = || -> Result<(), redb::Error> {
            let database = self.database.upgradable_read();
            let transaction = database.begin_write()?;
            {
                let mut rows = transaction.open_table(RECORDS)?;
                for number in numbers {
                    rows.remove(number)?;
                }
            }
            transaction.commit()?;
            Ok(())
        };
        remove().map_err(|error| broken(&self.path, error))
    }

    /// How many records there are.
    ///
    /// # Errors
    /// As [`Quarantine::list`].
    pub fn len(&self) -> Result<u64, StoreError> {
        let read = || -> Result<u64, redb::Error> {
            let database = self.database.read();
            Ok(database.begin_read()?.open_table(RECORDS)?.len()?)
        };
        read().map_err(|error| broken(&self.path, error))
    }

    /// True where there are none.
    ///
    /// # Errors
    /// As [`Quarantine::list`].
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.len()? == 0)
    }

    /// How many were dropped, since the quarantine was created, to stay within `max_records`.
    ///
    /// # Errors
    /// As [`Quarantine::list`].
    pub fn dropped(&self) -> Result<u64, StoreError> {
        let read = || -> Result<u64, redb::Error> {
            let database = self.database.read();
            let counters = database.begin_read()?.open_table(COUNTERS)?;
            let dropped = counters.get(DROPPED)?;
            Ok(dropped.map_or(0, |count| count.value()))
        };
        read().map_err(|error| broken(&self.path, error))
    }

    /// Numbers are given within the transaction, of which redb runs one at a time; the number is
    /// the key and is not looked at in the stored value.
    fn commit(&self, encoded: &[Vec<u8>]) -> Result<Range<u64>, redb::Error> {
        let database = self.database.upgradable_read();
        let transaction = database.begin_write()?;
        let numbers = {
            let mut rows = transaction.open_table(RECORDS)?;
            let mut counters = transaction.open_table(COUNTERS)?;
            let first = counters.get(NEXT)?.map_or(1, |next| next.value());
            let mut dropped = counters.get(DROPPED)?.map_or(0, |count| count.value());
            let numbers = first..first + encoded.len() as u64;
            for (seq, bytes) in numbers.clone().zip(encoded) {
                rows.insert(seq, bytes.as_slice())?;
            }
            while rows.len()? > self.options.max_records {
                rows.pop_first()?;
                dropped += 1;
            }
            counters.insert(NEXT, numbers.end)?;
            counters.insert(DROPPED, dropped)?;
            numbers
        };
        transaction.commit()?;
        Ok(numbers)
    }

    /// Makes the tables of a new file; the format version of the file.
    fn prepare(&self) -> Result<u64, redb::Error> {
        let database = self.database.upgradable_read();
        let transaction = database.begin_write()?;
        let found = {
            transaction.open_table(RECORDS)?;
            let mut counters = transaction.open_table(COUNTERS)?;
            let found = counters.get(FORMAT)?.map(|version| version.value());
            match found {
                Some(version) => version,
                None => {
                    counters.insert(FORMAT, u64::from(FORMAT_VERSION))?;
                    u64::from(FORMAT_VERSION)
                }
            }
        };
        transaction.commit()?;
        Ok(found)
    }
}

fn create(path: &Path) -> Result<Database, DatabaseError> {
    Builder::new().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).create(path)
}

fn broken(path: &Path, error: impl Into<redb::Error>) -> StoreError {
    StoreError::Quarantine { path: path.to_path_buf(), error: Box::new(error.into()) }
}
