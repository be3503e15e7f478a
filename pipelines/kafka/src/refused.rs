//! The quarantine topic: messages that could not be taken, as they were sent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientContext,
    error::KafkaError as ClientError,
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
    types::RDKafkaErrorCode,
};

use crate::{Brokers, KafkaError, client::Told};

/// How long the brokers may take to store refused messages.
const PATIENCE: Duration = Duration::from_secs(30);

/// The most that is kept of a message: topics take a million bytes by default, headers among them.
pub const MAX_RAW_BYTES: usize = 900_000;

/// A message that could not be taken.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Where it was read.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// Its place there.
    pub offset: u64,
    /// A short name for why.
    pub code: &'static str,
    /// Why, and what to do.
    pub reason: String,
    /// The message as it was sent.
    pub raw: Vec<u8>,
}

/// Writes refused messages to a topic. Key: `topic/partition@offset`; value: the message as it was
/// sent, cut to [`MAX_RAW_BYTES`]; headers `topic`, `partition`, `offset`, `code`, `reason`, `bytes`.
///
/// **Delivery**: at least once.
pub struct RefusedTopic {
    producer: BaseProducer<Deliveries>,
    topic: String,
}

/// Counts what was not delivered.
#[derive(Default)]
struct Deliveries {
    failed: AtomicUsize,
}

impl ClientContext for Deliveries {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        Told.log(level, facility, message);
    }
    fn error(&self, error: ClientError, reason: &str) {
        Told.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.failed.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "a refused message was not stored in the quarantine topic");
        }
    }
}

impl RefusedTopic {
    /// Opens the topic.
    ///
    /// # Errors
    /// Where the client's settings are wrong.
    pub fn open(brokers: &Brokers, topic: &str) -> Result<RefusedTopic, KafkaError> {
        let patience_ms = PATIENCE.as_millis().to_string();
        let settings = [("enable.idempotence", "true"), ("acks", "all"), ("message.timeout.ms", &*patience_ms)];
        Ok(RefusedTopic { producer: brokers.client(&settings, Deliveries::default())?, topic: topic.to_owned() })
    }

    /// Stores all of them; returns when the brokers have them.
    ///
    /// # Errors
    /// Where some were not stored.
    pub fn keep(&mut self, refused: &[Refused]) -> Result<(), KafkaError> {
        let failed = |reason: String| KafkaError::Other { action: format!("write to `{}`", self.topic), reason };
        self.producer.context().failed.store(0, Ordering::Relaxed);
        for message in refused {
            let key = format!("{}/{}@{}", message.topic, message.partition, message.offset);
            let headers = OwnedHeaders::new()
                .insert(Header { key: "topic", value: Some(&*message.topic) })
                .insert(Header { key: "partition", value: Some(&message.partition.to_string()) })
                .insert(Header { key: "offset", value: Some(&message.offset.to_string()) })
                .insert(Header { key: "code", value: Some(message.code) })
                .insert(Header { key: "reason", value: Some(&message.reason) })
                .insert(Header { key: "bytes", value: Some(&message.raw.len().to_string()) });
            let raw = &message.raw[..message.raw.len().min(MAX_RAW_BYTES)];
            let mut record = BaseRecord::to(&self.topic).key(&key).payload(raw).headers(headers);
            while let Err((error, unsent)) = self.producer.send(record) {
                if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                    return Err(failed(error.to_string()));
                }
                self.producer.poll(Duration::from_millis(10));
                record = unsent;
            }
        }
        self.producer.flush(PATIENCE).map_err(|error| failed(error.to_string()))?;
        match self.producer.context().failed.load(Ordering::Relaxed) {
            0 => Ok(()),
            count => Err(failed(format!("{count} messages were not stored"))),
        }
    }
}
