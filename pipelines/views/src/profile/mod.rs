//! Views of a profile, one file each: the row, how it is made of a person's summary, and the same
//! from the person's events, plainly.
//!
//! Their keys are `{"profile_id"}`. One who did nothing that a view is about has no row in it.

pub mod activity;
pub mod affinity;
pub mod cart;
pub mod customer_status;
pub mod identifiers;
pub mod purchases;
pub mod recent_views;
pub mod snapshot;
pub mod value;

use std::collections::BTreeMap;

use etalage_model::{EventKind, Key, Name};
use etalage_operators::seal::seal_differences;
use serde::Serialize;

use crate::{
    oracle::{History, json},
    parts::Parts,
    people::{
        Identifier, plain,
        rows::{Feature, Profiled, Row},
    },
    sealed::{Published, Sealable},
};

/// Everything that somebody does.
const BEHAVIOUR: &[EventKind] = &[
    EventKind::ViewItem,
    EventKind::ViewItemList,
    EventKind::SelectItem,
    EventKind::AddToCart,
    EventKind::RemoveFromCart,
    EventKind::ViewCart,
    EventKind::BeginCheckout,
    EventKind::Purchase,
    EventKind::Refund,
    EventKind::Search,
    EventKind::ViewPromotion,
    EventKind::SelectPromotion,
    EventKind::Page,
    EventKind::Other,
];

/// The fields of a profile's key.
pub const KEY_FIELDS: &[&str] = &["profile_id"];

/// The dataflow of a profile's view.
fn build<'scope>(parts: &Parts<'scope>, feature: Feature, name: &str) -> Box<dyn Sealable<'scope> + 'scope> {
    let rows = parts.people().rows(feature as usize).flat_map(|row| match row {
        Row::Profiled(profile, row) => Some((profile, row)),
        _ => None,
    });
    let publish = |profile: Name, row: Option<Profiled>| (Key::of_person(profile, &[]), row.map(Profiled::value));
    Published::rows(seal_differences(rows, name, Name::clone), publish)
}

/// What `row` makes of the events of each profile.
fn plainly<R: Serialize>(
    history: &History<'_>,
    row: impl Fn(&Identifier, &[&etalage_model::Event]) -> Option<R>,
) -> BTreeMap<Key, String> {
    let rows = plain::profiles(history).into_iter().filter_map(|(owner, events)| {
        let row = row(&owner, &events)?;
        Some((Key::of_person(owner.profile_id(), &[]), json(&row)))
    });
    rows.collect()
}
