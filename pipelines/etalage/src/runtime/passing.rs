//! Time that passes, and its ticks: which may be published, and with which a process begins.
//!
//! What was published as of a tick stays true: no later process stores anything at or below it. The ticks of frames
//! are in the log. A tick without a frame is published only if it lies at most [`MAX_UNBOUND_US`] beyond the newest
//! frame; one further on gets an empty frame first. A process begins that far above the newest frame, and so above
//! everything that any process before it has published, whatever the wall clock says.

use super::{clock::ClockMode, conductor::Signal, machine::Waiting, mutant::is_mutant, sequencer::Sequencer};
use etalage_model::{Binding, Tick};

/// How far beyond the newest frame of the log ticks may be published that no frame binds, in microseconds of a clock
/// that runs with the wall clock. An idle pipeline appends an empty frame this often.
pub const MAX_UNBOUND_US: u64 = 1_000_000;

impl Sequencer {
    /// Time passes without input.
    pub(super) fn idle(&mut self) {
        if let Some(tick) = self.mint_running() {
            self.signal(Signal::Complete { below: tick + 1 });
        }
    }

    /// A new tick that may be published, of a clock that runs by itself.
    fn mint_running(&mut self) -> Option<Tick> {
        let tick = {
            let mut clock = self.shared.clock.lock();
            (clock.mode() != ClockMode::Replay).then(|| clock.mint(self.shared.now()))
        };
        tick.into_iter().for_each(|tick| self.bind(tick));
        tick
    }

    /// A new tick that may be published. In a replay what comes after it is not at it.
    pub(super) fn mint_alone(&mut self) -> Tick {
        self.mint_running().unwrap_or_else(|| {
            let mut clock = self.shared.clock.lock();
            let tick = clock.mint(self.shared.now());
            clock.restore(tick + 1);
            tick
        })
    }

    /// Binds a tick that is about to be published without a frame, where it lies too far beyond the newest one.
    pub(super) fn bind(&mut self, tick: Tick) {
        if is_mutant("unbound-ticks") {
            return;
        }
        let Some(unbound_us) = self.shared.clock.lock().unbound_us() else { return };
        // Before the first frame nothing is published that another process could contradict.
        if self.log.last_tick().is_none_or(|last| tick <= last + unbound_us) {
            return;
        }
        if let Err(error) = self.log.append_bound(tick, &[], &Binding::default()) {
            metrics::counter!("etalage_store_errors_total").increment(1);
            if error.is_retryable() {
                // Time goes on for whoever reads, even where nothing can be stored.
                return tracing::warn!(%error, "time passes, and the log cannot be told");
            }
            self.shared.set_failed(format!("the store failed: {error}"));
        }
    }

    /// Begins above everything that was published before.
    pub(super) fn begin_above(&self) {
        let mut clock = self.shared.clock.lock();
        if let (Some(last), Some(unbound_us)) = (self.log.last_tick(), clock.unbound_us()) {
            clock.restore(last + unbound_us);
        }
    }

    /// Seals everything up to pipeline time, or `until`, and waits for it.
    pub(super) fn seal_all(&mut self, until: Option<Tick>) -> Tick {
        let tick = {
            let mut clock = self.shared.clock.lock();
            until.into_iter().for_each(|until| clock.accept(until));
            clock.mint(self.shared.now())
        };
        self.bind(tick);
        let (reply, sealed) = crossbeam_channel::bounded(1);
        self.signal(Signal::Seal { below: tick + 1, reply });
        // An error means that the conductor has ended, which fails everything that follows.
        let _ = self.shared.machine.receive(Waiting::Sequencer, &sealed);
        let mut clock = self.shared.clock.lock();
        if clock.mode() == ClockMode::Replay && tick > 0 {
            // What comes after a seal must not be at the sealed tick.
            clock.restore(tick + 1);
        }
        drop(clock);
        tick
    }
}
