//! The leaves of a group: one for each cell that stands in it, whose scores are those of its seat. Sixteen
//! leaves make a block, sixteen blocks one of the next level, each knowing a bound for every lane: no leaf of it
//! comes before that. The best m cells of a lane are found from the top, the block of the best bound
//! first, without looking at the rest.
//!
//! A group of a few needs no blocks: up to [`SMALL`] leaves are looked at one by one.
//!
//! That a leaf has come up to the bound of its block is noted, and the block's bounds are made anew before
//! anybody asks for them, or when [`MOST_RAISED`] blocks wait for it. A leaf that loses changes no bound: who
//! asks for the best comes upon one that nobody reaches any more, and lowers it. So a loss is paid for by a later question, by a block or two a level, if one comes that far
//! down: a question after many losses looks at so many blocks, at the most at all of them once a level.

use std::{cmp::Ordering, collections::BinaryHeap};

use super::seats::{OUT, Seats};
use crate::chunked::{Chunked, Rows};

/// How many children a block has.
const FAN: usize = 16;

/// How many leaves are looked at one by one: about as long as the best of as many in blocks take. Few
/// in tests, so that all of them have blocks.
const SMALL: usize = if cfg!(test) { 8 } else { 256 };

/// How many blocks may wait for new bounds, which is work for whoever asks next. Few in tests.
const MOST_RAISED: usize = if cfg!(test) { 3 } else { 1_024 };

/// The cell of a leaf that is free.
const NOBODY: u32 = u32::MAX;

/// Leaves, each of a cell.
pub(super) struct Leaves {
    lanes: usize,
    cells: Chunked<u32>,
    /// `bounds[level][block][lane]`. None where the group is small.
    bounds: Vec<Rows<Bound>>,
    raised: Raised,
    free: Vec<u32>,
    /// How many leaves, each by itself or as the bound of its block, were looked at.
    #[cfg(test)]
    looked_at: std::cell::Cell<usize>,
}

/// The rank that a leaf has, or had. Of a leaf that has become free nobody knows the member: its bound comes
/// before all others of its score, so that nobody in its block is above it.
#[derive(Clone, Copy)]
struct Bound {
    score: i64,
    leaf: u32,
}

/// Blocks of the lowest level with a leaf that has come up to their bounds, or is another cell's, since these
/// were made.
#[derive(Default)]
struct Raised {
    blocks: Vec<u32>,
    /// A bit for each block.
    are_raised: Vec<u64>,
}

impl Raised {
    fn add(&mut self, block: usize) {
        let word = &mut self.are_raised[block / 64];
        if *word & (1 << (block % 64)) == 0 {
            *word |= 1 << (block % 64);
            self.blocks.push(block as u32);
        }
    }

    /// Takes all of them out, in order.
    fn take(&mut self) -> Vec<u32> {
        let mut blocks = std::mem::take(&mut self.blocks);
        blocks.sort_unstable();
        blocks.iter().for_each(|block| self.are_raised[*block as usize / 64] = 0);
        blocks
    }
}

impl Leaves {
    pub(super) fn new(lanes: usize) -> Self {
        Leaves {
            lanes,
            cells: Chunked::default(),
            bounds: Vec::new(),
            raised: Raised::default(),
            free: Vec::new(),
            #[cfg(test)]
            looked_at: std::cell::Cell::new(0),
        }
    }

    /// A leaf for a cell.
    pub(super) fn add<M: Ord + Clone>(&mut self, seats: &Seats<M>, cell: u32) -> u32 {
        if let Some(leaf) = self.free.pop() {
            self.cells[leaf as usize] = cell;
            // The leaf may stand in bounds with the cell of before.
            self.note(seats, leaf);
            return leaf;
        }
        let leaf = self.cells.len() as u32;
        self.cells.push(cell);
        if self.cells.len() > SMALL {
            self.grow(seats);
            self.note(seats, leaf);
        }
        leaf
    }

    /// Gives every leaf its blocks.
    fn grow<M: Ord + Clone>(&mut self, seats: &Seats<M>) {
        let (mut level, mut blocks) = (0, self.cells.len().div_ceil(FAN));
        loop {
            if self.bounds.len() == level {
                self.bounds.push(Rows::of_width(self.lanes));
            }
            for block in self.bounds[level].len()..blocks {
                self.bounds[level].push(Bound { score: OUT, leaf: 0 });
                self.make_bounds(seats, level, block);
            }
            if level == 0 {
                self.raised.are_raised.resize(blocks.div_ceil(64), 0);
            }
            if blocks == 1 {
                return;
            }
            (level, blocks) = (level + 1, blocks.div_ceil(FAN));
        }
    }

    /// Gives a leaf back.
    pub(super) fn remove(&mut self, leaf: u32) {
        self.cells[leaf as usize] = NOBODY;
        self.free.push(leaf);
    }

    /// How many leaves are in use.
    pub(super) fn len(&self) -> usize {
        self.cells.len() - self.free.len()
    }

    fn score<M: Ord + Clone>(&self, seats: &Seats<M>, lane: usize, leaf: usize) -> i64 {
        match self.cells[leaf] {
            NOBODY => OUT,
            cell => seats.score(lane as u8, cell),
        }
    }

    /// Notes a leaf whose cell has got other scores in `lanes`, where it may be above the bounds of its block.
    pub(super) fn raise<M: Ord + Clone>(&mut self, seats: &Seats<M>, leaf: u32, mut lanes: impl Iterator<Item = u8>) {
        let Some(bounds) = self.bounds.first() else { return };
        let (cell, bounds) = (self.cells[leaf as usize], &bounds[leaf as usize / FAN]);
        if lanes.any(|lane| seats.score(lane, cell) >= bounds[usize::from(lane)].score) {
            self.note(seats, leaf);
        }
    }

    /// Lets the block of a leaf wait for new bounds.
    fn note<M: Ord + Clone>(&mut self, seats: &Seats<M>, leaf: u32) {
        if self.bounds.is_empty() {
            return;
        }
        self.raised.add(leaf as usize / FAN);
        if self.raised.blocks.len() >= MOST_RAISED {
            self.make_raised_bounds(seats);
        }
    }

    /// Makes the bounds of all blocks that wait for it, and of those above them.
    fn make_raised_bounds<M: Ord + Clone>(&mut self, seats: &Seats<M>) {
        let mut blocks = self.raised.take();
        for level in 0..self.bounds.len() {
            for block in &blocks {
                self.make_bounds(seats, level, *block as usize);
            }
            blocks.iter_mut().for_each(|block| *block /= FAN as u32);
            blocks.dedup();
        }
    }

    fn make_bounds<M: Ord + Clone>(&mut self, seats: &Seats<M>, level: usize, block: usize) {
        for lane in 0..self.lanes {
            let least = self.least_bound(seats, lane, level, block);
            self.bounds[level][block][lane] = least;
        }
    }

    /// The best `most` eligible cells of a lane, best first.
    pub(super) fn best<M: Ord + Clone>(&mut self, seats: &Seats<M>, lane: u8, most: usize) -> Vec<u32> {
        let Some(top) = self.bounds.len().checked_sub(1) else { return self.best_of_all(seats, lane, most) };
        self.make_raised_bounds(seats);
        let lane = usize::from(lane);
        let (mut found, mut lowered) = (Vec::with_capacity(most), Vec::new());
        let leaves = &*self;
        let entrant = |(bound, block)| Entrant { leaves, seats, bound, block };
        let mut queue = BinaryHeap::from([entrant((leaves.bounds[top][0][lane], Some((top, 0))))]);
        while let Some(Entrant { bound, block, .. }) = queue.pop() {
            if found.len() == most || bound.score <= OUT {
                break;
            }
            let Some((level, block)) = block else {
                found.push(leaves.cells[bound.leaf as usize]);
                continue;
            };
            let least = leaves.least_bound(seats, lane, level, block);
            if leaves.is_above(seats, bound, least) {
                // Nobody reaches its bound any more: it waits for its turn with a lower one.
                lowered.push((level, block, least));
                queue.push(entrant((least, Some((level, block)))));
            } else {
                let within = leaves.within(seats, lane, level, block);
                queue.extend(within.filter(|(bound, _)| bound.score > OUT).map(entrant));
            }
        }
        drop(queue);
        for (level, block, least) in lowered {
            self.bounds[level][block][lane] = least;
        }
        found
    }

    /// The leaves of a block of the lowest level, or the blocks of another, with their bounds.
    fn within<M: Ord + Clone>(
        &self,
        seats: &Seats<M>,
        lane: usize,
        level: usize,
        block: usize,
    ) -> impl Iterator<Item = (Bound, Option<(usize, usize)>)> {
        let lower = level.checked_sub(1);
        let width = lower.map_or(self.cells.len(), |lower| self.bounds[lower].len());
        let children = block * FAN..((block + 1) * FAN).min(width);
        self.look_at(children.len());
        children.map(move |child| match lower {
            Some(lower) => (self.bounds[lower][child][lane], Some((lower, child))),
            None => (Bound { score: self.score(seats, lane, child), leaf: child as u32 }, None),
        })
    }

    /// The least bound that a block can have.
    fn least_bound<M: Ord + Clone>(&self, seats: &Seats<M>, lane: usize, level: usize, block: usize) -> Bound {
        let bounds = self.within(seats, lane, level, block).map(|(bound, _)| bound);
        let best = |best: Bound, other: Bound| if self.is_above(seats, other, best) { other } else { best };
        bounds.reduce(best).expect("a block has a leaf")
    }

    fn is_above<M: Ord + Clone>(&self, seats: &Seats<M>, a: Bound, b: Bound) -> bool {
        a.score > b.score || (a.score == b.score && a.score > OUT && self.order(seats, a, b).is_lt())
    }

    /// The order of two bounds of one score.
    fn order<M: Ord + Clone>(&self, seats: &Seats<M>, a: Bound, b: Bound) -> Ordering {
        match (self.cells[a.leaf as usize], self.cells[b.leaf as usize]) {
            (NOBODY, NOBODY) => Ordering::Equal,
            (NOBODY, _) => Ordering::Less,
            (_, NOBODY) => Ordering::Greater,
            (a, b) => seats.order(a, b),
        }
    }

    fn best_of_all<M: Ord + Clone>(&self, seats: &Seats<M>, lane: u8, most: usize) -> Vec<u32> {
        self.look_at(self.cells.len());
        let is_eligible = |cell: &u32| *cell != NOBODY && seats.score(lane, *cell) > OUT;
        let mut found: Vec<u32> = self.cells.iter().copied().filter(is_eligible).collect();
        if most < found.len() {
            found.select_nth_unstable_by(most, |a, b| seats.by_rank(lane, *a, *b));
            found.truncate(most);
        }
        found.sort_unstable_by(|a, b| seats.by_rank(lane, *a, *b));
        found
    }

    fn look_at(&self, _leaves: usize) {
        #[cfg(test)]
        self.looked_at.set(self.looked_at.get() + _leaves);
    }
}

/// A leaf, or a block with its bound, in the queue of [`Leaves::best`].
struct Entrant<'a, M> {
    leaves: &'a Leaves,
    seats: &'a Seats<M>,
    bound: Bound,
    block: Option<(usize, usize)>,
}

impl<M: Ord + Clone> Ord for Entrant<'_, M> {
    /// Where a block's bound is that of one of its leaves, either may come first: the block's turn finds the leaf.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.bound.score.cmp(&other.bound.score);
        by_score.then_with(|| self.leaves.order(self.seats, other.bound, self.bound))
    }
}
impl<M: Ord + Clone> PartialOrd for Entrant<'_, M> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<M: Ord + Clone> PartialEq for Entrant<'_, M> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl<M: Ord + Clone> Eq for Entrant<'_, M> {}

#[cfg(test)]
mod tests;
