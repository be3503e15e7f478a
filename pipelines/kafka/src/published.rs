//! What the output topics hold: the newest value of every key.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use etalage_model::hash::hash128;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};

use crate::{
    Brokers, KafkaError,
    client::{Told, partitions},
    ends::{Ends, Part},
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
    let consumer: BaseConsumer<Told> = brokers.client(
        &[
            ("group.id", "etalage-published"),
            ("enable.auto.commit", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "earliest"),
            ("fetch.wait.max.ms", "5"),
            ("allow.auto.create.topics", "false"),
        ],
        Told,
    )?;
    let (mut list, mut parts) = (TopicPartitionList::new(), Vec::new());
    let mut numbers: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    for (number, topic) in topics.iter().enumerate() {
        numbers.insert(topic.as_str().into(), number);
        for partition in partitions(&consumer, brokers, topic)? {
            parts.push((Arc::from(topic.as_str()), partition));
            let added = list.add_partition_offset(topic, partition as i32, Offset::Beginning);
            added.map_err(|error| KafkaError::of(format!("read `{topic}`"), error))?;
        }
    }
    let mut ends = Ends::now(&consumer, parts, |_| None)?;
    consumer.assign(&list).map_err(|error| KafkaError::of("read the output topics", error))?;
    let of = |(topic, partition): &Part| (numbers[topic], *partition);
    let at = ends.all().map(|(part, end)| (of(part), end)).collect();
    let (mut newest, mut heard) = (Newest::new(), Instant::now());
    while !ends.are_reached() {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                heard = Instant::now();
                let Some((topic, number)) = numbers.get_key_value(message.topic()) else { continue };
                let place = (*number, message.key().unwrap_or_default().to_vec());
                match message.payload() {
                    Some(value) => _ = newest.insert(place, hash128(value)),
                    None => _ = newest.remove(&place),
                }
                ends.read(&(Arc::clone(topic), message.partition() as u32), message.offset() as u64);
            }
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(partition))) => ends.end_of(partition as u32),
            Some(Err(error)) => tracing::warn!(%error, "an output topic cannot be read for now"),
            None => {}
        }
        if heard.elapsed() > PATIENCE {
            let reason = "nothing came for 30 seconds".to_owned();
            return Err(KafkaError::Other { action: "read the output topics".into(), reason });
        }
    }
    Ok(Published { newest, ends: at })
}
