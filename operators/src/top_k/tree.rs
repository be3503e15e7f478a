//! The leaves of a group: sixteen leaves to a block, sixteen blocks to the next, each knowing a
//! bound: no leaf of it comes before that. The best m leaves are found from the top, the block of the
//! best bound first, without looking at the rest.
//!
//! A group of a few needs no blocks: up to [`SMALL`] leaves are looked at one by one.
//!
//! A leaf that gains raises the bounds that it passes, mostly none. One that loses changes none:
//! who asks for the best comes upon a bound that nobody reaches any more, and lowers it. So a loss
//! is paid for by a later question, by a block or two a level, if one comes that far down: a question
//! after many losses looks at so many blocks, at the most at all of them once a level.

use std::{cmp::Ordering, collections::BinaryHeap};

use crate::chunked::Chunked;

/// How many children a block has: a cache line or two of scores.
const FAN: usize = 16;

/// How many leaves are looked at one by one: about as long as the best of as many in blocks take. Few
/// in tests, so that all of them have blocks.
const SMALL: usize = if cfg!(test) { 8 } else { 256 };

/// The score of a leaf that is not eligible. Eligible scores are above 0.
pub(super) const OUT: i64 = 0;

/// Leaves with a score and a member each; greater score first, then lesser member. Members with
/// different ties are ordered by these, so that mostly no member has to be fetched.
pub(super) struct Tree<M> {
    scores: Chunked<i64>,
    ties: Chunked<u64>,
    members: Chunked<M>,
    /// `bounds[level][block]`. None where the group is small.
    bounds: Vec<Vec<Bound>>,
    free: Vec<u32>,
    /// How many leaves, each by itself or as the bound of its block, were looked at.
    #[cfg(test)]
    looked_at: std::cell::Cell<usize>,
}

/// The rank that a leaf has, or had.
#[derive(Clone, Copy)]
struct Bound {
    score: i64,
    /// [`NOBODY`] comes before every leaf of that score.
    leaf: u32,
}

const NOBODY: u32 = u32::MAX;

impl<M: Ord + Clone> Tree<M> {
    pub(super) fn new() -> Self {
        Tree {
            scores: Chunked::default(),
            ties: Chunked::default(),
            members: Chunked::default(),
            bounds: Vec::new(),
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
            self.forget_bounds_of(leaf);
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
                self.bounds.push(Vec::new());
            }
            for block in self.bounds[level].len()..blocks {
                let bound = self.least_bound(level, block);
                self.bounds[level].push(bound);
            }
            if blocks == 1 {
                return;
            }
            (level, blocks) = (level + 1, blocks.div_ceil(FAN));
        }
    }

    /// A leaf that has another member now no longer says who had a rank. Nor do the blocks above say
    /// it of that score: no bound is above that of the next level.
    fn forget_bounds_of(&mut self, leaf: u32) {
        let (mut block, mut forgotten) = (leaf as usize, None);
        for bounds in &mut self.bounds {
            block /= FAN;
            let bound = &mut bounds[block];
            if bound.leaf == leaf || forgotten == Some(bound.score) {
                bound.leaf = NOBODY;
                forgotten = Some(bound.score);
            }
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
        if score <= before {
            return;
        }
        let (mut level, mut block) = (0, leaf as usize / FAN);
        // No bound is above that of the next level.
        while level < self.bounds.len() && self.is_above(Bound { score, leaf }, self.bounds[level][block]) {
            self.bounds[level][block] = Bound { score, leaf };
            (level, block) = (level + 1, block / FAN);
        }
    }

    /// The best `most` eligible leaves, best first.
    pub(super) fn best(&mut self, most: usize) -> Vec<u32> {
        let Some(top) = self.bounds.len().checked_sub(1) else { return self.best_of_all(most) };
        let (mut found, mut lowered) = (Vec::with_capacity(most), Vec::new());
        let tree = &*self;
        let mut queue = BinaryHeap::from([Entrant { tree, bound: tree.bounds[top][0], block: Some((top, 0)) }]);
        while let Some(Entrant { bound, block, .. }) = queue.pop() {
            if found.len() == most || bound.score <= OUT {
                break;
            }
            let Some((level, block)) = block else {
                found.push(bound.leaf);
                continue;
            };
            let least = tree.least_bound(level, block);
            if tree.is_above(bound, least) {
                // Nobody reaches its bound any more: it waits for its turn with a lower one.
                lowered.push((level, block, least));
                queue.push(Entrant { tree, bound: least, block: Some((level, block)) });
            } else {
                queue.extend(tree.within(level, block).map(|(bound, block)| Entrant { tree, bound, block }));
            }
        }
        drop(queue);
        for (level, block, least) in lowered {
            self.bounds[level][block] = least;
        }
        found
    }

    /// The leaves of a block of the lowest level, or the blocks of another, with their bounds.
    fn within(&self, level: usize, block: usize) -> impl Iterator<Item = (Bound, Option<(usize, usize)>)> {
        let lower = level.checked_sub(1);
        let width = lower.map_or(self.scores.len(), |lower| self.bounds[lower].len());
        let children = block * FAN..((block + 1) * FAN).min(width);
        self.look_at(children.len());
        children.map(move |child| match lower {
            Some(lower) => (self.bounds[lower][child], Some((lower, child))),
            None => (Bound { score: self.scores[child], leaf: child as u32 }, None),
        })
    }

    /// The least bound that a block can have.
    fn least_bound(&self, level: usize, block: usize) -> Bound {
        let bounds = self.within(level, block).map(|(bound, _)| bound);
        bounds.reduce(|best, other| if self.is_above(other, best) { other } else { best }).expect("a block has a leaf")
    }

    fn is_above(&self, a: Bound, b: Bound) -> bool {
        a.score > b.score || (a.score == b.score && self.order(a.leaf, b.leaf).is_lt())
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

    fn look_at(&self, _leaves: usize) {
        #[cfg(test)]
        self.looked_at.set(self.looked_at.get() + _leaves);
    }

    /// True where `a` comes before `b`.
    pub(super) fn beats(&self, a: u32, b: u32) -> bool {
        let [a, b] = [a, b].map(|leaf| Bound { score: self.score(leaf), leaf });
        self.is_above(a, b)
    }

    /// Best first.
    pub(super) fn by_rank(&self, a: u32, b: u32) -> Ordering {
        self.score(b).cmp(&self.score(a)).then_with(|| self.order(a, b))
    }

    /// The order of two leaves of one score.
    fn order(&self, a: u32, b: u32) -> Ordering {
        if a == NOBODY || b == NOBODY {
            return (a != NOBODY).cmp(&(b != NOBODY));
        }
        let (a, b) = (a as usize, b as usize);
        self.ties[a].cmp(&self.ties[b]).then_with(|| self.members[a].cmp(&self.members[b]))
    }
}

/// A leaf, or a block with its bound, in the queue of [`Tree::best`].
struct Entrant<'a, M> {
    tree: &'a Tree<M>,
    bound: Bound,
    block: Option<(usize, usize)>,
}

impl<M: Ord + Clone> Ord for Entrant<'_, M> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.bound.score.cmp(&other.bound.score);
        by_score.then_with(|| self.tree.order(other.bound.leaf, self.bound.leaf))
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

    /// The most that a question for the best `most` of `leaves` looked at, after each of `changes`.
    fn worst_cost(leaves: u32, most: usize, changes: u32) -> usize {
        let mut tree = Tree::new();
        for leaf in 0..leaves {
            tree.add(leaf, 0);
            tree.set(leaf, 1 + i64::from(leaf.wrapping_mul(2_654_435_761) % 1_000));
        }
        let cost_of = |change: u32| {
            // Every other change takes the best one out, which asks most of the tree.
            let first = tree.best(1)[0];
            let leaf = if change.is_multiple_of(2) { first } else { change.wrapping_mul(7_919) % leaves };
            tree.looked_at.set(0);
            tree.set(leaf, i64::from(change % 3) * 600);
            assert_eq!(tree.best(most).len(), most);
            tree.looked_at.get()
        };
        (0..changes).map(cost_of).max().expect("a change")
    }

    /// The best `most` look at `most` blocks a level, however many leaves there are.
    #[test]
    fn the_cost_grows_with_the_levels_and_not_with_the_leaves() {
        for (leaves, levels) in [(16_384, 4), (65_536, 4), (100_000, 5)] {
            let worst = worst_cost(leaves, 20, 200);
            // A block is looked at when its turn comes, again if its bound is lowered, and opened.
            assert!((1..=3 * FAN * 24 * levels).contains(&worst), "{worst} leaves for the best 20 among {leaves}");
        }
    }

    /// However many have lost since the last question: each of them is paid for once, and none is
    /// opened that has no one among the best.
    #[test]
    fn a_loss_is_paid_for_once() {
        let mut tree = Tree::new();
        for leaf in 0..65_536u32 {
            tree.add(leaf, 0);
            tree.set(leaf, 1_000 + i64::from(leaf));
        }
        tree.best(20);
        (60_000..65_536).for_each(|leaf| tree.set(leaf, 1));
        tree.looked_at.set(0);
        assert_eq!(tree.best(20), (59_980..60_000).rev().collect::<Vec<_>>());
        let first = tree.looked_at.replace(0);
        assert_eq!(tree.best(20).len(), 20);
        let second = tree.looked_at.replace(0);
        assert_eq!(tree.best(20).len(), 20);
        let third = tree.looked_at.replace(0);
        let fallen = 5_536 / FAN + 5_536 / FAN / FAN + 24;
        assert!(first <= 3 * FAN * (fallen + 4 * 24), "{first} leaves after 5,536 losses");
        assert!((1..=3 * FAN * 4 * 24).contains(&second), "{second} leaves when nothing has changed");
        assert!(third <= second, "{third} leaves, and before {second}");
    }

    impl<M: Ord + Clone> Tree<M> {
        /// No leaf is above the bounds of its blocks, and none of these above that of the next level.
        fn is_bounded(&self) -> bool {
            (0..self.scores.len()).all(|leaf| {
                let (mut lower, mut block) = (Bound { score: self.scores[leaf], leaf: leaf as u32 }, leaf);
                self.bounds.iter().all(|bounds| {
                    block /= FAN;
                    let below = std::mem::replace(&mut lower, bounds[block]);
                    below.score <= OUT || !self.is_above(below, bounds[block])
                })
            })
        }
    }

    proptest! {
        /// As many leaves as are looked at one by one, one more, and more than that.
        #[test]
        fn the_best_are_those_of_a_sort(
            leaves in prop::sample::select(vec![5u32, SMALL as u32, SMALL as u32 + 1, 300, 400]),
            changes in prop::collection::vec((0u32..400, 0i64..9, prop::bool::weighted(0.1)), 1..900),
            most in 1usize..40,
            members_a_tie in 1u64..2_000,
        ) {
            let mut tree = Tree::new();
            // Members descend while leaves ascend, so that ties are not in the order of leaves.
            let mut plain: Vec<(i64, u32)> = (0..leaves).map(|leaf| (OUT, 20_000 - leaf)).collect();
            for (leaf, (_, member)) in plain.iter().enumerate() {
                prop_assert_eq!(tree.add(*member, u64::from(*member) / members_a_tie), leaf as u32);
                tree.set(leaf as u32, 1);
                tree.set(leaf as u32, OUT);
            }
            for (at, (leaf, score, is_another)) in (0u32..).zip(changes) {
                let leaf = leaf % leaves;
                if is_another {
                    let member = if at.is_multiple_of(2) { at } else { 30_000 + at };
                    tree.set(leaf, OUT);
                    tree.remove(leaf);
                    prop_assert_eq!(tree.add(member, u64::from(member) / members_a_tie), leaf);
                    plain[leaf as usize].1 = member;
                }
                tree.set(leaf, score);
                plain[leaf as usize].0 = score;
                if at % 97 == 0 {
                    tree.best(most);
                }
                prop_assert!(tree.is_bounded());
            }
            let mut order: Vec<u32> = (0..leaves).filter(|leaf| plain[*leaf as usize].0 > OUT).collect();
            order.sort_by_key(|leaf| (-plain[*leaf as usize].0, plain[*leaf as usize].1));
            order.truncate(most);
            prop_assert_eq!(tree.best(most), order);
        }
    }
}
