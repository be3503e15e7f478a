//! Writing a snapshot: rows come in any order of sections, and every chunk is written as soon as it is whole.
//!
//! **Bound**: of each section and source of rows at most one chunk waits for its end.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use etalage_model::codec;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{
    SnapshotError,
    chunk::{Cut, Cutter, DEFAULT_CHUNK_BYTES, MAX_ROW_BYTES, check, name_of, pack},
    manifest::{Chunk, Manifest, Section},
    place::Place,
};

/// Which section rows belong to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SectionName {
    /// The part of the pipeline.
    pub part: String,
    /// The operator.
    pub name: String,
}

/// Chunks that were written or read by this process and were whole: they are not read again before they are used by
/// one more snapshot. Clones share it.
#[derive(Clone, Default)]
pub struct Checked(Arc<Mutex<HashSet<String>>>);

/// A snapshot in the making. Dropped before [`Writer::finish`], it leaves chunks that the next one uses or that
/// [`super::prune`] removes.
pub struct Writer {
    place: Place,
    /// Chunks that are there, by name.
    known: HashMap<String, u64>,
    checked: Checked,
    sections: BTreeMap<SectionName, Vec<Chunk>>,
    /// By section, and by who exports rows of it.
    open: BTreeMap<(SectionName, usize), Cutter>,
    new_chunks: u64,
    new_bytes: u64,
}

/// A snapshot that was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// What it is made of.
    pub manifest: Manifest,
    /// How many chunks had to be written.
    pub new_chunks: u64,
    /// The length of their files.
    pub new_bytes: u64,
}

impl Writer {
    /// Begins a snapshot.
    ///
    /// # Errors
    /// Where the place cannot be listed.
    pub fn begin(place: &Place, checked: &Checked) -> Result<Writer, SnapshotError> {
        let known = place.chunks()?.into_iter().map(|file| (file.name, file.bytes)).collect();
        let (place, checked) = (place.clone(), checked.clone());
        let (sections, open) = (BTreeMap::new(), BTreeMap::new());
        Ok(Writer { place, known, checked, sections, open, new_chunks: 0, new_bytes: 0 })
    }

    /// Takes rows of a section from one of those who export it, each behind its length.
    ///
    /// # Errors
    /// Where a chunk cannot be written, or the rows end within one.
    pub fn add(&mut self, section: &SectionName, from: usize, rows: &[u8]) -> Result<(), SnapshotError> {
        let key = (section.clone(), from);
        let mut cutter = self.open.remove(&key).unwrap_or_else(|| Cutter::new(DEFAULT_CHUNK_BYTES));
        for row in codec::framed(rows) {
            let row = row.filter(|row| row.len() <= MAX_ROW_BYTES);
            let row = row.ok_or(SnapshotError::RowTooLong { limit: MAX_ROW_BYTES as u64 })?;
            if let Some(cut) = cutter.add(row) {
                self.write(section, cut)?;
            }
        }
        self.open.insert(key, cutter);
        Ok(())
    }

    fn write(&mut self, section: &SectionName, Cut { rows, bytes }: Cut) -> Result<(), SnapshotError> {
        let name = name_of(&bytes);
        let stored_bytes = match self.whole(&name)? {
            Some(stored_bytes) => stored_bytes,
            None => {
                let path = self.place.chunk(&name);
                let file = pack(&bytes).map_err(|error| SnapshotError::Io {
                    action: "compress",
                    path: self.place.shown(&path),
                    error: error.into(),
                })?;
                let stored_bytes = file.len() as u64;
                self.place.put(&path, file)?;
                (self.new_chunks, self.new_bytes) = (self.new_chunks + 1, self.new_bytes + stored_bytes);
                self.known.insert(name.clone(), stored_bytes);
                self.checked.0.lock().insert(name.clone());
                stored_bytes
            }
        };
        let chunk = Chunk { name, rows, bytes: bytes.len() as u64, stored_bytes };
        self.sections.entry(section.clone()).or_default().push(chunk);
        Ok(())
    }

    /// The length of a chunk that is there and whole. One that is damaged is written again.
    fn whole(&self, name: &str) -> Result<Option<u64>, SnapshotError> {
        let Some(stored_bytes) = self.known.get(name).copied() else { return Ok(None) };
        if self.checked.0.lock().contains(name) {
            return Ok(Some(stored_bytes));
        }
        let file = self.place.get(&self.place.chunk(name))?;
        let is_whole = file.is_some_and(|file| check(&file).is_ok());
        if is_whole {
            self.checked.0.lock().insert(name.to_owned());
        }
        Ok(is_whole.then_some(stored_bytes))
    }

    /// Writes what is left, and the manifest, which makes it count; `head` has everything but the sections.
    ///
    /// # Errors
    /// Where something cannot be written: then there is no snapshot.
    pub fn finish(mut self, head: Manifest) -> Result<Written, SnapshotError> {
        for ((section, _), cutter) in std::mem::take(&mut self.open) {
            if let Some(cut) = cutter.finish() {
                self.write(&section, cut)?;
            }
        }
        let section = |(SectionName { part, name }, chunks)| Section { part, name, chunks };
        let manifest = Manifest { sections: self.sections.into_iter().map(section).collect(), ..head };
        let path = self.place.manifest(manifest.tick);
        self.new_bytes += manifest.to_file().len() as u64;
        self.place.put(&path, manifest.to_file())?;
        Ok(Written { manifest, new_chunks: self.new_chunks, new_bytes: self.new_bytes })
    }
}
