//! When slots of a table are to be looked at although nothing has come for them.
//!
//! A slot that is freed is taken off: no due names a slot that is free, or that was given to somebody
//! else meanwhile. Taking one off costs the same wherever it stands, however many are due at its tick.
//!
//! **State bound**: one place per due.

use std::collections::BTreeSet;

use crate::{Tick, table::Slot};

/// Slots by the tick at which they are due.
#[derive(Default)]
pub(crate) struct Dues(BTreeSet<(Tick, Slot)>);

impl Dues {
    /// `slot` is due at `tick`.
    pub(crate) fn add(&mut self, tick: Tick, slot: Slot) {
        self.0.insert((tick, slot));
    }

    /// `slot` is not due at `tick` any more.
    pub(crate) fn remove(&mut self, tick: Tick, slot: Slot) {
        self.0.remove(&(tick, slot));
    }

    /// `slot` was due at the first of these ticks, if at all, and is now at the other.
    pub(crate) fn change(&mut self, slot: Slot, before: Option<Tick>, after: Option<Tick>) {
        if before != after {
            before.into_iter().for_each(|tick| self.remove(tick, slot));
            after.into_iter().for_each(|tick| self.add(tick, slot));
        }
    }

    /// Takes the first slot that is due at `tick` or before.
    pub(crate) fn pop(&mut self, tick: Tick) -> Option<Slot> {
        self.first().filter(|first| *first <= tick)?;
        self.0.pop_first().map(|(_, slot)| slot)
    }

    /// The least tick at which a slot is due.
    pub(crate) fn first(&self) -> Option<Tick> {
        self.0.first().map(|(tick, _)| *tick)
    }

    /// How many dues there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
