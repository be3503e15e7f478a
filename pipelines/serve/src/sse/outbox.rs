//! The bounded queue between the thread that publishes ticks and the one that encodes them.
//!
//! Pushing never waits. Where the queue is full, all that waits is dropped and the next taker is
//! told so: the values are in the store, and every stream starts again from there.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use etalage_model::SealedTick;
use parking_lot::{Condvar, Mutex};

pub(crate) struct Outbox {
    state: Mutex<State>,
    wake: Condvar,
    max: usize,
}

#[derive(Default)]
struct State {
    ticks: VecDeque<Arc<SealedTick>>,
    attached: bool,
    overflowed: bool,
    closed: bool,
}

/// What had gathered in the queue.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) ticks: VecDeque<Arc<SealedTick>>,
    /// Ticks before these were dropped.
    pub(crate) overflowed: bool,
    /// Nothing will follow.
    pub(crate) closed: bool,
}

impl Outbox {
    pub(crate) fn new(max: usize) -> Outbox {
        Outbox { state: Mutex::default(), wake: Condvar::new(), max: max.max(1) }
    }

    /// Adds a tick, if there is anybody to take it.
    pub(crate) fn push(&self, tick: Arc<SealedTick>) {
        let mut state = self.state.lock();
        if !state.attached || state.closed {
            return;
        }
        let dropped = if state.ticks.len() == self.max {
            state.overflowed = true;
            std::mem::take(&mut state.ticks)
        } else {
            VecDeque::new()
        };
        state.ticks.push_back(tick);
        drop(state);
        self.wake.notify_one();
        drop(dropped);
    }

    /// Claims the other end. False where it is taken already.
    pub(crate) fn attach(&self) -> bool {
        !std::mem::replace(&mut self.state.lock().attached, true)
    }

    /// Waits for ticks until `deadline` and takes all of them.
    pub(crate) fn take(&self, deadline: Instant) -> Taken {
        let mut state = self.state.lock();
        while state.ticks.is_empty() && !state.closed {
            if self.wake.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        Taken {
            ticks: std::mem::take(&mut state.ticks),
            overflowed: std::mem::take(&mut state.overflowed),
            closed: state.closed,
        }
    }

    /// Lets the taker end.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use etalage_model::{Group, TickTimes};

    use super::*;

    fn tick(upper: u64) -> Arc<SealedTick> {
        let times = TickTimes::default();
        Arc::new(SealedTick { group: Group::Shop, lower: upper - 1, upper, times, batches: Vec::new() })
    }

    #[test]
    fn a_full_queue_drops_what_waits_and_says_so_once() {
        let outbox = Outbox::new(3);
        outbox.push(tick(1));
        assert!(outbox.take(Instant::now()).ticks.is_empty(), "nobody had attached");
        assert!(outbox.attach());
        assert!(!outbox.attach());
        (2..=5).for_each(|upper| outbox.push(tick(upper)));
        let taken = outbox.take(Instant::now());
        assert!(taken.overflowed);
        assert_eq!(taken.ticks.iter().map(|tick| tick.upper).collect::<Vec<_>>(), [5]);
        outbox.push(tick(6));
        assert!(!outbox.take(Instant::now()).overflowed);
    }
}
