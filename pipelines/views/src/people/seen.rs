//! An event as a fact: a place in the batch in which it came, so that nothing is copied.

use std::{cmp::Ordering, sync::Arc};

use etalage_model::{Event, Message, Record};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error};

use crate::parts::Batch;

/// An event of a batch; ordered by (timestamp, messageId).
#[derive(Clone, Debug)]
pub struct Seen {
    batch: Batch,
    place: u32,
}

impl Seen {
    /// Every event of a batch.
    pub fn all(batch: &Batch) -> impl Iterator<Item = Seen> + '_ {
        let is_event = |record: &Record| matches!(record.message, Message::Event(_));
        let events = batch.iter().enumerate().filter(move |(_, record)| is_event(record));
        events.map(|(place, _)| Seen { batch: Arc::clone(batch), place: place as u32 })
    }

    /// The event.
    pub fn event(&self) -> &Event {
        match &self.batch[self.place as usize].message {
            Message::Event(event) => event,
            other => unreachable!("{other:?} is no event"),
        }
    }
}

fn order(event: &Event) -> (u64, &str) {
    (event.timestamp.0, &event.message_id)
}

impl PartialEq for Seen {
    fn eq(&self, other: &Seen) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Seen {}
impl PartialOrd for Seen {
    fn partial_cmp(&self, other: &Seen) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Seen {
    fn cmp(&self, other: &Seen) -> Ordering {
        order(self.event()).cmp(&order(other.event()))
    }
}

/// Between processes only the event itself travels.
impl Serialize for Seen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.batch.get(self.place as usize).ok_or_else(|| S::Error::custom("no such event"))?;
        record.serialize(serializer)
    }
}
impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Seen, D::Error> {
        let record = Record::deserialize(deserializer)?;
        Ok(Seen { batch: Arc::new(vec![record]), place: 0 })
    }
}
