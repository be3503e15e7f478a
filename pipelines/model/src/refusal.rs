//! Why a message was not admitted. A refusal is data: it names what is wrong and what to do, and
//! it goes to the quarantine with the raw message.

use serde::{Deserialize, Serialize};

/// The reason that a record stands in the quarantine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Not JSON, not CSV, not text.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Well formed, but a field is missing, of the wrong type or out of range.
    #[error("invalid: {0}")]
    Invalid(String),
    /// Larger than `max_event_bytes`.
    #[error("too_large: {bytes} bytes, at most {limit} are taken; split it or drop what is not needed")]
    TooLarge {
        /// How large.
        bytes: usize,
        /// How large it may be.
        limit: usize,
    },
    /// The same messageId was taken with other content.
    #[error("conflict: this messageId was taken before with other content; the first stays")]
    Conflict,
    /// Dated more than `max_clock_skew` ahead of pipeline time.
    #[error("future: dated {0}, more than max_clock_skew ahead of pipeline time; check the sender's clock")]
    Future(String),
    /// A replay's event that is dated more than `max_replay_gap` ahead of the one before.
    #[error("replay_gap: dated {0}, more than max_replay_gap ahead of the replay's clock")]
    ReplayGap(String),
    /// Older than `retention`. Retryable with a longer one.
    #[error("too_old: dated {0}, before the start of retention; retry with a longer `retention`")]
    TooOld(String),
    /// No rate converts this currency into the shop's.
    #[error("unknown_currency: no rate for `{0}` at that time; add it to [shop.rates]")]
    UnknownCurrency(String),
    /// An amount beyond what a line may be worth.
    #[error("amount_too_large: a line of more than 1,000,000,000 currency units")]
    AmountTooLarge,
    /// A stock stream that used versions sent a message without one, or the other way round.
    #[error("mixed_versions: this (item, location) has used {0}; a stream uses versions or it does not")]
    MixedVersions(String),
}

impl Refusal {
    /// A stable, short name for metrics and filters.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Malformed(_) => "malformed",
            Refusal::Invalid(_) => "invalid",
            Refusal::TooLarge { .. } => "too_large",
            Refusal::Conflict => "conflict",
            Refusal::Future(_) => "future",
            Refusal::ReplayGap(_) => "replay_gap",
            Refusal::TooOld(_) => "too_old",
            Refusal::UnknownCurrency(_) => "unknown_currency",
            Refusal::AmountTooLarge => "amount_too_large",
            Refusal::MixedVersions(_) => "mixed_versions",
        }
    }
}

/// Something that came in and is no message, on its way to the quarantine.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejected {
    /// Its `messageId`, where that could be read.
    pub message_id: Option<String>,
    /// What was sent, byte for byte.
    pub raw: Vec<u8>,
    /// Why it was refused.
    pub reason: Refusal,
}

/// A record in the quarantine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Its number; counts up from 1.
    pub seq: u64,
    /// Wall-clock time of its arrival.
    pub arrived_at: crate::Micros,
    /// Where it came from: `POST /v1/events`, `orders.csv:17`.
    pub source: String,
    /// Why it was refused.
    pub reason: Refusal,
    /// What was sent, cut to the configured length.
    pub raw: Vec<u8>,
    /// How long it was before it was cut.
    pub raw_bytes: u64,
}

/// What became of one item of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Stored as durably as the configuration names it.
    Stored,
    /// The same message is stored already.
    Duplicate,
    /// Not stored; it stands in the quarantine.
    Refused(Refusal),
}
