//! Taking refused messages in once more, after what they were refused for has been mended: a longer retention, a rate
//! of a currency, a clock that is right again.

use std::collections::BTreeMap;

use etalage_model::{
    InputKind, Outcome, Quarantined, Record, Refusal, Rejected,
    decode::json::{self, Context},
};
use etalage_serve::Door as _;
use serde_json::Value;

use super::{door::Door, origin::Origin};

/// How many messages are taken in at once.
pub const MAX_RETRIED_AT_ONCE: usize = 1_000;

/// The inputs by the names that they have in the quarantine.
const INPUTS: [(&str, InputKind); 3] = [
    ("POST /v1/events", InputKind::Events),
    ("POST /v1/inventory", InputKind::Inventory),
    ("POST /v1/catalog", InputKind::Catalogue),
];

/// Which of them are tried.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// Those with these numbers.
    Numbers(&'a [u64]),
    /// Those that were refused for this reason, by its short name.
    Code(&'a str),
}

/// What became of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Retried {
    /// Its number in the quarantine.
    pub number: u64,
    /// What became of it; or why it stays as it is.
    pub became: Result<Outcome, String>,
}

impl Retried {
    /// As it is told to whoever asked.
    pub fn told(&self) -> Value {
        let (status, reason) = match &self.became {
            Ok(Outcome::Stored) => ("stored", None),
            Ok(Outcome::Duplicate) => ("duplicate", None),
            Ok(Outcome::Refused(reason)) => ("refused", Some(reason.to_string())),
            Err(reason) => ("kept", Some(reason.clone())),
        };
        serde_json::json!({ "number": self.number, "status": status, "reason": reason })
    }
}

impl Door {
    /// Takes refused messages in once more. Those with an outcome leave the quarantine; what is refused again stands
    /// there under a new number.
    ///
    /// # Errors
    /// Why they cannot be read, or nothing can be stored now; it can be asked for again.
    pub fn retry(&self, wanted: Wanted<'_>) -> Result<Vec<Retried>, String> {
        let mut retried = Vec::new();
        match wanted {
            Wanted::Numbers(numbers) => {
                for some in numbers.chunks(MAX_RETRIED_AT_ONCE) {
                    let mut records = Vec::new();
                    for number in some {
                        let found = self.quarantine(number.saturating_sub(1), 1)?.pop();
                        match found.filter(|record| record.seq == *number) {
                            Some(record) => records.push(record),
                            None => {
                                retried.push(Retried { number: *number, became: Err("there is no such record".into()) })
                            }
                        }
                    }
                    retried.extend(self.retry_some(records)?);
                }
            }
            Wanted::Code(code) => {
                // What is refused again comes behind those that are there now.
                let (mut after, end) = (0, self.quarantine_store().newest().map_err(|error| error.to_string())?);
                while after < end {
                    let page = self.quarantine(after, MAX_RETRIED_AT_ONCE)?;
                    let Some(last) = page.last() else { break };
                    after = last.seq;
                    let of_code = page.into_iter().filter(|record| record.seq <= end && record.reason.code() == code);
                    retried.extend(self.retry_some(of_code.collect())?);
                }
            }
        }
        Ok(retried)
    }

    fn retry_some(&self, records: Vec<Quarantined>) -> Result<Vec<Retried>, String> {
        let mut retried = Vec::new();
        let mut by_source: BTreeMap<String, Vec<(u64, Result<Record, Rejected>)>> = BTreeMap::new();
        for record in records {
            match self.item(&record) {
                Ok(item) => by_source.entry(record.source).or_default().push((record.seq, item)),
                Err(reason) => retried.push(Retried { number: record.seq, became: Err(reason) }),
            }
        }
        for (source, items) in by_source {
            let (numbers, batch): (Vec<u64>, Vec<_>) = items.into_iter().unzip();
            let before = self.quarantine_store().newest().map_err(|error| error.to_string())?;
            let answer = self.submit_blocking(Origin::Named(source.into()), batch)?;
            let outcomes = answer.blocking_recv().map_err(|_| self.failure().unwrap_or_else(|| "it is over".into()))?;
            let outcomes = outcomes.map_err(|error| error.to_string())?;
            let refused = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Refused(_))).count() as u64;
            if refused > 0 {
                // What is refused again must be written down before it is done with.
                self.flush()?;
            }
            let newest = self.quarantine_store().newest().map_err(|error| error.to_string())?;
            if newest < before + refused {
                return Err("what was refused again could not be written to the quarantine; it stays as it was".into());
            }
            self.quarantine_store().remove(&numbers).map_err(|error| error.to_string())?;
            let of_one = numbers.into_iter().zip(outcomes);
            retried.extend(of_one.map(|(number, outcome)| Retried { number, became: Ok(outcome) }));
        }
        Ok(retried)
    }

    /// A refused message, as it comes in.
    fn item(&self, refused: &Quarantined) -> Result<Result<Record, Rejected>, String> {
        if refused.raw_bytes > refused.raw.len() as u64 {
            return Err(format!(
                "only {} of its {} bytes were kept: send it again",
                refused.raw.len(),
                refused.raw_bytes
            ));
        }
        match refused.reason {
            Refusal::Conflict => Err("another message has its messageId: send it with one of its own".into()),
            // These were decoded, and kept as they were then.
            Refusal::Future(_) | Refusal::ReplayGap(_) | Refusal::TooOld(_) | Refusal::MixedVersions(_) => {
                let record: Result<Record, _> = serde_json::from_slice(&refused.raw);
                record.map(Ok).map_err(|_| "it was kept by an older version: send it again".into())
            }
            _ => {
                let input = INPUTS.iter().find(|(name, _)| *name == refused.source);
                let from_elsewhere = || format!("it came from {}: send it again from there", refused.source);
                let (_, kind) = input.ok_or_else(from_elsewhere)?;
                let context =
                    Context { now: self.now(), map_time: None, currencies: self.currencies(), limits: self.limits() };
                Ok(json::one(*kind, &refused.raw, &context))
            }
        }
    }
}
