//! The embedded store of etalage: the [`Log`] of everything that was taken, the [`Quarantine`] of
//! what was not, and the [`Receipts`] of what was erased from both.
//!
//! **The log** is a folder of append-only segment files. One [`Log::append`] writes one frame:
//! the records of one group commit and the tick they are bound to. When it returns, the frame is
//! as durable as [`Durability`] names it; [`frames`] reads everything back in the same order.
//!
//! What holds, whatever happens to the process or the machine:
//! - A frame is there as a whole or not at all.
//! - At opening, a torn tail is removed only if no later frame follows it, which is what an
//!   append that never finished leaves. Anything else that does not check out is
//!   [`StoreError::Corrupt`], which names file and offset, and the store stays as it is. A power
//!   loss under [`Durability::Process`] may end in that error too: it promises less.
//! - After a failed write or fsync nothing more is written, since nobody knows what the disk
//!   holds; the exception is a full disk, where the frame was taken back and can be tried again.
//! - [`Log::rewrite`] and [`Quarantine::rewrite`] drop records for good: they end in the old state or
//!   the new one, and then no byte of a dropped record is left in any file.
//! - One process writes. A second one is told so by [`StoreError::Locked`].
//!
//! There is no clock here, and all randomness and all file calls of log and receipts go through
//! [`disk::Disk`], so that a simulation can take their place.

mod behind;
pub mod disk;
mod erasures;
mod error;
mod format;
mod frames;
mod log;
mod manifest;
mod quarantine;
mod receipts;
mod repair;
mod segment;
pub mod snapshot;

pub use erasures::{ERASURES_FILE, begin_erasure, erasures};
pub use error::{Fate, StoreError};
pub use format::FORMAT_VERSION;
pub use frames::{Frame, Frames, frames, frames_on};
pub use log::{
    Becomes, DEFAULT_MAX_FRAME_BYTES, DEFAULT_SEGMENT_BYTES, DEFAULT_WRITE_BEHIND_BYTES, Durability, Edit, Log,
    LogOptions, Opened, Rewritten,
};
pub use quarantine::{
    DEFAULT_MAX_RAW_BYTES, DEFAULT_MAX_RECORDS, MAX_LIST, QUARANTINE_FILE, Quarantine, QuarantineOptions,
};
pub use receipts::{MAX_RECEIPTS, RECEIPTS_FILE, RECEIPTS_KEY_FILE, Receipt, Receipts};
pub use repair::{Damage, find_damage, find_damage_on, set_damage_aside, set_damage_aside_on, set_file_aside};
