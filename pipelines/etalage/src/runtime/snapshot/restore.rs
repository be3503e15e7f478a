//! Which snapshot a restart begins with, and in which parts it is taken in.

use std::{mem::take, sync::Arc};

use etalage_model::{Group, Tick};
use etalage_store::snapshot::{Chunk, Listed, Place, Section, Snapshot, SnapshotError, forget, list, load};
use serde::{Deserialize, Serialize};

/// About how many bytes of rows are taken in at a time: what they make is made, in memory that is used again, while the
/// next ones are read. Three parts may be under way: one that is published, one that is made, one that is read.
pub const RESTORED_AT_ONCE_BYTES: u64 = 16 * 1024 * 1024;

/// A part of a snapshot that is taken in at one tick.
pub(in crate::runtime) struct RestoredPart {
    pub(in crate::runtime) snapshot: Arc<Snapshot>,
    /// The tick of the first part.
    pub(in crate::runtime) first: Tick,
    /// The tick of this one; that of the last is the snapshot's.
    pub(in crate::runtime) tick: Tick,
    /// Which chunks of which sections.
    places: Vec<(usize, usize)>,
}

/// A part of a snapshot, as it is told to a process that reads the snapshot itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::runtime) struct ToldPart {
    /// The tick of the snapshot.
    pub(in crate::runtime) snapshot: Tick,
    first: Tick,
    tick: Tick,
    places: Vec<(usize, usize)>,
}

impl ToldPart {
    /// The part of the snapshot of that tick, which must be the one that the head has read.
    pub(in crate::runtime) fn of(self, snapshot: Arc<Snapshot>) -> Result<RestoredPart, String> {
        let sections = &snapshot.manifest.sections;
        let has = |(section, chunk): &(usize, usize)| sections.get(*section).is_some_and(|of| *chunk < of.chunks.len());
        if !self.places.iter().all(has) {
            return Err("the snapshot here is another one than at process 0".to_owned());
        }
        Ok(RestoredPart { snapshot, first: self.first, tick: self.tick, places: self.places })
    }
}

impl RestoredPart {
    /// The same without the snapshot itself.
    pub(in crate::runtime) fn told(&self) -> ToldPart {
        let RestoredPart { snapshot, first, tick, places } = self;
        ToldPart { snapshot: snapshot.manifest.tick, first: *first, tick: *tick, places: places.clone() }
    }

    /// The chunks of one part of the pipeline, and the names of their sections.
    pub(in crate::runtime) fn chunks<'a>(&'a self, of: &'a str) -> impl Iterator<Item = (&'a str, &'a Chunk)> {
        let sections = &self.snapshot.manifest.sections;
        let places = self.places.iter().map(|(section, chunk)| (&sections[*section], *chunk));
        let places = places.filter(move |(section, _)| section.part == of);
        places.map(|(section, chunk)| (section.name.as_str(), &section.chunks[chunk]))
    }
}

/// The parts in which a snapshot is taken in, each of about so many bytes, in this order of sections: so what they make
/// at the end of each is consistent. No set holds an item of which the stock is not there yet.
pub(in crate::runtime) fn parts(
    snapshot: &Arc<Snapshot>,
    order: &[(Group, &str)],
    at_once_bytes: u64,
) -> Vec<RestoredPart> {
    let manifest = &snapshot.manifest;
    let find = |(group, name): &(Group, &str)| {
        let is_it = |section: &Section| section.part == group.name() && section.name == *name;
        manifest.sections.iter().position(is_it).map(|at| (at, &manifest.sections[at]))
    };
    let sections: Vec<_> = order.iter().filter_map(find).collect();
    let (mut parts, mut places, mut bytes) = (Vec::new(), Vec::new(), 0);
    for (section, chunks) in sections.iter().map(|(at, section)| (*at, &section.chunks)) {
        for (at, chunk) in chunks.iter().enumerate() {
            places.push((section, at));
            bytes += chunk.bytes;
            let has_ticks = (parts.len() as Tick) < manifest.tick;
            if bytes >= at_once_bytes && has_ticks {
                parts.push(take(&mut places));
                bytes = 0;
            }
        }
    }
    parts.push(places);
    let first = manifest.tick - (parts.len() as Tick - 1);
    let part = |(at, places)| RestoredPart { snapshot: Arc::clone(snapshot), first, tick: first + at, places };
    (0..).zip(parts).map(part).collect()
}

/// The newest snapshot of this store and these options that is whole, of the beginning of a log with these
/// `segments`, of which the next frame is `next_frame`. One that is damaged is passed over, with a
/// warning: the one before it takes its place, and more of the log is read. One that holds more than the log is removed
/// before the log goes on: later it could not be told from others.
///
/// # Errors
/// Where the place cannot be read.
pub(crate) fn newest(
    place: &Place,
    epoch: u64,
    options: &str,
    (segments, next_frame): (&[(u64, u32)], u64),
) -> Result<Option<Snapshot>, SnapshotError> {
    let mut beyond = Vec::new();
    for Listed { tick, manifest } in list(place)?.into_iter().rev() {
        let usable = manifest.and_then(|manifest| match () {
            () if manifest.epoch != epoch => {
                tracing::warn!(tick, "a snapshot belongs to another store; it is not used");
                Ok(None)
            }
            () if manifest.options != options => {
                tracing::warn!(tick, "a snapshot was taken with other options or by another version; it is not used");
                Ok(None)
            }
            () if !manifest.log.is_of(segments) => {
                tracing::warn!(tick, "a snapshot was taken before somebody was erased from the log; it is not used");
                Ok(None)
            }
            () if manifest.log.next_frame > next_frame => {
                tracing::warn!(tick, "a snapshot holds more than the log, of which the end was lost; it is not used");
                beyond.push(tick);
                Ok(None)
            }
            () => load(place, tick).map(Some),
        });
        match usable {
            Ok(Some(snapshot)) => {
                forget(place, &beyond)?;
                return Ok(Some(snapshot));
            }
            Ok(None) => {}
            Err(error) if error.is_about_one() => {
                tracing::warn!(%error, "a snapshot cannot be used; an older one, or the log, takes its place");
            }
            Err(error) => return Err(error),
        }
    }
    // Where the log was trimmed, nothing starts, and somebody may want them.
    if segments.first().is_none_or(|(first, _)| *first == 0) {
        forget(place, &beyond)?;
    }
    Ok(None)
}
