//! The groups of stage 1: of each the leaves of its members, and for every lane a list and the candidates
//! that were emitted for it.
//!
//! A member has one leaf in a group, with its scores in all lanes side by side, so that it is looked for
//! once, whatever changes in its lanes.

use smallvec::SmallVec;

use super::{
    Ranking,
    leaves::{Leaves, OUT},
    list::List,
};
use crate::table::Slot;

/// The groups, by slot.
pub(super) struct Groups<M, P> {
    k: usize,
    lanes: usize,
    groups: Vec<Group<M, P>>,
    /// Lists whose candidates may be others: group and lane.
    touched: Vec<(Slot, u8)>,
}

/// So many lanes stand in a group, or a cell, itself. As many as there are windows by default.
pub(super) const LANES_AT_HAND: usize = 5;

struct Group<M, P> {
    leaves: Leaves<Seat<M, P>>,
    /// Of each lane, [`List::near`].
    near: SmallVec<[i64; LANES_AT_HAND]>,
    lists: Vec<Listed<M, P>>,
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

impl<M: Ord + Clone, P: Ord + Clone> Group<M, P> {
    fn new(k: usize, lanes: usize) -> Self {
        let listed = |lane| Listed { list: List::new(k, lane), emitted: Ranking::default(), is_touched: false };
        let lists: Vec<Listed<M, P>> = (0..lanes).map(|lane| listed(lane as u8)).collect();
        Group { leaves: Leaves::new(lanes), near: lists.iter().map(|listed| listed.list.near()).collect(), lists }
    }

    /// Gives a leaf a score in a lane; true where the first K of the lane changed.
    fn set(&mut self, lane: u8, leaf: u32, score: i64) -> bool {
        let before = self.leaves.score(lane, leaf);
        if before == score {
            return false;
        }
        let near = &mut self.near[usize::from(lane)];
        if before.max(score) < *near {
            self.leaves.set(lane, leaf, score);
            return false;
        }
        let list = &mut self.lists[usize::from(lane)].list;
        let is_other = list.set(&mut self.leaves, leaf, score);
        *near = list.near();
        is_other
    }
}

impl<M: Ord + Clone, P: Ord + Clone> Groups<M, P> {
    pub(super) fn new(k: usize, lanes: usize) -> Self {
        Groups { k, lanes, groups: Vec::new(), touched: Vec::new() }
    }

    /// The lanes, of which there may be 256.
    pub(super) fn lanes(&self) -> impl Iterator<Item = u8> + use<M, P> {
        (0..self.lanes).map(|lane| lane as u8)
    }

    /// Makes room for a group.
    pub(super) fn make_room(&mut self, group: Slot) {
        while self.groups.len() <= group as usize {
            self.groups.push(Group::new(self.k, self.lanes));
        }
    }

    fn of(&mut self, group: Slot) -> &mut Group<M, P> {
        &mut self.groups[group as usize]
    }

    /// A leaf for a member, not eligible yet.
    pub(super) fn add(&mut self, group: Slot, seat: Seat<M, P>, tie: u64) -> u32 {
        self.of(group).leaves.add(seat, tie)
    }

    /// Takes a leaf out of a group.
    pub(super) fn remove(&mut self, group: Slot, leaf: u32) {
        for lane in self.lanes() {
            self.set(group, lane, leaf, OUT);
        }
        self.of(group).leaves.remove(leaf);
    }

    /// Gives a leaf a score in a lane.
    pub(super) fn set(&mut self, group: Slot, lane: u8, leaf: u32, score: i64) {
        if self.of(group).set(lane, leaf, score) {
            self.touch(group, lane);
        }
    }

    /// Gives a leaf another gate, and the score in each lane that `score` says.
    pub(super) fn regate(&mut self, group: Slot, leaf: u32, open: &Option<P>, score: impl Fn(u8) -> i64) {
        self.of(group).leaves.member_mut(leaf).open.clone_from(open);
        for lane in self.lanes() {
            let Group { leaves, lists, .. } = self.of(group);
            if lists[usize::from(lane)].list.change_member(leaves, leaf) {
                self.touch(group, lane);
            }
            self.set(group, lane, leaf, score(lane));
        }
    }

    fn touch(&mut self, group: Slot, lane: u8) {
        let listed = &mut self.of(group).lists[usize::from(lane)];
        if !std::mem::replace(&mut listed.is_touched, true) {
            self.touched.push((group, lane));
        }
    }

    /// Reads what [`Groups::set`] will need of a leaf, so that it is at hand then.
    pub(super) fn peek(&self, group: Slot, leaf: u32) -> u64 {
        self.groups[group as usize].leaves.peek(leaf)
    }

    /// True where nobody is in a group and nothing is out for it, nor yet to be settled.
    pub(super) fn is_unused(&self, group: Slot) -> bool {
        let group = &self.groups[group as usize];
        group.leaves.len() == 0 && group.lists.iter().all(|listed| listed.emitted.is_empty() && !listed.is_touched)
    }

    /// Gives back the room that an unused group has taken.
    pub(super) fn clear(&mut self, group: Slot) {
        *self.of(group) = Group::new(self.k, self.lanes);
    }

    /// Settles all lists that were touched; gives each group of them once a lane.
    pub(super) fn settle(&mut self) -> Vec<Settled<M, P>> {
        let settle = |(group, lane): (Slot, u8)| {
            let Listed { list, emitted, is_touched } = &mut self.groups[group as usize].lists[usize::from(lane)];
            *is_touched = false;
            let ranked = |(seat, score): (&Seat<M, P>, i64)| {
                debug_assert!(score > OUT);
                (seat.member.clone(), score, seat.open.clone().expect("a listed member is open"))
            };
            let now: Ranking<M, P> = list.first().map(ranked).collect();
            let before = std::mem::replace(emitted, Ranking::clone(&now));
            Settled { group, lane, before, now }
        };
        self.touched.drain(..).map(settle).collect()
    }
}
