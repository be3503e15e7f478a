//! What stage 1 knows of its members: scores, places, gates, and their leaves in the groups.
//!
//! A score that changes is noted with its cell. The leaves of noted cells are given their scores once a
//! tick, however often they changed in it.

use std::hash::Hash;

use differential_dataflow::ExchangeData;
use smallvec::SmallVec;

use super::{
    TopKOptions,
    groups::{Groups, LANES_AT_HAND, Leaf, Seat, Settled},
    seats::OUT,
};
use crate::{
    Tick,
    expire::{Accounts, Row},
    idle::Idle,
    lanes::{Lanes, MAX_LANES},
    table::{Hint, Slot, Table},
};

/// A member's scores on one axis, by lane, and its leaf in every group of that axis.
#[derive(Clone)]
pub(super) struct Cell {
    pub(super) scores: SmallVec<[i64; LANES_AT_HAND]>,
    member: Slot,
    is_open: bool,
    /// Whether its scores changed in this tick.
    is_touched: bool,
    /// Mostly one in the group of all members, and one in that of a place.
    leaves: SmallVec<[Leaf; 2]>,
    /// When the last of what happened to it will have left every window.
    until: Tick,
}

impl Cell {
    /// The score by which it stands in the lists of a lane.
    fn ranked(&self, lane: u8) -> i64 {
        if self.is_open { self.scores[usize::from(lane)].max(OUT) } else { OUT }
    }

    /// True where nothing is left of it at `now`.
    pub(super) fn is_idle(&self, now: Tick) -> bool {
        self.until <= now && self.scores.iter().all(|score| *score == 0)
    }
}

/// What is known of a member apart from its scores.
#[derive(Clone)]
pub(super) struct Member<B, P> {
    pub(super) cells: SmallVec<[Slot; 2]>,
    /// Where it was placed. A count is below 0 only within a tick.
    pub(super) places: SmallVec<[(B, i64); 1]>,
    pub(super) gates: SmallVec<[(Option<P>, i64); 1]>,
    /// The gate that its cells know: open with a payload, or closed.
    open: Option<P>,
    /// Whether its gates changed in this tick.
    is_regated: bool,
}

/// Members, cells and groups.
pub(super) struct Board<M, A, B, P> {
    pub(super) options: TopKOptions<M, A, B, P>,
    pub(super) cells: Table<(M, A), Cell>,
    /// Cells without a score.
    idle: Idle,
    pub(super) members: Table<M, Member<B, P>>,
    groups: Table<(A, B), ()>,
    lists: Groups<M, P>,
    /// Members whose gates changed in this tick.
    regated: Vec<Slot>,
    /// Cells whose scores changed in this tick.
    touched: Vec<Slot>,
}

impl<M, A, B, P> Board<M, A, B, P>
where
    M: ExchangeData + Hash + Sync,
    A: ExchangeData + Hash,
    B: ExchangeData + Hash,
    P: ExchangeData + Sync,
{
    pub(super) fn new(options: TopKOptions<M, A, B, P>) -> Self {
        assert!(options.k > 0, "a list has room for a member");
        assert!((1..=MAX_LANES).contains(&options.lanes), "there are lanes, and a byte counts them");
        Board {
            cells: Table::default(),
            idle: Idle::default(),
            members: Table::default(),
            groups: Table::default(),
            lists: Groups::new(options.k, options.lanes),
            regated: Vec::new(),
            touched: Vec::new(),
            options,
        }
    }

    /// How many cells, members and groups are held.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize, usize) {
        (self.cells.len(), self.members.len(), self.groups.len())
    }

    fn member(&mut self, hint: Hint, member: &M) -> Slot {
        let open = &self.options.without_gate;
        let (cells, places, gates) = (SmallVec::new(), SmallVec::new(), SmallVec::new());
        let fresh = || Member { cells, places, gates, open: open.clone(), is_regated: false };
        self.members.find_or_insert_near(hint, member, fresh)
    }

    fn group(&mut self, group: &(A, B)) -> Slot {
        let slot = self.groups.find_or_insert(group, || ());
        self.lists.make_room(slot);
        slot
    }

    /// Axis and place of a group.
    pub(super) fn group_of(&self, group: Slot) -> &(A, B) {
        self.groups.get(group).0
    }

    /// Adds to the scores of a cell.
    pub(super) fn add_scores(&mut self, hint: Hint, key: &(M, A), diff: &Lanes<i64>) {
        let slot = self.cell(hint, key);
        let cell = self.cells.get_mut(slot).1;
        for (lane, amount) in diff.iter() {
            cell.scores[usize::from(lane)] += amount;
        }
        touch(cell, slot, &mut self.touched);
    }

    /// What is dated so that windows hold it no longer than until then has happened to a cell.
    pub(super) fn keep_until(&mut self, slot: Slot, until: Option<Tick>) {
        let cell = self.cells.get_mut(slot).1;
        cell.until = cell.until.max(until.unwrap_or(0));
        touch(cell, slot, &mut self.touched);
    }

    /// The cell of a member on an axis, which is made where there is none.
    pub(super) fn cell(&mut self, hint: Hint, key: &(M, A)) -> Slot {
        self.cells.find_near(hint, key).unwrap_or_else(|| self.new_cell(key))
    }

    fn new_cell(&mut self, key: &(M, A)) -> Slot {
        let member = self.member(Hint::NONE, &key.0);
        let state = self.members.get(member).1;
        let placed = state.places.iter().filter(|(_, count)| *count > 0).map(|(place, _)| place);
        let places: SmallVec<[B; 4]> = self.options.everywhere.iter().chain(placed).cloned().collect();
        let is_open = state.open.is_some();
        let scores = SmallVec::from_elem(0, self.options.lanes);
        let fresh = || Cell { scores, member, is_open, is_touched: false, leaves: SmallVec::new(), until: 0 };
        let open = state.open.clone();
        let cell = self.cells.find_or_insert(key, fresh);
        let tie = (self.options.tie)(&key.0);
        self.lists.seat(cell, Seat { member: key.0.clone(), open }, tie);
        self.members.get_mut(member).1.cells.push(cell);
        for place in places {
            self.join(cell, &place);
        }
        cell
    }

    /// Gives a cell a leaf in the group of its axis at `place`.
    fn join(&mut self, cell: Slot, place: &B) {
        let axis = &self.cells.get(cell).0.1;
        if !(self.options.is_group)(axis, place) {
            return;
        }
        let group = self.group(&(axis.clone(), place.clone()));
        let leaf = self.lists.add(group, cell);
        self.cells.get_mut(cell).1.leaves.push(leaf);
    }

    /// Takes a cell out of the group of its axis at `place`.
    fn leave_group(&mut self, cell: Slot, place: &B) {
        let axis = self.cells.get(cell).0.1.clone();
        let Some(group) = self.groups.find(&(axis, place.clone())) else { return };
        let state = self.cells.get_mut(cell).1;
        let Some(at) = state.leaves.iter().position(|(other, _)| *other == group) else { return };
        let leaf = state.leaves.swap_remove(at);
        self.lists.remove(cell, leaf);
        self.drop_if_unused(group);
    }

    fn remove_cell(&mut self, cell: Slot) {
        let (_, state) = self.cells.remove(cell);
        debug_assert!(self.lists.is_out(cell), "who is forgotten has no score");
        for leaf in state.leaves {
            self.lists.remove(cell, leaf);
            self.drop_if_unused(leaf.0);
        }
        let member = self.members.get_mut(state.member).1;
        member.cells.retain(|other| *other != cell);
        self.forget_if_unknown(state.member);
    }

    /// A group that nobody is in and nothing was emitted for needs no slot. One that still has
    /// candidates out goes when its tick is settled.
    pub(super) fn drop_if_unused(&mut self, group: Slot) {
        if self.groups.is_live(group) && self.lists.is_unused(group) {
            self.groups.remove(group);
            self.lists.clear(group);
        }
    }

    fn forget_if_unknown(&mut self, member: Slot) {
        let state = self.members.get(member).1;
        if state.cells.is_empty() && state.gates.is_empty() && state.places.is_empty() && !state.is_regated {
            self.members.remove(member);
        }
    }

    /// A member that is put where every member stands already stays there whatever happens.
    pub(super) fn place(&mut self, hint: Hint, member: &M, place: B, diff: i64) {
        if self.options.everywhere.contains(&place) {
            return;
        }
        let slot = self.member(hint, member);
        let state = self.members.get_mut(slot).1;
        let at = state.places.iter().position(|(other, _)| *other == place).unwrap_or_else(|| {
            state.places.push((place.clone(), 0));
            state.places.len() - 1
        });
        let before = state.places[at].1;
        state.places[at].1 += diff;
        let after = state.places[at].1;
        if after == 0 {
            state.places.remove(at);
        }
        let cells = state.cells.clone();
        match (before > 0, after > 0) {
            (false, true) => cells.into_iter().for_each(|cell| self.join(cell, &place)),
            (true, false) => cells.into_iter().for_each(|cell| self.leave_group(cell, &place)),
            _ => {}
        }
        self.forget_if_unknown(slot);
    }

    pub(super) fn gate(&mut self, hint: Hint, member: &M, gate: Option<P>, diff: i64) {
        let slot = self.member(hint, member);
        let state = self.members.get_mut(slot).1;
        match state.gates.iter_mut().find(|(other, _)| *other == gate) {
            Some((_, count)) => *count += diff,
            None => state.gates.push((gate, diff)),
        }
        if !std::mem::replace(&mut state.is_regated, true) {
            self.regated.push(slot);
        }
    }

    /// Lets the cells of a member know the gate that is in force now.
    fn regate(&mut self, member: Slot) {
        let state = self.members.get_mut(member).1;
        state.is_regated = false;
        state.gates.retain(|(_, count)| *count != 0);
        let live = state.gates.iter().filter(|(_, count)| *count > 0).map(|(gate, _)| gate);
        let open = live.min().unwrap_or(&self.options.without_gate).clone();
        if open != state.open {
            state.open.clone_from(&open);
            for slot in &state.cells {
                let cell = self.cells.get_mut(*slot).1;
                cell.is_open = open.is_some();
                self.lists.regate(*slot, &cell.leaves, &open);
                self.lists.set(*slot, &cell.leaves, |lane| cell.ranked(lane));
            }
        }
        self.forget_if_unknown(member);
    }

    /// Brings the lists to what scores and gates are at `now`; gives those that may have changed.
    pub(super) fn settle(&mut self, now: Tick) -> Vec<Settled<M, P>> {
        for member in std::mem::take(&mut self.regated) {
            self.regate(member);
        }
        let mut touched = std::mem::take(&mut self.touched);
        // Read together, before each is needed by itself.
        std::hint::black_box(touched.iter().fold(0, |read, slot| read ^ self.lists.peek(*slot)));
        for slot in touched.drain(..) {
            let cell = self.cells.get_mut(slot).1;
            cell.is_touched = false;
            if cell.is_open {
                self.lists.set(slot, &cell.leaves, |lane| cell.ranked(lane));
            }
            if cell.is_idle(now) {
                self.idle.add(slot);
            }
        }
        self.touched = touched;
        // Of those without a score the ones that fell idle first are forgotten.
        while let Some(cell) = self.idle.pop(self.cells.len()) {
            if self.cells.peek(cell).is_some_and(|cell| cell.is_idle(now)) {
                self.remove_cell(cell);
            }
        }
        self.lists.settle()
    }
}

fn touch(cell: &mut Cell, slot: Slot, touched: &mut Vec<Slot>) {
    if !std::mem::replace(&mut cell.is_touched, true) {
        touched.push(slot);
    }
}

/// Where scores are what windows hold.
impl<M, A, B, P> Accounts<(M, A), i64> for Board<M, A, B, P>
where
    M: ExchangeData + Hash + Sync,
    A: ExchangeData + Hash,
    B: ExchangeData + Hash,
    P: ExchangeData + Sync,
{
    fn key(&self, slot: Slot) -> (M, A) {
        self.cells.get(slot).0.clone()
    }

    fn phase_us(&self, slot: Slot) -> u64 {
        let (member, _) = self.cells.get(slot).0;
        self.options.windows.as_ref().map_or(0, |windows| windows.phase_us(member))
    }

    fn enter(&mut self, slot: Slot, windows: impl Iterator<Item = u8>, more: &i64) {
        let cell = self.cells.get_mut(slot).1;
        windows.for_each(|window| cell.scores[usize::from(window)] += more);
        touch(cell, slot, &mut self.touched);
    }

    fn leave(&mut self, rows: &[Row<i64>], windows: &[u8]) {
        self.cells.fetch(rows.iter().map(|(slot, _)| *slot), |cell| cell.scores[0] as u64);
        for (slot, score) in rows {
            self.enter(*slot, windows.iter().copied(), &-score);
        }
    }
}
