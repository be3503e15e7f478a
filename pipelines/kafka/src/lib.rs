//! etalage's topics: the only crate that knows rdkafka.
//!
//! - [`Source`]: messages of topics, from where they were last bound. Partitions are assigned by
//!   us and not by a consumer group; offsets live in the binding of ticks.
//! - [`Sink`]: every sealed view as a compacted topic of keyed upserts and tombstones, and the
//!   topic that says how far they have come.
//! - [`RefusedTopic`]: where messages lie that could not be taken.
//! - [`Subscription`]: what a subscriber of the views sees, tick by tick.
//! - [`Publisher`]: writes messages, for tests and measurements.
//! - [`topics`]: which topics there are, how they must be set up, and making and checking them.
//!
//! **Delivery**: a message of a source is handed over at least once, and counted once, since its
//! offset is stored in the same frame. A value is sent at least once; who keeps the newest one of
//! each key never sees a wrong state.

mod client;
mod ends;
mod error;
mod published;
mod publisher;
mod reader;
mod refused;
mod sink;
mod source;
mod subscription;
pub mod topics;

pub use client::{Brokers, Secret};
pub use error::KafkaError;
pub use etalage_model::{Group, InputKind, Position};
pub use publisher::{Publisher, To};
pub use reader::{FETCH_AHEAD_KBYTES, Part};
pub use refused::{MAX_RAW_BYTES, Refused, RefusedTopic};
pub use sink::{MAX_BATCH_BYTES, Now, PROGRESS_TOPIC, QUEUE_KBYTES, Sink, SinkOptions, SinkReader, Step, Urgency};
pub use source::{Received, Source, SourceOptions};
pub use subscription::{Change, Cut, MAX_HELD, Subscription, Times};
