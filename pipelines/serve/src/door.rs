//! The way in, as the HTTP handlers see it. The pipeline behind it is not known here.

use etalage_model::{InputKind, KeyFields, Outcome, Quarantined, Record, Rejected, decode::json::BodyError};
use tokio::sync::oneshot;

/// Why a value could not be explained: a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotExplained {
    /// What was asked for makes no sense.
    Asked(String),
    /// What was stored, or who belongs together, cannot be read now.
    Unreadable(String),
}

/// Takes messages in, and tells what became of them.
///
/// **Delivery**: what [`Door::submit`] took is answered for exactly once, with one outcome per
/// item in their order; an item counts as taken when its outcome says so. Where the receiver is
/// dropped without an answer it is *unknown* whether the batch was stored, and sending it again
/// is safe, since messages have ids.
pub trait Door: Send + Sync + 'static {
    /// Reads a body, with the limits (`max_batch_events` among them), the currencies and the
    /// clock of the pipeline.
    ///
    /// # Errors
    /// Where the body as a whole cannot be read; what is wrong with one item is in its place.
    fn decode(&self, kind: InputKind, body: &[u8]) -> Result<Vec<Result<Record, Rejected>>, BodyError>;

    /// Whether a batch would be taken now, as far as that can be told without reading it.
    ///
    /// # Errors
    /// Why not.
    fn has_room(&self) -> Result<(), Busy>;

    /// Takes a decoded batch. The receiver answers when it is stored; its `Err` says why the
    /// store failed, and whether it is known what became of the batch.
    ///
    /// # Errors
    /// Where it cannot be taken now.
    fn submit(
        &self,
        source: &str,
        batch: Vec<Result<Record, Rejected>>,
    ) -> Result<oneshot::Receiver<Result<Vec<Outcome>, NotStored>>, Busy>;

    /// Totals since the process started.
    fn counts(&self) -> Counts;

    /// At most `limit` quarantined messages behind number `after`. May wait for the disk.
    ///
    /// # Errors
    /// A sentence that says why they could not be read.
    fn quarantine(&self, after: u64, limit: usize) -> Result<Vec<Quarantined>, String>;

    /// Erases whoever `id` stands for: the receipt, as JSON. May take long.
    ///
    /// # Errors
    /// A sentence that says why not; it can be asked for again.
    fn erase(&self, id: &str) -> Result<serde_json::Value, String>;

    /// Takes refused messages in once more: those with these numbers, or all that were refused for a reason. What
    /// became of each, as a JSON array. May take long.
    ///
    /// # Errors
    /// A sentence that says why not, or not all; it can be asked for again.
    fn retry(&self, numbers: &[u64], code: Option<&str>) -> Result<serde_json::Value, String>;

    /// Takes a snapshot now, and says what it is made of, as JSON. May take long.
    ///
    /// # Errors
    /// A sentence that says why there is none.
    fn snapshot(&self) -> Result<serde_json::Value, String>;

    /// How the wall clock stands to pipeline time, as JSON.
    fn clock(&self) -> serde_json::Value;

    /// Adopts the wall clock, and says what that did, as JSON.
    ///
    /// # Errors
    /// Where it does not drive pipeline time.
    fn accept_clock(&self) -> Result<serde_json::Value, String>;

    /// The newest `limit` events behind a value of somebody, as JSON. May take long.
    ///
    /// # Errors
    /// Why they cannot be told.
    fn explain(&self, view: &str, key: &KeyFields, limit: usize) -> Result<serde_json::Value, NotExplained>;

    /// Whether messages are taken.
    ///
    /// # Errors
    /// What is being waited for, such as the log being read back.
    fn ready(&self) -> Result<(), String>;
}

/// The store failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStored {
    /// Nothing of the batch is stored.
    #[error("{0}")]
    Failed(String),
    /// Some of the batch may be stored, or all of it. Sending it again is safe.
    #[error("{0}")]
    Unknown(String),
}

/// A batch cannot be taken now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    /// When to try again.
    pub retry_after_s: u32,
    /// Why.
    pub reason: String,
    /// True where more is sent than can be taken (429); false where nothing can be taken (503).
    pub overload: bool,
}

/// What has come in since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages stored.
    pub stored: u64,
    /// Messages that were stored before.
    pub duplicates: u64,
    /// Messages that went to the quarantine.
    pub refused: u64,
}
