//! What the output topics hold: the newest value of every key.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use etalage_model::hash::hash128;
use rdkafka::{Message, Offset};

use crate::{
    Brokers, KafkaError,
    client::partitions,
    ends::Ends,
    reader::{Arrived, Part, Reader},
    sink::Output,
};

/// How long nothing may come before reading is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Number of the topic and key → hash of the newest value. Tombstones are left out.
pub(crate) type Newest = HashMap<(usize, Vec<u8>), u128>;

/// What topics hold.
#[derive(Debug, Default)]
pub(crate) struct Published {
    pub(crate) newest: Newest,
    /// Of topics that tell changes, the newest value itself.
    pub(crate) told: HashMap<(usize, Vec<u8>), Vec<u8>>,
    /// Of topics that tell changes, keys of which the end was told, without a tombstone behind it.
    pub(crate) ended: HashSet<(usize, Vec<u8>)>,
    /// Number of the topic and partition → behind its last message.
    pub(crate) ends: BTreeMap<(usize, u32), u64>,
}

impl Published {
    /// A message of a topic that holds values.
    fn take(&mut self, place: (usize, Vec<u8>), value: Option<&[u8]>) {
        match value {
            Some(value) => _ = self.newest.insert(place, hash128(value)),
            None => _ = self.newest.remove(&place),
        }
    }

    /// A message of a topic that tells changes.
    fn take_change(&mut self, place: (usize, Vec<u8>), change: Option<&[u8]>) {
        let value = change.and_then(after);
        match (change, value) {
            (Some(_), None) => _ = self.ended.insert(place.clone()),
            _ => _ = self.ended.remove(&place),
        }
        match value {
            Some(value) => _ = self.told.insert(place.clone(), value.to_vec()),
            None => _ = self.told.remove(&place),
        }
        self.take(place, value);
    }
}

/// What stands after a change; nothing where that is no value.
fn after(change: &[u8]) -> Option<&[u8]> {
    #[derive(serde::Deserialize)]
    struct Change<'a> {
        #[serde(borrow)]
        after: Option<&'a serde_json::value::RawValue>,
    }
    let Change { after } = serde_json::from_slice(change).ok()?;
    after.map(|after| after.get().as_bytes())
}

/// Reads `outputs` from their start to the ends that they have now.
///
/// **Bound**: a key and 16 bytes for each key of the topics; of those that tell changes a value.
pub(crate) fn read(brokers: &Brokers, outputs: &[Output]) -> Result<Published, KafkaError> {
    let mut reader = Reader::open(brokers, "etalage-published", "earliest")?;
    let (mut parts, mut numbers): (Vec<Part>, BTreeMap<Arc<str>, usize>) = Default::default();
    for (number, output) in outputs.iter().enumerate() {
        let name: Arc<str> = output.topic.as_str().into();
        let partitions = partitions(reader.consumer(), brokers, &output.topic)?;
        parts.extend(partitions.into_iter().map(|partition| (Arc::clone(&name), partition)));
        numbers.insert(name, number);
    }
    let mut ends = Ends::now(reader.consumer(), parts.iter().cloned(), |_| None)?;
    reader.assign(parts.into_iter().map(|part| (part, Offset::Beginning)))?;
    let (mut published, mut heard) = (Published::default(), Instant::now());
    while !ends.are_reached() {
        let arrived = reader.next(Duration::from_millis(100), |part, message| {
            let (number, offset) = (numbers[&part.0], message.offset() as u64);
            let place = (number, message.key().unwrap_or_default().to_vec());
            match outputs[number].tells_changes {
                true => published.take_change(place, message.payload()),
                false => published.take(place, message.payload()),
            }
            // Not the end that the broker tells: behind the last message there may be what ends a transaction, which
            // nobody is shown.
            published.ends.insert((number, part.1), offset + 1);
            ends.read(part, offset);
        });
        match arrived {
            Some(Arrived::Message(())) => heard = Instant::now(),
            Some(Arrived::End(part)) => ends.reached(&part),
            Some(Arrived::Failed(_, error)) => tracing::warn!(%error, "an output topic cannot be read for now"),
            None => {}
        }
        if heard.elapsed() > PATIENCE {
            let reason = "nothing came for 30 seconds".to_owned();
            return Err(KafkaError::Other { action: "read the output topics".into(), reason });
        }
    }
    Ok(published)
}
