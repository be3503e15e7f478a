//! Slots that wait before they are forgotten.
//!
//! **State bound**: a slot waits once; a bit for each slot that ever did.

use std::collections::VecDeque;

use crate::table::Slot;

/// Slots of keys that could be forgotten but may come back, in the order in which they fell idle.
#[derive(Default)]
pub struct Idle {
    queue: VecDeque<Slot>,
    /// A bit for each slot: whether it waits. One that falls idle again and again waits once.
    waits: Vec<u64>,
}

impl Idle {
    /// Lets a slot wait. It may be in use again meanwhile.
    pub fn add(&mut self, slot: Slot) {
        let (word, bit) = (slot as usize / 64, 1 << (slot % 64));
        if self.waits.len() <= word {
            self.waits.resize(word + 1, 0);
        }
        if self.waits[word] & bit == 0 {
            self.waits[word] |= bit;
            self.queue.push_back(slot);
        }
    }

    /// The slot that has waited longest, as long as more are waiting than half of `keys`: so that no
    /// more are kept idle than are in use.
    pub fn pop(&mut self, keys: usize) -> Option<Slot> {
        if self.queue.len() <= keys / 2 {
            return None;
        }
        let slot = self.queue.pop_front()?;
        self.waits[slot as usize / 64] &= !(1 << (slot % 64));
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_waits_once_however_often_it_falls_idle() {
        let mut idle = Idle::default();
        [70, 3, 70, 70, 3, 5].into_iter().for_each(|slot| idle.add(slot));
        assert_eq!(idle.pop(6), None, "no more wait than half of the keys");
        assert_eq!((idle.pop(5), idle.pop(5)), (Some(70), None));
        idle.add(70);
        assert_eq!([idle.pop(0), idle.pop(0), idle.pop(0), idle.pop(0)], [Some(3), Some(5), Some(70), None]);
    }
}
