//! A tournament over the leaves of a group: sixteen leaves to a block, sixteen blocks to the
//! next, each knowing its best leaf. Changing a leaf looks at one block per level and stops where
//! the winner stays; the best m leaves are found from the top without looking at the rest.

use std::collections::BinaryHeap;

/// How many children a block has: a cache line or two of scores.
const FAN: usize = 16;

/// The score of a leaf that is not eligible. Eligible scores are above 0.
pub(super) const OUT: i64 = 0;

/// Leaves with a score and a member each; greater score first, then lesser member.
pub(super) struct Tree<M> {
    scores: Vec<i64>,
    members: Vec<M>,
    /// `winners[level][block]`: the best leaf of that block.
    winners: Vec<Vec<u32>>,
    free: Vec<u32>,
}

impl<M: Ord + Clone> Tree<M> {
    pub(super) fn new() -> Self {
        Tree { scores: Vec::new(), members: Vec::new(), winners: Vec::new(), free: Vec::new() }
    }

    /// A leaf for `member`, not eligible yet.
    pub(super) fn add(&mut self, member: M) -> u32 {
        if let Some(leaf) = self.free.pop() {
            self.members[leaf as usize] = member;
            return leaf;
        }
        let leaf = self.scores.len() as u32;
        self.scores.push(OUT);
        self.members.push(member);
        let (mut level, mut blocks) = (0, self.scores.len().div_ceil(FAN));
        loop {
            if self.winners.len() == level {
                let first = if level == 0 { 0 } else { self.winners[level - 1][0] };
                self.winners.push(vec![first]);
            }
            if self.winners[level].len() < blocks {
                self.winners[level].push(leaf);
            }
            if blocks == 1 {
                return leaf;
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

    /// How many leaves are in use.
    pub(super) fn len(&self) -> usize {
        self.scores.len() - self.free.len()
    }

    /// Sets a leaf's score.
    pub(super) fn set(&mut self, leaf: u32, score: i64) {
        self.scores[leaf as usize] = score;
        let mut block = leaf as usize;
        for level in 0..self.winners.len() {
            block /= FAN;
            let winner = self.winners[level][block];
            let best = if winner == leaf {
                self.best_of(level, block)
            } else if self.beats(leaf, winner) {
                leaf
            } else {
                return;
            };
            self.winners[level][block] = best;
        }
    }

    /// The best `most` eligible leaves, best first.
    pub(super) fn best(&self, most: usize) -> Vec<u32> {
        let mut found = Vec::with_capacity(most);
        let Some(top) = self.winners.len().checked_sub(1) else { return found };
        let mut heap = BinaryHeap::from([Entrant { tree: self, leaf: self.winners[top][0], block: Some((top, 0)) }]);
        while let Some(Entrant { leaf, block, .. }) = heap.pop() {
            if found.len() == most || self.score(leaf) <= OUT {
                break;
            }
            match block {
                None => found.push(leaf),
                Some((0, block)) => {
                    heap.extend(self.leaves(block).map(|leaf| Entrant { tree: self, leaf, block: None }));
                }
                Some((level, block)) => heap.extend(self.children(level, block).map(|child| Entrant {
                    tree: self,
                    leaf: self.winners[level - 1][child],
                    block: Some((level - 1, child)),
                })),
            }
        }
        found
    }

    fn leaves(&self, block: usize) -> impl Iterator<Item = u32> + use<M> {
        (block * FAN) as u32..((block + 1) * FAN).min(self.scores.len()) as u32
    }

    fn children(&self, level: usize, block: usize) -> std::ops::Range<usize> {
        block * FAN..((block + 1) * FAN).min(self.winners[level - 1].len())
    }

    fn best_of(&self, level: usize, block: usize) -> u32 {
        let better = |best: u32, other: u32| if self.beats(other, best) { other } else { best };
        if level == 0 {
            return self.leaves(block).reduce(better).expect("a block has a leaf");
        }
        let winners = &self.winners[level - 1];
        self.children(level, block).map(|child| winners[child]).reduce(better).expect("a block has a child")
    }

    fn beats(&self, a: u32, b: u32) -> bool {
        let (score_a, score_b) = (self.scores[a as usize], self.scores[b as usize]);
        score_a > score_b
            || (score_a == score_b && score_a > OUT && self.members[a as usize] < self.members[b as usize])
    }
}

/// A leaf, or a block with its best leaf, in the queue of [`Tree::best`].
struct Entrant<'a, M> {
    tree: &'a Tree<M>,
    leaf: u32,
    block: Option<(usize, usize)>,
}

impl<M: Ord> Ord for Entrant<'_, M> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let score = |entrant: &Self| entrant.tree.scores[entrant.leaf as usize];
        let member = |entrant: &Self| &entrant.tree.members[entrant.leaf as usize];
        score(self).cmp(&score(other)).then_with(|| member(other).cmp(member(self)))
    }
}
impl<M: Ord> PartialOrd for Entrant<'_, M> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<M: Ord> PartialEq for Entrant<'_, M> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl<M: Ord> Eq for Entrant<'_, M> {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_best_are_those_of_a_sort(changes in prop::collection::vec((0u32..400, 0i64..9), 1..900), most in 1usize..40) {
            let mut tree = Tree::new();
            let mut plain = vec![OUT; 400];
            // Members descend while leaves ascend, so that ties are not in the order of leaves.
            for leaf in 0..400u32 {
                prop_assert_eq!(tree.add(1_000 - leaf), leaf);
            }
            for (leaf, score) in changes {
                tree.set(leaf, score);
                plain[leaf as usize] = score;
            }
            let mut order: Vec<u32> = (0..400).filter(|leaf| plain[*leaf as usize] > OUT).collect();
            order.sort_by_key(|leaf| (-plain[*leaf as usize], 1_000 - leaf));
            order.truncate(most);
            prop_assert_eq!(tree.best(most), order);
        }
    }
}
