//! The timely workers: each holds its share of the dataflow, takes rounds, and gives parts.

use std::{any::Any, collections::VecDeque, ops::ControlFlow, sync::Arc, thread::Thread, time::Duration};

use crossbeam_channel::{Receiver, SendError, Sender, bounded, unbounded};
use etalage_model::{Group, Record, Tick};
use etalage_views::Dataflow;
use timely::{
    WorkerConfig,
    communication::{Config, allocator::AllocatorBuilder},
    worker::Worker,
};

use super::{
    Options, Signals, StartError, Vital,
    conductor::Signal,
    mutant::is_mutant,
    snapshot::{Outlet, Piece, RestoredPart, Turns},
};

/// How long a worker parks when it has nothing to do; it is woken for a round.
const PARK: Duration = Duration::from_millis(100);

/// How long a worker that waits for the others parks at most.
const PARK_IN_ROUND: Duration = Duration::from_millis(1);

/// How long a worker that exports parks at most.
const PARK_IN_EXPORT: Duration = Duration::from_micros(100);

/// What a worker is told.
pub(super) enum Order {
    /// Take these records in this group, or take them back; then everything below `upper` is there.
    Round { group: Group, batches: Vec<(Tick, isize, Arc<Vec<Record>>)>, upper: Tick },
    /// Take this worker's share of a part of a snapshot in, before anything else.
    Restore { part: Arc<RestoredPart>, reply: Sender<Result<(), String>> },
    /// Export everything of this group as of `tick`; the next round ends there.
    Export { group: Group, tick: Tick, pieces: Sender<Piece> },
    /// End.
    Stop,
}

/// How a worker is reached.
#[derive(Clone)]
pub(super) struct WorkerHandle {
    way: Way,
    /// What a snapshot has of it, in the order in which it is taken in.
    sections: Arc<[(Group, &'static str)]>,
}

#[derive(Clone)]
enum Way {
    /// A thread of this process.
    Here { orders: Sender<Order>, thread: Thread },
    /// A worker of another process, by its number in the cluster.
    Elsewhere { number: usize, orders: Sender<(usize, Order)> },
}

impl WorkerHandle {
    /// A worker of another process, by its number in the cluster; its orders are sent there by whoever receives them.
    pub(super) fn elsewhere(
        number: usize,
        orders: Sender<(usize, Order)>,
        sections: Arc<[(Group, &'static str)]>,
    ) -> WorkerHandle {
        WorkerHandle { way: Way::Elsewhere { number, orders }, sections }
    }

    /// What a snapshot has of it, in the order in which it is taken in.
    pub(super) fn sections(&self) -> &[(Group, &'static str)] {
        &self.sections
    }

    /// Hands an order over and wakes the worker. A worker that has ended takes none.
    pub(super) fn send(&self, order: Order) {
        match &self.way {
            Way::Here { orders, thread } => {
                if orders.send(order).is_ok() {
                    thread.unpark();
                }
            }
            Way::Elsewhere { number, orders } => _ = orders.send((*number, order)),
        }
    }
}

/// Workers that are to be started, connected to all others.
pub(super) struct Crew {
    pub(super) builders: Vec<AllocatorBuilder>,
    /// Held until they have ended.
    pub(super) guard: Box<dyn Any + Send>,
}

impl Crew {
    /// So many workers, all of them in this process.
    pub(super) fn alone(count: usize) -> Result<Crew, StartError> {
        let (builders, guard) = Config::Process(count).try_build().map_err(StartError::Dataflow)?;
        Ok(Crew { builders, guard })
    }
}

/// The threads of all workers of this process.
pub(super) struct Workers {
    guards: timely::communication::WorkerGuards<()>,
    handles: Vec<WorkerHandle>,
}

impl Workers {
    /// Starts workers and waits until each has built its dataflow.
    pub(super) fn start(
        Crew { builders, guard }: Crew,
        groups: &[Group],
        options: Options,
        conductor: Signals,
    ) -> Result<Workers, StartError> {
        let groups = groups.to_vec();
        let count = builders.len();
        let (introduce, introduced) = bounded(count);
        let guards = timely::execute::execute_from(builders, guard, WorkerConfig::default(), move |worker| {
            let _vital = Vital("worker");
            let (share, handle) = Share::build(worker, &groups, &options, conductor.clone());
            if introduce.send((worker.index(), handle)).is_ok() {
                share.run(worker);
            }
        });
        let guards = guards.map_err(StartError::Dataflow)?;
        let mut handles: Vec<(usize, WorkerHandle)> = introduced.iter().take(count).collect();
        handles.sort_by_key(|(index, _)| *index);
        Ok(Workers { guards, handles: handles.into_iter().map(|(_, handle)| handle).collect() })
    }

    pub(super) fn handles(&self) -> Vec<WorkerHandle> {
        self.handles.clone()
    }

    /// Waits for all workers to end.
    pub(super) fn join(self) {
        drop(self.handles);
        for result in self.guards.join() {
            if let Err(error) = result {
                tracing::error!(error, "a worker ended with a panic");
            }
        }
    }
}

/// A group's dataflow, and the ends of the rounds that it has before it.
struct AtPace {
    group: Group,
    dataflow: Dataflow,
    uppers: VecDeque<Tick>,
    /// The way of the rows that are being exported.
    exporting: Option<Outlet>,
}

impl AtPace {
    /// Takes this worker's share of a part of a snapshot in.
    fn restore(&mut self, worker: &mut Worker, part: &RestoredPart) -> Result<(), String> {
        self.dataflow.begin_import(part.first, part.snapshot.manifest.tick);
        let tick = part.tick;
        for (name, chunk) in part.chunks(self.group.name()).skip(worker.index()).step_by(worker.peers()) {
            let rows = part.snapshot.rows(chunk).map_err(|error| error.to_string())?;
            let is_twice = is_mutant("bucket-twice") && name.starts_with("Windows");
            for _ in 0..=usize::from(is_twice) {
                self.dataflow.import(name, &rows, tick).map_err(|error| error.to_string())?;
            }
            worker.step();
        }
        Ok(())
    }

    /// Hands over some of the rows that are being exported, if they are wanted now.
    fn export_some(&mut self) {
        let Some(outlet) = &mut self.exporting else { return };
        if outlet.wants_more() {
            match self.dataflow.export_some() {
                Ok(Some((name, rows))) => outlet.put_rows(self.group.name(), name, rows.bytes),
                Ok(None) if self.dataflow.is_exporting() => {}
                Ok(None) => outlet.put_last(Piece::Done),
                Err(error) => outlet.put_last(Piece::Failed(error.to_string())),
            }
        }
        if outlet.is_over() {
            self.exporting = None;
        }
    }
}

/// What a worker has of the pipeline.
pub(super) struct Share {
    groups: Vec<AtPace>,
    orders: Receiver<Order>,
    conductor: Signals,
    /// The customer group stands still, on purpose.
    is_held: bool,
}

impl Share {
    /// Builds a worker's dataflows; how it is told what to do.
    pub(super) fn build(
        worker: &mut Worker,
        groups: &[Group],
        options: &Options,
        conductor: Signals,
    ) -> (Share, WorkerHandle) {
        let (to_worker, orders) = unbounded();
        let at_pace = |group: &Group| AtPace {
            group: *group,
            dataflow: Dataflow::build(worker, *group, options.clone()),
            uppers: VecDeque::new(),
            exporting: None,
        };
        let groups: Vec<AtPace> = groups.iter().map(at_pace).collect();
        let sections = groups.iter().flat_map(|at| at.dataflow.sections().map(|name| (at.group, name)));
        let handle = WorkerHandle {
            way: Way::Here { orders: to_worker, thread: std::thread::current() },
            sections: sections.collect::<Vec<_>>().into(),
        };
        (Share { groups, orders, conductor, is_held: false }, handle)
    }

    fn run(mut self, worker: &mut Worker) {
        let mut turns = Turns::default();
        while self.obey(worker, &mut turns).is_continue() {
            let is_idle = self.is_idle();
            if let Some(turn) = turns.begin(is_idle) {
                worker.step_or_park(Some(PARK_IN_EXPORT));
                turns.end(turn, self.export_some());
            } else {
                worker.step_or_park(Some(if is_idle { PARK } else { PARK_IN_ROUND }));
            }
            if self.cut(worker.index()).is_err() {
                return;
            }
        }
    }

    /// True where it has no round before it.
    pub(super) fn is_idle(&self) -> bool {
        self.groups.iter().all(|at| at.uppers.is_empty())
    }

    /// Does as it is told; ends at [`Order::Stop`].
    pub(super) fn obey(&mut self, worker: &mut Worker, turns: &mut Turns) -> ControlFlow<()> {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Round { group: Group::Customer, batches, .. }
                    if is_mutant("held-customer") && (self.is_held || !batches.is_empty()) =>
                {
                    self.is_held = true;
                }
                Order::Round { group, batches, upper } => {
                    assert!(batches.is_empty() || !is_mutant("broken-worker"), "broken on purpose");
                    let Some(at) = self.groups.iter_mut().find(|at| at.group == group) else { continue };
                    batches.into_iter().for_each(|(tick, diff, batch)| at.dataflow.update(batch, tick, diff));
                    at.dataflow.advance(upper);
                    at.uppers.push_back(upper);
                }
                Order::Restore { part, reply } => {
                    let restored = self.groups.iter_mut().try_for_each(|at| at.restore(worker, &part));
                    // Whoever asked may have ended.
                    let _ = reply.send(restored);
                }
                Order::Export { group, tick, pieces } => {
                    let Some(at) = self.groups.iter_mut().find(|at| at.group == group) else { continue };
                    at.dataflow.begin_export(tick);
                    at.exporting = Some(Outlet::new(pieces, worker.index()));
                    turns.exports();
                }
                Order::Stop => return ControlFlow::Break(()),
            }
        }
        ControlFlow::Continue(())
    }

    /// Hands over some rows of what is exported; true where there is more.
    pub(super) fn export_some(&mut self) -> bool {
        self.groups.iter_mut().for_each(AtPace::export_some);
        self.groups.iter().any(|at| at.exporting.is_some())
    }

    /// Gives the conductor its part of every round that is complete.
    pub(super) fn cut(&mut self, worker: usize) -> Result<(), SendError<Signal>> {
        for AtPace { group, dataflow, uppers, .. } in &mut self.groups {
            while let Some(upper) = uppers.pop_front_if(|upper| dataflow.has_passed(*upper)) {
                let part = Signal::Part { group: *group, worker, upper, batches: dataflow.cut(upper) };
                self.conductor.send(part)?;
            }
        }
        Ok(())
    }
}
