//! Places at which tests let the process die: between the steps that must survive it. A release build has none.
//!
//! `ETALAGE_FAILPOINT=stored:3` ends the process, as `kill -9` would, when it comes to `stored` for the third time.

/// All failpoints, in the order in which a message, and then a snapshot, comes by them.
pub const FAILPOINTS: [&str; 10] = [
    RESTORED,
    READ_BACK,
    DECIDED,
    STORED,
    ANSWERED,
    SEALED,
    PUBLISHED,
    SNAPSHOT_BEGUN,
    SNAPSHOT_SYNCED,
    SNAPSHOT_WRITTEN,
];

/// A snapshot was taken back, of the log nothing yet.
pub(super) const RESTORED: &str = "restored";
/// Everything was read back; nobody was told.
pub(super) const READ_BACK: &str = "read_back";
/// It is decided what is admitted; nothing is stored.
pub(super) const DECIDED: &str = "decided";
/// The messages are stored, and nobody knows it.
pub(super) const STORED: &str = "stored";
/// Whoever sent them was answered; the dataflow knows nothing of them.
pub(super) const ANSWERED: &str = "answered";
/// All workers have cut a tick; no reader has it.
pub(super) const SEALED: &str = "sealed";
/// All readers have a tick.
pub(super) const PUBLISHED: &str = "published";
/// A snapshot has its tick.
pub(super) const SNAPSHOT_BEGUN: &str = "snapshot_begun";
/// All chunks are written, and the log is synced; there is no manifest.
pub(super) const SNAPSHOT_SYNCED: &str = "snapshot_synced";
/// The manifest is there; nothing was removed for it.
pub(super) const SNAPSHOT_WRITTEN: &str = "snapshot_written";

/// The variable that chooses one: its name, and how many times it is passed.
#[cfg(feature = "mutants")]
const VARIABLE: &str = "ETALAGE_FAILPOINT";

#[cfg(feature = "mutants")]
type Hook = Box<dyn Fn(&'static str)>;

#[cfg(feature = "mutants")]
thread_local! {
    static HOOK: std::cell::RefCell<Option<Hook>> = const { std::cell::RefCell::new(None) };
}

/// The pipeline has come to a failpoint.
#[cfg(feature = "mutants")]
pub(super) fn reach(name: &'static str) {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    };
    static CHOSEN: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    HOOK.with_borrow(|hook| hook.iter().for_each(|hook| hook(name)));
    let chosen = CHOSEN.get_or_init(|| {
        let chosen = std::env::var(VARIABLE).ok()?;
        let (name, nth) = chosen.split_once(':').unwrap_or((&chosen, "1"));
        Some((name.to_owned(), nth.parse().expect("ETALAGE_FAILPOINT is NAME:NUMBER")))
    });
    let Some((_, nth)) = chosen.as_ref().filter(|(chosen, _)| chosen == name) else { return };
    if PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *nth {
        // Nothing is flushed, dropped or told, as at a `kill -9`.
        std::process::abort();
    }
}

/// Has `hook` called at every failpoint that this thread comes to.
#[cfg(feature = "mutants")]
pub(super) fn hook(hook: impl Fn(&'static str) + 'static) {
    HOOK.set(Some(Box::new(hook)));
}

#[cfg(not(feature = "mutants"))]
pub(super) fn reach(_name: &'static str) {}
