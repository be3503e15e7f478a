//! A pipeline on one thread, in a simulated machine: every part runs when it is told to, so that whoever tells them
//! decides the order of everything, and one seed gives one run.
//!
//! The same sequencer, conductor, worker (one) and taker of snapshots as in [`Pipeline`](super::Pipeline); only the
//! threads around them are missing. Where one of them waits, the others go on from within.

use std::{cell::RefCell, path::Path, rc::Rc, sync::Arc};

use crossbeam_channel::{Receiver, bounded};
use etalage_store::{
    Frames, Quarantine,
    disk::Disk,
    snapshot::{Place, Written},
};
use timely::{
    WorkerConfig,
    communication::{Allocator, allocator::thread::Thread},
    worker::Worker,
};

use super::{
    Door, Inbox, PipelineOptions, StartError,
    assembly::{self, Assembly},
    conductor::Conductor,
    door::Shared,
    failpoint,
    machine::{Machine, Others, Time, Waiting},
    mutant,
    options::shop_options,
    quarantine::{self, Item, QUEUE_RECORDS},
    sequencer::{Command, Sequencer},
    snapshot::{NotTaken, Taker, Turns},
    worker::Share,
};
use crate::config::Config;

/// So many turns without an end, while somebody waits, are a deadlock.
const PATIENCE_TURNS: usize = 200_000;

/// The parts that take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Takes one command, with the submissions that wait behind it.
    Sequencer,
    /// Takes what it was told, publishes, and gives the worker rounds.
    Conductor,
    /// One step of the dataflow.
    Worker,
    /// Writes what was refused.
    Quarantine,
}

/// What happens while a snapshot is taken.
pub type Beside = Rc<dyn Fn()>;

thread_local! {
    static RUNNING: RefCell<Option<Rc<Parts>>> = const { RefCell::new(None) };
    static BESIDE: RefCell<Option<Beside>> = const { RefCell::new(None) };
}

/// A simulated pipeline; one at a time on a thread.
pub struct Simulated(Rc<Parts>);

struct Parts {
    edition: u64,
    shared: Arc<Shared>,
    frames: RefCell<Option<Frames>>,
    sequencer: RefCell<Sequencer>,
    commands: Receiver<Command>,
    dataflow: RefCell<Flow>,
    quarantine: Arc<Quarantine>,
    refusals: Receiver<Item>,
    taker: RefCell<Option<Taker>>,
}

/// The conductor, and its only worker.
struct Flow {
    conductor: Conductor,
    inbox: Inbox,
    worker: Worker,
    share: Share,
}

impl Simulated {
    /// Opens the folder on a simulated disk, and builds everything; [`Simulated::begin`] reads the log back.
    ///
    /// # Errors
    /// As [`Pipeline::start`](super::Pipeline::start).
    pub fn open(
        config: &Config,
        dir: &Path,
        options: PipelineOptions,
        (disk, time): (Arc<dyn Disk>, Arc<dyn Time>),
        place: Option<Place>,
    ) -> Result<Simulated, StartError> {
        let machine = Machine::of(disk, time, Arc::new(Parts::others()));
        let opened = assembly::open(config, dir, &machine)?;
        let quarantine = Arc::new(Quarantine::in_memory(config.quarantine_options())?);
        let (to_quarantine, refusals) = bounded(QUEUE_RECORDS);
        let refused = (Arc::clone(&quarantine), to_quarantine);
        let mut built = None;
        let start_workers = |groups: &[_], conductor| {
            let mut worker = Worker::new(WorkerConfig::default(), Allocator::Thread(Thread::default()), None);
            let (share, handle) = Share::build(&mut worker, groups, &shop_options(config), conductor);
            built = Some((worker, share));
            Ok(vec![handle])
        };
        let Assembly { shared, edition, sequencer, frames, commands, conductor, inbox, taker } =
            assembly::assemble((config, dir), options, machine, opened, place, refused, start_workers)?;
        let (worker, share) = built.ok_or_else(|| StartError::Dataflow("no worker was built".into()))?;
        let parts = Rc::new(Parts {
            edition,
            shared,
            frames: RefCell::new(Some(frames)),
            sequencer: RefCell::new(sequencer),
            commands,
            dataflow: RefCell::new(Flow { conductor, inbox, worker, share }),
            quarantine,
            refusals,
            taker: RefCell::new(taker),
        });
        RUNNING.set(Some(Rc::clone(&parts)));
        Ok(Simulated(parts))
    }

    /// Reads the log back, while the dataflow goes on.
    ///
    /// # Errors
    /// What went wrong with it.
    pub fn begin(&self) -> Result<(), String> {
        let Some(frames) = self.0.frames.take() else { return Err("it has begun already".into()) };
        // Why it could not is in `failure`.
        let _ = self.0.sequencer.borrow_mut().begin(frames);
        self.failure().map_or(Ok(()), Err)
    }

    /// The way in.
    pub fn door(&self) -> Door {
        Door::new(Arc::clone(&self.0.shared))
    }

    /// As [`Pipeline::edition`](super::Pipeline::edition).
    pub fn edition(&self) -> u64 {
        self.0.edition
    }

    /// Why it cannot go on, if it cannot.
    pub fn failure(&self) -> Option<String> {
        self.0.shared.failure()
    }

    /// The process is killed: whoever waits within it comes back.
    pub fn kill(&self) {
        self.0.shared.set_failed("killed".into());
    }

    /// Lets a part take a turn. False where it had nothing to do.
    pub fn turn(&self, part: Part) -> bool {
        self.0.turn(part)
    }

    /// Time passes without input.
    pub fn idle(&self) {
        self.0.sequencer.borrow_mut().idle();
    }

    /// Seals everything that was submitted before.
    ///
    /// # Errors
    /// Why it cannot go on.
    pub fn finish(&self) -> Result<(), String> {
        let (reply, answer) = bounded(1);
        self.0.shared.command(Command::Finish { until: None, reply })?;
        while answer.is_empty() {
            if !self.turn(Part::Sequencer) {
                return Err(self.0.shared.why_over());
            }
        }
        Ok(())
    }

    /// Takes a snapshot, while `beside` goes on.
    ///
    /// # Errors
    /// Why there is none.
    pub fn snapshot(&self, beside: Beside) -> Result<Written, NotTaken> {
        let taker = self.0.taker.borrow();
        let taker = taker.as_ref().ok_or(NotTaken::Off)?;
        BESIDE.set(Some(beside));
        let taken = taker.take();
        BESIDE.set(None);
        taken
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        RUNNING.set(None);
    }
}

impl Parts {
    fn others() -> impl Others {
        struct Within;
        impl Others for Within {
            fn go_on(&self, who: Waiting, ready: &dyn Fn() -> bool) {
                let parts = RUNNING.with_borrow(Clone::clone);
                let beside = BESIDE.with_borrow(Clone::clone);
                for _ in 0..PATIENCE_TURNS {
                    match (&parts, who, &beside) {
                        _ if ready() => return,
                        (Some(parts), Waiting::Sequencer, _) => {
                            for part in [Part::Conductor, Part::Worker, Part::Quarantine] {
                                parts.turn(part);
                            }
                        }
                        (Some(parts), Waiting::Taker, Some(beside)) if parts.shared.failure().is_none() => beside(),
                        _ => return,
                    }
                }
                panic!("{who:?} waits for somebody who does not come");
            }
        }
        Within
    }

    fn turn(&self, part: Part) -> bool {
        match part {
            Part::Sequencer => {
                let mut sequencer = self.sequencer.borrow_mut();
                sequencer.export_some();
                let Ok(command) = self.commands.try_recv() else { return false };
                // It ends when the process does.
                let _ = sequencer.obey(command, &self.commands);
                true
            }
            Part::Conductor => {
                let Flow { conductor, inbox, .. } = &mut *self.dataflow.borrow_mut();
                let Ok(signal) = inbox.try_recv() else { return false };
                // It ends when the process does.
                let _ = conductor.obey(signal, inbox);
                true
            }
            Part::Worker => {
                let Flow { worker, share, .. } = &mut *self.dataflow.borrow_mut();
                // The conductor, which it tells, is there.
                let _ = share.obey(worker, &mut Turns::default());
                let is_busy = !share.is_idle();
                let exports = share.export_some();
                worker.step();
                let _ = share.cut(0);
                is_busy || exports
            }
            Part::Quarantine => {
                let Ok(item) = self.refusals.try_recv() else { return false };
                quarantine::take(&self.quarantine, item, &self.refusals);
                true
            }
        }
    }
}

/// Chooses a mutant for the pipelines of this thread.
pub fn choose_mutant(name: Option<&'static str>) {
    mutant::choose(name);
}

/// Has `hook` called at every failpoint that a pipeline of this thread comes to.
pub fn at_failpoints(hook: impl Fn(&'static str) + 'static) {
    failpoint::hook(hook);
}
