//! Reading snapshots. All chunks are read and checked before the first row is used, so that a damaged snapshot is
//! known before anything was made of it.
//!
//! **Bound**: a snapshot that is read holds its chunks compressed.

use std::collections::HashMap;

use bytes::Bytes;
use etalage_model::Tick;

use super::{
    SnapshotError,
    chunk::{check, unpack},
    manifest::{Chunk, Manifest},
    place::Place,
};

/// A snapshot that was found.
#[derive(Debug)]
pub struct Listed {
    /// Its tick.
    pub tick: Tick,
    /// What it is made of, or what is wrong with its manifest.
    pub manifest: Result<Manifest, SnapshotError>,
}

/// A snapshot that was read, and whose checksums match.
pub struct Snapshot {
    /// What it is made of.
    pub manifest: Manifest,
    place: Place,
    files: HashMap<String, Bytes>,
}

/// All snapshots, oldest first.
///
/// # Errors
/// Where the place cannot be read.
pub fn list(place: &Place) -> Result<Vec<Listed>, SnapshotError> {
    place
        .manifests()?
        .into_iter()
        .map(|tick| match manifest(place, tick) {
            Err(error) if !error.is_about_one() => Err(error),
            manifest => Ok(Listed { tick, manifest }),
        })
        .collect()
}

/// The manifest of the snapshot as of `tick`.
fn manifest(place: &Place, tick: Tick) -> Result<Manifest, SnapshotError> {
    let path = place.manifest(tick);
    let file = place.get(&path)?;
    let file = file.ok_or_else(|| SnapshotError::damaged(&place.shown(&path), "it is not there"))?;
    let manifest = Manifest::from_file(&place.shown(&path), &file)?;
    match manifest.tick == tick {
        true => Ok(manifest),
        false => Err(SnapshotError::damaged(&place.shown(&path), format!("it is of tick {}", manifest.tick))),
    }
}

/// Reads and checks the snapshot as of `tick`.
///
/// # Errors
/// [`SnapshotError::Damaged`] names what does not check out.
pub fn load(place: &Place, tick: Tick) -> Result<Snapshot, SnapshotError> {
    let manifest = manifest(place, tick)?;
    let mut files = HashMap::new();
    for chunk in manifest.chunks() {
        if files.contains_key(&chunk.name) {
            continue;
        }
        let path = place.chunk(&chunk.name);
        let shown = place.shown(&path);
        let file = place.get(&path)?.ok_or_else(|| SnapshotError::damaged(&shown, "it is not there"))?;
        check(&file).map_err(|what| SnapshotError::damaged(&shown, what))?;
        files.insert(chunk.name.clone(), file);
    }
    Ok(Snapshot { manifest, place: place.clone(), files })
}

impl Snapshot {
    /// The rows of one of its chunks.
    ///
    /// # Errors
    /// Where they are not those that its name says.
    pub fn rows(&self, chunk: &Chunk) -> Result<Vec<u8>, SnapshotError> {
        let shown = self.place.shown(&self.place.chunk(&chunk.name));
        let file = self.files.get(&chunk.name).ok_or_else(|| SnapshotError::damaged(&shown, "it is not there"))?;
        unpack(&shown, &chunk.name, file, chunk.bytes)
    }

    /// Checks everything: that the rows of each chunk are those that its name says.
    ///
    /// # Errors
    /// The first that are not.
    pub fn verify(&self) -> Result<(), SnapshotError> {
        self.manifest.chunks().try_for_each(|chunk| self.rows(chunk).map(|_| ()))
    }
}
