//! The sink's thread: takes sealed ticks, sends what waits, and tells how far it has come.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use etalage_model::Tick;
use rdkafka::{
    error::KafkaError as ClientError,
    producer::{BaseProducer, BaseRecord, Producer},
    types::RDKafkaErrorCode,
};

use super::{
    Command, MAX_BATCH_BYTES, QUEUE_KBYTES, SinkOptions, Urgency,
    begin::Begin,
    delivered::Delivered,
    message,
    outbox::{Flight, Outbox},
    output::Output,
    transactions::{RETRY_BACKOFF, Transactions},
};
use crate::{KafkaError, client, topics};

/// How often progress is told at the most.
const PROGRESS_EVERY: Duration = Duration::from_millis(5);

/// How often it is looked for deliveries while something is on its way.
const POLL_EVERY: Duration = Duration::from_millis(1);

/// How often it is said that nothing has changed.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long the sink waits before it sends again what a broker refuses for good.
pub(super) const RETRY_EVERY: Duration = Duration::from_secs(1);

/// How long what is under way may take when the sink is stopped.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// How long the client waits for the rest of what is handed to it at once. What comes later waits here,
/// where only the newest value of a key does.
const BURST: Duration = Duration::from_micros(50);

/// A producer as `options` want it.
pub(super) fn producer(options: &SinkOptions) -> Result<BaseProducer<Delivered>, KafkaError> {
    let (linger_ms, backoff_ms) = (client::millis(BURST), client::millis(RETRY_BACKOFF));
    let transactional_id = format!("{}{}", options.prefix, options.group.name());
    let (batch_size, queue) = (MAX_BATCH_BYTES.to_string(), QUEUE_KBYTES.to_string());
    let mut settings = vec![
        ("enable.idempotence", "true"),
        ("acks", "all"),
        ("linger.ms", linger_ms.as_str()),
        ("partitioner", "murmur2_random"),
        ("batch.size", &batch_size),
        ("queue.buffering.max.kbytes", &queue),
    ];
    settings.extend(match options.is_transactional {
        true => [("transactional.id", transactional_id.as_str()), ("retry.backoff.ms", &backoff_ms)],
        // Within a transaction, a message is given up with it.
        false => [("message.timeout.ms", "0"), ("retry.backoff.ms", "100")],
    });
    let is_ours = |(name, _): &&(String, String)| {
        options.is_transactional && ["transactional.id", "retry.backoff.ms"].contains(&name.as_str())
    };
    if let Some((name, _)) = options.brokers.properties.iter().find(is_ours) {
        let reason = "cannot be given where kafka.transactions is on, which depends on it".to_owned();
        return Err(KafkaError::Setting { name: name.clone(), reason });
    }
    options.brokers.client(&settings, Delivered::default())
}

/// The sink's thread.
pub(super) struct Sending {
    pub(super) options: SinkOptions,
    pub(super) producer: BaseProducer<Delivered>,
    pub(super) transactions: Transactions,
    progress_topic: String,
    pub(super) outbox: Outbox,
    begin: Begin,
    /// The last tick of which progress was told, and when.
    pub(super) told: (Tick, Option<Instant>),
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

/// When what waits of a paced output is sent.
struct Pace {
    output: usize,
    every: Duration,
    last: Instant,
}

impl Sending {
    pub(super) fn new(options: SinkOptions, producer: BaseProducer<Delivered>, urgency: Box<dyn Urgency>) -> Sending {
        let outputs = Output::all(&options);
        let pace = |(number, output): (usize, &Output)| {
            let (_, every) = options.publish_interval.iter().find(|(name, _)| name == output.view.name)?;
            Some(Pace { output: number, every: *every, last: Instant::now() })
        };
        let paces: Vec<Pace> = outputs.iter().enumerate().filter_map(pace).collect();
        let paced: Vec<usize> = paces.iter().map(|pace| pace.output).collect();
        Sending {
            transactions: Transactions::new(options.is_transactional),
            progress_topic: topics::of_progress(&options.prefix, options.group),
            options,
            producer,
            outbox: Outbox::new(outputs, &paced, urgency),
            begin: Begin::Awaited,
            told: (0, None),
            retry_at: None,
            sent_at: Instant::now(),
            paces,
        }
    }

    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        let _told = TellsPanic(Arc::clone(&self.options.failed));
        loop {
            let patience = match self.begin {
                Begin::Done if self.outbox.has_order() && self.may_send() => Duration::ZERO,
                Begin::Done if self.transactions.is_under_way() => POLL_EVERY,
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
            Command::Sealed(tick) => self.outbox.take(&tick),
            Command::Begin => self.begin = Begin::At(Instant::now()),
            Command::Stop => {}
        }
    }

    fn step(&mut self) {
        if matches!(self.begin, Begin::Awaited | Begin::Failed) || !self.have_transactions_begun() {
            return;
        }
        if let Some(published) = self.begin.go_on(&self.options.brokers, self.outbox.outputs()) {
            self.outbox.leave_what_differs(published);
            tracing::info!(keys = self.outbox.waiting(), "differ from the output topics");
        }
        if !matches!(self.begin, Begin::Done) {
            return;
        }
        let may_send = self.may_send();
        if may_send {
            // At one instant with the sending: nothing that comes in between has to wait for the next release.
            self.release_due();
            if self.retry_at.is_some_and(|at| at <= Instant::now()) {
                self.retry_at = None;
                self.outbox.retry();
            }
        }
        if matches!(self.transactions, Transactions::Off) {
            if may_send {
                self.send_waiting();
            }
            self.collect();
            self.tell_progress();
        } else {
            self.go_on_with_transaction();
        }
        metrics::gauge!("etalage_kafka_waiting_keys").set(self.outbox.waiting() as f64);
    }

    /// True where values may be sent now.
    fn may_send(&self) -> bool {
        match self.transactions {
            Transactions::Off => match self.outbox.goes_in_rounds() {
                true => !self.outbox.is_flying(),
                false => self.held().is_none(),
            },
            Transactions::Ready => true,
            _ => false,
        }
    }

    /// Releases the outputs whose pace is due; with the slowest of them all others, since a tick is only
    /// done when nothing waits.
    fn release_due(&mut self) {
        let slowest = self.paces.iter().map(|pace| pace.every).max();
        let is_due = |pace: &Pace| pace.last.elapsed() >= pace.every;
        let all = self.paces.iter().any(|pace| Some(pace.every) == slowest && is_due(pace));
        for pace in self.paces.iter_mut().filter(|pace| all || is_due(pace)) {
            pace.last = Instant::now();
            self.outbox.release(pace.output);
        }
    }

    /// How long what waits is still held back, so that it goes along with what comes meanwhile: only
    /// while something is on its way.
    fn held(&self) -> Option<Duration> {
        let left = self.options.linger.checked_sub(self.sent_at.elapsed())?;
        (self.outbox.is_flying() && self.outbox.waiting() > 0).then_some(left)
    }

    /// Sends what waits, as far as the producer has room.
    pub(super) fn send_waiting(&mut self) {
        self.sent_at = Instant::now();
        while let Some(flight) = self.outbox.next() {
            let output = &self.outbox.outputs()[flight.output];
            let headers = message::headers(flight.as_of, &flight.times, (self.options.now)());
            let key = topics::key(&flight.key, output.view.key_fields);
            let payload = output.payload(flight.as_of, flight.before.as_ref(), flight.value.as_ref());
            let topic = output.topic.clone();
            let mut record = BaseRecord::with_opaque_to(&topic, Box::new(flight)).key(&key).headers(headers);
            if let Some(payload) = &payload {
                record = record.payload(payload);
            }
            match self.producer.send(record) {
                Ok(()) => self.transactions.open().into_iter().for_each(|open| open.under_way += 1),
                Err((error, unsent)) => {
                    let flight = *unsent.delivery_opaque;
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) {
                        return self.outbox.give_back(flight);
                    }
                    self.was_refused(flight, &error);
                }
            }
        }
    }

    /// Looks at what was delivered.
    pub(super) fn collect(&mut self) {
        self.producer.poll(Duration::ZERO);
        let delivered = std::mem::take(&mut *self.producer.context().0.lock());
        for (flight, result) in delivered {
            let open = self.transactions.open();
            match (result, open) {
                (Ok((partition, offset)), Some(open)) => {
                    open.under_way -= 1;
                    open.arrived.extend((!flight.is_progress()).then_some((*flight, partition, offset)));
                }
                (Ok((partition, offset)), None) => {
                    if !flight.is_progress() {
                        self.outbox.delivered(&flight, partition, offset);
                        metrics::counter!("etalage_kafka_sent_total").increment(1);
                    }
                }
                (Err(error), open) => {
                    open.into_iter().for_each(|open| open.under_way -= 1);
                    self.was_refused(*flight, &error);
                }
            }
        }
    }

    /// What a broker, or the client, did not take.
    fn was_refused(&mut self, flight: Flight, error: &ClientError) {
        let topic = match flight.is_progress() {
            true => self.progress_topic.clone(),
            false => self.outbox.outputs()[flight.output].topic.clone(),
        };
        let is_purged =
            matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight));
        match self.transactions.open() {
            // It is given up along with another, and was not refused itself.
            Some(open) if is_purged => return open.given_up.push(flight),
            Some(open) => open.refused.push(flight),
            None if flight.is_progress() => return self.progress_refused(error),
            None => self.outbox.set_aside(flight),
        }
        self.refused(&topic, error);
    }

    pub(super) fn refused(&mut self, topic: &str, error: &ClientError) {
        metrics::counter!("etalage_kafka_refused_total").increment(1);
        if let Some((_, reason)) = self.producer.client().fatal_error() {
            return self.fail(&reason);
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

    /// Nothing can be sent any more.
    pub(super) fn fail(&mut self, reason: &str) {
        if !matches!(self.begin, Begin::Failed) {
            self.begin = Begin::Failed;
            (self.options.failed)(format!("values can no longer be sent to topics: {reason}"));
        }
    }

    /// Tells up to which tick everything is delivered, if that is news, or it was not told for a while.
    pub(super) fn tell_progress(&mut self) {
        let Some(done) = self.outbox.done() else { return };
        let (told, at) = self.told;
        let every = match done.has_news {
            true if self.options.is_transactional => Duration::ZERO,
            true => PROGRESS_EVERY,
            false => HEARTBEAT,
        };
        if done.tick < told || at.is_some_and(|at| at.elapsed() < every) {
            return;
        }
        let outputs = self.outbox.outputs().iter().enumerate();
        let ends = outputs.map(|(number, output)| (output.topic.as_str(), self.outbox.ends(number)));
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
                self.transactions.open().into_iter().for_each(|open| open.under_way += 1);
            }
            Err((error, unsent)) => self.was_refused(*unsent.delivery_opaque, &error),
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
            Begin::Done => self.outbox.is_busy() || self.transactions.is_under_way(),
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
            if matches!(self.transactions, Transactions::Off) {
                self.told.1 = None;
                self.tell_progress();
            }
            let left = until.saturating_duration_since(Instant::now());
            if self.producer.flush(left).is_err() || self.outbox.waiting() > 0 {
                let (waiting, on_their_way) = (self.outbox.waiting(), self.producer.in_flight_count());
                tracing::warn!(waiting, on_their_way, "not everything could be sent; it is sent after the next start");
            }
        }
    }
}
