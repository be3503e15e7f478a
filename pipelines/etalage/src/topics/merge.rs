//! What several partitions held at the start, merged by the time at which it happened.
//!
//! A partition that is behind and has nothing waiting may still have the earliest message: nothing is
//! handed out until it has told.

use std::collections::{BTreeMap, VecDeque};

use etalage_kafka::Part;
use etalage_model::Micros;

/// Bytes of one partition that may wait before it is paused.
const MAX_AHEAD_BYTES: usize = 2 << 20;

/// Bytes that a message counts beyond its own: those of what it was read as.
const MESSAGE_BYTES: usize = 1 << 10;

/// Messages by partition.
pub(super) struct Merge<T> {
    waiting: BTreeMap<Part, Lane<T>>,
    paused: Vec<Part>,
}

/// Messages of a partition in the order of their offsets: when each happened, and its bytes.
struct Lane<T> {
    messages: VecDeque<(Micros, usize, T)>,
    bytes: usize,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Lane { messages: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Merge<T> {
    pub(super) fn new() -> Self {
        Merge { waiting: BTreeMap::new(), paused: Vec::new() }
    }

    /// A message of so many `bytes` of a partition has come.
    pub(super) fn add(&mut self, part: Part, at: Micros, bytes: usize, message: T) {
        let lane = self.waiting.entry(part).or_default();
        lane.messages.push_back((at, bytes + MESSAGE_BYTES, message));
        lane.bytes += bytes + MESSAGE_BYTES;
    }

    /// The message that happened first, if it is sure that none before it is still to come: `behind`
    /// are the partitions of which more is.
    pub(super) fn next<'a>(&mut self, mut behind: impl Iterator<Item = &'a Part>) -> Option<T> {
        if behind.any(|part| self.waiting.get(part).is_none_or(|lane| lane.messages.is_empty())) {
            return None;
        }
        let head = |lane: &Lane<T>| lane.messages.front().map(|(at, ..)| *at);
        let heads = self.waiting.iter_mut().filter_map(|(part, lane)| Some((head(lane)?, part, lane)));
        let (_, _, lane) = heads.min_by_key(|(at, part, _)| (*at, *part))?;
        let (_, bytes, message) = lane.messages.pop_front()?;
        lane.bytes -= bytes;
        Some(message)
    }

    /// Which partitions are to be paused, and which to go on.
    pub(super) fn balance(&mut self) -> (Vec<Part>, Vec<Part>) {
        let bytes = |part: &Part| self.waiting.get(part).map_or(0, |lane| lane.bytes);
        let (paused, go_on): (Vec<Part>, Vec<Part>) =
            std::mem::take(&mut self.paused).into_iter().partition(|part| bytes(part) > MAX_AHEAD_BYTES / 2);
        let full = self.waiting.iter().filter(|(_, lane)| lane.bytes >= MAX_AHEAD_BYTES).map(|(part, _)| part);
        let pause: Vec<Part> = full.filter(|part| !paused.contains(part)).cloned().collect();
        self.paused = paused.into_iter().chain(pause.iter().cloned()).collect();
        (pause, go_on)
    }

    /// The partitions that are paused.
    pub(super) fn paused(&self) -> &[Part] {
        &self.paused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u32) -> Part {
        ("t".into(), number)
    }

    #[test]
    fn messages_come_in_the_order_in_which_they_happened() {
        let mut merge = Merge::new();
        merge.add(part(0), Micros(5), 10, "c");
        merge.add(part(1), Micros(3), 10, "a");
        merge.add(part(1), Micros(9), 10, "d");
        let behind = [part(0), part(1)];
        assert_eq!(merge.next(behind.iter()), Some("a"));
        assert_eq!(merge.next(behind.iter()), Some("c"));
        assert_eq!(merge.next(behind.iter()), None, "partition 0 may have an earlier one");
        assert_eq!(merge.next(behind[1..].iter()), Some("d"));
        assert_eq!(merge.next([].iter()), None);
    }

    #[test]
    fn a_partition_that_is_far_ahead_pauses_until_half_of_it_is_taken() {
        let (mut merge, large) = (Merge::new(), MAX_AHEAD_BYTES / 8 - MESSAGE_BYTES);
        (0..8).for_each(|at| merge.add(part(0), Micros(at), large, at));
        assert_eq!(merge.balance(), (vec![part(0)], vec![]));
        assert_eq!(merge.balance(), (vec![], vec![]));
        assert_eq!((0..3).filter_map(|_| merge.next([].iter())).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(merge.balance(), (vec![], vec![]));
        assert_eq!(merge.next([].iter()), Some(3));
        assert_eq!(merge.balance(), (vec![], vec![part(0)]));
        assert!(merge.paused().is_empty());
    }
}
