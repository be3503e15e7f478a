//! Small groups: what a function makes of all values of a key.
//!
//! - **Input** `((key, value), tick, diff)`, to be added up.
//! - **Output** `((key, out), tick, ±1)`: for each key that has values, what the function makes of
//!   all of them with their counts. Outputs of one key are a multiset.
//! - **Time** is the tick; nothing happens by time alone.
//! - **State bound**: the values of each key, and its outputs.
//! - **Late data**: any value may be retracted at any later tick.
//! - **Cost**: a change of a key looks at all its values, once a tick: for groups of a few.
//!
//! Differential's own `reduce` says the same of groups of any size at all times at once, and pays
//! for it with sorted batches: about 10 µs a change where this operator takes less than one.

use std::hash::Hash;

use differential_dataflow::ExchangeData;
use smallvec::SmallVec;

use crate::{
    Collection, Tick, differences,
    inflow::Inflow,
    shell::{Core, Out, Wiring, run},
    table::{Hint, Slot, Table},
};

/// A key and its values with their counts, as exported.
pub type ReduceRow<K, V> = (K, Vec<(V, isize)>);

/// What becomes of a group: key, values in order with their counts, outputs to be pushed.
pub type Logic<K, V, O> = dyn Fn(&K, &[(V, isize)], &mut Vec<O>);

/// Reduction of small groups over a collection of `(key, value)`, or an [`Inflow`] of it.
pub trait ReduceSmall<'scope, K: ExchangeData + Hash, V: ExchangeData> {
    /// What `logic` makes of each key's values; keys are partitioned by `route`.
    ///
    /// ```
    /// use differential_dataflow::input::Input;
    /// use etalage_operators::{reduce::ReduceSmall, shell::Wiring};
    ///
    /// timely::example(|scope| {
    ///     let stock = vec![("shoe", ("Delft", 3u64)), ("shoe", ("Breda", 4))];
    ///     let stock = scope.new_collection_from(stock).1;
    ///     let stock = stock.map(|(item, (place, units))| (item.to_string(), (place.to_string(), units)));
    ///     stock.reduce_small(Wiring::fresh("Units", scope), |item| item.clone(), |_item, stocks, out| {
    ///         out.push(stocks.iter().map(|((_, units), _)| *units).sum::<u64>());
    ///     });
    /// });
    /// ```
    fn reduce_small<O: ExchangeData, P: Hash + 'static>(
        self,
        wiring: Wiring<'scope, ReduceRow<K, V>>,
        route: impl Fn(&K) -> P + 'static,
        logic: impl Fn(&K, &[(V, isize)], &mut Vec<O>) + 'static,
    ) -> Collection<'scope, (K, O)>;
}

impl<'scope, K, V, I> ReduceSmall<'scope, K, V> for I
where
    K: ExchangeData + Hash,
    V: ExchangeData,
    I: Into<Inflow<'scope, (K, V)>>,
{
    fn reduce_small<O: ExchangeData, P: Hash + 'static>(
        self,
        wiring: Wiring<'scope, ReduceRow<K, V>>,
        route: impl Fn(&K) -> P + 'static,
        logic: impl Fn(&K, &[(V, isize)], &mut Vec<O>) + 'static,
    ) -> Collection<'scope, (K, O)> {
        let by_data = std::rc::Rc::new(route);
        let by_row = std::rc::Rc::clone(&by_data);
        let core = ReduceCore::new(Box::new(logic));
        run(self, wiring, core, move |(key, _)| by_data(key), move |(key, _)| by_row(key))
    }
}

/// Reduction of small groups without a dataflow.
pub struct ReduceCore<K, V, O> {
    logic: Box<Logic<K, V, O>>,
    keys: Table<K, Group<V, O>>,
    touched: Vec<Slot>,
    /// What was just made of a group.
    made: Vec<O>,
}

#[derive(Clone)]
struct Group<V, O> {
    /// In order, mostly one or two. A count is 0, or below it, only within a tick.
    values: SmallVec<[(V, isize); 2]>,
    /// What was made of them when they were last settled, in order.
    out: SmallVec<[O; 1]>,
    touched: bool,
}

impl<K: ExchangeData + Hash, V: ExchangeData, O: ExchangeData> ReduceCore<K, V, O> {
    /// A core without keys.
    pub fn new(logic: Box<Logic<K, V, O>>) -> Self {
        ReduceCore { logic, keys: Table::default(), touched: Vec::new(), made: Vec::new() }
    }

    fn take(&mut self, hint: Hint, (key, value): (K, V), diff: isize) {
        let fresh = || Group { values: SmallVec::new(), out: SmallVec::new(), touched: false };
        let slot = self.keys.find_or_insert_near(hint, &key, fresh);
        let group = self.keys.get_mut(slot).1;
        if !std::mem::replace(&mut group.touched, true) {
            self.touched.push(slot);
        }
        match group.values.binary_search_by(|(other, _)| other.cmp(&value)) {
            Ok(place) => group.values[place].1 += diff,
            Err(place) => group.values.insert(place, (value, diff)),
        }
    }
}

impl<K: ExchangeData + Hash, V: ExchangeData, O: ExchangeData> Core for ReduceCore<K, V, O> {
    type In = (K, V);
    type InDiff = isize;
    type Out = (K, O);
    type OutDiff = isize;
    type Row = ReduceRow<K, V>;

    fn advance(&mut self, _tick: Tick, _out: &mut Out<(K, O), isize>) {}

    fn absorb(&mut self, data: (K, V), _tick: Tick, diff: isize, _out: &mut Out<(K, O), isize>) {
        self.take(Hint::NONE, data, diff);
    }

    fn absorb_all(&mut self, updates: &mut Vec<((K, V), isize)>, _tick: Tick, _out: &mut Out<(K, O), isize>) {
        let hints = self.keys.look_ahead(updates.iter().map(|((key, _), _)| key), |group| u64::from(group.touched));
        for ((data, diff), hint) in updates.drain(..).zip(hints) {
            self.take(hint, data, diff);
        }
    }

    fn settle(&mut self, tick: Tick, out: &mut Out<(K, O), isize>) {
        for slot in std::mem::take(&mut self.touched) {
            let (key, group) = self.keys.get_mut(slot);
            group.touched = false;
            group.values.retain(|(_, count)| *count != 0);
            if !group.values.is_empty() {
                (self.logic)(key, &group.values, &mut self.made);
                self.made.sort();
            }
            let (gone, new) = differences(&group.out, &self.made, O::cmp);
            out.extend(gone.into_iter().map(|made| ((key.clone(), made), tick, -1)));
            out.extend(new.into_iter().map(|made| ((key.clone(), made), tick, 1)));
            group.out.clear();
            group.out.extend(self.made.drain(..));
            if group.values.is_empty() {
                self.keys.remove(slot);
            }
        }
    }

    fn begin_export(&mut self) {
        self.keys.begin_export();
    }

    fn export_slice(&mut self, max_rows: usize, out: &mut Vec<Self::Row>) -> bool {
        self.keys.export_slice(max_rows, out, |key, group| Some((key, group.values.into_vec())))
    }

    /// Values come back as if they had just arrived: what is made of them is emitted at `tick`.
    fn import(&mut self, (key, values): Self::Row, tick: Tick, out: &mut Out<(K, O), isize>) {
        for (value, count) in values {
            self.absorb((key.clone(), value), tick, count, out);
        }
    }
}

#[cfg(test)]
mod tests;
