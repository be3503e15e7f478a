//! What flows into an operator: a collection, or several, each with what it means to the operator.
//!
//! Several collections could be mapped and concatenated before an operator as well. Then each of
//! them would take operators of the engine's own, a copy of every update and its share of the
//! bookkeeping of every step.
//!
//! **Delivery**: every update is handed on once, at its tick, on the worker that the operator's
//! route says for what is taken of it.
//! **State bound**: the updates above the frontier.

use std::{collections::BTreeMap, rc::Rc};

use differential_dataflow::ExchangeData;
use timely::dataflow::{
    Scope,
    channels::pact::Exchange,
    operators::{Capability, InputCapability, generic::builder_rc::OperatorBuilder},
};

use crate::{Collection, Tick};

/// Collections that flow into one operator, as updates `(D, Tick, R)`.
pub struct Inflow<'scope, D, R = isize> {
    scope: Scope<'scope, Tick>,
    inlets: Vec<Box<Open<'scope, D, R>>>,
}

/// Makes a collection an input of the operator that is being built.
type Open<'scope, D, R> = dyn FnOnce(&mut OperatorBuilder<'scope, Tick>, Route<D>) -> Inlet<D, R> + 'scope;

/// A hash that decides which worker gets what.
pub(crate) type Route<D> = Rc<dyn Fn(&D) -> u64>;

/// Takes what has arrived into a stash.
pub(crate) type Inlet<D, R> = Box<dyn FnMut(&mut Stash<D, R>)>;

impl<'scope, D: 'static, R: 'static> Inflow<'scope, D, R> {
    /// A collection, of whose updates the operator takes what `take` makes of data and difference.
    /// Where there are several workers it is asked twice: it must say the same.
    ///
    /// ```
    /// use differential_dataflow::input::Input;
    /// use etalage_operators::{inflow::Inflow, reduce::ReduceSmall, shell::Wiring};
    ///
    /// timely::example(|scope| {
    ///     let names = scope.new_collection_from(vec![(7u32, "shoe".to_string())]).1;
    ///     let units = scope.new_collection_from(vec![(7u32, 3i64)]).1;
    ///     let facts = Inflow::of(names, |(item, name), diff| ((*item, (Some(name.clone()), 0)), *diff))
    ///         .and(Inflow::of(units, |(item, units), diff| ((*item, (None, *units)), *diff)));
    ///     facts.reduce_small(Wiring::fresh("Facts", scope), |item| *item, |_item, facts, out| out.push(facts.len()));
    /// });
    /// ```
    pub fn of<E, S>(collection: Collection<'scope, E, S>, take: impl Fn(&E, &S) -> (D, R) + 'static) -> Self
    where
        E: ExchangeData,
        S: ExchangeData,
    {
        let take = Rc::new(take);
        let taken = Rc::clone(&take);
        Inflow::taken(
            collection,
            move |data, diff, route| route(&taken(data, diff).0),
            move |data, diff| take(&data, &diff),
        )
    }

    /// A collection, of which the operator takes what `take` makes of an update, on the worker that
    /// `send` says by the operator's route.
    fn taken<E, S>(
        collection: Collection<'scope, E, S>,
        send: impl Fn(&E, &S, &dyn Fn(&D) -> u64) -> u64 + 'static,
        take: impl Fn(E, S) -> (D, R) + 'static,
    ) -> Self
    where
        E: ExchangeData,
        S: ExchangeData,
    {
        let scope = collection.scope();
        let open: Box<Open<'scope, D, R>> = Box::new(move |builder, route| {
            let pact = Exchange::new(move |(data, _, diff): &(E, Tick, S)| send(data, diff, &*route));
            let mut input = builder.new_input(collection.inner, pact);
            Box::new(move |stash| {
                input.for_each(|capability, batch| {
                    stash.hold(&capability);
                    stash.fill(batch.drain(..).map(|(data, tick, diff)| {
                        let (data, diff) = take(data, diff);
                        (data, tick, diff)
                    }));
                });
            })
        });
        Inflow { scope, inlets: vec![open] }
    }

    /// This and more.
    pub fn and(mut self, more: impl Into<Inflow<'scope, D, R>>) -> Self {
        self.inlets.extend(more.into().inlets);
        self
    }

    /// Where it flows.
    pub fn scope(&self) -> Scope<'scope, Tick> {
        self.scope
    }

    /// Makes every collection an input of `builder`'s operator, those of several workers sorted by
    /// `route`.
    pub(crate) fn open(self, builder: &mut OperatorBuilder<'scope, Tick>, route: &Route<D>) -> Vec<Inlet<D, R>> {
        self.inlets.into_iter().map(|open| open(builder, Rc::clone(route))).collect()
    }
}

impl<'scope, D: ExchangeData, R: ExchangeData> From<Collection<'scope, D, R>> for Inflow<'scope, D, R> {
    fn from(collection: Collection<'scope, D, R>) -> Self {
        Inflow::taken(collection, |data, _, route| route(data), |data, diff| (data, diff))
    }
}

/// What has arrived but is not complete, by tick, and the capability that it needs.
pub(crate) struct Stash<D, R> {
    by_tick: BTreeMap<Tick, Vec<(D, R)>>,
    /// What was taken out last, emptied, to be used again.
    spare: Vec<(D, R)>,
    /// The least capability that anything stashed or due needs.
    pub(crate) held: Option<Capability<Tick>>,
}

impl<D, R> Stash<D, R> {
    pub(crate) fn new() -> Self {
        Stash { by_tick: BTreeMap::new(), spare: Vec::new(), held: None }
    }

    /// Keeps the least capability.
    pub(crate) fn hold(&mut self, capability: &InputCapability<Tick>) {
        let Some(tick) = capability.least() else { return };
        if self.held.as_ref().is_none_or(|held| tick < held.time()) {
            self.held = capability.retain_least(0);
        }
    }

    fn fill(&mut self, mut updates: impl Iterator<Item = (D, Tick, R)>) {
        let Some((data, mut tick, diff)) = updates.next() else { return };
        let spare = &mut self.spare;
        let mut stash = self.by_tick.entry(tick).or_insert_with(|| std::mem::take(spare));
        stash.push((data, diff));
        for (data, at, diff) in updates {
            if at != tick {
                (tick, stash) = (at, self.by_tick.entry(at).or_default());
            }
            stash.push((data, diff));
        }
    }

    /// The least tick of which anything is stashed.
    pub(crate) fn first(&self) -> Option<Tick> {
        self.by_tick.keys().next().copied()
    }

    /// Takes the updates of the least tick, if that is `tick` or below.
    pub(crate) fn take_first(&mut self, tick: Tick) -> Option<Vec<(D, R)>> {
        self.by_tick.first_entry().filter(|entry| *entry.key() <= tick).map(|entry| entry.remove())
    }

    /// Gives back the room of what was taken.
    pub(crate) fn reuse(&mut self, emptied: Vec<(D, R)>) {
        debug_assert!(emptied.is_empty());
        self.spare = emptied;
    }
}

#[cfg(test)]
mod tests;
