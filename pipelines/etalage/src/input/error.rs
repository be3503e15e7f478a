//! Why a file cannot be replayed, or not to its end.

use std::{fmt, io};

use super::Packing;

/// What went wrong with an input; each text names it and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// There is no such file.
    #[error("{name}: no such file")]
    Missing {
        /// The file as it was named.
        name: String,
    },
    /// It is a folder.
    #[error("{name} is a folder; name a file in it, or `-` for standard input")]
    Folder {
        /// The folder as it was named.
        name: String,
    },
    /// It could not be opened.
    #[error("{name} cannot be opened: {error}")]
    Open {
        /// The file as it was named.
        name: String,
        /// What the system said.
        error: io::Error,
    },
    /// There is nothing in it.
    #[error("{name} is empty: there is nothing to replay")]
    Empty {
        /// The input's name.
        name: String,
    },
    /// The packed data stops before its end.
    #[error(
        "{name} is cut off: its {packing} data ends in the middle, after {unpacked_bytes} bytes unpacked, in line \
         {line}; {taken}. Fetch the whole file and replay it again"
    )]
    CutOff {
        /// The input's name.
        name: String,
        /// How it is packed.
        packing: Packing,
        /// How much could be unpacked.
        unpacked_bytes: u64,
        /// The line that was not complete.
        line: u64,
        /// What became of the lines before.
        taken: Taken,
    },
    /// The packed data is not what a packer writes.
    #[error(
        "{name} is damaged: its {packing} data cannot be unpacked after {unpacked_bytes} bytes, in line {line} \
         ({error}); {taken}. Fetch the file again"
    )]
    Damaged {
        /// The input's name.
        name: String,
        /// How it is packed.
        packing: Packing,
        /// How much could be unpacked.
        unpacked_bytes: u64,
        /// The line that was not complete.
        line: u64,
        /// What became of the lines before.
        taken: Taken,
        /// What the unpacker said.
        error: io::Error,
    },
    /// The system could not read on.
    #[error("{name} cannot be read after {unpacked_bytes} bytes, in line {line}: {error}; {taken}")]
    Read {
        /// The input's name.
        name: String,
        /// How much was read.
        unpacked_bytes: u64,
        /// The line that was not complete.
        line: u64,
        /// What became of the lines before.
        taken: Taken,
        /// What the system said.
        error: io::Error,
    },
    /// The first line is not the header of the format.
    #[error("{name} is no {format} file: {reason}; another format is named with --format")]
    Header {
        /// The input's name.
        name: String,
        /// The format.
        format: &'static str,
        /// What was expected.
        reason: String,
    },
    /// A file whose rows are put into order has more of them than are kept.
    #[error("{name} is too large for its format: {reason}; {taken}", taken = Taken::Nothing)]
    TooMany {
        /// The input's name.
        name: String,
        /// Which limit there is.
        reason: String,
    },
    /// More files are named than are read at once.
    #[error(
        "{files} files are named, and at most {limit} are read at once: replay them in several runs, with --append"
    )]
    TooManyFiles {
        /// How many.
        files: usize,
        /// How many there may be.
        limit: usize,
    },
}

/// What became of the lines before the one that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// They were taken.
    Before,
    /// They were not: their order is known at the end only.
    Nothing,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Taken::Before => "what stands before was taken",
            Taken::Nothing => "none of its messages were taken, since its rows are put into order first",
        })
    }
}

impl InputError {
    /// The same error of an input of which nothing is taken before its end was read.
    pub(super) fn with_nothing_taken(mut self) -> InputError {
        use InputError::{CutOff, Damaged, Read};
        if let CutOff { taken, .. } | Damaged { taken, .. } | Read { taken, .. } = &mut self {
            *taken = Taken::Nothing;
        }
        self
    }
}
