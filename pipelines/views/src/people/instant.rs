//! Instants in published rows: RFC 3339 text, in UTC, of one width.

use etalage_model::Micros;
use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Writes an instant.
pub fn serialize<S: Serializer>(at: &Micros, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

/// Reads it back.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Micros, D::Error> {
    let text = String::deserialize(deserializer)?;
    Micros::parse(&text).ok_or_else(|| D::Error::custom("no instant"))
}

/// The same for one that may be absent.
pub mod maybe {
    use super::*;

    /// Writes an instant, or null.
    pub fn serialize<S: Serializer>(at: &Option<Micros>, serializer: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => serializer.serialize_some(&at.to_string()),
            None => serializer.serialize_none(),
        }
    }

    /// Reads it back.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Micros>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| Micros::parse(&text).ok_or_else(|| D::Error::custom("no instant"))).transpose()
    }
}
