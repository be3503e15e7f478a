//! Who is ranked: of every cell its member, and the score by which it stands in the lists of each lane, the
//! same in all of its groups.

use std::cmp::Ordering;

use crate::chunked::{Chunked, Rows};

/// The score of a cell that is not eligible. Eligible scores are above 0.
pub(super) const OUT: i64 = 0;

/// Scores and members by cell; greater score first, then lesser member. Members with different ties are
/// ordered by these, so that mostly no member has to be fetched.
pub(super) struct Seats<M> {
    scores: Rows<i64>,
    ties: Chunked<u64>,
    members: Chunked<M>,
}

impl<M: Ord + Clone> Seats<M> {
    pub(super) fn new(lanes: usize) -> Self {
        Seats { scores: Rows::of_width(lanes), ties: Chunked::default(), members: Chunked::default() }
    }

    /// Gives a cell, not eligible yet, a member. Of two members the lesser never has the greater `tie`.
    pub(super) fn seat(&mut self, cell: u32, member: M, tie: u64) {
        let at = cell as usize;
        while self.scores.len() <= at {
            self.scores.push(OUT);
            self.ties.push(tie);
            self.members.push(member.clone());
        }
        debug_assert!(self.scores[at].iter().all(|score| *score == OUT));
        self.ties[at] = tie;
        self.members[at] = member;
    }

    pub(super) fn score(&self, lane: u8, cell: u32) -> i64 {
        self.scores[cell as usize][usize::from(lane)]
    }

    /// The scores of a cell by lane.
    pub(super) fn scores_mut(&mut self, cell: u32) -> &mut [i64] {
        &mut self.scores[cell as usize]
    }

    pub(super) fn member(&self, cell: u32) -> &M {
        &self.members[cell as usize]
    }

    pub(super) fn member_mut(&mut self, cell: u32) -> &mut M {
        &mut self.members[cell as usize]
    }

    pub(super) fn tie(&self, cell: u32) -> u64 {
        self.ties[cell as usize]
    }

    /// Reads what a change of scores will need, so that it is at hand then.
    pub(super) fn peek(&self, cell: u32) -> u64 {
        let scores = &self.scores[cell as usize];
        (scores[0] ^ scores[scores.len() - 1]) as u64
    }

    /// Best first.
    pub(super) fn by_rank(&self, lane: u8, a: u32, b: u32) -> Ordering {
        self.score(lane, b).cmp(&self.score(lane, a)).then_with(|| self.order(a, b))
    }

    /// The order of two cells of one score.
    pub(super) fn order(&self, a: u32, b: u32) -> Ordering {
        let (a, b) = (a as usize, b as usize);
        self.ties[a].cmp(&self.ties[b]).then_with(|| self.members[a].cmp(&self.members[b]))
    }
}
