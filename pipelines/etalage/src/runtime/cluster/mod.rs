//! A cluster: the workers of one pipeline in several processes.
//!
//! ```text
//!   process 0, the head                            processes 1, 2, …
//!   door ─> sequencer ─> log
//!              v
//!           conductor ──rounds──────orders────────> workers
//!              ^  └────> its own workers <──mesh──>    │   (timely: exchanged between all workers)
//!              ├──parts────────orders──────────────────┤
//!    readers <─┘      snapshots <────pieces────────────┘
//! ```
//!
//! To sequencer and conductor a worker of another process is one like its own: it takes rounds and gives parts. So one
//! process mints ticks, stores, and publishes; what a cluster answers is what one process answers, byte by byte. A restart
//! begins with the newest snapshot, whose rows any number of workers in any number of processes takes: every process
//! reads its share of it at the place that all reach.
//!
//! **Failure**: a cluster stops as one. A process that is gone, stands still as a whole, or cannot be reached for `cluster.timeout` ends all
//! others with exit code 1; whoever supervises them starts them again, they come together, and go on from the last
//! snapshot and the log. What was acknowledged is stored.
//!
//! **Trust**: what passes between processes is neither encrypted nor authenticated. It belongs into a network of their own.

mod follower;
mod forming;
mod head;
mod parts;
mod wire;

use std::{
    io,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use timely::communication::{Hooks, allocator::ProcessBuilder};

pub use follower::Follower;
pub use forming::{MAX_GREETINGS, Waiting};
pub use wire::{MAX_HELLO_BYTES, MAX_MESSAGE_BYTES};

pub(super) use head::Remote;

use crate::{config::Config, runtime::options::shop_options};
use forming::Connected;
use wire::{Agreed, ToFollower, ToHead};

use super::{snapshot, worker::Crew};

/// The processes of a cluster, and which of them this one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// Where each process is reached by the others, as `host:port`.
    pub addresses: Vec<String>,
    /// The number of this process.
    pub process: usize,
    /// Where it listens.
    pub listen: String,
    /// How long nothing may be heard of a process before it counts as gone.
    pub timeout: Duration,
}

impl Members {
    /// True for the process that mints ticks, stores and publishes.
    pub fn is_head(&self) -> bool {
        self.process == 0
    }
}

/// Why a process is in no cluster, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Its address is taken, or is none of this machine.
    #[error(
        "cannot listen on {address} for the other processes of the cluster: {reason}; set cluster.listen where this \
         process is reached by another name than its own"
    )]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        reason: io::Error,
    },
    /// The head does not take it.
    #[error("process 0 refuses this one: {0}")]
    Refused(String),
    /// A connection could not be set up.
    #[error("the connections of the cluster could not be set up: {0}")]
    Network(#[from] io::Error),
    /// The process was told to end before the cluster was complete.
    #[error("ended before the cluster was complete")]
    Over,
    /// A connection is missing although all were said to be there: a defect.
    #[error("the cluster is complete, and lacks a connection to process 0")]
    Incomplete,
}

/// A process that is connected to all others.
pub struct Joined {
    members: Members,
    connected: Connected,
    workers: usize,
    /// Tells the others that this process lives until its own threads do.
    beating: Beating,
    /// Called where another process was told to end.
    leaving: Leaving,
}

/// Called with the number of a process that was told to end.
pub type Leaving = Arc<dyn Fn(usize) + Send + Sync>;

impl Joined {
    /// Finds the others, and connects to them. `is_over` ends the waiting. The head tells the others the port of its HTTP
    /// interface, which `waiting` knows, and calls `leaving` where one of them is told to end.
    ///
    /// # Errors
    /// Where the address cannot be had, the others are none that this one goes with, or it was told to end.
    pub fn find(
        config: &Config,
        members: Members,
        waiting: &Waiting,
        is_over: &dyn Fn() -> bool,
        leaving: Leaving,
    ) -> Result<Joined, ClusterError> {
        let agreed = Agreed {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            options: snapshot::fingerprint(&shop_options(config)),
            processes: members.addresses.len(),
            workers: config.workers,
            timeout_us: members.timeout.as_micros() as u64,
            has_snapshots: config.snapshots.on,
        };
        let find = if members.is_head() { forming::as_head } else { forming::as_follower };
        let connected = find(&members, &agreed, waiting, is_over)?;
        let (orders, mesh) = (connected.orders.values(), connected.mesh.iter().flatten());
        orders.chain(mesh.clone()).try_for_each(|stream| wire::always_read(stream, members.timeout))?;
        // Rows of snapshots come as fast as they are taken, and the engine waits for as long as nothing is sent.
        connected.pieces.values().chain(mesh).try_for_each(wire::without_patience)?;
        tracing::info!(process = members.process, processes = members.addresses.len(), "the cluster is complete");
        let beating = Beating::start(&members, &connected)?;
        Ok(Joined { members, connected, workers: config.workers, beating, leaving })
    }

    /// The workers of this process, connected to those of the others; what is left of the connections.
    fn crew(mut self) -> Result<(Crew, Joined), ClusterError> {
        let mesh = std::mem::take(&mut self.connected.mesh);
        end_with_the_engine();
        let hooks = Hooks::default();
        let own = ProcessBuilder::new_typed_vector(self.workers, hooks.refill.clone(), hooks.spill.clone());
        let (builders, guard) =
            timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets(
                own,
                mesh,
                self.members.process,
                self.workers,
                hooks,
            )?;
        let builders = builders.into_iter().map(timely::communication::allocator::AllocatorBuilder::Tcp).collect();
        Ok((Crew { builders, guard: Box::new(guard) }, self))
    }
}

/// Signs of life while a process opens its store, or builds its dataflow.
struct Beating {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Beating {
    fn start(members: &Members, connected: &Connected) -> io::Result<Beating> {
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, every, is_head) = (Arc::clone(&is_over), wire::beat_every(members.timeout), members.is_head());
        let mut streams = connected.orders.values().map(TcpStream::try_clone).collect::<io::Result<Vec<_>>>()?;
        let beat = move || {
            let mut room = Vec::new();
            while !over.load(Ordering::SeqCst) {
                for stream in &mut streams {
                    // Whoever is gone is noticed by those who read.
                    let _ = match is_head {
                        true => wire::send(stream, &ToFollower::Beat, &mut room),
                        false => wire::send(stream, &ToHead::Beat, &mut room),
                    };
                }
                std::thread::park_timeout(every);
            }
        };
        Ok(Beating { is_over, thread: std::thread::Builder::new().name("beat".into()).spawn(beat)? })
    }

    /// Ends it: from now on somebody else speaks.
    fn stop(self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
        // It has nothing to say.
        let _ = self.thread.join();
    }
}

/// The engine's threads that send and receive panic where a connection is lost; nobody else would notice.
fn end_with_the_engine() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        if thread.name().is_some_and(|name| name.starts_with("timely:send") || name.starts_with("timely:recv")) {
            let reason = panic.payload_as_str().unwrap_or("no reason is known");
            end(&format!("a connection between processes is lost ({reason})"));
        }
        before(panic);
    }));
}

/// Ends the process: what was acknowledged is stored, and nothing else is of use to whoever starts it again.
fn end(reason: &str) -> ! {
    tracing::error!(reason, "the cluster stops, to be started again as one");
    eprintln!("etalage: {reason}; the cluster stops, to be started again as one");
    std::process::exit(1)
}
