//! The sequencer's part of a snapshot: its tick, and what is admitted next.

use crossbeam_channel::Sender;
use etalage_store::snapshot::{LogPart, Manifest, State};

use super::{Begun, Outlet, Piece, SEQUENCER};
use crate::runtime::{admission::Exported, conductor::Signal, sequencer::Sequencer};

impl Sequencer {
    /// Begins an export of everything as of a new tick.
    pub(in crate::runtime) fn begin_snapshot(&mut self, pieces: Sender<Piece>) -> Result<Begun, String> {
        if !self.is_live && !self.shared.positions().is_empty() {
            return Err("what topics held at the start is not caught up with yet".into());
        }
        let tick = self.mint_alone().ok_or_else(|| {
            self.shared.failure().unwrap_or_else(|| "the log takes nothing now, and so has no tick for it".into())
        })?;
        self.admission.begin_export();
        self.exporting = Some(Outlet::new(pieces.clone(), 0));
        self.signal(Signal::Export { tick, pieces });
        let positions = self.shared.positions().into_iter().map(Into::into).collect();
        let head = Manifest {
            tick,
            epoch: self.log.epoch(),
            created_at_us: self.shared.now().wall_us,
            written_by: env!("CARGO_PKG_VERSION").to_owned(),
            options: self.options.clone(),
            records: self.log.records(),
            log: LogPart { next_frame: self.log.next_frame(), segments: Vec::new() },
            state: State { is_live: self.is_live, has_event: self.admission.has_event(), positions },
            sections: Vec::new(),
        };
        Ok(Begun { head, sync_log: Box::new(self.log.syncing()) })
    }

    /// Trims the log: snapshots of this generation hold what is before this frame.
    pub(in crate::runtime) fn trim(&mut self, before: u64, of: u64) {
        // An erasure, which is done on this thread too, has removed them.
        if self.generation.number().ok() != Some(of) {
            return;
        }
        match self.log.trim(before) {
            Ok(0) => {}
            Ok(segments) => tracing::info!(segments, before, "the log was trimmed before the oldest snapshot"),
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, "the log could not be trimmed; after the next snapshot it is tried again");
            }
            Err(error) => self.shared.set_failed(format!("the store failed: {error}")),
        }
    }

    /// Exports some of what is admitted next, if a snapshot is under way and it is wanted now.
    pub(in crate::runtime) fn export_some(&mut self) {
        let Some(outlet) = &mut self.exporting else { return };
        if outlet.wants_more() {
            match self.admission.export_some() {
                Ok(Exported::Rows(section, rows)) => outlet.put_rows(SEQUENCER, section, rows),
                Ok(Exported::More) => {}
                Ok(Exported::Done) => outlet.put_last(Piece::Done),
                Err(error) => outlet.put_last(Piece::Failed(error.to_string())),
            }
        }
        if outlet.is_over() {
            self.exporting = None;
        }
    }
}
