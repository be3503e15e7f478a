//! The commit point of a rewritten log.
//!
//! A log is rewritten beside itself: each segment that changes is written whole under the name that
//! [`beside`] gives, and synced. The manifest then lists all segments with the heads that they shall
//! have; it gets its name in one step, and from there on the new log is the log. What is left to do,
//! renames and heads written over, can be done again as often as it takes, and ends with the removal
//! of the manifest:
//!
//! ```text
//!   segments beside, synced ── rewrite.new, synced ── renamed to rewrite.commit ── apply ── removed
//!   '------------- a crash here: the old log -------'-- a crash here: the new log -----------------'
//! ```
//!
//! ```text
//! rewrite.commit: 0 magic "rewrite"   7 version   8 count u64   16 entries   then crc32 of all before
//! entry: 0 whether the segment was written anew, u8   1 head of the segment, 64 bytes
//! ```

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    StoreError,
    disk::Disk,
    format::{BadHead, SEGMENT_HEAD_BYTES, SegmentHead, segment_name, segment_seq},
};

/// The manifest's name once it counts.
pub(crate) const MANIFEST_FILE: &str = "rewrite.commit";
/// Its name in the making.
const NEW_MANIFEST_FILE: &str = "rewrite.new";
/// Ends the name of a segment that was written anew and has not yet taken its place.
const BESIDE: &str = ".new";

const MAGIC: [u8; 7] = *b"rewrite";
const VERSION: u8 = 1;
const START_BYTES: usize = 16;
const ENTRY_BYTES: usize = 1 + SEGMENT_HEAD_BYTES;
const CRC_BYTES: usize = 4;

/// All segments of a rewritten log, in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) entries: Vec<Entry>,
}

/// One segment of a rewritten log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Whether it was written anew; otherwise its frames stay, and its head may change.
    pub(crate) is_rewritten: bool,
    pub(crate) head: SegmentHead,
}

/// A file call that failed.
pub(crate) struct Failed {
    pub(crate) action: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) error: io::Error,
}

impl Failed {
    pub(crate) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failed {
        let path = path.to_path_buf();
        move |error| Failed { action, path, error }
    }
}

impl From<Failed> for StoreError {
    fn from(Failed { action, path, error }: Failed) -> StoreError {
        StoreError::Io { action, path, error }
    }
}

impl Manifest {
    /// The manifest in `dir`, where one counts.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Manifest>, StoreError> {
        let path = dir.join(MANIFEST_FILE);
        let file = match disk.open_to_read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(StoreError::io("open", &path))?,
        };
        let bytes = file.size().map_err(StoreError::io("read", &path))?;
        let mut buffer = vec![0; bytes as usize];
        file.read_at(0, &mut buffer).map_err(StoreError::io("read", &path))?;
        match Manifest::from_bytes(&buffer) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(BadHead::Newer(found)) => Err(StoreError::NewerFormat { path, found, known: VERSION }),
            Err(BadHead::Broken(what)) => Err(StoreError::Corrupt { path, offset: 0, what: what.to_owned() }),
        }
    }

    /// Writes the manifest under the name that does not count yet.
    pub(crate) fn prepare(&self, disk: &dyn Disk, dir: &Path) -> Result<(), Failed> {
        let path = dir.join(NEW_MANIFEST_FILE);
        let mut file = disk.create(&path).map_err(Failed::at("create", &path))?;
        file.append(&self.to_bytes()).map_err(Failed::at("write", &path))
    }

    /// Makes it count. All files that it speaks of are synced; here it is itself, then all names are,
    /// then it gets its own.
    pub(crate) fn sync(disk: &dyn Disk, dir: &Path) -> Result<(), Failed> {
        let path = dir.join(NEW_MANIFEST_FILE);
        let file = disk.open_to_read(&path).map_err(Failed::at("open", &path))?;
        file.sync_data().map_err(Failed::at("sync", &path))?;
        disk.sync_folder(dir).map_err(Failed::at("sync", dir))
    }

    /// The commit point.
    pub(crate) fn commit(disk: &dyn Disk, dir: &Path) -> Result<(), Failed> {
        let path = dir.join(MANIFEST_FILE);
        disk.rename(&dir.join(NEW_MANIFEST_FILE), &path).map_err(Failed::at("rename to", &path))?;
        disk.sync_folder(dir).map_err(Failed::at("sync", dir))
    }

    /// Brings all segments to what the manifest says, durably, and removes it. A segment that has its
    /// new head is done already.
    pub(crate) fn apply(&self, disk: &dyn Disk, dir: &Path) -> Result<(), Failed> {
        for Entry { is_rewritten, head } in &self.entries {
            let (path, head) = (dir.join(segment_name(head.first_seq)), head.to_bytes());
            let mut found = [0; SEGMENT_HEAD_BYTES];
            let file = disk.open_to_read(&path).map_err(Failed::at("open", &path))?;
            file.read_at(0, &mut found).map_err(Failed::at("read", &path))?;
            if found == head {
                // Whoever wrote it may have died before it was on the device.
                file.sync_data().map_err(Failed::at("sync", &path))?;
                continue;
            }
            match is_rewritten {
                true => disk.rename(&beside(&path), &path).map_err(Failed::at("rename to", &path))?,
                false => disk.overwrite_start(&path, &head).map_err(Failed::at("write the head of", &path))?,
            }
        }
        // The names first: without them the manifest is still needed.
        disk.sync_folder(dir).map_err(Failed::at("sync", dir))?;
        let path = dir.join(MANIFEST_FILE);
        disk.remove(&path).map_err(Failed::at("remove", &path))?;
        disk.sync_folder(dir).map_err(Failed::at("sync", dir))
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(START_BYTES + self.entries.len() * ENTRY_BYTES + CRC_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&(self.entries.len() as u64).to_le_bytes());
        for Entry { is_rewritten, head } in &self.entries {
            bytes.push(u8::from(*is_rewritten));
            bytes.extend_from_slice(&head.to_bytes());
        }
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Manifest, BadHead> {
        const SHORT: BadHead = BadHead::Broken("it is no whole manifest of a rewritten log");
        let Some((start, _)) = bytes.split_first_chunk::<START_BYTES>() else { return Err(SHORT) };
        if start[..7] != MAGIC {
            return Err(SHORT);
        }
        // Before the checksum: a later version may place it elsewhere.
        if start[7] > VERSION {
            return Err(BadHead::Newer(start[7]));
        }
        let Some((body, crc)) = bytes.split_last_chunk::<CRC_BYTES>() else { return Err(SHORT) };
        if crc32fast::hash(body).to_le_bytes() != *crc {
            return Err(BadHead::Broken("the checksum of the manifest does not match"));
        }
        let (entries, rest) = body.get(START_BYTES..).ok_or(SHORT)?.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() || start[8..] != (entries.len() as u64).to_le_bytes() {
            return Err(SHORT);
        }
        let entries = entries.iter().map(|entry| {
            let mut head = [0; SEGMENT_HEAD_BYTES];
            head.copy_from_slice(&entry[1..]);
            Ok(Entry { is_rewritten: entry[0] == 1, head: SegmentHead::read(&head)? })
        });
        Ok(Manifest { entries: entries.collect::<Result<_, BadHead>>()? })
    }
}

/// Where the segment `path` is written anew.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(BESIDE);
    name.into()
}

/// Brings a log whose rewriting was cut short into one state: to its end where it was committed, back
/// to its beginning where it was not. For whoever holds the lock.
pub(crate) fn finish(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    if let Some(manifest) = Manifest::read(disk, dir)? {
        tracing::warn!(folder = %dir.display(), "the log was being rewritten when it was last closed: this is finished now");
        // Whoever committed it may have died before its name was on the device: without it what follows is no log.
        disk.sync_folder(dir).map_err(StoreError::io("sync", dir))?;
        manifest.apply(disk, dir)?;
    }
    Ok(discard(disk, dir)?)
}

/// Removes what a rewriting that was not committed, or is finished, left behind.
pub(crate) fn discard(disk: &dyn Disk, dir: &Path) -> Result<(), Failed> {
    for name in disk.names(dir).map_err(Failed::at("list", dir))? {
        let is_ours = name == NEW_MANIFEST_FILE || name.strip_suffix(BESIDE).and_then(segment_seq).is_some();
        if is_ours {
            let path = dir.join(name);
            disk.remove(&path).map_err(Failed::at("remove", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let head = |first_seq| SegmentHead {
            version: crate::FORMAT_VERSION,
            epoch: 5,
            first_seq,
            records_before: first_seq * 3,
            tick_before: 9,
            previous_seq: 0,
            previous_bytes: 1_000,
            salt: 77,
        };
        let entry = |first_seq, is_rewritten| Entry { is_rewritten, head: head(first_seq) };
        Manifest { entries: vec![entry(0, true), entry(4, false), entry(9, true)] }
    }

    #[test]
    fn a_manifest_comes_back_and_every_flipped_bit_or_missing_byte_is_seen() {
        let bytes = manifest().to_bytes();
        assert!(Manifest::from_bytes(&bytes).is_ok_and(|read| read == manifest()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::from_bytes(&flipped).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(Manifest::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
        }
        let mut newer = bytes;
        newer[7] = 2;
        assert!(matches!(Manifest::from_bytes(&newer), Err(BadHead::Newer(2))));
    }

    #[test]
    fn a_segment_in_waiting_is_not_taken_for_one() {
        let path = Path::new("/store").join(segment_name(42));
        assert_eq!(beside(&path), Path::new("/store/log-00000000000000000042.seg.new"));
    }
}
