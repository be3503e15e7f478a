//! What the rest of etalage knows of a view: its name, and how its keys are written.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Key, KeyFields, Micros, Tick, Value, ViewValue};

/// A seal group: its views change together, tick by tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Group {
    /// Items, sets, scopes. Independent of identity.
    Shop,
    /// People.
    Customer,
}

impl Group {
    /// The name in metrics, routes and topics.
    pub fn name(self) -> &'static str {
        match self {
            Group::Shop => "shop",
            Group::Customer => "customer",
        }
    }
}

/// A view as its readers see it. From the name follow route, stream and metric labels.
#[derive(Clone)]
pub struct ViewInfo {
    /// `set.bestsellers`.
    pub name: &'static str,
    /// The group with which it is sealed.
    pub group: Group,
    /// Names of the key's fields, in order. A key may leave out fields at the end.
    pub key_fields: &'static [&'static str],
    /// One sentence for listings.
    pub about: &'static str,
    /// Whether its rows are about single people: then only secret keys read it.
    pub is_personal: bool,
    /// How a key's first field is found by another text, where it names a profile.
    pub resolve: Option<Resolve>,
    /// Where windows are spread: the instant from which on events of this key count, at a tick.
    pub window_start: Option<Arc<dyn Fn(&Key, Tick) -> Option<Micros> + Send + Sync>>,
}

/// How a profile is found by any of its identifiers.
#[derive(Clone, Copy)]
pub struct Resolve {
    /// The view that assigns identifiers to profiles; of the same group.
    pub view: &'static str,
    /// The keys there under which an identifier of this text may stand.
    pub keys: fn(&str) -> Vec<KeyFields>,
    /// The profile's id in a value of that view.
    pub profile: fn(&dyn ViewValue) -> Option<&str>,
    /// The profile's id where the identifier stands for itself.
    pub alone: fn(&str) -> String,
}

impl Resolve {
    /// The profile's id of whoever `text` stands for; `value` gives the value of a view's key.
    pub fn profile(&self, text: &str, value: impl Fn(&str, &KeyFields) -> Option<Value>) -> Option<String> {
        let assigned = (self.keys)(text).into_iter().find_map(|key| value(self.view, &key));
        assigned.and_then(|value| (self.profile)(value.as_ref()).map(str::to_owned))
    }
}

impl std::fmt::Debug for ViewInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ViewInfo").field("name", &self.name).field("group", &self.group).finish_non_exhaustive()
    }
}
