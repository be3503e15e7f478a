//! The quarantine topic: messages that could not be taken, as they were sent.

use std::{sync::Arc, time::Duration};

use rdkafka::message::{Header, OwnedHeaders};

use crate::{
    Brokers, KafkaError, MAX_BATCH_BYTES,
    publisher::{Publisher, To},
};

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
    publisher: Publisher,
    topic: String,
}

impl RefusedTopic {
    /// Opens the topic.
    ///
    /// # Errors
    /// Where the client's settings are wrong.
    pub fn open(brokers: &Brokers, topic: &str) -> Result<RefusedTopic, KafkaError> {
        Ok(RefusedTopic {
            publisher: Publisher::open_with(brokers, Duration::ZERO, &[("batch.size", &MAX_BATCH_BYTES.to_string())])?,
            topic: topic.to_owned(),
        })
    }

    /// Stores all of them; returns when the brokers have them.
    ///
    /// # Errors
    /// Where some were not stored.
    pub fn keep(&mut self, refused: &[Refused]) -> Result<(), KafkaError> {
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
            let to = To { topic: &self.topic, partition: None, key: &key };
            self.publisher.send_with(to, Some(raw), headers)?;
        }
        self.publisher.flush(PATIENCE)
    }
}
