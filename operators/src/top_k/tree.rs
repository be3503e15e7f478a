//! A tournament over the leaves of a group: sixteen leaves to a block, sixteen blocks to the
//! next, each knowing its best leaf. The best m leaves are found from the top without looking at
//! the rest.
//!
//! A group of a few needs no tournament: up to [`SMALL`] leaves are looked at one by one.
//!
//! Changing a leaf writes its score and, where that may make another leaf win, notes its block: who
//! wins it is decided when the best are asked for, or when [`MAX_STALE_BLOCKS`] have been noted, once
//! for all changes since. So a change costs at most one block per level, and mostly less, and no
//! question has more than that to repair.

use std::{cmp::Ordering, collections::BinaryHeap};

/// How many children a block has: a cache line or two of scores.
const FAN: usize = 16;

/// How many blocks may be noted before they are looked at again.
const MAX_STALE_BLOCKS: usize = 1_024;

/// How many leaves are looked at one by one: about as long as the best of a tournament take. Few in
/// tests, so that all of them have tournaments.
const SMALL: usize = if cfg!(test) { 8 } else { 256 };

/// The score of a leaf that is not eligible. Eligible scores are above 0.
pub(super) const OUT: i64 = 0;

/// Leaves with a score and a member each; greater score first, then lesser member. Members with
/// different ties are ordered by these, so that mostly no member has to be fetched.
pub(super) struct Tree<M> {
    scores: Vec<i64>,
    ties: Vec<u64>,
    members: Vec<M>,
    /// `winners[level][block]`: the best leaf of that block. None where the group is small.
    winners: Vec<Vec<u32>>,
    /// Blocks of the lowest level whose winner may not be their best, and which those are.
    stale: Vec<u32>,
    is_stale: Vec<bool>,
    free: Vec<u32>,
    /// How many leaves, each by itself or as the best of its block, were looked at in blocks.
    #[cfg(test)]
    looked_at: std::cell::Cell<usize>,
}

impl<M: Ord + Clone> Tree<M> {
    pub(super) fn new() -> Self {
        Tree {
            scores: Vec::new(),
            ties: Vec::new(),
            members: Vec::new(),
            winners: Vec::new(),
            stale: Vec::new(),
            is_stale: Vec::new(),
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
            return leaf;
        }
        let leaf = self.scores.len() as u32;
        self.scores.push(OUT);
        self.ties.push(tie);
        self.members.push(member);
        if self.scores.len() > SMALL {
            self.grow(leaf);
        }
        leaf
    }

    /// Gives the last `leaf` a place in the tournament, and all of them where it is the first.
    fn grow(&mut self, leaf: u32) {
        let known = self.is_stale.len();
        let (mut level, mut blocks) = (0, self.scores.len().div_ceil(FAN));
        self.is_stale.resize(blocks, true);
        self.stale.extend(known as u32..blocks as u32);
        loop {
            if self.winners.len() == level {
                self.winners.push(Vec::new());
            }
            self.winners[level].resize(blocks, leaf);
            if blocks == 1 {
                return;
            }
            (level, blocks) = (level + 1, blocks.div_ceil(FAN));
        }
    }

    /// Gives a leaf that is not eligible back.
    pub(super) fn remove(&mut self, leaf: u32) {
        debug_assert_eq!(self.scores[leaf as usize], OUT);
        self.free.push(leaf);
    }

    pub(super) fn score(&self, leaf: u32) -> i64 {
        self.scores[leaf as usize]
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

    /// How many leaves are in use.
    pub(super) fn len(&self) -> usize {
        self.scores.len() - self.free.len()
    }

    /// Sets a leaf's score.
    pub(super) fn set(&mut self, leaf: u32, score: i64) {
        let before = std::mem::replace(&mut self.scores[leaf as usize], score);
        let block = leaf as usize / FAN;
        if !self.winners.is_empty() && !self.is_stale[block] && self.changes_a_winner(leaf, score > before) {
            self.is_stale[block] = true;
            self.stale.push(block as u32);
            if self.stale.len() >= MAX_STALE_BLOCKS {
                self.repair();
            }
        }
    }

    /// True where some block may have another winner now that a leaf, of a block that is not stale,
    /// has gained or lost.
    fn changes_a_winner(&self, leaf: u32, has_gained: bool) -> bool {
        let mut block = leaf as usize;
        for winners in &self.winners {
            block /= FAN;
            let winner = winners[block];
            if winner != leaf {
                return self.beats(leaf, winner);
            }
            if !has_gained {
                return true;
            }
        }
        false
    }

    /// Lets every block know its best leaf again.
    fn repair(&mut self) {
        let mut blocks = std::mem::take(&mut self.stale);
        blocks.iter().for_each(|block| self.is_stale[*block as usize] = false);
        for level in 0..self.winners.len() {
            for block in &blocks {
                self.winners[level][*block as usize] = self.best_of(level, *block as usize);
            }
            blocks.iter_mut().for_each(|block| *block /= FAN as u32);
            blocks.sort_unstable();
            blocks.dedup();
        }
        blocks.clear();
        self.stale = blocks;
    }

    /// The best `most` eligible leaves, best first.
    pub(super) fn best(&mut self, most: usize) -> Vec<u32> {
        if self.winners.is_empty() {
            return self.best_of_all(most);
        }
        self.repair();
        let tree = &*self;
        let mut found = Vec::with_capacity(most);
        let top = tree.winners.len() - 1;
        let mut heap = BinaryHeap::from([Entrant { tree, leaf: tree.winners[top][0], block: Some((top, 0)) }]);
        while let Some(Entrant { leaf, block, .. }) = heap.pop() {
            if found.len() == most || tree.score(leaf) <= OUT {
                break;
            }
            match block {
                None => found.push(leaf),
                Some((0, block)) => heap.extend(tree.leaves(block).map(|leaf| Entrant { tree, leaf, block: None })),
                Some((level, block)) => heap.extend(tree.children(level, block).map(|child| Entrant {
                    tree,
                    leaf: tree.winners[level - 1][child],
                    block: Some((level - 1, child)),
                })),
            }
        }
        found
    }

    fn best_of_all(&self, most: usize) -> Vec<u32> {
        self.look_at(self.scores.len());
        let mut found: Vec<u32> = (0..self.scores.len() as u32).filter(|leaf| self.score(*leaf) > OUT).collect();
        if most < found.len() {
            found.select_nth_unstable_by(most, |a, b| self.by_rank(*a, *b));
            found.truncate(most);
        }
        found.sort_unstable_by(|a, b| self.by_rank(*a, *b));
        found
    }

    fn leaves(&self, block: usize) -> std::ops::Range<u32> {
        let leaves = block * FAN..((block + 1) * FAN).min(self.scores.len());
        self.look_at(leaves.len());
        leaves.start as u32..leaves.end as u32
    }

    fn children(&self, level: usize, block: usize) -> std::ops::Range<usize> {
        let children = block * FAN..((block + 1) * FAN).min(self.winners[level - 1].len());
        self.look_at(children.len());
        children
    }

    fn look_at(&self, _leaves: usize) {
        #[cfg(test)]
        self.looked_at.set(self.looked_at.get() + _leaves);
    }

    fn best_of(&self, level: usize, block: usize) -> u32 {
        let better = |best: u32, other: u32| if self.beats(other, best) { other } else { best };
        if level == 0 {
            return self.leaves(block).reduce(better).expect("a block has a leaf");
        }
        let winners = &self.winners[level - 1];
        self.children(level, block).map(|child| winners[child]).reduce(better).expect("a block has a child")
    }

    pub(super) fn beats(&self, a: u32, b: u32) -> bool {
        self.would_beat(a, self.score(a), b)
    }

    /// True where `a` would come before `b` if it had `score`.
    pub(super) fn would_beat(&self, a: u32, score: i64, b: u32) -> bool {
        let other = self.score(b);
        score > other || (score == other && score > OUT && self.order(a, b).is_lt())
    }

    /// Best first.
    pub(super) fn by_rank(&self, a: u32, b: u32) -> Ordering {
        self.score(b).cmp(&self.score(a)).then_with(|| self.order(a, b))
    }

    /// The order of two leaves of one score.
    fn order(&self, a: u32, b: u32) -> Ordering {
        let (a, b) = (a as usize, b as usize);
        self.ties[a].cmp(&self.ties[b]).then_with(|| self.members[a].cmp(&self.members[b]))
    }
}

/// A leaf, or a block with its best leaf, in the queue of [`Tree::best`].
struct Entrant<'a, M> {
    tree: &'a Tree<M>,
    leaf: u32,
    block: Option<(usize, usize)>,
}

impl<M: Ord + Clone> Ord for Entrant<'_, M> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.tree.by_rank(other.leaf, self.leaf)
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the best `most` cost after one change, and what as many changes as there may be stale
    /// blocks cost by themselves, in a group of `leaves`, at the worst.
    fn worst_costs(leaves: u32, most: usize) -> (usize, usize, usize) {
        let mut tree = Tree::new();
        for leaf in 0..leaves {
            tree.add(leaf, 0);
            tree.set(leaf, 1 + i64::from(leaf.wrapping_mul(2_654_435_761) % 1_000));
        }
        let cost = |tree: &Tree<u32>| tree.looked_at.replace(0);
        let (mut set, mut best) = (0, 0);
        for round in 0..100u32 {
            // Every other change takes the best one out, which asks most of the tree.
            let first = tree.best(1)[0];
            let leaf = if round % 2 == 0 { first } else { round.wrapping_mul(7_919) % leaves };
            cost(&tree);
            tree.set(leaf, i64::from(round % 3) * 600);
            assert_eq!(tree.best(most).len(), most);
            best = best.max(cost(&tree));
            for change in 0..MAX_STALE_BLOCKS as u32 {
                tree.set((leaf + change * FAN as u32) % leaves, i64::from(10_000 * (round + 1) + change));
            }
            set = set.max(cost(&tree));
        }
        (set, best, tree.winners.len())
    }

    /// A change looks at one block a level, the best `most` at `most` blocks a level, however many
    /// leaves there are.
    #[test]
    fn the_cost_grows_with_the_levels_and_not_with_the_leaves() {
        for (leaves, expected) in [(16_384, 4), (65_536, 4), (100_000, 5)] {
            let (set, best, levels) = worst_costs(leaves, 20);
            assert_eq!(levels, expected);
            let changes = MAX_STALE_BLOCKS * FAN * levels;
            assert!((1..=changes).contains(&set), "{set} leaves for {MAX_STALE_BLOCKS} changes among {leaves}");
            assert!((1..=FAN * 21 * levels).contains(&best), "{best} leaves for the best 20 among {leaves}");
        }
    }

    proptest! {
        /// As many leaves as are looked at one by one, one more, and more than that.
        #[test]
        fn the_best_are_those_of_a_sort(
            leaves in prop::sample::select(vec![5u32, SMALL as u32, SMALL as u32 + 1, 300, 400]),
            changes in prop::collection::vec((0u32..400, 0i64..9), 1..900),
            most in 1usize..40,
            members_a_tie in 1u64..2_000,
        ) {
            let mut tree = Tree::new();
            let mut plain = vec![OUT; leaves as usize];
            // Members descend while leaves ascend, so that ties are not in the order of leaves.
            for leaf in 0..leaves {
                let member = 1_000 - leaf;
                prop_assert_eq!(tree.add(member, u64::from(member) / members_a_tie), leaf);
                tree.set(leaf, 1);
                tree.set(leaf, OUT);
            }
            for (at, (leaf, score)) in changes.into_iter().enumerate() {
                let leaf = leaf % leaves;
                tree.set(leaf, score);
                plain[leaf as usize] = score;
                if at % 97 == 0 {
                    tree.best(most);
                }
            }
            let mut order: Vec<u32> = (0..leaves).filter(|leaf| plain[*leaf as usize] > OUT).collect();
            order.sort_by_key(|leaf| (-plain[*leaf as usize], 1_000 - leaf));
            order.truncate(most);
            prop_assert_eq!(tree.best(most), order);
        }
    }
}
