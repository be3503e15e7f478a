//! The leaves of a group: one for each member, with its score in every lane. Sixteen leaves make a
//! block, sixteen blocks one of the next level, each knowing a bound for every lane: no leaf of it
//! comes before that. The best m leaves of a lane are found from the top, the block of the best bound
//! first, without looking at the rest.
//!
//! A group of a few needs no blocks: up to [`SMALL`] leaves are looked at one by one.
//!
//! A change writes the score and nothing else; that a leaf has gained is noted for its block, whose
//! bounds are made anew before anybody asks for them, or when [`MOST_RAISED`] blocks wait for it. A leaf
//! that loses changes no bound: who asks for the best comes upon one that nobody reaches any more, and
//! lowers it. So a loss is paid for by a later question, by a block or two a level, if one comes that far
//! down: a question after many losses looks at so many blocks, at the most at all of them once a level.

use std::{cmp::Ordering, collections::BinaryHeap};

use crate::chunked::{Chunked, Rows};

/// How many children a block has: a cache line or two of scores.
const FAN: usize = 16;

/// How many leaves are looked at one by one: about as long as the best of as many in blocks take. Few
/// in tests, so that all of them have blocks.
const SMALL: usize = if cfg!(test) { 8 } else { 256 };

/// How many blocks may wait for new bounds: they take a tenth of a millisecond together. Few in tests.
const MOST_RAISED: usize = if cfg!(test) { 3 } else { 1_024 };

/// The score of a leaf that is not eligible. Eligible scores are above 0.
pub(super) const OUT: i64 = 0;

/// Leaves with a member each, and scores; greater score first, then lesser member. Members with
/// different ties are ordered by these, so that mostly no member has to be fetched.
pub(super) struct Leaves<M> {
    lanes: usize,
    scores: Rows<i64>,
    ties: Chunked<u64>,
    members: Chunked<M>,
    /// `bounds[level][block][lane]`. None where the group is small.
    bounds: Vec<Rows<Bound>>,
    raised: Raised,
    free: Vec<u32>,
    /// How many leaves, each by itself or as the bound of its block, were looked at.
    #[cfg(test)]
    looked_at: std::cell::Cell<usize>,
}

/// The rank that a leaf has, or had.
#[derive(Clone, Copy)]
struct Bound {
    score: i64,
    leaf: u32,
}

/// Blocks of the lowest level with a leaf that has gained, or has another member, since their bounds
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

impl<M: Ord + Clone> Leaves<M> {
    pub(super) fn new(lanes: usize) -> Self {
        Leaves {
            lanes,
            scores: Rows::of_width(lanes),
            ties: Chunked::default(),
            members: Chunked::default(),
            bounds: Vec::new(),
            raised: Raised::default(),
            free: Vec::new(),
            #[cfg(test)]
            looked_at: std::cell::Cell::new(0),
        }
    }

    /// A leaf for `member`, not eligible yet. Of two members the lesser never has the greater `tie`.
    pub(super) fn add(&mut self, member: M, tie: u64) -> u32 {
        if let Some(leaf) = self.free.pop() {
            self.members[leaf as usize] = member;
            self.ties[leaf as usize] = tie;
            self.raise(leaf);
            return leaf;
        }
        let leaf = self.scores.len() as u32;
        self.scores.push(OUT);
        self.ties.push(tie);
        self.members.push(member);
        if self.scores.len() > SMALL {
            self.grow();
        }
        leaf
    }

    /// Gives every leaf its blocks.
    fn grow(&mut self) {
        let (mut level, mut blocks) = (0, self.scores.len().div_ceil(FAN));
        loop {
            if self.bounds.len() == level {
                self.bounds.push(Rows::of_width(self.lanes));
            }
            for block in self.bounds[level].len()..blocks {
                self.bounds[level].push(Bound { score: OUT, leaf: 0 });
                self.make_bounds(level, block);
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

    /// Gives a leaf that is not eligible in any lane back.
    pub(super) fn remove(&mut self, leaf: u32) {
        debug_assert!(self.scores[leaf as usize].iter().all(|score| *score == OUT));
        self.free.push(leaf);
    }

    pub(super) fn score(&self, lane: u8, leaf: u32) -> i64 {
        self.scores[leaf as usize][usize::from(lane)]
    }

    pub(super) fn member(&self, leaf: u32) -> &M {
        &self.members[leaf as usize]
    }

    pub(super) fn member_mut(&mut self, leaf: u32) -> &mut M {
        &mut self.members[leaf as usize]
    }

    pub(super) fn tie(&self, leaf: u32) -> u64 {
        self.ties[leaf as usize]
    }

    /// Reads what [`Leaves::set`] will need of a leaf, so that it is at hand then.
    pub(super) fn peek(&self, leaf: u32) -> u64 {
        let scores = &self.scores[leaf as usize];
        (scores[0] ^ scores[scores.len() - 1]) as u64
    }

    /// How many leaves are in use.
    pub(super) fn len(&self) -> usize {
        self.scores.len() - self.free.len()
    }

    /// Sets a leaf's score in a lane.
    pub(super) fn set(&mut self, lane: u8, leaf: u32, score: i64) {
        let before = std::mem::replace(&mut self.scores[leaf as usize][usize::from(lane)], score);
        if score > before {
            self.raise(leaf);
        }
    }

    /// Notes that a leaf may be above the bounds of its blocks.
    fn raise(&mut self, leaf: u32) {
        if self.bounds.is_empty() {
            return;
        }
        self.raised.add(leaf as usize / FAN);
        if self.raised.blocks.len() >= MOST_RAISED {
            self.make_raised_bounds();
        }
    }

    /// Makes the bounds of all blocks that wait for it, and of those above them.
    fn make_raised_bounds(&mut self) {
        let mut blocks = self.raised.take();
        for level in 0..self.bounds.len() {
            for block in &blocks {
                self.make_bounds(level, *block as usize);
            }
            blocks.iter_mut().for_each(|block| *block /= FAN as u32);
            blocks.dedup();
        }
    }

    fn make_bounds(&mut self, level: usize, block: usize) {
        for lane in 0..self.lanes {
            let least = self.least_bound(lane, level, block);
            self.bounds[level][block][lane] = least;
        }
    }

    /// The best `most` eligible leaves of a lane, best first.
    pub(super) fn best(&mut self, lane: u8, most: usize) -> Vec<u32> {
        let Some(top) = self.bounds.len().checked_sub(1) else { return self.best_of_all(lane, most) };
        self.make_raised_bounds();
        let lane = usize::from(lane);
        let (mut found, mut lowered) = (Vec::with_capacity(most), Vec::new());
        let leaves = &*self;
        let whole = Entrant { leaves, bound: leaves.bounds[top][0][lane], block: Some((top, 0)) };
        let mut queue = BinaryHeap::from([whole]);
        while let Some(Entrant { bound, block, .. }) = queue.pop() {
            if found.len() == most || bound.score <= OUT {
                break;
            }
            let Some((level, block)) = block else {
                found.push(bound.leaf);
                continue;
            };
            let least = leaves.least_bound(lane, level, block);
            if leaves.is_above(bound, least) {
                // Nobody reaches its bound any more: it waits for its turn with a lower one.
                lowered.push((level, block, least));
                queue.push(Entrant { leaves, bound: least, block: Some((level, block)) });
            } else {
                let within = leaves.within(lane, level, block);
                queue.extend(within.map(|(bound, block)| Entrant { leaves, bound, block }));
            }
        }
        drop(queue);
        for (level, block, least) in lowered {
            self.bounds[level][block][lane] = least;
        }
        found
    }

    /// The leaves of a block of the lowest level, or the blocks of another, with their bounds.
    fn within(&self, lane: usize, level: usize, block: usize) -> impl Iterator<Item = (Bound, Option<(usize, usize)>)> {
        let lower = level.checked_sub(1);
        let width = lower.map_or(self.scores.len(), |lower| self.bounds[lower].len());
        let children = block * FAN..((block + 1) * FAN).min(width);
        self.look_at(children.len());
        children.map(move |child| match lower {
            Some(lower) => (self.bounds[lower][child][lane], Some((lower, child))),
            None => (Bound { score: self.scores[child][lane], leaf: child as u32 }, None),
        })
    }

    /// The least bound that a block can have.
    fn least_bound(&self, lane: usize, level: usize, block: usize) -> Bound {
        let bounds = self.within(lane, level, block).map(|(bound, _)| bound);
        bounds.reduce(|best, other| if self.is_above(other, best) { other } else { best }).expect("a block has a leaf")
    }

    fn is_above(&self, a: Bound, b: Bound) -> bool {
        a.score > b.score || (a.score == b.score && a.score > OUT && self.order(a.leaf, b.leaf).is_lt())
    }

    fn best_of_all(&self, lane: u8, most: usize) -> Vec<u32> {
        self.look_at(self.scores.len());
        let is_eligible = |leaf: &u32| self.score(lane, *leaf) > OUT;
        let mut found: Vec<u32> = (0..self.scores.len() as u32).filter(is_eligible).collect();
        if most < found.len() {
            found.select_nth_unstable_by(most, |a, b| self.by_rank(lane, *a, *b));
            found.truncate(most);
        }
        found.sort_unstable_by(|a, b| self.by_rank(lane, *a, *b));
        found
    }

    fn look_at(&self, _leaves: usize) {
        #[cfg(test)]
        self.looked_at.set(self.looked_at.get() + _leaves);
    }

    /// Best first.
    pub(super) fn by_rank(&self, lane: u8, a: u32, b: u32) -> Ordering {
        self.score(lane, b).cmp(&self.score(lane, a)).then_with(|| self.order(a, b))
    }

    /// The order of two leaves of one score.
    fn order(&self, a: u32, b: u32) -> Ordering {
        let (a, b) = (a as usize, b as usize);
        self.ties[a].cmp(&self.ties[b]).then_with(|| self.members[a].cmp(&self.members[b]))
    }
}

/// A leaf, or a block with its bound, in the queue of [`Leaves::best`].
struct Entrant<'a, M> {
    leaves: &'a Leaves<M>,
    bound: Bound,
    block: Option<(usize, usize)>,
}

impl<M: Ord + Clone> Ord for Entrant<'_, M> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.bound.score.cmp(&other.bound.score);
        by_score.then_with(|| self.leaves.order(other.bound.leaf, self.bound.leaf))
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
