//! The members of a group that are near the cut of one lane, at hand.
//!
//! The first K are kept in order. Behind them stands a reserve in no order: together they are
//! exactly the eligible members that rank at or above a floor; without a floor, all of them. Most
//! changes move a member within the reserve or below the floor and write nothing but its score.
//! When fewer than K are left the two are refilled from the group's leaves, so a refill is paid for by the
//! departures, and the losses below the floor, since the last one; when the reserve is full its lesser part is let go.

use super::{
    BUFFER_FACTOR,
    leaves::Leaves,
    seats::{OUT, Seats},
};

pub(super) struct List<M> {
    k: usize,
    lane: u8,
    /// The first K, best first.
    first: Vec<Placed<M>>,
    /// The score of the last of the first, or [`OUT`] where there are fewer than K.
    last_score: i64,
    /// Further cells at or above the floor; none where there are fewer than K.
    reserve: Vec<u32>,
    /// The least rank that belongs to the first or the reserve. Who had it may have left.
    floor: Option<Placed<M>>,
}

/// A cell with rank and member at hand.
#[derive(Clone)]
struct Placed<M> {
    cell: u32,
    score: i64,
    tie: u64,
    member: M,
}

impl<M: Ord + Clone> Placed<M> {
    fn of(seats: &Seats<M>, lane: u8, cell: u32) -> Self {
        Placed { cell, score: seats.score(lane, cell), tie: seats.tie(cell), member: seats.member(cell).clone() }
    }

    fn is_before(&self, other: &Self) -> bool {
        let comes_first = || (self.tie, &self.member) < (other.tie, &other.member);
        self.score > other.score || (self.score == other.score && comes_first())
    }
}

/// Where a cell stood, and where it stands.
struct Moves {
    was: Standing,
    is: Standing,
    has_lost: bool,
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

    /// Changes the member of a cell, as it has been changed among the leaves; true where it is among
    /// the first K. Its order among members must stay what it is.
    pub(super) fn change_member(&mut self, seats: &Seats<M>, cell: u32) -> bool {
        let is_listed = self.is_listed(seats, cell);
        if is_listed {
            let place = self.place_in_first(cell);
            self.first[place].member.clone_from(seats.member(cell));
        }
        is_listed
    }

    /// A cell that stands in `leaves` has got another score than `before`; true where the first K changed.
    pub(super) fn change(&mut self, leaves: &mut Leaves, seats: &Seats<M>, cell: u32, before: i64) -> bool {
        let score = seats.score(self.lane, cell);
        let moves = Moves {
            was: self.standing(seats, cell, before),
            is: self.standing(seats, cell, score),
            has_lost: score < before,
        };
        let is_other = self.move_to(leaves, seats, cell, moves);
        if is_other {
            self.last_score = self.first.get(self.k - 1).map_or(OUT, |last| last.score);
        }
        is_other
    }

    /// A cell has left the group, with the score that it still has; true where the first K changed.
    pub(super) fn leave(&mut self, leaves: &mut Leaves, seats: &Seats<M>, cell: u32) -> bool {
        let was = self.standing(seats, cell, seats.score(self.lane, cell));
        let is_other = self.move_to(leaves, seats, cell, Moves { was, is: Standing::Below, has_lost: true });
        self.last_score = self.first.get(self.k - 1).map_or(OUT, |last| last.score);
        is_other
    }

    /// Takes a cell that has got a score from where it stood to where it stands; true where the first
    /// K changed.
    fn move_to(&mut self, leaves: &mut Leaves, seats: &Seats<M>, cell: u32, moves: Moves) -> bool {
        match (moves.was, moves.is) {
            (Standing::First, Standing::Below) => {
                let place = self.place_in_first(cell);
                self.first.remove(place);
                if let Some(next) = self.best_of_reserve(seats) {
                    self.first.push(Placed::of(seats, self.lane, self.reserve.swap_remove(next)));
                } else if self.floor.is_some() {
                    self.refill(leaves, seats);
                }
            }
            (Standing::First, _) => {
                let place = self.place_in_first(cell);
                self.first[place].score = seats.score(self.lane, cell);
                let place = self.settle_from(place);
                if moves.has_lost && place + 1 == self.k {
                    self.let_the_best_in(seats);
                }
            }
            (Standing::Reserve, Standing::First) => {
                let place = self.place_in_reserve(cell);
                let last = std::mem::replace(&mut self.first[self.k - 1], Placed::of(seats, self.lane, cell));
                self.reserve[place] = last.cell;
                self.settle_from(self.k - 1);
            }
            (Standing::Reserve, Standing::Below) => {
                let place = self.place_in_reserve(cell);
                self.reserve.swap_remove(place);
                return false;
            }
            (Standing::Below, Standing::First) => {
                self.first.push(Placed::of(seats, self.lane, cell));
                self.settle_from(self.first.len() - 1);
                if self.first.len() > self.k {
                    self.reserve.extend(self.first.pop().map(|last| last.cell));
                    self.trim(seats);
                }
            }
            (Standing::Below, Standing::Reserve) => {
                self.reserve.push(cell);
                self.trim(seats);
                return false;
            }
            (Standing::Reserve, Standing::Reserve) | (Standing::Below, Standing::Below) => return false,
        }
        true
    }

    /// True where `cell` is among the first K.
    pub(super) fn is_listed(&self, seats: &Seats<M>, cell: u32) -> bool {
        matches!(self.standing(seats, cell, seats.score(self.lane, cell)), Standing::First)
    }

    /// The first K, each with its score.
    pub(super) fn first(&self) -> impl Iterator<Item = (&M, i64)> {
        self.first.iter().map(|placed| (&placed.member, placed.score))
    }

    /// Where the member of `cell` stands with `score`. One of the first that loses is said to stay
    /// among them as long as it is not below the last of them as that one is now.
    fn standing(&self, seats: &Seats<M>, cell: u32, score: i64) -> Standing {
        if score <= OUT || self.floor.as_ref().is_some_and(|floor| is_below(seats, cell, score, floor)) {
            return Standing::Below;
        }
        let ties_and_loses = || {
            let is_after = |last: &Placed<M>| order(seats, cell) > (last.tie, &last.member);
            self.first.get(self.k - 1).is_some_and(is_after)
        };
        match score < self.last_score || (score == self.last_score && ties_and_loses()) {
            true => Standing::Reserve,
            false => Standing::First,
        }
    }

    fn place_in_first(&self, cell: u32) -> usize {
        self.first.iter().position(|other| other.cell == cell).expect("who is ranked among the first is there")
    }

    fn place_in_reserve(&self, cell: u32) -> usize {
        self.reserve.iter().position(|other| *other == cell).expect("who is ranked in the reserve is there")
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

    fn best_of_reserve(&self, seats: &Seats<M>) -> Option<usize> {
        (0..self.reserve.len()).min_by(|a, b| seats.by_rank(self.lane, self.reserve[*a], self.reserve[*b]))
    }

    /// Lets the best of the reserve take the place of the last of the first, where it is better.
    fn let_the_best_in(&mut self, seats: &Seats<M>) {
        let Some(best) = self.best_of_reserve(seats) else { return };
        let (last, best) = (&mut self.first[self.k - 1], &mut self.reserve[best]);
        let next = Placed::of(seats, self.lane, *best);
        if next.is_before(last) {
            *best = std::mem::replace(last, next).cell;
        }
    }

    /// How many are kept when some are let go, or fetched when some are missing.
    fn wanted(&self) -> usize {
        BUFFER_FACTOR * self.k * 2 / 3
    }

    /// Lets the lesser part of a full reserve go.
    fn trim(&mut self, seats: &Seats<M>) {
        if self.first.len() + self.reserve.len() <= BUFFER_FACTOR * self.k {
            return;
        }
        let kept = self.wanted() - self.k;
        let by_rank = |a: &u32, b: &u32| seats.by_rank(self.lane, *a, *b);
        let (_, least, _) = self.reserve.select_nth_unstable_by(kept - 1, by_rank);
        self.floor = Some(Placed::of(seats, self.lane, *least));
        self.reserve.truncate(kept);
    }

    fn refill(&mut self, leaves: &mut Leaves, seats: &Seats<M>) {
        let (wanted, lane) = (self.wanted(), self.lane);
        let mut best = leaves.best(seats, lane, wanted);
        let least = best.last().filter(|_| best.len() == wanted);
        self.floor = least.map(|least| Placed::of(seats, lane, *least));
        self.reserve = best.split_off(self.k.min(best.len()));
        self.first = best.into_iter().map(|cell| Placed::of(seats, lane, cell)).collect();
    }
}

fn is_below<M: Ord + Clone>(seats: &Seats<M>, cell: u32, score: i64, floor: &Placed<M>) -> bool {
    score < floor.score || (score == floor.score && order(seats, cell) > (floor.tie, &floor.member))
}

/// What orders cells of one score.
fn order<M: Ord + Clone>(seats: &Seats<M>, cell: u32) -> (u64, &M) {
    (seats.tie(cell), seats.member(cell))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The first K equal a sort after every change, and a change that is not reported changed
        /// nothing; also where cells get other members, leave and come back, and members change what does
        /// not order them.
        #[test]
        fn the_first_k_are_those_of_a_sort(
            k in 1usize..4,
            members_a_tie in 1u32..80,
            changes in prop::collection::vec((0u32..60, 0i64..6, 0u8..12), 1..600),
        ) {
            let (mut leaves, mut seats, mut list) = (Leaves::new(2), Seats::new(2), List::new(k, 1));
            let mut plain: Vec<(i64, Named)> = (0..60).map(|cell| (OUT, Named(1_000 + cell, 0))).collect();
            let mut last = Vec::new();
            let mut places = Vec::new();
            for (cell, (_, member)) in (0u32..).zip(&plain) {
                seats.seat(cell, *member, u64::from(member.0 / members_a_tie));
                places.push(Some(leaves.add(&seats, cell)));
            }
            let set = |list: &mut List<Named>, (leaves, seats): (&mut Leaves, &mut Seats<Named>), leaf, cell: u32, score| {
                let before = std::mem::replace(&mut seats.scores_mut(cell)[1], score);
                let Some(leaf) = leaf else { return false };
                leaves.raise(seats, leaf, [1].into_iter());
                before != score && list.change(leaves, seats, cell, before)
            };
            for (at, (cell, score, what)) in (0u32..).zip(changes) {
                let (held, member) = &mut plain[cell as usize];
                let mut reported = false;
                match what {
                    0 => {
                        *member = Named(if at.is_multiple_of(2) { 2_000 + at } else { at }, 0);
                        *held = OUT;
                        let leaf = places[cell as usize].take();
                        reported |= set(&mut list, (&mut leaves, &mut seats), leaf, cell, OUT);
                        leaf.into_iter().for_each(|leaf| leaves.remove(leaf));
                        seats.seat(cell, *member, u64::from(member.0 / members_a_tie));
                        places[cell as usize] = Some(leaves.add(&seats, cell));
                    }
                    1 => {
                        member.1 = at;
                        seats.member_mut(cell).1 = at;
                        reported |= places[cell as usize].is_some() && list.change_member(&seats, cell);
                    }
                    // Out with the score that it has, or in with it.
                    2 | 3 => match places[cell as usize].take() {
                        Some(leaf) => {
                            leaves.remove(leaf);
                            reported |= *held > OUT && list.leave(&mut leaves, &seats, cell);
                        }
                        None => {
                            places[cell as usize] = Some(leaves.add(&seats, cell));
                            reported |= *held > OUT && list.change(&mut leaves, &seats, cell, OUT);
                        }
                    },
                    _ => {}
                }
                let is_far = seats.score(1, cell).max(score) < list.near();
                let is_in = places[cell as usize].is_some();
                let is_other = set(&mut list, (&mut leaves, &mut seats), places[cell as usize], cell, score);
                prop_assert!(!(is_far && is_other), "who is far from the cut moves nobody");
                reported |= is_other;
                *held = score;
                let standing = plain.iter().zip(&places).filter(|((score, _), leaf)| *score > OUT && leaf.is_some());
                let mut order: Vec<(i64, Named)> =
                    standing.map(|((score, member), _)| (-score, *member)).collect();
                order.sort_by_key(|(score, member)| (*score, member.0));
                order.truncate(k);
                let first: Vec<(i64, Named)> = list.first().map(|(member, score)| (-score, *member)).collect();
                let told = |named: &[(i64, Named)]| named.iter().map(|(score, named)| (*score, named.0, named.1)).collect::<Vec<_>>();
                prop_assert_eq!(told(&first), told(&order));
                prop_assert!(reported || told(&first) == told(&last));
                let is_listed = order.iter().any(|(_, named)| *named == plain[cell as usize].1);
                prop_assert!(!is_in || list.is_listed(&seats, cell) == is_listed);
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
