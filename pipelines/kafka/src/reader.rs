//! Reads partitions side by side, each from a queue of its own: so what is told of a partition, above all
//! that it has no more messages, is told of one and not of a number that several topics use.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::bounded;
use parking_lot::{Condvar, Mutex};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, base_consumer::PartitionQueue},
    error::KafkaError as ClientError,
    message::BorrowedMessage,
};

use crate::{Brokers, KafkaError, client::Told};

/// A partition of a topic.
pub type Part = (Arc<str>, u32);

/// What the client fetches ahead of each partition, in kilobytes: each has a queue of its own.
pub const FETCH_AHEAD_KBYTES: usize = 1_024;

/// How often the client is asked for what it tells of no partition.
const SERVE_EVERY: Duration = Duration::from_millis(100);

/// How much a broker may answer at once, over all partitions.
const FETCH_BYTES: usize = 16 << 20;

/// How long closing is waited for.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// So many messages of a partition are taken before it is the next one's turn.
const TURN: usize = 256;

/// What has come of a partition.
pub(crate) enum Arrived<T> {
    /// A message.
    Message(T),
    /// For now it has no more.
    End(Part),
    /// The client cannot read: `None` where it does not say which partition.
    Failed(Option<Part>, ClientError),
}

/// Numbers of partitions that have got something. Each stands in it once.
///
/// A channel's receiver spins before it waits; there are thousands of waits a second here, and the cores
/// are wanted for what is waited for.
#[derive(Default)]
struct Ready {
    numbers: Mutex<VecDeque<usize>>,
    rung: Condvar,
}

impl Ready {
    fn ring(&self, number: usize) {
        let mut numbers = self.numbers.lock();
        if !numbers.contains(&number) {
            numbers.push_back(number);
            self.rung.notify_one();
        }
    }

    /// The number that has stood longest, if there is one before `until`.
    fn take(&self, until: Instant) -> Option<usize> {
        let mut numbers = self.numbers.lock();
        if numbers.is_empty() {
            self.rung.wait_until(&mut numbers, until);
        }
        numbers.pop_front()
    }
}

/// A partition and its queue.
struct Lane {
    part: Part,
    queue: PartitionQueue<Told>,
    /// It stays where it is. The client stops fetching once it has enough.
    is_held: bool,
}

/// Reads partitions.
pub(crate) struct Reader {
    lanes: Vec<Lane>,
    /// There until this is dropped.
    consumer: Option<Arc<BaseConsumer<Told>>>,
    ready: Arc<Ready>,
    /// Whose turn it is, and how many messages it may still give.
    turn: Option<(usize, usize)>,
    served: Instant,
}

impl Reader {
    /// A reader that reads nothing yet. `group` names what is committed; `reset` says what is done where an
    /// offset is not there any more: `error`, or go on at the `earliest` one.
    ///
    /// # Errors
    /// Where the client's settings are wrong.
    pub(crate) fn open(brokers: &Brokers, group: &str, reset: &str) -> Result<Reader, KafkaError> {
        let consumer = brokers.client(
            &[
                ("group.id", group),
                ("enable.auto.commit", "false"),
                ("enable.partition.eof", "true"),
                ("auto.offset.reset", reset),
                // A broker answers as soon as there is something.
                ("fetch.wait.max.ms", "100"),
                ("fetch.queue.backoff.ms", "5"),
                ("queued.max.messages.kbytes", &FETCH_AHEAD_KBYTES.to_string()),
                ("fetch.max.bytes", &FETCH_BYTES.to_string()),
                ("allow.auto.create.topics", "false"),
            ],
            Told,
        )?;
        let (consumer, ready) = (Some(Arc::new(consumer)), Arc::default());
        Ok(Reader { lanes: Vec::new(), consumer, ready, turn: None, served: Instant::now() })
    }

    /// The client.
    pub(crate) fn consumer(&self) -> &Arc<BaseConsumer<Told>> {
        self.consumer.as_ref().expect("it is only taken where this is dropped")
    }

    /// Begins to read further partitions.
    ///
    /// # Errors
    /// Where the client refuses.
    pub(crate) fn assign(&mut self, parts: impl IntoIterator<Item = (Part, Offset)>) -> Result<(), KafkaError> {
        let (mut list, mut lanes) = (TopicPartitionList::new(), Vec::new());
        for (part, from) in parts {
            let refused = |error| KafkaError::of(format!("read `{}`", part.0), error);
            list.add_partition_offset(&part.0, part.1 as i32, from).map_err(refused)?;
            // Before it is assigned, so that nothing of it goes elsewhere.
            let queue = self.consumer().split_partition_queue(&part.0, part.1 as i32);
            let mut queue = queue.ok_or_else(|| KafkaError::Other {
                action: format!("read `{}`", part.0),
                reason: "the client has no queue for it".to_owned(),
            })?;
            let (number, ready) = (self.lanes.len() + lanes.len(), Arc::clone(&self.ready));
            queue.set_nonempty_callback(move || ready.ring(number));
            lanes.push(Lane { part, queue, is_held: false });
        }
        self.consumer().incremental_assign(&list).map_err(|error| KafkaError::of("read topics", error))?;
        self.lanes.extend(lanes);
        Ok(())
    }

    /// Takes nothing more of partitions, or goes on with them.
    pub(crate) fn hold(&mut self, parts: &[Part], is_held: bool) {
        for (number, lane) in self.lanes.iter_mut().enumerate().filter(|(_, lane)| parts.contains(&lane.part)) {
            lane.is_held = is_held;
            self.ready.ring(number);
        }
    }

    /// What comes next, if something does within `patience`; `read` looks at a message.
    pub(crate) fn next<T>(
        &mut self,
        patience: Duration,
        mut read: impl FnMut(&Part, &BorrowedMessage<'_>) -> T,
    ) -> Option<Arrived<T>> {
        let mut until = None;
        loop {
            if let Some(arrived) = self.poll(&mut read) {
                return Some(arrived);
            }
            let now = Instant::now();
            if now.duration_since(self.served) >= SERVE_EVERY {
                self.served = now;
                // Messages come by the queues of their partitions only.
                match self.consumer().poll(Duration::ZERO) {
                    Some(Err(error)) => return Some(Arrived::Failed(None, error)),
                    Some(Ok(message)) => unreachable!("{} is read by no queue of its own", message.topic()),
                    None => {}
                }
            }
            let until = *until.get_or_insert(now + patience);
            self.turn = self.ready.take(until.min(now + SERVE_EVERY)).map(|number| (number, TURN));
            if self.turn.is_none() && Instant::now() >= until {
                return None;
            }
        }
    }

    /// What is there of the partition whose turn it is.
    fn poll<T>(&mut self, read: &mut impl FnMut(&Part, &BorrowedMessage<'_>) -> T) -> Option<Arrived<T>> {
        let (number, left) = self.turn.take()?;
        if left == 0 {
            // There may be more: it is asked again after the others.
            self.ready.ring(number);
            return None;
        }
        // One that could not be assigned may have rung.
        let Lane { part, queue, .. } = self.lanes.get(number).filter(|lane| !lane.is_held)?;
        let arrived = match queue.poll(Duration::ZERO)? {
            Ok(message) => Arrived::Message(read(part, &message)),
            Err(ClientError::PartitionEOF(_)) => Arrived::End(part.clone()),
            Err(error) => Arrived::Failed(Some(part.clone()), error),
        };
        self.turn = Some((number, left - 1));
        Some(arrived)
    }
}

impl Drop for Reader {
    /// Closing waits for brokers that are away for as long as they are, so it is left to a thread.
    fn drop(&mut self) {
        // A queue goes away before what it belongs to.
        let open = (std::mem::take(&mut self.lanes), self.consumer.take());
        let (done, closed) = bounded::<()>(1);
        let closing = move || {
            drop(open);
            drop(done);
        };
        if std::thread::Builder::new().name("kafka-close".into()).spawn(closing).is_ok() {
            // The other end goes away when it is closed.
            let _ = closed.recv_timeout(CLOSE_PATIENCE);
        }
    }
}
