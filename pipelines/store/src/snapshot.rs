//! Snapshots: state as of one tick, so that a restart reads the log from there on and not from its beginning.
//!
//! ```text
//! <place>/snapshots/<tick, 20 digits>.manifest     what a snapshot is made of
//! <place>/chunks/<hash of the rows, 32 hex>.zst    rows of a section, compressed
//! ```
//!
//! A *place* is a folder, or, in builds with the feature `cloud`, a bucket of S3, Google or Azure. A snapshot counts
//! once its manifest is there, which is written last. **Chunks are named by what is in them** and shared between
//! snapshots: what has not changed since the one before is not written again. Where a chunk ends is decided by its rows
//! (`chunk.rs`), so that a change moves the ends near it and no others; rows of a closed bucket are written once.
//!
//! What holds:
//! - A file is there as a whole or not at all; in a folder, it is on the device before the manifest names it.
//! - Every file has a checksum. What does not check out is [`SnapshotError::Damaged`], which names the file.
//! - [`prune`] never removes the newest snapshots, of which at least [`MIN_KEPT`] stay, nor a chunk of one that
//!   stays.

mod address;
mod bucket;
mod chunk;
mod error;
mod manifest;
mod place;
mod prune;
mod reader;
mod writer;

pub use address::check_url;
pub use chunk::{DEFAULT_CHUNK_BYTES, MAX_ROW_BYTES};
pub use error::SnapshotError;
pub use manifest::{Chunk, LogPart, Manifest, SNAPSHOT_VERSION, Section, State};
pub use place::Place;
pub use prune::{Kept, MIN_KEPT, Pruned, forget, prune, remove_all, remove_beyond};
pub use reader::{Listed, Snapshot, list, load};
pub use writer::{Checked, SectionName, Writer, Written};

#[cfg(test)]
mod tests;
