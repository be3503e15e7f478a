//! Limits and settings of the HTTP side. Every limit has a name that errors repeat.

use std::{fmt, sync::Arc};

use crate::Keys;

/// Settings of the HTTP side, each with a default.
#[derive(Clone)]
pub struct ServeOptions {
    /// The most bytes of a body, as sent and unpacked. Default 512,000.
    pub max_body_bytes: usize,
    /// How much of what a body has beyond that is read and thrown away, so that its sender gets to
    /// read the answer. Default 8,388,608.
    pub max_discarded_bytes: usize,
    /// How long a body may take to arrive. Default 30 s.
    pub body_timeout_s: u64,
    /// How long a request waits for its batch to be stored, before it is told that the outcome
    /// is unknown. Default 30 s.
    pub store_timeout_s: u64,
    /// The most keys of one read, and the most parts of one stream. Default 1,000.
    pub max_keys: usize,
    /// How many entries a list gives where the request does not say. Default 100.
    pub default_limit: usize,
    /// The most entries of a list. Default 10,000.
    pub max_limit: usize,
    /// The most streams open at once. Default 2,000.
    pub max_streams: usize,
    /// The most keys that a stream starts from. Default 250,000.
    pub max_snapshot_keys: usize,
    /// How many messages a reader of a stream may be behind. Default 512.
    pub max_lag_frames: usize,
    /// How many bytes a reader of a stream may be behind. Default 16 MiB.
    pub max_lag_bytes: usize,
    /// Time between two heartbeats of a stream. Default 1,000 ms.
    pub heartbeat_ms: u64,
    /// How long a stop waits for open requests. Default 5 s.
    pub stop_timeout_s: u64,
    /// The most quarantined messages of one answer. Default 1,000.
    pub max_quarantine_limit: usize,
    /// Who is let in. Default: everybody.
    pub keys: Keys,
    /// What kind of run this is, as the page says it (`demo, 3600 × real time`). Default `run`.
    pub mode: String,
    /// Who takes messages, erases and explains, where this process only serves. Default: itself.
    pub elsewhere: Option<String>,
    /// The text of `/metrics`, in Prometheus' format. Default: empty.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

impl Default for ServeOptions {
    fn default() -> ServeOptions {
        ServeOptions {
            max_body_bytes: 512_000,
            max_discarded_bytes: 8 << 20,
            body_timeout_s: 30,
            store_timeout_s: 30,
            max_keys: 1_000,
            default_limit: 100,
            max_limit: 10_000,
            max_streams: 2_000,
            max_snapshot_keys: 250_000,
            max_lag_frames: 512,
            max_lag_bytes: 16 << 20,
            heartbeat_ms: 1_000,
            stop_timeout_s: 5,
            max_quarantine_limit: 1_000,
            keys: Keys::default(),
            mode: "run".into(),
            elsewhere: None,
            metrics: Arc::new(String::new),
        }
    }
}

impl fmt::Debug for ServeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeOptions")
            .field("max_body_bytes", &self.max_body_bytes)
            .field("max_streams", &self.max_streams)
            .field("keys", &self.keys)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}
