//! The first K open members of every group, by score.
//!
//! - **Input** one collection of several kinds of [`Feed`] about members `M`:
//!   scores per axis `A` (a segment, say), to be added up: the difference is how much in each lane (by
//!   half-life, say); or what happened when, which counts in the lane of each rolling window that holds it;
//!   places `B`: where the member stands (a category, say);
//!   gates: open with a payload `P` (units available), or closed.
//! - **Output** `(((A, B, lane), list), tick, ±1)`: for each group, an axis at a place, and lane the list
//!   of its first K members that are open and have a score above 0, by (score descending, member
//!   ascending), each with score and payload. A group with none has no row.
//! - **Time** is the tick. Where there are windows, what happened leaves them as [`crate::expire`] says; else
//!   nothing happens by time alone. At every tick the list is exact: a member that closes leaves and its
//!   successor enters at that tick.
//! - **State bound**: per (member, axis) its scores, and a leaf in each of its groups, and as many
//!   again that had scores before; with windows, the rows of [`crate::expire`]; per group and lane bounds
//!   over its leaves and at most [`BUFFER_FACTOR`] × K of them at hand.
//! - **Late data**: every input may be retracted at any later tick.
//!
//! ```text
//!  scores, or ────┐                       stage 1, by member            stage 2, by group
//!  what happened  │
//!  places ────────┼─exchange by member──> cells, leaves, lists  ──rows──> merge of at most
//!  gates ─────────┘                       K candidates a group            workers × K rows ──> lists
//! ```
//! (A worker that is alone has all members: stage 1 gives the lists themselves.)
//!
//! Windows could stand before this as an operator of their own. Here what leaves a window finds its scores at
//! once; there it would be told by key, and looked for again.
//!
//! A change costs O(K + log n) of the group's members, spread over the changes (`leaves` says what one
//! question may cost): most changes concern members far from the cut and write one score; only the
//! first K are in order (`list`). What comes out is made once a tick.

mod board;
mod groups;
mod leaves;
mod list;
mod seats;
mod stage_one;
mod stage_two;

use std::{hash::Hash, ops::Deref, rc::Rc, sync::Arc};

use differential_dataflow::ExchangeData;
use serde::{Deserialize, Serialize};

use crate::{
    Collection,
    expire::{BucketRow, Windows},
    inflow::Inflow,
    lanes::Lanes,
    shell::{Wiring, run},
};

pub use stage_one::{Feed, StageOne};
pub use stage_two::StageTwo;

/// How many times K members a group keeps at hand.
pub const BUFFER_FACTOR: usize = 6;

/// A member of a list: who, score, payload of its gate.
pub type Ranked<M, P> = (M, i64, P);

/// A list, best first. Lists are shared: of a list that is taken back and one that is kept no copy is
/// made, and that they are the same is seen without looking at their members.
#[derive(Clone, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(bound(serialize = "M: Serialize, P: Serialize", deserialize = "M: Deserialize<'de>, P: Deserialize<'de>"))]
pub struct Ranking<M, P>(Arc<[Ranked<M, P>]>);

impl<M, P> Default for Ranking<M, P> {
    fn default() -> Self {
        Ranking(Arc::new([]))
    }
}
impl<M: PartialEq, P: PartialEq> PartialEq for Ranking<M, P> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}
impl<M: Eq, P: Eq> Eq for Ranking<M, P> {}
impl<M, P> Deref for Ranking<M, P> {
    type Target = [Ranked<M, P>];
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
impl<M, P> FromIterator<Ranked<M, P>> for Ranking<M, P> {
    fn from_iter<I: IntoIterator<Item = Ranked<M, P>>>(ranked: I) -> Self {
        Ranking(ranked.into_iter().collect())
    }
}
impl<M, P, T: Into<Arc<[Ranked<M, P>]>>> From<T> for Ranking<M, P> {
    fn from(ranked: T) -> Self {
        Ranking(ranked.into())
    }
}

/// Score descending, then member ascending; where a payload is another, that decides last.
fn by_rank<M: Ord, P: Ord>(a: &Ranked<M, P>, b: &Ranked<M, P>) -> std::cmp::Ordering {
    b.1.cmp(&a.1).then_with(|| (&a.0, &a.2).cmp(&(&b.0, &b.2)))
}

/// Which lists there are, and how long they get.
pub struct TopKOptions<M, A, B, P> {
    /// How many members a list has at the most; at least 1.
    pub k: usize,
    /// How many lanes scores have, each with lists of its own; at least 1.
    pub lanes: usize,
    /// A window for each lane, where scores are what happened within it; the phases of its buckets are
    /// those of members. Without windows, scores are told as such.
    pub windows: Option<Windows>,
    /// Places that every member has without being placed there.
    pub everywhere: Vec<B>,
    /// Whether an axis at a place makes a group.
    pub is_group: Rc<dyn Fn(&A, &B) -> bool>,
    /// The gate of a member that has none: `None` is closed.
    pub without_gate: Option<P>,
    /// A number that orders members as far as it goes: of two members the lesser never has the
    /// greater. Members of one score are compared by it first; `|_| 0` is always right.
    pub tie: fn(&M) -> u64,
}

impl<M, A, B: Clone, P: Clone> Clone for TopKOptions<M, A, B, P> {
    fn clone(&self) -> Self {
        TopKOptions {
            k: self.k,
            lanes: self.lanes,
            windows: self.windows.clone(),
            everywhere: self.everywhere.clone(),
            is_group: Rc::clone(&self.is_group),
            without_gate: self.without_gate.clone(),
            tie: self.tie,
        }
    }
}

/// A part of stage 1's state of a member, as exported.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TopKRow<M, A, B, P> {
    /// Scores, a place or a gate.
    Held(Feed<M, A, B, P>, Lanes<i64>),
    /// What happened to it on an axis.
    Happened((M, A), BucketRow<i64>),
}

impl<M, A, B, P> TopKRow<M, A, B, P> {
    fn member(&self) -> &M {
        match self {
            TopKRow::Held(feed, _) => feed.member(),
            TopKRow::Happened((member, _), _) => member,
        }
    }
}

/// Top-k over a collection of [`Feed`]s, or an [`Inflow`] of them.
pub trait TopK<'scope, M, A, B, P>
where
    M: ExchangeData + Hash + Sync,
    A: ExchangeData + Hash,
    B: ExchangeData + Hash,
    P: ExchangeData + Sync,
{
    /// The lists of all groups. The name of `wiring` names stage 1; the exported rows are its.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use differential_dataflow::input::Input;
    /// use etalage_operators::{lanes::Lanes, shell::Wiring, top_k::{Feed, TopK, TopKOptions}};
    ///
    /// timely::example(|scope| {
    ///     let item = |name: &str| name.to_string();
    ///     let feed = scope.new_collection_from_raw(vec![
    ///         (Feed::Score((item("shoe"), 0u8)), 0, Lanes::of([7i64, 9])),
    ///         (Feed::Place(item("shoe"), item("sport")), 0, Lanes::one(0, 1)),
    ///         (Feed::Gate(item("shoe"), Some(3i64)), 0, Lanes::one(0, 1)),
    ///     ]).1;
    ///     let options = TopKOptions {
    ///         k: 10, lanes: 2, windows: None, everywhere: vec![item("")], is_group: Rc::new(|_, _| true),
    ///         without_gate: None, tie: |_| 0,
    ///     };
    ///     feed.top_k(options, Wiring::fresh("TopK", scope));
    /// });
    /// ```
    fn top_k(
        self,
        options: TopKOptions<M, A, B, P>,
        wiring: Wiring<'scope, TopKRow<M, A, B, P>>,
    ) -> Collection<'scope, ((A, B, u8), Ranking<M, P>)>;
}

impl<'scope, M, A, B, P, I> TopK<'scope, M, A, B, P> for I
where
    I: Into<Inflow<'scope, Feed<M, A, B, P>, Lanes<i64>>>,
    M: ExchangeData + Hash + Sync,
    A: ExchangeData + Hash,
    B: ExchangeData + Hash,
    P: ExchangeData + Sync,
{
    fn top_k(
        self,
        options: TopKOptions<M, A, B, P>,
        wiring: Wiring<'scope, TopKRow<M, A, B, P>>,
    ) -> Collection<'scope, ((A, B, u8), Ranking<M, P>)> {
        let feed = self.into();
        let (scope, steps) = (feed.scope(), wiring.steps.clone());
        let (k, is_alone) = (options.k, scope.peers() == 1);
        let candidates = run(
            feed,
            wiring,
            StageOne::new(options, is_alone),
            |feed: &Feed<M, A, B, P>| feed.member().clone(),
            |row| row.member().clone(),
        );
        if is_alone {
            return candidates;
        }
        run(
            candidates,
            Wiring::fresh("TopK: merge", scope).in_steps(&steps),
            StageTwo::new(k),
            |(group, _)| group.clone(),
            |(group, _)| group.clone(),
        )
    }
}

#[cfg(test)]
mod tests;
