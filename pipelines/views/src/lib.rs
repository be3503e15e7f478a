//! The views of etalage: one file each, with the oracle that it must equal.
//!
//! ```text
//!   batches of records ──> lines ──┬─> windows (expire) ──┬─> item.popularity
//!                                  │                      └─> scores ─┐
//!                                  ├─> trends (decay) ────┬─> item.trend
//!                                  │                      └─> ranks ──┤
//!                                  ├─> scope.totals                   ├─> set.bestsellers (of scores)
//!   catalogue ──> attributes ──> places ──────────────────────────────┤   set.trending (of ranks)
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
pub mod audience;
pub mod audit;
pub mod bestsellers;
pub mod dataflow;
pub mod distinct;
pub mod lines;
pub mod measures;
pub mod options;
pub mod oracle;
pub mod parts;
pub mod people;
pub mod popularity;
pub mod profile;
pub mod scope;
pub mod sealed;
pub mod sections;
pub mod sellable;
pub mod signal;
pub mod totals;
pub mod trend;
pub mod trending;

use std::collections::BTreeMap;

use etalage_model::{EventKind, Group, Key, Value, ViewInfo};

use schemars::{Schema, generate::SchemaSettings};

pub use dataflow::Dataflow;
pub use options::{ShopOptions, UnknownStock, Window};
pub use parts::Parts;
pub use people::PeopleOptions;
pub use sealed::Sealable;

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
    /// The kinds of event that a person's values in it come from; none where it is about nobody.
    pub causes: &'static [EventKind],
    /// What its values look like.
    pub schema: fn() -> Schema,
    /// A value of which another process has written the JSON.
    pub read: fn(Vec<u8>) -> Value,
    /// The dataflow.
    pub build: for<'scope> fn(&Parts<'scope>) -> Box<dyn Sealable<'scope> + 'scope>,
    /// The plain recomputation: key → JSON of the value.
    pub oracle: fn(&oracle::History<'_>) -> BTreeMap<Key, String>,
}

/// All views. The order is that of listings.
pub const VIEWS: &[View] = &[
    sellable::VIEW,
    popularity::VIEW,
    totals::VIEW,
    bestsellers::VIEW,
    trend::VIEW,
    trending::VIEW,
    people::identity::VIEW,
    profile::identifiers::VIEW,
    profile::snapshot::VIEW,
    profile::customer_status::VIEW,
    profile::value::VIEW,
    profile::purchases::VIEW,
    profile::recent_views::VIEW,
    profile::affinity::VIEW,
    profile::activity::VIEW,
    profile::cart::VIEW,
    signal::cart_abandoned::VIEW,
    audience::suppress::VIEW,
    distinct::item_viewers::VIEW,
    distinct::item_buyers::VIEW,
    distinct::scope_buyers::VIEW,
];

/// The view called `name`.
pub fn view(name: &str) -> Option<&'static View> {
    VIEWS.iter().find(|view| view.name == name)
}

impl View {
    /// Whether its rows are about single people.
    pub fn is_personal(&self) -> bool {
        self.names_profile() || self.name == people::identity::NAME
    }

    /// Whether it says who belongs together.
    pub fn is_about_links(&self) -> bool {
        self.causes == people::identity::LINKS
    }

    fn names_profile(&self) -> bool {
        self.key_fields[0] == profile::KEY_FIELDS[0]
    }

    /// A JSON Schema with `$defs/key` and `$defs/value`: what stands in topics, streams and answers. It
    /// describes version 1; a field that is added keeps the version, any other change makes a new one.
    pub fn json_schema(&self) -> serde_json::Value {
        let fields = self.key_fields.iter().map(|name| ((*name).to_owned(), serde_json::json!({ "type": "string" })));
        let fields: serde_json::Map<String, serde_json::Value> = fields.collect();
        // A key may leave out fields at the end; the first is always there.
        serde_json::json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": format!("etalage:{}.v1", self.name),
            "title": self.name,
            "description": self.about,
            "$defs": {
                "key": {
                    "type": "object", "properties": fields, "required": [self.key_fields[0]],
                    "additionalProperties": false,
                },
                "value": (self.schema)(),
            },
            "type": "object",
            "properties": { "key": { "$ref": "#/$defs/key" }, "value": { "$ref": "#/$defs/value" } },
            "required": ["key", "value"],
        })
    }
}

/// The schema of a view's rows, without what stands in that of the view.
fn row_schema<T: schemars::JsonSchema>() -> Schema {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    settings.into_generator().into_root_schema_for::<T>()
}

/// What readers are told of the views that `options` switches on.
pub fn infos(options: &ShopOptions) -> Vec<ViewInfo> {
    let on = VIEWS.iter().filter(|view| options.is_on(view.name));
    on.map(|view| ViewInfo {
        name: view.name,
        group: view.group,
        key_fields: view.key_fields,
        about: view.about,
        is_personal: view.is_personal(),
        resolve: (view.names_profile() && options.is_on(people::identity::NAME)).then_some(people::identity::RESOLVE),
        window_start: (view.has_window_start && options.is_spread()).then(|| options.window_start()),
    })
    .collect()
}
