//! Messages of topics, from where they were last bound.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use etalage_model::{InputKind, Micros, Position};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer},
    error::KafkaError as ClientError,
    message::{BorrowedMessage, Header, Headers},
    types::RDKafkaErrorCode,
};

use crate::{
    Brokers, KafkaError,
    client::{ANSWER_TIMEOUT, partitions_within},
    ends::Ends,
    reader::{Arrived, Part, Reader},
};

/// How long a broker may take to tell of new partitions: nothing is read meanwhile.
const DISCOVER_TIMEOUT: Duration = Duration::from_secs(1);

/// What is read, and how.
#[derive(Clone, Debug)]
pub struct SourceOptions {
    /// How brokers are reached.
    pub brokers: Brokers,
    /// The topics, and what kind of messages they hold.
    pub topics: Vec<(String, InputKind)>,
    /// The consumer group to which offsets are committed, so that lag can be watched. Nothing is read
    /// back from it.
    pub group: String,
    /// How often topics are asked whether they have got more partitions.
    pub discover_every: Duration,
}

/// A message of a topic.
#[derive(Clone, Debug)]
pub struct Received {
    /// The topic.
    pub topic: Arc<str>,
    /// What it holds.
    pub kind: InputKind,
    /// The partition.
    pub partition: u32,
    /// Its place there.
    pub offset: u64,
    /// When it was produced.
    pub at: Option<Micros>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// What it says; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Its headers, those that are text.
    pub headers: Vec<(String, String)>,
}

/// Reads topics.
///
/// **Delivery**: at least once, in the order of offsets within a partition, from the position that it
/// was opened at.
pub struct Source {
    reader: Reader,
    options: SourceOptions,
    topics: BTreeMap<Arc<str>, InputKind>,
    assigned: BTreeSet<Part>,
    next: BTreeMap<Part, u64>,
    /// Where partitions begin of which no position was known.
    begun: Vec<Position>,
    discovered: Instant,
    ends: Ends,
}

impl Source {
    /// Begins to read: each partition from its position in `from`, the others from their start.
    ///
    /// # Errors
    /// Where no broker answers, a topic is unknown or may not be read.
    pub fn open(options: SourceOptions, from: &[Position]) -> Result<Source, KafkaError> {
        let reader = Reader::open(&options.brokers, &options.group, "error")?;
        let topics = options.topics.iter().map(|(topic, kind)| (topic.as_str().into(), *kind)).collect();
        let next = from.iter().map(|position| (((&*position.source).into(), position.partition), position.next));
        let mut source = Source {
            reader,
            options,
            topics,
            assigned: BTreeSet::new(),
            next: next.collect(),
            begun: Vec::new(),
            discovered: Instant::now(),
            ends: Ends::default(),
        };
        let fresh = source.discover(ANSWER_TIMEOUT)?;
        // Before anything is read: what is told of a partition's end then is told of this one.
        source.ends =
            Ends::now(source.reader.consumer(), fresh.iter().cloned(), |part| source.next.get(part).copied())?;
        for part in &fresh {
            let start = source.ends.start(part);
            start.into_iter().for_each(|start| source.begins_at(part, start));
        }
        source.assign(fresh)?;
        Ok(source)
    }

    /// True once everything that the topics held when they were opened was read.
    pub fn has_caught_up(&self) -> bool {
        self.ends.are_reached()
    }

    /// True where some of what the partition held when it was opened is still to be read.
    pub fn is_behind(&self, part: &Part) -> bool {
        self.ends.is_open(part)
    }

    /// The partitions that are read.
    pub fn partitions(&self) -> impl Iterator<Item = &Part> {
        self.assigned.iter()
    }

    /// The next message, if one comes within `patience`.
    ///
    /// # Errors
    /// Where messages that were never read are gone, or the client gives up. What passes by itself (a
    /// broker that is away) is logged, and waited for.
    pub fn receive(&mut self, patience: Duration) -> Result<Option<Received>, KafkaError> {
        if self.discovered.elapsed() >= self.options.discover_every {
            let found = self.discover(DISCOVER_TIMEOUT).and_then(|fresh| self.begin(fresh));
            // From its end on: brokers that are slow to answer are not asked all the time.
            self.discovered = Instant::now();
            match found {
                Err(error @ KafkaError::Unauthorised { .. }) => return Err(error),
                // Brokers that have just started do not know all topics yet.
                Err(error) => tracing::warn!(%error, "topics could not be asked for new partitions"),
                Ok(()) => {}
            }
        }
        let topics = &self.topics;
        loop {
            match self.reader.next(patience, |part, message| received(part, topics[&part.0], message)) {
                None => return Ok(None),
                Some(Arrived::Message(received)) => {
                    let part = (Arc::clone(&received.topic), received.partition);
                    self.ends.read(&part, received.offset);
                    self.next.insert(part, received.offset + 1);
                    return Ok(Some(received));
                }
                // Behind the last message there may be markers of transactions, or what compaction removed.
                Some(Arrived::End(part)) if self.ends.is_open(&part) => {
                    self.ends.reached(&part);
                    return Ok(None);
                }
                Some(Arrived::End(_)) => {}
                Some(Arrived::Failed(part, error)) => {
                    self.not_received(part, error)?;
                    return Ok(None);
                }
            }
        }
    }

    fn not_received(&self, part: Option<Part>, error: ClientError) -> Result<(), KafkaError> {
        match (&error, error.rdkafka_error_code()) {
            (_, Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset)) => {
                let gone = part.and_then(|part| self.gone(part));
                return Err(gone.unwrap_or_else(|| KafkaError::of("read topics", error)));
            }
            (_, Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => {
                tracing::warn!(%error, "a topic that is read is gone, or its broker is");
            }
            (_, Some(RDKafkaErrorCode::TopicAuthorizationFailed)) | (ClientError::MessageConsumptionFatal(_), _) => {
                return Err(KafkaError::of("read topics", error));
            }
            _ => tracing::warn!(%error, "a topic cannot be read for now"),
        }
        Ok(())
    }

    /// What is to be said where a partition holds no message at the offset that comes next.
    fn gone(&self, part: Part) -> Option<KafkaError> {
        let marks = self.reader.consumer().fetch_watermarks(&part.0, part.1 as i32, ANSWER_TIMEOUT);
        let (low, high) = marks.ok()?;
        let next = self.next.get(&part).copied().unwrap_or(0);
        let is_gone = next < low as u64 || next > high as u64;
        is_gone.then(|| KafkaError::Gone { topic: part.0.to_string(), partition: part.1, next })
    }

    /// Looks for partitions that are not read yet.
    fn discover(&self, patience: Duration) -> Result<Vec<Part>, KafkaError> {
        let mut fresh = Vec::new();
        for topic in self.topics.keys() {
            let partitions = partitions_within(self.reader.consumer(), &self.options.brokers, topic, patience)?;
            let parts = partitions.into_iter().map(|partition| (Arc::clone(topic), partition));
            fresh.extend(parts.filter(|part| !self.assigned.contains(part)));
        }
        Ok(fresh)
    }

    /// Begins to read partitions that were found later: those that tell where they begin.
    fn begin(&mut self, fresh: Vec<Part>) -> Result<(), KafkaError> {
        let mut known = Vec::new();
        for part in fresh {
            match self.reader.consumer().fetch_watermarks(&part.0, part.1 as i32, DISCOVER_TIMEOUT) {
                Ok((start, _)) => {
                    self.begins_at(&part, start as u64);
                    known.push(part);
                }
                Err(error) => {
                    tracing::warn!(%error, topic = %part.0, partition = part.1, "a new partition is not read yet");
                }
            }
        }
        self.assign(known)
    }

    /// Where no position of a partition is known, it begins at its oldest message, which is at `start`.
    fn begins_at(&mut self, part: &Part, start: u64) {
        if !self.next.contains_key(part) {
            self.next.insert(part.clone(), start);
            self.begun.push(Position { source: (&*part.0).into(), partition: part.1, next: start });
        }
    }

    /// Begins to read partitions whose positions are known.
    fn assign(&mut self, fresh: Vec<Part>) -> Result<(), KafkaError> {
        if fresh.is_empty() {
            return Ok(());
        }
        tracing::info!(partitions = fresh.len(), "begins to read");
        self.reader.assign(fresh.iter().map(|part| (part.clone(), Offset::Offset(self.next[part] as i64))))?;
        self.assigned.extend(fresh);
        Ok(())
    }

    /// Where partitions begin that had no position, since this was last asked. Once that is bound, no
    /// message of them can go by unread, also of those that have none yet.
    pub fn begun(&mut self) -> Vec<Position> {
        std::mem::take(&mut self.begun)
    }

    /// Takes nothing more of partitions, or goes on with them.
    pub fn hold(&mut self, parts: &[Part], is_held: bool) {
        self.reader.hold(parts, is_held);
    }

    /// Tells the consumer group how far partitions have been read, without waiting for it.
    pub fn commit(&self, positions: &[Position]) {
        let mut list = TopicPartitionList::new();
        for position in positions {
            let next = Offset::Offset(position.next as i64);
            // A position is an offset, which the list takes.
            let _ = list.add_partition_offset(&position.source, position.partition as i32, next);
        }
        if let Err(error) = self.reader.consumer().commit(&list, CommitMode::Async) {
            tracing::debug!(%error, "offsets could not be committed; they are only for watching lag");
        }
    }
}

/// A message as it is handed on.
fn received(part: &Part, kind: InputKind, message: &BorrowedMessage<'_>) -> Received {
    Received {
        topic: Arc::clone(&part.0),
        kind,
        partition: part.1,
        offset: message.offset() as u64,
        at: message.timestamp().to_millis().and_then(|ms| u64::try_from(ms).ok()).map(|ms| Micros(ms * 1_000)),
        key: message.key().map(<[u8]>::to_vec),
        payload: message.payload().map(<[u8]>::to_vec),
        headers: message.headers().map_or_else(Vec::new, |headers| headers.iter().filter_map(text_of).collect()),
    }
}

/// Name and text of a header.
fn text_of(header: Header<'_, &[u8]>) -> Option<(String, String)> {
    Some((header.key.to_owned(), String::from_utf8(header.value?.to_vec()).ok()?))
}
