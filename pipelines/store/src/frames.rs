//! Reading the log back.

use std::{collections::VecDeque, path::Path, sync::Arc};

use etalage_model::{Binding, Record, Tick, codec};

use crate::{
    StoreError,
    disk::{Disk, RealDisk},
    segment::{Segment, SegmentReader, Step, segments, segments_before},
};

/// One group commit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    /// The tick that its records are bound to. In a replay several frames share one.
    pub tick: Tick,
    /// The records, in the order in which they were taken.
    pub records: Vec<Record>,
    /// What binds the tick to its input; says nothing in frames of format version 1.
    pub binding: Binding,
}

/// Every frame of the log in `dir`, in order, up to the end that it has now. Takes no lock: a
/// [`Log`](crate::Log) may go on writing. Where it rewrites itself meanwhile, the segments that were not
/// begun yet are read as they are then: the same frames, without the records that were dropped. A torn tail ends the frames as an intact end does (see
/// [`Frames::torn_bytes`]); any other damage is an error, after which nothing more comes.
///
/// **Bound**: one frame, and a window of 256 KiB.
///
/// # Errors
/// [`StoreError::NoStore`] where there is nothing to read, and what the heads of the segments
/// show: a missing segment, a newer format.
pub fn frames(dir: &Path) -> Result<Frames, StoreError> {
    frames_on(Arc::new(RealDisk), dir)
}

/// As [`frames`], from another disk.
///
/// # Errors
/// As [`frames`].
pub fn frames_on(disk: Arc<dyn Disk>, dir: &Path) -> Result<Frames, StoreError> {
    let waiting: VecDeque<Segment> = segments(&*disk, dir)?.into();
    let Some(first) = waiting.front() else { return Err(StoreError::NoStore { path: dir.to_path_buf() }) };
    let epoch = first.head.epoch;
    Ok(Frames { disk, epoch, waiting, reader: None, torn_bytes: 0, first: 0 })
}

/// The frames of the segments that begin before frame `end`, as far as their heads can be read.
pub(crate) fn frames_before(disk: Arc<dyn Disk>, dir: &Path, end: u64) -> Result<Frames, StoreError> {
    let waiting: VecDeque<Segment> = segments_before(&*disk, dir, end)?.into();
    let epoch = waiting.front().map_or(0, |first| first.head.epoch);
    Ok(Frames { disk, epoch, waiting, reader: None, torn_bytes: 0, first: 0 })
}

/// What the payload of a frame with `count` records holds; otherwise what is wrong with it.
pub(crate) fn decode_payload(version: u8, count: u32, payload: &[u8]) -> Result<(Vec<Record>, Binding), String> {
    let decoded = match version {
        1 => codec::decode(payload).map(|records| (records, Binding::default())),
        _ => codec::decode::<(Vec<Record>, Binding)>(payload),
    };
    match decoded {
        Ok(held) if held.0.len() == count as usize => Ok(held),
        Ok((records, _)) => Err(format!("the frame has {} records and names {count}", records.len())),
        Err(error) => Err(format!("the frame's records cannot be decoded ({error})")),
    }
}

/// The iterator that [`frames`] gives.
pub struct Frames {
    disk: Arc<dyn Disk>,
    epoch: u64,
    waiting: VecDeque<Segment>,
    reader: Option<SegmentReader>,
    torn_bytes: u64,
    /// Frames before this one are left out.
    first: u64,
}

impl Frames {
    /// The store's epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The number of the first frame that is still to be read; at first that of the log's first, which is 0 unless the
    /// log was trimmed.
    pub fn begins_at(&self) -> u64 {
        self.waiting.front().map_or(self.first, |segment| segment.head.first_seq.max(self.first))
    }

    /// Bytes of the torn tail; known once the last frame was read, 0 until then.
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// First frame and salt of each segment that is still to be read.
    pub fn segments(&self) -> Vec<(u64, u32)> {
        self.waiting.iter().map(|segment| (segment.head.first_seq, segment.head.salt)).collect()
    }

    /// Leaves out the frames before number `first`.
    pub fn skip_to(&mut self, first: u64) {
        self.first = first;
        while self.waiting.get(1).is_some_and(|next| next.head.first_seq <= first) {
            self.waiting.pop_front();
        }
    }

    /// How many bytes there are still to be read.
    pub fn left_bytes(&self) -> u64 {
        let waiting: u64 = self.waiting.iter().map(|segment| segment.bytes).sum();
        waiting + self.reader.as_ref().map_or(0, SegmentReader::left_bytes)
    }

    fn advance(&mut self) -> Result<Option<Frame>, StoreError> {
        loop {
            let Some(reader) = &mut self.reader else {
                let Some(segment) = self.waiting.pop_front() else { return Ok(None) };
                self.reader = Some(SegmentReader::open(&*self.disk, &segment, self.waiting.is_empty())?);
                continue;
            };
            let (begins_at, version) = (reader.at(), reader.version());
            let ended = match reader.step()? {
                Step::Frame(head, _) if head.seq < self.first => continue,
                Step::Frame(head, payload) => {
                    let decoded = decode_payload(version, head.count, payload);
                    return match decoded {
                        Ok((records, binding)) => Ok(Some(Frame { tick: head.tick, records, binding })),
                        Err(what) => Err(reader.corrupt_frame(begins_at, what)),
                    };
                }
                Step::End => reader.seq(),
                Step::Torn { bytes } => {
                    self.torn_bytes = bytes;
                    self.reader = None;
                    return Ok(None);
                }
            };
            if let Some(next) = self.waiting.front().filter(|next| next.head.first_seq != ended) {
                let what = format!("the segment ends with frame {ended}, the next begins with {}", next.head.first_seq);
                return Err(reader.corrupt_frame(begins_at, what));
            }
            self.reader = None;
        }
    }
}

impl Iterator for Frames {
    type Item = Result<Frame, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.advance().transpose();
        if matches!(item, Some(Err(_))) {
            self.waiting.clear();
            self.reader = None;
        }
        item
    }
}
