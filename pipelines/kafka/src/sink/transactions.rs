//! What is sent together, with the progress that it makes, in one transaction (`kafka.transactions`).
//!
//! ```text
//!  Starting ── the one before is ended, the topics may be read ──> Ready
//!     ^                                                              │ everything that waits is sent
//!     │ anything went wrong: what was sent waits again               v
//!     ├───────────────────────────────────────────────────────────  Open ── arrived: progress is sent
//!     │                                                              │ that has arrived, too
//!     └── committed, but slowly ── Committing <──────────────────────┘
//!                                      └── committed ──> Ready
//! ```
//!
//! **A new producer after all that is not plain.** Without KIP-890, of which the client has nothing
//! (confluentinc/librdkafka#5423), a request of one transaction that the network has held back may be
//! taken for one of the next. The client sends a request anew about [`RETRY_BACKOFF`] later: a commit that
//! was answered in half of that was asked for once. After any other, and after what was cancelled, comes a
//! new producer: its epoch has the brokers refuse whatever is still under way. Of a commit that is answered
//! with an error nobody knows what it has done: the sink has failed, and the next start reads the topics.

use std::time::{Duration, Instant};

use etalage_model::Tick;
use rdkafka::{
    error::KafkaError as ClientError,
    producer::{BaseProducer, Producer, PurgeConfig},
    types::RDKafkaErrorCode as Code,
};

use super::{
    delivered::Delivered,
    outbox::{Checkpoint, Flight},
    sending::{HEARTBEAT, RETRY_EVERY, Sending, producer},
};

/// How long the client waits before it asks again.
pub(super) const RETRY_BACKOFF: Duration = Duration::from_secs(1);

/// How long the sink's thread waits for an answer before it looks at what else there is.
const ANSWER_PATIENCE: Duration = Duration::from_millis(50);

/// The pause before a producer begins again, or a new one, after an error.
const BEGIN_AGAIN: Duration = Duration::from_millis(200);

/// How long the client may take to give back what it holds of a transaction that is cancelled.
const PURGE_PATIENCE: Duration = Duration::from_secs(10);

/// How far the transaction has come.
pub(super) enum Transactions {
    /// There are none: each message stands for itself.
    Off,
    /// The producer is to begin, then.
    Starting(Instant),
    /// Nothing is under way.
    Ready,
    /// Messages are under way.
    Open(Open),
    /// Everything has arrived and is to be shown, since.
    Committing(Open, Instant),
}

/// What was sent in a transaction.
pub(super) struct Open {
    /// What was known before it.
    before: Checkpoint,
    /// The tick of which progress was told before it.
    told: (Tick, Option<Instant>),
    pub(super) arrived: Vec<(Flight, u32, u64)>,
    pub(super) refused: Vec<Flight>,
    /// What did not arrive because something else was refused.
    pub(super) given_up: Vec<Flight>,
    /// How many messages are on their way.
    pub(super) under_way: usize,
    /// True once progress was sent, or there was none.
    is_told: bool,
}

impl Open {
    /// True where not all of it can be shown, so that nothing of it may.
    fn is_broken(&self) -> bool {
        !self.refused.is_empty() || !self.given_up.is_empty()
    }
}

/// What has come of asking for the end of a transaction.
enum Ended {
    /// It is not known yet.
    Awaited,
    /// It is committed; whether after one request.
    Committed { at_once: bool },
    /// Nobody knows.
    Failed(ClientError),
}

impl Transactions {
    pub(super) fn new(is_on: bool) -> Transactions {
        if is_on { Transactions::Starting(Instant::now()) } else { Transactions::Off }
    }

    /// The one that is open.
    pub(super) fn open(&mut self) -> Option<&mut Open> {
        match self {
            Transactions::Open(open) | Transactions::Committing(open, _) => Some(open),
            _ => None,
        }
    }

    /// True while an answer of the brokers is waited for.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self, Transactions::Open(_) | Transactions::Committing(..))
    }

    /// True where values may be sent, and topics be read: none of the producer before is still under way.
    ///
    /// # Errors
    /// Where the producer cannot begin, ever.
    fn have_begun(&mut self, producer: &BaseProducer<Delivered>) -> Result<bool, ClientError> {
        match self {
            Transactions::Starting(at) if *at > Instant::now() => Ok(false),
            Transactions::Starting(_) => match producer.init_transactions(ANSWER_PATIENCE) {
                Ok(()) => {
                    *self = Transactions::Ready;
                    Ok(true)
                }
                Err(error) if is_fatal(&error) => Err(error),
                Err(error) => {
                    // That an answer is still to come is no error.
                    if !is_timeout(&error) {
                        tracing::info!(%error, "a producer of transactions cannot begin yet; it is tried again");
                        *self = Transactions::Starting(Instant::now() + BEGIN_AGAIN);
                    }
                    Ok(false)
                }
            },
            _ => Ok(true),
        }
    }

    /// Asks for what was sent to be shown, of which the first was asked `since`.
    fn commit(producer: &BaseProducer<Delivered>, since: Instant) -> Ended {
        match producer.commit_transaction(ANSWER_PATIENCE) {
            Ok(()) => Ended::Committed { at_once: since.elapsed() < RETRY_BACKOFF / 2 },
            Err(ClientError::Transaction(error)) if error.is_retriable() && !error.is_fatal() => Ended::Awaited,
            Err(ClientError::Flush(_)) => Ended::Awaited,
            Err(error) => Ended::Failed(error),
        }
    }
}

impl Sending {
    /// Whether the producer's transactions have begun; true where there are none.
    pub(super) fn have_transactions_begun(&mut self) -> bool {
        let begun = self.transactions.have_begun(&self.producer);
        begun.unwrap_or_else(|error| {
            self.fail(&error.to_string());
            false
        })
    }

    /// Opens a transaction where there is something to say, or does what is next for the one that is open.
    pub(super) fn go_on_with_transaction(&mut self) {
        self.collect();
        // Above all where another has begun with the same id: a new producer would end that one.
        if let Some((_, reason)) = self.producer.client().fatal_error() {
            return self.fail(&reason);
        }
        match std::mem::replace(&mut self.transactions, Transactions::Ready) {
            Transactions::Ready => self.open_transaction(),
            Transactions::Open(open) if open.is_broken() => self.cancel(open),
            Transactions::Open(mut open) if open.under_way == 0 && !open.is_told => {
                open.is_told = true;
                for (flight, partition, offset) in &open.arrived {
                    self.outbox.delivered(flight, *partition, *offset);
                }
                self.transactions = Transactions::Open(open);
                self.tell_progress();
            }
            Transactions::Open(open) if open.under_way == 0 => self.commit(open, Instant::now()),
            Transactions::Committing(open, since) => self.commit(open, since),
            waiting => self.transactions = waiting,
        }
    }

    fn open_transaction(&mut self) {
        let is_due = self.told.1.is_none_or(|at| at.elapsed() >= HEARTBEAT);
        let has_something_to_say = self.outbox.has_order() || (is_due && self.outbox.done().is_some());
        if !has_something_to_say {
            return;
        }
        if let Err(error) = self.producer.begin_transaction() {
            return self.fail(&error.to_string());
        }
        self.transactions = Transactions::Open(Open {
            before: self.outbox.checkpoint(),
            told: self.told,
            arrived: Vec::new(),
            refused: Vec::new(),
            given_up: Vec::new(),
            under_way: 0,
            is_told: false,
        });
        self.send_waiting();
    }

    fn commit(&mut self, open: Open, since: Instant) {
        match Transactions::commit(&self.producer, since) {
            Ended::Awaited => self.transactions = Transactions::Committing(open, since),
            Ended::Committed { at_once } => {
                metrics::counter!("etalage_kafka_sent_total").increment(open.arrived.len() as u64);
                count("committed");
                if !at_once {
                    self.begin_anew(Instant::now());
                }
            }
            Ended::Failed(error) => self.fail(&error.to_string()),
        }
    }

    /// Ends a transaction of which nothing is to be seen: all of it waits again.
    fn cancel(&mut self, open: Open) {
        count("cancelled");
        // A transaction that is open and well would say that it is open; a broken one says why.
        let reason = self.producer.begin_transaction().err();
        self.transactions = Transactions::Open(open);
        self.producer.purge(PurgeConfig::default().queue().inflight());
        let until = Instant::now() + PURGE_PATIENCE;
        while self.transactions.open().is_some_and(|open| open.under_way > 0) {
            if Instant::now() > until {
                return self.fail("the client does not give back what it holds, which is a defect");
            }
            self.producer.poll(Duration::from_millis(1));
            self.collect();
        }
        if let Some((_, reason)) = self.producer.client().fatal_error() {
            return self.fail(&reason);
        }
        // What was refused itself is set aside, and the rest goes on soon. Otherwise it would be the same again.
        let is_set_aside =
            self.transactions.open().is_some_and(|open| open.refused.iter().any(|flight| !flight.is_progress()));
        let pause = if is_set_aside { BEGIN_AGAIN } else { RETRY_EVERY };
        if let (false, Some(reason)) = (is_set_aside, reason) {
            self.refused("all topics", &reason);
        }
        if let Transactions::Open(open) = self.begin_anew(Instant::now() + pause) {
            let sent = open.arrived.into_iter().map(|(flight, ..)| flight).chain(open.given_up);
            let [sent, refused] = [sent.collect(), open.refused].map(|mut flights: Vec<Flight>| {
                flights.retain(|flight| !flight.is_progress());
                flights
            });
            self.outbox.roll_back(open.before, sent, refused);
            self.told = open.told;
        }
    }

    /// Goes on at that time with a new producer, whose epoch has the brokers refuse what the old one may have under
    /// way. Gives what was going on.
    fn begin_anew(&mut self, at: Instant) -> Transactions {
        match producer(&self.options) {
            Ok(producer) => self.producer = producer,
            Err(error) => self.fail(&format!("no new producer can be made: {error}")),
        }
        std::mem::replace(&mut self.transactions, Transactions::Starting(at))
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("etalage_kafka_transactions_total", "outcome" => outcome).increment(1);
}

fn is_fatal(error: &ClientError) -> bool {
    matches!(error, ClientError::Transaction(error) if error.is_fatal())
}

fn is_timeout(error: &ClientError) -> bool {
    matches!(error.rdkafka_error_code(), Some(Code::OperationTimedOut | Code::RequestTimedOut))
}
