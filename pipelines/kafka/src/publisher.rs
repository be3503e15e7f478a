//! Writes messages into topics, one after the other: what is refused, and what tests and measurements
//! feed etalage with.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    error::KafkaError as ClientError,
    message::{DeliveryResult, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
    types::RDKafkaErrorCode,
};

use crate::{
    Brokers, KafkaError,
    client::{self, Told},
};

/// Where a message is put.
#[derive(Clone, Copy, Debug)]
pub struct To<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition; `None` leaves it to the key.
    pub partition: Option<u32>,
    /// The key.
    pub key: &'a str,
}

/// Writes messages.
///
/// **Delivery**: once, in order by partition, as long as the publisher lives.
pub struct Publisher {
    producer: BaseProducer<Counted>,
}

/// Counts what was not delivered.
#[derive(Default)]
struct Counted(AtomicUsize);

impl ClientContext for Counted {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Told.log(level, facility, message);
    }
    fn error(&self, error: ClientError, reason: &str) {
        Told.error(error, reason);
    }
}

impl ProducerContext for Counted {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.0.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "a message was not delivered");
        }
    }
}

impl Publisher {
    /// Opens a publisher.
    ///
    /// # Errors
    /// Where the client's settings are wrong.
    pub fn open(brokers: &Brokers, linger: Duration) -> Result<Publisher, KafkaError> {
        Publisher::open_with(brokers, linger, &[])
    }

    /// Opens a publisher with these settings as well.
    pub(crate) fn open_with(
        brokers: &Brokers,
        linger: Duration,
        more: &[(&str, &str)],
    ) -> Result<Publisher, KafkaError> {
        let linger_ms = client::millis(linger);
        let mut settings = vec![("enable.idempotence", "true"), ("acks", "all"), ("linger.ms", &*linger_ms)];
        settings.extend(more);
        Ok(Publisher { producer: brokers.client(&settings, Counted::default())? })
    }

    /// Puts a message on its way; waits where too many are. No payload is a tombstone.
    ///
    /// # Errors
    /// Where the client does not take it.
    pub fn send(&self, to: To<'_>, payload: Option<&[u8]>) -> Result<(), KafkaError> {
        self.send_with(to, payload, OwnedHeaders::new())
    }

    pub(crate) fn send_with(
        &self,
        to: To<'_>,
        payload: Option<&[u8]>,
        headers: OwnedHeaders,
    ) -> Result<(), KafkaError> {
        let mut record = BaseRecord::to(to.topic).key(to.key).headers(headers);
        record.partition = to.partition.map(|partition| partition as i32);
        record.payload = payload;
        while let Err((error, unsent)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(KafkaError::of(format!("write to `{}`", to.topic), error));
            }
            self.producer.poll(Duration::from_millis(1));
            record = unsent;
        }
        self.producer.poll(Duration::ZERO);
        Ok(())
    }

    /// Waits until everything is delivered.
    ///
    /// # Errors
    /// Where something was not.
    pub fn flush(&self, patience: Duration) -> Result<(), KafkaError> {
        self.producer.flush(patience).map_err(|error| KafkaError::of("write to topics", error))?;
        match self.producer.context().0.swap(0, Ordering::Relaxed) {
            0 => Ok(()),
            lost => Err(KafkaError::Other {
                action: "write to topics".into(),
                reason: format!("{lost} messages were not delivered"),
            }),
        }
    }
}
