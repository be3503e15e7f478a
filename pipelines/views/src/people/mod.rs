//! People: who did what, and what is known of them.
//!
//! **Profile.** An event's state belongs to its `userId` if it has one, else to its `anonymousId`.
//! Identifiers are (kind, id) throughout. A profile is named by one of its identifiers: the least
//! user id as given, or `anon:<id>` where there is no user (no user id begins so: the decoder sees
//! to it).
//!
//! **Forgetting.** What an identifier did counts until nothing was heard of it for `people.profile_retention`; what it did
//! before a pause of that length counts no more. Links stay: they say who is who, not what anybody did.
//!
//! ```text
//!   events ──> facts by identifier ──┐
//!      └─────> links ──> places ─────┴─> stitch: a `Person` per profile ──> rows by kind
//! ```
//!
//! `identity` says which identifiers belong together; [`person::Person`] is the summary of one
//! profile, made of the states in [`orders`], [`recent`], [`activity`], [`affinity`], [`cart`] and
//! [`cells`]; the views, one file each, say what is published of it.

pub mod activity;
pub mod affinity;
pub mod cart;
pub mod cells;
pub mod identifier;
pub mod identity;
pub mod instant;
pub mod limits;
pub mod link;
pub mod options;
pub mod orders;
pub mod person;
pub mod plain;
pub mod recent;
pub mod rows;
pub mod seen;
pub mod small_map;

use std::rc::Rc;

use differential_dataflow::AsCollection;
use etalage_model::{Name, Tick};
use etalage_operators::{
    Collection,
    stitch::{Place, stitch},
};
use timely::dataflow::{
    Stream,
    operators::vec::{Map, Partition},
};

use crate::parts::{Batch, Parts};
use identity::Members;
use rows::{Row, STREAMS};

pub use identifier::{Identifier, Kind};
pub use limits::Limit;
pub use options::PeopleOptions;
pub use person::{Person, Rules};
pub use seen::Seen;

/// The people of a dataflow.
pub struct People<'scope> {
    members: Collection<'scope, (Name, Members)>,
    places: Collection<'scope, (Identifier, Place<Identifier>)>,
    rows: Vec<Stream<'scope, Tick, Vec<(Row, Tick, isize)>>>,
}

impl<'scope> People<'scope> {
    /// People as the events tell of them.
    pub(crate) fn new(parts: &Parts<'scope>) -> Self {
        let steps = parts.steps();
        let facts = move |(batch, tick, diff): (Batch, Tick, isize)| {
            let end = steps.end_of(tick);
            let facts = Seen::all(&batch).filter_map(|seen| Some((Identifier::of(seen.event())?, seen)));
            facts.map(|fact| (fact, end, diff)).collect::<Vec<_>>()
        };
        let facts = parts.batches().flat_map(facts).as_collection();
        let members = identity::members(parts);
        let places = identity::places(members.clone());
        let rules = Rc::new(Rules::new(&parts.options));
        let told = stitch::<Identifier, Person>(
            facts,
            places.clone(),
            rules,
            parts.kept("People by identifier"),
            parts.wiring("People of several identifiers"),
        );
        let rows = told.inner.partition(STREAMS as u64, |(row, tick, diff)| (row.stream() as u64, (row, tick, diff)));
        People { members, places, rows }
    }

    /// The identifiers of each profile that has several.
    pub fn members(&self) -> Collection<'scope, (Name, Members)> {
        self.members.clone()
    }

    /// Where each linked identifier belongs.
    pub fn places(&self) -> Collection<'scope, (Identifier, Place<Identifier>)> {
        self.places.clone()
    }

    /// The rows of a stream, as [`Row::stream`] numbers them.
    pub fn rows(&self, stream: usize) -> Collection<'scope, Row> {
        self.rows[stream].clone().as_collection()
    }
}
