//! Sealing: the last step of a view. Changes gather by tick; when a tick is complete they are cut
//! off as upserts, each key at most once.
//!
//! - **Input** `(key, tick, diff)` to be added up, or `((key, value), tick, ±1)` with at most one
//!   value per key at every tick; or amounts of members at places, see [`seal_placed`].
//! - **Output** of [`Seal::cut`]`(upper)`: for every key whose value differs from that at the cut
//!   before, its value after the last tick below `upper`, or `None`.
//! - **Time**: the worker cuts at `upper` once the frontier of [`Sealing::passed`] has passed it.
//!   All workers cut at the same ticks, so that their parts add up to one sealed tick.
//! - **State bound**: one value per key, and the changes above the last cut; of [`Differences`] the
//!   changes alone.
//! - **Late data**: none can come below the frontier.

mod placed;

pub use placed::{CellChange, Holds, Placed, Places, seal_placed};

use std::{cell::RefCell, collections::BTreeMap, hash::Hash, rc::Rc};

use differential_dataflow::{ExchangeData, difference::Semigroup};
use hashbrown::HashTable;
use smallvec::SmallVec;
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        Stream,
        channels::pact::Exchange,
        operators::{Operator, generic::OutputBuilderSession},
    },
};

use crate::{
    Collection, Tick,
    table::{Slot, Table, hash_of},
};

/// New values by key; `None` where a key has none any more.
type Upserts<K, V> = Vec<(K, Option<V>)>;

/// A view being sealed: where to cut, and what to probe.
pub struct Sealing<'scope, S> {
    /// Cuts off what is complete.
    pub seal: Rc<RefCell<S>>,
    /// Carries no data; once its frontier has passed a tick, the seal has all that belongs to it.
    pub passed: Stream<'scope, Tick, Vec<()>>,
}

/// What a worker does with a sealed view.
pub trait Seal {
    /// What is told of a change: mostly a key and its new value.
    type Change;
    /// What changed since the cut before, up to `upper` exclusive.
    fn cut(&mut self, upper: Tick) -> Vec<Self::Change>;
    /// How many keys have a value.
    fn len(&self) -> usize;
    /// True where no key has a value.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Sums by key. A sum of zero is no value.
pub struct Sums<K, R> {
    pending: Pending<(K, R)>,
    sums: Table<K, Summed<R>>,
}

/// Values by key.
pub struct Values<K, V> {
    pending: Pending<((K, V), isize)>,
    values: Table<K, Counted<V>>,
}

/// Values by key, of which none is kept: the input takes back exactly what it has given before.
pub struct Differences<K, V> {
    pending: Pending<((K, V), isize)>,
    /// How many keys have a value.
    keys: usize,
}

/// The sum of a key; there is one outside a cut.
#[derive(Clone)]
struct Summed<R> {
    sum: Option<R>,
    touched: bool,
}

/// The values of a key with their counts: exactly one of count 1 outside a cut.
#[derive(Clone)]
struct Counted<V> {
    counts: SmallVec<[(V, isize); 2]>,
    touched: bool,
}

/// Seals a collection whose differences add up to the value.
pub fn seal_sums<'scope, K, R, P>(
    input: Collection<'scope, K, R>,
    name: &str,
    route: impl Fn(&K) -> P + 'static,
) -> Sealing<'scope, Sums<K, R>>
where
    K: ExchangeData + Hash,
    R: ExchangeData + Semigroup,
    P: Hash,
{
    let seal = Rc::new(RefCell::new(Sums { pending: Pending::default(), sums: Table::default() }));
    let gather = Rc::clone(&seal);
    let passed = sink(input, name, route, move |key, tick, diff| {
        gather.borrow_mut().pending.push(tick, (key, diff));
    });
    Sealing { seal, passed }
}

/// Seals a collection that has at most one value per key.
pub fn seal_values<'scope, K, V, P>(
    input: Collection<'scope, (K, V)>,
    name: &str,
    route: impl Fn(&K) -> P + 'static,
) -> Sealing<'scope, Values<K, V>>
where
    K: ExchangeData + Hash,
    V: ExchangeData,
    P: Hash,
{
    let seal = Rc::new(RefCell::new(Values { pending: Pending::default(), values: Table::default() }));
    let gather = Rc::clone(&seal);
    let passed = sink(
        input,
        name,
        move |(key, _)| route(key),
        move |pair, tick, diff| {
            gather.borrow_mut().pending.push(tick, (pair, diff));
        },
    );
    Sealing { seal, passed }
}

/// Seals a collection that has at most one value per key at every tick, as [`seal_values`] does, without
/// keeping any: the input is trusted to take back what it has given, and nothing else.
pub fn seal_differences<'scope, K, V, P>(
    input: Collection<'scope, (K, V)>,
    name: &str,
    route: impl Fn(&K) -> P + 'static,
) -> Sealing<'scope, Differences<K, V>>
where
    K: ExchangeData + Hash,
    V: ExchangeData,
    P: Hash,
{
    let seal = Rc::new(RefCell::new(Differences { pending: Pending::default(), keys: 0 }));
    let gather = Rc::clone(&seal);
    let passed = sink(
        input,
        name,
        move |(key, _)| route(key),
        move |pair, tick, diff| {
            gather.borrow_mut().pending.push(tick, (pair, diff));
        },
    );
    Sealing { seal, passed }
}

/// Hands every update to `gather`, on the worker that `route` says.
fn sink<'scope, D: ExchangeData, R: ExchangeData, P: Hash>(
    input: Collection<'scope, D, R>,
    name: &str,
    route: impl Fn(&D) -> P + 'static,
    mut gather: impl FnMut(D, Tick, R) + 'static,
) -> Stream<'scope, Tick, Vec<()>> {
    let pact = Exchange::new(move |(data, _, _): &(D, Tick, R)| hash_of(&route(data)));
    input.inner.unary(pact, name, move |_, _| {
        move |input, _output: &mut OutputBuilderSession<'_, Tick, CapacityContainerBuilder<Vec<()>>>| {
            input.for_each(|_, batch| batch.drain(..).for_each(|(data, tick, diff)| gather(data, tick, diff)));
        }
    })
}

/// Changes by tick, until they are cut off.
struct Pending<D> {
    by_tick: BTreeMap<Tick, Vec<D>>,
    /// What was cut off last, emptied: as much mostly comes again.
    spare: Vec<D>,
}

impl<D> Default for Pending<D> {
    fn default() -> Self {
        Pending { by_tick: BTreeMap::new(), spare: Vec::new() }
    }
}

impl<D> Pending<D> {
    fn push(&mut self, tick: Tick, change: D) {
        self.by_tick.entry(tick).or_insert_with(|| std::mem::take(&mut self.spare)).push(change);
    }

    /// Takes what is below `upper`, tick by tick.
    fn take_below(&mut self, upper: Tick) -> Vec<D> {
        let above = self.by_tick.split_off(&upper);
        let mut ticks = std::mem::replace(&mut self.by_tick, above).into_values();
        let mut all = ticks.next().unwrap_or_default();
        ticks.for_each(|mut tick| all.append(&mut tick));
        all
    }

    /// Gives back the room of what was taken.
    fn reuse(&mut self, emptied: Vec<D>) {
        debug_assert!(emptied.is_empty());
        self.spare = emptied;
    }
}

impl<K: ExchangeData + Hash, R: ExchangeData + Semigroup> Seal for Sums<K, R> {
    type Change = (K, Option<R>);

    fn cut(&mut self, upper: Tick) -> Upserts<K, R> {
        let mut touched: Vec<(Slot, Option<R>)> = Vec::new();
        let mut changes = self.pending.take_below(upper);
        let hints = self.sums.look_ahead(changes.iter().map(|(key, _)| key), |state| u64::from(state.touched));
        for ((key, diff), hint) in changes.drain(..).zip(hints) {
            let slot = self.sums.find_or_insert_near(hint, &key, || Summed { sum: None, touched: false });
            let state = self.sums.get_mut(slot).1;
            if !std::mem::replace(&mut state.touched, true) {
                touched.push((slot, state.sum.clone()));
            }
            match &mut state.sum {
                Some(sum) => sum.plus_equals(&diff),
                None => state.sum = Some(diff),
            }
        }
        self.pending.reuse(changes);
        let mut sealed = Vec::with_capacity(touched.len());
        for (slot, before) in touched {
            let (key, state) = self.sums.get_mut(slot);
            state.touched = false;
            let value = state.sum.clone().filter(|sum| !sum.is_zero());
            let is_gone = value.is_none();
            if value != before {
                sealed.push((key.clone(), value));
            }
            if is_gone {
                self.sums.remove(slot);
            }
        }
        sealed
    }

    fn len(&self) -> usize {
        self.sums.len()
    }
}

impl<K: ExchangeData + Hash, V: ExchangeData> Seal for Values<K, V> {
    type Change = (K, Option<V>);

    fn cut(&mut self, upper: Tick) -> Upserts<K, V> {
        let mut touched: Vec<(Slot, bool)> = Vec::new();
        let mut changes = self.pending.take_below(upper);
        let hints = self.values.look_ahead(changes.iter().map(|((key, _), _)| key), |state| u64::from(state.touched));
        for (((key, value), diff), hint) in changes.drain(..).zip(hints) {
            let slot =
                self.values.find_or_insert_near(hint, &key, || Counted { counts: SmallVec::new(), touched: false });
            let state = self.values.get_mut(slot).1;
            if !std::mem::replace(&mut state.touched, true) {
                touched.push((slot, !state.counts.is_empty()));
            }
            // The value of before stays the first, whatever its count.
            match state.counts.iter_mut().find(|(other, _)| *other == value) {
                Some((_, count)) => *count += diff,
                None => state.counts.push((value, diff)),
            }
        }
        self.pending.reuse(changes);
        let mut sealed = Vec::with_capacity(touched.len());
        for (slot, had_one) in touched {
            let (key, state) = self.values.get_mut(slot);
            state.touched = false;
            let stays = had_one && state.counts[0].1 != 0;
            state.counts.retain(|(_, count)| *count != 0);
            assert!(state.counts.len() <= 1, "at most one value per key at every tick");
            let value = state.counts.first().map(|(value, _)| value);
            if !stays && (had_one || value.is_some()) {
                sealed.push((key.clone(), value.cloned()));
            }
            if value.is_none() {
                self.values.remove(slot);
            }
        }
        sealed
    }

    fn len(&self) -> usize {
        self.values.len()
    }
}

impl<K: ExchangeData + Hash, V: ExchangeData> Seal for Differences<K, V> {
    type Change = (K, Option<V>);

    fn cut(&mut self, upper: Tick) -> Upserts<K, V> {
        let mut changes = self.pending.take_below(upper);
        // Most keys come twice: what was there, and what is there now.
        let mut changed: Vec<(K, SmallVec<[(V, isize); 2]>)> = Vec::with_capacity(changes.len() / 2 + 1);
        let mut places: HashTable<usize> = HashTable::with_capacity(changes.len() / 2 + 1);
        for ((key, value), diff) in changes.drain(..) {
            let found = places.entry(hash_of(&key), |at| changed[*at].0 == key, |at| hash_of(&changed[*at].0));
            let at = *found.or_insert(changed.len()).get();
            if at == changed.len() {
                changed.push((key, SmallVec::new()));
            }
            let counts = &mut changed[at].1;
            match counts.iter_mut().find(|(other, _)| *other == value) {
                Some((_, count)) => *count += diff,
                None => counts.push((value, diff)),
            }
        }
        self.pending.reuse(changes);
        let mut sealed = Vec::with_capacity(changed.len());
        for (key, mut counts) in changed {
            counts.retain(|(_, count)| *count != 0);
            let news = counts.iter().filter(|(_, count)| *count == 1).count();
            let olds = counts.iter().filter(|(_, count)| *count == -1).count();
            assert!(news <= 1 && olds <= 1 && news + olds == counts.len(), "at most one value per key at every tick");
            if counts.is_empty() {
                continue;
            }
            self.keys = (self.keys + news).checked_sub(olds).expect("what is taken back was given before");
            sealed.push((key, counts.into_iter().find(|(_, count)| *count == 1).map(|(value, _)| value)));
        }
        sealed
    }

    fn len(&self) -> usize {
        self.keys
    }
}

#[cfg(test)]
mod tests;
