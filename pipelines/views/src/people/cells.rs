//! When a person last looked at, or bought, each item: what distinct people are counted by.
//!
//! **State bound**: a time per item and event part that the longest window may still hold, judged by
//! the newest of them.

use std::mem;

use serde::{Deserialize, Serialize};

use super::small_map::SmallMap;
use crate::lines::Cell;

/// How much the newest event may be ahead of pipeline time: what is forgotten must be out of every
/// window whatever the clock's skew is.
const SLACK_US: u64 = 24 * 3_600_000_000;

/// The latest time per cell.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Cells {
    latest: SmallMap<Cell, u64>,
    newest: u64,
    /// How many there were when old ones were last forgotten.
    #[serde(skip)]
    kept: usize,
    /// What was told of the cells that have changed since; absent where nothing was told of any.
    #[serde(skip)]
    told: Changed,
}

/// Cells that have changed since something was told, with what was told of them.
#[derive(Debug, Default)]
struct Changed(Option<Vec<(Cell, Option<u64>)>>);

impl Clone for Changed {
    /// A copy has told nothing.
    fn clone(&self) -> Self {
        Changed(None)
    }
}

impl Cells {
    /// Something happened in a cell.
    pub fn take(&mut self, cell: Cell, at: u64, horizon_us: u64) {
        self.newest = self.newest.max(at);
        if at + horizon_us + SLACK_US < self.newest {
            return;
        }
        let before = self.latest.get(&cell).copied();
        if before.is_some_and(|before| before >= at) {
            return;
        }
        *self.latest.entry(cell) = at;
        if let Some(changed) = &mut self.told.0 {
            changed.push((cell, before));
        }
        if self.latest.len() > 2 * self.kept + 16 {
            let newest = self.newest;
            self.latest.retain(|_, at| *at + horizon_us + SLACK_US >= newest);
            self.kept = self.latest.len();
        }
    }

    /// Takes in all that `other` knows.
    pub fn merge(&mut self, other: &Cells, horizon_us: u64) {
        other.latest.iter().for_each(|(cell, at)| self.take(*cell, *at, horizon_us));
    }

    /// Tells what has changed.
    pub fn settle(&mut self, mut tell: impl FnMut(Cell, u64, isize)) {
        let Some(changed) = self.told.0.as_mut().map(mem::take) else {
            self.latest.iter().for_each(|(cell, at)| tell(*cell, *at, 1));
            self.told = Changed(Some(Vec::new()));
            return;
        };
        // Of several changes of a cell the first knows what was told. What was forgotten since is out
        // of every window: nobody misses its end.
        let mut changed = changed;
        changed.sort_by_key(|(cell, _)| *cell);
        changed.dedup_by_key(|(cell, _)| *cell);
        for (cell, before) in changed {
            before.iter().for_each(|at| tell(cell, *at, -1));
            self.latest.get(&cell).iter().for_each(|at| tell(cell, **at, 1));
        }
    }

    /// Takes everything back.
    pub fn withdraw(&mut self, mut tell: impl FnMut(Cell, u64, isize)) {
        if self.told.0.is_none() {
            return;
        }
        self.settle(&mut tell);
        self.latest.iter().for_each(|(cell, at)| tell(*cell, *at, -1));
        self.told = Changed(None);
    }
}
