//! The sequencer: one thread that gives everything that comes in its place.
//!
//! For each batch of submissions it mints a tick, decides what is admitted, appends one frame to
//! the log, answers, and hands the frame on. A message is acknowledged only after the append
//! returned; the dataflow sees it only then too, so nothing is ever shown that a crash could lose.
//!
//! In a replay the clock moves with the events, so a batch becomes one frame per tick.

use std::{
    ops::ControlFlow,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use etalage_model::{Binding, Group, Message, Micros, Outcome, Quarantined, Record, Rejected, Tick};
use etalage_serve::{NotStored, ReadStore};
use etalage_store::{Fate, Frames, Log, Receipt, Receipts, snapshot::Place as SnapshotPlace};
use tokio::sync::oneshot;

use super::{
    MAX_LAGGING_RECORDS, MAX_PENDING_RECORDS, MAX_PENDING_RECORDS_READ_BACK, Signals, StoredFrame,
    admission::{Admission, Decision, Moment},
    backlog::Most,
    building::Building,
    clock::{ClockMode, Reading},
    conductor::Signal,
    door::Shared,
    erasure::EraseError,
    failpoint,
    machine::Waiting,
    mutant::is_mutant,
    origin::{KeepRefused, Origin, RefusedMessage},
    quarantine::Item,
    snapshot::{Begun, Generation, Outlet, Piece},
    worker::WorkerHandle,
};

/// The most messages of one group commit.
pub(super) const MAX_COMMIT_EVENTS: usize = 4_096;

/// How long a sequencer that exports waits for input before it goes on exporting.
const EXPORT_PATIENCE: Duration = Duration::from_micros(200);

/// What the sequencer is asked to do.
pub(super) enum Command {
    Submit(Submission),
    /// Seal everything before; answer with the tick as of which it holds.
    Finish {
        until: Option<Tick>,
        reply: Sender<Tick>,
    },
    /// Seal everything before, as of a tick that is in the log.
    Rest {
        reply: Sender<Tick>,
    },
    /// What was there when the pipeline started has been submitted: from now on the wall clock
    /// drives pipeline time.
    GoLive,
    /// Erase whoever this text stands for.
    Erase {
        id: String,
        reply: Sender<Result<Receipt, EraseError>>,
    },
    /// Remove the segments of the log that lie before this frame.
    Trim {
        before: u64,
        /// The generation of the snapshots that hold what is before it.
        of: u64,
    },
    /// Export everything as of a tick of its own.
    Snapshot {
        pieces: Sender<Piece>,
        reply: Sender<Result<Begun, String>>,
    },
    Stop,
}

/// A decoded batch, and who waits for its outcomes.
pub(super) struct Submission {
    pub(super) origin: Origin,
    pub(super) batch: Vec<Result<Record, Rejected>>,
    pub(super) arrived_us: u64,
    pub(super) reply: oneshot::Sender<Result<Vec<Outcome>, NotStored>>,
}

pub(super) struct Sequencer {
    pub(super) log: Log,
    pub(super) admission: Admission,
    pub(super) shared: Arc<Shared>,
    pub(super) conductor: Signals,
    /// The groups that take what is stored.
    pub(super) groups: Vec<Group>,
    pub(super) quarantine: Sender<Item>,
    pub(super) tick_idle: Duration,
    /// Keeps what is refused of topics.
    pub(super) refused: Option<Box<dyn KeepRefused>>,
    /// The session of topics of which something could not be stored: were more of it stored, what is
    /// missing would count as read.
    pub(super) broken_session: Option<u64>,
    /// Opened with the first erasure.
    pub(super) receipts: Option<Receipts>,
    /// The folder of the store.
    pub(super) dir: PathBuf,
    /// Where snapshots are, if there are any.
    pub(super) place: Option<SnapshotPlace>,
    pub(super) generation: Generation,
    /// About how many bytes of a snapshot's rows are taken in at a time.
    pub(super) restored_at_once_bytes: u64,
    /// Stands for the options that decide what snapshots hold.
    pub(super) options: String,
    pub(super) workers: Vec<WorkerHandle>,
    /// What is served of what is published, where whoever reads it may come back to another process.
    pub(super) served: Option<ReadStore>,
    /// The disk was full when a tick was to be bound: up to this one it is not tried again.
    pub(super) tries_again_after: Tick,
    /// True once the wall clock drives the time of a pipeline that is fed by topics.
    pub(super) is_live: bool,
    /// The way of the ids that are being exported.
    pub(super) exporting: Option<Outlet>,
    /// What to call when readers may count on complete state.
    pub(super) on_ready: Option<Box<dyn FnOnce(Tick) + Send>>,
}

/// A submission whose outcomes are decided but not yet stored.
struct Answer {
    reply: oneshot::Sender<Result<Vec<Outcome>, NotStored>>,
    outcomes: Vec<Outcome>,
}

impl Sequencer {
    pub(super) fn run(mut self, frames: Frames, commands: Receiver<Command>) {
        if self.begin(frames).is_continue() {
            self.serve(&commands);
        }
    }

    /// Reads everything back; ends where it cannot.
    pub(super) fn begin(&mut self, frames: Frames) -> ControlFlow<()> {
        match self.read_back(frames) {
            Err(reason) => {
                tracing::error!(reason, "the log could not be read back");
                self.shared.set_failed(reason);
                // Nobody else can: what is sent to a sequencer that has ended is lost.
                self.signal(Signal::Stop);
                return ControlFlow::Break(());
            }
            Ok(is_live) if self.refused.is_some() && !is_live => self.shared.set_catching_up(),
            Ok(_) => {
                if self.refused.is_some() {
                    self.shared.clock.lock().go_live(self.shared.now());
                }
                self.begin_above();
                self.get_ready();
            }
        }
        ControlFlow::Continue(())
    }

    fn get_ready(&mut self) {
        failpoint::reach(failpoint::READ_BACK);
        let ready_at = self.seal_all(None);
        self.signal(Signal::Live);
        if let Some(on_ready) = self.on_ready.take() {
            on_ready(ready_at);
        }
        self.shared.set_ready();
    }

    /// Lets the wall clock drive pipeline time, once and for all.
    fn go_live(&mut self) {
        if self.shared.clock.lock().mode() != ClockMode::Replay {
            return;
        }
        let tick = self.seal_all(None);
        let binding = Binding { goes_live: true, ..Binding::default() };
        if let Err(error) = self.log.append_bound(self.shared.clock.lock().last(), &[], &binding) {
            self.shared.set_failed(format!("the store failed: {error}"));
            return;
        }
        self.shared.clock.lock().go_live(self.shared.now());
        self.is_live = true;
        tracing::info!(caught_up_to = %Micros(tick), "caught up; the wall clock drives pipeline time from here on");
        self.get_ready();
    }

    fn serve(&mut self, commands: &Receiver<Command>) {
        let mut idle = Instant::now();
        loop {
            let patience = if self.exporting.is_some() { EXPORT_PATIENCE } else { self.tick_idle };
            let received = commands.recv_timeout(patience);
            self.export_some();
            match received {
                Ok(command) => {
                    if self.obey(command, commands).is_break() {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    // A thread that exports looks more often than time need pass.
                    if idle.elapsed() >= self.tick_idle || patience == self.tick_idle {
                        self.idle();
                        idle = Instant::now();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Does as it is told, and takes submissions that wait behind one along; ends at [`Command::Stop`].
    pub(super) fn obey(&mut self, first: Command, commands: &Receiver<Command>) -> ControlFlow<()> {
        let (mut submissions, mut count, mut next) = (Vec::new(), 0, Some(first));
        while let Some(Command::Submit(submission)) = next {
            count += submission.batch.len();
            submissions.push(submission);
            next = if count < MAX_COMMIT_EVENTS { commands.try_recv().ok() } else { None };
        }
        if !submissions.is_empty() {
            self.commit(submissions);
            self.shared.dequeued(count);
        }
        match next {
            Some(Command::Finish { until, reply }) => {
                let tick = self.seal_all(until);
                self.flush_quarantine();
                // Whoever asked may have gone.
                let _ = reply.send(tick);
            }
            Some(Command::Rest { reply }) => self.rest(reply),
            Some(Command::GoLive) => self.go_live(),
            Some(Command::Trim { before, of }) => self.trim(before, of),
            Some(Command::Erase { id, reply }) => {
                // Whoever asked may have gone.
                let _ = reply.send(self.erase(&id));
            }
            Some(Command::Snapshot { pieces, reply }) => {
                // Whoever asked may have gone.
                let _ = reply.send(self.begin_snapshot(pieces));
            }
            Some(Command::Stop) => {
                self.stop();
                return ControlFlow::Break(());
            }
            Some(Command::Submit(_)) | None => {}
        }
        ControlFlow::Continue(())
    }

    /// Decides, stores, answers, hands on.
    fn commit(&mut self, submissions: Vec<Submission>) {
        let (mut building, mut answers, mut refused) = (Building::default(), Vec::new(), Vec::new());
        let reading = self.shared.now();
        let mut moment = {
            let mut clock = self.shared.clock.lock();
            Moment { tick: clock.mint(reading), wall_us: reading.wall_us, mode: clock.mode() }
        };
        self.admission.look_ahead(submissions.iter().flat_map(|submission| submission.batch.iter().flatten()));
        let mut session = None;
        for Submission { origin, batch, arrived_us, reply } in submissions {
            session = origin.session().or(session);
            if origin.session().is_some() && origin.session() == self.broken_session {
                // Whoever asked may have gone.
                let _ = reply.send(Err(NotStored::Failed("something before it could not be stored".into())));
                continue;
            }
            origin.begun().iter().for_each(|position| building.has_read(position.clone()));
            let (mut outcomes, mut kept) = (Vec::with_capacity(batch.len()), None);
            for (at, item) in batch.into_iter().enumerate() {
                let outcome = self.decide(item, Place { origin: &origin, at, arrived_us }, &mut building, &mut moment);
                // A message is kept once, however many of its items are refused.
                if let (Outcome::Refused(reason), true) = (&outcome, origin.message_at(at) != kept) {
                    refused.extend(origin.refused(at, reason));
                    kept = origin.message_at(at);
                }
                outcomes.push(outcome);
                origin.position(at).into_iter().for_each(|position| building.has_read(position));
            }
            answers.push(Answer { reply, outcomes });
        }
        let mut frames = building.frames(moment.tick);
        failpoint::reach(failpoint::DECIDED);
        if is_mutant("ack-before-commit") {
            self.answer(std::mem::take(&mut answers), &Ok(()));
        }
        let stored = self.keep(refused, &mut frames).and_then(|()| self.store(&mut frames));
        failpoint::reach(failpoint::STORED);
        // Of several frames those before one that failed are stored.
        frames.iter().for_each(|frame| self.shared.has_read(&frame.binding));
        if stored.is_err() {
            self.broken_session = session.or(self.broken_session);
        }
        self.answer(answers, &stored);
        failpoint::reach(failpoint::ANSWERED);
        frames.retain(|frame| !frame.records.is_empty());
        let is_running = moment.mode != ClockMode::Replay;
        if frames.is_empty() && is_running && self.bind(moment.tick) && self.may_pass(moment.tick) {
            // Time passes although nothing was admitted.
            self.signal(Signal::Complete { below: moment.tick + 1 });
        }
        frames.into_iter().for_each(|frame| self.pass_on(frame));
    }

    /// Decides about an item, and puts it into the frame of its tick if it is admitted.
    fn decide(
        &mut self,
        item: Result<Record, Rejected>,
        place: Place<'_>,
        building: &mut Building,
        moment: &mut Moment,
    ) -> Outcome {
        let record = match item {
            Ok(record) => record,
            Err(rejected) => return self.refuse(place.name(), rejected),
        };
        match self.admission.decide(&record, *moment) {
            Decision::Admit { late } => {
                if moment.mode == ClockMode::Replay {
                    let mut clock = self.shared.clock.lock();
                    // A service that catches up must not be ahead of the wall clock when it goes live.
                    let at = record.message.at().0;
                    clock.accept(if self.refused.is_some() { at.min(moment.wall_us) } else { at });
                    moment.tick = clock.mint(Reading { monotonic_us: 0, wall_us: moment.wall_us });
                }
                count_admitted(&record.message, late);
                building.add(record, place.arrived_us, *moment);
                Outcome::Stored
            }
            Decision::Duplicate => Outcome::Duplicate,
            Decision::Refuse(reason) => {
                // Whole, so that it can be tried again (`retry`).
                let raw = serde_json::to_vec(&record).unwrap_or_default();
                let message_id = Some(record.message.message_id().to_owned());
                self.refuse(place.name(), Rejected { message_id, raw, reason })
            }
        }
    }

    /// Keeps what was refused of topics before it is bound as read; where that fails nothing is stored.
    fn keep(&mut self, refused: Vec<RefusedMessage>, frames: &mut Vec<StoredFrame>) -> Result<(), NotStored> {
        let Some(keeper) = self.refused.as_mut().filter(|_| !refused.is_empty()) else { return Ok(()) };
        keeper.keep(refused).map_err(|reason| {
            tracing::error!(
                reason,
                "refused messages could not be written to the quarantine topic; they are read again"
            );
            let lost: Vec<StoredFrame> = std::mem::take(frames);
            lost.iter().flat_map(|frame| &frame.records).for_each(|record| self.admission.take_back(record));
            NotStored::Failed(reason)
        })
    }

    /// Appends the frames. Where one cannot be stored, neither it nor any after it counts: their
    /// ids are forgotten, and `frames` keeps those before it.
    fn store(&mut self, frames: &mut Vec<StoredFrame>) -> Result<(), NotStored> {
        let began = Instant::now();
        for at in 0..frames.len() {
            let Err(error) = self.log.append_bound(frames[at].tick, &frames[at].records, &frames[at].binding) else {
                self.has_bound(frames[at].tick);
                continue;
            };
            let reason = error.to_string();
            let lost = frames.split_off(at);
            lost.iter().flat_map(|frame| &frame.records).for_each(|record| self.admission.take_back(record));
            metrics::counter!("etalage_store_errors_total").increment(1);
            tracing::error!(reason, "messages could not be stored");
            if !error.is_retryable() {
                self.shared.set_failed(format!("the store failed: {reason}"));
            }
            // Of several frames some may be stored: only a single one's fate is that of the whole.
            return Err(match error.fate() {
                Fate::Failed if at == 0 => NotStored::Failed(reason),
                _ => NotStored::Unknown(reason),
            });
        }
        metrics::histogram!("etalage_commit_seconds").record(began.elapsed().as_secs_f64());
        Ok(())
    }

    fn answer(&self, answers: Vec<Answer>, stored: &Result<(), NotStored>) {
        for Answer { reply, outcomes } in answers {
            let answer = stored.clone().map(|()| {
                let count = |outcome: &Outcome| outcomes.iter().filter(|other| *other == outcome).count() as u64;
                self.shared.stored.fetch_add(count(&Outcome::Stored), Ordering::Relaxed);
                self.shared.duplicates.fetch_add(count(&Outcome::Duplicate), Ordering::Relaxed);
                metrics::counter!("etalage_ingest_duplicates_total").increment(count(&Outcome::Duplicate));
                outcomes
            });
            // A client that went away can send again: its messages have ids.
            let _ = reply.send(answer);
        }
        metrics::gauge!("etalage_dedup_ids").set(self.admission.known_ids() as f64);
        metrics::gauge!("etalage_dedup_horizon_seconds").set(self.admission.effective_horizon_us() as f64 / 1e6);
    }

    /// Sends a refused record to the quarantine; waits where its queue is full.
    fn refuse(&self, source: String, rejected: Rejected) -> Outcome {
        let Rejected { raw, reason, .. } = rejected;
        self.shared.refused.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("etalage_quarantine_total", "reason" => reason.code()).increment(1);
        let record = Quarantined {
            seq: 0,
            arrived_at: Micros(self.shared.now().wall_us),
            source,
            reason: reason.clone(),
            raw_bytes: raw.len() as u64,
            raw,
        };
        if self.quarantine.send(Item::Record(record)).is_err() {
            tracing::error!("the quarantine's thread has ended");
        }
        Outcome::Refused(reason)
    }

    fn flush_quarantine(&self) {
        let (done, flushed) = crossbeam_channel::bounded(1);
        if self.quarantine.send(Item::Flush(done)).is_ok() {
            // An error means that the writer has ended; that was reported where it happened.
            let _ = self.shared.machine.receive(Waiting::Sequencer, &flushed);
        }
    }

    pub(super) fn pass_on(&self, frame: StoredFrame) {
        let is_over = || self.shared.stopping.load(Ordering::SeqCst);
        // The dataflow must be able to take what came before while this waits. The frame itself is
        // not there yet, so its own tick is not complete, whatever it will complete.
        let before_waiting = || self.signal(Signal::Complete { below: frame.tick });
        self.shared.backlog.complete(frame.tick);
        // A group that lags behind live input is no reason to let that wait; see `Backlog`.
        let is_replay = self.shared.clock.lock().mode() == ClockMode::Replay || !self.shared.is_ready();
        let customer = if is_replay { MAX_LAGGING_RECORDS } else { usize::MAX };
        let shop = if self.shared.is_ready() { MAX_PENDING_RECORDS } else { MAX_PENDING_RECORDS_READ_BACK };
        let most = Most { shop, customer };
        self.shared.machine.others.go_on(Waiting::Sequencer, &|| self.shared.backlog.has_room(most));
        self.shared.backlog.add(&self.groups, frame.records.len(), frame.tick, most, before_waiting, is_over);
        self.signal(Signal::Frame(frame));
    }

    pub(super) fn signal(&self, signal: Signal) {
        if self.conductor.send(signal).is_err() {
            self.shared.set_failed("the dataflow has ended".into());
        }
    }

    fn stop(&mut self) {
        let tick = self.shared.clock.lock().last();
        if !self.is_in_doubt() {
            self.signal(Signal::Complete { below: tick + 1 });
        }
        self.signal(Signal::Stop);
    }
}

/// Which item of a submission.
#[derive(Clone, Copy)]
struct Place<'a> {
    origin: &'a Origin,
    at: usize,
    arrived_us: u64,
}

impl Place<'_> {
    fn name(self) -> String {
        self.origin.place(self.at)
    }
}

fn count_admitted(message: &Message, late: bool) {
    let kind = match message {
        Message::Event(_) => "events",
        Message::Inventory(_) => "inventory",
        Message::Catalogue(_) => "catalog",
    };
    metrics::counter!("etalage_ingest_stored_total", "kind" => kind).increment(1);
    if late {
        metrics::counter!("etalage_ingest_late_total").increment(1);
    }
}
