//! What can go wrong in the store. Each text names the file and says what to do; the error of a
//! write says through [`StoreError::fate`] what became of it.

use std::{
    io,
    path::{Path, PathBuf},
};

use etalage_model::Tick;

use crate::format::segment_seq;

/// What became of a write that ended in an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is not stored, and will not be found stored after a restart.
    Failed,
    /// It may be found stored after a restart, or not.
    Unknown,
}

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file stands where the folder should be.
    #[error("{} is a file or lies under one; the store needs a folder: name another path", .path.display())]
    NotAFolder {
        /// The path that was given.
        path: PathBuf,
    },
    /// The folder cannot be made or written.
    #[error("the store's folder {} cannot be written: {error}; give this user the right to write there, or name another folder", .path.display())]
    NotWritable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another process, or another part of this one, has the store open.
    #[error("the store in {} is in use by another process; stop that one first, or name another folder", .path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// There is nothing to read.
    #[error("no store in {}: it has no log segments (log-*.seg); name the folder of a store", .path.display())]
    NoStore {
        /// The folder.
        path: PathBuf,
    },
    /// The file was written by a later version.
    #[error("{} has format version {found}, and this build reads up to version {known}: start it with a newer etalage", .path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u8,
        /// The newest one that this build reads.
        known: u8,
    },
    /// Stored bytes are not what was written, and it is no torn tail.
    #[error("{} is damaged at byte {offset}: {what}. Nothing was changed. {}", .path.display(), advice(.path))]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where the first damaged piece begins.
        offset: u64,
        /// What does not check out.
        what: String,
    },
    /// A call of the operating system failed outside a write.
    #[error("cannot {action} {}: {error}", .path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The records of one append are more than a frame may hold; nothing was written.
    #[error("a frame of {bytes} bytes, and max_frame_bytes is {limit}: append fewer records at once")]
    FrameTooLarge {
        /// How large it would be.
        bytes: u64,
        /// How large it may be.
        limit: u32,
    },
    /// The tick lies before that of the last frame; nothing was written.
    #[error("tick {tick} lies before {last}, the tick of the last frame: ticks never go back")]
    TickBack {
        /// The tick that was given.
        tick: Tick,
        /// The last one stored.
        last: Tick,
    },
    /// The disk is full; nothing is stored, and the same append can be tried again.
    #[error("the disk is full: {} could not be extended ({error}); free some space, it goes on by itself", .path.display())]
    Full {
        /// The segment.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A write or fsync failed; from now on the log refuses writes.
    #[error("cannot {action} {}: {error}; {}; the store takes no more writes: check the disk, then restart", .path.display(), fate_text(*.fate))]
    Write {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Whether the frame is known not to be stored.
        fate: Fate,
        /// What the system said.
        error: io::Error,
    },
    /// An earlier write failed; nothing was written.
    #[error("the store refuses writes since an earlier one failed ({cause}); check the disk, then restart")]
    Poisoned {
        /// The text of the first error.
        cause: String,
    },
    /// A value could not be turned into bytes; nothing was written.
    #[error("{0}")]
    Codec(#[from] etalage_model::codec::CodecError),
    /// There are receipts, and not the key that they were made with.
    #[error("{} has receipts, and their key {} is missing; put the key back, or, if it is lost, move the receipts away: a new key is drawn then", .receipts.display(), .path.display())]
    MissingKey {
        /// Where the key should be.
        path: PathBuf,
        /// The receipts.
        receipts: PathBuf,
    },
    /// The quarantine's file cannot be used.
    #[error("the quarantine {}: {error}; if the file is damaged, `etalage repair --apply` sets it aside: an empty one is made then, and the log is not touched", .path.display())]
    Quarantine {
        /// The file.
        path: PathBuf,
        /// What redb said.
        error: Box<redb::Error>,
    },
}

impl StoreError {
    /// What became of the write that ended in this error.
    pub fn fate(&self) -> Fate {
        match self {
            StoreError::Write { fate, .. } => *fate,
            // A commit of the quarantine may have reached the disk before its error.
            StoreError::Quarantine { .. } => Fate::Unknown,
            _ => Fate::Failed,
        }
    }

    /// True where the same write may succeed later without a restart.
    pub fn is_retryable(&self) -> bool {
        matches!(self, StoreError::Full { .. })
    }

    /// Makes the wrapper of an operating system's error, for `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.to_path_buf();
        move |error| StoreError::Io { action, path, error }
    }
}

fn fate_text(fate: Fate) -> &'static str {
    match fate {
        Fate::Failed => "what was to be written is not stored",
        Fate::Unknown => "it is unknown whether what was to be written is stored",
    }
}

/// How to go on after damage in `path`.
fn advice(path: &Path) -> String {
    let is_segment = path.file_name().and_then(|name| name.to_str()).and_then(segment_seq).is_some();
    let dir = path.parent().unwrap_or(Path::new(".")).display();
    match is_segment {
        true => format!(
            "Restore the folder from a copy; or see what stands before it with `etalage repair --data-dir {dir}`, and \
             go on without the rest: `etalage repair --apply --data-dir {dir}` sets that aside"
        ),
        false => "Restore the folder from a copy".to_owned(),
    }
}
