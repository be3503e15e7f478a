//! Which keys have something in a bucket, by the instant at which it ends.

use std::{collections::BTreeSet, ops::Bound};

use hashbrown::HashMap;

use crate::table::{Mix, Slot};

/// Bucket end → slots of keys. Most that is added belongs to buckets that are known: these are found
/// by a hash, and only new ones take their place in the order.
#[derive(Default)]
pub(super) struct Ends {
    slots: HashMap<u64, Vec<Slot>, Mix>,
    order: BTreeSet<u64>,
}

impl Ends {
    pub(super) fn add(&mut self, end: u64, slot: Slot) {
        let slots = self.slots.entry(end).or_insert_with(|| {
            self.order.insert(end);
            Vec::new()
        });
        slots.push(slot);
    }

    /// The least end within a bound.
    pub(super) fn first_after(&self, bound: Bound<u64>) -> Option<u64> {
        self.order.range((bound, Bound::Unbounded)).next().copied()
    }

    /// What ends in (`after`, `until`].
    pub(super) fn between(&self, after: u64, until: u64) -> impl Iterator<Item = (u64, &[Slot])> {
        let ends = self.order.range((Bound::Excluded(after), Bound::Included(until)));
        ends.map(|end| (*end, self.slots[end].as_slice()))
    }

    /// Takes out what ends first, if it does by `until`.
    pub(super) fn take_first(&mut self, until: u64) -> Option<(u64, Vec<Slot>)> {
        let end = self.order.first().copied().filter(|end| *end <= until)?;
        self.order.pop_first();
        self.slots.remove(&end).map(|slots| (end, slots))
    }
}
