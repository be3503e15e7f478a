//! Stage 2, partitioned by group: merges the candidates of all workers, at most K of each.

use std::hash::Hash;

use differential_dataflow::ExchangeData;

use super::{Ranked, Ranking, by_rank};
use crate::{
    Tick,
    shell::{Core, Out},
    table::{Slot, Table},
};

/// Stage 2 without a dataflow.
pub struct StageTwo<G, M, P> {
    k: usize,
    groups: Table<G, Merge<M, P>>,
    touched: Vec<Slot>,
}

#[derive(Clone)]
struct Merge<M, P> {
    /// Candidates with their counts, in the order of rank. A count is 1 outside a tick.
    rows: Vec<(Ranked<M, P>, isize)>,
    emitted: Ranking<M, P>,
    touched: bool,
}

impl<G: ExchangeData + Hash, M: ExchangeData + Sync, P: ExchangeData + Sync> StageTwo<G, M, P> {
    /// A stage without groups, of lists of at most `k`.
    pub fn new(k: usize) -> Self {
        StageTwo { k, groups: Table::default(), touched: Vec::new() }
    }
}

impl<G: ExchangeData + Hash, M: ExchangeData + Sync, P: ExchangeData + Sync> Core for StageTwo<G, M, P> {
    type In = (G, Ranking<M, P>);
    type InDiff = isize;
    type Out = (G, Ranking<M, P>);
    type OutDiff = isize;
    type Row = (G, Vec<(Ranked<M, P>, isize)>);

    fn advance(&mut self, _tick: Tick, _out: &mut Out<Self::Out, isize>) {}

    fn absorb(&mut self, (group, rows): Self::In, _tick: Tick, diff: isize, _out: &mut Out<Self::Out, isize>) {
        let fresh = || Merge { rows: Vec::new(), emitted: Ranking::default(), touched: false };
        let slot = self.groups.find_or_insert(&group, fresh);
        let state = self.groups.get_mut(slot).1;
        for row in rows.iter() {
            match state.rows.binary_search_by(|(other, _)| by_rank(other, row)) {
                Ok(place) => {
                    state.rows[place].1 += diff;
                    if state.rows[place].1 == 0 {
                        state.rows.remove(place);
                    }
                }
                Err(place) => state.rows.insert(place, (row.clone(), diff)),
            }
        }
        if !std::mem::replace(&mut state.touched, true) {
            self.touched.push(slot);
        }
    }

    fn settle(&mut self, tick: Tick, out: &mut Out<Self::Out, isize>) {
        for slot in std::mem::take(&mut self.touched) {
            let (group, state) = self.groups.get_mut(slot);
            state.touched = false;
            let live = state.rows.iter().filter(|(_, count)| *count > 0).map(|(row, _)| row);
            let now: Ranking<M, P> = live.take(self.k).cloned().collect();
            if now != state.emitted {
                let before = std::mem::replace(&mut state.emitted, now.clone());
                if !before.is_empty() {
                    out.push(((group.clone(), before), tick, -1));
                }
                if !now.is_empty() {
                    out.push(((group.clone(), now), tick, 1));
                }
            }
            if state.rows.is_empty() {
                self.groups.remove(slot);
            }
        }
    }

    fn begin_export(&mut self) {
        self.groups.begin_export();
    }

    fn export_slice(&mut self, max_rows: usize, out: &mut Vec<Self::Row>) -> bool {
        self.groups.export_slice(max_rows, out, |group, state| Some((group, state.rows)))
    }

    fn import(&mut self, (group, rows): Self::Row, tick: Tick, out: &mut Out<Self::Out, isize>) {
        for (row, count) in rows {
            self.absorb((group.clone(), vec![row].into()), tick, count, out);
        }
    }
}
