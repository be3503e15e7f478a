//! What several partitions held at the start, merged by the time at which it happened.
//!
//! A partition that is behind and has nothing waiting may still have the earliest message: nothing is
//! handed out until it has told.

use std::collections::{BTreeMap, VecDeque};

use etalage_kafka::Part;
use etalage_model::Micros;

/// Messages of one partition that may wait before it is paused.
pub(super) const MAX_AHEAD: usize = 1_000;

/// Messages by partition, each in the order of its offsets.
pub(super) struct Merge<T> {
    waiting: BTreeMap<Part, VecDeque<(Micros, T)>>,
    paused: Vec<Part>,
}

impl<T> Merge<T> {
    pub(super) fn new() -> Self {
        Merge { waiting: BTreeMap::new(), paused: Vec::new() }
    }

    /// A message of a partition has come.
    pub(super) fn add(&mut self, part: Part, at: Micros, message: T) {
        self.waiting.entry(part).or_default().push_back((at, message));
    }

    /// The message that happened first, if it is sure that none before it is still to come: `behind`
    /// are the partitions of which more is.
    pub(super) fn next<'a>(&mut self, mut behind: impl Iterator<Item = &'a Part>) -> Option<T> {
        if behind.any(|part| self.waiting.get(part).is_none_or(VecDeque::is_empty)) {
            return None;
        }
        let heads = self.waiting.iter().filter_map(|(part, messages)| Some((messages.front()?.0, part)));
        let first = heads.min()?.1.clone();
        self.waiting.get_mut(&first)?.pop_front().map(|(_, message)| message)
    }

    /// Which partitions are to be paused, and which to go on.
    pub(super) fn balance(&mut self) -> (Vec<Part>, Vec<Part>) {
        let waiting = |part: &Part| self.waiting.get(part).map_or(0, VecDeque::len);
        let (paused, go_on): (Vec<Part>, Vec<Part>) =
            std::mem::take(&mut self.paused).into_iter().partition(|part| waiting(part) > MAX_AHEAD / 2);
        let full = self.waiting.iter().filter(|(_, messages)| messages.len() >= MAX_AHEAD).map(|(part, _)| part);
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
        merge.add(part(0), Micros(5), "c");
        merge.add(part(1), Micros(3), "a");
        merge.add(part(1), Micros(9), "d");
        let behind = [part(0), part(1)];
        assert_eq!(merge.next(behind.iter()), Some("a"));
        assert_eq!(merge.next(behind.iter()), Some("c"));
        assert_eq!(merge.next(behind.iter()), None, "partition 0 may have an earlier one");
        assert_eq!(merge.next(behind[1..].iter()), Some("d"));
        assert_eq!(merge.next([].iter()), None);
    }

    #[test]
    fn a_partition_that_is_far_ahead_pauses_until_half_of_it_is_taken() {
        let mut merge = Merge::new();
        (0..MAX_AHEAD as u64).for_each(|at| merge.add(part(0), Micros(at), at));
        assert_eq!(merge.balance(), (vec![part(0)], vec![]));
        assert_eq!(merge.balance(), (vec![], vec![]));
        (0..MAX_AHEAD / 2).for_each(|_| _ = merge.next([].iter()));
        assert_eq!(merge.balance(), (vec![], vec![part(0)]));
        assert!(merge.paused().is_empty());
    }
}
