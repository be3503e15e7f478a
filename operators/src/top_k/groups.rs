//! The groups of stage 1: of each the leaves of its cells, and for every lane a list and the candidates
//! that were emitted for it.
//!
//! A cell has one seat, with its scores in all lanes side by side, and a leaf in each of its groups. So a score
//! is written once, and mostly that is all: a group is concerned where the cell is near the cut of a list, and
//! else only has to know that the leaf has gained.

use smallvec::SmallVec;

use super::{
    Ranking,
    leaves::Leaves,
    list::List,
    seats::{OUT, Seats},
};
use crate::table::Slot;

/// The groups, by slot.
pub(super) struct Groups<M, P> {
    k: usize,
    lanes: usize,
    seats: Seats<Seat<M, P>>,
    groups: Vec<Group<M, P>>,
    /// Lists whose candidates may be others: group and lane.
    touched: Vec<(Slot, u8)>,
}

/// So many lanes stand in a group, or a cell, itself. As many as there are windows by default.
pub(super) const LANES_AT_HAND: usize = 5;

struct Group<M, P> {
    leaves: Leaves,
    /// Of each lane, [`List::near`].
    near: SmallVec<[i64; LANES_AT_HAND]>,
    lists: Vec<Listed<M, P>>,
}

struct Listed<M, P> {
    list: List<Seat<M, P>>,
    emitted: Ranking<M, P>,
    is_touched: bool,
}

impl<M, P> Listed<M, P> {
    /// Notes that the candidates may be others; true where that was not known.
    fn touch(&mut self) -> bool {
        !std::mem::replace(&mut self.is_touched, true)
    }
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

    /// A cell has got another score than `before` in a lane; true where the first K of the lane changed.
    fn change(&mut self, seats: &Seats<Seat<M, P>>, cell: u32, lane: u8, before: i64) -> bool {
        let near = &mut self.near[usize::from(lane)];
        if before.max(seats.score(lane, cell)) < *near {
            return false;
        }
        let list = &mut self.lists[usize::from(lane)].list;
        let is_other = list.change(&mut self.leaves, seats, cell, before);
        *near = list.near();
        is_other
    }
}

/// A group, and the leaf of a cell in it.
pub(super) type Leaf = (Slot, u32);

impl<M: Ord + Clone, P: Ord + Clone> Groups<M, P> {
    pub(super) fn new(k: usize, lanes: usize) -> Self {
        Groups { k, lanes, seats: Seats::new(lanes), groups: Vec::new(), touched: Vec::new() }
    }

    /// Makes room for a group.
    pub(super) fn make_room(&mut self, group: Slot) {
        while self.groups.len() <= group as usize {
            self.groups.push(Group::new(self.k, self.lanes));
        }
    }

    /// Gives a cell that has no leaf a member.
    pub(super) fn seat(&mut self, cell: Slot, seat: Seat<M, P>, tie: u64) {
        self.seats.seat(cell, seat, tie);
    }

    /// A leaf for a cell.
    pub(super) fn add(&mut self, group: Slot, cell: Slot) -> Leaf {
        let Group { leaves, lists, near, .. } = &mut self.groups[group as usize];
        let leaf = leaves.add(&self.seats, cell);
        for (lane, listed) in lists.iter_mut().enumerate() {
            let is_in = self.seats.score(lane as u8, cell) > OUT;
            if is_in && listed.list.change(leaves, &self.seats, cell, OUT) && listed.touch() {
                self.touched.push((group, lane as u8));
            }
            near[lane] = listed.list.near();
        }
        (group, leaf)
    }

    /// Takes a cell out of a group.
    pub(super) fn remove(&mut self, cell: Slot, (group, leaf): Leaf) {
        let Group { leaves, lists, near, .. } = &mut self.groups[group as usize];
        leaves.remove(leaf);
        for (lane, listed) in lists.iter_mut().enumerate() {
            let is_in = self.seats.score(lane as u8, cell) > OUT;
            if is_in && listed.list.leave(leaves, &self.seats, cell) && listed.touch() {
                self.touched.push((group, lane as u8));
            }
            near[lane] = listed.list.near();
        }
    }

    /// Gives a cell the score in each lane that `score` says, in all groups in which it has `leaves`.
    pub(super) fn set(&mut self, cell: Slot, leaves: &[Leaf], score: impl Fn(u8) -> i64) {
        let mut changed: SmallVec<[(u8, i64); LANES_AT_HAND]> = SmallVec::new();
        for (lane, held) in self.seats.scores_mut(cell).iter_mut().enumerate() {
            let before = std::mem::replace(held, score(lane as u8));
            if before != *held {
                changed.push((lane as u8, before));
            }
        }
        if changed.is_empty() {
            return;
        }
        for (group, leaf) in leaves {
            let state = &mut self.groups[*group as usize];
            state.leaves.raise(&self.seats, *leaf, changed.iter().map(|(lane, _)| *lane));
            for (lane, before) in &changed {
                if state.change(&self.seats, cell, *lane, *before) && state.lists[usize::from(*lane)].touch() {
                    self.touched.push((*group, *lane));
                }
            }
        }
    }

    /// Gives a cell another gate.
    pub(super) fn regate(&mut self, cell: Slot, leaves: &[Leaf], open: &Option<P>) {
        self.seats.member_mut(cell).open.clone_from(open);
        for (group, _) in leaves {
            for (lane, listed) in self.groups[*group as usize].lists.iter_mut().enumerate() {
                if listed.list.change_member(&self.seats, cell) && listed.touch() {
                    self.touched.push((*group, lane as u8));
                }
            }
        }
    }

    /// True where a cell has no score by which it could be listed.
    pub(super) fn is_out(&self, cell: Slot) -> bool {
        (0..self.lanes).all(|lane| self.seats.score(lane as u8, cell) == OUT)
    }

    /// Reads what [`Groups::set`] will need of a cell, so that it is at hand then.
    pub(super) fn peek(&self, cell: Slot) -> u64 {
        self.seats.peek(cell)
    }

    /// True where nobody is in a group and nothing is out for it, nor yet to be settled.
    pub(super) fn is_unused(&self, group: Slot) -> bool {
        let group = &self.groups[group as usize];
        group.leaves.len() == 0 && group.lists.iter().all(|listed| listed.emitted.is_empty() && !listed.is_touched)
    }

    /// Gives back the room that an unused group has taken.
    pub(super) fn clear(&mut self, group: Slot) {
        self.groups[group as usize] = Group::new(self.k, self.lanes);
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
