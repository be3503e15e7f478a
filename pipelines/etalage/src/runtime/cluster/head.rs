//! The workers of other processes, as the head reaches them.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, BufReader},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use etalage_model::Group;
use parking_lot::Mutex;

use super::{
    ClusterError, Joined, Leaving, end,
    wire::{self, MAX_MESSAGE_BYTES, ToFollower, ToHead, ToldPiece, receive, send},
};
use crate::runtime::{
    Signals, StartError, Vital,
    conductor::Signal,
    snapshot::Piece,
    worker::{Crew, Order, WorkerHandle},
};

/// All workers of all other processes.
pub(in crate::runtime) struct Remote {
    /// By their number in the cluster: those of process 1, then those of process 2, …
    workers: Vec<WorkerHandle>,
    threads: Vec<JoinHandle<()>>,
}

/// What a process was asked and has not answered yet.
#[derive(Default)]
struct Asked {
    /// Who waits for a worker to take a part of a snapshot in.
    restores: HashMap<usize, VecDeque<Sender<Result<(), String>>>>,
    /// Who takes the pieces of an export. Those of one that was given up are thrown away.
    exports: VecDeque<(u64, Sender<Piece>)>,
    next_export: u64,
}

/// Exports of which pieces may still come: groups of one snapshot, and of one that was given up before it.
const MAX_EXPORTS: usize = 8;

/// Another process, as the threads of its connections share it.
#[derive(Clone)]
struct Peer {
    process: usize,
    timeout: Duration,
    asked: Arc<Mutex<Asked>>,
    /// Its workers were told to stop: that it goes away is no failure any more.
    is_stopping: Arc<AtomicBool>,
    leaving: Leaving,
}

impl Remote {
    /// Starts the threads that speak with all other processes, whose workers have these `sections`; what their workers
    /// say goes to the conductor.
    pub(in crate::runtime) fn start(
        joined: Joined,
        sections: &[(Group, &'static str)],
        conductor: &Signals,
    ) -> Result<Remote, ClusterError> {
        let Joined { members, connected, workers: each, beating, leaving } = joined;
        beating.stop();
        let sections: Arc<[_]> = sections.into();
        let mut remote = Remote { workers: Vec::new(), threads: Vec::new() };
        let mut pieces = connected.pieces;
        for (process, orders) in connected.orders {
            let peer = Peer {
                process,
                timeout: members.timeout,
                asked: Arc::default(),
                is_stopping: Arc::default(),
                leaving: Arc::clone(&leaving),
            };
            let (to_process, from_here) = unbounded();
            let handle = |at| WorkerHandle::elsewhere(process * each + at, to_process.clone(), Arc::clone(&sections));
            remote.workers.extend((0..each).map(handle));
            let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
                std::thread::Builder::new().name(format!("{name}-{process}")).spawn(move || {
                    let _vital = Vital("cluster");
                    body();
                })
            };
            let (reading, sender, receiver) = (orders.try_clone()?, peer.clone(), peer.clone());
            let conductor = conductor.clone();
            remote.threads.push(spawn("orders", Box::new(move || sender.send_orders(orders, &from_here)))?);
            remote.threads.push(spawn("parts", Box::new(move || receiver.take_answers(reading, &conductor)))?);
            if let Some(stream) = pieces.remove(&process) {
                // It reads until the other process has ended, for which nobody waits.
                drop(spawn("pieces", Box::new(move || peer.take_pieces(stream)))?);
            }
        }
        Ok(remote)
    }

    pub(in crate::runtime) fn workers(&self) -> &[WorkerHandle] {
        &self.workers
    }

    /// Waits for all other processes to end, once their workers were told to.
    pub(in crate::runtime) fn join(self) {
        drop(self.workers);
        self.threads.into_iter().for_each(|thread| _ = thread.join());
    }
}

impl Joined {
    /// The crew of the head, and what the workers of the others are reached by once that crew is there.
    pub(in crate::runtime) fn crew_of_head(self) -> Result<(Crew, Option<Joined>), StartError> {
        let (crew, joined) = self.crew()?;
        Ok((crew, Some(joined)))
    }
}

impl Peer {
    /// Ends this process where the other one is gone; not where it was told to end, unless it says nothing any more.
    fn lost(&self, error: &io::Error) {
        let is_silent = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        if is_silent || !self.is_stopping.load(Ordering::SeqCst) {
            let reason = wire::meaning(error, self.timeout);
            end(&format!("process {} is gone: {reason}", self.process));
        }
    }

    /// Hands orders over, with a sign of life where there are none.
    fn send_orders(self, mut stream: TcpStream, orders: &Receiver<(usize, Order)>) {
        let mut room = Vec::new();
        loop {
            let message = match orders.recv_timeout(wire::beat_every(self.timeout)) {
                Ok((worker, order)) => self.told(worker, order),
                Err(RecvTimeoutError::Timeout) => ToFollower::Beat,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let Err(error) = send(&mut stream, &message, &mut room) {
                return self.lost(&error);
            }
        }
    }

    /// What is sent of an order; who waits for its answer is remembered.
    fn told(&self, worker: usize, order: Order) -> ToFollower {
        match order {
            Order::Round { group, batches, upper } => ToFollower::Round { worker, group, batches, upper },
            Order::Restore { part, reply } => {
                self.asked.lock().restores.entry(worker).or_default().push_back(reply);
                ToFollower::Restore { worker, part: part.told() }
            }
            Order::Export { group, tick, pieces } => {
                let mut asked = self.asked.lock();
                // All workers of a process export to the same.
                let known =
                    asked.exports.iter().find(|(_, known)| known.same_channel(&pieces)).map(|(number, _)| *number);
                let export = known.unwrap_or_else(|| {
                    asked.next_export += 1;
                    let number = asked.next_export;
                    asked.exports.push_back((number, pieces));
                    if asked.exports.len() > MAX_EXPORTS {
                        asked.exports.pop_front();
                    }
                    number
                });
                ToFollower::Export { worker, export, group, tick }
            }
            Order::Stop => {
                self.is_stopping.store(true, Ordering::SeqCst);
                ToFollower::Stop { worker }
            }
        }
    }

    /// Passes on what the workers of the process say.
    fn take_answers(self, stream: TcpStream, conductor: &Signals) {
        let mut stream = BufReader::new(stream);
        loop {
            match receive(&mut stream, MAX_MESSAGE_BYTES) {
                Ok(ToHead::Beat) => {}
                Ok(ToHead::Part { group, worker, upper, batches }) => {
                    let batches = batches.into_iter().map(|told| told.into_batch(group)).collect::<Result<_, _>>();
                    let batches = batches.unwrap_or_else(|reason| {
                        end(&format!("process {} has sent {reason}", self.process));
                    });
                    // A conductor that has ended publishes nothing more.
                    let _ = conductor.send(Signal::Part { group, worker, upper, batches });
                }
                Ok(ToHead::Restored { worker, result }) => {
                    let waiting = self.asked.lock().restores.get_mut(&worker).and_then(VecDeque::pop_front);
                    let result = result.map_err(|reason| format!("process {}: {reason}", self.process));
                    // Whoever asked may have ended.
                    waiting.into_iter().for_each(|waiting| _ = waiting.send(result.clone()));
                }
                Ok(ToHead::Leaving) => (self.leaving)(self.process),
                Ok(ToHead::Ended) => return,
                Err(error) => return self.lost(&error),
            }
        }
    }

    /// Passes on rows of snapshots: as fast as they are taken.
    fn take_pieces(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        loop {
            match receive::<ToldPiece>(&mut stream, MAX_MESSAGE_BYTES) {
                Ok(ToldPiece { export, piece }) => {
                    let find = |(number, _): &&(u64, Sender<Piece>)| *number == export;
                    let taker = self.asked.lock().exports.iter().find(find).map(|(_, taker)| taker.clone());
                    // A snapshot that was given up takes nothing more.
                    let _ = taker.map(|taker| taker.send(piece));
                }
                Err(error) => return self.lost(&error),
            }
        }
    }
}
