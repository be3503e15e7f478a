//! From the configuration to the options of views and store.

use etalage_operators::{dedup::DedupLimits, expire};
use etalage_store::Durability;
use etalage_views::{ShopOptions, UnknownStock, Window, options::MAX_BUCKETS, scope::Scopes};

use super::mutant::is_mutant;
use crate::config::{self, Config};

/// What the `shop` views are built from.
///
/// # Panics
/// Never for a checked configuration: its scopes are known to be well formed.
pub fn shop_options(config: &Config) -> ShopOptions {
    let scopes: Vec<String> = config.scopes.iter().map(ToString::to_string).collect();
    let window = |window: &config::Window| Window { label: window.name.as_str().into(), length_us: window.length_us };
    let none: Option<DedupLimits> = None;
    ShopOptions {
        windows: config.windows.names.iter().map(window).collect(),
        half_lives: config.half_lives.iter().map(window).collect(),
        bucket_us: config.windows.bucket_us,
        max_buckets: MAX_BUCKETS,
        phase: match config.windows.phase {
            config::Phase::Aligned => expire::Phase::Aligned,
            config::Phase::Spread => expire::Phase::Spread,
        },
        scopes: Scopes::parse(&scopes).expect("scopes of a checked configuration"),
        weights: config.score,
        k: config.sets.k,
        locations: config.sets.locations.iter().map(|location| location.as_str().into()).collect(),
        unknown_stock: if config.stock.unknown_is_sellable { UnknownStock::Sellable } else { UnknownStock::Hidden },
        safety_threshold: config.stock.safety_threshold,
        people: config.people.clone(),
        off: config.views_off.clone(),
        // The sequencer has deduplicated what the log holds.
        dedup: none,
        ungated: is_mutant("ungated"),
    }
}

/// When a write counts as done.
pub(super) fn durability(config: &Config) -> Durability {
    match config.store.durability {
        config::Durability::Process => Durability::Process,
        config::Durability::Fsync => Durability::Fsync,
    }
}
