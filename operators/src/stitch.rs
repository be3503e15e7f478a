//! Stitching: what is known of somebody who goes by several identifiers, as of every tick.
//!
//! - **Input** `((id, fact), tick, diff)`: something happened, and `id` says to whom;
//!   `((id, (owner, generation)), tick, ±1)`: `id` is one of the identifiers of `owner`, who has, as
//!   long as `generation` stays, the same identifiers. An id without a place is an owner by itself.
//! - **Output** what the [`Summary`] of each owner tells, as differences.
//! - **Time** is the tick. What a summary tells may change by time alone ([`Summary::due`]).
//! - **State bound**: a summary per identifier that is not forgotten; of an owner of several, one per identifier, and one of
//!   all. Places stay until they are retracted.
//! - **Late data**: a summary does not depend on the order of its facts. A summary is bounded, so that
//!   no single fact can be taken out of it: a tick retracts of an identifier either nothing, or all
//!   that it had before, at whatever ticks that came. With the facts the identifier leaves its place;
//!   where it has one again by the end of the same step, that is of another generation.
//!
//! ```text
//!   facts ───┐                 ┌── alone ──────────────────────> what is told
//!            ├─> by identifier ┤                                     ^
//!   places ──┘   (summaries)   └── facts, whole summaries ──> by owner (merged)
//! ```
//!
//! Where an owner of one identifier needs no place, it is kept with its identifier and costs nothing more. The summary of
//! an identifier stays with it wherever it belongs, so that a link can be taken back: when the
//! identifiers of an owner change, so does its generation, and every one of them hands its summary
//! to the new one; the old one is dropped as a whole. Until then each fact goes into both.
//!
//! **Forgetting.** An identifier of which nothing was heard for long ([`Forgetting`]) is forgotten, whoever it belongs to:
//! what it did before a pause of that length counts no more. So what counts of an identifier is a matter of its facts and the
//! tick, and what counts of an owner is what counts of its identifiers.

mod identifiers;
mod owners;
mod spans;

use std::{cmp::Ordering, fmt::Debug, hash::Hash, rc::Rc, sync::Arc};

use differential_dataflow::{AsCollection, ExchangeData};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use timely::dataflow::operators::{OkErr, vec::Map};

pub use identifiers::IdentifierRow;
pub use spans::{Forgetting, SpanRow};

use crate::{
    Collection, Tick,
    dues::Dues,
    inflow::Inflow,
    shell::{Wiring, run},
    table::Slot,
};
use identifiers::Identifiers;
use owners::Owners;

/// What is known of somebody: a fold of facts whose order does not matter.
///
/// It remembers what it has told, so that it tells differences. A clone has told nothing ([`Told`]).
pub trait Summary<Id>: Clone + Debug + Default + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Something that happened.
    type Fact: ExchangeData;
    /// What is told.
    type Row: ExchangeData;
    /// What it goes by: the same for all summaries, for ever.
    type Rules: 'static;
    /// When an identifier is forgotten.
    fn forgetting(_rules: &Self::Rules) -> Forgetting {
        Forgetting::NEVER
    }
    /// When it happened, in microseconds of event time: asked for where something is forgotten.
    fn at_us(_fact: &Self::Fact) -> u64 {
        0
    }
    /// Takes in a fact.
    fn absorb(&mut self, fact: &Self::Fact, rules: &Self::Rules);
    /// Takes in all that `other` has taken in.
    fn merge(&mut self, other: &Self, rules: &Self::Rules);
    /// Tells what has changed since it last told anything, as of `tick`.
    fn settle(&mut self, owner: &Id, tick: Tick, rules: &Self::Rules, tell: &mut dyn FnMut(Self::Row, isize));
    /// Takes back everything that it has told. Facts may have been taken in since.
    fn withdraw(&mut self, owner: &Id, rules: &Self::Rules, tell: &mut dyn FnMut(Self::Row, isize));
    /// Reads what taking in a fact will need, so that it is at hand then.
    fn peek(&self) -> u64 {
        0
    }
    /// The next tick at which it may have something to tell by time alone: above the last at which it
    /// was settled.
    fn due(&self) -> Option<Tick> {
        None
    }
}

/// What a summary has told: nothing, in a copy of it.
#[derive(Debug)]
pub struct Told<T>(pub Option<T>);

impl<T> Clone for Told<T> {
    fn clone(&self) -> Self {
        Told(None)
    }
}
impl<T> Default for Told<T> {
    fn default() -> Self {
        Told(None)
    }
}

/// Whose an identifier is, and the generation of that owner.
pub type Place<Id> = (Id, u64);

/// What flows to the identifiers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Feed<Id, F> {
    Fact(Id, F),
    Place(Id, Place<Id>),
}

impl<Id, F> Feed<Id, F> {
    fn id(&self) -> &Id {
        match self {
            Feed::Fact(id, _) | Feed::Place(id, _) => id,
        }
    }
}

/// What flows from an identifier to its owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Part<Id, F, W> {
    /// An identifier that is there takes in a fact.
    Fact(Id, F),
    /// An identifier comes, or comes once more, with all that counts of it, if anything.
    Comes(Id, W),
    Goes(Id),
}

/// A summary on its way: not to be compared with others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Whole<S>(Option<Arc<S>>);

impl<S: Clone> Whole<S> {
    fn of(summary: Option<S>) -> Self {
        Whole(summary.map(Arc::new))
    }

    fn take(self) -> Option<S> {
        self.0.map(Arc::unwrap_or_clone)
    }
}

impl<S> PartialEq for Whole<S> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl<S> Eq for Whole<S> {}
impl<S> PartialOrd for Whole<S> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<S> Ord for Whole<S> {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}

/// What comes out of the identifiers: rows, or parts of their owners.
type Either<Id, S> = Result<<S as Summary<Id>>::Row, (Place<Id>, Part<Id, <S as Summary<Id>>::Fact, Whole<S>>)>;

/// What `rules` make of the `facts` of each owner, identifiers standing where `places` say.
///
/// Each stage runs where the hash of its keys says: of the identifier, and of the owner. `wiring` is
/// the first one's, `of_owners` the second one's, in the same steps; it exports nothing, since the
/// identifiers hand everything over again.
pub fn stitch<'scope, Id, S>(
    facts: Collection<'scope, (Id, S::Fact)>,
    places: Collection<'scope, (Id, Place<Id>)>,
    rules: Rc<S::Rules>,
    wiring: Wiring<'scope, IdentifierRow<Id, S>>,
    of_owners: Wiring<'scope, ()>,
) -> Collection<'scope, S::Row>
where
    Id: ExchangeData + Hash,
    S: Summary<Id>,
{
    let places = Inflow::of(places, |(id, place), diff| (Feed::Place(id.clone(), place.clone()), *diff));
    let facts = Inflow::of(facts, |(id, fact), diff| (Feed::Fact(id.clone(), fact.clone()), *diff));
    let feed = facts.and(places);
    let identifiers = Identifiers::<Id, S>::new(Rc::clone(&rules));
    let out = run(feed, wiring, identifiers, |feed| feed.id().clone(), |(id, _)| id.clone());
    let (told, parts) = out.inner.ok_err(|(either, tick, diff)| match either {
        Ok(row) => Ok((row, tick, diff)),
        Err(part) => Err((part, tick, diff)),
    });
    let owners = Owners::<Id, S>::new(rules);
    let merged = run(
        parts.as_collection(),
        of_owners,
        owners,
        |((owner, _), _)| owner.clone(),
        |()| unreachable!("owners export no rows"),
    );
    told.as_collection().concat(merged)
}

/// As [`stitch`], where every identifier stays by itself.
pub fn summarize<'scope, Id, S>(
    facts: Collection<'scope, (Id, S::Fact)>,
    rules: Rc<S::Rules>,
    wiring: Wiring<'scope, IdentifierRow<Id, S>>,
) -> Collection<'scope, S::Row>
where
    Id: ExchangeData + Hash,
    S: Summary<Id>,
{
    let feed = facts.map(|(id, fact)| Feed::Fact(id, fact));
    let out = run(feed, wiring, Identifiers::<Id, S>::new(rules), |feed| feed.id().clone(), |(id, _)| id.clone());
    out.inner.flat_map(|(either, tick, diff)| either.ok().map(|row| (row, tick, diff))).as_collection()
}

/// Sees to it that a summary which says that it is `next` due is looked at then, or before.
fn look_at(slot: Slot, due: &mut Option<Tick>, next: Option<Tick>, tick: Tick, dues: &mut Dues) {
    let Some(next) = next.filter(|next| due.is_none_or(|due| *next < due)) else { return };
    debug_assert!(next > tick, "a summary that was settled is due later");
    due.replace(next).into_iter().for_each(|before| dues.remove(before, slot));
    dues.add(next, slot);
}

#[cfg(test)]
mod tests;
