//! Messages of topics, from where they were last bound.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use etalage_model::{InputKind, Micros, Position};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    message::{Header, Headers},
    types::RDKafkaErrorCode,
};

use crate::{
    Brokers, KafkaError,
    client::{ANSWER_TIMEOUT, Told, partitions},
    ends::{Ends, Part},
};

/// What the client fetches ahead, in kilobytes: of all partitions together.
pub const FETCH_AHEAD_KBYTES: usize = 16_384;

/// A partition of which nothing has come for so long holds nothing more of what was there at the start:
/// its last offsets may be markers of transactions, or messages that compaction has removed.
const QUIET: Duration = Duration::from_secs(30);

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
/// was opened or rewound to.
pub struct Source {
    consumer: BaseConsumer<Told>,
    options: SourceOptions,
    topics: BTreeMap<Arc<str>, InputKind>,
    assigned: BTreeSet<Part>,
    next: BTreeMap<Part, u64>,
    discovered: Instant,
    opened: Instant,
    ends: Ends,
    /// When something last came of a partition, or it was paused.
    heard: BTreeMap<Part, Instant>,
    paused: BTreeSet<Part>,
}

impl Source {
    /// Begins to read: each partition from its position in `from`, the others from their start.
    ///
    /// # Errors
    /// Where no broker answers, a topic is unknown or may not be read.
    pub fn open(options: SourceOptions, from: &[Position]) -> Result<Source, KafkaError> {
        let consumer = options.brokers.client(
            &[
                ("group.id", &options.group),
                ("enable.auto.commit", "false"),
                ("enable.partition.eof", "true"),
                ("auto.offset.reset", "error"),
                ("fetch.wait.max.ms", "5"),
                ("fetch.queue.backoff.ms", "5"),
                ("queued.max.messages.kbytes", &FETCH_AHEAD_KBYTES.to_string()),
                ("allow.auto.create.topics", "false"),
            ],
            Told,
        )?;
        let topics = options.topics.iter().map(|(topic, kind)| (topic.as_str().into(), *kind)).collect();
        let next = from.iter().map(|position| (((&*position.source).into(), position.partition), position.next));
        let mut source = Source {
            consumer,
            options,
            topics,
            assigned: BTreeSet::new(),
            next: next.collect(),
            discovered: Instant::now(),
            opened: Instant::now(),
            ends: Ends::default(),
            heard: BTreeMap::new(),
            paused: BTreeSet::new(),
        };
        source.discover()?;
        let Source { next, .. } = &source;
        source.ends = Ends::now(&source.consumer, source.assigned.iter().cloned(), |part| next.get(part).copied())?;
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
            match self.discover() {
                Err(error) if !error.is_passing() => return Err(error),
                Err(error) => tracing::warn!(%error, "topics could not be asked for new partitions"),
                Ok(()) => {}
            }
        }
        let message = match self.consumer.poll(patience) {
            None => {
                self.listen();
                return Ok(None);
            }
            Some(Err(error)) => return self.not_received(error).map(|()| None),
            Some(Ok(message)) => message,
        };
        let found = self.topics.get_key_value(message.topic()).map(|(topic, kind)| (Arc::clone(topic), *kind));
        let Some((topic, kind)) = found else { return Ok(None) };
        let (partition, offset) = (message.partition() as u32, message.offset() as u64);
        let received = Received {
            topic: Arc::clone(&topic),
            kind,
            partition,
            offset,
            at: message.timestamp().to_millis().and_then(|ms| u64::try_from(ms).ok()).map(|ms| Micros(ms * 1_000)),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers: message.headers().map_or_else(Vec::new, |headers| headers.iter().filter_map(text_of).collect()),
        };
        drop(message);
        let part = (topic, partition);
        self.ends.read(&part, offset);
        if !self.ends.are_reached() {
            self.heard.insert(part.clone(), Instant::now());
        }
        self.next.insert(part, offset + 1);
        Ok(Some(received))
    }

    /// Gives up the ends of partitions that have been quiet for long although they are not paused.
    fn listen(&mut self) {
        let now = Instant::now();
        let is_quiet = |part: &&Part| {
            let heard = self.heard.get(*part).copied().unwrap_or(self.opened);
            !self.paused.contains(*part) && now.duration_since(heard) > QUIET
        };
        let quiet: Vec<Part> = self.ends.open().filter(is_quiet).cloned().collect();
        for part in quiet {
            tracing::warn!(topic = %part.0, partition = part.1, "nothing more comes of what was there at the start");
            self.ends.give_up(&part);
        }
    }

    fn not_received(&mut self, error: rdkafka::error::KafkaError) -> Result<(), KafkaError> {
        use rdkafka::error::KafkaError as Client;
        match (&error, error.rdkafka_error_code()) {
            (Client::PartitionEOF(partition), _) => self.ends.end_of_only(*partition as u32),
            (_, Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset)) => {
                return Err(self.gone().unwrap_or_else(|| KafkaError::of("read topics", error)));
            }
            (_, Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => {
                tracing::warn!(%error, "a topic that is read is gone, or its broker is");
            }
            (_, Some(RDKafkaErrorCode::TopicAuthorizationFailed)) => return Err(KafkaError::of("read topics", error)),
            (Client::MessageConsumptionFatal(_), _) => return Err(KafkaError::of("read topics", error)),
            _ => tracing::warn!(%error, "a topic cannot be read for now"),
        }
        Ok(())
    }

    /// The first partition of which messages that were never read are gone.
    fn gone(&self) -> Option<KafkaError> {
        self.assigned.iter().find_map(|part| {
            let marks = self.consumer.fetch_watermarks(&part.0, part.1 as i32, ANSWER_TIMEOUT);
            let (low, high) = marks.ok()?;
            let next = self.next.get(part).copied().unwrap_or(0);
            let is_gone = next < low as u64 || next > high as u64;
            is_gone.then(|| KafkaError::Gone { topic: part.0.to_string(), partition: part.1, next })
        })
    }

    /// Looks for partitions that are not read yet, and begins to read them.
    fn discover(&mut self) -> Result<(), KafkaError> {
        self.discovered = Instant::now();
        let (mut fresh, mut parts) = (TopicPartitionList::new(), Vec::new());
        for topic in self.topics.keys() {
            for partition in partitions(&self.consumer, &self.options.brokers, topic)? {
                let part = (Arc::clone(topic), partition);
                if !self.assigned.contains(&part) {
                    let next = self.next.get(&part).map_or(Offset::Beginning, |next| Offset::Offset(*next as i64));
                    let added = fresh.add_partition_offset(topic, partition as i32, next);
                    added.map_err(|error| KafkaError::of(format!("read `{topic}`"), error))?;
                    parts.push(part);
                }
            }
        }
        if fresh.count() > 0 {
            tracing::info!(partitions = fresh.count(), "begins to read");
            self.consumer.incremental_assign(&fresh).map_err(|error| KafkaError::of("read topics", error))?;
            self.assigned.extend(parts);
        }
        Ok(())
    }

    /// Stops or goes on fetching partitions.
    ///
    /// # Errors
    /// Where the client refuses.
    pub fn pause(&mut self, parts: &[Part], is_paused: bool) -> Result<(), KafkaError> {
        for part in parts {
            self.heard.insert(part.clone(), Instant::now());
            match is_paused {
                true => self.paused.insert(part.clone()),
                false => self.paused.remove(part),
            };
        }
        let mut list = TopicPartitionList::new();
        parts.iter().for_each(|(topic, partition)| _ = list.add_partition(topic, *partition as i32));
        let done = if is_paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        done.map_err(|error| KafkaError::of("pause partitions", error))
    }

    /// Tells the consumer group how far partitions have been read, without waiting for it.
    pub fn commit(&self, positions: &[Position]) {
        let mut list = TopicPartitionList::new();
        for position in positions {
            let next = Offset::Offset(position.next as i64);
            // A position is an offset, which the list takes.
            let _ = list.add_partition_offset(&position.source, position.partition as i32, next);
        }
        if let Err(error) = self.consumer.commit(&list, CommitMode::Async) {
            tracing::debug!(%error, "offsets could not be committed; they are only for watching lag");
        }
    }
}

/// Name and text of a header.
fn text_of(header: Header<'_, &[u8]>) -> Option<(String, String)> {
    Some((header.key.to_owned(), String::from_utf8(header.value?.to_vec()).ok()?))
}
