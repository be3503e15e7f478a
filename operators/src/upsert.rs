//! Keyed upserts: the value of each key as its ordered changes leave it.
//!
//! - **Input** `((key, (order, op)), tick, diff)`: set, add to, or delete the value of `key`; the
//!   changes of a key apply in the order of `order`, not of arrival.
//! - **Output** `((key, value), tick, ±1)`: for each key that has a value, the greatest `Set`
//!   with every `Add` ordered after it. A key with `Add`s only has no value yet.
//! - **Time** is the tick; nothing happens by time alone.
//! - **State bound**: per key the greatest `Set` or `Delete`, the changes ordered after it, and
//!   `keep_superseded` changes before it.
//! - **Late data**: a change ordered before the greatest `Set` alters nothing. A retraction is
//!   exact while the `Set` or `Delete` that it uncovers is still kept; where that was let go,
//!   the key has no value until the next `Set`.
//! - **Cost**: an `Add` ordered after all other changes of its key is added to the value; any
//!   other change folds the changes that are kept anew, once a tick.

use std::hash::Hash;

use differential_dataflow::ExchangeData;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::{
    Collection, Tick,
    shell::{Core, Out, Wiring, run},
    table::{Hint, Slot, Table},
};

/// A change of a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Op<V> {
    /// The value is this, whatever came before.
    Set(V),
    /// This is added to whatever came before.
    Add(V),
    /// There is no value.
    Delete,
}

/// How changes of one key are kept and combined.
#[derive(Clone, Copy)]
pub struct UpsertOptions<V> {
    /// How many superseded changes are kept per key, so that a newer one can be retracted.
    pub keep_superseded: usize,
    /// What `Add` does.
    pub add: fn(&mut V, &V),
}

/// A key and its changes, in order, as exported.
pub type UpsertRow<K, O, V> = (K, Vec<(O, Op<V>, isize)>);

/// Upserts over a collection of ordered changes.
pub trait Upsert<'scope, K: ExchangeData + Hash, O: ExchangeData, V: ExchangeData> {
    /// The value of each key, partitioned by `route`.
    ///
    /// ```
    /// use differential_dataflow::input::Input;
    /// use etalage_operators::{shell::Wiring, upsert::{Op, Upsert, UpsertOptions}};
    ///
    /// timely::example(|scope| {
    ///     let stock = vec![("shoe", (1u64, Op::Set(10i64))), ("shoe", (2, Op::Add(-3)))];
    ///     let stock = scope.new_collection_from(stock).1.map(|(item, change)| (item.to_string(), change));
    ///     let options = UpsertOptions { keep_superseded: 8, add: |sum, more| *sum += more };
    ///     stock.upsert(options, Wiring::fresh("Stock", scope), |item| item.clone());
    /// });
    /// ```
    fn upsert<P: Hash + 'static>(
        self,
        options: UpsertOptions<V>,
        wiring: Wiring<'scope, UpsertRow<K, O, V>>,
        route: impl Fn(&K) -> P + 'static,
    ) -> Collection<'scope, (K, V)>;
}

impl<'scope, K, O, V> Upsert<'scope, K, O, V> for Collection<'scope, (K, (O, Op<V>))>
where
    K: ExchangeData + Hash,
    O: ExchangeData,
    V: ExchangeData,
{
    fn upsert<P: Hash + 'static>(
        self,
        options: UpsertOptions<V>,
        wiring: Wiring<'scope, UpsertRow<K, O, V>>,
        route: impl Fn(&K) -> P + 'static,
    ) -> Collection<'scope, (K, V)> {
        let by_data = std::rc::Rc::new(route);
        let by_row = std::rc::Rc::clone(&by_data);
        run(self, wiring, UpsertCore::new(options), move |(key, _)| by_data(key), move |(key, _)| by_row(key))
    }
}

/// Upserts without a dataflow.
pub struct UpsertCore<K, O, V> {
    options: UpsertOptions<V>,
    keys: Table<K, Changes<O, V>>,
    /// The keys that changed in this tick, and the value that each had before it.
    touched: Vec<(Slot, Option<V>)>,
}

#[derive(Clone)]
struct Changes<O, V> {
    /// In order, mostly one; a change stays with count 0 only within a tick.
    changes: SmallVec<[(O, Op<V>, isize); 1]>,
    /// What the changes make where the last of them is not a `Set` that says it, unless they are to be
    /// folded anew.
    sum: Option<Box<V>>,
    unfolded: bool,
    touched: bool,
}

impl<K: ExchangeData + Hash, O: ExchangeData, V: ExchangeData> UpsertCore<K, O, V> {
    /// A core without keys.
    pub fn new(options: UpsertOptions<V>) -> Self {
        UpsertCore { options, keys: Table::default(), touched: Vec::new() }
    }

    fn take(&mut self, hint: Hint, (key, (order, op)): (K, (O, Op<V>)), diff: isize) {
        let fresh = || Changes { changes: SmallVec::new(), sum: None, unfolded: false, touched: false };
        let slot = self.keys.find_or_insert_near(hint, &key, fresh);
        let state = self.keys.get_mut(slot).1;
        if !std::mem::replace(&mut state.touched, true) {
            self.touched.push((slot, state.value().cloned()));
        }
        state.update(order, op, diff, self.options.add);
    }
}

impl<O: Ord, V: Ord + Clone> Changes<O, V> {
    /// What the changes make, unless they are to be folded anew.
    fn value(&self) -> Option<&V> {
        let of_last = || match self.changes.last() {
            Some((_, Op::Set(value), 1..)) => Some(value),
            _ => None,
        };
        self.sum.as_deref().or_else(of_last)
    }

    fn update(&mut self, order: O, op: Op<V>, diff: isize, add: fn(&mut V, &V)) {
        let is_last = self.changes.last().is_none_or(|(o, p, _)| (o, p) < (&order, &op));
        if let (true, 1, Op::Add(more)) = (is_last, diff, &op) {
            if self.sum.is_none() && !self.unfolded {
                self.sum = self.value().cloned().map(Box::new);
            }
            self.sum.iter_mut().for_each(|sum| add(sum, more));
            self.changes.push((order, op, diff));
            return;
        }
        self.unfolded = true;
        let place = self.changes.partition_point(|(o, p, _)| (o, p) < (&order, &op));
        match self.changes.get_mut(place).filter(|(o, p, _)| *o == order && *p == op) {
            Some((_, _, count)) => *count += diff,
            None => self.changes.insert(place, (order, op, diff)),
        }
    }

    /// Lets go what no longer matters, and adds up what follows the last `Set`.
    fn fold(&mut self, options: &UpsertOptions<V>) -> Option<Box<V>> {
        self.changes.retain(|(_, _, count)| *count != 0);
        let live = |change: &(O, Op<V>, isize)| change.2 > 0;
        let base = self.changes.iter().rposition(|change| live(change) && !matches!(change.1, Op::Add(_)));
        if let Some(superseded) = base.and_then(|base| base.checked_sub(options.keep_superseded)) {
            self.changes.drain(..superseded);
        }
        let base = base.map(|base| base.min(options.keep_superseded))?;
        if base + 1 == self.changes.len() {
            return None;
        }
        let Op::Set(mut value) = self.changes[base].1.clone() else { return None };
        for (_, op, count) in self.changes[base + 1..].iter().filter(|change| live(change)) {
            if let Op::Add(more) = op {
                (0..*count).for_each(|_| (options.add)(&mut value, more));
            }
        }
        Some(Box::new(value))
    }
}

impl<K: ExchangeData + Hash, O: ExchangeData, V: ExchangeData> Core for UpsertCore<K, O, V> {
    type In = (K, (O, Op<V>));
    type InDiff = isize;
    type Out = (K, V);
    type OutDiff = isize;
    type Row = UpsertRow<K, O, V>;

    fn advance(&mut self, _tick: Tick, _out: &mut Out<(K, V), isize>) {}

    fn absorb(&mut self, data: Self::In, _tick: Tick, diff: isize, _out: &mut Out<(K, V), isize>) {
        self.take(Hint::NONE, data, diff);
    }

    fn absorb_all(&mut self, updates: &mut Vec<(Self::In, isize)>, _tick: Tick, _out: &mut Out<(K, V), isize>) {
        let hints = self.keys.look_ahead(updates.iter().map(|((key, _), _)| key), |state| u64::from(state.touched));
        for ((data, diff), hint) in updates.drain(..).zip(hints) {
            self.take(hint, data, diff);
        }
    }

    fn settle(&mut self, tick: Tick, out: &mut Out<(K, V), isize>) {
        for (slot, before) in std::mem::take(&mut self.touched) {
            let (key, state) = self.keys.get_mut(slot);
            state.touched = false;
            if std::mem::take(&mut state.unfolded) {
                state.sum = state.fold(&self.options);
            }
            if state.value() != before.as_ref() {
                out.extend(before.map(|value| ((key.clone(), value), tick, -1)));
                out.extend(state.value().map(|value| ((key.clone(), value.clone()), tick, 1)));
            }
            if state.changes.is_empty() {
                self.keys.remove(slot);
            }
        }
    }

    fn begin_export(&mut self) {
        self.keys.begin_export();
    }

    fn export_slice(&mut self, max_rows: usize, out: &mut Vec<Self::Row>) -> bool {
        self.keys.export_slice(max_rows, out, |key, state| Some((key, state.changes.into_vec())))
    }

    /// Changes come back as if they had just arrived: the values are emitted at `tick`.
    fn import(&mut self, (key, changes): Self::Row, tick: Tick, out: &mut Out<(K, V), isize>) {
        for (order, op, count) in changes {
            self.absorb((key.clone(), (order, op)), tick, count, out);
        }
    }
}

#[cfg(test)]
mod tests;
