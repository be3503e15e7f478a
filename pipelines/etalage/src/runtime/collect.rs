//! A reader that keeps the newest value of every key: what `replay --dump` and `verify` look at.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use etalage_model::{Changes, Key, SealedTick, Tick, Value};
use parking_lot::Mutex;

/// The newest values of the views that are wanted. Clones share them.
#[derive(Clone)]
pub struct Collector {
    wanted: Arc<BTreeSet<String>>,
    kept: Arc<Mutex<Kept>>,
}

/// Values by view and key, and the tick as of which they hold.
#[derive(Default)]
pub struct Kept {
    /// View → key → value.
    pub views: BTreeMap<&'static str, BTreeMap<Key, Value>>,
    /// The tick.
    pub as_of: Tick,
}

impl Collector {
    /// Keeps the views called `wanted`.
    pub fn of(wanted: impl IntoIterator<Item = String>) -> Collector {
        Collector { wanted: Arc::new(wanted.into_iter().collect()), kept: Arc::default() }
    }

    /// Looks at what is kept.
    pub fn with<T>(&self, look: impl FnOnce(&Kept) -> T) -> T {
        look(&self.kept.lock())
    }
}

impl Changes for Collector {
    fn sealed(&mut self, tick: &Arc<SealedTick>) {
        let mut kept = self.kept.lock();
        kept.as_of = tick.as_of();
        for batch in tick.batches.iter().filter(|batch| self.wanted.contains(batch.view)) {
            let rows = kept.views.entry(batch.view).or_default();
            for (key, value) in batch.changes() {
                match value {
                    Some(value) => rows.insert(key, value),
                    None => rows.remove(&key),
                };
            }
        }
    }
}
