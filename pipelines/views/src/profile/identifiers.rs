//! `profile.identifiers`: by which identifiers somebody goes.
//!
//! - **Input** what `identity.assignment` is made of.
//! - **Output** profile → its identifiers, in order, for every profile that has several.
//! - **Time** plays no part but that of order.

use std::{collections::BTreeMap, sync::Arc};

use etalage_model::{Group, Key, KeyFields, Name, Value, ViewValue, Written};
use etalage_operators::seal::seal_differences;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::KEY_FIELDS;
use crate::{
    VIEWS, View,
    oracle::{History, json},
    parts::Parts,
    people::{
        Identifier, Kind,
        identifier::ANONYMOUS_PREFIX,
        identity::{self, Members, plain_owners},
    },
    row_schema,
    sealed::{Published, Sealable},
};

/// The view's name.
pub const NAME: &str = "profile.identifiers";

/// The view.
pub const VIEW: View = View {
    name: NAME,
    group: Group::Customer,
    key_fields: KEY_FIELDS,
    about: "the identifiers by which somebody goes, where there are several",
    has_window_start: false,
    causes: identity::LINKS,
    schema: || row_schema::<Row>(),
    read: Written::known::<WrittenRow>,
    build,
    oracle,
};

/// A row as readers see it.
#[derive(Debug, JsonSchema, Serialize)]
struct Row {
    identifiers: Vec<Entry>,
}

#[derive(Debug, JsonSchema, Serialize)]
struct Entry {
    kind: &'static str,
    id: String,
    #[serde(skip)]
    identifier: Identifier,
}

/// A row that another process has made.
#[derive(Deserialize)]
struct WrittenRow {
    identifiers: Vec<WrittenEntry>,
}

#[derive(Deserialize)]
struct WrittenEntry {
    kind: String,
    id: String,
}

fn row(members: &[Identifier]) -> Row {
    let entry = |identifier: &Identifier| Entry {
        kind: identifier.kind.name(),
        id: identifier.id.as_str().to_owned(),
        identifier: identifier.clone(),
    };
    Row { identifiers: members.iter().map(entry).collect() }
}

/// The identifiers of whoever `text` stands for, as readers may write it; `value` gives the value of a
/// view's key.
pub fn identifiers_of(text: &str, value: impl Fn(&str, &KeyFields) -> Option<Value>) -> Vec<Identifier> {
    if let Some(profile) = identity::RESOLVE.profile(text, &value) {
        return of_profile(profile, value);
    }
    // Nobody is linked: a user, or a visitor whose id may be given as it was sent.
    if let Some(visitor) = text.strip_prefix(ANONYMOUS_PREFIX) {
        return vec![Identifier::anonymous(visitor)];
    }
    let has_row = |identifier: &Identifier| {
        let key = KeyFields(vec![identifier.profile_id().to_string()]);
        VIEWS.iter().any(|view| view.names_profile() && value(view.name, &key).is_some())
    };
    let both = [Identifier::user(text), Identifier::anonymous(text)];
    let known: Vec<Identifier> = both.iter().find(|identifier| has_row(identifier)).cloned().into_iter().collect();
    // Of one who has no row any more it is not known which it was.
    if known.is_empty() { both.into() } else { known }
}

fn of_profile(profile: String, value: impl Fn(&str, &KeyFields) -> Option<Value>) -> Vec<Identifier> {
    let found = value(NAME, &KeyFields(vec![profile.clone()]));
    found.as_deref().and_then(members).unwrap_or_else(|| vec![Identifier::user(&profile)])
}

fn members(value: &dyn ViewValue) -> Option<Vec<Identifier>> {
    if let Some(row) = value.as_any().downcast_ref::<Row>() {
        return Some(row.identifiers.iter().map(|entry| entry.identifier.clone()).collect());
    }
    let row = value.as_any().downcast_ref::<WrittenRow>()?;
    let identifier = |entry: &WrittenEntry| match entry.kind.as_str() {
        name if name == Kind::User.name() => Identifier::user(&entry.id),
        _ => Identifier::anonymous(&entry.id),
    };
    Some(row.identifiers.iter().map(identifier).collect())
}

fn build<'scope>(parts: &Parts<'scope>) -> Box<dyn Sealable<'scope> + 'scope> {
    let publish = |profile: Name, members: Option<Members>| {
        let value = members.map(|members| Arc::new(row(&members)) as Value);
        (Key::of_person(profile, &[]), value)
    };
    let sealing = seal_differences(parts.people().members(), NAME, Name::clone);
    Published::rows(sealing, publish)
}

fn oracle(history: &History<'_>) -> BTreeMap<Key, String> {
    let mut members: BTreeMap<Name, Vec<Identifier>> = BTreeMap::new();
    for (identifier, owner) in plain_owners(history) {
        members.entry(owner.profile_id()).or_default().push(identifier);
    }
    members.into_iter().map(|(profile, of)| (Key::of_person(profile, &[]), json(&row(&of)))).collect()
}
