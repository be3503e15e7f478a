//! The values of one group, as of one tick, and what is known of the ticks before.

use etalage_model::{Tick, TickTimes};

use crate::{known::Known, view_rows::ViewRows};

/// The rows of all views of a group.
#[derive(Default)]
pub(crate) struct GroupRows {
    /// From which ticks streams can go on.
    pub(crate) known: Known,
    /// Who was removed up to here may have been erased.
    pub(crate) erased: Tick,
    /// First tick not covered yet; 0 before anything was published.
    pub(crate) upper: Tick,
    pub(crate) times: TickTimes,
    /// Those of its views, in the store's order.
    pub(crate) views: Vec<ViewRows>,
}

impl GroupRows {
    pub(crate) fn as_of(&self) -> Tick {
        self.upper.saturating_sub(1)
    }

    /// An earlier process knew what was published as of these ticks.
    pub(crate) fn know(&mut self, ranges: &[(Tick, Tick)]) {
        // The tick at which that process left off is known already.
        let own = std::mem::take(&mut self.known).until(Tick::MAX);
        let mut all: Vec<(Tick, Tick)> = ranges.iter().copied().chain(own).collect();
        all.sort_unstable();
        all.into_iter().for_each(|range| self.known.add(range));
    }

    pub(crate) fn erase(&mut self, tick: Tick) {
        self.erased = self.erased.max(tick);
    }
}
