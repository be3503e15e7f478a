//! The views of etalage: one file each, with the oracle that it must equal.
//!
//! ```text
//!   batches of records ──> lines ──┬─> windows (expire) ──┬─> item.popularity
//!                                  │                      └─> scores ─┐
//!                                  ├─> scope.totals                   ├─> set.bestsellers
//!   catalogue ──> attributes ──> places ──────────────────────────────┤
//!   inventory ──> stock ──> item.sellable ──> gates ──────────────────┘
//! ```
//!
//! A view is registered by one line in [`VIEWS`]; from its name follow route, stream and metric
//! labels. What several views need stands in [`parts`] and is built when the first of them asks
//! for it, so a view that is switched off costs nothing.
//!
//! Everything here is pure: ticks are an input, and nothing reads a clock, draws a random number
//! or does I/O. The `shop` group depends on no identity.

pub mod attributes;
pub mod audit;
pub mod bestsellers;
pub mod lines;
pub mod measures;
pub mod options;
pub mod oracle;
pub mod parts;
pub mod popularity;
pub mod scope;
pub mod sellable;
pub mod shop;
pub mod totals;

use std::collections::BTreeMap;

use etalage_model::{Group, Key, ViewInfo};

pub use options::{ShopOptions, UnknownStock, Window};
pub use parts::{Parts, Sealable};
pub use shop::Shop;

/// A view: what is known of it, how it is built, and what it must equal.
pub struct View {
    /// `set.bestsellers`.
    pub name: &'static str,
    /// The group with which it is sealed.
    pub group: Group,
    /// Names of the key's fields.
    pub key_fields: &'static [&'static str],
    /// One sentence for listings.
    pub about: &'static str,
    /// Whether values belong to windows that may be spread: then readers are told their start.
    pub has_window_start: bool,
    /// The dataflow.
    pub build: for<'scope> fn(&Parts<'scope>) -> Box<dyn Sealable<'scope> + 'scope>,
    /// The plain recomputation: key → JSON of the value.
    pub oracle: fn(&oracle::History<'_>) -> BTreeMap<Key, String>,
}

/// All views. The order is that of listings.
pub const VIEWS: &[View] = &[sellable::VIEW, popularity::VIEW, totals::VIEW, bestsellers::VIEW];

/// The view called `name`.
pub fn view(name: &str) -> Option<&'static View> {
    VIEWS.iter().find(|view| view.name == name)
}

/// What readers are told of the views that `options` switches on.
pub fn infos(options: &ShopOptions) -> Vec<ViewInfo> {
    let on = VIEWS.iter().filter(|view| options.is_on(view.name));
    on.map(|view| ViewInfo {
        name: view.name,
        group: view.group,
        key_fields: view.key_fields,
        about: view.about,
        window_start: (view.has_window_start && options.is_spread()).then(|| options.window_start()),
    })
    .collect()
}
