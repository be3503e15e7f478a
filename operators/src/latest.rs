//! The latest time of each key: what makes *distinct* things countable in rolling windows.
//!
//! - **Input** `((key, at), tick, diff)`: `key` (a transaction in a scope, say) occurred at `at`.
//! - **Output** `((key, at), tick, ±1)`: for each key the greatest `at` that has a positive
//!   count.
//! - **Time** is the tick. A key's times are forgotten, and its output taken back, once they lie
//!   `horizon_us` behind (on a grid of [`GRID`] parts of it).
//! - **State bound**: the distinct times of each key within the horizon.
//! - **Late data** move nothing unless they are the greatest of their key.
//!
//! Every rolling window reaches up to now, so it holds *some* occurrence of a key exactly if it
//! holds the greatest. Fed into [`crate::expire`], the output counts each key once per window.

use std::{collections::BTreeMap, hash::Hash};

use differential_dataflow::ExchangeData;

use crate::{
    Collection, Tick,
    shell::{Core, Out, Wiring, run},
    table::{Slot, Table},
};

/// Into how many parts the horizon is divided to forget times together.
pub const GRID: u64 = 256;

/// The times of one key, ascending, each with its count.
pub type Times = Vec<(u64, isize)>;

/// Latest times over a collection of `(key, at)`.
pub trait Latest<'scope, K: ExchangeData + Hash> {
    /// The greatest time of each key; keys are partitioned by `route`.
    ///
    /// ```
    /// use differential_dataflow::input::Input;
    /// use etalage_operators::{latest::Latest, shell::Wiring};
    ///
    /// timely::example(|scope| {
    ///     let seen = scope.new_collection_from(vec![("order 7", 1u64), ("order 7", 3)]).1;
    ///     let seen = seen.map(|(order, at)| (order.to_string(), at));
    ///     seen.latest(1_000, Wiring::fresh("Latest", scope), |order| order.clone());
    /// });
    /// ```
    fn latest<P: Hash + 'static>(
        self,
        horizon_us: u64,
        wiring: Wiring<'scope, (K, Times)>,
        route: impl Fn(&K) -> P + 'static,
    ) -> Collection<'scope, (K, u64)>;
}

impl<'scope, K: ExchangeData + Hash> Latest<'scope, K> for Collection<'scope, (K, u64)> {
    fn latest<P: Hash + 'static>(
        self,
        horizon_us: u64,
        wiring: Wiring<'scope, (K, Times)>,
        route: impl Fn(&K) -> P + 'static,
    ) -> Collection<'scope, (K, u64)> {
        let by_data = std::rc::Rc::new(route);
        let by_row = std::rc::Rc::clone(&by_data);
        run(self, wiring, LatestCore::new(horizon_us), move |(key, _)| by_data(key), move |(key, _)| by_row(key))
    }
}

/// Latest times without a dataflow.
pub struct LatestCore<K> {
    horizon_us: u64,
    grid_us: u64,
    keys: Table<K, Times>,
    /// Tick at which something is forgotten → the slots that it concerns.
    forget: BTreeMap<Tick, Vec<Slot>>,
}

impl<K: ExchangeData + Hash> LatestCore<K> {
    /// A core that remembers times for `horizon_us`.
    pub fn new(horizon_us: u64) -> Self {
        let grid_us = (horizon_us / GRID).max(1);
        LatestCore { horizon_us, grid_us, keys: Table::default(), forget: BTreeMap::new() }
    }

    /// The tick at which a time is forgotten: its place on the grid, a horizon later.
    pub fn forgotten_at(&self) -> impl Fn(u64) -> Tick + use<K> {
        let (horizon_us, grid_us) = (self.horizon_us, self.grid_us);
        move |at| (at + horizon_us).div_ceil(grid_us) * grid_us
    }

    /// Forgets the times of a key that were due to be by `due`, as of `tick`.
    fn forget_times(&mut self, slot: Slot, due: Tick, tick: Tick, out: &mut Out<(K, u64), isize>) {
        let forgotten_at = self.forgotten_at();
        let (key, times) = self.keys.get_mut(slot);
        let before = greatest(times);
        times.retain(|(at, _)| forgotten_at(*at) > due);
        let after = greatest(times);
        moved(key, before, after, tick, out);
        if times.is_empty() {
            self.keys.remove(slot);
        }
    }
}

/// The greatest time that has a positive count.
fn greatest(times: &Times) -> Option<u64> {
    times.iter().rev().find(|(_, count)| *count > 0).map(|(at, _)| *at)
}

fn moved<K: Clone>(key: &K, before: Option<u64>, after: Option<u64>, tick: Tick, out: &mut Out<(K, u64), isize>) {
    if before != after {
        out.extend(before.map(|at| ((key.clone(), at), tick, -1)));
        out.extend(after.map(|at| ((key.clone(), at), tick, 1)));
    }
}

impl<K: ExchangeData + Hash> Core for LatestCore<K> {
    type In = (K, u64);
    type InDiff = isize;
    type Out = (K, u64);
    type OutDiff = isize;
    type Row = (K, Times);

    fn advance(&mut self, tick: Tick, out: &mut Out<(K, u64), isize>) {
        while let Some(entry) = self.forget.first_entry().filter(|entry| *entry.key() <= tick) {
            let (due, slots) = entry.remove_entry();
            for slot in slots {
                self.forget_times(slot, due, tick, out);
            }
        }
    }

    fn absorb(&mut self, (key, at): (K, u64), tick: Tick, diff: isize, out: &mut Out<(K, u64), isize>) {
        let on_grid = self.forgotten_at();
        let forgotten_at = on_grid(at);
        if forgotten_at <= tick {
            return;
        }
        let slot = self.keys.find_or_insert(&key, Times::new);
        let times = self.keys.get_mut(slot).1;
        let before = greatest(times);
        match times.binary_search_by_key(&at, |(at, _)| *at) {
            // A time whose count returns to 0 stays until it is forgotten: its slot is on the list.
            Ok(place) => times[place].1 += diff,
            Err(place) => {
                times.insert(place, (at, diff));
                // Times that are forgotten together lie together.
                let beside = [place.checked_sub(1), Some(place + 1)];
                let mut beside = beside.into_iter().flatten().filter_map(|place| times.get(place));
                if !beside.any(|(other, _)| on_grid(*other) == forgotten_at) {
                    self.forget.entry(forgotten_at).or_default().push(slot);
                }
            }
        }
        let after = greatest(times);
        moved(&key, before, after, tick, out);
    }

    fn due(&self) -> Option<Tick> {
        self.forget.keys().next().copied()
    }

    fn begin_export(&mut self) {
        self.keys.begin_export();
    }

    fn export_slice(&mut self, max_rows: usize, out: &mut Vec<Self::Row>) -> bool {
        self.keys.export_slice(max_rows, out, |key, times| Some((key, times)))
    }

    /// Times come back silently: what they made downstream is imported there.
    fn import(&mut self, (key, times): Self::Row, tick: Tick, _out: &mut Out<(K, u64), isize>) {
        let mut silent = Vec::new();
        for (at, count) in times {
            self.absorb((key.clone(), at), tick, count, &mut silent);
        }
    }
}

#[cfg(test)]
mod tests;
