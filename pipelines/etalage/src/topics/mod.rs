//! Kafka beside the pipeline: topics feed the door, and a sink gets every sealed tick.
//!
//! ```text
//!  topics ──> source ──> feeder ──> door ──> … pipeline … ──> sink ──> etalage.<view>.v1
//!                          │                    │
//!                          │                    └─ refused ──> quarantine topic
//!                          └─ what the topics held at the start is merged by event time
//! ```

mod decoding;
pub mod feed;
mod feeder;
mod merge;
mod urgency;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use etalage_kafka::{Brokers, KafkaError, Refused, RefusedTopic, Sink, SinkOptions, SinkReader, SourceOptions, topics};
use etalage_model::ViewInfo;

use crate::{
    config::{self, Config},
    runtime::{Door, KeepRefused, Reading, RefusedMessage},
};
use feeder::Feeder;
use urgency::SoldOut;

/// The longest pause between two tries to reach a broker.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// The sink and the feeder of a pipeline.
pub struct Topics {
    sink: Sink,
    feeder: Option<JoinHandle<()>>,
    stopping: Arc<AtomicBool>,
    /// The pipeline, once it runs: it is told where nothing can be sent any more.
    door: Arc<OnceLock<Door>>,
}

impl Topics {
    /// Starts the sink of `views`, which waits until it is told to begin.
    ///
    /// # Errors
    /// Where the client's settings are wrong.
    pub fn start(config: &Config, views: Vec<ViewInfo>) -> Result<Topics, KafkaError> {
        let interval = config.kafka.publish_interval.iter();
        let interval = interval.map(|(view, us)| (view.clone(), Duration::from_micros(*us)));
        let door: Arc<OnceLock<Door>> = Arc::default();
        let failed = {
            let door = Arc::clone(&door);
            move |reason: String| {
                tracing::error!(reason, "topics are no longer written");
                door.get().into_iter().for_each(|door| door.fail(reason.clone()));
            }
        };
        let options = SinkOptions {
            brokers: brokers(&config.kafka),
            prefix: config.kafka.prefix.clone(),
            views,
            linger: Duration::from_micros(config.kafka.linger_us),
            now: || {
                let Reading { monotonic_us, wall_us } = Reading::now();
                (monotonic_us, etalage_model::Micros(wall_us))
            },
            publish_interval: interval.collect(),
            failed: Arc::new(failed),
        };
        describe();
        let sink = Sink::start(options, Box::new(SoldOut::default()))?;
        Ok(Topics { sink, feeder: None, stopping: Arc::default(), door })
    }

    /// Where sealed ticks are handed over.
    pub fn reader(&self) -> SinkReader {
        self.sink.reader()
    }

    /// What makes the sink begin to send.
    pub fn begin(&self) -> impl FnOnce() + Send + use<> {
        self.sink.begin()
    }

    /// Begins to read topics into `door`, if any are to be read.
    ///
    /// # Errors
    /// Where there is no thread.
    pub fn feed(&mut self, config: &Config, door: Door) -> std::io::Result<()> {
        // It is set once.
        let _ = self.door.set(door.clone());
        if config.kafka.topics.is_empty() {
            return Ok(());
        }
        let feeder = Feeder::new(source_options(&config.kafka), door, Arc::clone(&self.stopping));
        let thread = std::thread::Builder::new().name("kafka-source".into()).spawn(move || feeder.run())?;
        self.feeder = Some(thread);
        Ok(())
    }

    /// Ends reading: to be called before the pipeline is stopped.
    pub fn stop_feeding(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // The feeder logs its own end.
        self.feeder.take().map(JoinHandle::join);
    }

    /// Sends what is left: to be called after the pipeline was stopped.
    pub fn stop(self) {
        self.sink.stop();
    }
}

/// What is counted; each is there before it first counts.
fn describe() {
    metrics::describe_counter!("etalage_kafka_sent_total", "Values that have arrived in topics");
    metrics::describe_counter!("etalage_kafka_refused_total", "Values that were not stored in topics; sent again");
    metrics::describe_counter!("etalage_kafka_client_errors_total", "Errors that the client has met with brokers");
    metrics::describe_gauge!("etalage_kafka_waiting_keys", "Keys whose newest value waits to be sent");
    for what in ["sent", "refused", "client_errors"] {
        metrics::counter!(format!("etalage_kafka_{what}_total")).increment(0);
    }
}

/// Waits until a broker answers; at once an error where `no_wait`, or where waiting cannot help.
/// `is_over` ends the waiting.
///
/// # Errors
/// Why none answers.
pub fn wait_for_brokers(config: &Config, no_wait: bool, is_over: impl Fn(Duration) -> bool) -> Result<(), KafkaError> {
    let mut backoff = Duration::from_secs(1);
    loop {
        match brokers(&config.kafka).reach() {
            Ok(()) => return Ok(()),
            Err(error) if no_wait || !error.is_passing() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, again_in = ?backoff, "waiting for a broker");
                if is_over(backoff) {
                    return Err(error);
                }
                backoff = (backoff * 2).min(MAX_BACKOFF);
            }
        }
    }
}

/// The topics that this configuration writes.
pub fn specs(config: &Config) -> Vec<topics::TopicSpec> {
    let options = crate::runtime::shop_options(config);
    let views: Vec<&str> =
        etalage_views::VIEWS.iter().map(|view| view.name).filter(|view| options.is_on(view)).collect();
    topics::specs(&config.kafka.prefix, &views, &config.kafka.quarantine, config.kafka.partitions)
}

/// How brokers are reached.
pub fn brokers(kafka: &config::Kafka) -> Brokers {
    Brokers { bootstrap: kafka.brokers.join(","), properties: kafka.properties.clone() }
}

fn source_options(kafka: &config::Kafka) -> SourceOptions {
    SourceOptions {
        brokers: brokers(kafka),
        topics: kafka.topics.clone(),
        group: kafka.group.clone(),
        discover_every: Duration::from_micros(kafka.discover_us),
    }
}

/// Keeps what is refused in the quarantine topic.
pub struct Quarantine(RefusedTopic);

impl Quarantine {
    /// Opens the topic.
    ///
    /// # Errors
    /// Where the client's settings are wrong.
    pub fn open(config: &Config) -> Result<Quarantine, KafkaError> {
        RefusedTopic::open(&brokers(&config.kafka), &config.kafka.quarantine).map(Quarantine)
    }
}

impl KeepRefused for Quarantine {
    fn keep(&mut self, refused: Vec<RefusedMessage>) -> Result<(), String> {
        let refused = refused.into_iter().map(|RefusedMessage { message, reason }| Refused {
            topic: message.topic,
            partition: message.partition,
            offset: message.offset,
            code: reason.code(),
            reason: reason.to_string(),
            raw: message.raw,
        });
        self.0.keep(&refused.collect::<Vec<_>>()).map_err(|error| error.to_string())
    }
}
