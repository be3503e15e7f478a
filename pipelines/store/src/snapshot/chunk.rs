//! Chunks: rows of a section in one file, which is named by their hash.
//!
//! ```text
//!   0  hash of the rest   u128, little endian (XXH3)
//!  16  rows, compressed   zstd; each row behind its length (u32, little endian)
//! ```
//!
//! **Where a chunk ends** is decided by the row that ends it: by its hash, with a chance in proportion to its
//! length, so that chunks have about [`DEFAULT_CHUNK_BYTES`]. The same rows in the same order are cut in the same
//! places again, wherever before them something has changed (content-defined chunking: Muthitacharoen et al.,
//! "A Low-bandwidth Network File System", SOSP 2001).

use std::io::Read;

use etalage_model::hash::{hash64, hash128};

use super::SnapshotError;

/// About how long the rows of a chunk are before they are compressed: 2 MiB. None is shorter than a quarter, but
/// the last of its section, nor much longer than four times that.
pub const DEFAULT_CHUNK_BYTES: usize = 2 * 1024 * 1024;

/// The longest row: 1 GiB. A robot that orders under one id for years is one row.
pub const MAX_ROW_BYTES: usize = 1024 * 1024 * 1024;

/// Speed counts more than size: state is written again and again.
const LEVEL: i32 = 1;

const HASH_BYTES: usize = 16;

/// Rows that become one chunk.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    pub(crate) rows: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Takes rows one by one, and says where a chunk ends.
#[derive(Debug)]
pub(crate) struct Cutter {
    target_bytes: usize,
    open: Cut,
}

impl Cutter {
    pub(crate) fn new(target_bytes: usize) -> Cutter {
        Cutter { target_bytes: target_bytes.max(4), open: Cut::default() }
    }

    /// Takes a row; the chunk that it ends, if it ends one.
    pub(crate) fn add(&mut self, row: &[u8]) -> Option<Cut> {
        self.open.rows += 1;
        self.open.bytes.extend_from_slice(&(row.len() as u32).to_le_bytes());
        self.open.bytes.extend_from_slice(row);
        let length = self.open.bytes.len();
        let (least, most) = (self.target_bytes / 4, self.target_bytes * 4);
        let is_end = || (u128::from(hash64(row)) * self.target_bytes as u128) >> 64 < row.len() as u128;
        (length >= most || length >= least && is_end()).then(|| std::mem::take(&mut self.open))
    }

    /// What is left at the end.
    pub(crate) fn finish(self) -> Option<Cut> {
        (self.open.rows > 0).then_some(self.open)
    }

    /// Bytes that wait for the end of their chunk.
    #[cfg(test)]
    pub(crate) fn open_bytes(&self) -> usize {
        self.open.bytes.len()
    }
}

/// The name of the chunk that holds these rows.
pub(crate) fn name_of(rows: &[u8]) -> String {
    format!("{:032x}", hash128(rows))
}

/// The file of a chunk.
pub(crate) fn pack(rows: &[u8]) -> std::io::Result<Vec<u8>> {
    let packed = zstd::bulk::compress(rows, LEVEL)?;
    let mut file = Vec::with_capacity(HASH_BYTES + packed.len());
    file.extend_from_slice(&hash128(&packed).to_le_bytes());
    file.extend_from_slice(&packed);
    Ok(file)
}

/// Whether a file is as it was written; what is wrong with it otherwise.
pub(crate) fn check(file: &[u8]) -> Result<(), &'static str> {
    let (hash, packed) = file.split_first_chunk::<HASH_BYTES>().ok_or("it is shorter than any chunk")?;
    (hash128(packed) == u128::from_le_bytes(*hash)).then_some(()).ok_or("its checksum does not match")
}

/// The rows of a file, of which `bytes` are expected.
pub(crate) fn unpack(path: &str, name: &str, file: &[u8], bytes: u64) -> Result<Vec<u8>, SnapshotError> {
    check(file).map_err(|what| SnapshotError::damaged(path, what))?;
    let broken = |error: std::io::Error| SnapshotError::damaged(path, error.to_string());
    let mut rows = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0).min(8 * DEFAULT_CHUNK_BYTES));
    let decoder = zstd::stream::read::Decoder::with_buffer(&file[HASH_BYTES..]).map_err(broken)?;
    // One byte more would show that there are more.
    decoder.take(bytes.saturating_add(1)).read_to_end(&mut rows).map_err(broken)?;
    if rows.len() as u64 != bytes || name_of(&rows) != name {
        return Err(SnapshotError::damaged(path, "it holds other rows than its name says"));
    }
    Ok(rows)
}
