//! Timers on logical time: a datum is held back until its tick has come.
//!
//! - **Input** `((data, due), tick, diff)`: `data` is wanted from the tick `due` on.
//! - **Output** `(data, tick, diff)`: at every tick the input whose `due` is at or below it.
//! - **Time** is the tick, with or without further input: a replay fires the same timers at the same
//!   ticks.
//! - **State bound**: what is not due yet; a timer that was taken back takes no room.
//! - **Late data**: what is due already comes out at once. What is retracted before it is due never
//!   comes out; from then on the retraction comes out itself.
//! - **Imports** are what is not due yet: what had come out by the tick of the export does not come
//!   out again.

use std::hash::Hash;

use differential_dataflow::ExchangeData;

use crate::{
    Collection, Tick,
    dues::Dues,
    shell::{Core, Out, Wiring, run},
    table::Table,
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
    /// Every slot of `pending`, at its timer's tick.
    dues: Dues,
}

impl<D> Default for TimersCore<D> {
    fn default() -> Self {
        TimersCore { pending: Table::default(), dues: Dues::default() }
    }
}

impl<D: ExchangeData + Hash> Core for TimersCore<D> {
    type In = (D, Tick);
    type InDiff = isize;
    type Out = D;
    type OutDiff = isize;
    type Row = TimerRow<D>;

    fn advance(&mut self, tick: Tick, out: &mut Out<D, isize>) {
        while let Some(slot) = self.dues.pop(tick) {
            // A count that is negative now was retracted before what it retracts.
            let ((data, _), count) = self.pending.remove(slot);
            out.push((data, tick, count));
        }
    }

    fn absorb(&mut self, (data, due): (D, Tick), tick: Tick, diff: isize, out: &mut Out<D, isize>) {
        if due <= tick {
            out.push((data, tick, diff));
            return;
        }
        let slot = self.pending.find_or_insert(&(data, due), || 0);
        let count = self.pending.get_mut(slot).1;
        *count += diff;
        if *count == 0 {
            self.pending.remove(slot);
            self.dues.remove(due, slot);
        } else {
            self.dues.add(due, slot);
        }
    }

    fn due(&self) -> Option<Tick> {
        self.dues.first()
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

#[cfg(test)]
mod tests;
