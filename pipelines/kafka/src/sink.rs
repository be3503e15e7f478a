//! Every sealed view as a compacted topic: keyed upserts and tombstones; and, of views that are named, each
//! change with the value before it and after it.
//!
//! ```text
//!  sealed ticks ──> outbox: newest value of each key ──> producer ──┬─> etalage.<view>.v1
//!                     ^         (coalesced while the brokers are    ├─> etalage.<view>.changes.v1
//!                     │          slow)                              │
//!                     └──────────── what was not delivered ─────────┤
//!                                                                   v
//!                     etalage.progress.v1 <── ticks of which everything is delivered
//! ```
//!
//! **Delivery**: at least once for each key's newest value; of several changes of a key that wait, only
//! the newest is sent. Values of one key arrive in the order in which they were sealed. Where there are
//! change streams everything goes in rounds, the next when the one before has arrived: what stands before a
//! change is what stood after the one before it.
//! **Start**: nothing is sent until [`Sink::begin`]. Then the topics are read, and only keys whose
//! value differs from the newest one there are sent.
//! **End**: where the client can no longer tell what was stored (a fatal error of the idempotent
//! producer), nothing more is sent: only reading the topics anew, by a new process, makes that certain.
//! **Bound**: one value per key, and what the producer holds ([`QUEUE_KBYTES`]).

mod begin;
mod delivered;
mod message;
mod outbox;
mod output;
mod sending;
mod transactions;

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use crossbeam_channel::{Sender, unbounded};
use etalage_model::{Changes, Group, Micros, SealedTick, ViewInfo};

pub use self::outbox::{Step, Urgency};
pub(crate) use self::output::Output;
use self::sending::{Sending, producer};
use crate::{Brokers, KafkaError};

/// The topic, behind the prefix, that says how far the others have come.
pub const PROGRESS_TOPIC: &str = "progress.v1";

/// How large a batch may become. A broker holds a batch against a topic's `max.message.bytes`, and refuses
/// all of it: so no topic may take less.
pub const MAX_BATCH_BYTES: u64 = 100_000;

/// How much the producer holds, in kilobytes.
pub const QUEUE_KBYTES: usize = 65_536;

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
    /// Views of which each change is told, too.
    pub change_streams: Vec<String>,
    /// Whether what is sent together, with the progress that it makes, is sent in one transaction. Its id is the
    /// prefix and the group's name: a producer that begins with it ends the one before.
    pub is_transactional: bool,
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
        let producer = producer(&options)?;
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
