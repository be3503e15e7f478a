//! Reading segments: the list of them, checked by their heads alone, and the frames of one,
//! every checksum checked.
//!
//! Whoever reads without the lock may meet a log that is being rewritten. A list is then the old log's
//! or the new one's, never a mixture; and as a rewritten segment has its own salt, a file that was
//! replaced since it was listed is recognised when it is opened.
//!
//! **Bound**: one window of [`WINDOW_BYTES`], or of the largest frame.

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use etalage_model::Tick;

use crate::{
    FORMAT_VERSION, StoreError,
    disk::{Disk, DiskFile},
    format::{
        BadHead, FRAME_HEAD_BYTES, FrameHead, SEGMENT_HEAD_BYTES, SegmentHead, segment_name, segment_seq,
        version_and_salt,
    },
    manifest::{Entry, MANIFEST_FILE, Manifest, beside},
};

/// How much is read from a segment at once.
const WINDOW_BYTES: u64 = 256 * 1024;

/// How often the list is made before an error is believed: the log may have been rewritten between one
/// file and the next.
const LOOKS: u32 = 3;

/// A segment file, as it was when the folder was listed.
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) head: SegmentHead,
    pub(crate) bytes: u64,
}

/// The segments in `dir`, in order. Each must continue the one before it: same store, next frame,
/// the length that the one before had when it was closed.
pub(crate) fn segments(disk: &dyn Disk, dir: &Path) -> Result<Vec<Segment>, StoreError> {
    let mut listed = list(disk, dir);
    for _ in 1..LOOKS {
        if listed.is_ok() {
            break;
        }
        listed = list(disk, dir);
    }
    listed
}

fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<Segment>, StoreError> {
    let names = disk.names(dir).map_err(StoreError::io("list", dir))?;
    if names.iter().any(|name| name == MANIFEST_FILE)
        && let Some(manifest) = Manifest::read(disk, dir)?
    {
        return list_committed(disk, dir, &manifest);
    }
    let mut seqs: Vec<u64> = names.iter().filter_map(|name| segment_seq(name)).collect();
    seqs.sort_unstable();
    let mut heads = Vec::with_capacity(seqs.len());
    for seq in seqs.into_iter().rev() {
        let segment = read_head(disk, dir.join(segment_name(seq)))?;
        let is_first = segment.begins_log();
        heads.push((seq, segment));
        if is_first {
            // What lies before was trimmed, and its removal cut short.
            break;
        }
    }
    let mut segments: Vec<Segment> = Vec::with_capacity(heads.len());
    for (seq, segment) in heads.into_iter().rev() {
        check_chain(segments.last(), seq, &segment)?;
        segments.push(segment);
    }
    Ok(segments)
}

impl Segment {
    /// Whether its head says that nothing comes before it.
    fn begins_log(&self) -> bool {
        self.head.previous_seq == self.head.first_seq
    }
}

/// The segments that begin before frame `end`, in order, as far as their heads can be read: what there is of a log whose
/// list is damaged.
pub(crate) fn segments_before(disk: &dyn Disk, dir: &Path, end: u64) -> Result<Vec<Segment>, StoreError> {
    let names = disk.names(dir).map_err(StoreError::io("list", dir))?;
    let mut seqs: Vec<u64> = names.iter().filter_map(|name| segment_seq(name)).filter(|seq| *seq < end).collect();
    seqs.sort_unstable();
    let heads = seqs.into_iter().map(|seq| read_head(disk, dir.join(segment_name(seq))));
    let mut found: Vec<Segment> = heads.map_while(Result::ok).collect();
    let first = found.iter().rposition(Segment::begins_log).unwrap_or(0);
    Ok(found.split_off(first))
}

/// The segments of a rewritten log of which not every one has taken its place.
fn list_committed(disk: &dyn Disk, dir: &Path, manifest: &Manifest) -> Result<Vec<Segment>, StoreError> {
    let mut segments: Vec<Segment> = Vec::with_capacity(manifest.entries.len());
    for Entry { is_rewritten, head } in &manifest.entries {
        let path = dir.join(segment_name(head.first_seq));
        let waiting = if *is_rewritten { open_if_there(disk, &beside(&path))? } else { None };
        let file = match waiting {
            Some(file) => file,
            None => disk.open_to_read(&path).map_err(StoreError::io("open", &path))?,
        };
        let bytes = file.size().map_err(StoreError::io("read", &path))?;
        let segment = Segment { path, head: *head, bytes };
        check_chain(segments.last(), head.first_seq, &segment)?;
        segments.push(segment);
    }
    Ok(segments)
}

fn open_if_there(disk: &dyn Disk, path: &Path) -> Result<Option<Box<dyn DiskFile>>, StoreError> {
    match disk.open_to_read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some).map_err(StoreError::io("open", path)),
    }
}

fn read_head(disk: &dyn Disk, path: PathBuf) -> Result<Segment, StoreError> {
    let file = disk.open_to_read(&path).map_err(StoreError::io("open", &path))?;
    let bytes = file.size().map_err(StoreError::io("read", &path))?;
    if bytes < SEGMENT_HEAD_BYTES as u64 {
        // A segment gets its name only after its head is on the disk, so this is no torn tail.
        return Err(corrupt(&path, 0, format!("it has {bytes} bytes, less than the head of a segment")));
    }
    let mut head = [0; SEGMENT_HEAD_BYTES];
    file.read_at(0, &mut head).map_err(StoreError::io("read", &path))?;
    match SegmentHead::read(&head) {
        Ok(head) => Ok(Segment { path, head, bytes }),
        Err(BadHead::Newer(found)) => Err(StoreError::NewerFormat { path, found, known: FORMAT_VERSION }),
        Err(BadHead::Broken(what)) => Err(corrupt(&path, 0, what.to_owned())),
    }
}

fn check_chain(before: Option<&Segment>, seq: u64, segment: &Segment) -> Result<(), StoreError> {
    let (path, head) = (&segment.path, &segment.head);
    if head.first_seq != seq {
        return Err(corrupt(path, 0, format!("its head says that it begins with frame {}", head.first_seq)));
    }
    let Some(before) = before else {
        if segment.begins_log() {
            return Ok(());
        }
        return Err(corrupt(
            path,
            0,
            format!("the segment before it, {}, is missing", segment_name(head.previous_seq)),
        ));
    };
    if head.epoch != before.head.epoch {
        return Err(corrupt(path, 0, "it belongs to another store than the segment before it".to_owned()));
    }
    if head.previous_seq != before.head.first_seq {
        return Err(corrupt(
            path,
            0,
            format!("the segment before it, {}, is missing", segment_name(head.previous_seq)),
        ));
    }
    if head.previous_bytes != before.bytes {
        let what = format!("the file has {} bytes, and had {} when it was closed", before.bytes, head.previous_bytes);
        return Err(corrupt(&before.path, before.bytes.min(head.previous_bytes), what));
    }
    Ok(())
}

/// What stands at a place of a segment.
pub(crate) enum Step<'a> {
    /// An intact frame.
    Frame(FrameHead, &'a [u8]),
    /// The end of the segment, right behind a frame.
    End,
    /// The last segment ends in so many bytes that are no frame, and no frame follows in them.
    Torn { bytes: u64 },
}

/// Goes through the frames of one segment.
pub(crate) struct SegmentReader {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    version: u8,
    salt: u32,
    /// Whether no segment follows: only then may the end be torn.
    last: bool,
    end: u64,
    at: u64,
    seq: u64,
    tick: Option<Tick>,
    window: Vec<u8>,
    window_at: u64,
}

impl SegmentReader {
    /// Opens `segment` as it was listed. Where it was rewritten since, as a whole: only a segment that
    /// others follow is, so that nothing of it is on its way.
    pub(crate) fn open(disk: &dyn Disk, segment: &Segment, last: bool) -> Result<SegmentReader, StoreError> {
        let (file, version, salt) = open_listed(disk, segment)?;
        let is_replaced = salt != segment.head.salt && segment.bytes > SEGMENT_HEAD_BYTES as u64;
        let end = match is_replaced {
            true => file.size().map_err(StoreError::io("read", &segment.path))?,
            false => segment.bytes,
        };
        Ok(SegmentReader {
            file,
            path: segment.path.clone(),
            version,
            salt,
            last: last && !is_replaced,
            end,
            at: SEGMENT_HEAD_BYTES as u64,
            seq: segment.head.first_seq,
            tick: (segment.head.first_seq > 0).then_some(segment.head.tick_before),
            window: Vec::new(),
            window_at: 0,
        })
    }

    /// The format version of the segment.
    pub(crate) fn version(&self) -> u8 {
        self.version
    }

    /// The number of the next frame.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Where the next frame begins.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// How many bytes there are behind that.
    pub(crate) fn left_bytes(&self) -> u64 {
        self.end - self.at
    }

    /// The tick of the frame read last, here or in the segments before.
    pub(crate) fn tick(&self) -> Option<Tick> {
        self.tick
    }

    /// That the frame read last is damaged in a way that its checksum does not show.
    pub(crate) fn corrupt_frame(&self, begins_at: u64, what: String) -> StoreError {
        corrupt(&self.path, begins_at, what)
    }

    /// The next frame.
    pub(crate) fn step(&mut self) -> Result<Step<'_>, StoreError> {
        if self.at == self.end {
            return Ok(Step::End);
        }
        let head_bytes = (self.end - self.at).min(FRAME_HEAD_BYTES as u64);
        let range = self.fill(self.at, head_bytes)?;
        let Some(head) = FrameHead::read(&self.window[range], self.salt) else {
            return self.broken("no intact frame begins there");
        };
        if head.seq != self.seq {
            let what = format!("frame {} stands where frame {} should", head.seq, self.seq);
            return Err(corrupt(&self.path, self.at, what));
        }
        if let Some(tick) = self.tick.filter(|tick| *tick > head.tick) {
            let what = format!("the tick goes back from {tick} to {}", head.tick);
            return Err(corrupt(&self.path, self.at, what));
        }
        let payload_at = self.at + FRAME_HEAD_BYTES as u64;
        let next = payload_at + u64::from(head.payload_bytes);
        if next > self.end {
            return self.broken("the frame goes beyond the end of the file");
        }
        let range = self.fill(payload_at, u64::from(head.payload_bytes))?;
        if crc32fast::hash(&self.window[range.clone()]) != head.payload_crc {
            return self.broken("the checksum of the frame's records does not match");
        }
        (self.at, self.seq, self.tick) = (next, self.seq + 1, Some(head.tick));
        Ok(Step::Frame(head, &self.window[range]))
    }

    /// The tail is torn, if the end of the last segment may be and no frame follows.
    ///
    /// The intact head of a later frame is enough to refuse: that frame was written after this
    /// one was acknowledged, so this one was whole once.
    fn broken(&mut self, what: &str) -> Result<Step<'_>, StoreError> {
        if !self.last {
            return Err(corrupt(&self.path, self.at, format!("{what}, and later segments follow")));
        }
        if let Some((at, seq)) = self.find_head(self.at + 1)? {
            let what = format!("{what}, and frame {seq} follows at byte {at}");
            return Err(corrupt(&self.path, self.at, what));
        }
        Ok(Step::Torn { bytes: self.end - self.at })
    }

    /// Place and number of the first intact frame head at `from` or behind it.
    fn find_head(&mut self, from: u64) -> Result<Option<(u64, u64)>, StoreError> {
        let mut from = from;
        while self.end - from >= FRAME_HEAD_BYTES as u64 {
            let bytes = (self.end - from).min(WINDOW_BYTES);
            let range = self.fill(from, bytes)?;
            let found = self.window[range]
                .windows(FRAME_HEAD_BYTES)
                .enumerate()
                .find_map(|(at, bytes)| Some((from + at as u64, FrameHead::read(bytes, self.salt)?.seq)));
            if found.is_some() {
                return Ok(found);
            }
            // The next window begins with the bytes in which a head had no room any more.
            from += bytes - (FRAME_HEAD_BYTES as u64 - 1);
        }
        Ok(None)
    }

    /// Sees to it that `bytes` from `at` on are in the window, and says where.
    fn fill(&mut self, at: u64, bytes: u64) -> Result<Range<usize>, StoreError> {
        let window_end = self.window_at + self.window.len() as u64;
        if at < self.window_at || at + bytes > window_end {
            let wanted = bytes.max(WINDOW_BYTES).min(self.end - at);
            self.window.resize(wanted as usize, 0);
            self.window.shrink_to(wanted as usize);
            self.window_at = at;
            self.file.read_at(at, &mut self.window).map_err(StoreError::io("read", &self.path))?;
        }
        let start = (at - self.window_at) as usize;
        Ok(start..start + bytes as usize)
    }
}

/// The file of `segment` with its version and salt: the one that was listed, in its place or still
/// beside it; otherwise the one that has taken its place.
fn open_listed(disk: &dyn Disk, segment: &Segment) -> Result<(Box<dyn DiskFile>, u8, u32), StoreError> {
    let Segment { path, head, .. } = segment;
    let open = |path: &Path| -> Result<Option<(Box<dyn DiskFile>, u8, u32)>, StoreError> {
        let Some(file) = open_if_there(disk, path)? else { return Ok(None) };
        let mut bytes = [0; SEGMENT_HEAD_BYTES];
        file.read_at(0, &mut bytes).map_err(StoreError::io("read", path))?;
        let (version, salt) = version_and_salt(&bytes);
        Ok(Some((file, version, salt)))
    };
    let is_listed = |found: &(Box<dyn DiskFile>, u8, u32)| found.2 == head.salt;
    if let Some(found) = open(path)?.filter(is_listed) {
        return Ok(found);
    }
    // What lies beside may be in the making, and is not looked for then.
    if let Some(found) = open(&beside(path)).ok().flatten().filter(is_listed) {
        return Ok(found);
    }
    open(path)?.ok_or_else(|| StoreError::io("open", path)(io::ErrorKind::NotFound.into()))
}

fn corrupt(path: &Path, offset: u64, what: String) -> StoreError {
    StoreError::Corrupt { path: path.to_path_buf(), offset, what }
}
