//! The options of the parts, as the configuration has them.

use etalage_model::decode::json;
use etalage_serve::{Keys, ServeOptions};
use etalage_store::QuarantineOptions;

use super::Config;

impl Config {
    /// What a message may hold.
    pub fn decode_limits(&self) -> json::Limits {
        json::Limits {
            max_event_bytes: self.limits.max_event_bytes,
            max_batch_events: self.limits.max_batch_events,
            max_items: self.limits.max_items,
            ..json::Limits::default()
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
            max_discarded_bytes: self.limits.max_discarded_bytes,
            max_keys: self.limits.max_keys,
            max_limit: self.limits.max_list,
            max_streams: self.limits.max_streams,
            max_snapshot_keys: self.limits.max_snapshot_keys,
            max_lag_frames: self.limits.max_lag_frames,
            max_lag_bytes: self.limits.max_lag_bytes,
            body_timeout_s: self.limits.body_timeout_s,
            store_timeout_s: self.limits.store_timeout_s,
            keys: Keys::parse(&self.keys.publishable, &self.keys.secret).expect("hashes that were checked"),
            ..ServeOptions::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_taken_can_be_converted() {
        let hashes = ["ab".repeat(32), "CD".repeat(32)];
        let text = format!("[keys]\nsecret = [\"{}\"]\npublishable = [\"{}\"]", hashes[0], hashes[1]);
        let config = Config::from_text("shop.toml", &text, [], &[]).unwrap().config;
        assert!(!config.serve_options().keys.is_empty());
        assert!(Config::default().serve_options().keys.is_empty());
    }

    #[test]
    fn the_defaults_of_the_parts_are_those_of_the_table() {
        let config = Config::default();
        assert_eq!(config.decode_limits(), json::Limits::default());
        let (ours, theirs) = (config.serve_options(), ServeOptions::default());
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        assert_eq!((ours.max_keys, ours.max_limit), (theirs.max_keys, theirs.max_limit));
        let (ours, theirs) = (config.quarantine_options(), QuarantineOptions::default());
        assert_eq!((ours.max_records, ours.max_raw_bytes), (theirs.max_records, theirs.max_raw_bytes));
    }
}
