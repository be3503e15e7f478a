//! What binds a tick to its input.

use serde::{Deserialize, Serialize};

/// How far a partition of a source has been read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The source: a topic.
    pub source: Box<str>,
    /// Which of its partitions.
    pub partition: u32,
    /// Everything below this offset is stored, is a duplicate, or lies in the quarantine.
    pub next: u64,
}

/// What a frame says of its tick, beside the records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// How far the partitions that it covers have been read.
    pub positions: Vec<Position>,
    /// From here on the wall clock drives pipeline time: what was there before has been caught up with.
    pub goes_live: bool,
}

impl Binding {
    /// True where it says nothing.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty() && !self.goes_live
    }

    /// Takes in how far a partition has been read since.
    pub fn advance(&mut self, position: Position) {
        let same = |other: &&mut Position| (&other.source, other.partition) == (&position.source, position.partition);
        match self.positions.iter_mut().find(same) {
            Some(known) => known.next = known.next.max(position.next),
            None => self.positions.push(position),
        }
    }
}
