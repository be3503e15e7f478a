//! What leaves the dataflow, and the one shape in which every reader gets it.

use std::sync::Arc;

use crate::{Bundles, Group, Key, Micros, Tick, Value};

/// The changes of one view between two ticks. Each key stands in it at most once, by itself or in a
/// bundle, with its value after the last tick, or `None` where it has none any more.
#[derive(Clone, Debug)]
pub struct SealedBatch {
    /// The group with which the view is sealed.
    pub group: Group,
    /// The view's name.
    pub view: &'static str,
    /// First tick covered.
    pub lower: Tick,
    /// First tick not covered.
    pub upper: Tick,
    /// New values by key; `None` is a tombstone.
    pub upserts: Vec<(Key, Option<Value>)>,
    /// Of views whose rows change together: the same as upserts, in fewer words.
    pub bundles: Bundles,
}

impl SealedBatch {
    /// A batch in which nothing changed.
    pub fn new(group: Group, view: &'static str, lower: Tick, upper: Tick) -> SealedBatch {
        SealedBatch { group, view, lower, upper, upserts: Vec::new(), bundles: Bundles::default() }
    }

    /// Every key that changed, those of bundles too.
    pub fn changes(&self) -> impl Iterator<Item = (Key, Option<Value>)> {
        self.upserts.iter().cloned().chain(self.bundles.upserts())
    }

    /// How many keys changed.
    pub fn len(&self) -> usize {
        self.upserts.len() + self.bundles.len()
    }

    /// True where nothing changed.
    pub fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.bundles.is_empty()
    }

    /// Takes in another worker's part of the same batch.
    pub fn append(&mut self, part: SealedBatch) {
        self.upserts.extend(part.upserts);
        self.bundles.append(part.bundles);
    }
}

/// When the causes of a tick happened and arrived, and when it was sealed. Arrivals, sealing and
/// emission are read off one monotonic clock, in microseconds since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TickTimes {
    /// The newest event time among the causes; `None` for a tick without input.
    pub max_event_time: Option<Micros>,
    /// When the oldest cause arrived.
    pub first_arrival_us: Option<u64>,
    /// When the newest cause arrived.
    pub last_arrival_us: Option<u64>,
    /// When all workers had passed the tick.
    pub sealed_us: u64,
}

impl TickTimes {
    /// The same, where a tick without causes keeps those of the tick before it.
    pub fn after(self, before: &TickTimes) -> TickTimes {
        if self.max_event_time.is_some() || self.first_arrival_us.is_some() {
            return self;
        }
        TickTimes { sealed_us: self.sealed_us, ..*before }
    }
}

/// Everything that changed in one group between two ticks: what is published by one swap.
#[derive(Clone, Debug)]
pub struct SealedTick {
    /// Which group.
    pub group: Group,
    /// First tick covered.
    pub lower: Tick,
    /// First tick not covered; values are as of `upper - 1`.
    pub upper: Tick,
    /// When its causes happened, arrived and were sealed.
    pub times: TickTimes,
    /// One batch per view that changed.
    pub batches: Vec<SealedBatch>,
}

impl SealedTick {
    /// The tick as of which the values hold.
    pub fn as_of(&self) -> Tick {
        self.upper - 1
    }
}

/// A stream of sealed ticks.
///
/// **Delivery**: in order of ticks per group, without gaps (each `lower` is the `upper` before
/// it), each tick once. Called from one thread; a slow implementation holds the pipeline back,
/// so it hands over and returns.
pub trait Changes: Send {
    /// Takes the next sealed tick.
    fn sealed(&mut self, tick: &Arc<SealedTick>);
}
