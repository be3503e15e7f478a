//! Every sealed view as a compacted topic: keyed upserts and tombstones.
//!
//! ```text
//!  sealed ticks ──> outbox: newest value of each key ──> producer ──> etalage.<view>.v1
//!                     ^         (coalesced while the brokers are slow)      │
//!                     └──────────── what was not delivered ─────────────────┤
//!                                                                           v
//!                     etalage.progress.v1 <── ticks of which everything is delivered
//! ```
//!
//! **Delivery**: at least once for each key's newest value; of several changes of a key that wait, only
//! the newest is sent. Values of one key arrive in the order in which they were sealed.
//! **Start**: nothing is sent until [`Sink::begin`]. Then the topics are read, and only keys whose
//! value differs from the newest one there are sent.
//! **End**: where the client can no longer tell what was stored (a fatal error of the idempotent
//! producer), nothing more is sent: only reading the topics anew, by a new process, makes that certain.
//! **Bound**: one value per key, and what the producer holds ([`QUEUE_KBYTES`]).

mod begin;
mod delivered;
mod message;
mod outbox;

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use etalage_model::{Changes, Group, Micros, SealedTick, Tick, ViewInfo};
use rdkafka::{
    error::KafkaError as ClientError,
    producer::{BaseProducer, BaseRecord, Producer},
    types::RDKafkaErrorCode,
};

pub use self::outbox::{Step, Urgency};
use self::{
    begin::Begin,
    delivered::Delivered,
    outbox::{Flight, Outbox},
};
use crate::{Brokers, KafkaError, client, topics};

/// The topic, behind the prefix, that says how far the others have come.
pub const PROGRESS_TOPIC: &str = "progress.v1";

/// How often progress is told at the most.
const PROGRESS_EVERY: Duration = Duration::from_millis(5);

/// How often it is looked for deliveries while something is on its way.
const POLL_EVERY: Duration = Duration::from_millis(1);

/// How often it is said that nothing has changed.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long the sink waits before it sends again what a broker refuses for good.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// How long what is under way may take when the sink is stopped.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// How large a batch may become. A broker holds a batch against a topic's `max.message.bytes`, and refuses
/// all of it: so no topic may take less.
pub const MAX_BATCH_BYTES: u64 = 100_000;

/// How much the producer holds, in kilobytes.
pub const QUEUE_KBYTES: usize = 65_536;

/// How long the client waits for the rest of what is handed to it at once. What comes later waits here,
/// where only the newest value of a key does.
const BURST: Duration = Duration::from_micros(50);

/// Both clocks: microseconds of the process, and the wall clock.
pub type Now = fn() -> (u64, Micros);

/// How views are published.
#[derive(Clone)]
pub struct SinkOptions {
    /// How brokers are reached.
    pub brokers: Brokers,
    /// What every topic's name begins with.
    pub prefix: String,
    /// The group whose ticks are published; those of the other are passed over.
    pub group: Group,
    /// Its views.
    pub views: Vec<ViewInfo>,
    /// How long values wait for more to be sent along, while others are on their way.
    pub linger: Duration,
    /// The clocks, for the times in headers.
    pub now: Now,
    /// Views whose changes wait for each other, and how long at the most.
    pub publish_interval: Vec<(String, Duration)>,
    /// Told once why nothing can be sent any more.
    pub failed: Arc<dyn Fn(String) + Send + Sync>,
}

/// A running sink.
pub struct Sink {
    group: Group,
    commands: Sender<Command>,
    thread: JoinHandle<()>,
}

enum Command {
    Sealed(Arc<SealedTick>),
    Begin,
    Stop,
}

/// Takes sealed ticks for a [`Sink`].
pub struct SinkReader {
    group: Group,
    commands: Sender<Command>,
}

impl Changes for SinkReader {
    fn sealed(&mut self, tick: &Arc<SealedTick>) {
        if tick.group == self.group {
            // A sink that has stopped takes nothing more.
            let _ = self.commands.send(Command::Sealed(Arc::clone(tick)));
        }
    }
}

impl Sink {
    /// Starts a sink that waits for [`Sink::begin`].
    ///
    /// # Errors
    /// Where the client's settings are wrong, or there is no thread.
    pub fn start(options: SinkOptions, urgency: Box<dyn Urgency>) -> Result<Sink, KafkaError> {
        let linger_ms = client::millis(BURST);
        let producer = options.brokers.client(
            &[
                ("enable.idempotence", "true"),
                ("acks", "all"),
                ("linger.ms", &linger_ms),
                ("partitioner", "murmur2_random"),
                ("message.timeout.ms", "0"),
                ("batch.size", &MAX_BATCH_BYTES.to_string()),
                ("queue.buffering.max.kbytes", &QUEUE_KBYTES.to_string()),
            ],
            Delivered::default(),
        )?;
        let (commands, inbox) = unbounded();
        let group = options.group;
        let sender = Sending::new(options, producer, urgency);
        let thread = std::thread::Builder::new().name("kafka-sink".into()).spawn(move || sender.run(&inbox));
        let thread = thread.map_err(|error| KafkaError::Other {
            action: "start the sink's thread".into(),
            reason: error.to_string(),
        })?;
        Ok(Sink { group, commands, thread })
    }

    /// Where sealed ticks are handed over.
    pub fn reader(&self) -> SinkReader {
        SinkReader { group: self.group, commands: self.commands.clone() }
    }

    /// What makes the sink begin to send: state is complete.
    pub fn begin(&self) -> impl FnOnce() + Send + use<> {
        let commands = self.commands.clone();
        move || {
            // A sink that has stopped has nothing to begin.
            let _ = commands.send(Command::Begin);
        }
    }

    /// Sends what is left, and ends.
    pub fn stop(self) {
        let _ = self.commands.send(Command::Stop);
        let _ = self.thread.join();
    }
}

/// The sink's thread.
struct Sending {
    options: SinkOptions,
    producer: BaseProducer<Delivered>,
    /// The topic of each view.
    topics: Vec<String>,
    progress_topic: String,
    outbox: Outbox,
    begin: Begin,
    /// The last tick of which progress was told, and when.
    told: (Tick, Option<Instant>),
    retry_at: Option<Instant>,
    sent_at: Instant,
    paces: Vec<Pace>,
}

/// Tells where the sink's thread panics: nobody else would notice.
struct TellsPanic(Arc<dyn Fn(String) + Send + Sync>);

impl Drop for TellsPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.0)("the sink has panicked, which is a defect".to_owned());
        }
    }
}

/// When what waits of a view is sent.
struct Pace {
    view: usize,
    every: Duration,
    last: Instant,
}

impl Sending {
    fn new(options: SinkOptions, producer: BaseProducer<Delivered>, urgency: Box<dyn Urgency>) -> Sending {
        let pace = |(name, every): &(String, Duration)| {
            let view = options.views.iter().position(|view| view.name == name)?;
            Some(Pace { view, every: *every, last: Instant::now() })
        };
        let paces: Vec<Pace> = options.publish_interval.iter().filter_map(pace).collect();
        let topics = options.views.iter().map(|view| topics::of_view(&options.prefix, view.name)).collect();
        Sending {
            progress_topic: topics::of_progress(&options.prefix, options.group),
            options,
            producer,
            topics,
            outbox: Outbox::new(paces.iter().map(|pace| pace.view), urgency),
            begin: Begin::Awaited,
            told: (0, None),
            retry_at: None,
            sent_at: Instant::now(),
            paces,
        }
    }

    fn run(mut self, commands: &Receiver<Command>) {
        let _told = TellsPanic(Arc::clone(&self.options.failed));
        loop {
            let patience = match self.begin {
                Begin::Done if self.outbox.is_flying() => self.held().unwrap_or(POLL_EVERY).min(POLL_EVERY),
                Begin::Reading(..) => Duration::from_millis(10),
                _ => HEARTBEAT / 10,
            };
            match commands.recv_timeout(patience) {
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(command) => self.take(command),
                Err(RecvTimeoutError::Timeout) => {}
            }
            while let Ok(command) = commands.try_recv() {
                if matches!(command, Command::Stop) {
                    return self.stop();
                }
                self.take(command);
            }
            self.step();
        }
        self.stop();
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Sealed(tick) => self.outbox.take(&tick, &self.options.views),
            Command::Begin => self.begin = Begin::At(Instant::now()),
            Command::Stop => {}
        }
    }

    fn step(&mut self) {
        if let Some(published) = self.begin.go_on(&self.options.brokers, &self.topics) {
            self.outbox.leave_what_differs(published, &self.options.views);
            tracing::info!(keys = self.outbox.waiting(), "differ from the output topics");
        }
        if !matches!(self.begin, Begin::Done) {
            return;
        }
        self.release_due();
        if self.retry_at.is_some_and(|at| at <= Instant::now()) {
            self.retry_at = None;
            self.outbox.retry();
        }
        if self.held().is_none() {
            self.send_waiting();
        }
        self.collect();
        self.tell_progress();
        metrics::gauge!("etalage_kafka_waiting_keys").set(self.outbox.waiting() as f64);
    }

    /// Releases the views whose pace is due; with the slowest of them all others, since a tick is only
    /// done when nothing waits.
    fn release_due(&mut self) {
        let slowest = self.paces.iter().map(|pace| pace.every).max();
        let is_due = |pace: &Pace| pace.last.elapsed() >= pace.every;
        let all = self.paces.iter().any(|pace| Some(pace.every) == slowest && is_due(pace));
        for pace in self.paces.iter_mut().filter(|pace| all || is_due(pace)) {
            pace.last = Instant::now();
            self.outbox.release(pace.view);
        }
    }

    /// How long what waits is still held back, so that it goes along with what comes meanwhile: only
    /// while something is on its way.
    fn held(&self) -> Option<Duration> {
        let left = self.options.linger.checked_sub(self.sent_at.elapsed())?;
        (self.outbox.is_flying() && self.outbox.waiting() > 0).then_some(left)
    }

    /// Sends what waits, as far as the producer has room.
    fn send_waiting(&mut self) {
        self.sent_at = Instant::now();
        while let Some(flight) = self.outbox.next() {
            let headers = message::headers(flight.as_of, &flight.times, (self.options.now)());
            let key = topics::key(&flight.key, self.options.views[flight.view].key_fields);
            let mut value = Vec::new();
            flight.value.iter().for_each(|known| known.write_json(&mut value));
            let topic = self.topics[flight.view].clone();
            let is_tombstone = flight.value.is_none();
            let mut record = BaseRecord::with_opaque_to(&topic, Box::new(flight)).key(&key).headers(headers);
            if !is_tombstone {
                record = record.payload(&value);
            }
            if let Err((error, unsent)) = self.producer.send(record) {
                let flight = *unsent.delivery_opaque;
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) {
                    return self.outbox.give_back(flight);
                }
                self.outbox.set_aside(flight);
                self.refused(&topic, &error);
            }
        }
    }

    /// Looks at what was delivered.
    fn collect(&mut self) {
        self.producer.poll(Duration::ZERO);
        let delivered = std::mem::take(&mut *self.producer.context().0.lock());
        for (flight, result) in delivered {
            match result {
                Ok(_) if flight.is_progress() => {}
                Err(error) if flight.is_progress() => self.progress_refused(&error),
                Ok((partition, offset)) => {
                    self.outbox.delivered(&flight, partition, offset);
                    metrics::counter!("etalage_kafka_sent_total").increment(1);
                }
                Err(error) => {
                    let topic = self.topics[flight.view].clone();
                    self.outbox.set_aside(*flight);
                    self.refused(&topic, &error);
                }
            }
        }
    }

    fn refused(&mut self, topic: &str, error: &ClientError) {
        metrics::counter!("etalage_kafka_refused_total").increment(1);
        if let Some((_, reason)) = self.producer.client().fatal_error() {
            if !matches!(self.begin, Begin::Failed) {
                self.begin = Begin::Failed;
                (self.options.failed)(format!("values can no longer be sent to topics: {reason}"));
            }
            return;
        }
        let advice = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                "a value is larger than the topic takes: raise its max.message.bytes, or make sets shorter"
            }
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => "grant etalage's user to write to it",
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                "make it: `etalage topics create`"
            }
            _ => "it is tried again",
        };
        if self.retry_at.is_none() {
            tracing::error!(topic, %error, advice, "a value was not stored; progress is not told until it is");
            self.retry_at = Some(Instant::now() + RETRY_EVERY);
        }
    }

    /// Tells up to which tick everything is delivered, if that is news, or it was not told for a while.
    fn tell_progress(&mut self) {
        let Some(done) = self.outbox.done() else { return };
        let (told, at) = self.told;
        let every = if done.has_news { PROGRESS_EVERY } else { HEARTBEAT };
        if done.tick < told || at.is_some_and(|at| at.elapsed() < every) {
            return;
        }
        let ends = self.topics.iter().enumerate().map(|(view, topic)| (topic.as_str(), self.outbox.ends(view)));
        let (key, value) =
            (message::progress_key(self.options.group), message::progress(self.options.group, done.tick, ends));
        let headers = message::headers(done.tick, &done.times, (self.options.now)());
        let flight = Box::new(Flight::progress());
        let record =
            BaseRecord::with_opaque_to(&self.progress_topic, flight).key(&key).payload(&value).headers(headers);
        match self.producer.send(record) {
            Ok(()) => {
                self.told = (done.tick, Some(Instant::now()));
                self.outbox.told();
            }
            Err((error, _)) => self.progress_refused(&error),
        }
    }

    /// Progress did not arrive: the next message says all that this one did.
    fn progress_refused(&mut self, error: &ClientError) {
        self.told.1 = Some(Instant::now());
        // Brokers that are slow or away have refused nothing.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) {
            return;
        }
        self.refused(&self.progress_topic.clone(), error);
    }

    /// True where there is something left to be done that can be.
    fn has_more(&mut self) -> bool {
        match self.begin {
            Begin::Awaited | Begin::Failed => false,
            Begin::At(_) | Begin::Reading(..) => true,
            Begin::Done => self.outbox.is_busy(),
        }
    }

    /// Sends what waits and tells of it, as far as it can be done within [`STOP_PATIENCE`]. What is left
    /// then is sent after the next start.
    fn stop(mut self) {
        let until = Instant::now() + STOP_PATIENCE;
        self.outbox.release_all();
        while self.has_more() && Instant::now() < until {
            self.step();
            self.producer.poll(Duration::from_millis(5));
        }
        if matches!(self.begin, Begin::Done) {
            self.told.1 = None;
            self.tell_progress();
            let left = until.saturating_duration_since(Instant::now());
            if self.producer.flush(left).is_err() || self.outbox.waiting() > 0 {
                let (waiting, on_their_way) = (self.outbox.waiting(), self.producer.in_flight_count());
                tracing::warn!(waiting, on_their_way, "not everything could be sent; it is sent after the next start");
            }
        }
    }
}
