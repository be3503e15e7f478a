//! Opens a file or standard input and unpacks it. How it is packed is told by its first bytes,
//! never by its name; what was read of it, packed, can be watched for a progress bar.

use std::{
    fmt, fs,
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::bufread::MultiGzDecoder;
use parking_lot::Mutex;

use super::{InputError, Taken};

/// The name that stands for standard input.
pub const STANDARD_INPUT: &str = "-";

const BUFFER_BYTES: usize = 256 * 1024;

/// How an input is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip, also of several members.
    Gzip,
    /// Zstandard, also of several frames.
    Zstd,
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Packing::Plain => "plain",
            Packing::Gzip => "gzip",
            Packing::Zstd => "zstd",
        })
    }
}

/// An input that was opened and holds at least one byte.
pub struct Opened {
    /// What it is called in messages and in the quarantine.
    pub name: String,
    /// How it is packed.
    pub packing: Packing,
    /// Its length as it lies there; `None` for standard input and other streams.
    pub total_bytes: Option<u64>,
    /// The unpacked bytes.
    pub(super) reader: Unpacked,
    /// What happened to the reader, for those who do not hold it any more.
    pub(super) watch: Watch,
}

/// The unpacked bytes of an input. Remembers its first error, which a decoder between may hide.
pub(super) type Unpacked = BufReader<Watched>;

/// How far a reader got.
#[derive(Clone, Default)]
pub(super) struct Watch {
    /// Bytes read of what lies there, packed.
    pub(super) packed_bytes: Arc<AtomicU64>,
    unpacked: Arc<AtomicU64>,
    error: Arc<Mutex<Option<io::Error>>>,
}

impl Opened {
    /// Opens `path`, `-` being standard input.
    ///
    /// # Errors
    /// Where there is no file, or nothing in it that could be unpacked.
    pub fn path(path: &Path) -> Result<Opened, InputError> {
        if path.as_os_str() == STANDARD_INPUT {
            return Opened::stream("standard input".to_owned(), Box::new(io::stdin()), None);
        }
        let name = path.display().to_string();
        let found = fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => InputError::Missing { name: name.clone() },
            _ => InputError::Open { name: name.clone(), error },
        })?;
        if found.is_dir() {
            return Err(InputError::Folder { name });
        }
        let file = File::open(path).map_err(|error| InputError::Open { name: name.clone(), error })?;
        Opened::stream(name, Box::new(file), found.is_file().then_some(found.len()))
    }

    /// Unpacks `stream`, which is `total_bytes` long where that is known.
    ///
    /// # Errors
    /// Where there is nothing in it that could be unpacked.
    pub fn stream(
        name: String,
        mut stream: Box<dyn Read + Send>,
        total_bytes: Option<u64>,
    ) -> Result<Opened, InputError> {
        let mut magic = Vec::with_capacity(4);
        let read = stream.by_ref().take(4).read_to_end(&mut magic);
        read.map_err(|error| InputError::Read {
            name: name.clone(),
            unpacked_bytes: 0,
            line: 1,
            taken: Taken::Before,
            error,
        })?;
        let packing = match magic[..] {
            [0x1f, 0x8b, ..] => Packing::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd] => Packing::Zstd,
            _ => Packing::Plain,
        };
        let watch = Watch::default();
        let whole = Counted { stream: Cursor::new(magic).chain(stream), read: watch.packed_bytes.clone() };
        let packed = BufReader::with_capacity(BUFFER_BYTES, whole);
        let unpacked: Box<dyn Read + Send> = match packing {
            Packing::Plain => Box::new(packed),
            Packing::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Packing::Zstd => Box::new(
                zstd::stream::read::Decoder::with_buffer(packed)
                    .map_err(|error| InputError::Open { name: name.clone(), error })?,
            ),
        };
        let watched = Watched { stream: unpacked, watch: watch.clone() };
        let mut opened =
            Opened { name, packing, total_bytes, reader: BufReader::with_capacity(BUFFER_BYTES, watched), watch };
        match opened.reader.fill_buf() {
            Ok([]) => Err(InputError::Empty { name: opened.name }),
            Ok(_) => Ok(opened),
            Err(_) => Err(opened.watch.failure(&opened.name, packing, 1).expect("a failed read is remembered")),
        }
    }
}

impl Watch {
    /// The reader's error, if it had one, while `line` was read of the input `name`.
    pub(super) fn failure(&self, name: &str, packing: Packing, line: u64) -> Option<InputError> {
        let error = self.error.lock().take()?;
        let unpacked_bytes = self.unpacked.load(Ordering::Relaxed);
        let (name, taken) = (name.to_owned(), Taken::Before);
        Some(match (packing, error.kind()) {
            (Packing::Gzip | Packing::Zstd, io::ErrorKind::UnexpectedEof) => {
                InputError::CutOff { name, packing, unpacked_bytes, line, taken }
            }
            // What the unpackers themselves object to has no number of the operating system.
            (Packing::Gzip | Packing::Zstd, _) if error.raw_os_error().is_none() => {
                InputError::Damaged { name, packing, unpacked_bytes, line, taken, error }
            }
            _ => InputError::Read { name, unpacked_bytes, line, taken, error },
        })
    }
}

struct Counted<R> {
    stream: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(into)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// See [`Unpacked`].
pub(super) struct Watched {
    stream: Box<dyn Read + Send>,
    watch: Watch,
}

impl Read for Watched {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.stream.read(into) {
            Ok(read) => {
                self.watch.unpacked.fetch_add(read as u64, Ordering::Relaxed);
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let told = io::Error::new(error.kind(), error.to_string());
                *self.watch.error.lock() = Some(error);
                Err(told)
            }
        }
    }
}
