//! The options of the parts, as the configuration has them.

use etalage_model::{Sym, decode::json};
use etalage_operators::dedup::DedupLimits;
use etalage_serve::{Keys, ServeOptions};
use etalage_store::{LogOptions, QuarantineOptions};
use etalage_views::{ShopOptions, UnknownStock, Window, scope::Scopes};

use super::Config;

impl Config {
    /// What the views of the `shop` group hold. The input of the views is free of duplicates: they
    /// are found before the log.
    pub fn shop_options(&self) -> ShopOptions {
        let names: Vec<String> = self.scopes.iter().map(|scope| scope.name()).collect();
        let windows = self.windows.names.iter();
        ShopOptions {
            windows: windows.map(|w| Window { label: Sym::new(&w.name), length_us: w.length_us }).collect(),
            bucket_us: self.windows.bucket_us,
            max_buckets: self.windows.max_buckets,
            phase: self.windows.phase,
            scopes: Scopes::parse(&names).expect("names that were made of dimensions"),
            weights: self.score,
            k: self.sets.k,
            locations: self.sets.locations.iter().map(|location| Sym::new(location)).collect(),
            unknown_stock: match self.stock.unknown_is_sellable {
                true => UnknownStock::Sellable,
                false => UnknownStock::Hidden,
            },
            safety_threshold: self.stock.safety_threshold,
            off: self.views_off.clone(),
            dedup: None,
            ungated: false,
        }
    }

    /// What a message may hold.
    pub fn decode_limits(&self) -> json::Limits {
        json::Limits {
            max_event_bytes: self.limits.max_event_bytes,
            max_batch_events: self.limits.max_batch_events,
            max_items: self.limits.max_items,
            ..json::Limits::default()
        }
    }

    /// How long ids are remembered.
    pub fn dedup_limits(&self) -> DedupLimits {
        DedupLimits { horizon_us: self.dedup.horizon_us, max_ids: self.dedup.max_ids }
    }

    /// How the log is kept.
    pub fn log_options(&self) -> LogOptions {
        LogOptions {
            segment_bytes: self.store.segment_bytes,
            durability: self.store.durability,
            ..LogOptions::default()
        }
    }

    /// How much the quarantine keeps.
    pub fn quarantine_options(&self) -> QuarantineOptions {
        QuarantineOptions { max_records: self.quarantine.max_records, max_raw_bytes: self.quarantine.max_raw_bytes }
    }

    /// Limits and keys of the HTTP side.
    pub fn serve_options(&self) -> ServeOptions {
        ServeOptions {
            max_body_bytes: self.limits.max_body_bytes,
            max_batch_events: self.limits.max_batch_events,
            max_keys: self.limits.max_keys,
            max_limit: self.limits.max_list,
            max_streams: self.limits.max_streams,
            keys: Keys::parse(&self.keys.publishable, &self.keys.secret).expect("hashes that were checked"),
            ..ServeOptions::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_and_key_that_is_taken_can_be_converted() {
        let hash = "ab".repeat(32);
        let text = format!(
            "[scopes]\ndimensions = [\"global\", \"country+category\", \"brand+channel\", \"device\", \"language\"]\n\
             [keys]\nsecret = [\"{hash}\"]\npublishable = [\"{}\"]",
            hash.replace('a', "c").to_uppercase()
        );
        let config = Config::from_text("shop.toml", &text, [], &[]).unwrap().config;
        assert_eq!(config.shop_options().windows[0].label.as_str(), "5m");
        assert!(!config.serve_options().keys.is_empty());
        assert_eq!(Config::default().decode_limits(), json::Limits::default());
    }
}
