//! How what the operators seal becomes rows that readers share.

use std::{cell::RefCell, fmt, rc::Rc, sync::Arc};

use differential_dataflow::{ExchangeData, difference::Semigroup};
use etalage_model::{Amounts, BundleChange, Key, SealedBatch, Sym, Tick, Value};
use etalage_operators::{
    lanes::Lanes,
    seal::{CellChange, Holds, Seal, Sealing},
};
use timely::dataflow::Stream;

use crate::scope::{Part, Scopes};

/// A sealed view before it is cut: what to probe, then what to cut.
pub trait Sealable<'scope> {
    /// Carries no data; see [`Sealing::passed`].
    fn passed(&self) -> Stream<'scope, Tick, Vec<()>>;
    /// What the worker keeps.
    fn cutter(self: Box<Self>) -> Box<dyn Cutter>;
}

/// Cuts a view's changes off, in the types that all readers share.
pub trait Cutter {
    /// Puts the changes since the cut before, up to `upper` exclusive, into the batch.
    fn cut(&mut self, upper: Tick, batch: &mut SealedBatch);
    /// How many keys this worker holds.
    fn keys(&self) -> usize;
}

/// Makes a batch of changes.
type Publish<S> = dyn Fn(Vec<<S as Seal>::Change>, &mut SealedBatch);

/// A sealing, and how its changes are published.
pub(crate) struct Published<'scope, S: Seal> {
    sealing: Sealing<'scope, S>,
    publish: Box<Publish<S>>,
}

impl<'scope, S: Seal + 'static> Published<'scope, S> {
    /// Publishes what `publish` makes of changes.
    pub(crate) fn of(
        sealing: Sealing<'scope, S>,
        publish: impl Fn(Vec<S::Change>, &mut SealedBatch) + 'static,
    ) -> Box<dyn Sealable<'scope> + 'scope> {
        Box::new(Published { sealing, publish: Box::new(publish) })
    }

    /// Publishes keys and values as `publish` writes them.
    pub(crate) fn rows<K, V>(
        sealing: Sealing<'scope, S>,
        publish: impl Fn(K, Option<V>) -> (Key, Option<Value>) + 'static,
    ) -> Box<dyn Sealable<'scope> + 'scope>
    where
        S: Seal<Change = (K, Option<V>)>,
    {
        Published::of(sealing, move |changes, batch| {
            batch.upserts = changes.into_iter().map(|(key, value)| publish(key, value)).collect();
        })
    }
}

struct PublishedCutter<S: Seal> {
    seal: Rc<RefCell<S>>,
    publish: Box<Publish<S>>,
}

impl<'scope, S: Seal + 'static> Sealable<'scope> for Published<'scope, S> {
    fn passed(&self) -> Stream<'scope, Tick, Vec<()>> {
        self.sealing.passed.clone()
    }
    fn cutter(self: Box<Self>) -> Box<dyn Cutter> {
        Box::new(PublishedCutter { seal: self.sealing.seal, publish: self.publish })
    }
}

impl<S: Seal> Cutter for PublishedCutter<S> {
    fn cut(&mut self, upper: Tick, batch: &mut SealedBatch) {
        let changes = self.seal.borrow_mut().cut(upper);
        (self.publish)(changes, batch);
    }
    fn keys(&self) -> usize {
        self.seal.borrow().len()
    }
}

/// The value that readers see of an amount in a lane.
type ValueOf<R> = Arc<dyn Fn(u8, &R) -> Value + Send + Sync>;

/// How amounts are shown.
pub struct Shows<R> {
    /// What the lanes are called.
    pub labels: Arc<[Sym]>,
    /// The value of an amount in a lane: made whenever it is read.
    pub value: ValueOf<R>,
    /// Looks at each amount that is new, once.
    pub watch: fn(&R),
}

/// Amounts by lane, of which readers make values.
#[derive(Clone)]
pub(crate) struct Shown<R> {
    amounts: Lanes<R>,
    value: ValueOf<R>,
}

impl<R: ExchangeData + Semigroup> Shown<R> {
    /// No amount in any lane.
    pub(crate) fn nothing(value: ValueOf<R>) -> Self {
        Shown { amounts: Lanes::default(), value }
    }
}

impl<R: Clone + 'static> Holds<R> for Shown<R> {
    fn amounts(&self) -> &Lanes<R> {
        &self.amounts
    }
    fn amounts_mut(&mut self) -> &mut Lanes<R> {
        &mut self.amounts
    }
}

impl<R: fmt::Debug> fmt::Debug for Shown<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.amounts.fmt(f)
    }
}

impl<R: ExchangeData + Semigroup + Sync> Amounts for Shown<R> {
    fn value(&self, lane: u8) -> Option<Value> {
        self.amounts.get(lane).map(|amount| (self.value)(lane, amount))
    }
    fn has(&self, lane: u8) -> bool {
        self.amounts.get(lane).is_some()
    }
}

/// Hands `watch` each amount that is another than before.
pub(crate) fn look_at_new<R>(change: &CellChange<Sym, Part, Part, Shown<R>>, watch: fn(&R))
where
    R: ExchangeData + Semigroup,
{
    change.changed.iter().filter_map(|lane| change.now.amounts.get(*lane)).for_each(watch);
}

/// What changed of an item by those who did something to it, as a bundle in its scopes.
pub(crate) fn bundle<R>(change: CellChange<Sym, Part, Part, Shown<R>>, scopes: &Scopes) -> BundleChange
where
    R: ExchangeData + Semigroup + Sync,
{
    let CellChange { member, axis, stands, joined, left, changed, was, now } = change;
    let scope = |place: &Part| scopes.scope(&axis, place);
    BundleChange {
        member,
        axis: axis.text,
        scopes: stands.iter().filter_map(scope).collect(),
        joined: joined.iter().filter_map(scope).collect(),
        left: left.iter().filter_map(scope).collect(),
        changed,
        was,
        now,
    }
}
