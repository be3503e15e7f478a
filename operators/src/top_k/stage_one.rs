//! Stage 1, partitioned by member: what is known of the members that are here, and the first K of every
//! group among them: the candidates for stage 2, or, where there is one worker alone, the lists.

use std::hash::Hash;

use differential_dataflow::ExchangeData;
use serde::{Deserialize, Serialize};

use super::{
    Ranking, TopKOptions, TopKRow,
    board::{Board, Cell},
    by_rank,
    groups::Settled,
};
use crate::{
    Tick, differences,
    expire::Ledger,
    lanes::Lanes,
    shell::{Core, Out},
    table::Hint,
};

/// One of the kinds of input. The difference of scores says how much in each lane; that of all others
/// says how much, or how often, in lane 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Feed<M, A, B, P> {
    /// The difference is added to the member's scores on this axis. Not where there are windows: that panics.
    Score((M, A)),
    /// Something happened to the member on this axis, at an instant in µs: it counts in the lane of each
    /// window that holds it. Not where there are none: that panics.
    Happened((M, A), u64),
    /// The member stands at this place.
    Place(M, B),
    /// The member's gate: open with a payload, or closed.
    Gate(M, Option<P>),
}

impl<M, A, B, P> Feed<M, A, B, P> {
    /// Which member this is about.
    pub fn member(&self) -> &M {
        match self {
            Feed::Score((member, _)) | Feed::Happened((member, _), _) => member,
            Feed::Place(member, _) | Feed::Gate(member, _) => member,
        }
    }

    /// Which member and axis, where this is about a score.
    fn cell(&self) -> Option<&(M, A)> {
        if let Feed::Score(cell) | Feed::Happened(cell, _) = self { Some(cell) } else { None }
    }
}

/// Stage 1 without a dataflow.
pub struct StageOne<M, A, B, P> {
    board: Board<M, A, B, P>,
    /// What happened, where scores are what windows hold.
    ledger: Option<Ledger<(M, A), i64>>,
    /// True where no other worker has members: whole lists go out, and not what changes in them.
    is_alone: bool,
}

impl<M, A, B, P> StageOne<M, A, B, P>
where
    M: ExchangeData + Hash + Sync,
    A: ExchangeData + Hash,
    B: ExchangeData + Hash,
    P: ExchangeData + Sync,
{
    /// A stage without members.
    ///
    /// # Panics
    /// Where lists are to have no member at all; there are no lanes, more than
    /// [`MAX_LANES`](crate::lanes::MAX_LANES), or other than one for each window.
    pub fn new(options: TopKOptions<M, A, B, P>, is_alone: bool) -> Self {
        let windows = options.windows.as_ref();
        assert!(windows.is_none_or(|windows| windows.len() == options.lanes), "a lane for each window");
        let ledger = windows.map(Ledger::new);
        StageOne { board: Board::new(options), ledger, is_alone }
    }

    /// How many cells, members and groups are held.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize, usize) {
        self.board.held()
    }

    /// How many rows of what happened are held.
    #[cfg(test)]
    pub(super) fn rows(&self) -> usize {
        self.ledger.as_ref().map_or(0, Ledger::rows)
    }

    fn now(&self) -> Tick {
        self.ledger.as_ref().map_or(0, Ledger::now)
    }

    /// Takes one update; `hint` is of its cell, or its member.
    fn take(&mut self, hint: Hint, feed: Feed<M, A, B, P>, diff: &Lanes<i64>) {
        let amount = diff.get(0).copied().unwrap_or(0);
        match feed {
            Feed::Score(key) => {
                assert!(self.ledger.is_none(), "where there are windows, scores are what they hold");
                self.board.add_scores(hint, &key, diff);
            }
            // What scores nothing leaves no trace.
            Feed::Happened(..) if amount == 0 => {}
            Feed::Happened(key, at) => {
                let ledger = self.ledger.as_mut().expect("there are windows in which it can count");
                let cell = self.board.cell(hint, &key);
                let until = ledger.add(&mut self.board, cell, at, amount);
                self.board.keep_until(cell, until);
            }
            Feed::Place(member, place) => self.board.place(hint, &member, place, amount),
            Feed::Gate(member, gate) => self.board.gate(hint, &member, gate, amount),
        }
    }
}

impl<M, A, B, P> Core for StageOne<M, A, B, P>
where
    M: ExchangeData + Hash + Sync,
    A: ExchangeData + Hash,
    B: ExchangeData + Hash,
    P: ExchangeData + Sync,
{
    type In = Feed<M, A, B, P>;
    type InDiff = Lanes<i64>;
    type Out = ((A, B, u8), Ranking<M, P>);
    type OutDiff = isize;
    type Row = TopKRow<M, A, B, P>;

    fn advance(&mut self, tick: Tick, _out: &mut Out<Self::Out, isize>) {
        if let Some(ledger) = &mut self.ledger {
            ledger.advance(&mut self.board, tick);
        }
    }

    fn absorb(&mut self, feed: Self::In, _tick: Tick, diff: Lanes<i64>, _out: &mut Out<Self::Out, isize>) {
        self.take(Hint::NONE, feed, &diff);
    }

    fn absorb_all(&mut self, updates: &mut Vec<(Self::In, Lanes<i64>)>, _tick: Tick, _out: &mut Out<Self::Out, isize>) {
        let scored = updates.iter().filter_map(|(feed, _)| feed.cell());
        let others = updates.iter().filter(|(feed, _)| feed.cell().is_none()).map(|(feed, _)| feed.member());
        let mut cells = self.board.cells.look_ahead(scored, |cell| cell.scores[0] as u64).into_iter();
        let mut members = self.board.members.look_ahead(others, |member| member.cells.len() as u64).into_iter();
        for (feed, diff) in updates.drain(..) {
            let hint = if feed.cell().is_some() { cells.next() } else { members.next() };
            self.take(hint.unwrap_or(Hint::NONE), feed, &diff);
        }
    }

    fn settle(&mut self, tick: Tick, out: &mut Out<Self::Out, isize>) {
        let settled = self.board.settle(self.now());
        for Settled { group, lane, before, now } in &settled {
            if before == now {
                continue;
            }
            let (axis, place) = self.board.group_of(*group);
            let key = (axis.clone(), place.clone(), *lane);
            let (gone, new) = match self.is_alone {
                true => (Ranking::clone(before), Ranking::clone(now)),
                false => {
                    let (gone, new) = differences(before, now, by_rank);
                    (gone.into(), new.into())
                }
            };
            out.extend((!gone.is_empty()).then(|| ((key.clone(), gone), tick, -1)));
            out.extend((!new.is_empty()).then_some(((key, new), tick, 1)));
        }
        settled.iter().for_each(|settled| self.board.drop_if_unused(settled.group));
    }

    fn due(&self) -> Option<Tick> {
        self.ledger.as_ref().and_then(Ledger::due)
    }

    /// Groups are not exported: they follow from members and scores; nor are scores that follow from what
    /// happened.
    fn begin_export(&mut self) {
        match &mut self.ledger {
            Some(ledger) => ledger.begin_export(),
            None => self.board.cells.begin_export(),
        }
        self.board.members.begin_export();
    }

    fn export_slice(&mut self, max_rows: usize, out: &mut Vec<Self::Row>) -> bool {
        let is_written = match &mut self.ledger {
            Some(ledger) => {
                let mut rows = Vec::new();
                let is_written = ledger.export_slice(&self.board, max_rows, &mut rows);
                out.extend(rows.into_iter().map(|(key, row)| TopKRow::Happened(key, row)));
                is_written
            }
            None => {
                let row = |key, cell: Cell| {
                    (!cell.is_idle(0)).then(|| TopKRow::Held(Feed::Score(key), Lanes::of(cell.scores)))
                };
                self.board.cells.export_slice(max_rows, out, row)
            }
        };
        if !is_written {
            return false;
        }
        let mut members = Vec::new();
        let done = self.board.members.export_slice(max_rows, &mut members, |member, state| Some((member, state)));
        for (member, state) in members {
            let places = state.places.into_iter().map(|(place, count)| (Feed::Place(member.clone(), place), count));
            let gates = state.gates.into_iter().map(|(gate, count)| (Feed::Gate(member.clone(), gate), count));
            out.extend(places.chain(gates).map(|(feed, count)| TopKRow::Held(feed, Lanes::one(0, count))));
        }
        done
    }

    fn import(&mut self, row: Self::Row, tick: Tick, out: &mut Out<Self::Out, isize>) {
        match row {
            TopKRow::Held(feed, diff) => self.absorb(feed, tick, diff, out),
            TopKRow::Happened(key, row) => {
                let ledger = self.ledger.as_mut().expect("there are windows in which it can count");
                let cell = self.board.cell(Hint::NONE, &key);
                let until = ledger.import(&mut self.board, cell, row);
                self.board.keep_until(cell, until);
            }
        }
    }
}
