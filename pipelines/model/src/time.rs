//! Time as data: microseconds since the Unix epoch, for events and for ticks alike.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Event time: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub u64);

/// A moment of pipeline time, in microseconds since the epoch; the dataflow's timestamp.
pub type Tick = u64;

/// The latest instant that has a four-digit year.
const MAX: u64 = 253_402_300_799_999_999;

impl Micros {
    /// Reads an RFC 3339 text (`2010-12-01T08:26:00Z`; a space for the `T`, and a missing zone,
    /// which means UTC, are accepted). `None` where it is not an instant after 1970.
    pub fn parse(text: &str) -> Option<Micros> {
        let micros = match text.parse::<jiff::Timestamp>() {
            Ok(at) => at.as_microsecond(),
            Err(_) => {
                let civil: jiff::civil::DateTime = text.trim_end_matches(" UTC").parse().ok()?;
                civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond()
            }
        };
        u64::try_from(micros).ok().filter(|at| *at <= MAX).map(Micros)
    }

    /// Milliseconds since the epoch, as GA4 and browsers count.
    pub fn from_millis(millis: u64) -> Option<Micros> {
        millis.checked_mul(1000).filter(|at| *at <= MAX).map(Micros)
    }

    /// `self + span_us`, held at the latest instant that can be written.
    pub fn plus(self, span_us: u64) -> Micros {
        Micros(self.0.saturating_add(span_us).min(MAX))
    }

    /// `self - span_us`, held at the epoch.
    pub fn minus(self, span_us: u64) -> Micros {
        Micros(self.0.saturating_sub(span_us))
    }
}

impl fmt::Display for Micros {
    /// RFC 3339 in UTC with six decimals: of one width, so that texts sort as instants do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = jiff::Timestamp::from_microsecond(self.0.min(MAX) as i64).unwrap_or(jiff::Timestamp::MAX);
        write!(f, "{at:.6}")
    }
}

/// A duration as configurations write it (`250ms`, `10s`, `5m`, `24h`, `7d`), in microseconds.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse_span_us(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit_us = match &text[digits..] {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => 0,
    };
    let span =
        text[..digits].parse::<u64>().ok().and_then(|n| n.checked_mul(unit_us)).filter(|us| *us > 0 && *us < MAX);
    span.ok_or_else(|| {
        format!("`{text}` is no duration: write a whole number above 0 and a unit, such as 250ms, 10s, 5m, 24h or 7d")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_and_written() {
        let at = Micros::parse("2010-12-01T08:26:00Z").unwrap();
        assert_eq!(at, Micros::parse("2010-12-01 08:26:00").unwrap());
        assert_eq!(at, Micros::parse("2010-12-01 08:26:00 UTC").unwrap());
        assert_eq!(at, Micros::parse("2010-12-01T09:26:00+01:00").unwrap());
        assert_eq!(at.to_string(), "2010-12-01T08:26:00.000000Z");
        assert_eq!(Micros::parse("1969-12-31T00:00:00Z"), None);
        assert_eq!(Micros::parse("yesterday"), None);
    }

    #[test]
    fn spans_have_a_unit() {
        assert_eq!(parse_span_us("5m"), Ok(300_000_000));
        assert_eq!(parse_span_us("7d"), Ok(604_800_000_000));
        assert!(parse_span_us("0s").is_err());
        assert!(parse_span_us("7").is_err());
        assert!(parse_span_us("h").is_err());
    }
}
