//! The way in, for the server's handlers, for replays and for the demonstration.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crossbeam_channel::{Sender, TrySendError};
use etalage_model::{
    Binding, InputKind, KeyFields, Micros, Outcome, Position, Quarantined, Record, Rejected,
    decode::json::{self, BodyError},
    money::Currencies,
};
use etalage_serve::{Busy, Counts, NotExplained, NotStored};
use etalage_store::{Quarantine, Receipt, snapshot::Written};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::{
    SharedClock,
    backlog::Backlog,
    clock::{Clock, Reading},
    erasure::{self, EraseError, Identify},
    explain::{self, ExplainError, Explanation},
    machine::Machine,
    origin::Origin,
    retry::{Retried, Wanted},
    sequencer::{Command, Submission},
    snapshot::{self, NotTaken},
};
use crate::config::Config;

/// What a client that is turned away is told to wait.
const RETRY_AFTER_S: u32 = 1;

/// How long a blocked submission sleeps before it looks again whether the pipeline still lives.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What the threads of a pipeline share.
pub(super) struct Shared {
    pub(super) machine: Machine,
    pub(super) clock: SharedClock,
    pub(super) stopping: AtomicBool,
    pub(super) backlog: Arc<Backlog>,
    pub(super) stored: AtomicU64,
    pub(super) duplicates: AtomicU64,
    pub(super) refused: AtomicU64,
    /// Records of the log that the process began with, beyond its snapshot.
    pub(super) read_back: AtomicU64,
    /// Absent where there are no snapshots.
    pub(super) snapshots: Option<Sender<snapshot::Request>>,
    commands: Sender<Command>,
    /// Messages on their way to the sequencer.
    queued: AtomicUsize,
    room: (Mutex<()>, Condvar),
    max_queued: usize,
    state: (Mutex<State>, Condvar),
    quarantine: Arc<Quarantine>,
    currencies: Currencies,
    limits: json::Limits,
    /// How far partitions have been read.
    read: Mutex<Binding>,
    /// What is needed to know about somebody.
    pub(super) about: About,
}

/// Where everything that was taken stands, and who belongs together.
pub(super) struct About {
    pub(super) dir: PathBuf,
    pub(super) identify: Option<Identify>,
    /// Held by whoever reads the log to explain a value.
    pub(super) explaining: Mutex<()>,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Reading,
    /// The log is read back; what topics held at the start is not.
    CatchingUp,
    Ready,
    Failed(String),
}

impl Shared {
    pub(super) fn new(
        config: &Config,
        machine: Machine,
        clock: Clock,
        commands: Sender<Command>,
        quarantine: Arc<Quarantine>,
        about: About,
        snapshots: Option<Sender<snapshot::Request>>,
    ) -> Shared {
        let time = Arc::clone(&machine.time);
        Shared {
            machine,
            clock: Mutex::new(clock),
            stopping: AtomicBool::new(false),
            backlog: Arc::new(Backlog::new(config.time.group_lag_max_us, time)),
            stored: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            read_back: AtomicU64::new(0),
            snapshots,
            commands,
            queued: AtomicUsize::new(0),
            room: Default::default(),
            max_queued: config.limits.ingest_queue_events,
            state: (Mutex::new(State::Reading), Condvar::new()),
            quarantine,
            currencies: config.shop.currencies.clone(),
            limits: config.decode_limits(),
            read: Mutex::default(),
            about,
        }
    }

    /// The machine's clocks now.
    pub(super) fn now(&self) -> Reading {
        self.machine.now()
    }

    pub(super) fn command(&self, command: Command) -> Result<(), String> {
        self.commands.send(command).map_err(|_| self.why_over())
    }

    /// The sequencer has taken a submission of `count` items off the queue.
    pub(super) fn dequeued(&self, count: usize) {
        self.queued.fetch_sub(count, Ordering::SeqCst);
        let _room = self.room.0.lock();
        self.room.1.notify_all();
    }

    pub(super) fn is_ready(&self) -> bool {
        *self.state.0.lock() == State::Ready
    }

    pub(super) fn set_ready(&self) {
        self.set_state(State::Ready);
    }

    pub(super) fn set_catching_up(&self) {
        self.set_state(State::CatchingUp);
    }

    fn set_state(&self, next: State) {
        let mut state = self.state.0.lock();
        if !matches!(*state, State::Failed(_)) {
            *state = next;
        }
        self.state.1.notify_all();
    }

    /// How far partitions have been read.
    pub(super) fn positions(&self) -> Vec<Position> {
        self.read.lock().positions.clone()
    }

    /// Partitions have been read so far.
    pub(super) fn has_read(&self, binding: &Binding) {
        let mut read = self.read.lock();
        binding.positions.iter().for_each(|position| read.advance(position.clone()));
    }

    pub(super) fn set_failed(&self, reason: String) {
        *self.state.0.lock() = State::Failed(reason);
        self.state.1.notify_all();
    }

    pub(super) fn wait_ready(&self) -> Result<(), String> {
        let mut state = self.state.0.lock();
        while *state == State::Reading {
            self.state.1.wait(&mut state);
        }
        match &*state {
            State::Failed(reason) => Err(reason.clone()),
            _ => Ok(()),
        }
    }

    pub(super) fn failure(&self) -> Option<String> {
        match &*self.state.0.lock() {
            State::Failed(reason) => Some(reason.clone()),
            _ => None,
        }
    }

    /// Why nothing is taken any more.
    pub(super) fn why_over(&self) -> String {
        self.failure().unwrap_or_else(|| "the pipeline is stopping".into())
    }
}

/// The way into a pipeline. Clones share it.
#[derive(Clone)]
pub struct Door {
    shared: Arc<Shared>,
}

fn busy(overload: bool, reason: String) -> Busy {
    Busy { retry_after_s: RETRY_AFTER_S, reason, overload }
}

type Batch = Vec<Result<Record, Rejected>>;
type Answer = oneshot::Receiver<Result<Vec<Outcome>, NotStored>>;

impl Door {
    pub(super) fn new(shared: Arc<Shared>) -> Door {
        Door { shared }
    }

    /// Pipeline time.
    pub fn now(&self) -> Micros {
        Micros(self.shared.clock.lock().read(self.shared.now()))
    }

    /// The currencies that amounts are converted by.
    pub fn currencies(&self) -> &Currencies {
        &self.shared.currencies
    }

    /// The limits of decoding.
    pub fn limits(&self) -> &json::Limits {
        &self.shared.limits
    }

    /// How far partitions have been read: up to there everything is stored. Waits until that is known.
    ///
    /// # Errors
    /// Why the pipeline has ended.
    pub fn positions(&self) -> Result<Vec<Position>, String> {
        self.shared.wait_ready()?;
        Ok(self.shared.positions())
    }

    /// True once everything that topics held at the start is sealed.
    pub fn is_live(&self) -> bool {
        *self.shared.state.0.lock() == State::Ready
    }

    /// Why the pipeline cannot go on, if it cannot.
    pub fn failure(&self) -> Option<String> {
        self.shared.failure()
    }

    /// Says that what feeds the pipeline cannot go on.
    pub fn fail(&self, reason: String) {
        self.shared.set_failed(reason);
    }

    /// Says that everything that topics held at the start was submitted.
    ///
    /// # Errors
    /// Why the pipeline has ended.
    pub fn go_live(&self) -> Result<(), String> {
        self.shared.command(Command::GoLive)
    }

    /// As [`etalage_serve::Door::submit`], but waits for room, and also takes what the pipeline
    /// catches up with.
    ///
    /// # Errors
    /// Why the pipeline has ended.
    pub fn submit_blocking(&self, origin: Origin, batch: Batch) -> Result<Answer, String> {
        self.shared.wait_ready()?;
        let mut room = self.shared.room.0.lock();
        while self.shared.queued.load(Ordering::SeqCst) >= self.shared.max_queued {
            if self.shared.stopping.load(Ordering::SeqCst) {
                return Err(self.shared.why_over());
            }
            self.shared.room.1.wait_for(&mut room, LOOK_AGAIN);
        }
        drop(room);
        self.send(origin, batch)
    }

    /// Erases whoever `id` stands for, and gives the receipt. May take as long as reading the log does.
    ///
    /// # Errors
    /// Why nothing, or not everything, was erased; it can be asked for again.
    pub fn erase(&self, id: &str) -> Result<Receipt, EraseError> {
        self.shared.wait_ready().map_err(EraseError::Over)?;
        let (reply, answer) = crossbeam_channel::bounded(1);
        self.shared.command(Command::Erase { id: id.to_owned(), reply }).map_err(EraseError::Over)?;
        answer.recv().map_err(|_| EraseError::Over(self.shared.why_over()))?
    }

    /// Takes a snapshot now, and waits for it.
    ///
    /// # Errors
    /// Why there is none.
    pub fn snapshot(&self) -> Result<Written, NotTaken> {
        self.shared.wait_ready().map_err(NotTaken::Over)?;
        let requests = self.shared.snapshots.as_ref().ok_or(NotTaken::Off)?;
        let (reply, answer) = crossbeam_channel::bounded(1);
        let over = || NotTaken::Over(self.shared.why_over());
        requests.try_send(snapshot::Request { reply }).map_err(|error| match error {
            TrySendError::Full(_) => NotTaken::Busy,
            TrySendError::Disconnected(_) => over(),
        })?;
        answer.recv().map_err(|_| over())?
    }

    /// The newest `limit` events behind a value of somebody.
    ///
    /// # Errors
    /// A sentence that says why they cannot be told.
    pub fn explain(&self, view: &str, key: &KeyFields, limit: usize) -> Result<Explanation, ExplainError> {
        let About { dir, identify, explaining } = &self.shared.about;
        let nobody_knows = || ExplainError::Unreadable(EraseError::NoPeople.to_string());
        let identify = identify.as_ref().ok_or_else(nobody_knows)?;
        // Each reads the whole log: one at a time.
        let _turn = explaining.lock();
        explain::explain(Arc::clone(&self.shared.machine.disk), dir, &**identify, view, key, limit)
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn quarantine_store(&self) -> &Quarantine {
        &self.shared.quarantine
    }

    /// Waits until everything that was refused before is written to the quarantine.
    pub(super) fn flush(&self) -> Result<(), String> {
        let (reply, answer) = crossbeam_channel::bounded(1);
        self.shared.command(Command::Finish { until: None, reply })?;
        answer.recv().map(drop).map_err(|_| self.shared.why_over())
    }

    /// Whether so many messages are taken now.
    fn room_for(&self, count: usize) -> Result<(), Busy> {
        etalage_serve::Door::ready(self).map_err(|reason| busy(false, reason))?;
        let queued = self.shared.queued.load(Ordering::SeqCst);
        if queued > 0 && queued + count > self.shared.max_queued {
            let reason =
                format!("{queued} messages wait to be stored, ingest_queue_events is {}", self.shared.max_queued);
            return Err(busy(true, reason));
        }
        if let Some(lag_us) = self.shared.backlog.excess_us() {
            let reason = format!("the views of people are {} s behind, beyond group_lag_max", lag_us / 1_000_000);
            return Err(busy(true, reason));
        }
        Ok(())
    }

    fn send(&self, origin: Origin, batch: Batch) -> Result<Answer, String> {
        self.shared.queued.fetch_add(batch.len(), Ordering::SeqCst);
        let (reply, answer) = oneshot::channel();
        let submission = Submission { origin, batch, arrived_us: self.shared.now().monotonic_us, reply };
        self.shared.command(Command::Submit(submission))?;
        Ok(answer)
    }
}

impl etalage_serve::Door for Door {
    fn decode(&self, kind: InputKind, body: &[u8]) -> Result<Batch, BodyError> {
        let map_time = |at: Micros| self.shared.clock.lock().map_wall(at);
        let context = json::Context {
            now: self.now(),
            map_time: Some(&map_time),
            currencies: &self.shared.currencies,
            limits: &self.shared.limits,
        };
        json::body(kind, body, &context)
    }

    fn has_room(&self) -> Result<(), Busy> {
        self.room_for(1)
    }

    fn submit(&self, source: &str, batch: Batch) -> Result<Answer, Busy> {
        self.room_for(batch.len())?;
        self.send(Origin::Named(source.into()), batch).map_err(|reason| busy(false, reason))
    }

    fn counts(&self) -> Counts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            stored: of(&self.shared.stored),
            duplicates: of(&self.shared.duplicates),
            refused: of(&self.shared.refused),
        }
    }

    fn quarantine(&self, after: u64, limit: usize) -> Result<Vec<Quarantined>, String> {
        self.shared.quarantine.list(after, limit).map_err(|error| error.to_string())
    }

    fn erase(&self, id: &str) -> Result<serde_json::Value, String> {
        Door::erase(self, id).map(|receipt| erasure::told(&receipt)).map_err(|error| error.to_string())
    }

    fn snapshot(&self) -> Result<serde_json::Value, String> {
        Door::snapshot(self).map(|written| snapshot::summary(&written)).map_err(|error| error.to_string())
    }

    fn retry(&self, numbers: &[u64], code: Option<&str>) -> Result<serde_json::Value, String> {
        let wanted = code.map_or(Wanted::Numbers(numbers), Wanted::Code);
        Ok(Door::retry(self, wanted)?.iter().map(Retried::told).collect())
    }

    fn clock(&self) -> serde_json::Value {
        Door::clock(self)
    }

    fn accept_clock(&self) -> Result<serde_json::Value, String> {
        Door::accept_clock(self)
    }

    fn explain(&self, view: &str, key: &KeyFields, limit: usize) -> Result<serde_json::Value, NotExplained> {
        let explanation = Door::explain(self, view, key, limit).map_err(|error| match error {
            ExplainError::Asked(why) => NotExplained::Asked(why),
            ExplainError::Unreadable(why) => NotExplained::Unreadable(why),
        })?;
        serde_json::to_value(explanation).map_err(|error| NotExplained::Unreadable(error.to_string()))
    }

    fn ready(&self) -> Result<(), String> {
        match &*self.shared.state.0.lock() {
            State::Reading => Err("the log is being read back".into()),
            State::CatchingUp => Err("what the topics held at the start is being caught up with".into()),
            State::Failed(reason) => Err(reason.clone()),
            State::Ready if self.shared.stopping.load(Ordering::SeqCst) => Err("the server is stopping".into()),
            State::Ready => Ok(()),
        }
    }
}
