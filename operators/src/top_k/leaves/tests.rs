//! The leaves of a group against a sort, and what a question and a change cost.

use super::*;
use proptest::prelude::*;

const LANES: usize = 2;

/// A group of cells, each of which has the leaf of its number at first.
struct Group {
    leaves: Leaves,
    seats: Seats<u32>,
    /// The leaf of each cell that stands in it.
    places: Vec<Option<u32>>,
}

impl Group {
    fn of(members: impl IntoIterator<Item = (u32, u64)>) -> Group {
        let mut group = Group { leaves: Leaves::new(LANES), seats: Seats::new(LANES), places: Vec::new() };
        for (cell, (member, tie)) in (0u32..).zip(members) {
            group.seats.seat(cell, member, tie);
            group.places.push(Some(group.leaves.add(&group.seats, cell)));
        }
        group
    }

    fn set(&mut self, lane: u8, cell: u32, score: i64) {
        let before = std::mem::replace(&mut self.seats.scores_mut(cell)[usize::from(lane)], score);
        if let (true, Some(leaf)) = (score > before, self.places[cell as usize]) {
            self.leaves.raise(&self.seats, leaf, [lane].into_iter());
        }
    }

    fn best(&mut self, lane: u8, most: usize) -> Vec<u32> {
        self.leaves.best(&self.seats, lane, most)
    }

    /// Takes the cell out, whatever its scores are, or puts it back.
    fn move_in_or_out(&mut self, cell: u32) {
        match self.places[cell as usize].take() {
            Some(leaf) => self.leaves.remove(leaf),
            None => self.places[cell as usize] = Some(self.leaves.add(&self.seats, cell)),
        }
    }

    /// Gives the cell, wherever it stands, to another member.
    fn replace(&mut self, cell: u32, member: u32, tie: u64) {
        (0..LANES).for_each(|lane| self.set(lane as u8, cell, OUT));
        let is_in = self.places[cell as usize].is_some();
        (0..u32::from(is_in)).for_each(|_| self.move_in_or_out(cell));
        self.seats.seat(cell, member, tie);
        (0..u32::from(is_in)).for_each(|_| self.move_in_or_out(cell));
    }

    fn looked_at(&self) -> usize {
        self.leaves.looked_at.replace(0)
    }

    /// No leaf is above the bounds of its blocks.
    fn is_bounded(&self, lane: usize) -> bool {
        let Group { leaves, seats, .. } = self;
        (0..leaves.cells.len()).all(|leaf| {
            let own = Bound { score: leaves.score(seats, lane, leaf), leaf: leaf as u32 };
            let mut block = leaf;
            leaves.bounds.iter().all(|bounds| {
                block /= FAN;
                own.score <= OUT || !leaves.is_above(seats, own, bounds[block][lane])
            })
        })
    }
}

/// The most that a question for the best `most` of `leaves` looked at, after each of `changes`.
fn worst_cost(leaves: u32, most: usize, changes: u32) -> usize {
    let mut group = Group::of((0..leaves).map(|cell| (cell, 0)));
    (0..leaves).for_each(|cell| group.set(1, cell, 1 + i64::from(cell.wrapping_mul(2_654_435_761) % 1_000)));
    let cost_of = |change: u32| {
        // Every other change takes the best one out, which asks most of the blocks.
        let first = group.best(1, 1)[0];
        let leaf = if change.is_multiple_of(2) { first } else { change.wrapping_mul(7_919) % leaves };
        group.looked_at();
        group.set(1, leaf, i64::from(change % 3) * 600);
        assert_eq!(group.best(1, most).len(), most);
        group.looked_at()
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
    let mut group = Group::of((0..65_536).map(|cell| (cell, 0)));
    (0..65_536).for_each(|cell| group.set(0, cell, 1_000 + i64::from(cell)));
    group.best(0, 20);
    (60_000..65_536).for_each(|cell| group.set(0, cell, 1));
    group.looked_at();
    assert_eq!(group.best(0, 20), (59_980..60_000).rev().collect::<Vec<_>>());
    let first = group.looked_at();
    assert_eq!(group.best(0, 20).len(), 20);
    let second = group.looked_at();
    assert_eq!(group.best(0, 20).len(), 20);
    let third = group.looked_at();
    let fallen = 5_536 / FAN + 5_536 / FAN / FAN + 24;
    assert!(first <= 3 * FAN * (fallen + 4 * 24), "{first} leaves after 5,536 losses");
    assert!((1..=3 * FAN * 4 * 24).contains(&second), "{second} leaves when nothing has changed");
    assert!(third <= second, "{third} leaves, and before {second}");
}

/// A gain looks at no other leaf, but for the blocks that wait when there are too many.
#[test]
fn gains_that_nobody_asks_after_cost_a_note() {
    let mut group = Group::of((0..65_536).map(|cell| (cell, 0)));
    group.best(0, 20);
    group.looked_at();
    let gains = 10_000;
    (0..gains).for_each(|at| group.set(0, at % (MOST_RAISED - 1) as u32 * FAN as u32, 1 + i64::from(at)));
    assert_eq!(group.looked_at(), 0);
    (0..gains).for_each(|at| group.set(0, at * 7 % 65_536, 1 + i64::from(at)));
    assert!(group.looked_at() <= gains as usize * 2 * LANES * FAN);
}

proptest! {
    /// As many leaves as are looked at one by one, one more, and more than that.
    #[test]
    fn the_best_are_those_of_a_sort(
        leaves in prop::sample::select(vec![5u32, SMALL as u32, SMALL as u32 + 1, 300, 400]),
        changes in prop::collection::vec((0u32..400, 0..LANES, 0i64..9, 0u8..12), 1..900),
        most in 1usize..40,
        members_a_tie in 1u64..2_000,
    ) {
        // Members descend while leaves ascend, so that ties are not in the order of leaves.
        let mut plain: Vec<([i64; LANES], u32)> = (0..leaves).map(|leaf| ([OUT; LANES], 20_000 - leaf)).collect();
        let tie = |member: u32| u64::from(member) / members_a_tie;
        let mut group = Group::of(plain.iter().map(|(_, member)| (*member, tie(*member))));
        for cell in 0..leaves {
            group.set(0, cell, 1);
            group.set(0, cell, OUT);
        }
        for (at, (leaf, lane, score, what)) in (0u32..).zip(changes) {
            let leaf = leaf % leaves;
            if what < 3 {
                group.move_in_or_out(leaf);
            }
            if what == 3 {
                let member = if at.is_multiple_of(2) { at } else { 30_000 + at };
                group.replace(leaf, member, tie(member));
                plain[leaf as usize] = ([OUT; LANES], member);
            }
            group.set(lane as u8, leaf, score);
            plain[leaf as usize].0[lane] = score;
            if at % 97 == 0 {
                group.best(lane as u8, most);
            }
            if at % 5 == 0 {
                group.leaves.make_raised_bounds(&group.seats);
                prop_assert!((0..LANES).all(|lane| group.is_bounded(lane)));
            }
        }
        for lane in 0..LANES {
            let is_in = |leaf: &u32| group.places[*leaf as usize].is_some();
            let eligible = |leaf: &u32| is_in(leaf) && plain[*leaf as usize].0[lane] > OUT;
            let mut order: Vec<u32> = (0..leaves).filter(eligible).collect();
            order.sort_by_key(|leaf| (-plain[*leaf as usize].0[lane], plain[*leaf as usize].1));
            order.truncate(most);
            prop_assert_eq!(group.best(lane as u8, most), order);
        }
    }
}
