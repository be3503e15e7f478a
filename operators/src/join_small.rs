//! Joins with a few: every datum of a key with each of the few things that stand beside it.
//!
//! - **Input** `((key, data), tick, R)` to be added up, and `((key, beside), tick, isize)`.
//! - **Output** `(out, tick, R)`: for each datum and each thing beside its key what the function makes of
//!   both, if anything, as often as both say.
//! - **Time** is the tick. A datum is *let go* at the tick that the function `until` says: from then on it
//!   is as if it had been joined for good. What was made of it is not taken back, which is for a window
//!   downstream to do, and what comes of it late makes nothing.
//! - **State bound**: the data of each key that are neither zero nor let go, and what stands beside it.
//! - **Late data**: what is not let go may be retracted at any later tick.
//! - **Cost**: a change of a datum looks at what stands beside its key, a change beside it at all its data.
//!
//! Differential's own `join` says the same for any number on both sides and at all times at once, and
//! pays for it with sorted batches on both.

use std::{
    collections::{BTreeMap, btree_map::Entry as Slotted},
    hash::Hash,
};

use differential_dataflow::{
    ExchangeData,
    difference::{Abelian, Multiply},
};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::{
    Collection, Tick, count,
    dues::Dues,
    inflow::Inflow,
    shell::{Core, Out, Wiring, run},
    table::{Hint, Table},
};

/// A key with its data and what stands beside it, as exported.
pub type JoinRow<K, D, B, R> = (K, Vec<(D, R)>, Vec<(B, isize)>);

/// What becomes of a datum and a thing beside its key.
pub type Meet<K, D, B, O> = dyn Fn(&K, &D, &B) -> Option<O>;

/// What flows in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Feed<K, D, B> {
    /// A datum.
    Data(K, D),
    /// What stands beside a key.
    Beside(K, B),
}

/// How much of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Much<R> {
    /// Of a datum.
    Data(R),
    /// Of what stands beside a key.
    Beside(isize),
}

impl<K, D, B> Feed<K, D, B> {
    fn key(&self) -> &K {
        match self {
            Feed::Data(key, _) | Feed::Beside(key, _) => key,
        }
    }
}

/// What `meet` makes of each datum and each of the few things beside its key, as long as `until` says.
///
/// ```
/// use differential_dataflow::input::Input;
/// use etalage_operators::{join_small::join_small, shell::Wiring};
///
/// timely::example(|scope| {
///     let views = scope.new_collection_from(vec![(7u32, "today".to_string())]).1;
///     let places = scope.new_collection_from(vec![(7u32, "shoes".to_string())]).1;
///     join_small(views, places, Wiring::fresh("Views by category", scope), |_day| u64::MAX, |_item, day, place| {
///         Some((place.clone(), day.clone()))
///     });
/// });
/// ```
pub fn join_small<'scope, K, D, B, R, O>(
    data: Collection<'scope, (K, D), R>,
    beside: Collection<'scope, (K, B)>,
    wiring: Wiring<'scope, JoinRow<K, D, B, R>>,
    until: impl Fn(&D) -> Tick + 'static,
    meet: impl Fn(&K, &D, &B) -> Option<O> + 'static,
) -> Collection<'scope, O, R>
where
    K: ExchangeData + Hash,
    D: ExchangeData,
    B: ExchangeData,
    R: ExchangeData + Abelian + Multiply<isize, Output = R>,
    O: Clone + 'static,
{
    let data =
        Inflow::of(data, |(key, data), diff: &R| (Feed::Data(key.clone(), data.clone()), Much::Data(diff.clone())));
    let beside =
        Inflow::of(beside, |(key, beside), diff| (Feed::Beside(key.clone(), beside.clone()), Much::Beside(*diff)));
    let core = JoinCore::new(Box::new(until), Box::new(meet));
    run(data.and(beside), wiring, core, |feed| feed.key().clone(), |(key, ..)| key.clone())
}

/// A join with a few, without a dataflow.
pub struct JoinCore<K, D, B, R, O> {
    until: Box<dyn Fn(&D) -> Tick>,
    meet: Box<Meet<K, D, B, O>>,
    keys: Table<K, Entry<D, B, R>>,
    /// Each key with data at the tick at which the first of these is let go.
    dues: Dues,
    now: Tick,
}

#[derive(Clone)]
struct Entry<D, B, R> {
    /// By the tick at which they are let go.
    data: BTreeMap<(Tick, D), R>,
    beside: SmallVec<[(B, isize); 4]>,
}

impl<K, D, B, R, O> JoinCore<K, D, B, R, O>
where
    K: ExchangeData + Hash,
    D: ExchangeData,
    B: ExchangeData,
    R: ExchangeData + Abelian + Multiply<isize, Output = R>,
    O: Clone + 'static,
{
    /// A core without keys.
    pub fn new(until: Box<dyn Fn(&D) -> Tick>, meet: Box<Meet<K, D, B, O>>) -> Self {
        JoinCore { until, meet, keys: Table::default(), dues: Dues::default(), now: 0 }
    }

    fn take(&mut self, hint: Hint, feed: Feed<K, D, B>, much: Much<R>, tick: Tick, out: &mut Out<O, R>) {
        let until = if let Feed::Data(_, data) = &feed { (self.until)(data) } else { Tick::MAX };
        if until <= self.now {
            return;
        }
        let fresh = || Entry { data: BTreeMap::new(), beside: SmallVec::new() };
        let slot = self.keys.find_or_insert_near(hint, feed.key(), fresh);
        let (key, entry) = self.keys.get_mut(slot);
        match (feed, much) {
            (Feed::Data(_, data), Much::Data(diff)) => {
                for (beside, count) in &entry.beside {
                    let met = (self.meet)(key, &data, beside);
                    out.extend(met.map(|met| (met, tick, diff.clone().multiply(count))));
                }
                let before = entry.due();
                match entry.data.entry((until, data)) {
                    Slotted::Vacant(vacant) => _ = vacant.insert(diff),
                    Slotted::Occupied(mut occupied) => {
                        occupied.get_mut().plus_equals(&diff);
                        if occupied.get().is_zero() {
                            occupied.remove();
                        }
                    }
                }
                let after = entry.due();
                self.dues.change(slot, before, after);
            }
            (Feed::Beside(_, beside), Much::Beside(diff)) => {
                for ((_, data), sum) in &entry.data {
                    let met = (self.meet)(key, data, &beside);
                    out.extend(met.map(|met| (met, tick, sum.clone().multiply(&diff))));
                }
                count(&mut entry.beside, beside, diff);
            }
            (feed, much) => unreachable!("{feed:?} comes with a difference of its own, not {much:?}"),
        }
        if entry.is_empty() {
            self.keys.remove(slot);
        }
    }
}

impl<D: Ord, B, R> Entry<D, B, R> {
    /// The tick at which its first datum is let go, if ever.
    fn due(&self) -> Option<Tick> {
        self.data.first_key_value().map(|((until, _), _)| *until).filter(|until| *until < Tick::MAX)
    }

    fn is_empty(&self) -> bool {
        self.data.is_empty() && self.beside.is_empty()
    }
}

impl<K, D, B, R, O> Core for JoinCore<K, D, B, R, O>
where
    K: ExchangeData + Hash,
    D: ExchangeData,
    B: ExchangeData,
    R: ExchangeData + Abelian + Multiply<isize, Output = R>,
    O: Clone + 'static,
{
    type In = Feed<K, D, B>;
    type InDiff = Much<R>;
    type Out = O;
    type OutDiff = R;
    type Row = JoinRow<K, D, B, R>;

    /// Lets go of what is due. Nobody hears of it, so that there is no hurry, and [`Core::due`] says
    /// nothing of it.
    fn advance(&mut self, tick: Tick, _out: &mut Out<O, R>) {
        self.now = tick;
        while let Some(slot) = self.dues.pop(tick) {
            let entry = self.keys.get_mut(slot).1;
            while entry.due().is_some_and(|due| due <= tick) {
                entry.data.pop_first();
            }
            self.dues.change(slot, None, entry.due());
            if entry.is_empty() {
                self.keys.remove(slot);
            }
        }
    }

    fn absorb(&mut self, feed: Self::In, tick: Tick, much: Much<R>, out: &mut Out<O, R>) {
        self.take(Hint::NONE, feed, much, tick, out);
    }

    fn absorb_all(&mut self, updates: &mut Vec<(Self::In, Much<R>)>, tick: Tick, out: &mut Out<O, R>) {
        let hints = self.keys.look_ahead(updates.iter().map(|(feed, _)| feed.key()), |entry| entry.data.len() as u64);
        for ((feed, much), hint) in updates.drain(..).zip(hints) {
            self.take(hint, feed, much, tick, out);
        }
    }

    fn begin_export(&mut self) {
        self.keys.begin_export();
    }

    fn export_slice(&mut self, max_rows: usize, out: &mut Vec<Self::Row>) -> bool {
        let row = |key, entry: Entry<D, B, R>| {
            let data = entry.data.into_iter().map(|((_, data), sum)| (data, sum));
            Some((key, data.collect(), entry.beside.into_vec()))
        };
        self.keys.export_slice(max_rows, out, row)
    }

    /// Both sides come back as if they had just arrived: what they make is emitted at `tick`.
    fn import(&mut self, (key, data, beside): Self::Row, tick: Tick, out: &mut Out<O, R>) {
        for (data, sum) in data {
            self.take(Hint::NONE, Feed::Data(key.clone(), data), Much::Data(sum), tick, out);
        }
        for (beside, count) in beside {
            self.take(Hint::NONE, Feed::Beside(key.clone(), beside), Much::Beside(count), tick, out);
        }
    }
}

#[cfg(test)]
mod tests;
