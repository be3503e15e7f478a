//! Snapshots of a running pipeline: taken while it goes on, and what a restart begins with.
//!
//! ```text
//!  taker ──"now"──> sequencer: mints tick t ──> conductor: every group is cut at t
//!    ^                  │ ids, a slice at a time    │
//!    │                  v                           v
//!    └──── pieces <─────┴─── rows as of t, a slice a step <─ workers
//!    └──> chunks, then syncs the log, then the manifest (etalage_store::snapshot)
//! ```
//!
//! Nothing stops for it: operators copy what is about to change before the export has come to it, and a worker
//! writes one slice a step. A snapshot holds *state*; what it makes (joins, lists, sealed values) is made again.
//!
//! A snapshot counts for the store it was made of (its epoch, and the segments of its log: none of them was rewritten
//! since) and for the options that decide what state is kept.
//! Where none can be used, everything is rebuilt from the log.

mod exporting;
mod restore;
mod taker;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crossbeam_channel::{Sender, TrySendError};
use etalage_model::{Micros, hash::hash128};
use etalage_store::{
    StoreError,
    snapshot::{Kept, Manifest, Section, SectionName, SnapshotError, Written},
};
use etalage_views::ShopOptions;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

pub use restore::RESTORED_AT_ONCE_BYTES;
pub(super) use restore::{RestoredPart, ToldPart, newest, parts};
pub use taker::{Generation, SNAPSHOT_LOOK_EVERY};
pub(super) use taker::{Request, Taker};

/// Pieces that may wait to be written; whoever exports goes on with other things meanwhile.
pub(super) const MAX_WAITING_PIECES: usize = 64;

/// Whoever has other things to do rests so many times as long as it has exported.
const REST: u32 = 4;

/// How many requests for a snapshot may wait: whoever comes after them is told to come later.
pub(super) const MAX_WAITING_REQUESTS: usize = 16;

/// The part of a snapshot that the sequencer exports.
pub(super) const SEQUENCER: &str = "sequencer";

/// The part of a snapshot that says when what is served has changed.
pub(super) const SERVED: &str = "served";

/// How snapshots are kept.
#[derive(Clone, Debug)]
pub struct Snapshots {
    /// Where: a folder, or a URL.
    pub url: String,
    /// How long a call to a server is tried again.
    pub retry_for: Duration,
    /// About how many bytes of rows a restart takes in at a time.
    pub restored_at_once_bytes: u64,
    /// When one is taken without being asked for.
    pub taking: Taking,
    /// Which stay.
    pub kept: Kept,
    /// Whether the log before the oldest of them is removed.
    pub trims_log: bool,
}

/// When a snapshot is taken without being asked for: whatever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taking {
    /// So long after the one before; zero is never.
    pub every: Duration,
    /// After so many more records; 0 is never.
    pub after_records: u64,
}

impl Taking {
    /// Only when it is asked for.
    pub const NEVER: Taking = Taking { every: Duration::ZERO, after_records: 0 };
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// Snapshots are switched off.
    #[error("snapshots are switched off ([snapshots] on = false)")]
    Off,
    /// It could not be written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The log could not be looked at.
    #[error(transparent)]
    Log(#[from] StoreError),
    /// Others wait for one already.
    #[error("{MAX_WAITING_REQUESTS} requests wait for a snapshot already; ask again later")]
    Busy,
    /// Something was erased meanwhile: what was exported must not be kept.
    #[error("somebody was erased while the snapshot was taken; it was not kept")]
    Outdated,
    /// A part of the pipeline has ended, or could not export.
    #[error("{0}")]
    Over(String),
}

/// A snapshot that was begun.
pub(super) struct Begun {
    /// Its manifest, without sections.
    pub(super) head: Manifest,
    /// Brings what it holds of the log to the device.
    pub(super) sync_log: Box<dyn FnOnce() -> Result<(), StoreError> + Send>,
}

/// What the taker is sent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Piece {
    /// Rows of a section, each behind its length, from one of those who export it.
    Rows { section: SectionName, from: usize, rows: Vec<u8> },
    /// Whoever sends this has exported everything.
    Done,
    /// It could not.
    Failed(String),
}

/// The way of pieces out of a thread that must not wait.
pub(super) struct Outlet {
    pieces: Sender<Piece>,
    waiting: Option<Piece>,
    from: usize,
    /// True once the last piece was taken.
    is_done: bool,
}

impl Outlet {
    pub(super) fn new(pieces: Sender<Piece>, from: usize) -> Outlet {
        Outlet { pieces, waiting: None, from, is_done: false }
    }

    /// True where the next piece is wanted now. Nobody listens any more where the snapshot was given up: then pieces
    /// lead nowhere.
    pub(super) fn wants_more(&mut self) -> bool {
        if let Some(piece) = self.waiting.take()
            && let Err(TrySendError::Full(piece)) = self.pieces.try_send(piece)
        {
            self.waiting = Some(piece);
        }
        self.waiting.is_none() && !self.is_done
    }

    /// True once the last piece is on its way.
    pub(super) fn is_over(&self) -> bool {
        self.waiting.is_none() && self.is_done
    }

    /// Takes the next piece.
    pub(super) fn put(&mut self, piece: Piece) {
        debug_assert!(self.waiting.is_none(), "there is room for it");
        self.waiting = Some(piece);
        self.wants_more();
    }

    /// Takes the last piece: that everything was exported, or that it cannot be.
    pub(super) fn put_last(&mut self, piece: Piece) {
        self.is_done = true;
        self.put(piece);
    }

    /// Takes rows.
    pub(super) fn put_rows(&mut self, part: &str, name: &str, rows: Vec<u8>) {
        let section = SectionName { part: part.to_owned(), name: name.to_owned() };
        self.put(Piece::Rows { section, from: self.from, rows });
    }
}

/// When a thread that has other things to do exports: whenever it has nothing else to do, and otherwise for a part of
/// its time.
#[derive(Default)]
pub(super) struct Turns {
    /// When the next turn may begin; absent where nothing is exported.
    next: Option<Instant>,
}

impl Turns {
    /// There is something to export.
    pub(super) fn exports(&mut self) {
        self.next = Some(Instant::now());
    }

    /// Begins a turn, if there is something to export and it is time.
    pub(super) fn begin(&self, is_idle: bool) -> Option<Instant> {
        let now = Instant::now();
        self.next.filter(|next| is_idle || *next <= now).map(|_| now)
    }

    /// Ends a turn; there is more to export, or not.
    pub(super) fn end(&mut self, began: Instant, is_exporting: bool) {
        self.next = is_exporting.then(|| Instant::now() + began.elapsed() * REST);
    }
}

/// Stands for everything that decides what rows mean: options of the views, and this version's rows.
pub(super) fn fingerprint(options: &ShopOptions) -> String {
    /// Changed with the rows of any section: what an older version wrote is not read by a newer one.
    const ROWS_VERSION: u32 = 2;
    format!("{ROWS_VERSION}-{:032x}", hash128(format!("{options:?}").as_bytes()))
}

/// Says how much state each part of the pipeline had when the snapshot was taken; a section that is not there any more has
/// none.
pub(super) fn measure(manifest: &Manifest) {
    metrics::gauge!("etalage_snapshot_tick_seconds").set(manifest.tick as f64 / 1e6);
    static TOLD: Mutex<BTreeSet<(String, String)>> = Mutex::new(BTreeSet::new());
    let set = |(part, section): (String, String), rows: u64, bytes: u64| {
        let labels = [("part", part), ("section", section)];
        metrics::gauge!("etalage_state_rows", &labels).set(rows as f64);
        metrics::gauge!("etalage_state_bytes", &labels).set(bytes as f64);
    };
    let name = |section: &Section| (section.part.clone(), section.name.clone());
    let names = manifest.sections.iter().map(name).collect::<BTreeSet<_>>();
    for gone in std::mem::replace(&mut *TOLD.lock(), names.clone()).difference(&names) {
        set(gone.clone(), 0, 0);
    }
    manifest.sections.iter().for_each(|section| set(name(section), section.rows(), section.bytes()));
}

/// What was written, as it is told to whoever asked.
pub fn summary(written: &Written) -> serde_json::Value {
    let manifest = &written.manifest;
    serde_json::json!({
        "tick": manifest.tick, "as_of": Micros(manifest.tick).to_string(), "records": manifest.records,
        "rows": manifest.rows(), "stored_bytes": manifest.stored_bytes(), "new_bytes": written.new_bytes,
    })
}
