//! The members of a group that are near the cut of one lane, at hand.
//!
//! The first K are kept in order. Behind them stands a reserve in no order: together they are
//! exactly the eligible members that rank at or above a floor; without a floor, all of them. Most
//! changes move a member within the reserve or below the floor and write nothing but its score.
//! When fewer than K are left the two are refilled from the group's leaves, so a refill is paid for by the
//! departures, and the losses below the floor, since the last one; when the reserve is full its lesser part is let go.

use super::{
    BUFFER_FACTOR,
    leaves::{Leaves, OUT},
};

pub(super) struct List<M> {
    k: usize,
    lane: u8,
    /// The first K, best first.
    first: Vec<Placed<M>>,
    /// The score of the last of the first, or [`OUT`] where there are fewer than K.
    last_score: i64,
    /// Further leaves at or above the floor; none where there are fewer than K.
    reserve: Vec<u32>,
    /// The least rank that belongs to the first or the reserve. Who had it may have left.
    floor: Option<Placed<M>>,
}

/// A leaf with rank and member at hand.
#[derive(Clone)]
struct Placed<M> {
    leaf: u32,
    score: i64,
    tie: u64,
    member: M,
}

impl<M: Ord + Clone> Placed<M> {
    fn of(leaves: &Leaves<M>, lane: u8, leaf: u32) -> Self {
        Placed { leaf, score: leaves.score(lane, leaf), tie: leaves.tie(leaf), member: leaves.member(leaf).clone() }
    }

    fn is_before(&self, other: &Self) -> bool {
        let comes_first = || (self.tie, &self.member) < (other.tie, &other.member);
        self.score > other.score || (self.score == other.score && comes_first())
    }
}

/// Where a member stands.
enum Standing {
    First,
    Reserve,
    Below,
}

impl<M: Ord + Clone> List<M> {
    pub(super) fn new(k: usize, lane: u8) -> Self {
        List { k, lane, first: Vec::new(), last_score: OUT, reserve: Vec::new(), floor: None }
    }

    /// Who has less than this is neither among the first nor in the reserve.
    pub(super) fn near(&self) -> i64 {
        self.floor.as_ref().map_or(OUT + 1, |floor| floor.score)
    }

    /// Changes the member of a leaf, as it has been changed among the leaves; true where it is among
    /// the first K. Its order among members must stay what it is.
    pub(super) fn change_member(&mut self, leaves: &Leaves<M>, leaf: u32) -> bool {
        let is_listed = self.is_listed(leaves, leaf);
        if is_listed {
            let place = self.place_in_first(leaf);
            self.first[place].member.clone_from(leaves.member(leaf));
        }
        is_listed
    }

    /// Gives a leaf a score, or [`OUT`]; true where the first K changed.
    pub(super) fn set(&mut self, leaves: &mut Leaves<M>, leaf: u32, score: i64) -> bool {
        let before = leaves.score(self.lane, leaf);
        let (was, is) = (self.standing(leaves, leaf, before), self.standing(leaves, leaf, score));
        leaves.set(self.lane, leaf, score);
        let is_other = self.move_to(leaves, leaf, was, is, score < before);
        if is_other {
            self.last_score = self.first.get(self.k - 1).map_or(OUT, |last| last.score);
        }
        is_other
    }

    /// Takes a leaf that has got a score from where it stood to where it stands; true where the first
    /// K changed.
    fn move_to(&mut self, leaves: &mut Leaves<M>, leaf: u32, was: Standing, is: Standing, has_lost: bool) -> bool {
        match (was, is) {
            (Standing::First, Standing::Below) => {
                let place = self.place_in_first(leaf);
                self.first.remove(place);
                if let Some(next) = self.best_of_reserve(leaves) {
                    self.first.push(Placed::of(leaves, self.lane, self.reserve.swap_remove(next)));
                } else if self.floor.is_some() {
                    self.refill(leaves);
                }
            }
            (Standing::First, _) => {
                let place = self.place_in_first(leaf);
                self.first[place].score = leaves.score(self.lane, leaf);
                let place = self.settle_from(place);
                if has_lost && place + 1 == self.k {
                    self.let_the_best_in(leaves);
                }
            }
            (Standing::Reserve, Standing::First) => {
                let place = self.place_in_reserve(leaf);
                let last = std::mem::replace(&mut self.first[self.k - 1], Placed::of(leaves, self.lane, leaf));
                self.reserve[place] = last.leaf;
                self.settle_from(self.k - 1);
            }
            (Standing::Reserve, Standing::Below) => {
                let place = self.place_in_reserve(leaf);
                self.reserve.swap_remove(place);
                return false;
            }
            (Standing::Below, Standing::First) => {
                self.first.push(Placed::of(leaves, self.lane, leaf));
                self.settle_from(self.first.len() - 1);
                if self.first.len() > self.k {
                    self.reserve.extend(self.first.pop().map(|last| last.leaf));
                    self.trim(leaves);
                }
            }
            (Standing::Below, Standing::Reserve) => {
                self.reserve.push(leaf);
                self.trim(leaves);
                return false;
            }
            (Standing::Reserve, Standing::Reserve) | (Standing::Below, Standing::Below) => return false,
        }
        true
    }

    /// True where `leaf` is among the first K.
    pub(super) fn is_listed(&self, leaves: &Leaves<M>, leaf: u32) -> bool {
        matches!(self.standing(leaves, leaf, leaves.score(self.lane, leaf)), Standing::First)
    }

    /// The first K, each with its score.
    pub(super) fn first(&self) -> impl Iterator<Item = (&M, i64)> {
        self.first.iter().map(|placed| (&placed.member, placed.score))
    }

    /// Where the member of `leaf` stands with `score`. One of the first that loses is said to stay
    /// among them as long as it is not below the last of them as that one is now.
    fn standing(&self, leaves: &Leaves<M>, leaf: u32, score: i64) -> Standing {
        if score <= OUT || self.floor.as_ref().is_some_and(|floor| is_below(leaves, leaf, score, floor)) {
            return Standing::Below;
        }
        let ties_and_loses = || {
            let is_after = |last: &Placed<M>| order(leaves, leaf) > (last.tie, &last.member);
            self.first.get(self.k - 1).is_some_and(is_after)
        };
        match score < self.last_score || (score == self.last_score && ties_and_loses()) {
            true => Standing::Reserve,
            false => Standing::First,
        }
    }

    fn place_in_first(&self, leaf: u32) -> usize {
        self.first.iter().position(|other| other.leaf == leaf).expect("who is ranked among the first is there")
    }

    fn place_in_reserve(&self, leaf: u32) -> usize {
        self.reserve.iter().position(|other| *other == leaf).expect("who is ranked in the reserve is there")
    }

    /// Moves the one at `place` of the first, whose score has changed, to where it belongs among them.
    fn settle_from(&mut self, mut place: usize) -> usize {
        while place > 0 && self.first[place].is_before(&self.first[place - 1]) {
            self.first.swap(place, place - 1);
            place -= 1;
        }
        while place + 1 < self.first.len() && self.first[place + 1].is_before(&self.first[place]) {
            self.first.swap(place, place + 1);
            place += 1;
        }
        place
    }

    fn best_of_reserve(&self, leaves: &Leaves<M>) -> Option<usize> {
        (0..self.reserve.len()).min_by(|a, b| leaves.by_rank(self.lane, self.reserve[*a], self.reserve[*b]))
    }

    /// Lets the best of the reserve take the place of the last of the first, where it is better.
    fn let_the_best_in(&mut self, leaves: &Leaves<M>) {
        let Some(best) = self.best_of_reserve(leaves) else { return };
        let (last, best) = (&mut self.first[self.k - 1], &mut self.reserve[best]);
        let next = Placed::of(leaves, self.lane, *best);
        if next.is_before(last) {
            *best = std::mem::replace(last, next).leaf;
        }
    }

    /// How many are kept when some are let go, or fetched when some are missing.
    fn wanted(&self) -> usize {
        BUFFER_FACTOR * self.k * 2 / 3
    }

    /// Lets the lesser part of a full reserve go.
    fn trim(&mut self, leaves: &Leaves<M>) {
        if self.first.len() + self.reserve.len() <= BUFFER_FACTOR * self.k {
            return;
        }
        let kept = self.wanted() - self.k;
        let by_rank = |a: &u32, b: &u32| leaves.by_rank(self.lane, *a, *b);
        let (_, least, _) = self.reserve.select_nth_unstable_by(kept - 1, by_rank);
        self.floor = Some(Placed::of(leaves, self.lane, *least));
        self.reserve.truncate(kept);
    }

    fn refill(&mut self, leaves: &mut Leaves<M>) {
        let (wanted, lane) = (self.wanted(), self.lane);
        let mut best = leaves.best(lane, wanted);
        let least = best.last().filter(|_| best.len() == wanted);
        self.floor = least.map(|least| Placed::of(leaves, lane, *least));
        self.reserve = best.split_off(self.k.min(best.len()));
        self.first = best.into_iter().map(|leaf| Placed::of(leaves, lane, leaf)).collect();
    }
}

fn is_below<M: Ord + Clone>(leaves: &Leaves<M>, leaf: u32, score: i64, floor: &Placed<M>) -> bool {
    score < floor.score || (score == floor.score && order(leaves, leaf) > (floor.tie, &floor.member))
}

/// What orders leaves of one score.
fn order<M: Ord + Clone>(leaves: &Leaves<M>, leaf: u32) -> (u64, &M) {
    (leaves.tie(leaf), leaves.member(leaf))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The first K equal a sort after every change, and a change that is not reported changed
        /// nothing; also where leaves get other members, and members change what does not order them.
        #[test]
        fn the_first_k_are_those_of_a_sort(
            k in 1usize..4,
            members_a_tie in 1u32..80,
            changes in prop::collection::vec((0u32..60, 0i64..6, 0u8..12), 1..600),
        ) {
            let (mut leaves, mut list) = (Leaves::new(2), List::new(k, 1));
            let mut plain: Vec<(i64, Named)> = (0..60).map(|leaf| (OUT, Named(1_000 + leaf, 0))).collect();
            let mut last = Vec::new();
            for (_, member) in &plain {
                leaves.add(*member, u64::from(member.0 / members_a_tie));
            }
            for (at, (leaf, score, what)) in (0u32..).zip(changes) {
                let (held, member) = &mut plain[leaf as usize];
                let mut reported = false;
                match what {
                    0 => {
                        *member = Named(if at.is_multiple_of(2) { 2_000 + at } else { at }, 0);
                        *held = OUT;
                        reported |= list.set(&mut leaves, leaf, OUT);
                        leaves.remove(leaf);
                        prop_assert_eq!(leaves.add(*member, u64::from(member.0 / members_a_tie)), leaf);
                    }
                    1 => {
                        member.1 = at;
                        leaves.member_mut(leaf).1 = at;
                        reported |= list.change_member(&leaves, leaf);
                    }
                    _ => {}
                }
                let before = leaves.score(1, leaf);
                let is_far = before.max(score) < list.near();
                let is_other = before != score && list.set(&mut leaves, leaf, score);
                prop_assert!(!(is_far && is_other), "who is far from the cut moves nobody");
                reported |= is_other;
                *held = score;
                let mut order: Vec<(i64, Named)> =
                    plain.iter().filter(|(score, _)| *score > OUT).map(|(score, member)| (-score, *member)).collect();
                order.sort_by_key(|(score, member)| (*score, member.0));
                order.truncate(k);
                let first: Vec<(i64, Named)> = list.first().map(|(member, score)| (-score, *member)).collect();
                let told = |named: &[(i64, Named)]| named.iter().map(|(score, named)| (*score, named.0, named.1)).collect::<Vec<_>>();
                prop_assert_eq!(told(&first), told(&order));
                prop_assert!(reported || told(&first) == told(&last));
                let is_listed = order.iter().any(|(_, named)| *named == plain[leaf as usize].1);
                prop_assert_eq!(list.is_listed(&leaves, leaf), is_listed);
                last = first;
            }
        }
    }

    /// A member that is ordered by its number alone, and a payload.
    #[derive(Clone, Copy, Debug)]
    struct Named(u32, u32);

    impl PartialEq for Named {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }
    impl Eq for Named {}
    impl PartialOrd for Named {
        fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
            Some(self.cmp(other))
        }
    }
    impl Ord for Named {
        fn cmp(&self, other: &Self) -> std::cmp::Ordering {
            self.0.cmp(&other.0)
        }
    }
}
