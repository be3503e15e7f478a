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
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use etalage_model::{Group, Micros, Tick};
use rdkafka::{
    Message, Offset,
    message::{BorrowedHeaders, BorrowedMessage, Headers},
};

use crate::{
    Brokers, KafkaError,
    client::partitions,
    reader::{Arrived, Part, Reader},
    topics,
};

/// Changes of a partition beyond what progress has told that are held. While it stands still, no more
/// are read; what belongs to the next cut always is.
pub const MAX_HELD: usize = 100_000;

/// So many of the last places of progress are looked through for the newest message: between messages of
/// transactions stand their ends, and what was cancelled.
const PROGRESS_TAIL: i64 = 1_000;

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
    /// When the oldest of its causes arrived.
    pub first_ingested_at: Option<Micros>,
}

/// All changes since the cut before, and the tick as of which the values hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// The tick.
    pub tick: Tick,
    /// The changes, by partition in the order of their offsets. A key may have several.
    pub changes: Vec<Change>,
    /// When the causes of the newest changes happened, arrived, and were sealed.
    pub times: Times,
}

/// The times of a tick, by the wall clock of whoever has sealed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The newest event time among the causes.
    pub max_event_time: Option<Micros>,
    /// When the oldest cause arrived.
    pub first_ingested_at: Option<Micros>,
    /// When the newest cause arrived.
    pub last_ingested_at: Option<Micros>,
    /// When all workers had passed the tick.
    pub sealed_at: Option<Micros>,
}

/// What was told of progress.
struct Progress {
    tick: Tick,
    times: Times,
    /// Of each partition, the first offset that does not belong to it.
    ends: BTreeMap<Part, u64>,
}

/// Reads views from their topics.
///
/// **Delivery**: from the start of the topics, each change once, in cuts of rising ticks. Topics are
/// compacted: of changes long ago only the newest of each key are seen.
pub struct Subscription {
    reader: Reader,
    /// View by topic.
    views: BTreeMap<Arc<str>, Arc<str>>,
    held: BTreeMap<Part, VecDeque<(u64, Change)>>,
    /// Partitions of which too much is held: they are not read for now.
    full: Vec<Part>,
    /// Partitions of views that are read.
    known: BTreeSet<Part>,
    /// How far each partition has been read.
    read: BTreeMap<Part, u64>,
    /// Partitions that had no more messages when they were last read.
    at_end: BTreeSet<Part>,
    /// How many cuts were given.
    cuts: u64,
    /// What is waited for: it keeps its place while newer progress is told.
    next: Option<Progress>,
    /// The newest that was told since.
    newest: Option<Progress>,
    /// The partition of progress, until the newest message that it held at the start was read: older ones are of ticks
    /// that the topics no longer hold.
    catching_up: Option<Part>,
}

/// A message, as far as a subscriber looks at it.
enum Told {
    Progress(Option<Progress>),
    Change(Part, u64, Change),
}

impl Subscription {
    /// Begins to read `views`, all of one group, whose topics begin with `prefix`.
    ///
    /// # Errors
    /// Where no broker answers, or a topic is missing or may not be read.
    pub fn open(brokers: &Brokers, prefix: &str, group: Group, views: &[&str]) -> Result<Subscription, KafkaError> {
        let mut reader = Reader::open(brokers, "etalage-subscription", "earliest")?;
        let names = views.iter().map(|view| (Arc::from(topics::of_view(prefix, view)), Arc::from(*view)));
        let views: BTreeMap<Arc<str>, Arc<str>> = names.collect();
        let mut parts = Vec::new();
        let progress: Arc<str> = topics::of_progress(prefix, group).into();
        let from = views.keys().map(|topic| (topic, Offset::Beginning));
        for (topic, offset) in from.chain([(&progress, Offset::OffsetTail(PROGRESS_TAIL))]) {
            let partitions = partitions(reader.consumer(), brokers, topic)?;
            parts.extend(partitions.into_iter().map(|partition| ((Arc::clone(topic), partition), offset)));
        }
        let known = parts.iter().map(|(part, _)| part.clone()).collect();
        reader.assign(parts)?;
        Ok(Subscription {
            reader,
            views,
            held: BTreeMap::new(),
            full: Vec::new(),
            known,
            read: BTreeMap::new(),
            at_end: BTreeSet::new(),
            cuts: 0,
            next: None,
            newest: None,
            catching_up: Some((progress, 0)),
        })
    }

    /// The next cut, if one is complete within `patience`.
    ///
    /// # Errors
    /// Where the topics cannot be read any more.
    pub fn next(&mut self, patience: Duration) -> Result<Option<Cut>, KafkaError> {
        let (until, mut may_be_complete) = (Instant::now() + patience, true);
        loop {
            if may_be_complete && let Some(cut) = self.cut() {
                return Ok(Some(cut));
            }
            may_be_complete = false;
            let left = until.saturating_duration_since(Instant::now());
            let views = &self.views;
            match self.reader.next(left, |part, message| told(views, part, message)) {
                Some(Arrived::Message(Told::Progress(progress))) => {
                    self.newest = progress.or(self.newest.take());
                    if self.catching_up.is_some() {
                        continue;
                    }
                    self.look_for_new()?;
                    // What is waited for keeps its place: only where there is none, this is it.
                    if self.next.is_none() {
                        self.go_on();
                    }
                    may_be_complete = true;
                }
                Some(Arrived::Message(Told::Change(part, offset, change))) => {
                    let end = self.next.as_ref().and_then(|next| next.ends.get(&part));
                    may_be_complete = end.is_some_and(|end| *end <= offset + 1);
                    self.read.insert(part.clone(), offset + 1);
                    self.at_end.remove(&part);
                    let held = self.held.entry(part.clone()).or_default();
                    held.push_back((offset, change));
                    if held.len() >= MAX_HELD && end.is_none_or(|end| *end <= offset + 1) {
                        self.reader.hold(std::slice::from_ref(&part), true);
                        self.full.push(part);
                    }
                }
                Some(Arrived::End(part)) => {
                    if self.catching_up.take_if(|progress| *progress == part).is_some() {
                        self.look_for_new()?;
                        self.go_on();
                        may_be_complete = true;
                    }
                    self.at_end.insert(part);
                }
                Some(Arrived::Failed(_, error)) => {
                    let error = KafkaError::of("read views", error);
                    if !error.is_passing() {
                        return Err(error);
                    }
                    tracing::warn!(%error, "views cannot be read for now");
                }
                None => return Ok(None),
            }
            if left.is_zero() && !patience.is_zero() {
                return Ok(None);
            }
        }
    }

    /// Whether the cuts given so far tell the newest value of every key as of the last of them.
    ///
    /// While topics are read for the first time, what belongs to a cut may be removed by compaction because a newer value
    /// stands above it. Nothing stands above where every partition is at its end and nothing is held; and what was told
    /// after the first cut was given has all that stood there then: the third cut at the latest.
    pub fn is_whole(&self) -> bool {
        let is_of_view = |part: &&Part| self.views.contains_key(&part.0);
        let is_at_end = self.known.iter().filter(is_of_view).all(|part| self.at_end.contains(part));
        self.cuts > 0 && (self.cuts > 2 || (is_at_end && self.held() == 0))
    }

    /// How many changes wait for progress.
    pub fn held(&self) -> usize {
        self.held.values().map(VecDeque::len).sum()
    }

    /// Reads partitions that a view has got since, once progress names them.
    fn look_for_new(&mut self) -> Result<(), KafkaError> {
        let ends = self.newest.iter().flat_map(|newest| newest.ends.keys());
        let new: Vec<Part> = ends.filter(|part| !self.known.contains(*part)).cloned().collect();
        if !new.is_empty() {
            self.reader.assign(new.iter().map(|part| (part.clone(), Offset::Beginning)))?;
            self.known.extend(new);
        }
        Ok(())
    }

    /// Goes on with the partitions of which too much was held.
    fn go_on(&mut self) {
        if !self.full.is_empty() {
            self.reader.hold(&std::mem::take(&mut self.full), false);
        }
    }

    /// What was told next, if everything of it has been read.
    fn cut(&mut self) -> Option<Cut> {
        if self.catching_up.is_some() {
            return None;
        }
        self.next = self.next.take().or_else(|| self.newest.take());
        let is_read = |(part, end): (&Part, &u64)| self.read.get(part).is_some_and(|read| read >= end);
        let Progress { tick, times, ends } = self.next.take_if(|next| next.ends.iter().all(is_read))?;
        let mut changes = Vec::new();
        for (part, held) in &mut self.held {
            let end = ends.get(part).copied().unwrap_or(0);
            while let Some((_, change)) = held.pop_front_if(|(offset, _)| *offset < end) {
                changes.push(change);
            }
        }
        self.go_on();
        self.cuts += 1;
        Some(Cut { tick, changes, times })
    }
}

/// The instant that a header names.
fn instant(headers: Option<&BorrowedHeaders>, name: &str) -> Option<Micros> {
    let text = headers?.iter().find(|header| header.key == name)?.value?;
    Micros::parse(std::str::from_utf8(text).ok()?)
}

/// What a message says: a change where its topic is that of a view, otherwise progress.
fn told(views: &BTreeMap<Arc<str>, Arc<str>>, part: &Part, message: &BorrowedMessage<'_>) -> Told {
    let Some(view) = views.get(&part.0) else {
        let headers = message.headers();
        let times = Times {
            max_event_time: instant(headers, "max-event-time"),
            first_ingested_at: instant(headers, "first-ingested-at"),
            last_ingested_at: instant(headers, "last-ingested-at"),
            sealed_at: instant(headers, "sealed-at"),
        };
        return Told::Progress(message.payload().and_then(|json| progress(views, json, times)));
    };
    let change = Change {
        view: Arc::clone(view),
        key: message.key().unwrap_or_default().to_vec(),
        value: message.payload().map(<[u8]>::to_vec),
        as_of: instant(message.headers(), "as-of").map_or(0, |at| at.0),
        first_ingested_at: instant(message.headers(), "first-ingested-at"),
    };
    Told::Change(part.clone(), message.offset() as u64, change)
}

/// Reads a message of the progress topic, as far as it is about `views`. What is none is passed over.
fn progress(views: &BTreeMap<Arc<str>, Arc<str>>, json: &[u8], times: Times) -> Option<Progress> {
    let told: serde_json::Value = serde_json::from_slice(json).ok()?;
    let mut ends = BTreeMap::new();
    for (topic, partitions) in told.get("offsets")?.as_object()? {
        let Some((topic, _)) = views.get_key_value(topic.as_str()) else { continue };
        for (partition, end) in partitions.as_object()? {
            ends.insert((Arc::clone(topic), partition.parse().ok()?), end.as_u64()?);
        }
    }
    ends.retain(|_, end| *end > 0);
    Some(Progress { tick: told.get("tick")?.as_u64()?, times, ends })
}
