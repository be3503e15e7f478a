//! What stands at places: the amounts of a member are published at every place at which the
//! member stands, and move with it.
//!
//! - **Input** `((member, axis), tick, Lanes<R>)` to be added up, and `((member, place), tick, diff)`.
//! - **Output** of the cut: a [`CellChange`] for each (member, axis) of which any amount, or any place
//!   that is one for the axis, is another than at the cut before. It stands for a key per place and lane
//!   with an amount, and those who want keys make them of it.
//! - **Time**: as in all sealing: what is below a cut counts, whatever happened meanwhile.
//! - **State bound**: per (member, axis) its amounts, per member its places, and the changes above the
//!   last cut.
//! - **Late data**: none can come below the frontier; anything may be retracted at a later tick.
//!
//! This says the same as a join of amounts and places, sealed by [`seal_sums`](super::seal_sums). But an
//! amount is held once, and not at every place, and whoever keeps what is published shares it.

use std::{cell::RefCell, collections::BTreeMap, hash::Hash, marker::PhantomData, rc::Rc, sync::Arc};

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

use super::{Pending, Seal, Sealing};
use crate::{
    Collection, Tick, count,
    lanes::Lanes,
    table::{Slot, Table, hash_of},
};

/// Amounts by lane, and whatever their readers need beside them.
pub trait Holds<R>: Clone + 'static {
    /// The amounts.
    fn amounts(&self) -> &Lanes<R>;
    /// The same, to be changed.
    fn amounts_mut(&mut self) -> &mut Lanes<R>;
}

impl<R: Clone + 'static> Holds<R> for Lanes<R> {
    fn amounts(&self) -> &Lanes<R> {
        self
    }
    fn amounts_mut(&mut self) -> &mut Lanes<R> {
        self
    }
}

/// Where members stand, and what their amounts are held in.
pub struct Places<A, B, H> {
    /// The place where every member stands without being placed there.
    pub everywhere: B,
    /// Whether a place is one for an axis.
    pub is_place: Box<dyn Fn(&A, &B) -> bool>,
    /// What holds the amounts of those that have none.
    pub nothing: Arc<H>,
}

/// What changed of a member on one axis between two cuts.
#[derive(Clone, Debug)]
pub struct CellChange<M, A, B, H> {
    /// Of which member.
    pub member: M,
    /// On which axis.
    pub axis: A,
    /// Where it stands.
    pub stands: SmallVec<[B; 4]>,
    /// Of these, where it did not stand before.
    pub joined: Vec<B>,
    /// Where it stands no longer.
    pub left: Vec<B>,
    /// The lanes in which the amounts differ.
    pub changed: SmallVec<[u8; 8]>,
    /// The amounts of before.
    pub was: Arc<H>,
    /// The amounts of now.
    pub now: Arc<H>,
}

impl<M, A, B: PartialEq, H> CellChange<M, A, B, H> {
    /// The places and lanes of which the amount is another than before, each with it.
    pub fn changes<R>(&self) -> impl Iterator<Item = (&B, u8, Option<&R>)>
    where
        H: Holds<R>,
        R: Semigroup + PartialEq + 'static,
    {
        let (was, now) = (self.was.amounts(), self.now.amounts());
        let joined = self.joined.iter().flat_map(move |place| now.iter().map(move |(lane, r)| (place, lane, Some(r))));
        let left = self.left.iter().flat_map(move |place| was.iter().map(move |(lane, _)| (place, lane, None)));
        let stays = self.stands.iter().filter(|place| !self.joined.contains(place));
        let stays = stays.flat_map(move |place| self.changed.iter().map(move |lane| (place, *lane, now.get(*lane))));
        stays.chain(joined).chain(left)
    }
}

/// Amounts by member, axis and lane, and places by member.
pub struct Placed<M, A, B, R, H> {
    places: Places<A, B, H>,
    amounts: Pending<((M, A), Lanes<R>)>,
    moves: Pending<((M, B), isize)>,
    cells: Table<(M, A), Cell<H>>,
    members: Table<M, Member<B>>,
    /// How many places and lanes have an amount.
    keys: usize,
    _amounts: PhantomData<R>,
}

/// The amounts of a member on one axis.
#[derive(Clone)]
struct Cell<H> {
    amounts: Arc<H>,
    member: Slot,
    is_touched: bool,
}

/// Places with counts, which are 1 outside a cut.
type Counts<B> = SmallVec<[(B, isize); 3]>;

/// Where a member stands, and its cells.
#[derive(Clone)]
struct Member<B> {
    places: Counts<B>,
    cells: SmallVec<[Slot; 2]>,
    has_moved: bool,
}

/// Seals amounts of members at their places; members are dealt to the workers by their hash.
pub fn seal_placed<'scope, C, M, A, B, R, H>(
    amounts: Collection<'scope, C, Lanes<R>>,
    places: Collection<'scope, (M, B)>,
    name: &str,
    wanted: Places<A, B, H>,
) -> Sealing<'scope, Placed<M, A, B, R, H>>
where
    C: ExchangeData + Into<(M, A)>,
    M: ExchangeData + Hash,
    A: ExchangeData + Hash,
    B: ExchangeData,
    R: ExchangeData + Semigroup,
    H: Holds<R>,
{
    let seal = Rc::new(RefCell::new(Placed::new(wanted)));
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

impl<M, A, B, R, H> Placed<M, A, B, R, H>
where
    M: ExchangeData + Hash,
    A: ExchangeData + Hash,
    B: ExchangeData,
    R: ExchangeData + Semigroup,
    H: Holds<R>,
{
    fn new(places: Places<A, B, H>) -> Self {
        Placed {
            places,
            amounts: Pending::default(),
            moves: Pending::default(),
            cells: Table::default(),
            members: Table::default(),
            keys: 0,
            _amounts: PhantomData,
        }
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
    fn add_up(&mut self, upper: Tick) -> Vec<(Slot, Arc<H>)> {
        let mut changes = self.amounts.take_below(upper);
        let hints = self.cells.look_ahead(changes.iter().map(|(key, _)| key), |cell| u64::from(cell.is_touched));
        let mut touched = Vec::with_capacity(changes.len());
        for ((key, diff), hint) in changes.drain(..).zip(hints) {
            let slot = self.cells.find_near(hint, &key).unwrap_or_else(|| self.new_cell(&key));
            let cell = self.cells.get_mut(slot).1;
            if !std::mem::replace(&mut cell.is_touched, true) {
                touched.push((slot, Arc::clone(&cell.amounts)));
            }
            // What was handed out stays as it is: the first change of a cut makes a copy.
            Arc::make_mut(&mut cell.amounts).amounts_mut().plus_equals(&diff);
        }
        self.amounts.reuse(changes);
        touched
    }

    fn new_cell(&mut self, key: &(M, A)) -> Slot {
        let member = self.member(&key.0);
        let fresh = || Cell { amounts: Arc::clone(&self.places.nothing), member, is_touched: false };
        let slot = self.cells.find_or_insert(key, fresh);
        self.members.get_mut(member).1.cells.push(slot);
        slot
    }

    /// Moves the members of which that has come below `upper`; gives them with where they stood before.
    fn move_members(&mut self, upper: Tick) -> Vec<(Slot, Counts<B>)> {
        let mut moved = Vec::new();
        for ((member, place), diff) in self.moves.take_below(upper) {
            if place == self.places.everywhere {
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

    /// What changed of a cell that had `was`, its member having stood at the places `stood`, if it has
    /// moved.
    fn change(&mut self, slot: Slot, was: Arc<H>, stood: Option<&Counts<B>>) -> Option<CellChange<M, A, B, H>> {
        let ((member, axis), cell) = self.cells.get(slot);
        let is_place = |place: &&B| (self.places.is_place)(axis, place);
        let of = |places: &Counts<B>| places.iter().map(|(place, _)| place).filter(is_place).cloned().collect();
        let mut stands: SmallVec<[B; 4]> = of(&self.members.get(cell.member).1.places);
        let (mut joined, mut left) = (Vec::new(), Vec::new());
        if let Some(stood) = stood {
            let stood: SmallVec<[B; 4]> = of(stood);
            joined.extend(stands.iter().filter(|place| !stood.contains(place)).cloned());
            left.extend(stood.into_iter().filter(|place| !stands.contains(place)));
        }
        stands.extend(Some(&self.places.everywhere).filter(is_place).cloned());
        let now = Arc::clone(&cell.amounts);
        let (had, has) = (was.amounts().count(), now.amounts().count());
        let (before, after) = (stands.len() + left.len() - joined.len(), stands.len());
        self.keys = self.keys + has * after - had * before;
        let changed: SmallVec<[u8; 8]> = was.amounts().changes(now.amounts()).map(|(lane, _)| lane).collect();
        let stays = stands.len() > joined.len() && !changed.is_empty();
        let is_told = stays || (!joined.is_empty() && has > 0) || (!left.is_empty() && had > 0);
        let (member, axis) = (member.clone(), axis.clone());
        is_told.then_some(CellChange { member, axis, stands, joined, left, changed, was, now })
    }

    /// Forgets a cell without amounts.
    fn drop_if_empty(&mut self, slot: Slot) {
        if !self.cells.get(slot).1.amounts.amounts().is_zero() {
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

impl<M, A, B, R, H> Seal for Placed<M, A, B, R, H>
where
    M: ExchangeData + Hash,
    A: ExchangeData + Hash,
    B: ExchangeData,
    R: ExchangeData + Semigroup,
    H: Holds<R>,
{
    type Change = CellChange<M, A, B, H>;

    fn cut(&mut self, upper: Tick) -> Vec<Self::Change> {
        let touched = self.add_up(upper);
        let moved = self.move_members(upper);
        let mut changes = Vec::with_capacity(touched.len());
        let mut before_of_moved: BTreeMap<Slot, Arc<H>> = BTreeMap::new();
        for (slot, was) in &touched {
            let cell = self.cells.get_mut(*slot).1;
            cell.is_touched = false;
            if self.members.get(cell.member).1.has_moved {
                before_of_moved.insert(*slot, Arc::clone(was));
            } else {
                changes.extend(self.change(*slot, Arc::clone(was), None));
            }
        }
        for (member, stood) in &moved {
            let member = self.members.get_mut(*member).1;
            member.has_moved = false;
            for slot in member.cells.clone() {
                let was = before_of_moved.remove(&slot).unwrap_or_else(|| Arc::clone(&self.cells.get(slot).1.amounts));
                changes.extend(self.change(slot, was, Some(stood)));
            }
        }
        touched.iter().for_each(|(slot, _)| self.drop_if_empty(*slot));
        moved.iter().for_each(|(member, _)| self.forget_if_unknown(*member));
        changes
    }

    fn len(&self) -> usize {
        self.keys
    }
}
