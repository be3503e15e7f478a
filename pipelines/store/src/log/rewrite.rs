//! Rewriting the log without some of its records, or with others in their place.
//!
//! **Whole**: killed at any call, the next [`Log::open`] finds the old log or the new one (see
//! [`manifest`](crate::manifest)). **Numbers stay**: each frame keeps number, tick and binding; one
//! whose records are all gone stays, empty. **Untouched** segments keep their files; of those behind a
//! rewritten one the head is written over, since it says what came before. **Memory**: one frame and
//! two windows of the reader. **Room**: the segments that change are on the disk twice for a while.

use std::path::PathBuf;

use etalage_model::{Binding, Record, codec};

use super::{Log, is_full};
use crate::{
    Fate, StoreError,
    disk::{Disk, DiskFile},
    format::{FORMAT_VERSION, FRAME_HEAD_BYTES, FrameHead, SegmentHead},
    frames::decode_payload,
    manifest::{self, Entry, Failed, Manifest, beside},
    segment::{Segment, SegmentReader, Step, segments},
};

/// What [`Log::rewrite`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// Records that are gone.
    pub dropped_records: u64,
    /// Records that others stand for now.
    pub changed_records: u64,
    /// Segments that held them.
    pub segments: usize,
}

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Becomes {
    /// It stays as it is.
    Kept,
    /// It was changed and stays so.
    Changed,
    /// It goes.
    Dropped,
}

/// Decides about a record, and changes it where it says so.
pub type Edit<'a> = dyn FnMut(&mut Record) -> Becomes + 'a;

impl Log {
    /// Asks `edit` once for each record, in order, what becomes of it. When this returns `Ok`, no byte
    /// of a record that was dropped or changed is left in the files of the log, durably. The log
    /// goes on in a new segment; readers under way go on too.
    ///
    /// # Errors
    /// [`StoreError::Full`] and errors of reading leave the log as it was, and it goes on. After
    /// [`StoreError::Write`] it takes no more writes; where its fate is unknown, the next
    /// [`Log::open`] finds the old log, or finishes the new one.
    pub fn rewrite(&mut self, edit: &mut Edit<'_>) -> Result<Rewritten, StoreError> {
        self.check_writable()?;
        if !self.is_empty() || self.head.version < FORMAT_VERSION {
            self.roll()?;
        }
        let (manifest, rewritten) = match self.prepare(edit) {
            Ok(prepared) => prepared,
            Err(halt) => return Err(self.give_up(halt)),
        };
        if rewritten.segments == 0 {
            return Ok(rewritten);
        }
        // From the attempt to commit on, what lies beside may be the log, and is not removed.
        let (disk, dir) = (&*self.disk, &*self.dir);
        let committed = Manifest::commit(disk, dir).and_then(|()| manifest.apply(disk, dir));
        committed.map_err(|Failed { action, path, error }| self.poisoned_at(action, path, Fate::Unknown, error))?;
        if let Some(Entry { head, .. }) = manifest.entries.last() {
            self.head = *head;
        }
        self.records -= rewritten.dropped_records;
        Ok(rewritten)
    }

    /// Writes beside the log all that is needed to replace it.
    fn prepare(&self, edit: &mut Edit<'_>) -> Result<(Manifest, Rewritten), Halt> {
        let disk = &*self.disk;
        let (mut rewritten, mut entries) = (Rewritten::default(), Vec::new());
        let mut previous_bytes = 0;
        for segment in segments(disk, &self.dir)? {
            let records_before = segment.head.records_before - rewritten.dropped_records;
            let head = SegmentHead { records_before, previous_bytes, ..segment.head };
            let anew = rewrite_segment(disk, &segment, head, edit, &mut rewritten)?;
            rewritten.segments += usize::from(anew.is_some());
            previous_bytes = anew.as_ref().map_or(segment.bytes, |anew| anew.bytes);
            entries.push(Entry { is_rewritten: anew.is_some(), head: anew.map_or(head, |anew| anew.head) });
        }
        let manifest = Manifest { entries };
        if rewritten.segments > 0 {
            self.begin_anew(&manifest)?;
        }
        Ok((manifest, rewritten))
    }

    /// Brings to the device what is about to be committed.
    pub(super) fn begin_anew(&self, manifest: &Manifest) -> Result<(), Halt> {
        manifest.prepare(&*self.disk, &self.dir).map_err(Halt::Write)?;
        Manifest::sync(&*self.disk, &self.dir).map_err(Halt::Sync)
    }

    /// Removes what was written beside the log.
    pub(super) fn give_up(&mut self, halt: Halt) -> StoreError {
        let removed = manifest::discard(&*self.disk, &self.dir);
        match (halt, removed) {
            (Halt::Sync(failed), _) => self.poisoned_by(failed),
            (Halt::Write(failed), _) if !is_full(&failed.error) => self.poisoned_by(failed),
            (_, Err(failed)) => self.poisoned_by(failed),
            (Halt::Write(Failed { path, error, .. }), Ok(())) => StoreError::Full { path, error },
            (Halt::Read(error), Ok(())) => error,
        }
    }

    fn poisoned_by(&mut self, Failed { action, path, error }: Failed) -> StoreError {
        self.poisoned_at(action, path, Fate::Failed, error)
    }
}

/// Why nothing was committed.
pub(super) enum Halt {
    /// Nothing was wrong with what was written.
    Read(StoreError),
    Write(Failed),
    /// The disk is in doubt.
    Sync(Failed),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Halt {
        Halt::Read(error)
    }
}

/// Writes `segment` anew beside itself with the head `head`, where a record in it does not stay as it is;
/// counts those, and gives what was written.
fn rewrite_segment(
    disk: &dyn Disk,
    segment: &Segment,
    head: SegmentHead,
    edit: &mut Edit<'_>,
    rewritten: &mut Rewritten,
) -> Result<Option<SegmentWriter>, Halt> {
    let mut reader = SegmentReader::open(disk, segment, false)?;
    let mut writer = None::<SegmentWriter>;
    loop {
        let (begins_at, version) = (reader.at(), reader.version());
        let Step::Frame(frame, payload) = reader.step()? else { break };
        let (mut records, binding) = match decode_payload(version, frame.count, payload) {
            Ok(held) => held,
            Err(what) => return Err(reader.corrupt_frame(begins_at, what).into()),
        };
        let before = (rewritten.dropped_records, rewritten.changed_records);
        records.retain_mut(|record| {
            let becomes = edit(record);
            rewritten.dropped_records += u64::from(becomes == Becomes::Dropped);
            rewritten.changed_records += u64::from(becomes == Becomes::Changed);
            becomes != Becomes::Dropped
        });
        let is_same = before == (rewritten.dropped_records, rewritten.changed_records);
        if is_same && writer.is_none() {
            continue;
        }
        let writer = match &mut writer {
            Some(writer) => writer,
            None => writer.insert(SegmentWriter::begin_at(disk, segment, head, frame.seq)?),
        };
        match is_same && version == FORMAT_VERSION {
            true => writer.copy(frame, payload)?,
            false => writer.encode(frame, &records, &binding)?,
        }
    }
    if let Some(writer) = &writer {
        writer.file.sync_data().map_err(Failed::at("sync", &writer.path)).map_err(Halt::Sync)?;
    }
    Ok(writer)
}

/// Writes a segment beside the one that it replaces, in the newest format.
struct SegmentWriter {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    head: SegmentHead,
    bytes: u64,
    buffer: Vec<u8>,
}

impl SegmentWriter {
    /// Begins the successor of `segment`, with its frames before number `seq` in it.
    fn begin_at(disk: &dyn Disk, segment: &Segment, head: SegmentHead, seq: u64) -> Result<SegmentWriter, Halt> {
        // Never the old salt: by it a reader tells the two apart.
        let salt = Some(disk.draw() as u32).filter(|salt| *salt != head.salt).unwrap_or(!head.salt);
        let head = SegmentHead { version: FORMAT_VERSION, salt, ..head };
        let path = beside(&segment.path);
        let file = disk.create(&path).map_err(Failed::at("create", &path)).map_err(Halt::Write)?;
        let mut writer = SegmentWriter { file, path, head, bytes: 0, buffer: head.to_bytes().to_vec() };
        writer.flush()?;
        let mut reader = SegmentReader::open(disk, segment, false)?;
        while reader.seq() < seq {
            let (begins_at, version) = (reader.at(), reader.version());
            let Step::Frame(frame, payload) = reader.step()? else { break };
            if version == FORMAT_VERSION {
                writer.copy(frame, payload)?;
                continue;
            }
            match decode_payload(version, frame.count, payload) {
                Ok((records, binding)) => writer.encode(frame, &records, &binding)?,
                Err(what) => return Err(reader.corrupt_frame(begins_at, what).into()),
            }
        }
        Ok(writer)
    }

    /// Takes over a frame as it is.
    fn copy(&mut self, frame: FrameHead, payload: &[u8]) -> Result<(), Halt> {
        self.buffer.extend_from_slice(&frame.to_bytes(self.head.salt));
        self.buffer.extend_from_slice(payload);
        self.flush()
    }

    /// Writes a frame with the number and tick of `frame` and other content.
    fn encode(&mut self, frame: FrameHead, records: &[Record], binding: &Binding) -> Result<(), Halt> {
        self.buffer.resize(FRAME_HEAD_BYTES, 0);
        codec::encode_into(&(records, binding), &mut self.buffer).map_err(StoreError::from)?;
        let payload = &self.buffer[FRAME_HEAD_BYTES..];
        let too_large = |_| StoreError::FrameTooLarge { bytes: payload.len() as u64, limit: u32::MAX };
        let payload_bytes = u32::try_from(payload.len()).map_err(too_large)?;
        let (count, payload_crc) = (records.len() as u32, crc32fast::hash(payload));
        let head = FrameHead { payload_bytes, count, payload_crc, ..frame };
        self.buffer[..FRAME_HEAD_BYTES].copy_from_slice(&head.to_bytes(self.head.salt));
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Halt> {
        self.file.append(&self.buffer).map_err(Failed::at("write", &self.path)).map_err(Halt::Write)?;
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
