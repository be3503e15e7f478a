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
//! add up to exactly what changed. Rounds of a group are published in order.
//!
//! `shop` never waits. `customer` cuts where `shop` has cut, and is published after it: so whatever
//! tick the views of people are at, the shop's values as of that tick were published too. When it lags
//! it takes what has gathered in larger rounds.

use std::{collections::VecDeque, ops::ControlFlow, sync::Arc};

use crossbeam_channel::Sender;
use etalage_model::{Group, Message, Micros, Record, SealedBatch, SealedTick, Tick, TickTimes};
use etalage_views::audit::StockAudit;

use super::{
    Inbox, Readers, StoredFrame,
    backlog::Backlog,
    failpoint,
    machine::Time,
    mutant::is_mutant,
    snapshot::Piece,
    worker::{Order, WorkerHandle},
};

/// Rounds that the workers may have before them.
pub const MAX_ROUNDS_IN_FLIGHT: usize = 2;

/// Records that may wait for the workers before the sequencer waits too.
pub const MAX_PENDING_RECORDS: usize = 65_536;

/// The same while the log is read back.
pub const MAX_PENDING_RECORDS_READ_BACK: usize = 131_072;

/// About how many lines (items of events, and messages) a round has. More would make a burst one
/// long step; what is behind waits for the next round.
pub const MAX_ROUND_LINES: usize = 8_192;

/// About how many lines a round has while the log is read back, when nobody waits for it: the more, the less is made that
/// the next round makes anew.
pub const MAX_ROUND_LINES_READ_BACK: usize = 131_072;

/// What the conductor is told.
pub(crate) enum Signal {
    /// Records were stored.
    Frame(StoredFrame),
    /// Nothing more comes below this tick.
    Complete { below: Tick },
    /// As `Complete`; a round ends there.
    Cut { below: Tick },
    /// As `Complete`; answers once everything below has been published.
    Seal { below: Tick, reply: Sender<Tick> },
    /// Nothing more comes up to `tick`: export everything as of it.
    Export { tick: Tick, pieces: Sender<Piece> },
    /// A worker's part of its oldest round of a group.
    Part { group: Group, worker: usize, upper: Tick, batches: Vec<SealedBatch> },
    /// Somebody waits for what comes from now on: rounds are short.
    Live,
    /// Publish what is under way, then end.
    Stop,
}

pub(super) struct Conductor {
    workers: Vec<WorkerHandle>,
    readers: Readers,
    backlog: Arc<Backlog>,
    time: Arc<dyn Time>,
    /// Absent where the stock that it needs is not published.
    audit: Option<StockAudit>,
    /// The groups that have views.
    groups: Vec<Pace>,
    /// About how many lines a round has.
    max_lines: usize,
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
    /// Where the group that it follows has cut beyond `sent`; absent for one that follows none.
    cuts: Option<VecDeque<Tick>>,
    /// Where rounds end, whatever they hold.
    ends: VecDeque<Tick>,
    /// The tick as of which everything is exported: a round ends there.
    export: Option<(Tick, Sender<Piece>)>,
}

/// Records of one tick, a share for each worker.
struct PendingFrame {
    tick: Tick,
    diff: isize,
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
        time: Arc<dyn Time>,
        audit: Option<StockAudit>,
    ) -> Conductor {
        let follows = |group: &Group| *group == Group::Customer && groups.contains(&Group::Shop);
        let groups = groups.iter().map(|group| Pace::new(*group, follows(group))).collect();
        let (waiting, complete_below, max_lines) = (Vec::new(), 0, MAX_ROUND_LINES_READ_BACK);
        let stopping = false;
        Conductor { workers, readers, backlog, time, audit, groups, max_lines, complete_below, waiting, stopping }
    }

    pub(super) fn run(mut self, inbox: Inbox) {
        while let Ok(signal) = inbox.recv() {
            if self.obey(signal, &inbox).is_break() {
                break;
            }
        }
        self.workers.iter().for_each(|worker| worker.send(Order::Stop));
    }

    /// Takes a signal and what waits behind it, publishes what is complete, and gives the workers what comes next.
    pub(super) fn obey(&mut self, signal: Signal, inbox: &Inbox) -> ControlFlow<()> {
        self.take(signal);
        while let Ok(signal) = inbox.try_recv() {
            self.take(signal);
        }
        for at in 0..self.groups.len() {
            self.publish_complete(at);
            while let Some(upper) = self.groups[at].send_round(&self.workers, self.complete_below, self.max_lines) {
                let others = self.groups[at + 1..].iter_mut();
                others.for_each(|other| other.cuts.iter_mut().for_each(|cuts| cuts.push_back(upper)));
            }
        }
        self.answer();
        let is_over = self.stopping && self.groups.iter().all(|pace| pace.rounds.is_empty());
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn take(&mut self, signal: Signal) {
        match signal {
            Signal::Frame(frame) => self.add(frame),
            Signal::Complete { below } => self.complete(below),
            Signal::Cut { below } => {
                self.complete(below);
                self.groups.iter_mut().for_each(|pace| pace.ends.push_back(below));
            }
            Signal::Seal { below, reply } => {
                self.complete(below);
                self.waiting.push((below, reply));
            }
            Signal::Export { tick, pieces } => {
                self.complete(tick + 1);
                self.groups.iter_mut().for_each(|pace| pace.export = Some((tick, pieces.clone())));
            }
            Signal::Part { group, worker, upper, batches } => {
                let pace = self.groups.iter_mut().find(|pace| pace.group == group);
                let round = pace.and_then(|pace| pace.rounds.iter_mut().find(|round| round.upper == upper));
                let round = round.expect("a part belongs to a round in flight");
                let before = round.parts[worker].replace(batches);
                assert!(before.is_none(), "one part of each worker for each round");
            }
            Signal::Live => self.max_lines = MAX_ROUND_LINES,
            Signal::Stop => self.stopping = true,
        }
    }

    fn add(&mut self, mut frame: StoredFrame) {
        self.complete(frame.complete_below);
        if is_mutant("half-a-tick") && frame.records.len() > 1 {
            let records = frame.records.split_off(frame.records.len() / 2);
            let late = StoredFrame { records, ..StoredFrame::empty(frame.tick + 1) };
            self.add_whole(frame);
            frame = late;
        }
        self.add_whole(frame);
    }

    fn add_whole(&mut self, frame: StoredFrame) {
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
        // Whoever follows is not published ahead.
        let until = self.groups[..at].iter().map(|pace| pace.published).min().unwrap_or(Tick::MAX);
        while let Some((tick, records)) = self.groups[at].next_complete(until, self.time.now().monotonic_us) {
            self.backlog.take(tick.group, records, tick.upper);
            if tick.group == Group::Shop {
                self.check(&tick);
            }
            let tick = Arc::new(tick);
            failpoint::reach(failpoint::SEALED);
            self.readers.iter_mut().for_each(|reader| reader.sealed(&tick));
            failpoint::reach(failpoint::PUBLISHED);
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
    fn new(group: Group, follows: bool) -> Pace {
        let cuts = follows.then(VecDeque::new);
        let (frames, rounds, ends) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        Pace { group, frames, rounds, sent: 0, published: 0, cuts, ends, export: None }
    }

    /// Gives the workers a round of what is complete, if they have room for it; its upper end.
    fn send_round(&mut self, workers: &[WorkerHandle], complete_below: Tick, max_lines: usize) -> Option<Tick> {
        if self.rounds.len() >= MAX_ROUNDS_IN_FLIGHT {
            return None;
        }
        let upper = self.next_upper(complete_below, max_lines)?;
        let end = self.frames.partition_point(|frame| frame.tick < upper);
        let frames: Vec<Arc<PendingFrame>> = self.frames.drain(..end).collect();
        let mut times = TickTimes::default();
        frames.iter().for_each(|frame| join_times(&mut times, &frame.times));
        let export = self.export.take_if(|(tick, _)| *tick < upper);
        for (at, worker) in workers.iter().enumerate() {
            if let Some((tick, pieces)) = &export {
                worker.send(Order::Export { group: self.group, tick: *tick, pieces: pieces.clone() });
            }
            let share = |frame: &Arc<PendingFrame>| Some((frame.tick, frame.diff, Arc::clone(frame.shares.get(at)?)));
            let batches = frames.iter().filter_map(share).collect();
            worker.send(Order::Round { group: self.group, batches, upper });
        }
        let records = frames.iter().map(|frame| frame.records).sum();
        self.sent = upper;
        self.rounds.push_back(Round { upper, records, times, parts: vec![None; workers.len()] });
        Some(upper)
    }

    /// Where the next round ends: when about `max_lines` are in it, or where everything
    /// complete is; and where the group that it follows has cut. One ends where everything is exported.
    fn next_upper(&mut self, complete_below: Tick, max_lines: usize) -> Option<Tick> {
        while self.ends.pop_front_if(|end| *end <= self.sent).is_some() {}
        let most = self.export.as_ref().map_or(Tick::MAX, |(tick, _)| tick + 1);
        let most = self.ends.front().map_or(most, |end| most.min(*end));
        let Some(cuts) = &mut self.cuts else {
            let upper = full_at(&self.frames, complete_below, max_lines).unwrap_or(complete_below).min(most);
            return (upper > self.sent).then_some(upper);
        };
        let full = full_at(&self.frames, complete_below, max_lines).unwrap_or(Tick::MAX).min(most);
        let mut upper = cuts.pop_front()?;
        while let Some(next) = cuts.pop_front_if(|next| *next <= full) {
            upper = next;
        }
        Some(upper)
    }

    /// The oldest round, if all workers have cut it and it does not reach beyond `until`, as it is
    /// published, and its records.
    fn next_complete(&mut self, until: Tick, sealed_us: u64) -> Option<(SealedTick, usize)> {
        let is_complete = |round: &mut Round| round.upper <= until && round.parts.iter().all(Option::is_some);
        let round = self.rounds.pop_front_if(is_complete)?;
        let lower = std::mem::replace(&mut self.published, round.upper);
        let batches = merge(round.parts.into_iter().flatten().flatten(), lower, round.upper);
        let times = TickTimes { sealed_us, ..round.times };
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
        PendingFrame { tick: frame.tick, diff: frame.diff, shares, records: count, lines, times }
    }
}

/// The end of the tick up to which about `max_lines` lie, and at least those of one tick; `None` where
/// fewer are complete.
fn full_at(frames: &VecDeque<Arc<PendingFrame>>, complete_below: Tick, max_lines: usize) -> Option<Tick> {
    let mut lines = 0;
    let mut before: Option<Tick> = None;
    for frame in frames.iter().take_while(|frame| frame.tick < complete_below) {
        lines += frame.lines;
        if before.is_some_and(|before| before < frame.tick) && lines > max_lines {
            return before.map(|before| before + 1);
        }
        before = Some(frame.tick);
    }
    None
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
            Some(batch) => batch.append(part),
            None => merged.push(SealedBatch { lower, upper, ..part }),
        }
    }
    merged
}
