//! What a pipeline reaches of the machine that it runs on: files, clocks, and the other threads.
//!
//! Nothing else in the runtime does (quarantine and place of snapshots are handed to it), so that a simulation can stand in
//! its place: a disk that fails, clocks that jump, and every part of the pipeline a turn at a time on one thread
//! (`simulated`).

use std::sync::Arc;

use crossbeam_channel::{Receiver, RecvError};
use etalage_store::disk::{Disk, RealDisk};

use super::clock::Reading;

/// The clocks of a machine.
pub trait Time: Send + Sync {
    /// Both clocks now.
    fn now(&self) -> Reading;
}

/// Who waits for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// The sequencer, for the dataflow or the quarantine.
    Sequencer,
    /// Whoever takes a snapshot, for everybody else.
    Taker,
}

/// How the parts of a pipeline get on while one of them waits.
pub(super) trait Others: Send + Sync {
    /// Called before somebody waits: returns when `ready` says so, or at once where the others are threads of their
    /// own.
    fn go_on(&self, who: Waiting, ready: &dyn Fn() -> bool);
}

/// A machine. Clones share it.
#[derive(Clone)]
pub(super) struct Machine {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) time: Arc<dyn Time>,
    pub(super) others: Arc<dyn Others>,
}

impl Machine {
    /// A machine of these parts.
    pub(super) fn of(disk: Arc<dyn Disk>, time: Arc<dyn Time>, others: Arc<dyn Others>) -> Machine {
        Machine { disk, time, others }
    }

    /// The one that the process runs on.
    pub(super) fn real() -> Machine {
        Machine::of(Arc::new(RealDisk), Arc::new(SystemTime), Arc::new(Threads))
    }

    pub(super) fn now(&self) -> Reading {
        self.time.now()
    }

    /// Waits for a message.
    pub(super) fn receive<T>(&self, who: Waiting, from: &Receiver<T>) -> Result<T, RecvError> {
        self.others.go_on(who, &|| !from.is_empty());
        from.recv()
    }
}

struct SystemTime;

impl Time for SystemTime {
    fn now(&self) -> Reading {
        Reading::now()
    }
}

/// Threads of the operating system.
struct Threads;

impl Others for Threads {
    fn go_on(&self, _who: Waiting, _ready: &dyn Fn() -> bool) {}
}
