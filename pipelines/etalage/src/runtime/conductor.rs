//! The conductor: decides what the workers do next, and publishes what they have done.
//!
//! ```text
//!   frames ──> pending ──(fewer than 2 rounds in flight)──> round ──> every worker
//!                                                             │
//!   readers <── sealed tick <── all parts of the oldest round ┘
//! ```
//!
//! All workers cut at the same ticks, the upper ends of the rounds, so the parts of a round add up
//! to exactly what changed. Rounds are published in order.

use std::{collections::VecDeque, sync::Arc};

use crossbeam_channel::Sender;
use etalage_model::{Group, Message, Micros, Record, SealedBatch, SealedTick, Tick, TickTimes};
use etalage_serve::monotonic_us;
use etalage_views::audit::StockAudit;

use super::{
    Inbox, Readers, StoredFrame,
    door::Backlog,
    worker::{Order, WorkerHandle},
};

/// Rounds that the workers may have before them.
pub const MAX_ROUNDS_IN_FLIGHT: usize = 2;

/// Records that may wait for the workers before the sequencer waits too.
pub const MAX_PENDING_RECORDS: usize = 65_536;

/// About how many lines (items of events, and messages) a round has. More would make a burst one
/// long step; what is behind waits for the next round.
pub const MAX_ROUND_LINES: usize = 8_192;

/// What the conductor is told.
pub(crate) enum Signal {
    /// Records were stored.
    Frame(StoredFrame),
    /// Nothing more comes below this tick.
    Complete { below: Tick },
    /// As `Complete`; answers once everything below has been published.
    Seal { below: Tick, reply: Sender<Tick> },
    /// A worker's part of its oldest round.
    Part { worker: usize, upper: Tick, batches: Vec<SealedBatch> },
    /// Publish what is under way, then end.
    Stop,
}

pub(super) struct Conductor {
    workers: Vec<WorkerHandle>,
    readers: Readers,
    backlog: Arc<Backlog>,
    /// Absent where the stock that it needs is not published.
    audit: Option<StockAudit>,
    pending: Pending,
    rounds: VecDeque<Round>,
    /// Upper end of the last round that was sent, and of the last that was published.
    sent: Tick,
    published: Tick,
    waiting: Vec<(Tick, Sender<Tick>)>,
    stopping: bool,
}

/// What waits for the next rounds.
#[derive(Default)]
struct Pending {
    frames: VecDeque<PendingFrame>,
    complete_below: Tick,
}

/// Records of one tick.
struct PendingFrame {
    tick: Tick,
    records: Vec<Record>,
    lines: usize,
    times: TickTimes,
}

/// A round that the workers have before them.
struct Round {
    upper: Tick,
    records: usize,
    times: TickTimes,
    parts: Vec<Option<Vec<SealedBatch>>>,
}

impl Conductor {
    pub(super) fn new(
        workers: Vec<WorkerHandle>,
        readers: Readers,
        backlog: Arc<Backlog>,
        audit: Option<StockAudit>,
    ) -> Conductor {
        Conductor {
            workers,
            readers,
            backlog,
            audit,
            pending: Pending::default(),
            rounds: VecDeque::new(),
            sent: 0,
            published: 0,
            waiting: Vec::new(),
            stopping: false,
        }
    }

    pub(super) fn run(mut self, inbox: Inbox) {
        while let Ok(signal) = inbox.recv() {
            self.take(signal);
            while let Ok(signal) = inbox.try_recv() {
                self.take(signal);
            }
            self.publish_complete();
            while self.send_round() {}
            self.answer();
            if self.stopping && self.rounds.is_empty() {
                break;
            }
        }
        self.workers.iter().for_each(|worker| worker.send(Order::Stop));
    }

    fn take(&mut self, signal: Signal) {
        match signal {
            Signal::Frame(frame) => {
                assert!(frame.tick >= self.sent, "a tick that was sent gets no more records");
                self.pending.add(frame);
            }
            Signal::Complete { below } => self.pending.complete(below),
            Signal::Seal { below, reply } => {
                self.pending.complete(below);
                self.waiting.push((below, reply));
            }
            Signal::Part { worker, upper, batches } => {
                let round = self.rounds.iter_mut().find(|round| round.upper == upper);
                let round = round.expect("a part belongs to a round in flight");
                let before = round.parts[worker].replace(batches);
                assert!(before.is_none(), "one part of each worker for each round");
            }
            Signal::Stop => self.stopping = true,
        }
    }

    /// Gives the workers a round of what is complete, if they have room for it; true where it did.
    fn send_round(&mut self) -> bool {
        if self.rounds.len() >= MAX_ROUNDS_IN_FLIGHT || self.pending.complete_below <= self.sent {
            return false;
        }
        let (frames, upper) = self.pending.take();
        let mut times = TickTimes::default();
        frames.iter().for_each(|frame| join_times(&mut times, &frame.times));
        let records = frames.iter().map(|frame| frame.records.len()).sum();
        let count = self.workers.len();
        let mut shares: Vec<Vec<(Tick, Arc<Vec<Record>>)>> = (0..count).map(|_| Vec::new()).collect();
        for PendingFrame { tick, mut records, .. } in frames {
            let share = records.len().div_ceil(count).max(1);
            for worker in shares.iter_mut() {
                let rest = records.split_off(share.min(records.len()));
                let mine = std::mem::replace(&mut records, rest);
                if !mine.is_empty() {
                    worker.push((tick, Arc::new(mine)));
                }
            }
        }
        for (worker, batches) in self.workers.iter().zip(shares) {
            worker.send(Order::Round { batches, upper });
        }
        self.sent = upper;
        self.rounds.push_back(Round { upper, records, times, parts: vec![None; count] });
        metrics::gauge!("etalage_backlog_records").set(self.backlog.records() as f64);
        true
    }

    /// Publishes the oldest rounds that all workers have cut.
    fn publish_complete(&mut self) {
        while self.rounds.front().is_some_and(|round| round.parts.iter().all(Option::is_some)) {
            let Some(round) = self.rounds.pop_front() else { return };
            self.backlog.take(round.records);
            let lower = std::mem::replace(&mut self.published, round.upper);
            let batches = merge(round.parts.into_iter().flatten().flatten(), lower, round.upper);
            let times = TickTimes { sealed_us: monotonic_us(), ..round.times };
            let tick = Arc::new(SealedTick { group: Group::Shop, lower, upper: round.upper, times, batches });
            self.check(&tick);
            self.readers.iter_mut().for_each(|reader| reader.sealed(&tick));
            metrics::counter!("etalage_ticks_sealed_total").increment(1);
        }
    }

    fn check(&mut self, tick: &SealedTick) {
        for item in self.audit.iter_mut().flat_map(|audit| audit.violations(tick)) {
            metrics::counter!("etalage_stock_violations_total").increment(1);
            tracing::error!(%item, as_of = %Micros(tick.as_of()), "a set holds an item that is not sellable");
        }
    }

    fn answer(&mut self) {
        let published = self.published;
        self.waiting.retain(|(below, reply)| {
            if *below <= published {
                // Whoever asked may have gone.
                let _ = reply.send(*below - 1);
            }
            *below > published
        });
    }
}

impl Pending {
    fn add(&mut self, frame: StoredFrame) {
        self.complete(frame.complete_below);
        let times = TickTimes {
            max_event_time: frame.records.iter().map(|record| record.message.at()).max(),
            first_arrival_us: frame.arrivals_us.map(|(first, _)| first),
            last_arrival_us: frame.arrivals_us.map(|(_, last)| last),
            sealed_us: 0,
        };
        let lines = frame.records.iter().map(|record| lines(&record.message)).sum();
        match self.frames.back_mut().filter(|last| last.tick == frame.tick) {
            Some(last) => {
                last.records.extend(frame.records);
                last.lines += lines;
                join_times(&mut last.times, &times);
            }
            None => self.frames.push_back(PendingFrame { tick: frame.tick, records: frame.records, lines, times }),
        }
    }

    fn complete(&mut self, below: Tick) {
        self.complete_below = self.complete_below.max(below);
    }

    /// The complete frames of the next round, about [`MAX_ROUND_LINES`] of them and at least one,
    /// and the tick below which nothing else is to come.
    fn take(&mut self) -> (Vec<PendingFrame>, Tick) {
        let (mut taken, mut count) = (Vec::new(), 0);
        while let Some(frame) = self.frames.front().filter(|frame| frame.tick < self.complete_below) {
            if count > 0 && count + frame.lines > MAX_ROUND_LINES {
                let upper = frame.tick;
                return (taken, upper);
            }
            count += frame.lines;
            taken.extend(self.frames.pop_front());
        }
        (taken, self.complete_below)
    }
}

/// How much work a message is: its items, and one for itself.
fn lines(message: &Message) -> usize {
    match message {
        Message::Event(event) => 1 + event.items.len(),
        Message::Inventory(_) | Message::Catalogue(_) => 1,
    }
}

/// Widens `times` to take in those of another cause.
fn join_times(times: &mut TickTimes, other: &TickTimes) {
    times.max_event_time = times.max_event_time.max(other.max_event_time);
    times.first_arrival_us = match (times.first_arrival_us, other.first_arrival_us) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    times.last_arrival_us = times.last_arrival_us.max(other.last_arrival_us);
}

/// The parts of all workers, view by view. Keys are partitioned, so none stands in two parts.
fn merge(parts: impl Iterator<Item = SealedBatch>, lower: Tick, upper: Tick) -> Vec<SealedBatch> {
    let mut merged: Vec<SealedBatch> = Vec::new();
    for part in parts {
        match merged.iter_mut().find(|batch| batch.view == part.view) {
            Some(batch) => batch.upserts.extend(part.upserts),
            None => merged.push(SealedBatch { lower, upper, ..part }),
        }
    }
    merged
}
