//! Why a file cannot be replayed, or not to its end.

use std::io;

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
         {line}; what stands before was taken. Fetch the whole file and replay it again"
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
    },
    /// The packed data is not what a packer writes.
    #[error(
        "{name} is damaged: its {packing} data cannot be unpacked after {unpacked_bytes} bytes, in line {line} \
         ({error}); what stands before was taken. Fetch the file again"
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
        /// What the unpacker said.
        error: io::Error,
    },
    /// The system could not read on.
    #[error(
        "{name} cannot be read after {unpacked_bytes} bytes, in line {line}: {error}; what stands before was taken"
    )]
    Read {
        /// The input's name.
        name: String,
        /// How much was read.
        unpacked_bytes: u64,
        /// The line that was not complete.
        line: u64,
        /// What the system said.
        error: io::Error,
    },
    /// The first line is not the header of the format.
    #[error("{name} is no online-retail file: {reason}; another format is named with --format")]
    Header {
        /// The input's name.
        name: String,
        /// What was expected.
        reason: String,
    },
}
