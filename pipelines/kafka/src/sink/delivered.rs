//! What the client tells of deliveries, until the sink looks at it.

use parking_lot::Mutex;
use rdkafka::{
    ClientContext, Message, config::RDKafkaLogLevel, error::KafkaError as ClientError, message::DeliveryResult,
    producer::ProducerContext,
};

use super::outbox::Flight;
use crate::client::Told;

/// Deliveries that the sink has not looked at yet.
#[derive(Default)]
pub(super) struct Delivered(pub(super) Mutex<Vec<(Box<Flight>, Result<(u32, u64), ClientError>)>>);

impl ClientContext for Delivered {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Told.log(level, facility, message);
    }
    fn error(&self, error: ClientError, reason: &str) {
        Told.error(error, reason);
    }
}

impl ProducerContext for Delivered {
    type DeliveryOpaque = Box<Flight>;

    fn delivery(&self, result: &DeliveryResult<'_>, flight: Box<Flight>) {
        let result = match result {
            Ok(message) => Ok((message.partition() as u32, message.offset() as u64)),
            Err((error, _)) => Err(error.clone()),
        };
        self.0.lock().push((flight, result));
    }
}
