//! Topics into the door: first what they held at the start, then what comes.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use etalage_kafka::{KafkaError, Received, Source, SourceOptions};
use etalage_model::{Outcome, Position, Record, Rejected, decode::json::Context};
use etalage_serve::{NotStored, Vital};
use tokio::sync::oneshot;

use super::{decoding::Decoded, merge::Merge};
use crate::runtime::{Door, Origin, TopicMessage};

/// Items with which a submission is full; the message that fills it is its last.
const MAX_BATCH_ITEMS: usize = 1_000;

/// Bytes of messages with which a submission is full.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// Between two submissions: while messages come without a pause, one frame and one tick takes all of so long.
const PACE: Duration = Duration::from_millis(1);

/// Submissions whose answers are waited for together.
const MAX_OPEN_BATCHES: usize = 16;

/// How long the feeder waits for a message before it looks whether it is to end.
const PATIENCE: Duration = Duration::from_millis(100);

/// How often the consumer group is told how far topics have been read.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// The pause before reading begins anew after an error.
const PAUSE: Duration = Duration::from_secs(1);

/// Why feeding stopped.
enum Stop {
    /// It was told to.
    Told,
    /// The pipeline has ended.
    Pipeline(String),
    /// Topics cannot be read.
    Kafka(KafkaError),
    /// What was read could not be stored: it is read again.
    NotStored(String),
}

impl From<KafkaError> for Stop {
    fn from(error: KafkaError) -> Stop {
        Stop::Kafka(error)
    }
}

/// Messages that are submitted together.
#[derive(Default)]
struct Batch {
    /// Where partitions begin of which nothing was read before.
    begun: Vec<Position>,
    messages: Vec<TopicMessage>,
    /// What all of them say, and of each item which message it stands in.
    items: Vec<Result<Record, Rejected>>,
    of_item: Vec<usize>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, Decoded { message, items }: Decoded) {
        self.bytes += message.raw.len();
        self.of_item.resize(self.of_item.len() + items.len(), self.messages.len());
        self.items.extend(items);
        self.messages.push(message);
    }

    fn is_full(&self) -> bool {
        self.items.len() >= MAX_BATCH_ITEMS || self.bytes >= MAX_BATCH_BYTES
    }
}

/// Reads topics into a door.
///
/// **Delivery**: what was stored is bound in the same frame as its offset. After an error reading
/// begins anew behind what is bound.
pub(super) struct Feeder {
    options: SourceOptions,
    door: Door,
    stopping: Arc<AtomicBool>,
    committed: Instant,
    session: u64,
    open: VecDeque<oneshot::Receiver<Result<Vec<Outcome>, NotStored>>>,
}

impl Feeder {
    pub(super) fn new(options: SourceOptions, door: Door, stopping: Arc<AtomicBool>) -> Feeder {
        Feeder { options, door, stopping, committed: Instant::now(), session: 0, open: VecDeque::new() }
    }

    /// Feeds until it is told to stop, or cannot go on.
    pub(super) fn run(mut self) {
        let _vital = Vital("kafka-source");
        loop {
            // What is still on its way is known as read once it is stored.
            self.open.drain(..).for_each(|answer| _ = answer.blocking_recv());
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            self.session += 1;
            match self.feed() {
                Ok(()) | Err(Stop::Told) => return,
                Err(Stop::Pipeline(reason)) => return tracing::error!(reason, "topics are no longer read"),
                // Topics were there when the service started: brokers that restart do not know all of them.
                Err(Stop::Kafka(error)) if !error.is_passing() && !error.is_unknown_topic() => {
                    tracing::error!(%error, "topics are no longer read");
                    return self.door.fail(format!("topics are no longer read: {error}"));
                }
                Err(Stop::Kafka(error)) => tracing::warn!(%error, "topics cannot be read; it is tried again"),
                Err(Stop::NotStored(reason)) => tracing::warn!(reason, "what was read is read again"),
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn feed(&mut self) -> Result<(), Stop> {
        let positions = self.door.positions().map_err(Stop::Pipeline)?;
        let mut source = Source::open(self.options.clone(), &positions)?;
        if !self.door.is_live() {
            self.catch_up(&mut source)?;
        }
        let mut submitted = Instant::now();
        loop {
            self.look_around(&mut source)?;
            let Some(first) = source.receive(PATIENCE)? else {
                self.wait_for_answers(0)?;
                continue;
            };
            let batch = self.gather(&mut source, first, submitted)?;
            submitted = Instant::now();
            self.submit(batch)?;
        }
    }

    /// What comes along with a message: what is there already, and where something was submitted only
    /// just now, what comes until its time is over.
    fn gather(&self, source: &mut Source, first: Received, submitted: Instant) -> Result<Batch, KafkaError> {
        let mut batch = Batch::default();
        batch.push(self.decoded(first));
        while !batch.is_full() {
            if let Some(more) = source.receive(Duration::ZERO)? {
                batch.push(self.decoded(more));
                continue;
            }
            let left = PACE.saturating_sub(submitted.elapsed());
            if left.is_zero() {
                break;
            }
            source.receive(left)?.into_iter().for_each(|more| batch.push(self.decoded(more)));
        }
        batch.begun = source.begun();
        Ok(batch)
    }

    /// Submits what the topics held at the start in the order in which it happened, then lets the wall
    /// clock drive pipeline time.
    fn catch_up(&mut self, source: &mut Source) -> Result<(), Stop> {
        let mut merge = Merge::new();
        loop {
            self.look_around(source)?;
            let mut batch = Batch::default();
            while !batch.is_full() {
                let behind = source.partitions().filter(|part| source.is_behind(part));
                let Some(next) = merge.next(behind) else { break };
                batch.push(next);
            }
            if !batch.messages.is_empty() {
                self.submit(batch)?;
            } else if source.has_caught_up() {
                break;
            } else if let Some(received) = source.receive(PATIENCE)? {
                let part = (Arc::clone(&received.topic), received.partition);
                let decoded = self.decoded(received);
                merge.add(part, decoded.at(), decoded.message.raw.len(), decoded);
            }
            let (pause, go_on) = merge.balance();
            source.hold(&pause, true);
            source.hold(&go_on, false);
        }
        source.hold(merge.paused(), false);
        self.wait_for_answers(0)?;
        self.door.go_live().map_err(Stop::Pipeline)
    }

    fn decoded(&self, received: Received) -> Decoded {
        let (currencies, limits) = (self.door.currencies(), self.door.limits());
        Decoded::of(received, &Context { now: self.door.now(), map_time: None, currencies, limits })
    }

    fn submit(&mut self, Batch { begun, messages, items, of_item, .. }: Batch) -> Result<(), Stop> {
        let origin = Origin::Topics { session: self.session, begun, messages, of_item };
        self.open.push_back(self.door.submit_blocking(origin, items).map_err(Stop::Pipeline)?);
        self.wait_for_answers(MAX_OPEN_BATCHES)
    }

    /// Waits until at most `most` submissions have not been answered.
    fn wait_for_answers(&mut self, most: usize) -> Result<(), Stop> {
        while self.open.len() > most {
            let Some(answer) = self.open.pop_front() else { return Ok(()) };
            match answer.blocking_recv() {
                Ok(Ok(_)) => {}
                Ok(Err(reason)) => return Err(Stop::NotStored(reason.to_string())),
                Err(_) => return Err(Stop::Pipeline("the pipeline has ended".to_owned())),
            }
        }
        Ok(())
    }

    /// Ends where it is told to, binds where new partitions begin, and tells the consumer group how far it
    /// has come.
    fn look_around(&mut self, source: &mut Source) -> Result<(), Stop> {
        let begun = source.begun();
        if !begun.is_empty() {
            self.submit(Batch { begun, ..Batch::default() })?;
        }
        if self.stopping.load(Ordering::SeqCst) {
            return Err(Stop::Told);
        }
        if self.committed.elapsed() >= COMMIT_EVERY {
            source.commit(&self.door.positions().map_err(Stop::Pipeline)?);
            self.committed = Instant::now();
        }
        Ok(())
    }
}
