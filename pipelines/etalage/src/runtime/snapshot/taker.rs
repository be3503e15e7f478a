//! The thread that takes snapshots: when it is time, or when it is asked to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use etalage_model::Tick;
use etalage_serve::ReadStore;
use etalage_store::snapshot::{
    Checked, LogPart, MIN_KEPT, Manifest, Place, SectionName, Writer, Written, list, load, prune, remove_all,
};
use parking_lot::Mutex;

use super::{Begun, MAX_WAITING_PIECES, NotTaken, Piece, SERVED, Snapshots, measure, summary};
use crate::runtime::{door::Shared, failpoint, machine::Waiting, sequencer::Command};

/// How often the taker looks whether it is time.
pub const SNAPSHOT_LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often the taker looks whether a tick was published.
const PUBLISHED_LOOK_EVERY: Duration = Duration::from_millis(1);

/// Asks for a snapshot now.
pub(in crate::runtime) struct Request {
    pub(in crate::runtime) reply: Sender<Result<Written, NotTaken>>,
}

/// Tells snapshots and erasures apart: what was exported before one must not be kept after it.
#[derive(Clone, Default)]
pub struct Generation(Arc<Erasures>);

#[derive(Default)]
struct Erasures {
    /// Odd while snapshots are being removed.
    count: AtomicU64,
    /// Held while a snapshot is taken.
    taking: Mutex<()>,
}

impl Generation {
    /// Ends a snapshot that is under way, and removes all there are.
    pub(in crate::runtime) fn end(&self, place: &Place) -> Result<(), NotTaken> {
        // Before the lock: whoever takes it first must see that nothing is to be taken now.
        self.0.count.fetch_add(1, Ordering::SeqCst);
        let taking = self.0.taking.lock();
        let removed = remove_all(place);
        self.0.count.fetch_add(1, Ordering::SeqCst);
        drop(taking);
        removed?;
        Ok(())
    }

    /// The number of this generation, unless it is ending.
    pub(in crate::runtime) fn number(&self) -> Result<u64, NotTaken> {
        let count = self.0.count.load(Ordering::SeqCst);
        if count.is_multiple_of(2) { Ok(count) } else { Err(NotTaken::Outdated) }
    }
}

/// Takes snapshots.
pub(in crate::runtime) struct Taker {
    pub(in crate::runtime) place: Place,
    pub(in crate::runtime) snapshots: Snapshots,
    pub(in crate::runtime) shared: Arc<Shared>,
    pub(in crate::runtime) requests: Receiver<Request>,
    pub(in crate::runtime) generation: Generation,
    /// What is served, of which it is kept when everything changed.
    pub(in crate::runtime) served: Option<ReadStore>,
    /// Chunks that need not be looked at again.
    pub(in crate::runtime) checked: Checked,
    /// How many parts export: each worker in each group, and the sequencer.
    pub(in crate::runtime) exporters: usize,
}

impl Taker {
    /// Until the pipeline stops.
    pub(in crate::runtime) fn run(self) {
        let (mut last, mut records) = (Instant::now(), 0);
        loop {
            let request = match self.requests.recv_timeout(SNAPSHOT_LOOK_EVERY) {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if self.is_over() {
                return;
            }
            if request.is_none() && !self.is_due(last, records) {
                continue;
            }
            (last, records) = (Instant::now(), self.since_snapshot());
            let taken = self.take();
            match &taken {
                Ok(written) => {
                    let seconds = last.elapsed().as_secs_f64();
                    metrics::histogram!("etalage_snapshot_seconds").record(seconds);
                    metrics::gauge!("etalage_snapshot_bytes").set(written.manifest.stored_bytes() as f64);
                    measure(&written.manifest);
                    tracing::info!(tick = written.manifest.tick, seconds, what = %summary(written), "snapshot");
                }
                Err(error) if self.is_over() => tracing::debug!(%error, "no snapshot"),
                Err(error) => {
                    metrics::counter!("etalage_snapshot_errors_total").increment(1);
                    tracing::error!(%error, "no snapshot could be taken; the log keeps everything");
                }
            }
            // One snapshot is as good as another for those who came meanwhile.
            for waiting in request.into_iter().chain(self.requests.try_iter()) {
                let answer = taken.as_ref().map(Written::clone).map_err(|error| NotTaken::Over(error.to_string()));
                // Whoever asked may have gone.
                let _ = waiting.reply.send(answer);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.shared.stopping.load(Ordering::SeqCst) || self.shared.failure().is_some()
    }

    /// Records that were stored or read back since the process started.
    fn since_snapshot(&self) -> u64 {
        self.shared.stored.load(Ordering::Relaxed) + self.shared.read_back.load(Ordering::Relaxed)
    }

    fn is_due(&self, last: Instant, records: u64) -> bool {
        let taking = self.snapshots.taking;
        let more = self.since_snapshot() - records;
        let by_time = !taking.every.is_zero() && last.elapsed() >= taking.every && more > 0;
        let by_records = taking.after_records > 0 && more >= taking.after_records;
        self.shared.is_ready() && (by_time || by_records)
    }

    pub(in crate::runtime) fn take(&self) -> Result<Written, NotTaken> {
        let _taking = self.generation.0.taking.lock();
        let of = self.generation.number()?;
        let mut writer = Writer::begin(&self.place, &self.checked)?;
        let (pieces, arriving) = bounded(MAX_WAITING_PIECES);
        let (reply, head) = bounded(1);
        self.shared.command(Command::Snapshot { pieces, reply }).map_err(NotTaken::Over)?;
        let Begun { head, sync_log } = self.wait(&head, of)?.map_err(NotTaken::Over)?;
        failpoint::reach(failpoint::SNAPSHOT_BEGUN);
        let mut exporting = self.exporters;
        while exporting > 0 {
            match self.wait(&arriving, of)? {
                Piece::Rows { section, from, rows } => writer.add(&section, from, &rows)?,
                Piece::Done => exporting -= 1,
                Piece::Failed(reason) => return Err(NotTaken::Over(reason)),
            }
        }
        let tick = head.tick;
        self.keep_changes(tick, of, &mut writer)?;
        let segments =
            etalage_store::frames_on(Arc::clone(&self.shared.machine.disk), &self.shared.about.dir)?.segments();
        let next_frame = head.log.next_frame;
        let segments = segments.into_iter().filter(|(first, _)| *first < next_frame).collect();
        let head = Manifest { log: LogPart { next_frame, segments }, ..head };
        // A power loss must not leave a snapshot that knows more than the log.
        sync_log().map_err(|error| {
            let reason = format!("the store failed: {error}");
            self.shared.set_failed(reason.clone());
            NotTaken::Over(reason)
        })?;
        failpoint::reach(failpoint::SNAPSHOT_SYNCED);
        let written = writer.finish(head)?;
        failpoint::reach(failpoint::SNAPSHOT_WRITTEN);
        match prune(&self.place, self.snapshots.kept, tick) {
            Ok(pruned) => {
                tracing::debug!(?pruned, "old snapshots were removed");
                if let Err(error) = self.trim(&written.manifest, of) {
                    tracing::warn!(%error, "the log is not trimmed; after the next snapshot it is tried again");
                }
            }
            Err(error) => tracing::warn!(%error, "old snapshots could not be removed; the next one tries again"),
        }
        Ok(written)
    }

    /// Keeps what whoever is served wants to know of another process, once everything up to the tick is published.
    fn keep_changes(&self, tick: Tick, of: u64, writer: &mut Writer) -> Result<(), NotTaken> {
        let Some(served) = &self.served else { return Ok(()) };
        while !served.has_passed(tick) {
            self.shared.machine.others.go_on(Waiting::Taker, &|| served.has_passed(tick));
            self.still_wanted(of)?;
            if !served.has_passed(tick) {
                std::thread::sleep(PUBLISHED_LOOK_EVERY);
            }
        }
        for (section, rows) in served.export_changes(tick) {
            self.still_wanted(of)?;
            let rows = rows.map_err(|error| NotTaken::Over(error.to_string()))?;
            writer.add(&SectionName { part: SERVED.to_owned(), name: section.to_owned() }, 0, &rows)?;
        }
        Ok(())
    }

    /// An error once the pipeline ends, or somebody is erased.
    fn still_wanted(&self, of: u64) -> Result<(), NotTaken> {
        if self.is_over() {
            return Err(NotTaken::Over(self.shared.why_over()));
        }
        if self.generation.number()? != of {
            return Err(NotTaken::Outdated);
        }
        Ok(())
    }

    /// Has the log before the oldest snapshot trimmed, where that is wanted and enough of them can be used, every byte of
    /// them; unless somebody is erased since they were taken.
    fn trim(&self, newest: &Manifest, of: u64) -> Result<(), NotTaken> {
        if !self.snapshots.trims_log {
            return Ok(());
        }
        let is_usable = |manifest: &Manifest| {
            manifest.epoch == newest.epoch
                && manifest.options == newest.options
                && manifest.log.next_frame <= newest.log.next_frame
                && manifest.log.is_of(&newest.log.segments)
        };
        let mut usable = Vec::new();
        for manifest in list(&self.place)?.into_iter().filter_map(|listed| listed.manifest.ok()).filter(is_usable) {
            load(&self.place, manifest.tick)?.verify()?;
            usable.push(manifest.log.next_frame);
        }
        if let Some(before) = usable.iter().min().filter(|_| usable.len() >= MIN_KEPT) {
            self.shared.command(Command::Trim { before: *before, of }).map_err(NotTaken::Over)?;
        }
        Ok(())
    }

    /// The next message, as long as the pipeline lives and nobody is erased.
    fn wait<T>(&self, from: &Receiver<T>, of: u64) -> Result<T, NotTaken> {
        loop {
            self.shared.machine.others.go_on(Waiting::Taker, &|| !from.is_empty());
            self.still_wanted(of)?;
            let received = from.recv_timeout(SNAPSHOT_LOOK_EVERY);
            self.still_wanted(of)?;
            match received {
                Ok(message) => return Ok(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(NotTaken::Over(self.shared.why_over())),
            }
        }
    }
}
