//! What stands at places: the amounts of a member are published at every place at which the
//! member stands, and move with it.
//!
//! - **Input** `((member, axis), tick, Lanes<R>)` to be added up, and `((member, place), tick, diff)`.
//! - **Output** of the cut: for each key that [`Publish::key`] makes of a member, an
//!   axis, a place of the member and a lane, the value that [`Publish::value`] makes of the amount there,
//!   or none where it is zero. Keys of two different (member, axis, place, lane) must differ.
//! - **Time**: as in all sealing: what is below a cut counts, whatever happened meanwhile.
//! - **State bound**: per (member, axis) its amounts, per member its places, and the changes above the
//!   last cut.
//! - **Late data**: none can come below the frontier; anything may be retracted at a later tick.
//!
//! This says the same as a join of amounts and places, sealed by [`seal_sums`](super::seal_sums). But an
//! amount is held once, and not at every place, a change is looked for once, and its value is made once.

use std::{cell::RefCell, collections::BTreeMap, hash::Hash, rc::Rc};

use differential_dataflow::{
    ExchangeData,
    difference::{IsZero, Semigroup},
};
use smallvec::SmallVec;
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        Stream,
        channels::pact::Exchange,
        operators::{Operator, generic::OutputBuilderSession},
    },
};

use super::{Pending, Seal, Sealing, Upserts};
use crate::{
    Collection, Tick, count,
    lanes::Lanes,
    table::{Slot, Table, hash_of},
};

/// The key of a member, an axis, a place and a lane; none where these make no key.
pub type KeyOf<M, A, B, K> = dyn Fn(&M, &A, &B, u8) -> Option<K>;

/// How members at places are published.
pub struct Publish<M, A, B, R, K, V> {
    /// The place where every member stands without being placed there.
    pub everywhere: B,
    /// The key of a member, an axis, a place and a lane; none where these make no key.
    pub key: Box<KeyOf<M, A, B, K>>,
    /// The value of an amount in a lane; mostly it is shared by the keys of several places.
    pub value: Box<dyn Fn(u8, &R) -> V>,
}

/// Amounts by member, axis and lane, and places by member.
pub struct Placed<M, A, B, R, K, V> {
    publish: Publish<M, A, B, R, K, V>,
    amounts: Pending<((M, A), Lanes<R>)>,
    moves: Pending<((M, B), isize)>,
    cells: Table<(M, A), Cell<R>>,
    members: Table<M, Member<B>>,
    /// How many keys have a value.
    keys: usize,
    /// How many upserts the last cut had: as many mostly come again.
    told: usize,
}

/// The amounts of a member on one axis.
#[derive(Clone)]
struct Cell<R> {
    amounts: Lanes<R>,
    member: Slot,
    is_touched: bool,
}

/// Where a member stands, and its cells.
#[derive(Clone)]
struct Member<B> {
    /// A count is 1 outside a cut.
    places: SmallVec<[(B, isize); 3]>,
    cells: SmallVec<[Slot; 2]>,
    has_moved: bool,
}

/// Seals amounts of members at their places; members are dealt to the workers by their hash.
pub fn seal_placed<'scope, C, M, A, B, R, K, V>(
    amounts: Collection<'scope, C, Lanes<R>>,
    places: Collection<'scope, (M, B)>,
    name: &str,
    publish: Publish<M, A, B, R, K, V>,
) -> Sealing<'scope, Placed<M, A, B, R, K, V>>
where
    C: ExchangeData + Into<(M, A)>,
    M: ExchangeData + Hash,
    A: ExchangeData + Hash,
    B: ExchangeData,
    R: ExchangeData + Semigroup,
    K: 'static,
    V: Clone + 'static,
{
    let seal = Rc::new(RefCell::new(Placed::new(publish)));
    let gather = Rc::clone(&seal);
    let of_amounts = Exchange::new(|(cell, _, _): &(C, Tick, Lanes<R>)| hash_of(&cell.clone().into().0));
    let of_places = Exchange::new(|((member, _), _, _): &((M, B), Tick, isize)| hash_of(member));
    let passed: Stream<'scope, Tick, Vec<()>> =
        amounts.inner.binary(places.inner, of_amounts, of_places, name, move |_, _| {
            move |amounts, places, _: &mut OutputBuilderSession<'_, Tick, CapacityContainerBuilder<Vec<()>>>| {
                let mut seal = gather.borrow_mut();
                amounts.for_each(|_, batch| {
                    for (cell, tick, diff) in batch.drain(..) {
                        seal.amounts.push(tick, (cell.into(), diff));
                    }
                });
                places.for_each(|_, batch| {
                    for (place, tick, diff) in batch.drain(..) {
                        seal.moves.push(tick, (place, diff));
                    }
                });
            }
        });
    Sealing { seal, passed }
}

impl<M, A, B, R, K, V> Placed<M, A, B, R, K, V>
where
    M: ExchangeData + Hash,
    A: ExchangeData + Hash,
    B: ExchangeData,
    R: ExchangeData + Semigroup,
    V: Clone,
{
    fn new(publish: Publish<M, A, B, R, K, V>) -> Self {
        let (amounts, moves) = (Pending::default(), Pending::default());
        Placed { publish, amounts, moves, cells: Table::default(), members: Table::default(), keys: 0, told: 0 }
    }

    /// How many cells and members are held.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        (self.cells.len(), self.members.len())
    }

    fn member(&mut self, member: &M) -> Slot {
        let fresh = || Member { places: SmallVec::new(), cells: SmallVec::new(), has_moved: false };
        self.members.find_or_insert(member, fresh)
    }

    /// Adds what has come below `upper`; gives the cells that it concerns, with what they had before.
    fn add_up(&mut self, upper: Tick) -> Vec<(Slot, Lanes<R>)> {
        let mut changes = self.amounts.take_below(upper);
        let hints = self.cells.look_ahead(changes.iter().map(|(key, _)| key), |cell| u64::from(cell.is_touched));
        let mut touched = Vec::with_capacity(changes.len());
        for ((key, diff), hint) in changes.drain(..).zip(hints) {
            let slot = self.cells.find_near(hint, &key).unwrap_or_else(|| self.new_cell(&key));
            let cell = self.cells.get_mut(slot).1;
            if !std::mem::replace(&mut cell.is_touched, true) {
                touched.push((slot, cell.amounts.clone()));
            }
            cell.amounts.plus_equals(&diff);
        }
        self.amounts.reuse(changes);
        touched
    }

    fn new_cell(&mut self, key: &(M, A)) -> Slot {
        let member = self.member(&key.0);
        let fresh = || Cell { amounts: Lanes::default(), member, is_touched: false };
        let slot = self.cells.find_or_insert(key, fresh);
        self.members.get_mut(member).1.cells.push(slot);
        slot
    }

    /// Moves the members of which that has come below `upper`; gives them with where they stood before.
    fn move_members(&mut self, upper: Tick) -> Vec<(Slot, SmallVec<[(B, isize); 3]>)> {
        let mut moved = Vec::new();
        for ((member, place), diff) in self.moves.take_below(upper) {
            if place == self.publish.everywhere {
                continue;
            }
            let slot = self.member(&member);
            let state = self.members.get_mut(slot).1;
            if !std::mem::replace(&mut state.has_moved, true) {
                moved.push((slot, state.places.clone()));
            }
            count(&mut state.places, place, diff);
        }
        moved
    }

    /// Says of a cell what changed in it from `before` on, at the places where its member stands, which
    /// has not moved.
    fn tell_changes(&mut self, slot: Slot, before: &Lanes<R>, out: &mut Upserts<K, V>) {
        let ((member, axis), cell) = self.cells.get(slot);
        let places = self.members.get(cell.member).1.places.iter().map(|(place, _)| place);
        let places: SmallVec<[&B; 4]> = std::iter::once(&self.publish.everywhere).chain(places).collect();
        for (lane, now) in before.changes(&cell.amounts) {
            let had = before.get(lane).is_some();
            let value = now.map(|amount| (self.publish.value)(lane, amount));
            for place in &places {
                if let Some(key) = (self.publish.key)(member, axis, place, lane) {
                    self.keys = self.keys + usize::from(value.is_some()) - usize::from(had);
                    out.push((key, value.clone()));
                }
            }
        }
    }

    /// Says of a cell whose member has moved what is gone and what is new: it had `before` at the places
    /// `stood`.
    fn tell_move(&mut self, slot: Slot, before: &Lanes<R>, stood: &[(B, isize)], out: &mut Upserts<K, V>) {
        let ((member, axis), cell) = self.cells.get(slot);
        let stands = &self.members.get(cell.member).1.places;
        let is_in = |places: &[(B, isize)], place: &B| places.iter().any(|(other, _)| other == place);
        let nothing = Lanes::default();
        let gone = stood.iter().filter(|(place, _)| !is_in(stands, place));
        let gone = gone.map(|(place, _)| (place, before, &nothing));
        let stays = stands.iter().map(|(place, _)| match is_in(stood, place) {
            true => (place, before, &cell.amounts),
            false => (place, &nothing, &cell.amounts),
        });
        for (place, had, has) in gone.chain(stays).chain([(&self.publish.everywhere, before, &cell.amounts)]) {
            for (lane, now) in had.changes(has) {
                if let Some(key) = (self.publish.key)(member, axis, place, lane) {
                    self.keys = self.keys + usize::from(now.is_some()) - usize::from(had.get(lane).is_some());
                    out.push((key, now.map(|amount| (self.publish.value)(lane, amount))));
                }
            }
        }
    }

    /// Forgets a cell without amounts.
    fn drop_if_empty(&mut self, slot: Slot) {
        if !self.cells.get(slot).1.amounts.is_zero() {
            return;
        }
        let (_, cell) = self.cells.remove(slot);
        self.members.get_mut(cell.member).1.cells.retain(|other| *other != slot);
        self.forget_if_unknown(cell.member);
    }

    fn forget_if_unknown(&mut self, member: Slot) {
        if self.members.peek(member).is_some_and(|member| member.cells.is_empty() && member.places.is_empty()) {
            self.members.remove(member);
        }
    }
}

impl<M, A, B, R, K, V> Seal for Placed<M, A, B, R, K, V>
where
    M: ExchangeData + Hash,
    A: ExchangeData + Hash,
    B: ExchangeData,
    R: ExchangeData + Semigroup,
    V: Clone,
{
    type Key = K;
    type Value = V;

    fn cut(&mut self, upper: Tick) -> Upserts<K, V> {
        let touched = self.add_up(upper);
        let moved = self.move_members(upper);
        let mut out = Vec::with_capacity(self.told + self.told / 8);
        let mut before_of_moved: BTreeMap<Slot, &Lanes<R>> = BTreeMap::new();
        for (slot, before) in &touched {
            let cell = self.cells.get_mut(*slot).1;
            cell.is_touched = false;
            if self.members.get(cell.member).1.has_moved {
                before_of_moved.insert(*slot, before);
            } else {
                self.tell_changes(*slot, before, &mut out);
            }
        }
        for (member, stood) in &moved {
            let member = self.members.get_mut(*member).1;
            member.has_moved = false;
            for slot in member.cells.clone() {
                let before = before_of_moved
                    .get(&slot)
                    .map_or_else(|| self.cells.get(slot).1.amounts.clone(), |before| (*before).clone());
                self.tell_move(slot, &before, stood, &mut out);
            }
        }
        touched.iter().for_each(|(slot, _)| self.drop_if_empty(*slot));
        moved.iter().for_each(|(member, _)| self.forget_if_unknown(*member));
        self.told = out.len();
        out
    }

    fn len(&self) -> usize {
        self.keys
    }
}
