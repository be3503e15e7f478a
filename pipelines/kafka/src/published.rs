//! What the output topics hold: the newest value of every key.

use std::{
    collections::{BTreeMap, HashMap},
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
};

/// How long nothing may come before reading is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Number of the topic and key → hash of the newest value. Tombstones are left out.
pub(crate) type Newest = HashMap<(usize, Vec<u8>), u128>;

/// What topics hold.
#[derive(Debug, Default)]
pub(crate) struct Published {
    pub(crate) newest: Newest,
    /// Number of the topic and partition → its end.
    pub(crate) ends: BTreeMap<(usize, u32), u64>,
}

/// Reads `topics` from their start to the ends that they have now.
///
/// **Bound**: a key and 16 bytes for each key of the topics.
pub(crate) fn read(brokers: &Brokers, topics: &[String]) -> Result<Published, KafkaError> {
    let mut reader = Reader::open(brokers, "etalage-published", "earliest")?;
    let (mut parts, mut numbers): (Vec<Part>, BTreeMap<Arc<str>, usize>) = Default::default();
    for (number, topic) in topics.iter().enumerate() {
        let name: Arc<str> = topic.as_str().into();
        let partitions = partitions(reader.consumer(), brokers, topic)?;
        parts.extend(partitions.into_iter().map(|partition| (Arc::clone(&name), partition)));
        numbers.insert(name, number);
    }
    let mut ends = Ends::now(reader.consumer(), parts.iter().cloned(), |_| None)?;
    reader.assign(parts.into_iter().map(|part| (part, Offset::Beginning)))?;
    let at = ends.all().map(|((topic, partition), end)| ((numbers[topic], *partition), end)).collect();
    let (mut newest, mut heard) = (Newest::new(), Instant::now());
    while !ends.are_reached() {
        let arrived = reader.next(Duration::from_millis(100), |part, message| {
            let place = (numbers[&part.0], message.key().unwrap_or_default().to_vec());
            match message.payload() {
                Some(value) => _ = newest.insert(place, hash128(value)),
                None => _ = newest.remove(&place),
            }
            ends.read(part, message.offset() as u64);
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
    Ok(Published { newest, ends: at })
}
