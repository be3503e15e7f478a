//! A group: a tournament over all its members, and the members near the cut in order.
//!
//! The buffer holds exactly the eligible members that rank at or above `floor`; without a floor
//! it holds all of them. It is refilled from the tree when it holds fewer than K and more are to
//! be had, so a refill is paid for by the departures since the last one.

use std::cmp::Ordering;

use super::{
    BUFFER_FACTOR,
    tree::{OUT, Tree},
};

/// A place in the order: score, then member.
type Rank<M> = (i64, M);

fn by_rank<M: Ord>(a: (i64, &M), b: (i64, &M)) -> Ordering {
    b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1))
}

pub(super) struct List<M> {
    k: usize,
    tree: Tree<M>,
    buffer: Vec<(i64, M, u32)>,
    floor: Option<Rank<M>>,
}

impl<M: Ord + Clone> List<M> {
    pub(super) fn new(k: usize) -> Self {
        List { k, tree: Tree::new(), buffer: Vec::new(), floor: None }
    }

    /// A leaf for `member`, not eligible yet.
    pub(super) fn add(&mut self, member: M) -> u32 {
        self.tree.add(member)
    }

    /// Takes a leaf out; true where the first K changed.
    pub(super) fn remove(&mut self, leaf: u32) -> bool {
        let changed = self.set(leaf, OUT);
        self.tree.remove(leaf);
        changed
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
        let member = self.tree.member(leaf).clone();
        let left = self.covers(before, &member).then(|| {
            let place = self.place(before, &member).expect("what the floor covers is in the buffer");
            self.buffer.remove(place);
            place
        });
        let entered = self.covers(score, &member).then(|| {
            let place = self.place(score, &member).expect_err("a member is in the buffer once");
            self.buffer.insert(place, (score, member, leaf));
            place
        });
        if self.buffer.len() > BUFFER_FACTOR * self.k {
            self.buffer.pop();
            self.floor = self.buffer.last().map(|(score, member, _)| (*score, member.clone()));
        }
        if self.buffer.len() < self.k && self.floor.is_some() {
            self.refill();
        }
        left.into_iter().chain(entered).any(|place| place < self.k)
    }

    /// True where `leaf` is among the first K.
    pub(super) fn is_listed(&self, leaf: u32) -> bool {
        let score = self.tree.score(leaf);
        let member = self.tree.member(leaf);
        self.covers(score, member) && self.place(score, member).is_ok_and(|place| place < self.k)
    }

    /// The first K: score, member, leaf.
    pub(super) fn first(&self) -> &[(i64, M, u32)] {
        &self.buffer[..self.buffer.len().min(self.k)]
    }

    fn covers(&self, score: i64, member: &M) -> bool {
        let floor = self.floor.as_ref();
        score > OUT && floor.is_none_or(|(floor, last)| by_rank((score, member), (*floor, last)).is_le())
    }

    fn place(&self, score: i64, member: &M) -> Result<usize, usize> {
        self.buffer.binary_search_by(|(other, who, _)| by_rank((*other, who), (score, member)))
    }

    fn refill(&mut self) {
        let wanted = BUFFER_FACTOR * self.k * 2 / 3;
        let leaves = self.tree.best(wanted);
        let entry = |leaf: u32| (self.tree.score(leaf), self.tree.member(leaf).clone(), leaf);
        self.buffer = leaves.into_iter().map(entry).collect();
        let is_all = self.buffer.len() < wanted;
        self.floor = self.buffer.last().filter(|_| !is_all).map(|(score, member, _)| (*score, member.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The first K equal a sort after every change, and a change that is not reported changed nothing.
        #[test]
        fn the_first_k_are_those_of_a_sort(k in 1usize..4, changes in prop::collection::vec((0u32..60, 0i64..6), 1..600)) {
            let mut list = List::new(k);
            let mut plain = vec![OUT; 60];
            let mut last = Vec::new();
            for leaf in 0..60u32 {
                list.add(leaf);
            }
            for (leaf, score) in changes {
                let reported = list.set(leaf, score);
                plain[leaf as usize] = score;
                let mut order: Vec<(i64, u32)> = (0..60).map(|m| (-plain[m as usize], m)).filter(|(s, _)| *s < 0).collect();
                order.sort();
                order.truncate(k);
                let first: Vec<(i64, u32)> = list.first().iter().map(|(score, member, _)| (-score, *member)).collect();
                prop_assert_eq!(&first, &order);
                prop_assert!(reported || first == last);
                prop_assert_eq!(list.is_listed(leaf), order.iter().any(|(_, m)| *m == leaf));
                last = first;
            }
        }
    }
}
