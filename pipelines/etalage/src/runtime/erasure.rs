//! Erasing somebody: what of the log is about them, and what stands in its place.
//!
//! An event goes whose user, or whose visitor without a user, is erased, and so does a link that joined
//! somebody with them alone. What else carries an erased id (one device, two people) stays without it. Refused messages go first, as long as the log knows who belongs together: whoever asks
//! again after a failure finds the rest. What goes is taken back from the dataflow as if it had never come,
//! in one tick, after the log was rewritten: killed in between, the next start reads a log that never
//! held it.
//!
//! **Cost**: the log is read whole, and nothing else is stored or minted meanwhile. **Bound**: the events
//! of whoever is erased are held in memory until they are taken back.

use std::{collections::BTreeSet, sync::Arc};

use etalage_model::{Event, EventKind, Group, Message, Micros, Name, Quarantined, Record, Tick};
use etalage_store::{Becomes, Receipt, Receipts, StoreError};
use etalage_views::people::{Identifier, Kind};
use parking_lot::Mutex;
use serde_json::Value;

use super::{StoredFrame, machine::Waiting, quarantine::Item, sequencer::Sequencer, snapshot::NotTaken};

/// Fields of a message that name somebody.
const ID_FIELDS: [&str; 3] = ["userId", "anonymousId", "previousId"];

/// The identifiers of whoever a text stands for, as of what is published.
pub type Identify = Arc<dyn Fn(&str) -> Vec<Identifier> + Send + Sync>;

/// Who is erased, and what of the log was about them.
pub(super) struct Erasure {
    users: BTreeSet<Name>,
    visitors: BTreeSet<Name>,
    /// Records to be taken back.
    gone: Vec<Record>,
    /// Records that stand in the place of some of them.
    instead: Vec<Record>,
    /// How many records went or changed.
    records: u64,
}

/// Why somebody could not be erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// The log or the receipts.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody knows who belongs together: views of people are off, or not served.
    #[error("`identity.assignment` and `profile.identifiers` must be switched on to know who is meant")]
    NoPeople,
    /// What is left of the log is not all that was known of them.
    #[error("the log was trimmed ([snapshots] trim_log): what is known of somebody from before cannot be taken back")]
    Trimmed,
    /// Snapshots could not be removed; nothing is erased.
    #[error("the snapshots, which hold who is to be erased, cannot be removed: {0}; nothing else was erased yet")]
    Snapshots(#[from] NotTaken),
    /// Everything is erased, and only the receipt is missing.
    #[error("everything is erased, but the receipt could not be written: {0}; ask again for one")]
    NoReceipt(StoreError),
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
        Erasure { users, visitors, gone: Vec::new(), instead: Vec::new(), records: 0 }
    }

    /// What becomes of a record of the log.
    pub(super) fn edit(&mut self, record: &mut Record) -> Becomes {
        let Message::Event(event) = &mut record.message else { return Becomes::Kept };
        if !self.is_about(event) {
            return Becomes::Kept;
        }
        self.records += 1;
        let mut instead = event.clone();
        instead.anonymous_id.take_if(|id| self.visitors.contains(id.as_str()));
        instead.previous_id.take_if(|id| self.users.contains(id.as_str()));
        if self.is_owned(event) || links_nobody(&instead) {
            self.gone.push(record.clone());
            return Becomes::Dropped;
        }
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

    /// Whether an event changes the state of somebody who is erased.
    fn is_owned(&self, event: &Event) -> bool {
        match (&event.user_id, &event.anonymous_id) {
            (Some(user), _) => self.users.contains(user.as_str()),
            (None, Some(visitor)) => self.visitors.contains(visitor.as_str()),
            (None, None) => false,
        }
    }

    /// Whether a refused message may stay: none does in which one of the identifiers stands as a word, be
    /// it escaped. Numbers that are nobody's id say nothing of anybody.
    pub(super) fn keeps(&self, refused: &Quarantined) -> bool {
        let reason = refused.reason.to_string();
        let raw = serde_json::from_slice(&refused.raw);
        let mut ids = self.users.iter().chain(&self.visitors);
        !ids.any(|id| {
            let stands = match &raw {
                Ok(json) => stands_in_json(id, json, false),
                Err(_) => spellings(id).iter().any(|word| stands_in(word.as_bytes(), &refused.raw)),
            };
            stands || [&refused.source, &reason].iter().any(|text| stands_in(id.as_bytes(), text.as_bytes()))
        })
    }

    /// The id of the profile that is erased.
    fn profile_id(&self) -> Option<Name> {
        let user = self.users.first().map(|id| Identifier { kind: Kind::User, id: id.clone() });
        let visitor = || self.visitors.first().map(|id| Identifier { kind: Kind::Anonymous, id: id.clone() });
        user.or_else(visitor).map(|identifier| identifier.profile_id())
    }

    /// The receipt; `name` is the keyed hash of the profile's id.
    pub(super) fn receipt(&self, name: String, as_of: Tick, erased_at: Micros, quarantined: u64) -> Receipt {
        let receipt_id = format!("{:x}-{:x}", as_of, erased_at.0);
        Receipt { receipt_id, profile: name, as_of, erased_at, records: self.records, quarantined }
    }
}

impl Sequencer {
    /// Erases whoever `id` stands for: from the log, from the quarantine, from every view.
    pub(super) fn erase(&mut self, id: &str) -> Result<Receipt, EraseError> {
        let identify = self.shared.about.identify.clone().ok_or(EraseError::NoPeople)?;
        if !self.groups.contains(&Group::Customer) {
            return Err(EraseError::NoPeople);
        }
        if self.log.begins_at() > 0 {
            return Err(EraseError::Trimmed);
        }
        if self.receipts.is_none() {
            self.receipts = Some(Receipts::open_on(Arc::clone(&self.shared.machine.disk), &self.dir)?);
        }
        // Who belongs together is known of what is published.
        self.seal_all(None);
        let erasure = Arc::new(Mutex::new(Erasure::of(identify(id))));
        // A snapshot holds what is erased: without any, a restart reads the log, which then never held it.
        if let Some(place) = &self.place {
            self.generation.end(place)?;
        }
        let quarantined = self.erase_refused(&erasure)?;
        etalage_store::begin_erasure(&*self.shared.machine.disk, &self.dir)?;
        let rewritten = self.log.rewrite(&mut |record| erasure.lock().edit(record));
        if let Err(error) = rewritten {
            if !error.is_retryable() {
                self.shared.set_failed(format!("the store failed: {error}"));
            }
            return Err(error.into());
        }
        let (gone, instead) = {
            let mut erasure = erasure.lock();
            (std::mem::take(&mut erasure.gone), std::mem::take(&mut erasure.instead))
        };
        let tick = self.shared.clock.lock().mint(self.shared.now());
        if !self.bind(tick) {
            return Err(EraseError::Over(self.shared.why_over()));
        }
        for (records, diff) in [(gone, -1), (instead, 1)] {
            if !records.is_empty() {
                self.pass_on(StoredFrame { records, diff, ..StoredFrame::empty(tick) });
            }
        }
        let as_of = self.seal_all(None);
        self.served.iter().for_each(|served| served.erased(as_of));
        let receipts = self.receipts.as_mut().ok_or(EraseError::NoPeople)?;
        let erased_at = Micros(self.shared.now().wall_us);
        let profile = erasure.lock().profile_id();
        let name = receipts.name(profile.as_deref().unwrap_or(id));
        let receipt = erasure.lock().receipt(name, as_of, erased_at, quarantined);
        receipts.append(&receipt).map_err(EraseError::NoReceipt)?;
        tracing::info!(receipt = receipt.receipt_id, records = receipt.records, "somebody was erased");
        Ok(receipt)
    }

    /// Erases refused messages; gives how many.
    fn erase_refused(&self, erasure: &Arc<Mutex<Erasure>>) -> Result<u64, EraseError> {
        let (done, quarantined) = crossbeam_channel::bounded(1);
        let keep = Arc::clone(erasure);
        let keep = Box::new(move |refused: &Quarantined| keep.lock().keeps(refused));
        let over = || EraseError::Over("the quarantine's thread has ended".into());
        self.quarantine.send(Item::Rewrite { keep, done }).map_err(|_| over())?;
        Ok(self.shared.machine.receive(Waiting::Sequencer, &quarantined).map_err(|_| over())??)
    }
}

/// Whether an event is a link of nobody any more.
fn links_nobody(event: &Event) -> bool {
    let is_link = matches!(event.kind, EventKind::Identify | EventKind::Alias | EventKind::Unlink);
    is_link && event.anonymous_id.is_none() && event.previous_id.is_none()
}

/// A receipt as it is told to whoever asked.
pub fn told(receipt: &Receipt) -> Value {
    serde_json::json!({
        "receipt_id": receipt.receipt_id, "profile": receipt.profile, "as_of": Micros(receipt.as_of).to_string(),
        "erased_at": receipt.erased_at.to_string(), "records": receipt.records, "quarantined": receipt.quarantined,
    })
}

/// Whether `id` stands in a text of `json`, as a word; numbers count where they are an id.
fn stands_in_json(id: &str, json: &Value, is_id: bool) -> bool {
    match json {
        Value::String(text) => stands_in(id.as_bytes(), text.as_bytes()),
        Value::Number(number) => is_id && number.to_string() == id,
        Value::Array(values) => values.iter().any(|value| stands_in_json(id, value, is_id)),
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            let is_id = ID_FIELDS.contains(&name.as_str());
            stands_in(id.as_bytes(), name.as_bytes()) || stands_in_json(id, value, is_id)
        }),
        Value::Null | Value::Bool(_) => false,
    }
}

/// How an id may stand in JSON that was cut, or is none: as it is, and escaped.
fn spellings(id: &str) -> [String; 3] {
    let quoted = Value::from(id).to_string();
    let escaped = quoted.trim_matches('"').to_owned();
    let mut units = [0; 2];
    let unit = |unit: &mut u16| format!("\\u{unit:04x}");
    let ascii = |letter: char| match letter.is_ascii() {
        true => letter.to_string(),
        false => letter.encode_utf16(&mut units).iter_mut().map(unit).collect(),
    };
    let ascii = escaped.chars().map(ascii).collect();
    [id.to_owned(), escaped, ascii]
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

    #[test]
    fn refused_messages_go_however_the_id_is_written_and_those_of_others_stay() {
        for (id, raw, stays) in [
            ("josé", r#"{"userId":"jos\u00e9","event":1}"#, false),
            ("CORP\\ann", r#"{"userId":"CORP\\ann"}"#, false),
            ("josé", r#"{"userId":"jos\u00e9","ev"#, false),
            ("CORP\\ann", r#"{"userId":"CORP\\ann","ev"#, false),
            ("5", r#"{"userId":5}"#, false),
            ("5", r#"{"userId":"ann","items":[{"quantity":5,"price":1.5}]}"#, true),
            ("ann", r#"{"userId":"anna"}"#, true),
            ("ann", "ann,view,7", false),
        ] {
            let reason = etalage_model::Refusal::Invalid("it is wrong".into());
            let (raw_bytes, raw) = (raw.len() as u64, raw.as_bytes().to_vec());
            let refused =
                Quarantined { seq: 1, arrived_at: Micros(0), source: "POST /v1/events".into(), reason, raw, raw_bytes };
            let keeps = Erasure::of(vec![Identifier::user(id)]).keeps(&refused);
            assert_eq!(keeps, stays, "{id} in {}", String::from_utf8_lossy(&refused.raw));
        }
    }

    #[test]
    fn an_event_of_somebody_else_loses_what_is_erased_and_nothing_more() {
        let event = serde_json::json!({
            "message_id": "m", "kind": "Page", "timestamp": 1, "items": [],
            "user_id": "bob", "anonymous_id": "w", "previous_id": "ann",
        });
        let event: Event = serde_json::from_value(event).expect("an event");
        let mut erasure = Erasure::of(vec![Identifier::user("ann"), Identifier::anonymous("v")]);
        let mut record = Record { message: Message::Event(event.clone()), content: 0 };
        assert_eq!(erasure.edit(&mut record), Becomes::Changed);
        assert_eq!(record.message, Message::Event(Event { previous_id: None, ..event }));
    }
}
