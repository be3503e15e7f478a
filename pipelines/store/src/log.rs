//! The log's writer.
//!
//! **One writer**: a [`Log`] holds the lock of its folder, and appends from one thread.
//! **Segments** are begun under another name, synced, renamed, and the folder synced: a file
//! that is named as a segment has its head. **Memory**: the bytes of one frame. **Writing behind**:
//! where an append does not wait for the device, a thread syncs the segment every few megabytes; the
//! first sync that fails ends the log's writing, as any other does.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use etalage_model::{Binding, Record, Tick, codec};

use crate::{
    Fate, StoreError,
    behind::WriteBehind,
    disk::{Disk, DiskFile, RealDisk},
    format::{FORMAT_VERSION, FRAME_HEAD_BYTES, FrameHead, SEGMENT_HEAD_BYTES, SegmentHead, segment_name},
    manifest,
    segment::{Segment, SegmentReader, Step, segments},
};

mod rewrite;
mod trim;

pub use rewrite::{Becomes, Edit, Rewritten};

/// The default of [`LogOptions::segment_bytes`]: 64 MiB.
pub const DEFAULT_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// The default of [`LogOptions::max_frame_bytes`]: 256 MiB, twice 4096 messages of 32 KB.
pub const DEFAULT_MAX_FRAME_BYTES: u32 = 256 * 1024 * 1024;

/// The default of [`LogOptions::write_behind_bytes`]: 4 MiB.
pub const DEFAULT_WRITE_BEHIND_BYTES: u64 = 4 * 1024 * 1024;

/// The capacity that the writer keeps between frames; what a larger frame needed is given back.
const KEPT_BUFFER_BYTES: usize = 8 * 1024 * 1024;

const LOCK_FILE: &str = "store.lock";
/// The name of a segment in the making, and of the probe whether the folder can be written.
const NEW_FILE: &str = "segment.new";

/// What an acknowledged append survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The death of the process (`kill -9`): the bytes are with the operating system.
    Process,
    /// A power loss: the bytes are on the device (fdatasync).
    Fsync,
}

/// How a [`Log`] writes.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// A frame that would make a segment longer than this begins the next one.
    pub segment_bytes: u64,
    /// What has to hold when [`Log::append`] returns.
    pub durability: Durability,
    /// The longest payload of one frame.
    pub max_frame_bytes: u32,
    /// After so many bytes a segment is synced on a thread of its own, where an append does not wait
    /// for the device; 0 is never.
    pub write_behind_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            durability: Durability::Process,
            max_frame_bytes: DEFAULT_MAX_FRAME_BYTES,
            write_behind_bytes: DEFAULT_WRITE_BEHIND_BYTES,
        }
    }
}

/// What [`Log::open`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Drawn when the store was created, and kept since.
    pub epoch: u64,
    /// The tick of the last frame.
    pub last_tick: Option<Tick>,
    /// How many frames there are.
    pub frames: u64,
    /// How many records they hold.
    pub records: u64,
    /// How many segment files there are.
    pub segments: usize,
    /// How many bytes of a torn tail were removed: an append that never finished. Damage within the
    /// very last frame cannot be told from that, so this is worth a warning.
    pub cut_bytes: u64,
}

/// The log of one store, open for writing.
pub struct Log {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: LogOptions,
    file: Box<dyn DiskFile>,
    path: PathBuf,
    head: SegmentHead,
    /// Length of the segment that is written.
    bytes: u64,
    /// Number of the next frame.
    seq: u64,
    records: u64,
    /// Number of the first frame that is there.
    begins_at: u64,
    last_tick: Option<Tick>,
    buffer: Vec<u8>,
    /// The first error that left the disk in doubt.
    poison: Option<String>,
    behind: Option<WriteBehind>,
    _lock: Box<dyn Send>,
}

impl Log {
    /// Opens the log in `dir`, and creates folder and log where there are none. Of the frames it
    /// reads those of the last segment.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong and what to do; nothing was changed then.
    pub fn open(dir: &Path, options: LogOptions) -> Result<(Log, Opened), StoreError> {
        Log::open_on(Arc::new(RealDisk), dir, options)
    }

    /// As [`Log::open`], on another disk.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open_on(disk: Arc<dyn Disk>, dir: &Path, options: LogOptions) -> Result<(Log, Opened), StoreError> {
        let lock = take_folder(&*disk, dir)?;
        let writes_behind = options.durability == Durability::Process && options.write_behind_bytes > 0;
        let behind = writes_behind.then(|| WriteBehind::begin(Arc::clone(&disk), options.write_behind_bytes));
        let behind = behind.transpose().map_err(StoreError::io("begin to write behind", dir))?;
        manifest::finish(&*disk, dir)?;
        let mut found = segments(&*disk, dir)?;
        if found.is_empty() {
            found.push(create_first(&*disk, dir)?);
        }
        let begins_at = found[0].head.first_seq;
        trim::remove_before(&*disk, dir, begins_at)?;
        let (count, last) = (found.len(), &found[found.len() - 1]);
        let (reader, records, cut_bytes) = read_last(&*disk, last)?;
        let bytes = reader.at();
        let (path, head) = (last.path.clone(), last.head);
        let mut file = disk.open_to_append(&path).map_err(StoreError::io("open", &path))?;
        if cut_bytes > 0 {
            tracing::warn!(file = %path.display(), offset = bytes, cut_bytes, "removed a torn tail of the log");
            file.cut(bytes).map_err(StoreError::io("cut", &path))?;
            file.sync_data().map_err(StoreError::io("sync", &path))?;
        }
        if options.durability == Durability::Fsync {
            sync_all(&*disk, &found)?;
            disk.sync_folder(dir).map_err(StoreError::io("sync", dir))?;
        }
        let opened = Opened {
            epoch: head.epoch,
            last_tick: reader.tick(),
            frames: reader.seq(),
            records,
            segments: count,
            cut_bytes,
        };
        let log = Log {
            disk,
            dir: dir.to_path_buf(),
            options,
            file,
            path,
            head,
            bytes,
            seq: opened.frames,
            records,
            begins_at,
            last_tick: opened.last_tick,
            buffer: Vec::new(),
            poison: None,
            behind,
            _lock: lock,
        };
        Ok((log, opened))
    }

    /// Stores `records` as one frame bound to `tick`. When it returns `Ok`, they are as durable as
    /// [`LogOptions::durability`] names it, and a restart finds all of them, in this order.
    ///
    /// # Errors
    /// [`StoreError::fate`] says what became of the frame. [`StoreError::Full`] may be tried
    /// again; after [`StoreError::Write`] every further append is [`StoreError::Poisoned`].
    pub fn append(&mut self, tick: Tick, records: &[Record]) -> Result<(), StoreError> {
        self.append_bound(tick, records, &Binding::default())
    }

    /// As [`Log::append`], and stores beside the records what binds the tick to its input.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append_bound(&mut self, tick: Tick, records: &[Record], binding: &Binding) -> Result<(), StoreError> {
        self.check_writable()?;
        if let Some(last) = self.last_tick.filter(|last| *last > tick) {
            return Err(StoreError::TickBack { tick, last });
        }
        let (payload_bytes, payload_crc) = self.encode(records, binding)?;
        let frame_bytes = self.buffer.len() as u64;
        let is_full = !self.is_empty() && self.bytes + frame_bytes > self.options.segment_bytes;
        if is_full || self.head.version < FORMAT_VERSION {
            self.roll()?;
        }
        // A record takes at least one byte, so that there are at most as many as bytes.
        let head = FrameHead { payload_bytes, seq: self.seq, tick, count: records.len() as u32, payload_crc };
        self.buffer[..FRAME_HEAD_BYTES].copy_from_slice(&head.to_bytes(self.head.salt));
        if let Err(error) = self.file.append(&self.buffer) {
            return Err(self.take_back(error));
        }
        if self.options.durability == Durability::Fsync
            && let Err(error) = self.file.sync_data()
        {
            // Never tried again: the system may have dropped the bytes and call the next one clean.
            return Err(self.poisoned("sync", Fate::Unknown, error));
        }
        if let Some(behind) = &mut self.behind {
            behind.appended(frame_bytes, &self.path);
        }
        self.bytes += frame_bytes;
        self.seq += 1;
        self.records += records.len() as u64;
        self.last_tick = Some(tick);
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BUFFER_BYTES);
        Ok(())
    }

    /// What brings everything that was appended so far to the device, on whatever thread it is called: earlier
    /// segments are there, since a segment is synced before the next begins.
    pub fn syncing(&self) -> impl FnOnce() -> Result<(), StoreError> + Send + use<> {
        let (disk, path) = (Arc::clone(&self.disk), self.path.clone());
        move || {
            let failed = |error| StoreError::Write { action: "sync", path: path.clone(), fate: Fate::Unknown, error };
            disk.open_to_read(&path).and_then(|file| file.sync_data()).map_err(failed)
        }
    }

    /// The store's epoch: drawn when it was created, kept over restarts.
    pub fn epoch(&self) -> u64 {
        self.head.epoch
    }

    /// The tick of the last frame.
    pub fn last_tick(&self) -> Option<Tick> {
        self.last_tick
    }

    /// How many records are stored.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The number of the next frame.
    pub fn next_frame(&self) -> u64 {
        self.seq
    }

    /// Why writes are refused, where they are.
    pub fn poison(&self) -> Option<&str> {
        self.poison.as_deref()
    }

    fn check_writable(&mut self) -> Result<(), StoreError> {
        if let Some(cause) = &self.poison {
            return Err(StoreError::Poisoned { cause: cause.clone() });
        }
        match self.behind.as_ref().and_then(WriteBehind::failure) {
            Some(error) => Err(self.poisoned("sync", Fate::Failed, error)),
            None => Ok(()),
        }
    }

    /// True where no frame stands in the segment that is written.
    fn is_empty(&self) -> bool {
        self.bytes == SEGMENT_HEAD_BYTES as u64
    }

    /// Leaves room for a head and the encoded payload in the buffer; length and checksum of the
    /// latter.
    fn encode(&mut self, records: &[Record], binding: &Binding) -> Result<(u32, u32), StoreError> {
        self.buffer.clear();
        self.buffer.resize(FRAME_HEAD_BYTES, 0);
        codec::encode_into(&(records, binding), &mut self.buffer)?;
        let payload = &self.buffer[FRAME_HEAD_BYTES..];
        let limit = self.options.max_frame_bytes;
        match u32::try_from(payload.len()) {
            Ok(bytes) if bytes <= limit => Ok((bytes, crc32fast::hash(payload))),
            _ => Err(StoreError::FrameTooLarge { bytes: payload.len() as u64, limit }),
        }
    }

    /// After a failed write: removes what was written of the frame.
    fn take_back(&mut self, error: io::Error) -> StoreError {
        match self.file.cut(self.bytes) {
            Ok(()) if is_full(&error) => StoreError::Full { path: self.path.clone(), error },
            Ok(()) => self.poisoned("write", Fate::Failed, error),
            Err(_) => self.poisoned("write", Fate::Unknown, error),
        }
    }

    fn poisoned(&mut self, action: &'static str, fate: Fate, error: io::Error) -> StoreError {
        self.poisoned_at(action, self.path.clone(), fate, error)
    }

    fn poisoned_at(&mut self, action: &'static str, path: PathBuf, fate: Fate, error: io::Error) -> StoreError {
        let error = StoreError::Write { action, path, fate, error };
        self.poison = Some(error.to_string());
        error
    }

    /// Begins the next segment, or an empty one of an older version anew. Where that fails, the frame
    /// was not written anywhere.
    fn roll(&mut self) -> Result<(), StoreError> {
        // A power cut must not leave a segment cut short under one that came after it.
        self.file.sync_data().map_err(|error| self.poisoned("sync", Fate::Failed, error))?;
        let (version, salt) = (FORMAT_VERSION, self.disk.draw() as u32);
        let head = match self.is_empty() {
            true => SegmentHead { version, salt, ..self.head },
            false => SegmentHead {
                version,
                epoch: self.head.epoch,
                first_seq: self.seq,
                records_before: self.records,
                tick_before: self.last_tick.unwrap_or(0),
                previous_seq: self.head.first_seq,
                previous_bytes: self.bytes,
                salt,
            },
        };
        match create_segment(&*self.disk, &self.dir, head) {
            Ok((file, path)) => {
                (self.file, self.path, self.head) = (file, path, head);
                self.bytes = SEGMENT_HEAD_BYTES as u64;
                self.behind.iter_mut().for_each(WriteBehind::begins_anew);
                Ok(())
            }
            Err((Stage::Write, error)) if is_full(&error) => {
                let path = self.dir.join(segment_name(self.seq));
                match self.disk.remove(&self.dir.join(NEW_FILE)) {
                    Err(rest) if rest.kind() != io::ErrorKind::NotFound => {
                        Err(self.poisoned("begin the segment after", Fate::Failed, rest))
                    }
                    _ => Err(StoreError::Full { path, error }),
                }
            }
            Err((_, error)) => Err(self.poisoned("begin the segment after", Fate::Failed, error)),
        }
    }
}

/// Whether `error` says that there is no room: a state that passes.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Makes the folder, locks it, and sees whether files can be made in it.
pub(crate) fn take_folder(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn Send>, StoreError> {
    disk.make_folder(dir).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            StoreError::NotAFolder { path: dir.to_path_buf() }
        }
        _ => not_writable(dir, error),
    })?;
    let lock = disk.lock(&dir.join(LOCK_FILE)).map_err(|error| not_writable(dir, error))?;
    let lock = lock.ok_or_else(|| StoreError::Locked { path: dir.to_path_buf() })?;
    // A segment in the making that a crash left behind holds no frame.
    let probe = dir.join(NEW_FILE);
    match disk.remove(&probe) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(not_writable(dir, error)),
        _ => {}
    }
    disk.create(&probe).map_err(|error| not_writable(dir, error))?;
    disk.remove(&probe).map_err(|error| not_writable(dir, error))?;
    Ok(lock)
}

fn not_writable(dir: &Path, error: io::Error) -> StoreError {
    StoreError::NotWritable { path: dir.to_path_buf(), error }
}

fn create_first(disk: &dyn Disk, dir: &Path) -> Result<Segment, StoreError> {
    let head = SegmentHead {
        version: FORMAT_VERSION,
        epoch: disk.draw(),
        first_seq: 0,
        records_before: 0,
        tick_before: 0,
        previous_seq: 0,
        previous_bytes: 0,
        salt: disk.draw() as u32,
    };
    let (_, path) = create_segment(disk, dir, head).map_err(|(_, error)| not_writable(dir, error))?;
    Ok(Segment { path, head, bytes: SEGMENT_HEAD_BYTES as u64 })
}

/// How far the creation of a segment came.
enum Stage {
    /// Nothing was synced yet.
    Write,
    /// A sync or the rename failed: the disk is in doubt.
    Sync,
}

fn create_segment(
    disk: &dyn Disk,
    dir: &Path,
    head: SegmentHead,
) -> Result<(Box<dyn DiskFile>, PathBuf), (Stage, io::Error)> {
    let (new, path) = (dir.join(NEW_FILE), dir.join(segment_name(head.first_seq)));
    let mut file = disk.create(&new).map_err(|error| (Stage::Write, error))?;
    file.append(&head.to_bytes()).map_err(|error| (Stage::Write, error))?;
    file.sync_data().map_err(|error| (Stage::Sync, error))?;
    disk.rename(&new, &path).map_err(|error| (Stage::Sync, error))?;
    disk.sync_folder(dir).map_err(|error| (Stage::Sync, error))?;
    Ok((file, path))
}

/// Reads the last segment to its end: the reader, all records so far, and the bytes of a torn
/// tail.
fn read_last(disk: &dyn Disk, last: &Segment) -> Result<(SegmentReader, u64, u64), StoreError> {
    let mut reader = SegmentReader::open(disk, last, true)?;
    let mut records = last.head.records_before;
    let cut_bytes = loop {
        match reader.step()? {
            Step::Frame(head, _) => records += u64::from(head.count),
            Step::End => break 0,
            Step::Torn { bytes } => break bytes,
        }
    };
    Ok((reader, records, cut_bytes))
}

/// What a writer before did not sync (its mode was another, or it was killed between write and
/// sync, or between the two of a name) will be served and answered as stored from now on, and so has to be durable.
fn sync_all(disk: &dyn Disk, segments: &[Segment]) -> Result<(), StoreError> {
    for Segment { path, .. } in segments {
        let file = disk.open_to_read(path).map_err(StoreError::io("open", path))?;
        file.sync_data().map_err(StoreError::io("sync", path))?;
    }
    Ok(())
}
