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
    /// How many leaves, each by itself or as the best of its block, were looked at in blocks.
    #[cfg(test)]
    looked_at: std::cell::Cell<usize>,
}

impl<M: Ord + Clone> Tree<M> {
    pub(super) fn new() -> Self {
        Tree {
            scores: Vec::new(),
            members: Vec::new(),
            winners: Vec::new(),
            free: Vec::new(),
            #[cfg(test)]
            looked_at: std::cell::Cell::new(0),
        }
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

    /// What one change, or the best `most`, cost in a group of `leaves`, at the worst.
    fn worst_costs(leaves: u32, most: usize) -> (usize, usize, usize) {
        let mut tree = Tree::new();
        for leaf in 0..leaves {
            tree.add(leaf);
            tree.set(leaf, 1 + i64::from(leaf.wrapping_mul(2_654_435_761) % 1_000));
        }
        let cost = |tree: &Tree<u32>| tree.looked_at.replace(0);
        let (mut set, mut best) = (0, 0);
        for round in 0..500u32 {
            cost(&tree);
            // Every other change takes the best one out, which asks most of the tree.
            let leaf = if round % 2 == 0 { tree.best(1)[0] } else { round.wrapping_mul(7_919) % leaves };
            cost(&tree);
            tree.set(leaf, i64::from(round % 3) * 600);
            set = set.max(cost(&tree));
            assert_eq!(tree.best(most).len(), most);
            best = best.max(cost(&tree));
        }
        (set, best, tree.winners.len())
    }

    /// A change looks at one block a level, the best `most` at `most` blocks a level, however many
    /// leaves there are.
    #[test]
    fn the_cost_grows_with_the_levels_and_not_with_the_leaves() {
        for (leaves, expected) in [(256, 2), (4_096, 3), (65_536, 4), (100_000, 5)] {
            let (set, best, levels) = worst_costs(leaves, 20);
            assert_eq!(levels, expected);
            assert!((1..=FAN * levels).contains(&set), "{set} leaves for a change among {leaves}");
            assert!((1..=FAN * 20 * levels).contains(&best), "{best} leaves for the best 20 among {leaves}");
        }
    }

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
