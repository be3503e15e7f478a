//! What is stored and not published yet: whoever makes more waits for room, or is turned away.
//!
//! Only the `shop` group is waited for. The `customer` group may lag: beyond `group_lag_max` the door
//! turns messages away, and a replay, which has no clock to lag behind, waits for it beyond
//! [`MAX_LAGGING_RECORDS`].

use std::{collections::VecDeque, sync::Arc, time::Duration};

use etalage_model::{Group, Tick};
use parking_lot::{Condvar, Mutex};

use super::machine::Time;

/// How long a blocked sequencer sleeps before it looks again whether the pipeline still lives.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Records that the `customer` group of a replay may have before it.
pub const MAX_LAGGING_RECORDS: usize = 262_144;

/// Records that the dataflow has not published yet.
pub(super) struct Backlog {
    load: Mutex<Load>,
    shrunk: Condvar,
    group_lag_max_us: u64,
    time: Arc<dyn Time>,
}

#[derive(Default)]
struct Load {
    records: [usize; 2],
    /// Those of the shop among them that the dataflow cannot take yet, since their tick may still get
    /// more.
    open: usize,
    complete_below: Tick,
    /// Ticks that the customer group has not published, and when they were added.
    lagging: VecDeque<(Tick, u64)>,
}

/// What a sequencer waits for before it adds more.
#[derive(Clone, Copy)]
pub(super) struct Most {
    /// Records that the shop may have before it.
    pub(super) shop: usize,
    /// Records that the other group may have before it.
    pub(super) customer: usize,
}

impl Backlog {
    pub(super) fn new(group_lag_max_us: u64, time: Arc<dyn Time>) -> Backlog {
        Backlog { load: Mutex::default(), shrunk: Condvar::new(), group_lag_max_us, time }
    }

    /// Everything below this tick is there.
    pub(super) fn complete(&self, below: Tick) {
        let mut load = self.load.lock();
        if below > load.complete_below {
            (load.complete_below, load.open) = (below, 0);
        }
    }

    /// Adds `count` records of `tick` for `groups`; waits first while a group has more than `most` before
    /// it. What it cannot take yet is not waited for: only what comes after it completes its tick.
    /// Calls `before_waiting` once if it has to wait, which must neither block nor use the backlog, and gives up
    /// when `is_over` says so.
    pub(super) fn add(
        &self,
        groups: &[Group],
        count: usize,
        tick: Tick,
        most: Most,
        before_waiting: impl FnOnce(),
        is_over: impl Fn() -> bool,
    ) {
        let mut load = self.load.lock();
        if load.exceeds(most) {
            before_waiting();
        }
        while load.exceeds(most) && !is_over() {
            self.shrunk.wait_for(&mut load, LOOK_AGAIN);
        }
        groups.iter().for_each(|group| load.records[*group as usize] += count);
        if groups.contains(&Group::Customer) {
            load.lagging.push_back((tick, self.time.now().monotonic_us));
        }
        if tick >= load.complete_below {
            load.open += count;
        }
    }

    /// A group has published `count` records, and everything below `upper`.
    pub(super) fn take(&self, group: Group, count: usize, upper: Tick) {
        let mut load = self.load.lock();
        load.records[group as usize] -= count;
        if group == Group::Customer {
            while load.lagging.pop_front_if(|(tick, _)| *tick < upper).is_some() {}
        }
        self.shrunk.notify_all();
    }

    /// Whether no group has more than `most` before it.
    pub(super) fn has_room(&self, most: Most) -> bool {
        !self.load.lock().exceeds(most)
    }

    pub(super) fn records(&self, group: Group) -> usize {
        self.load.lock().records[group as usize]
    }

    /// How long the customer group has been behind, where that is more than it may be. It is not behind
    /// with a tick that may still get more.
    pub(super) fn excess_us(&self) -> Option<u64> {
        let load = self.load.lock();
        let (_, added_us) = *load.lagging.front().filter(|(tick, _)| *tick < load.complete_below)?;
        let lag_us = self.time.now().monotonic_us.saturating_sub(added_us);
        (lag_us > self.group_lag_max_us).then_some(lag_us)
    }
}

impl Load {
    fn exceeds(&self, most: Most) -> bool {
        let taken = |group: Group| self.records[group as usize].saturating_sub(self.open);
        taken(Group::Shop) > most.shop || taken(Group::Customer) > most.customer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::machine::Machine;

    /// What a replay has before it completes only by what comes after it: whoever waits says first how far it is.
    #[test]
    fn who_has_to_wait_says_so_once_beforehand() {
        let backlog = Backlog::new(0, Machine::real().time);
        let (most, said) = (Most { shop: 10, customer: 10 }, std::cell::Cell::new(0));
        let add = |tick| {
            backlog.complete(tick);
            backlog.add(&[Group::Shop], 11, tick, most, || said.set(said.get() + 1), || true);
        };
        add(1);
        assert_eq!(said.get(), 0);
        add(2);
        assert_eq!(said.get(), 1);
        backlog.take(Group::Shop, 11, 2);
        backlog.take(Group::Shop, 11, 3);
        add(3);
        assert_eq!(said.get(), 1, "there is room");
    }
}
