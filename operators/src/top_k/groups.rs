//! The groups of stage 1: of each a list for every lane, and the candidates that were emitted for it.
//!
//! The lists of a group stand together and have the same members, each with the same leaf, so that a
//! member is looked for once, whatever changes in its lanes.

use super::{Ranking, list::List, tree::OUT};
use crate::table::Slot;

/// The groups' lists, by the group's slot and lane.
pub(super) struct Groups<M, P> {
    k: usize,
    lanes: usize,
    lists: Vec<Listed<M, P>>,
    /// Lists whose candidates may be others.
    touched: Vec<usize>,
}

struct Listed<M, P> {
    list: List<Seat<M, P>>,
    emitted: Ranking<M, P>,
    is_touched: bool,
}

/// A member in a list, with the payload of its gate at hand. A list orders it by the member alone.
#[derive(Clone)]
pub(super) struct Seat<M, P> {
    pub(super) member: M,
    pub(super) open: Option<P>,
}

impl<M: Ord, P> Ord for Seat<M, P> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.member.cmp(&other.member)
    }
}
impl<M: Ord, P> PartialOrd for Seat<M, P> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<M: Eq, P> PartialEq for Seat<M, P> {
    fn eq(&self, other: &Self) -> bool {
        self.member == other.member
    }
}
impl<M: Eq, P> Eq for Seat<M, P> {}

/// What a group's candidates in a lane were, and what they are now.
pub(super) struct Settled<M, P> {
    pub(super) group: Slot,
    pub(super) lane: u8,
    pub(super) before: Ranking<M, P>,
    pub(super) now: Ranking<M, P>,
}

impl<M: Ord + Clone, P: Ord + Clone> Groups<M, P> {
    pub(super) fn new(k: usize, lanes: usize) -> Self {
        Groups { k, lanes, lists: Vec::new(), touched: Vec::new() }
    }

    /// Makes room for the lists of a group.
    pub(super) fn make_room(&mut self, group: Slot) {
        let lists = (group as usize + 1) * self.lanes;
        while self.lists.len() < lists {
            let list = List::new(self.k);
            self.lists.push(Listed { list, emitted: Ranking::default(), is_touched: false });
        }
    }

    fn of(&self, group: Slot) -> std::ops::Range<usize> {
        let first = group as usize * self.lanes;
        first..first + self.lanes
    }

    /// A leaf for a member in all lists of a group, not eligible yet.
    pub(super) fn add(&mut self, group: Slot, seat: &Seat<M, P>, tie: u64) -> u32 {
        let lists = self.of(group);
        let mut leaves = self.lists[lists].iter_mut().map(|listed| listed.list.add(seat.clone(), tie));
        let leaf = leaves.next().expect("there is a lane");
        leaves.for_each(|other| assert_eq!(leaf, other, "the lists of a group have the same leaves"));
        leaf
    }

    /// Takes a leaf out of all lists of a group.
    pub(super) fn remove(&mut self, group: Slot, leaf: u32) {
        for at in self.of(group) {
            if self.lists[at].list.remove(leaf) {
                self.touch(at);
            }
        }
    }

    /// Gives a leaf a score in one lane.
    pub(super) fn set(&mut self, group: Slot, lane: u8, leaf: u32, score: i64) {
        let at = group as usize * self.lanes + usize::from(lane);
        if self.lists[at].list.set(leaf, score) {
            self.touch(at);
        }
    }

    /// Gives a leaf another gate, and the score in each lane that `score` says.
    pub(super) fn regate(&mut self, group: Slot, leaf: u32, open: &Option<P>, score: impl Fn(u8) -> i64) {
        for (lane, at) in (0u8..).zip(self.of(group)) {
            let list = &mut self.lists[at].list;
            list.change_member(leaf, |seat| seat.open.clone_from(open));
            if list.set(leaf, score(lane)) || list.is_listed(leaf) {
                self.touch(at);
            }
        }
    }

    fn touch(&mut self, at: usize) {
        if !std::mem::replace(&mut self.lists[at].is_touched, true) {
            self.touched.push(at);
        }
    }

    /// Reads what [`Groups::set`] will need of a leaf in the first lane, so that it is at hand then.
    pub(super) fn peek(&self, group: Slot, leaf: u32) -> u64 {
        self.lists[group as usize * self.lanes].list.peek(leaf)
    }

    /// True where nobody is in a group and nothing is out for it, nor yet to be settled.
    pub(super) fn is_unused(&self, group: Slot) -> bool {
        let is_unused =
            |listed: &Listed<M, P>| listed.list.is_empty() && listed.emitted.is_empty() && !listed.is_touched;
        self.lists[self.of(group)].iter().all(is_unused)
    }

    /// Gives back the room that the lists of an unused group have taken.
    pub(super) fn clear(&mut self, group: Slot) {
        for at in self.of(group) {
            self.lists[at].list = List::new(self.k);
        }
    }

    /// Settles all lists that were touched; gives each group of them once a lane.
    pub(super) fn settle(&mut self) -> Vec<Settled<M, P>> {
        let settle = |at: usize| {
            let Listed { list, emitted, is_touched } = &mut self.lists[at];
            *is_touched = false;
            let ranked = |(seat, score): (&Seat<M, P>, i64)| {
                debug_assert!(score > OUT);
                (seat.member.clone(), score, seat.open.clone().expect("a listed member is open"))
            };
            let now: Ranking<M, P> = list.first().map(ranked).collect();
            let before = std::mem::replace(emitted, Ranking::clone(&now));
            Settled { group: (at / self.lanes) as Slot, lane: (at % self.lanes) as u8, before, now }
        };
        self.touched.drain(..).map(settle).collect()
    }
}
