//! Trimming: the log without its oldest segments, once snapshots hold what was in them.
//!
//! The head of the first segment that stays is written over, so that it says that nothing comes before it; in one step,
//! as a rewriting is ([`manifest`](crate::manifest)). What lies before the newest such head does not belong to the log any
//! more, and is removed. Killed at any call, the next [`Log::open`] finds the old log or the new one.

use super::Log;
use crate::{
    Fate, StoreError,
    disk::Disk,
    format::{FORMAT_VERSION, SegmentHead, segment_seq},
    manifest::{Entry, Failed, Manifest},
    segment::segments,
};
use std::path::Path;

impl Log {
    /// Removes the segments of which every frame lies before number `before`; how many those were.
    ///
    /// # Errors
    /// As [`Log::rewrite`].
    pub fn trim(&mut self, before: u64) -> Result<usize, StoreError> {
        self.check_writable()?;
        let mut staying = segments(&*self.disk, &self.dir)?;
        let gone = staying.iter().rposition(|segment| segment.head.first_seq <= before).unwrap_or(0);
        // A head is written in the newest format alone.
        if gone == 0 || staying[gone].head.version < FORMAT_VERSION {
            return Ok(0);
        }
        staying.drain(..gone);
        let mut entries: Vec<Entry> =
            staying.iter().map(|segment| Entry { is_rewritten: false, head: segment.head }).collect();
        if let Some(first) = entries.first_mut() {
            first.head = SegmentHead { previous_seq: first.head.first_seq, previous_bytes: 0, ..first.head };
        }
        let (disk, dir) = (&*self.disk, &*self.dir);
        let manifest = Manifest { entries };
        if let Err(halt) = self.begin_anew(&manifest) {
            return Err(self.give_up(halt));
        }
        let committed = Manifest::commit(disk, dir).and_then(|()| manifest.apply(disk, dir));
        let removed = committed.and_then(|()| remove_before(disk, dir, manifest.entries[0].head.first_seq));
        removed.map_err(|Failed { action, path, error }| self.poisoned_at(action, path, Fate::Unknown, error))?;
        if let Some(Entry { head, .. }) = manifest.entries.last() {
            self.head = *head;
        }
        self.begins_at = manifest.entries[0].head.first_seq;
        Ok(gone)
    }

    /// The number of the first frame that is there: 0, unless the log was trimmed.
    pub fn begins_at(&self) -> u64 {
        self.begins_at
    }
}

/// Removes the segments that begin before frame `begin`: they do not belong to the log any more.
pub(super) fn remove_before(disk: &dyn Disk, dir: &Path, begin: u64) -> Result<(), Failed> {
    let mut removed = false;
    for name in disk.names(dir).map_err(Failed::at("list", dir))? {
        if segment_seq(&name).is_some_and(|seq| seq < begin) {
            let path = dir.join(name);
            disk.remove(&path).map_err(Failed::at("remove", &path))?;
            removed = true;
        }
    }
    if removed {
        disk.sync_folder(dir).map_err(Failed::at("sync", dir))?;
    }
    Ok(())
}
