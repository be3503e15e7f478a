//! What a subscriber sees: all changes of several views up to one tick at a time.
//!
//! ```text
//!   etalage.<view>.v1 ──> held by partition ──┐
//!                                             ├──> cuts: everything below the told offsets
//!   etalage.progress.v1 ──> tick, offsets ────┘
//! ```
//!
//! A message of the progress topic says at which offset each partition stood when everything up to its
//! tick was delivered. What lies below belongs to that tick, what lies above to a later one.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use etalage_model::{Micros, Tick};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::{BorrowedHeaders, Headers},
};

use crate::{
    Brokers, KafkaError, PROGRESS_TOPIC,
    client::{Told, partitions},
    ends::Part,
    topics,
};

/// A change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The view.
    pub view: Arc<str>,
    /// The key, as JSON.
    pub key: Vec<u8>,
    /// The value, as JSON; `None` where the key has none any more.
    pub value: Option<Vec<u8>>,
    /// The tick in which it changed.
    pub as_of: Tick,
}

/// All changes since the cut before, and the tick as of which the values hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// The tick.
    pub tick: Tick,
    /// The changes, by partition in the order of their offsets. A key may have several.
    pub changes: Vec<Change>,
}

/// What was told of progress.
struct Progress {
    tick: Tick,
    /// Of each partition, the first offset that does not belong to it.
    ends: BTreeMap<Part, u64>,
}

/// Reads views from their topics.
///
/// **Delivery**: from the start of the topics, each change once, in cuts of rising ticks. Topics are
/// compacted: of changes long ago only the newest of each key are seen.
pub struct Subscription {
    consumer: BaseConsumer<Told>,
    /// View by topic.
    views: BTreeMap<Arc<str>, Arc<str>>,
    progress_topic: String,
    held: BTreeMap<Part, VecDeque<(u64, Change)>>,
    /// How far each partition has been read.
    read: BTreeMap<Part, u64>,
    told: VecDeque<Progress>,
}

impl Subscription {
    /// Begins to read `views`, whose topics begin with `prefix`.
    ///
    /// # Errors
    /// Where no broker answers, or a topic is missing or may not be read.
    pub fn open(brokers: &Brokers, prefix: &str, views: &[&str]) -> Result<Subscription, KafkaError> {
        let consumer: BaseConsumer<Told> = brokers.client(
            &[
                ("group.id", "etalage-subscription"),
                ("enable.auto.commit", "false"),
                ("auto.offset.reset", "earliest"),
                ("fetch.wait.max.ms", "5"),
                ("fetch.queue.backoff.ms", "5"),
                ("allow.auto.create.topics", "false"),
            ],
            Told,
        )?;
        let progress_topic = format!("{prefix}{PROGRESS_TOPIC}");
        let names = views.iter().map(|view| (Arc::from(topics::of_view(prefix, view)), Arc::from(*view)));
        let views: BTreeMap<Arc<str>, Arc<str>> = names.collect();
        let mut list = TopicPartitionList::new();
        // Of progress only the newest matters.
        let from = views.keys().map(|topic| (&**topic, Offset::Beginning));
        for (topic, offset) in from.chain([(&*progress_topic, Offset::OffsetTail(1))]) {
            for partition in partitions(&consumer, brokers, topic)? {
                let added = list.add_partition_offset(topic, partition as i32, offset);
                added.map_err(|error| KafkaError::of(format!("read `{topic}`"), error))?;
            }
        }
        consumer.assign(&list).map_err(|error| KafkaError::of("read views", error))?;
        Ok(Subscription {
            consumer,
            views,
            progress_topic,
            held: BTreeMap::new(),
            read: BTreeMap::new(),
            told: VecDeque::new(),
        })
    }

    /// The next cut, if one is complete within `patience`.
    ///
    /// # Errors
    /// Where the topics cannot be read any more.
    pub fn next(&mut self, patience: Duration) -> Result<Option<Cut>, KafkaError> {
        let until = Instant::now() + patience;
        loop {
            if let Some(cut) = self.cut() {
                return Ok(Some(cut));
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.consumer.poll(left) {
                None => return Ok(None),
                Some(Err(error)) => {
                    let error = KafkaError::of("read views", error);
                    if !error.is_passing() {
                        return Err(error);
                    }
                    tracing::warn!(%error, "views cannot be read for now");
                }
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition() as u32, message.offset() as u64);
                    let key = message.key().unwrap_or_default().to_vec();
                    let value = message.payload().map(<[u8]>::to_vec);
                    if message.topic() == self.progress_topic {
                        self.told.extend(value.as_deref().and_then(progress));
                        continue;
                    }
                    let Some((topic, view)) = self.views.get_key_value(message.topic()) else { continue };
                    let (part, view) = ((Arc::clone(topic), partition), Arc::clone(view));
                    self.read.insert(part.clone(), offset + 1);
                    let as_of = message.headers().and_then(as_of).unwrap_or(0);
                    self.held.entry(part).or_default().push_back((offset, Change { view, key, value, as_of }));
                }
            }
        }
    }

    /// The newest cut of which everything has been read.
    fn cut(&mut self) -> Option<Cut> {
        let is_read = |(part, end): (&Part, &u64)| {
            *end == 0 || !self.views.contains_key(&part.0) || self.read.get(part).is_some_and(|read| read >= end)
        };
        let newest = self.told.iter().rposition(|progress| progress.ends.iter().all(is_read))?;
        let Progress { tick, ends } = self.told.drain(..=newest).next_back()?;
        let mut changes = Vec::new();
        for (part, held) in &mut self.held {
            let end = ends.get(part).copied().unwrap_or(0);
            while let Some((_, change)) = held.pop_front_if(|(offset, _)| *offset < end) {
                changes.push(change);
            }
        }
        Some(Cut { tick, changes })
    }
}

/// The tick that the headers name.
fn as_of(headers: &BorrowedHeaders) -> Option<Tick> {
    let text = headers.iter().find(|header| header.key == "as-of")?.value?;
    Micros::parse(std::str::from_utf8(text).ok()?).map(|at| at.0)
}

/// Reads a message of the progress topic. What is none is passed over.
fn progress(json: &[u8]) -> Option<Progress> {
    let told: serde_json::Value = serde_json::from_slice(json).ok()?;
    let mut ends = BTreeMap::new();
    for (topic, partitions) in told.get("offsets")?.as_object()? {
        for (partition, end) in partitions.as_object()? {
            ends.insert((Arc::from(topic.as_str()), partition.parse().ok()?), end.as_u64()?);
        }
    }
    Some(Progress { tick: told.get("tick")?.as_u64()?, ends })
}
