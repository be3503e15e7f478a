//! Back to where an outbox was before a transaction that was cancelled.

use std::collections::BTreeMap;

use super::{Flight, Mark, Outbox, Part};

/// What is known of arrivals at a moment, to be gone back to.
pub(in crate::sink) struct Checkpoint {
    next: u64,
    landed: BTreeMap<u64, (Part, u64)>,
    settled: BTreeMap<Part, u64>,
    ends: BTreeMap<Part, u64>,
    done: Option<Mark>,
    told: Option<u64>,
}

impl Outbox {
    /// What is known of arrivals now.
    pub(in crate::sink) fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            next: self.next,
            landed: self.landed.clone(),
            settled: self.settled.clone(),
            ends: self.ends.clone(),
            done: self.done.clone(),
            told: self.told,
        }
    }

    /// Nothing of what was sent since counts: it waits again, in its order. What was `refused` is set aside.
    pub(in crate::sink) fn roll_back(&mut self, to: Checkpoint, sent: Vec<Flight>, refused: Vec<Flight>) {
        let Checkpoint { next, landed, settled, ends, done, told } = to;
        (self.landed, self.settled, self.ends, self.done, self.told) = (landed, settled, ends, done, told);
        self.numbers.split_off(&next);
        self.marks.clear();
        for flight in sent.into_iter().rev() {
            let place = flight.place();
            self.flying.remove(&place);
            self.take_back(flight);
            self.order.push_front(place);
        }
        for flight in refused {
            let place = flight.place();
            self.flying.remove(&place);
            self.take_back(flight);
            self.aside.push(place);
        }
        if self.waiting.is_empty() {
            self.mark();
        }
    }
}
