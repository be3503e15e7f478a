//! Joins with a few: every datum of a key with each of the few things that stand beside it.
//!
//! - **Input** `((key, data), tick, R)` to be added up, and `((key, beside), tick, isize)`.
//! - **Output** `(out, tick, R)`: for each datum and each thing beside its key what the function makes of
//!   both, if anything, as often as both say.
//! - **Time** is the tick; nothing happens by time alone.
//! - **State bound**: the data of each key that are not zero, and what stands beside it.
//! - **Late data**: anything may be retracted at any later tick.
//! - **Cost**: a change of a datum looks at what stands beside its key, a change beside it at all its data.
//!
//! Differential's own `join` says the same for any number on both sides and at all times at once, and
//! pays for it with sorted batches on both.

use std::{hash::Hash, rc::Rc};

use differential_dataflow::{
    ExchangeData,
    difference::{Abelian, Multiply},
};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::{
    Collection, Tick,
    inflow::Inflow,
    shell::{Core, Out, Wiring, run},
    table::{Hint, Mix, Table},
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

/// What `meet` makes of each datum and each of the few things beside its key.
///
/// ```
/// use differential_dataflow::input::Input;
/// use etalage_operators::{join_small::join_small, shell::Wiring};
///
/// timely::example(|scope| {
///     let views = scope.new_collection_from(vec![(7u32, "today".to_string())]).1;
///     let places = scope.new_collection_from(vec![(7u32, "shoes".to_string())]).1;
///     join_small(views, places, Wiring::fresh("Views by category", scope), |_item, day, place| {
///         Some((place.clone(), day.clone()))
///     });
/// });
/// ```
pub fn join_small<'scope, K, D, B, R, O>(
    data: Collection<'scope, (K, D), R>,
    beside: Collection<'scope, (K, B)>,
    wiring: Wiring<'scope, JoinRow<K, D, B, R>>,
    meet: impl Fn(&K, &D, &B) -> Option<O> + 'static,
) -> Collection<'scope, O, R>
where
    K: ExchangeData + Hash,
    D: ExchangeData + Hash,
    B: ExchangeData,
    R: ExchangeData + Abelian + Multiply<isize, Output = R>,
    O: Clone + 'static,
{
    let data =
        Inflow::of(data, |(key, data), diff: &R| (Feed::Data(key.clone(), data.clone()), Much::Data(diff.clone())));
    let beside =
        Inflow::of(beside, |(key, beside), diff| (Feed::Beside(key.clone(), beside.clone()), Much::Beside(*diff)));
    let core = JoinCore::new(Rc::new(meet));
    run(data.and(beside), wiring, core, |feed| feed.key().clone(), |(key, ..)| key.clone())
}

/// A join with a few, without a dataflow.
pub struct JoinCore<K, D, B, R, O> {
    meet: Rc<Meet<K, D, B, O>>,
    keys: Table<K, Entry<D, B, R>>,
}

#[derive(Clone)]
struct Entry<D, B, R> {
    data: HashMap<D, R, Mix>,
    beside: SmallVec<[(B, isize); 4]>,
}

impl<K, D, B, R, O> JoinCore<K, D, B, R, O>
where
    K: ExchangeData + Hash,
    D: ExchangeData + Hash,
    B: ExchangeData,
    R: ExchangeData + Abelian + Multiply<isize, Output = R>,
    O: Clone + 'static,
{
    /// A core without keys.
    pub fn new(meet: Rc<Meet<K, D, B, O>>) -> Self {
        JoinCore { meet, keys: Table::default() }
    }

    fn take(&mut self, hint: Hint, feed: Feed<K, D, B>, much: Much<R>, tick: Tick, out: &mut Out<O, R>) {
        let fresh = || Entry { data: HashMap::default(), beside: SmallVec::new() };
        let slot = self.keys.find_or_insert_near(hint, feed.key(), fresh);
        let (key, entry) = self.keys.get_mut(slot);
        match (feed, much) {
            (Feed::Data(_, data), Much::Data(diff)) => {
                for (beside, count) in &entry.beside {
                    let met = (self.meet)(key, &data, beside);
                    out.extend(met.map(|met| (met, tick, diff.clone().multiply(count))));
                }
                let sum = entry.data.entry(data.clone()).or_insert_with(R::zero);
                sum.plus_equals(&diff);
                if sum.is_zero() {
                    entry.data.remove(&data);
                }
            }
            (Feed::Beside(_, beside), Much::Beside(diff)) => {
                for (data, sum) in &entry.data {
                    let met = (self.meet)(key, data, &beside);
                    out.extend(met.map(|met| (met, tick, sum.clone().multiply(&diff))));
                }
                match entry.beside.iter_mut().position(|(other, _)| *other == beside) {
                    Some(place) => {
                        entry.beside[place].1 += diff;
                        if entry.beside[place].1 == 0 {
                            entry.beside.swap_remove(place);
                        }
                    }
                    None => entry.beside.push((beside, diff)),
                }
            }
            (feed, much) => unreachable!("{feed:?} comes with a difference of its own, not {much:?}"),
        }
        if entry.data.is_empty() && entry.beside.is_empty() {
            self.keys.remove(slot);
        }
    }
}

impl<K, D, B, R, O> Core for JoinCore<K, D, B, R, O>
where
    K: ExchangeData + Hash,
    D: ExchangeData + Hash,
    B: ExchangeData,
    R: ExchangeData + Abelian + Multiply<isize, Output = R>,
    O: Clone + 'static,
{
    type In = Feed<K, D, B>;
    type InDiff = Much<R>;
    type Out = O;
    type OutDiff = R;
    type Row = JoinRow<K, D, B, R>;

    fn advance(&mut self, _tick: Tick, _out: &mut Out<O, R>) {}

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
        let row = |key, entry: Entry<D, B, R>| Some((key, entry.data.into_iter().collect(), entry.beside.into_vec()));
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
