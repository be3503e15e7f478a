//! A process that computes and holds nothing else: its workers take orders from the head.

use std::{
    io::{self, BufReader},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};
use etalage_model::{Group, Tick};
use etalage_store::snapshot::{Place, Snapshot, load};
use parking_lot::Mutex;

use super::{
    ClusterError, Joined,
    parts::ToldBatch,
    wire::{self, MAX_MESSAGE_BYTES, ToFollower, ToHead, ToldPiece, receive, send},
};
use crate::{
    config::Config,
    runtime::{
        Inbox, StartError, assembly,
        conductor::Signal,
        options::shop_options,
        snapshot::{MAX_WAITING_PIECES, Piece, RestoredPart, Snapshots, ToldPart},
        spawn,
        worker::{Order, WorkerHandle, Workers},
    },
};

/// The workers of a process that is not the head.
pub struct Follower {
    workers: Workers,
    orders: Orders,
    stream: TcpStream,
    ended: Arc<AtomicBool>,
    answering: JoinHandle<()>,
}

impl Follower {
    /// Starts the workers, and the threads that speak for them.
    ///
    /// # Errors
    /// Where a thread, or the place of the snapshots, cannot be had.
    pub fn start(config: &Config, joined: Joined, snapshots: Option<&Snapshots>) -> Result<Follower, StartError> {
        etalage_model::sym::set_limit(config.limits.max_symbols);
        let place = snapshots.map(|snapshots| Place::open(&snapshots.url, snapshots.retry_for)).transpose()?;
        let (crew, joined) = joined.crew()?;
        let Joined { members, mut connected, workers: count, beating, .. } = joined;
        let timeout = members.timeout;
        let line =
            |lines: &mut std::collections::BTreeMap<usize, TcpStream>| lines.remove(&0).ok_or(ClusterError::Incomplete);
        let (stream, pieces) = (line(&mut connected.orders)?, line(&mut connected.pieces)?);
        let (signals, parts) = unbounded();
        let options = shop_options(config);
        let groups = assembly::groups(&options);
        let workers = Workers::start(crew, &groups, options, signals)?;
        let (to_head, answers) = unbounded();
        let (to_pieces, exported) = bounded(MAX_WAITING_PIECES);
        let ended = Arc::new(AtomicBool::new(false));
        let writing = stream.try_clone().map_err(ClusterError::from)?;
        let is_ended = Arc::clone(&ended);
        beating.stop();
        let answering = spawn("parts", move || send_answers(writing, &parts, &answers, timeout, &is_ended))?;
        let is_ended = Arc::clone(&ended);
        spawn("pieces", move || send_pieces(pieces, &exported, timeout, &is_ended))?;
        let orders = Orders {
            first: members.process * count,
            workers: workers.handles(),
            to_head,
            to_pieces,
            export: None,
            snapshots: Arc::new(Loaded { place, newest: Mutex::new(None) }),
            stopped: 0,
            timeout,
        };
        Ok(Follower { workers, orders, stream, ended, answering })
    }

    /// Does as the head says, until it says that all is done. A head that is gone ends the process.
    pub fn run(self) {
        let Follower { workers, mut orders, stream, ended, answering } = self;
        let mut stream = BufReader::new(stream);
        while !orders.are_over() {
            match receive(&mut stream, MAX_MESSAGE_BYTES) {
                Ok(order) => orders.take(order),
                Err(error) => lost(&error, orders.timeout, &ended),
            }
        }
        ended.store(true, Ordering::SeqCst);
        let to_head = orders.to_head.clone();
        drop(orders);
        workers.join();
        // The head waits for no more than this: it must have been sent before the process ends.
        let _ = to_head.send(ToHead::Ended);
        let _ = answering.join();
    }

    /// Tells the head that this process was told to end.
    pub fn leaving(&self) -> impl Fn() + Send + use<> {
        let to_head = self.orders.to_head.clone();
        move || _ = to_head.send(ToHead::Leaving)
    }
}

/// What becomes of orders.
struct Orders {
    /// The number in the cluster of the first worker here.
    first: usize,
    workers: Vec<WorkerHandle>,
    to_head: Sender<ToHead>,
    to_pieces: Sender<ToldPiece>,
    /// The export that is under way, and where its pieces go.
    export: Option<(u64, Sender<Piece>)>,
    snapshots: Arc<Loaded>,
    /// How many workers were told to end.
    stopped: usize,
    timeout: Duration,
}

impl Orders {
    fn are_over(&self) -> bool {
        self.stopped == self.workers.len()
    }

    fn take(&mut self, order: ToFollower) {
        match order {
            ToFollower::Form(_) | ToFollower::Beat => {}
            ToFollower::Round { worker, group, batches, upper } => {
                self.send(worker, Order::Round { group, batches, upper });
            }
            ToFollower::Restore { worker, part } => self.restore(worker, part),
            ToFollower::Export { worker, export, group, tick } => {
                let pieces = self.pieces_of(export);
                self.send(worker, Order::Export { group, tick, pieces });
            }
            ToFollower::Stop { worker } => {
                self.stopped += 1;
                self.send(worker, Order::Stop);
            }
        }
    }

    fn worker(&self, number: usize) -> Option<&WorkerHandle> {
        self.workers.get(number.checked_sub(self.first)?)
    }

    fn send(&self, worker: usize, order: Order) {
        if let Some(worker) = self.worker(worker) {
            worker.send(order);
        }
    }

    /// Has a worker take its share of a part in, beside other orders: reading takes long.
    fn restore(&self, worker: usize, part: ToldPart) {
        let (snapshots, to_head) = (Arc::clone(&self.snapshots), self.to_head.clone());
        let handle = self.worker(worker).cloned();
        let restore = move || {
            let restored = snapshots.part(part).and_then(|part| {
                let (reply, restored) = bounded(1);
                if let Some(handle) = &handle {
                    handle.send(Order::Restore { part: Arc::new(part), reply });
                }
                restored.recv().unwrap_or_else(|_| Err("a worker has ended".to_owned()))
            });
            // Nobody listens to a process that ends.
            let _ = to_head.send(ToHead::Restored { worker, result: restored });
        };
        if let Err(error) = spawn("restore", restore) {
            let result = Err(format!("no thread could be started: {error}"));
            let _ = self.to_head.send(ToHead::Restored { worker, result });
        }
    }

    /// Where pieces of an export go: its own thread tells which one they belong to.
    fn pieces_of(&mut self, export: u64) -> Sender<Piece> {
        if let Some((_, pieces)) = self.export.as_ref().filter(|(number, _)| *number == export) {
            return pieces.clone();
        }
        let (pieces, exported) = bounded::<Piece>(1);
        let to_pieces = self.to_pieces.clone();
        let pass = move || {
            exported.iter().for_each(|piece| _ = to_pieces.send(ToldPiece { export, piece }));
        };
        if spawn("export", pass).is_err() {
            tracing::error!("no thread could be started: there will be no snapshot");
        }
        self.export = Some((export, pieces.clone()));
        pieces
    }
}

/// The snapshot that is taken in.
struct Loaded {
    place: Option<Place>,
    newest: Mutex<Option<(Tick, Arc<Snapshot>)>>,
}

impl Loaded {
    fn part(&self, told: ToldPart) -> Result<RestoredPart, String> {
        let mut newest = self.newest.lock();
        let known = newest.as_ref().filter(|(tick, _)| *tick == told.snapshot);
        let snapshot = match known {
            Some((_, snapshot)) => Arc::clone(snapshot),
            None => {
                let place = self.place.as_ref().ok_or("snapshots are switched off here ([snapshots] on)")?;
                let snapshot = load(place, told.snapshot).map_err(|error| {
                    format!("{error}; [snapshots] url must be a place that all processes of a cluster reach")
                })?;
                Arc::clone(&newest.insert((told.snapshot, Arc::new(snapshot))).1)
            }
        };
        told.of(snapshot)
    }
}

/// Tells the head what workers say, with a sign of life where they say nothing.
fn send_answers(
    mut stream: TcpStream,
    parts: &Inbox,
    answers: &Receiver<ToHead>,
    timeout: Duration,
    is_ended: &AtomicBool,
) {
    let (mut room, beat) = (Vec::new(), wire::beat_every(timeout));
    loop {
        let answer = select! {
            recv(parts) -> part => match part {
                Ok(Signal::Part { group, worker, upper, batches }) => told(group, worker, upper, &batches),
                Ok(_) => continue,
                // All workers have ended.
                Err(_) => answers.recv().unwrap_or(ToHead::Ended),
            },
            recv(answers) -> answer => answer.unwrap_or(ToHead::Ended),
            default(beat) => ToHead::Beat,
        };
        let is_last = matches!(answer, ToHead::Ended);
        if let Err(error) = send(&mut stream, &answer, &mut room) {
            return lost(&error, timeout, is_ended);
        }
        if is_last {
            return;
        }
    }
}

fn told(group: Group, worker: usize, upper: Tick, batches: &[etalage_model::SealedBatch]) -> ToHead {
    ToHead::Part { group, worker, upper, batches: batches.iter().map(ToldBatch::of).collect() }
}

fn send_pieces(mut stream: TcpStream, pieces: &Receiver<ToldPiece>, timeout: Duration, is_ended: &AtomicBool) {
    let mut room = Vec::new();
    for piece in pieces {
        if let Err(error) = send(&mut stream, &piece, &mut room) {
            return lost(&error, timeout, is_ended);
        }
    }
}

fn lost(error: &io::Error, timeout: Duration, is_ended: &AtomicBool) {
    if !is_ended.load(Ordering::SeqCst) {
        super::end(&format!("process 0 is gone: {}", wire::meaning(error, timeout)));
    }
}
