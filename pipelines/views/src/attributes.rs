//! What an item is at present: its category path and its brand.
//!
//! The catalogue decides, by the newest entry in (`updated_at`, `messageId`); for an attribute
//! that it does not state, the newest event in (`timestamp`, `messageId`) that states one. Where one
//! event states two, in two lines of the item, the greater text holds.

use etalage_model::{Catalogue, CatalogueEntry, Message, Record, Sym};
use etalage_operators::{
    Collection,
    inflow::Inflow,
    reduce::ReduceSmall,
    upsert::{Op, Upsert, UpsertOptions},
};
use serde::{Deserialize, Serialize};

use crate::{
    lines,
    parts::Parts,
    scope::{Dimension, Part, Scopes},
};

/// How many superseded statements are kept per item, so that a newer one can be taken back.
pub const KEEP_SUPERSEDED: usize = 8;

/// Order of last-write-wins: when, then messageId.
pub type Order = (u64, Box<str>);

/// Category or brand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Attribute {
    /// The category path.
    Category,
    /// The brand.
    Brand,
}

impl Attribute {
    const ALL: [(Attribute, Dimension); 2] =
        [(Attribute::Category, Dimension::Category), (Attribute::Brand, Dimension::Brand)];

    fn of_entry(self, entry: &CatalogueEntry) -> Option<Sym> {
        match self {
            Attribute::Category => entry.category,
            Attribute::Brand => entry.brand,
        }
    }

    fn of_line(self, item: &etalage_model::Item) -> Option<Sym> {
        match self {
            Attribute::Category => item.category,
            Attribute::Brand => item.brand,
        }
    }
}

/// An item deleted from the catalogue stays known as withdrawn: it must not be shown.
pub fn entry_in_force(catalogue: &Catalogue) -> CatalogueEntry {
    let deleted = || CatalogueEntry { withdrawn: true, ..CatalogueEntry::default() };
    catalogue.entry.clone().unwrap_or_else(deleted)
}

/// The catalogue messages of a batch, as ordered changes.
pub fn catalogue_changes(batch: &[Record]) -> Vec<(Sym, (Order, Op<CatalogueEntry>))> {
    let changes = batch.iter().filter_map(|record| match &record.message {
        Message::Catalogue(item) => {
            let order = (item.updated_at.0, item.message_id.as_str().into());
            Some((item.item_id, (order, Op::Set(entry_in_force(item)))))
        }
        _ => None,
    });
    changes.collect()
}

/// What the events of a batch state of their items, of the attributes that scopes use.
pub fn statements(batch: &[Record], scopes: &Scopes) -> Vec<((Sym, Attribute), (Order, Op<Sym>))> {
    let used: Vec<Attribute> = used(scopes).collect();
    let mut statements = Vec::new();
    for event in lines::events(batch) {
        for item in &event.items {
            for attribute in &used {
                if let Some(value) = attribute.of_line(item) {
                    let order = (event.timestamp.0, event.message_id.as_str().into());
                    statements.push(((item.item_id, *attribute), (order, Op::Set(value))));
                }
            }
        }
    }
    statements
}

/// The attributes that some scope is made of.
pub fn used(scopes: &Scopes) -> impl Iterator<Item = Attribute> {
    Attribute::ALL.into_iter().filter(|(_, dimension)| scopes.uses(*dimension)).map(|(attribute, _)| attribute)
}

/// The catalogue entry in force of each item.
pub fn catalogue<'scope>(parts: &Parts<'scope>) -> Collection<'scope, (Sym, CatalogueEntry)> {
    let options = UpsertOptions { keep_superseded: KEEP_SUPERSEDED, add: |_, _| {} };
    parts.found_once(catalogue_changes).upsert(options, parts.kept("Catalogue"), |item| *item)
}

/// The places of each item: the item parts of the scopes in which it stands.
pub fn places<'scope>(parts: &Parts<'scope>) -> Collection<'scope, (Sym, Part)> {
    let scopes = parts.options.scopes.clone();
    let attributes: Vec<Attribute> = used(&scopes).collect();
    let statements = parts.found_once({
        let scopes = scopes.clone();
        move |batch| statements(batch, &scopes)
    });
    let options = UpsertOptions { keep_superseded: KEEP_SUPERSEDED, add: |_, _| {} };
    let stated = statements.upsert(options, parts.kept("Statements"), |(item, _)| *item);
    let stated = Inflow::of(stated, |((item, attribute), value), diff| ((*item, (*attribute, false, *value)), *diff));
    let listed = parts.catalogue().flat_map(move |(item, entry)| {
        let of_entry =
            |attribute: &Attribute| attribute.of_entry(&entry).map(|value| (item, (*attribute, true, value)));
        attributes.iter().filter_map(of_entry).collect::<Vec<_>>()
    });
    stated.and(listed).reduce_small(
        parts.wiring("Places"),
        |item| *item,
        move |_item, facts: &[((Attribute, bool, Sym), isize)], out| {
            let best = |attribute: Attribute| {
                let of_attribute = facts.iter().map(|(fact, _)| *fact).filter(|fact| fact.0 == attribute);
                of_attribute.max_by_key(|(_, is_listed, _)| *is_listed).map(|(_, _, value)| value)
            };
            out.extend(scopes.item_parts(best(Attribute::Category), best(Attribute::Brand)));
            out.sort_unstable();
            out.dedup();
        },
    )
}
