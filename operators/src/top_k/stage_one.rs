//! Stage 1, partitioned by member: scores, places and gates of the members that are here, and the
//! first K of every group among them: the candidates for stage 2, or, where there is one worker
//! alone, the lists.

use std::hash::Hash;

use differential_dataflow::ExchangeData;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{
    Ranking, TopKOptions, TopKRow, by_rank,
    groups::{Groups, LANES_AT_HAND, Seat, Settled},
    leaves::OUT,
};
use crate::{
    Tick, differences,
    lanes::{Lanes, MAX_LANES},
    shell::{Core, Out},
    table::{Hint, Idle, Slot, Table},
};

/// One of the three kinds of input. The difference of scores says how much in each lane; that of places
/// and gates says how often, in lane 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Feed<M, A, B, P> {
    /// The difference is added to the member's scores on this axis.
    Score((M, A)),
    /// The member stands at this place.
    Place(M, B),
    /// The member's gate: open with a payload, or closed.
    Gate(M, Option<P>),
}

impl<M, A, B, P> Feed<M, A, B, P> {
    /// Which member this is about.
    pub fn member(&self) -> &M {
        match self {
            Feed::Score((member, _)) | Feed::Place(member, _) | Feed::Gate(member, _) => member,
        }
    }

    /// Which member and axis, where this is about a score.
    fn cell(&self) -> Option<&(M, A)> {
        if let Feed::Score(cell) = self { Some(cell) } else { None }
    }
}

/// A member's scores on one axis, by lane, and its leaf in every group of that axis.
#[derive(Clone)]
struct Cell {
    scores: SmallVec<[i64; LANES_AT_HAND]>,
    member: Slot,
    is_open: bool,
    /// Group, and leaf within its lists. Mostly the group of all members, and that of one place.
    leaves: SmallVec<[(Slot, u32); 2]>,
}

impl Cell {
    /// The score by which it stands in the lists of a lane.
    fn ranked(&self, lane: u8) -> i64 {
        if self.is_open { self.scores[usize::from(lane)].max(OUT) } else { OUT }
    }

    fn is_idle(&self) -> bool {
        self.scores.iter().all(|score| *score == 0)
    }
}

/// What is known of a member apart from its scores.
#[derive(Clone)]
struct Member<B, P> {
    cells: SmallVec<[Slot; 2]>,
    /// Where it was placed. A count is below 0 only within a tick.
    places: SmallVec<[(B, i64); 1]>,
    gates: SmallVec<[(Option<P>, i64); 1]>,
    /// The gate that its cells know: open with a payload, or closed.
    open: Option<P>,
    /// Whether its gates changed in this tick.
    is_regated: bool,
}

/// Stage 1 without a dataflow.
pub struct StageOne<M, A, B, P> {
    options: TopKOptions<M, A, B, P>,
    cells: Table<(M, A), Cell>,
    /// Cells without a score.
    idle: Idle,
    members: Table<M, Member<B, P>>,
    groups: Table<(A, B), ()>,
    lists: Groups<M, P>,
    /// Members whose gates changed in this tick.
    regated: Vec<Slot>,
    /// True where no other worker has members: whole lists go out, and not what changes in them.
    is_alone: bool,
}

impl<M, A, B, P> StageOne<M, A, B, P>
where
    M: ExchangeData + Hash + Sync,
    A: ExchangeData + Hash,
    B: ExchangeData + Hash,
    P: ExchangeData + Sync,
{
    /// A stage without members.
    ///
    /// # Panics
    /// Where lists are to have no member at all, or there are no lanes, or more than [`MAX_LANES`].
    pub fn new(options: TopKOptions<M, A, B, P>, is_alone: bool) -> Self {
        assert!(options.k > 0, "a list has room for a member");
        assert!((1..=MAX_LANES).contains(&options.lanes), "there are lanes, and a byte counts them");
        let (cells, members, groups) = (Table::default(), Table::default(), Table::default());
        let (idle, lists, regated) = (Idle::default(), Groups::new(options.k, options.lanes), Vec::new());
        StageOne { options, cells, idle, members, groups, lists, regated, is_alone }
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

    /// Takes one update; `hint` is of its cell, or its member.
    fn take(&mut self, hint: Hint, feed: Feed<M, A, B, P>, diff: &Lanes<i64>) {
        let times = diff.get(0).copied().unwrap_or(0);
        match feed {
            Feed::Score(key) => self.add_scores(hint, &key, diff),
            Feed::Place(member, place) => self.place(hint, &member, place, times),
            Feed::Gate(member, gate) => self.gate(hint, &member, gate, times),
        }
    }

    fn add_scores(&mut self, hint: Hint, key: &(M, A), diff: &Lanes<i64>) {
        let cell = self.cells.find_near(hint, key).unwrap_or_else(|| self.new_cell(key));
        let state = self.cells.get_mut(cell).1;
        for (lane, amount) in diff.iter() {
            state.scores[usize::from(lane)] += amount;
        }
        if state.is_open {
            for (group, leaf) in &state.leaves {
                diff.iter().for_each(|(lane, _)| self.lists.set(*group, lane, *leaf, state.ranked(lane)));
            }
        }
        if state.is_idle() {
            self.idle.add(cell);
        }
    }

    fn new_cell(&mut self, key: &(M, A)) -> Slot {
        let member = self.member(Hint::NONE, &key.0);
        let state = self.members.get(member).1;
        let placed = state.places.iter().filter(|(_, count)| *count > 0).map(|(place, _)| place);
        let places: Vec<B> = self.options.everywhere.iter().chain(placed).cloned().collect();
        let is_open = state.open.is_some();
        let scores = SmallVec::from_elem(0, self.options.lanes);
        let fresh = || Cell { scores, member, is_open, leaves: SmallVec::new() };
        let cell = self.cells.find_or_insert(key, fresh);
        self.members.get_mut(member).1.cells.push(cell);
        for place in places {
            self.join(cell, &place);
        }
        cell
    }

    /// Gives a cell a leaf in the group of its axis at `place`.
    fn join(&mut self, cell: Slot, place: &B) {
        let (member, axis) = self.cells.get(cell).0.clone();
        if !(self.options.is_group)(&axis, place) {
            return;
        }
        let group = self.group(&(axis, place.clone()));
        let state = self.cells.get_mut(cell).1;
        let tie = (self.options.tie)(&member);
        let open = self.members.get(state.member).1.open.clone();
        let leaf = self.lists.add(group, Seat { member, open }, tie);
        state.leaves.push((group, leaf));
        for lane in self.lists.lanes() {
            self.lists.set(group, lane, leaf, state.ranked(lane));
        }
    }

    /// Takes a cell out of the group of its axis at `place`.
    fn leave(&mut self, cell: Slot, place: &B) {
        let axis = self.cells.get(cell).0.1.clone();
        let Some(group) = self.groups.find(&(axis, place.clone())) else { return };
        let state = self.cells.get_mut(cell).1;
        let Some(at) = state.leaves.iter().position(|(other, _)| *other == group) else { return };
        let (_, leaf) = state.leaves.swap_remove(at);
        self.lists.remove(group, leaf);
        self.drop_if_unused(group);
    }

    fn remove_cell(&mut self, cell: Slot) {
        let (_, state) = self.cells.remove(cell);
        for (group, leaf) in state.leaves {
            self.lists.remove(group, leaf);
            self.drop_if_unused(group);
        }
        let member = self.members.get_mut(state.member).1;
        member.cells.retain(|other| *other != cell);
        self.forget_if_unknown(state.member);
    }

    /// A group that nobody is in and nothing was emitted for needs no slot. One that still has
    /// candidates out goes when its tick is settled.
    fn drop_if_unused(&mut self, group: Slot) {
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
    fn place(&mut self, hint: Hint, member: &M, place: B, diff: i64) {
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
            (true, false) => cells.into_iter().for_each(|cell| self.leave(cell, &place)),
            _ => {}
        }
        self.forget_if_unknown(slot);
    }

    fn gate(&mut self, hint: Hint, member: &M, gate: Option<P>, diff: i64) {
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
            for cell in &state.cells {
                let cell = self.cells.get_mut(*cell).1;
                cell.is_open = open.is_some();
                for (group, leaf) in &cell.leaves {
                    self.lists.regate(*group, *leaf, &open, |lane| cell.ranked(lane));
                }
            }
        }
        self.forget_if_unknown(member);
    }

    /// Forgets the cells that have been without a score for longest.
    fn forget_idle(&mut self) {
        while let Some(cell) = self.idle.pop(self.cells.len()) {
            if self.cells.peek(cell).is_some_and(Cell::is_idle) {
                self.remove_cell(cell);
            }
        }
    }
}

impl<M, A, B, P> Core for StageOne<M, A, B, P>
where
    M: ExchangeData + Hash + Sync,
    A: ExchangeData + Hash,
    B: ExchangeData + Hash,
    P: ExchangeData + Sync,
{
    type In = Feed<M, A, B, P>;
    type InDiff = Lanes<i64>;
    type Out = ((A, B, u8), Ranking<M, P>);
    type OutDiff = isize;
    type Row = TopKRow<M, A, B, P>;

    fn advance(&mut self, _tick: Tick, _out: &mut Out<Self::Out, isize>) {}

    fn absorb(&mut self, feed: Self::In, _tick: Tick, diff: Lanes<i64>, _out: &mut Out<Self::Out, isize>) {
        self.take(Hint::NONE, feed, &diff);
    }

    fn absorb_all(&mut self, updates: &mut Vec<(Self::In, Lanes<i64>)>, _tick: Tick, _out: &mut Out<Self::Out, isize>) {
        let scored = updates.iter().filter_map(|(feed, _)| feed.cell());
        let others = updates.iter().filter(|(feed, _)| feed.cell().is_none()).map(|(feed, _)| feed.member());
        let peek = |(group, leaf): &(Slot, u32)| self.lists.peek(*group, *leaf);
        let leaves = |cell: &Cell| match cell.is_open {
            true => cell.leaves.iter().fold(0, |read, leaf| read ^ peek(leaf)),
            false => 0,
        };
        let mut cells = self.cells.look_ahead(scored, leaves).into_iter();
        let mut members = self.members.look_ahead(others, |member| member.cells.len() as u64).into_iter();
        for (feed, diff) in updates.drain(..) {
            let hint = if feed.cell().is_some() { cells.next() } else { members.next() };
            self.take(hint.unwrap_or(Hint::NONE), feed, &diff);
        }
    }

    fn settle(&mut self, tick: Tick, out: &mut Out<Self::Out, isize>) {
        for member in std::mem::take(&mut self.regated) {
            self.regate(member);
        }
        self.forget_idle();
        let settled = self.lists.settle();
        for Settled { group, lane, before, now } in &settled {
            if before == now {
                continue;
            }
            let (axis, place) = self.groups.get(*group).0;
            let key = (axis.clone(), place.clone(), *lane);
            let (gone, new) = match self.is_alone {
                true => (Ranking::clone(before), Ranking::clone(now)),
                false => {
                    let (gone, new) = differences(before, now, by_rank);
                    (gone.into(), new.into())
                }
            };
            out.extend((!gone.is_empty()).then(|| ((key.clone(), gone), tick, -1)));
            out.extend((!new.is_empty()).then_some(((key, new), tick, 1)));
        }
        settled.iter().for_each(|settled| self.drop_if_unused(settled.group));
    }

    /// Groups are not exported: they follow from members and scores.
    fn begin_export(&mut self) {
        self.cells.begin_export();
        self.members.begin_export();
    }

    fn export_slice(&mut self, max_rows: usize, out: &mut Vec<Self::Row>) -> bool {
        let row = |key, cell: Cell| (!cell.is_idle()).then(|| (Feed::Score(key), Lanes::of(cell.scores)));
        if !self.cells.export_slice(max_rows, out, row) {
            return false;
        }
        let mut members = Vec::new();
        let done = self.members.export_slice(max_rows, &mut members, |member, state| Some((member, state)));
        for (member, state) in members {
            let places = state.places.into_iter().map(|(place, count)| (Feed::Place(member.clone(), place), count));
            let gates = state.gates.into_iter().map(|(gate, count)| (Feed::Gate(member.clone(), gate), count));
            out.extend(places.chain(gates).map(|(feed, count)| (feed, Lanes::one(0, count))));
        }
        done
    }

    fn import(&mut self, (feed, diff): Self::Row, tick: Tick, out: &mut Out<Self::Out, isize>) {
        self.absorb(feed, tick, diff, out);
    }
}
