//! A group: a tournament over all its members, and the members near the cut in order.
//!
//! The buffer holds exactly the eligible members that rank at or above its floor; without a floor
//! it holds all of them. It is refilled from the tree when it holds fewer than K and more are to
//! be had, so a refill is paid for by the departures since the last one.

use std::cmp::Ordering;

use super::{
    BUFFER_FACTOR,
    tree::{OUT, Tree},
};

/// A place in the order: greater score first, then lesser tie; where that too is the same, the
/// members of the leaves decide.
#[derive(Clone, Copy)]
struct Rank {
    score: i64,
    tie: u64,
    leaf: u32,
}

pub(super) struct List<M> {
    k: usize,
    tree: Tree<M>,
    buffer: Vec<Rank>,
    floor: Option<Floor<M>>,
}

/// The least rank that belongs into the buffer. Who had it may have left, and the leaf with it.
#[derive(Clone)]
struct Floor<M> {
    score: i64,
    tie: u64,
    member: M,
}

impl<M: Ord + Clone> List<M> {
    pub(super) fn new(k: usize) -> Self {
        List { k, tree: Tree::new(), buffer: Vec::new(), floor: None }
    }

    /// A leaf for `member`, not eligible yet. Of two members the lesser never has the greater `tie`.
    pub(super) fn add(&mut self, member: M, tie: u64) -> u32 {
        self.tree.add(member, tie)
    }

    /// Takes a leaf out; true where the first K changed.
    pub(super) fn remove(&mut self, leaf: u32) -> bool {
        let changed = self.set(leaf, OUT);
        self.tree.remove(leaf);
        changed
    }

    /// A leaf's score, or [`OUT`].
    pub(super) fn score(&self, leaf: u32) -> i64 {
        self.tree.score(leaf)
    }

    /// True where the group has no member.
    pub(super) fn is_empty(&self) -> bool {
        self.tree.len() == 0
    }

    /// Gives a leaf a score, or [`OUT`]; true where the first K changed.
    pub(super) fn set(&mut self, leaf: u32, score: i64) -> bool {
        let before = self.tree.score(leaf);
        if before == score {
            return false;
        }
        self.tree.set(leaf, score);
        if before.max(score) < self.floor.as_ref().map_or(OUT, |floor| floor.score) {
            return false;
        }
        let left = self
            .covers(leaf, before)
            .then(|| self.place(leaf, before).expect("what the floor covers is in the buffer"));
        let entered = match (left, self.covers(leaf, score)) {
            (Some(place), true) => Some(self.move_from(place)),
            (Some(place), false) => {
                self.buffer.remove(place);
                None
            }
            (None, true) => {
                let place = self.place(leaf, score).expect_err("a member is in the buffer once");
                self.buffer.insert(place, self.rank(leaf));
                Some(place)
            }
            (None, false) => None,
        };
        if self.buffer.len() > BUFFER_FACTOR * self.k {
            self.buffer.pop();
            self.floor = self.last();
        }
        if self.buffer.len() < self.k && self.floor.is_some() {
            self.refill();
        }
        left.into_iter().chain(entered).any(|place| place < self.k)
    }

    /// True where `leaf` is among the first K.
    pub(super) fn is_listed(&self, leaf: u32) -> bool {
        let score = self.tree.score(leaf);
        self.covers(leaf, score) && self.place(leaf, score).is_ok_and(|place| place < self.k)
    }

    /// The first K, each with its score.
    pub(super) fn first(&self) -> impl Iterator<Item = (&M, i64)> {
        self.buffer.iter().take(self.k).map(|rank| (self.tree.member(rank.leaf), rank.score))
    }

    fn rank(&self, leaf: u32) -> Rank {
        Rank { score: self.tree.score(leaf), tie: self.tree.tie(leaf), leaf }
    }

    fn last(&self) -> Option<Floor<M>> {
        let of = |rank: &Rank| Floor { score: rank.score, tie: rank.tie, member: self.tree.member(rank.leaf).clone() };
        self.buffer.last().map(of)
    }

    /// True where the member of `leaf` belongs into the buffer if it has `score`.
    fn covers(&self, leaf: u32, score: i64) -> bool {
        let (tie, member) = (self.tree.tie(leaf), self.tree.member(leaf));
        let above = |floor: &Floor<M>| {
            score > floor.score || (score == floor.score && (tie, member) <= (floor.tie, &floor.member))
        };
        score > OUT && self.floor.as_ref().is_none_or(above)
    }

    /// Where `leaf` stands in the buffer if it has `score`, or would.
    fn place(&self, leaf: u32, score: i64) -> Result<usize, usize> {
        let wanted = Rank { score, tie: self.tree.tie(leaf), leaf };
        self.buffer.binary_search_by(|rank| self.order(rank, &wanted))
    }

    /// Moves the member at `place`, whose score has changed, to where it belongs now: mostly a few
    /// places on.
    fn move_from(&mut self, mut place: usize) -> usize {
        let rank = self.rank(self.buffer[place].leaf);
        while place > 0 && self.order(&rank, &self.buffer[place - 1]).is_lt() {
            self.buffer[place] = self.buffer[place - 1];
            place -= 1;
        }
        while place + 1 < self.buffer.len() && self.order(&self.buffer[place + 1], &rank).is_lt() {
            self.buffer[place] = self.buffer[place + 1];
            place += 1;
        }
        self.buffer[place] = rank;
        place
    }

    fn order(&self, a: &Rank, b: &Rank) -> Ordering {
        let by_tie = b.score.cmp(&a.score).then_with(|| a.tie.cmp(&b.tie));
        if by_tie.is_ne() || a.leaf == b.leaf {
            return by_tie;
        }
        self.tree.member(a.leaf).cmp(self.tree.member(b.leaf))
    }

    fn refill(&mut self) {
        let wanted = BUFFER_FACTOR * self.k * 2 / 3;
        let leaves = self.tree.best(wanted);
        self.buffer = leaves.into_iter().map(|leaf| self.rank(leaf)).collect();
        self.floor = if self.buffer.len() < wanted { None } else { self.last() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The first K equal a sort after every change, and a change that is not reported changed nothing.
        #[test]
        fn the_first_k_are_those_of_a_sort(
            k in 1usize..4,
            members_a_tie in 1u32..80,
            changes in prop::collection::vec((0u32..60, 0i64..6), 1..600),
        ) {
            let mut list = List::new(k);
            let mut plain = vec![OUT; 60];
            let mut last = Vec::new();
            for leaf in 0..60u32 {
                list.add(leaf, u64::from(leaf / members_a_tie));
            }
            for (leaf, score) in changes {
                let reported = list.set(leaf, score);
                plain[leaf as usize] = score;
                let mut order: Vec<(i64, u32)> = (0..60).map(|m| (-plain[m as usize], m)).filter(|(s, _)| *s < 0).collect();
                order.sort();
                order.truncate(k);
                let first: Vec<(i64, u32)> = list.first().map(|(member, score)| (-score, *member)).collect();
                prop_assert_eq!(&first, &order);
                prop_assert!(reported || first == last);
                prop_assert_eq!(list.is_listed(leaf), order.iter().any(|(_, m)| *m == leaf));
                last = first;
            }
        }
    }
}
