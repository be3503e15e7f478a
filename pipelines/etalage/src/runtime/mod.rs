//! The running pipeline: threads, and what passes between them.
//!
//! ```text
//!  door ──bounded queue──> sequencer ──frames──> conductor ──rounds──> workers (timely)
//!   ^                        │   │                 │  ^                   │
//!   └── outcomes, stored ────┘   └─> log           │  └── parts of a tick ┘
//!                            └─> quarantine        └─> every `Changes`: read store, collector
//! ```
//!
//! The *sequencer* mints ticks, admits, deduplicates and stores; what it has stored it answers
//! for. The *conductor* gives the workers one round at a time (records, and the tick up to which
//! they are complete), at most [`MAX_ROUNDS_IN_FLIGHT`] at once; what waits meanwhile becomes one
//! round. When every worker has cut its part of a round, the conductor publishes it as one
//! sealed tick.

pub mod admission;
mod adopting;
mod assembly;
mod backlog;
mod building;
pub mod clock;
pub mod cluster;
pub mod collect;
mod conductor;
mod door;
mod erasure;
mod explain;
mod failpoint;
mod machine;
mod mutant;
mod options;
mod origin;
mod passing;
mod quarantine;
mod read_back;
mod retry;
mod sequencer;
#[cfg(feature = "mutants")]
pub mod simulated;
pub mod snapshot;
mod worker;

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use etalage_model::{Binding, Changes, Group, Record, Tick};
use etalage_serve::{ReadStore, Vital};
use etalage_store::{
    Quarantine, StoreError,
    snapshot::{Place, SnapshotError},
};
use etalage_views::ShopOptions;
use parking_lot::Mutex;

pub use backlog::MAX_LAGGING_RECORDS;
pub use clock::{Clock, ClockMode, Reading};
pub use conductor::{
    MAX_PENDING_RECORDS, MAX_PENDING_RECORDS_READ_BACK, MAX_ROUND_LINES, MAX_ROUND_LINES_READ_BACK,
    MAX_ROUNDS_IN_FLIGHT,
};
pub use door::Door;
pub use erasure::{EraseError, Identify, told};
pub use failpoint::FAILPOINTS;
pub use machine::Time;
pub use options::shop_options;
pub use origin::{KeepRefused, Origin, RefusedMessage, TopicMessage};
pub use passing::MAX_UNBOUND_US;
pub use retry::{MAX_RETRIED_AT_ONCE, Retried, Wanted};

use crate::config::Config;
use assembly::Assembly;
use cluster::{ClusterError, Joined, Remote};
use conductor::Signal;
use door::Shared;
use machine::Machine;
use sequencer::Command;
use snapshot::Snapshots;
use worker::Crew;

/// How long a stop waits until what was submitted before is published.
pub const REST_PATIENCE: Duration = Duration::from_secs(2);

/// How a pipeline is started.
pub struct PipelineOptions {
    /// What drives pipeline time.
    pub clock: ClockMode,
    /// Who gets the sealed ticks, in this order.
    pub readers: Vec<Box<dyn Changes>>,
    /// The tick from which readers may count on complete state, called once the log is read back.
    pub on_ready: Box<dyn FnOnce(Tick) + Send>,
    /// Keeps what is refused of topics. Where there is one, the pipeline is fed by topics: it first
    /// catches up with what they hold, in the time of a replay, until [`Door::go_live`] is called.
    pub refused: Option<Box<dyn KeepRefused>>,
    /// Tells who belongs together, as of what was published: needed to erase somebody, and to explain.
    pub identify: Option<Identify>,
    /// What is served of what is published, where whoever reads it may come back to another process: then time that passes
    /// without input is bound in the log, and snapshots keep when everything changed. One of the readers. Absent where
    /// a command opens a store for a moment.
    pub served: Option<ReadStore>,
    /// Snapshots to start from, and to take; without them the log is read from its beginning.
    pub snapshots: Option<Snapshots>,
    /// The other processes of the cluster of which this one is the head; absent where all workers are here.
    pub others: Option<Joined>,
}

/// Why a pipeline could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder, the log or the quarantine.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The place of the snapshots.
    #[error(transparent)]
    Snapshots(#[from] SnapshotError),
    /// The operating system gave no thread.
    #[error("no thread could be started: {0}")]
    Thread(#[from] std::io::Error),
    /// The other processes of the cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The dataflow engine did not start.
    #[error("the dataflow could not be started: {0}")]
    Dataflow(String),
    /// A thread of the pipeline ended while the log was being read back.
    #[error("the log could not be read back: {0}")]
    ReadBack(String),
}

/// A running pipeline. Dropping it without [`Pipeline::stop`] leaves its threads to the end of
/// the process.
pub struct Pipeline {
    shared: Arc<Shared>,
    edition: u64,
    sequencer: JoinHandle<()>,
    conductor: JoinHandle<()>,
    workers: Option<worker::Workers>,
    /// Those of other processes.
    remote: Option<Remote>,
    quarantine: quarantine::Writer,
    taker: Option<JoinHandle<()>>,
    /// Of the snapshots.
    place: Option<Place>,
}

impl Pipeline {
    /// Opens the folder, starts the threads, and begins to read the log back; [`Pipeline::ready`]
    /// tells when that is done.
    ///
    /// # Errors
    /// Where the folder cannot be opened or is in use, or no thread can be had.
    pub fn start(config: &Config, dir: &Path, options: PipelineOptions) -> Result<Pipeline, StartError> {
        let machine = Machine::real();
        let opened = assembly::open(config, dir, &machine)?;
        let place = options.snapshots.as_ref();
        let place = place.map(|snapshots| Place::open(&snapshots.url, snapshots.retry_for)).transpose()?;
        let quarantine = quarantine::Writer::start(Quarantine::open(dir, config.quarantine_options())?)?;
        let refused = (quarantine.reader(), quarantine.sender());
        let mut options = options;
        let others = options.others.take();
        let (mut workers, mut remote) = (None, None);
        let start_workers = |groups: &[Group], conductor: Signals| {
            let (crew, joined) =
                others.map_or_else(|| Ok((Crew::alone(config.workers)?, None)), Joined::crew_of_head)?;
            let started = worker::Workers::start(crew, groups, shop_options(config), conductor.clone())?;
            let mut handles = workers.insert(started).handles();
            if let Some(joined) = joined {
                let started = Remote::start(joined, handles[0].sections(), &conductor)?;
                handles.extend_from_slice(remote.insert(started).workers());
            }
            Ok(handles)
        };
        let Assembly { shared, edition, sequencer, frames, commands, conductor, inbox, taker } =
            assembly::assemble((config, dir), options, machine, opened, place.clone(), refused, start_workers)?;
        let conductor = spawn("conductor", move || conductor.run(inbox))?;
        let sequencer = spawn("sequencer", move || sequencer.run(frames, commands))?;
        let taker = taker.map(|taker| spawn("snapshots", move || taker.run())).transpose()?;
        Ok(Pipeline { shared, edition, sequencer, conductor, workers, remote, quarantine, taker, place })
    }

    /// The way in.
    pub fn door(&self) -> Door {
        Door::new(Arc::clone(&self.shared))
    }

    /// A number that is the same for two processes where a tick means the same to both: those of one store with the same
    /// options, of the same version, between which nobody was erased.
    pub fn edition(&self) -> u64 {
        self.edition
    }

    /// Waits until the log has been read back.
    ///
    /// # Errors
    /// What went wrong with it.
    pub fn ready(&self) -> Result<(), StartError> {
        self.shared.wait_ready().map_err(StartError::ReadBack)
    }

    /// Waits until everything that was submitted before has been sealed, and gives the tick as of
    /// which it holds. `until` moves a replay's clock there first; a replay without it is
    /// evaluated at the greatest accepted time.
    ///
    /// # Errors
    /// Why the pipeline has ended.
    pub fn finish(&self, until: Option<Tick>) -> Result<Tick, String> {
        let (reply, answer) = bounded(1);
        self.shared.command(Command::Finish { until, reply })?;
        answer.recv().map_err(|_| self.shared.why_over())
    }

    /// Seals what was submitted before as of a tick that is in the log: whoever reads what is published can go on from
    /// there with the next process.
    pub fn rest(&self) {
        let (reply, rested) = bounded(1);
        if self.shared.is_ready() && self.shared.command(Command::Rest { reply }).is_ok() {
            // It is no reason not to stop where the dataflow is far behind, or has ended.
            let _ = rested.recv_timeout(REST_PATIENCE);
        }
    }

    /// Ends calls of a server of snapshots, so that nobody waits for them who stops.
    pub fn give_up_snapshots(&self) {
        self.place.iter().for_each(Place::give_up);
    }

    /// Ends all threads. What was acknowledged is stored.
    pub fn stop(self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.give_up_snapshots();
        // A sequencer that has ended already needs no telling.
        let _ = self.shared.command(Command::Stop);
        let _ = self.taker.map(JoinHandle::join);
        let _ = self.sequencer.join();
        let _ = self.conductor.join();
        self.workers.into_iter().for_each(worker::Workers::join);
        self.remote.into_iter().for_each(Remote::join);
        self.quarantine.stop();
    }
}

/// Records that share a tick, on their way from the log to the dataflow.
#[derive(Debug)]
pub(crate) struct StoredFrame {
    pub(crate) tick: Tick,
    /// No later frame has a tick below this.
    pub(crate) complete_below: Tick,
    pub(crate) records: Vec<Record>,
    /// 1, or −1 where the records are taken back.
    pub(crate) diff: isize,
    /// When the oldest and the newest of them arrived; `None` where they were read back.
    pub(crate) arrivals_us: Option<(u64, u64)>,
    /// What binds the tick to its input.
    pub(crate) binding: Binding,
}

impl StoredFrame {
    /// A frame without records.
    fn empty(tick: Tick) -> StoredFrame {
        let (records, binding) = (Vec::new(), Binding::default());
        StoredFrame { tick, complete_below: tick, records, diff: 1, arrivals_us: None, binding }
    }
}

type Signals = Sender<Signal>;
type Inbox = Receiver<Signal>;
type Readers = Vec<Box<dyn Changes>>;
type SharedClock = Mutex<Clock>;
type Options = ShopOptions;

fn spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(move || {
        let _vital = Vital(name);
        body();
    })
}
