//! The conductor: decides what the workers do next, and publishes what they have done.
//!
//! ```text
//!   frames ─┬─> pending (shop) ──────(fewer than 2 rounds in flight)──> round ──> every worker
//!           └─> pending (customer) ──(the same, by itself)───────────────┤
//!                                                                        │
//!   readers <── sealed tick of a group <── all parts of its oldest round ┘
//! ```
//!
//! All workers cut a group at the same ticks, the upper ends of its rounds, so the parts of a round
//! add up to exactly what changed. Rounds of a group are published in order. The groups do not wait
//! for each other: one that lags takes what has gathered in larger rounds.

use std::{collections::VecDeque, sync::Arc};

use crossbeam_channel::Sender;
use etalage_model::{Group, Message, Micros, Record, SealedBatch, SealedTick, Tick, TickTimes};
use etalage_serve::monotonic_us;
use etalage_views::audit::StockAudit;

use super::{
    Inbox, Readers, StoredFrame,
    backlog::Backlog,
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
    /// A worker's part of its oldest round of a group.
    Part { group: Group, worker: usize, upper: Tick, batches: Vec<SealedBatch> },
    /// Publish what is under way, then end.
    Stop,
}

pub(super) struct Conductor {
    workers: Vec<WorkerHandle>,
    readers: Readers,
    backlog: Arc<Backlog>,
    /// Absent where the stock that it needs is not published.
    audit: Option<StockAudit>,
    /// The groups that have views.
    groups: Vec<Pace>,
    complete_below: Tick,
    waiting: Vec<(Tick, Sender<Tick>)>,
    stopping: bool,
}

/// How far a group has come.
struct Pace {
    group: Group,
    /// What waits for its next rounds.
    frames: VecDeque<Arc<PendingFrame>>,
    rounds: VecDeque<Round>,
    /// Upper end of the last round that was sent, and of the last that was published.
    sent: Tick,
    published: Tick,
}

/// Records of one tick, a share for each worker.
struct PendingFrame {
    tick: Tick,
    shares: Vec<Arc<Vec<Record>>>,
    records: usize,
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
        groups: &[Group],
        readers: Readers,
        backlog: Arc<Backlog>,
        audit: Option<StockAudit>,
    ) -> Conductor {
        let groups = groups.iter().map(|group| Pace::new(*group)).collect();
        let (waiting, complete_below) = (Vec::new(), 0);
        Conductor { workers, readers, backlog, audit, groups, complete_below, waiting, stopping: false }
    }

    pub(super) fn run(mut self, inbox: Inbox) {
        while let Ok(signal) = inbox.recv() {
            self.take(signal);
            while let Ok(signal) = inbox.try_recv() {
                self.take(signal);
            }
            for at in 0..self.groups.len() {
                self.publish_complete(at);
                while self.groups[at].send_round(&self.workers, self.complete_below) {}
            }
            self.answer();
            if self.stopping && self.groups.iter().all(|pace| pace.rounds.is_empty()) {
                break;
            }
        }
        self.workers.iter().for_each(|worker| worker.send(Order::Stop));
    }

    fn take(&mut self, signal: Signal) {
        match signal {
            Signal::Frame(frame) => self.add(frame),
            Signal::Complete { below } => self.complete(below),
            Signal::Seal { below, reply } => {
                self.complete(below);
                self.waiting.push((below, reply));
            }
            Signal::Part { group, worker, upper, batches } => {
                let pace = self.groups.iter_mut().find(|pace| pace.group == group);
                let round = pace.and_then(|pace| pace.rounds.iter_mut().find(|round| round.upper == upper));
                let round = round.expect("a part belongs to a round in flight");
                let before = round.parts[worker].replace(batches);
                assert!(before.is_none(), "one part of each worker for each round");
            }
            Signal::Stop => self.stopping = true,
        }
    }

    fn add(&mut self, frame: StoredFrame) {
        self.complete(frame.complete_below);
        let frame = Arc::new(PendingFrame::of(frame, self.workers.len()));
        for pace in &mut self.groups {
            assert!(frame.tick >= pace.sent, "a tick that was sent gets no more records");
            pace.frames.push_back(Arc::clone(&frame));
        }
    }

    fn complete(&mut self, below: Tick) {
        self.complete_below = self.complete_below.max(below);
    }

    /// Publishes the oldest rounds of a group that all workers have cut.
    fn publish_complete(&mut self, at: usize) {
        while let Some((tick, records)) = self.groups[at].next_complete() {
            self.backlog.take(tick.group, records, tick.upper);
            if tick.group == Group::Shop {
                self.check(&tick);
            }
            let tick = Arc::new(tick);
            self.readers.iter_mut().for_each(|reader| reader.sealed(&tick));
            metrics::counter!("etalage_ticks_sealed_total", "group" => tick.group.name()).increment(1);
        }
        let pace = &self.groups[at];
        metrics::gauge!("etalage_backlog_records", "group" => pace.group.name())
            .set(self.backlog.records(pace.group) as f64);
    }

    fn check(&mut self, tick: &SealedTick) {
        for item in self.audit.iter_mut().flat_map(|audit| audit.violations(tick)) {
            metrics::counter!("etalage_stock_violations_total").increment(1);
            tracing::error!(%item, as_of = %Micros(tick.as_of()), "a set holds an item that is not sellable");
        }
    }

    fn answer(&mut self) {
        // Without any view everything is published as soon as it is complete.
        let published = self.groups.iter().map(|pace| pace.published).min().unwrap_or(self.complete_below);
        self.waiting.retain(|(below, reply)| {
            if *below <= published {
                // Whoever asked may have gone.
                let _ = reply.send(*below - 1);
            }
            *below > published
        });
    }
}

impl Pace {
    fn new(group: Group) -> Pace {
        Pace { group, frames: VecDeque::new(), rounds: VecDeque::new(), sent: 0, published: 0 }
    }

    /// Gives the workers a round of what is complete, if they have room for it; true where it did.
    fn send_round(&mut self, workers: &[WorkerHandle], complete_below: Tick) -> bool {
        if self.rounds.len() >= MAX_ROUNDS_IN_FLIGHT || complete_below <= self.sent {
            return false;
        }
        let (frames, upper) = self.take(complete_below);
        let mut times = TickTimes::default();
        frames.iter().for_each(|frame| join_times(&mut times, &frame.times));
        for (at, worker) in workers.iter().enumerate() {
            let share = |frame: &Arc<PendingFrame>| Some((frame.tick, Arc::clone(frame.shares.get(at)?)));
            let batches = frames.iter().filter_map(share).collect();
            worker.send(Order::Round { group: self.group, batches, upper });
        }
        let records = frames.iter().map(|frame| frame.records).sum();
        self.sent = upper;
        self.rounds.push_back(Round { upper, records, times, parts: vec![None; workers.len()] });
        true
    }

    /// The complete frames of the next round, about [`MAX_ROUND_LINES`] of them and at least those of
    /// one tick, and the tick below which nothing else is to come.
    fn take(&mut self, complete_below: Tick) -> (Vec<Arc<PendingFrame>>, Tick) {
        let (mut taken, mut count): (Vec<Arc<PendingFrame>>, usize) = (Vec::new(), 0);
        while let Some(frame) = self.frames.front().filter(|frame| frame.tick < complete_below) {
            let is_next_tick = taken.last().is_some_and(|last| last.tick < frame.tick);
            if is_next_tick && count + frame.lines > MAX_ROUND_LINES {
                let upper = frame.tick;
                return (taken, upper);
            }
            count += frame.lines;
            taken.extend(self.frames.pop_front());
        }
        (taken, complete_below)
    }

    /// The oldest round, if all workers have cut it, as it is published, and its records.
    fn next_complete(&mut self) -> Option<(SealedTick, usize)> {
        let round = self.rounds.pop_front_if(|round| round.parts.iter().all(Option::is_some))?;
        let lower = std::mem::replace(&mut self.published, round.upper);
        let batches = merge(round.parts.into_iter().flatten().flatten(), lower, round.upper);
        let times = TickTimes { sealed_us: monotonic_us(), ..round.times };
        Some((SealedTick { group: self.group, lower, upper: round.upper, times, batches }, round.records))
    }
}

impl PendingFrame {
    fn of(frame: StoredFrame, workers: usize) -> PendingFrame {
        let mut records = frame.records;
        let times = TickTimes {
            max_event_time: records.iter().map(|record| record.message.at()).max(),
            first_arrival_us: frame.arrivals_us.map(|(first, _)| first),
            last_arrival_us: frame.arrivals_us.map(|(_, last)| last),
            sealed_us: 0,
        };
        let lines = records.iter().map(|record| lines(&record.message)).sum();
        let count = records.len();
        let share = count.div_ceil(workers).max(1);
        let mut shares = Vec::with_capacity(workers);
        while !records.is_empty() {
            let rest = records.split_off(share.min(records.len()));
            shares.push(Arc::new(std::mem::replace(&mut records, rest)));
        }
        PendingFrame { tick: frame.tick, shares, records: count, lines, times }
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
