//! Reading back: what a restart begins with. The newest snapshot that can be used, then the log from there on; without
//! one, the log from its beginning. The same records at the same ticks.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use crossbeam_channel::Receiver;
use etalage_model::{Position, Tick};
use etalage_store::{Frame, Frames, StoreError, snapshot::Snapshot};

use super::{
    StoredFrame,
    clock::ClockMode,
    conductor::{MAX_ROUNDS_IN_FLIGHT, Signal},
    failpoint,
    machine::Waiting,
    mutant::is_mutant,
    sequencer::{MAX_COMMIT_EVENTS, Sequencer},
    snapshot::{self, SEQUENCER, SERVED},
    worker::{Order, WorkerHandle},
};

/// Of so many frames of the log what is known of their messages is looked up together, if they do not hold
/// [`MAX_COMMIT_EVENTS`] records before.
const FRAMES_AT_ONCE: usize = 16;

/// Of the end of the log, in microseconds of pipeline time, every frame is sealed by itself: whoever was connected when
/// the process before this one ended has seen one of these ticks last, and goes on from it.
const SEALED_ONE_BY_ONE_US: u64 = 3_000_000;

/// And no more frames than these.
const SEALED_ONE_BY_ONE_FRAMES: u64 = 4_096;

/// How often it is said how far reading back has come.
const TELL_EVERY: Duration = Duration::from_secs(1);

impl Sequencer {
    /// Reads everything back. True where it has gone live.
    pub(super) fn read_back(&mut self, mut frames: Frames) -> Result<bool, String> {
        let restored = self.restore(&mut frames)?;
        if restored.is_none() && frames.begins_at() > 0 {
            return Err(format!(
                "the log begins with frame {}: what was before was trimmed, and none of the snapshots that hold it can be \
                 used (they are missing, damaged, or of other options or another version); bring one back, or start with \
                 the options that they were taken with",
                frames.begins_at()
            ));
        }
        let (began, mut records) = (Instant::now(), 0);
        let mut progress = Progress::begin(&frames);
        let (mut last, mut number) = (None, frames.begins_at());
        loop {
            let some = some_of(&mut frames).map_err(|error| error.to_string())?;
            if some.is_empty() {
                break;
            }
            if self.shared.stopping.load(Ordering::SeqCst) {
                return Err("stopped while the log was being read back".into());
            }
            self.admission.look_ahead(some.iter().flat_map(|frame| &frame.records));
            for frame in some {
                if let Some(tick) = restored.filter(|tick| frame.tick <= *tick) {
                    return Err(format!(
                        "the log goes on at tick {}, and the snapshot that the start began with is of tick {tick}: a \
                         process that did not know of it wrote on; move that snapshot away, and start again",
                        frame.tick
                    ));
                }
                records += frame.records.len() as u64;
                last.filter(|last| *last < frame.tick).into_iter().for_each(|last| self.seal_as_it_was(last, number));
                (last, number) = (Some(frame.tick), number + 1);
                self.take_back_in(frame);
            }
            progress.tell(&frames, records);
        }
        // In a replay there may be more at the last tick.
        let is_whole = self.is_live || self.shared.clock.lock().mode() != ClockMode::Replay;
        last.filter(|_| is_whole).into_iter().for_each(|last| self.seal_as_it_was(last, number));
        progress.end(records);
        self.shared.read_back.store(records, Ordering::Relaxed);
        if records > 0 {
            tracing::info!(records, seconds = began.elapsed().as_secs_f64(), "the log was read back");
        }
        Ok(self.is_live)
    }

    /// Has everything up to the tick of a frame sealed as of it, as the process did that stored it; if it is one of the
    /// last, before this number.
    fn seal_as_it_was(&self, tick: Tick, number: u64) {
        let end = self.log.last_tick().unwrap_or(0);
        let is_near = number + SEALED_ONE_BY_ONE_FRAMES >= self.log.next_frame();
        if self.served.is_some() && is_near && tick.saturating_add(SEALED_ONE_BY_ONE_US) >= end {
            self.signal(Signal::Cut { below: tick + 1 });
        }
    }

    fn take_back_in(&mut self, frame: Frame) {
        for record in frame.records.iter().filter(|_| !is_mutant("no-dedup-on-replay")) {
            self.admission.restore(record, frame.tick);
        }
        self.shared.clock.lock().restore(frame.tick);
        self.is_live |= frame.binding.goes_live;
        self.shared.has_read(&frame.binding);
        if !frame.records.is_empty() {
            self.pass_on(StoredFrame {
                tick: frame.tick,
                complete_below: frame.tick,
                records: frame.records,
                ..StoredFrame::empty(frame.tick)
            });
        }
    }

    /// Starts from the newest snapshot that can be used, and leaves the frames that it holds out; its tick.
    fn restore(&mut self, frames: &mut Frames) -> Result<Option<Tick>, String> {
        let Some(place) = &self.place else { return Ok(None) };
        let began = Instant::now();
        let newest =
            snapshot::newest(place, frames.epoch(), &self.options, (&frames.segments(), self.log.next_frame()));
        // Going on without looking would leave one that holds more than the log, which later is not told from others.
        let newest = newest.map_err(|error| format!("{error}; [snapshots] on = \"no\" starts with the log alone"))?;
        let Some(snapshot) = newest.map(Arc::new) else { return Ok(None) };
        let tick = snapshot.manifest.tick;
        snapshot::measure(&snapshot.manifest);
        frames.skip_to(snapshot.manifest.log.next_frame);
        self.restore_views(&snapshot)?;
        self.restore_served(&snapshot)?;
        failpoint::reach(failpoint::RESTORED);
        let seconds = began.elapsed().as_secs_f64();
        tracing::info!(tick, rows = snapshot.manifest.rows(), seconds, "started from a snapshot");
        Ok(Some(tick))
    }

    /// What the workers hold, a part at a time; meanwhile what the sequencer remembers. While one part is published the
    /// workers make the next, and have the one after that before them.
    fn restore_views(&mut self, snapshot: &Arc<Snapshot>) -> Result<(), String> {
        let order = self.workers.first().map_or(&[][..], WorkerHandle::sections);
        let parts = snapshot::parts(snapshot, order, self.restored_at_once_bytes);
        let mut before: VecDeque<Receiver<Tick>> = VecDeque::new();
        for (at, part) in parts.into_iter().enumerate() {
            let (part, (reply, restored)) = (Arc::new(part), crossbeam_channel::bounded(self.workers.len()));
            for worker in &self.workers {
                worker.send(Order::Restore { part: Arc::clone(&part), reply: reply.clone() });
            }
            drop(reply);
            if at == 0 {
                self.restore_own(snapshot)?;
            }
            for _ in &self.workers {
                let restored = self.shared.machine.receive(Waiting::Sequencer, &restored);
                restored.map_err(|_| "a worker has ended".to_owned())??;
            }
            if before.len() == MAX_ROUNDS_IN_FLIGHT {
                before.pop_front().map_or(Ok(()), |sealed| self.wait_sealed(&sealed))?;
            }
            let (reply, sealed) = crossbeam_channel::bounded(1);
            self.signal(Signal::Seal { below: part.tick + 1, reply });
            before.push_back(sealed);
        }
        before.iter().try_for_each(|sealed| self.wait_sealed(sealed))
    }

    fn wait_sealed(&self, sealed: &Receiver<Tick>) -> Result<(), String> {
        let sealed = self.shared.machine.receive(Waiting::Sequencer, sealed);
        sealed.map(drop).map_err(|_| "the dataflow has ended".to_owned())
    }

    /// When what is served has changed.
    fn restore_served(&self, snapshot: &Snapshot) -> Result<(), String> {
        let Some(served) = &self.served else { return Ok(()) };
        served.begin_import(snapshot.manifest.tick);
        for section in snapshot.manifest.sections.iter().filter(|section| section.part == SERVED) {
            for chunk in &section.chunks {
                let rows = snapshot.rows(chunk).map_err(|error| error.to_string())?;
                served.import_changes(&section.name, &rows).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// What the sequencer itself remembers.
    fn restore_own(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let state = &snapshot.manifest.state;
        self.is_live = state.is_live;
        self.admission.restore_has_event(state.has_event);
        {
            let mut clock = self.shared.clock.lock();
            // What comes next in a replay must not be at the tick that is sealed.
            let above = u64::from(clock.mode() == ClockMode::Replay);
            clock.restore(snapshot.manifest.tick + above);
        }
        let positions: Vec<Position> = state.positions.iter().cloned().map(Position::from).collect();
        self.shared.has_read(&etalage_model::Binding { positions, goes_live: false });
        for section in snapshot.manifest.sections.iter().filter(|section| section.part == SEQUENCER) {
            for chunk in &section.chunks {
                let rows = snapshot.rows(chunk).map_err(|error| error.to_string())?;
                self.admission.import(&section.name, &rows).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }
}

/// How far reading back has come, for whoever waits.
struct Progress {
    began: Instant,
    told: Instant,
    total_bytes: u64,
}

impl Progress {
    fn begin(frames: &Frames) -> Progress {
        let (now, total_bytes) = (Instant::now(), frames.left_bytes());
        metrics::gauge!("etalage_read_back_bytes").set(total_bytes as f64);
        Progress { began: now, told: now, total_bytes }
    }

    /// Says so now and then.
    fn tell(&mut self, frames: &Frames, records: u64) {
        if self.told.elapsed() < TELL_EVERY {
            return;
        }
        self.told = Instant::now();
        let left_bytes = frames.left_bytes();
        let done_bytes = self.total_bytes.saturating_sub(left_bytes).max(1);
        let left_s = self.began.elapsed().as_secs_f64() * left_bytes as f64 / done_bytes as f64;
        self.note(records, left_bytes);
        tracing::info!(records, done_bytes, total_bytes = self.total_bytes, left_s, "reading the log back");
    }

    fn end(&self, records: u64) {
        self.note(records, 0);
    }

    fn note(&self, records: u64, left_bytes: u64) {
        metrics::gauge!("etalage_read_back_records").set(records as f64);
        metrics::gauge!("etalage_read_back_left_bytes").set(left_bytes as f64);
    }
}

/// The next frames of the log, whose messages are looked up together; none at its end.
fn some_of(frames: &mut Frames) -> Result<Vec<Frame>, StoreError> {
    let (mut some, mut records) = (Vec::new(), 0);
    while some.len() < FRAMES_AT_ONCE && records < MAX_COMMIT_EVENTS {
        let Some(frame) = frames.next().transpose()? else { break };
        records += frame.records.len();
        some.push(frame);
    }
    Ok(some)
}
