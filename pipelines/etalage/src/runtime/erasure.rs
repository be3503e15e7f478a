//! Erasing somebody: what of the log is about them, and what stands in its place.
//!
//! An event goes whose user, or whose visitor without a user, is erased, and so does a link of theirs.
//! An event of somebody else that only carries an erased visitor's id (one device, two people) stays
//! without it. What goes is taken back from the dataflow as if it had never come, in one tick, after the
//! log was rewritten: killed in between, the next start reads a log that never held it.

use std::{collections::BTreeSet, sync::Arc};

use etalage_model::{Event, EventKind, Group, Message, Micros, Name, Quarantined, Record, Tick};
use etalage_store::{Becomes, Receipt, Receipts, StoreError};
use etalage_views::people::{Identifier, Kind};
use parking_lot::Mutex;

use super::{StoredFrame, clock::Reading, quarantine::Item, sequencer::Sequencer};

/// The identifiers of whoever a text stands for, as of what is published.
pub type Identify = Arc<dyn Fn(&str) -> Vec<Identifier> + Send + Sync>;

/// Who is erased, and what of the log was about them.
pub(super) struct Erasure {
    users: BTreeSet<Name>,
    visitors: BTreeSet<Name>,
    /// Records to be taken back.
    pub(super) gone: Vec<Record>,
    /// Records that stand in the place of some of them.
    pub(super) instead: Vec<Record>,
}

/// Why somebody could not be erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// The log or the receipts.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody knows who belongs together: the views of people are off, or not served.
    #[error("the views of people are switched off, so that nobody knows who is meant")]
    NoPeople,
    /// A part of the pipeline has ended.
    #[error("{0}")]
    Over(String),
}

impl Erasure {
    pub(super) fn of(identifiers: Vec<Identifier>) -> Erasure {
        let of_kind = |kind| {
            let of_kind = identifiers.iter().filter(move |identifier| identifier.kind == kind);
            of_kind.map(|identifier| identifier.id.clone()).collect()
        };
        let (users, visitors) = (of_kind(Kind::User), of_kind(Kind::Anonymous));
        Erasure { users, visitors, gone: Vec::new(), instead: Vec::new() }
    }

    /// What becomes of a record of the log.
    pub(super) fn edit(&mut self, record: &mut Record) -> Becomes {
        let Message::Event(event) = &mut record.message else { return Becomes::Kept };
        if !self.is_about(event) {
            return Becomes::Kept;
        }
        if self.goes(event) {
            self.gone.push(record.clone());
            return Becomes::Dropped;
        }
        let mut instead = event.clone();
        instead.anonymous_id = None;
        let instead = Record { message: Message::Event(instead), content: record.content };
        self.gone.push(std::mem::replace(record, instead.clone()));
        self.instead.push(instead);
        Becomes::Changed
    }

    fn is_about(&self, event: &Event) -> bool {
        let is_user = |id: &Option<String>| id.as_deref().is_some_and(|id| self.users.contains(id));
        is_user(&event.user_id)
            || is_user(&event.previous_id)
            || event.anonymous_id.as_deref().is_some_and(|id| self.visitors.contains(id))
    }

    /// Whether nothing of an event may stay.
    fn goes(&self, event: &Event) -> bool {
        let is_link = matches!(event.kind, EventKind::Identify | EventKind::Alias | EventKind::Unlink);
        let owner = event.user_id.as_deref();
        is_link || owner.is_none_or(|user| self.users.contains(user))
    }

    /// Whether a refused message may stay: none does in which one of the identifiers stands as a word.
    pub(super) fn keeps(&self, refused: &Quarantined) -> bool {
        let texts = [refused.raw.as_slice(), refused.source.as_bytes()];
        let mut ids = self.users.iter().chain(&self.visitors);
        !ids.any(|id| {
            texts.iter().any(|text| stands_in(id.as_bytes(), text)) || refused.reason.to_string().contains(&**id)
        })
    }

    /// The receipt, without a number; `name` is the keyed hash of the id that was asked for.
    pub(super) fn receipt(&self, name: String, as_of: Tick, erased_at: Micros, quarantined: u64) -> Receipt {
        let receipt_id = format!("{:x}-{:x}", as_of, erased_at.0);
        let records = self.gone.len() as u64;
        Receipt { receipt_id, profile: name, as_of, erased_at, records, quarantined }
    }
}

impl Sequencer {
    /// Erases whoever `id` stands for: from the log, from the quarantine, from every view.
    pub(super) fn erase(&mut self, id: &str) -> Result<Receipt, EraseError> {
        let identify = self.shared.about.identify.clone().ok_or(EraseError::NoPeople)?;
        if !self.groups.contains(&Group::Customer) {
            return Err(EraseError::NoPeople);
        }
        if self.receipts.is_none() {
            self.receipts = Some(Receipts::open(&self.dir)?);
        }
        // Who belongs together is known of what is published.
        self.seal_all(None);
        let erasure = Arc::new(Mutex::new(Erasure::of(identify(id))));
        let rewritten = self.log.rewrite(&mut |record| erasure.lock().edit(record));
        if let Err(error) = rewritten {
            if !error.is_retryable() {
                self.shared.set_failed(format!("the store failed: {error}"));
            }
            return Err(error.into());
        }
        let (gone, instead) = {
            let erasure = erasure.lock();
            (erasure.gone.clone(), erasure.instead.clone())
        };
        let tick = self.shared.clock.lock().mint(Reading::now());
        for (records, diff) in [(gone, -1), (instead, 1)] {
            if !records.is_empty() {
                self.pass_on(StoredFrame { records, diff, ..StoredFrame::empty(tick) });
            }
        }
        let (done, quarantined) = crossbeam_channel::bounded(1);
        let keep = Arc::clone(&erasure);
        let keep = Box::new(move |refused: &Quarantined| keep.lock().keeps(refused));
        let over = || EraseError::Over("the quarantine's thread has ended".into());
        self.quarantine.send(Item::Rewrite { keep, done }).map_err(|_| over())?;
        let quarantined = quarantined.recv().map_err(|_| over())??;
        let as_of = self.seal_all(None);
        let receipts = self.receipts.as_mut().ok_or(EraseError::NoPeople)?;
        let erased_at = Micros(Reading::now().wall_us);
        let receipt = erasure.lock().receipt(receipts.name(id), as_of, erased_at, quarantined);
        receipts.append(&receipt)?;
        tracing::info!(receipt = receipt.receipt_id, records = receipt.records, "somebody was erased");
        Ok(receipt)
    }
}

/// A receipt as it is told to whoever asked.
pub fn told(receipt: &Receipt) -> serde_json::Value {
    serde_json::json!({
        "receipt_id": receipt.receipt_id, "profile": receipt.profile, "as_of": Micros(receipt.as_of).to_string(),
        "erased_at": receipt.erased_at.to_string(), "records": receipt.records, "quarantined": receipt.quarantined,
    })
}

/// Whether `word` stands in `text` with nothing around it that could belong to a longer one.
fn stands_in(word: &[u8], text: &[u8]) -> bool {
    if word.is_empty() || word.len() > text.len() {
        return false;
    }
    let is_part = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    text.windows(word.len()).enumerate().any(|(at, window)| {
        window == word && !is_part(at.checked_sub(1).and_then(|at| text.get(at))) && !is_part(text.get(at + word.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_where_it_stands_alone() {
        for (word, text, stands) in [
            ("149", r#"{"userId":"149"}"#, true),
            ("149", r#"{"userId":"1491"}"#, false),
            ("149", "a,149.0,b", true),
            ("149", "149", true),
            ("149", "x149", false),
            ("", "x", false),
        ] {
            assert_eq!(stands_in(word.as_bytes(), text.as_bytes()), stands, "{word} in {text}");
        }
    }
}
