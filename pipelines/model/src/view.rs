//! What the rest of etalage knows of a view: its name, and how its keys are written.

use std::sync::Arc;

use crate::{Key, Micros, Tick};

/// A seal group: its views change together, tick by tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// Where windows are spread: the instant from which on events of this key count, at a tick.
    pub window_start: Option<Arc<dyn Fn(&Key, Tick) -> Option<Micros> + Send + Sync>>,
}

impl std::fmt::Debug for ViewInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ViewInfo").field("name", &self.name).field("group", &self.group).finish_non_exhaustive()
    }
}
