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
pub mod readers;
mod urgency;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use etalage_kafka::{
    Brokers, KafkaError, Refused, RefusedTopic, Secret, Sink, SinkOptions, SinkReader, SourceOptions, topics,
};
use etalage_model::{Changes, Group, SealedTick, ViewInfo};

use crate::{
    config::{Config, Kafka, SecretPlace},
    runtime::{Door, KeepRefused, Reading, RefusedMessage},
};
use feeder::Feeder;
use urgency::SoldOut;

/// The longest pause between two tries to reach a broker.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// The sink and the feeder of a pipeline.
pub struct Topics {
    /// One per group that has views: each tells how far it has come.
    sinks: Vec<Sink>,
    feeder: Option<JoinHandle<()>>,
    stopping: Arc<AtomicBool>,
    /// The pipeline, once it runs: it is told where nothing can be sent any more.
    door: Arc<OnceLock<Door>>,
}

impl Topics {
    /// Starts the sinks of `views`, which wait until they are told to begin.
    ///
    /// # Errors
    /// Where the client's settings are wrong.
    pub fn start(config: &Config, views: Vec<ViewInfo>) -> Result<Topics, KafkaError> {
        let interval = config.kafka.publish_interval.iter();
        let interval: Vec<(String, Duration)> =
            interval.map(|(view, us)| (view.clone(), Duration::from_micros(*us))).collect();
        let door: Arc<OnceLock<Door>> = Arc::default();
        let failed = {
            let door = Arc::clone(&door);
            move |reason: String| {
                tracing::error!(reason, "topics are no longer written");
                door.get().into_iter().for_each(|door| door.fail(reason.clone()));
            }
        };
        let failed = Arc::new(failed);
        let options = |group: Group, views: Vec<ViewInfo>| SinkOptions {
            brokers: brokers(&config.kafka),
            prefix: config.kafka.prefix.clone(),
            group,
            views,
            linger: Duration::from_micros(config.kafka.linger_us),
            now: || {
                let Reading { monotonic_us, wall_us } = Reading::now();
                (monotonic_us, etalage_model::Micros(wall_us))
            },
            publish_interval: interval.clone(),
            change_streams: config.kafka.change_streams.clone(),
            is_transactional: config.kafka.is_transactional,
            failed: failed.clone(),
        };
        describe();
        let of_group = |group: Group| {
            let views: Vec<ViewInfo> = views.iter().filter(|view| view.group == group).cloned().collect();
            (!views.is_empty()).then(|| Sink::start(options(group, views), Box::new(SoldOut::default())))
        };
        let sinks = [Group::Shop, Group::Customer].into_iter().filter_map(of_group).collect::<Result<Vec<_>, _>>()?;
        Ok(Topics { sinks, feeder: None, stopping: Arc::default(), door })
    }

    /// Where sealed ticks are handed over.
    pub fn reader(&self) -> Readers {
        Readers(self.sinks.iter().map(Sink::reader).collect())
    }

    /// What makes the sinks begin to send.
    pub fn begin(&self) -> impl FnOnce() + Send + use<> {
        let begins: Vec<_> = self.sinks.iter().map(Sink::begin).collect();
        move || begins.into_iter().for_each(|begin| begin())
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
        self.sinks.into_iter().for_each(Sink::stop);
    }
}

/// Hands sealed ticks to every sink.
pub struct Readers(Vec<SinkReader>);

impl Changes for Readers {
    fn sealed(&mut self, tick: &Arc<SealedTick>) {
        self.0.iter_mut().for_each(|reader| reader.sealed(tick));
    }
}

/// What is counted; each is there before it first counts.
fn describe() {
    metrics::describe_counter!("etalage_kafka_sent_total", "Values that have arrived in topics");
    metrics::describe_counter!("etalage_kafka_refused_total", "Values that were not stored in topics; sent again");
    metrics::describe_counter!("etalage_kafka_client_errors_total", "Errors that the client has met with brokers");
    metrics::describe_gauge!("etalage_kafka_waiting_keys", "Keys whose newest value waits to be sent");
    metrics::describe_counter!("etalage_kafka_transactions_total", "Transactions, by how they have ended");
    for outcome in ["committed", "cancelled"] {
        metrics::counter!("etalage_kafka_transactions_total", "outcome" => outcome).increment(0);
    }
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
    let on = etalage_views::VIEWS.iter().filter(|view| options.is_on(view.name));
    let views: Vec<(&str, Group)> = on.map(|view| (view.name, view.group)).collect();
    let Kafka { prefix, change_streams, change_retention_us, quarantine, partitions, .. } = &config.kafka;
    topics::specs(&topics::Written {
        prefix,
        views: &views,
        change_streams,
        change_retention: Duration::from_micros(*change_retention_us),
        quarantine,
        partitions: *partitions,
    })
}

/// How brokers are reached.
pub fn brokers(kafka: &Kafka) -> Brokers {
    let secret = |(name, place): &(String, SecretPlace)| {
        let secret = match place {
            SecretPlace::File(path) => Secret::File(path.clone()),
            SecretPlace::Variable(variable) => Secret::Variable(variable.clone()),
        };
        (name.clone(), secret)
    };
    Brokers {
        bootstrap: kafka.brokers.join(","),
        properties: kafka.properties.clone(),
        secrets: kafka.secrets.iter().map(secret).collect(),
    }
}

fn source_options(kafka: &Kafka) -> SourceOptions {
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
