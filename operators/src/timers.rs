//! Timers on logical time: a datum is held back until its tick has come.
//!
//! - **Input** `((data, due), tick, diff)`: `data` is wanted from the tick `due` on.
//! - **Output** `(data, tick, diff)`: at every tick the input whose `due` is at or below it.
//! - **Time** is the tick, with or without further input: a replay fires the same timers at the same
//!   ticks.
//! - **State bound**: what is not due yet.
//! - **Late data**: what is due already comes out at once. What is retracted before it is due never
//!   comes out; later, the retraction does.

use std::{collections::BTreeMap, hash::Hash};

use differential_dataflow::ExchangeData;

use crate::{
    Collection, Tick,
    shell::{Core, Out, Wiring, run},
    table::{Slot, Table},
};

/// A pending timer as exported: data, due, count.
pub type TimerRow<D> = ((D, Tick), isize);

/// Timers over a collection of `(data, due)`.
pub trait Timers<'scope, D: ExchangeData + Hash> {
    /// The data that are due; partitioned by `route`.
    ///
    /// ```
    /// use differential_dataflow::input::Input;
    /// use etalage_operators::{shell::Wiring, timers::Timers};
    ///
    /// timely::example(|scope| {
    ///     let carts = scope.new_collection_from(vec![("cart 7".to_string(), 1_800_000_000u64)]).1;
    ///     carts.timers(Wiring::fresh("Abandoned", scope), |cart| cart.clone());
    /// });
    /// ```
    fn timers<P: Hash + 'static>(
        self,
        wiring: Wiring<'scope, TimerRow<D>>,
        route: impl Fn(&D) -> P + 'static,
    ) -> Collection<'scope, D>;
}

impl<'scope, D: ExchangeData + Hash> Timers<'scope, D> for Collection<'scope, (D, Tick)> {
    fn timers<P: Hash + 'static>(
        self,
        wiring: Wiring<'scope, TimerRow<D>>,
        route: impl Fn(&D) -> P + 'static,
    ) -> Collection<'scope, D> {
        let by_data = std::rc::Rc::new(route);
        let by_row = std::rc::Rc::clone(&by_data);
        run(self, wiring, TimersCore::default(), move |(data, _)| by_data(data), move |((data, _), _)| by_row(data))
    }
}

/// Timers without a dataflow.
pub struct TimersCore<D> {
    pending: Table<(D, Tick), isize>,
    /// Due → where the data stand. A slot that is on the list may be free, or in use for another tick.
    by_due: BTreeMap<Tick, Vec<Slot>>,
}

impl<D> Default for TimersCore<D> {
    fn default() -> Self {
        TimersCore { pending: Table::default(), by_due: BTreeMap::new() }
    }
}

impl<D: ExchangeData + Hash> Core for TimersCore<D> {
    type In = (D, Tick);
    type InDiff = isize;
    type Out = D;
    type OutDiff = isize;
    type Row = TimerRow<D>;

    fn advance(&mut self, tick: Tick, out: &mut Out<D, isize>) {
        while let Some(entry) = self.by_due.first_entry().filter(|entry| *entry.key() <= tick) {
            let (due, slots) = entry.remove_entry();
            for slot in slots {
                // A count that is negative now was retracted before what it retracts.
                if self.pending.is_live(slot) && self.pending.get(slot).0.1 == due {
                    let ((data, _), count) = self.pending.remove(slot);
                    if count != 0 {
                        out.push((data, tick, count));
                    }
                }
            }
        }
    }

    fn absorb(&mut self, (data, due): (D, Tick), tick: Tick, diff: isize, out: &mut Out<D, isize>) {
        if due <= tick {
            out.push((data, tick, diff));
            return;
        }
        let timer = (data, due);
        let slot = match self.pending.find(&timer) {
            Some(slot) => slot,
            None => {
                let slot = self.pending.find_or_insert(&timer, || 0);
                self.by_due.entry(due).or_default().push(slot);
                slot
            }
        };
        let count = self.pending.get_mut(slot).1;
        *count += diff;
        if *count == 0 {
            self.pending.remove(slot);
            self.forget(due, slot);
        }
    }

    fn due(&self) -> Option<Tick> {
        self.by_due.keys().next().copied()
    }

    fn begin_export(&mut self) {
        self.pending.begin_export();
    }

    fn export_slice(&mut self, max_rows: usize, out: &mut Vec<Self::Row>) -> bool {
        self.pending.export_slice(max_rows, out, |timer, count| Some((timer, count)))
    }

    fn import(&mut self, ((data, due), count): Self::Row, tick: Tick, out: &mut Out<D, isize>) {
        self.absorb((data, due), tick, count, out);
    }
}

impl<D> TimersCore<D> {
    /// Takes a slot that was freed off its tick's list, so that a timer that is set and taken back
    /// again and again leaves nothing behind.
    fn forget(&mut self, due: Tick, slot: Slot) {
        let Some(slots) = self.by_due.get_mut(&due) else { return };
        if let Some(place) = slots.iter().rposition(|other| *other == slot) {
            slots.swap_remove(place);
        }
        if slots.is_empty() {
            self.by_due.remove(&due);
        }
    }
}

#[cfg(test)]
mod tests;
