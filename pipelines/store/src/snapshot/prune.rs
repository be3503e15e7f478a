//! Which snapshots are kept, and what goes with those that are not.

use std::collections::HashSet;

use etalage_model::Tick;

use super::{
    SnapshotError,
    place::Place,
    reader::{Listed, list},
};

/// So many of the newest snapshots that are whole always stay: where one turns out damaged, the one before it
/// takes its place.
pub const MIN_KEPT: usize = 2;

/// Which snapshots are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// At least so many of the newest, and never fewer than [`MIN_KEPT`].
    pub newest: usize,
    /// Older ones for so long.
    pub for_us: u64,
    /// Older ones as long as all that are kept have no more bytes together than this.
    pub max_bytes: u64,
}

/// What was removed, and what is left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Snapshots that are gone.
    pub snapshots: u64,
    /// Chunks that are gone.
    pub chunks: u64,
    /// The tick of the oldest snapshot that is left.
    pub oldest: Option<Tick>,
    /// Bytes of all chunks that are left.
    pub bytes: u64,
}

/// Removes the snapshots that `kept` does not keep at `now`, and chunks that belong to none.
///
/// # Errors
/// Where the place cannot be read or written: what is left is whole.
pub fn prune(place: &Place, kept: Kept, now: Tick) -> Result<Pruned, SnapshotError> {
    let (mut stays, mut whole, mut chunks, mut bytes) = (Vec::new(), 0, HashSet::new(), 0);
    let listed = list(place)?;
    for Listed { tick, manifest } in listed.iter().rev() {
        // One that is damaged is no use; it goes when enough newer ones are there.
        let Ok(manifest) = manifest else {
            if whole < MIN_KEPT {
                stays.push(*tick);
            }
            continue;
        };
        let mut more: Vec<_> = manifest.chunks().filter(|chunk| !chunks.contains(&chunk.name)).collect();
        more.dedup_by(|a, b| a.name == b.name);
        let more_bytes: u64 = more.iter().map(|chunk| chunk.stored_bytes).sum();
        let is_young = now.saturating_sub(*tick) <= kept.for_us && bytes + more_bytes <= kept.max_bytes;
        if whole < kept.newest.max(MIN_KEPT) || is_young {
            whole += 1;
            chunks.extend(more.into_iter().map(|chunk| chunk.name.clone()));
            bytes += more_bytes;
            stays.push(*tick);
        }
    }
    remove(place, &listed, &stays, &chunks)
}

/// Removes all snapshots: what they hold is to be forgotten.
///
/// # Errors
/// Where the place cannot be read or written.
pub fn remove_all(place: &Place) -> Result<Pruned, SnapshotError> {
    remove(place, &list(place)?, &[], &HashSet::new())
}

/// Removes the snapshots of these ticks; their chunks go when old ones are removed.
///
/// # Errors
/// Where the place cannot be written.
pub fn forget(place: &Place, ticks: &[Tick]) -> Result<(), SnapshotError> {
    ticks.iter().try_for_each(|tick| place.remove(&place.manifest(*tick)))
}

/// Removes those that hold more than the frames before number `next_frame` of the log.
///
/// # Errors
/// As [`remove_all`].
pub fn remove_beyond(place: &Place, next_frame: u64) -> Result<Pruned, SnapshotError> {
    let (listed, mut stays, mut chunks) = (list(place)?, Vec::new(), HashSet::new());
    for Listed { tick, manifest } in &listed {
        let Ok(manifest) = manifest else { continue };
        if manifest.log.next_frame <= next_frame {
            stays.push(*tick);
            chunks.extend(manifest.chunks().map(|chunk| chunk.name.clone()));
        }
    }
    remove(place, &listed, &stays, &chunks)
}

/// Manifests first: one that is there has all its chunks.
fn remove(place: &Place, listed: &[Listed], stays: &[Tick], chunks: &HashSet<String>) -> Result<Pruned, SnapshotError> {
    let mut pruned = Pruned { oldest: stays.iter().min().copied(), ..Pruned::default() };
    for Listed { tick, .. } in listed.iter().filter(|listed| !stays.contains(&listed.tick)) {
        place.remove(&place.manifest(*tick))?;
        pruned.snapshots += 1;
    }
    for file in place.chunks()? {
        if chunks.contains(&file.name) {
            pruned.bytes += file.bytes;
        } else {
            place.remove(&place.chunk(&file.name))?;
            pruned.chunks += 1;
        }
    }
    place.sweep()?;
    Ok(pruned)
}
