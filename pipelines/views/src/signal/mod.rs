//! Signals: what a marketing tool may act upon, and what takes it back.
//!
//! Each has a `signal_id` and a state. A signal that is taken back keeps its id and becomes
//! `cancelled`, so that a message that was not sent yet can be stopped. One of which it turns out that
//! it never was (a late message says so) has no row any more.

pub mod cart_abandoned;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How it stands with a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is to be acted upon.
    Open,
    /// It was taken back.
    Cancelled,
}
