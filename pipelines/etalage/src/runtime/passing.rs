//! Time that passes, and its ticks: which may be published, and with which a process begins.
//!
//! What was published as of a tick stays true: no later process stores anything at or below it. The ticks of frames
//! are in the log. A tick without a frame is published only if it lies at most [`MAX_UNBOUND_US`] beyond the newest
//! frame; one further on gets an empty frame first. A process begins that far above the newest frame, and so above
//! everything that any process before it has published, whatever the wall clock says.
//!
//! Excepted:
//! - before the first frame;
//! - while the disk is full, when time goes on for whoever reads, and the wall clock is set back before the next process
//!   begins;
//! - after a power loss under `durability = "process"`, where more than [`MAX_UNBOUND_US`] of the log is gone and the wall
//!   clock was set back;
//! - a replay, whose ticks are those of its messages alone, into a store that was served before.

use crossbeam_channel::Sender;

use super::{clock::ClockMode, conductor::Signal, machine::Waiting, mutant::is_mutant, sequencer::Sequencer};
use etalage_model::{Binding, Tick};

/// How far beyond the newest frame of the log ticks may be published that no frame binds, in microseconds of a clock
/// that runs with the wall clock. An idle pipeline appends an empty frame this often.
pub const MAX_UNBOUND_US: u64 = 1_000_000;

impl Sequencer {
    /// Time passes without input.
    pub(super) fn idle(&mut self) {
        let tick = self.mint_running();
        if let Some(tick) = tick.filter(|tick| self.bind(*tick) && self.may_pass(*tick)) {
            self.signal(Signal::Complete { below: tick + 1 });
        }
    }

    /// A new tick of a clock that runs by itself.
    fn mint_running(&mut self) -> Option<Tick> {
        let mut clock = self.shared.clock.lock();
        (clock.mode() != ClockMode::Replay).then(|| clock.mint(self.shared.now()))
    }

    /// A new tick that may be published, unless the log is in doubt, or too full to bind it. In a replay what comes after it
    /// is not at it.
    pub(super) fn mint_alone(&mut self) -> Option<Tick> {
        let tick = self.mint_running().unwrap_or_else(|| {
            let mut clock = self.shared.clock.lock();
            let tick = clock.mint(self.shared.now());
            clock.restore(tick + 1);
            tick
        });
        (self.bind(tick) && self.may_pass(tick)).then_some(tick)
    }

    /// Binds a tick that is about to be published without a frame, where it lies too far beyond the newest one. False
    /// where it must not be published: a frame of its own may be in the log, and nobody knows.
    pub(super) fn bind(&mut self, tick: Tick) -> bool {
        if self.is_in_doubt() {
            return false;
        }
        if is_mutant("unbound-ticks") || self.served.is_none() {
            return true;
        }
        let Some(unbound_us) = self.shared.clock.lock().unbound_us() else { return true };
        if self.log.last_tick().is_none_or(|last| tick <= last + unbound_us) || tick <= self.tries_again_after {
            return true;
        }
        self.bind_now(tick, unbound_us)
    }

    fn bind_now(&mut self, tick: Tick, unbound_us: u64) -> bool {
        if let Err(error) = self.log.append_bound(tick, &[], &Binding::default()) {
            metrics::counter!("etalage_store_errors_total").increment(1);
            if error.is_retryable() {
                // Time goes on for whoever reads, even where nothing can be stored.
                tracing::warn!(%error, "time passes, and the log cannot be told");
                self.tries_again_after = tick + unbound_us;
                return true;
            }
            self.shared.set_failed(format!("the store failed: {error}"));
            return false;
        }
        self.has_bound(tick);
        true
    }

    /// A tick is in the log: streams that come back to another process can go on from it.
    pub(super) fn has_bound(&self, tick: Tick) {
        self.served.iter().for_each(|served| served.bind(tick));
    }

    /// Whether time may come to a tick: where the disk is too full to bind it, only as far as the wall clock is, with which
    /// the next process begins.
    pub(super) fn may_pass(&self, tick: Tick) -> bool {
        let (unbound_us, mode) = {
            let clock = self.shared.clock.lock();
            (clock.unbound_us(), clock.mode())
        };
        let bound = self.log.last_tick().zip(unbound_us).map(|(last, unbound_us)| last + unbound_us);
        let is_free = self.served.is_none() || mode != ClockMode::Wall || is_mutant("unbound-ticks");
        is_free || bound.is_none_or(|bound| tick <= bound) || tick <= self.shared.now().wall_us
    }

    /// Whether a write has failed in a way that leaves open what is stored.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.log.poison().is_some()
    }

    /// Begins above everything that was published before.
    pub(super) fn begin_above(&self) {
        if is_mutant("unbound-ticks") {
            return;
        }
        let mut clock = self.shared.clock.lock();
        if let (Some(last), Some(unbound_us)) = (self.log.last_tick(), clock.unbound_us()) {
            clock.restore(last + unbound_us);
        }
    }

    /// Has everything sealed as of a tick that is in the log: whoever has what was published as of it can go on from there.
    /// Answers then, or never.
    pub(super) fn rest(&mut self, reply: Sender<Tick>) {
        let unbound_us = self.shared.clock.lock().unbound_us();
        let is_served = self.served.is_some() && self.log.last_tick().is_some();
        let (Some(unbound_us), true, false) = (unbound_us, is_served, self.is_in_doubt()) else { return };
        let Some(tick) = self.mint_running() else { return };
        if self.bind_now(tick, unbound_us) && self.may_pass(tick) {
            self.signal(Signal::Seal { below: tick + 1, reply });
        }
    }

    /// Seals everything up to pipeline time, or `until`, and waits for it.
    pub(super) fn seal_all(&mut self, until: Option<Tick>) -> Tick {
        let tick = {
            let mut clock = self.shared.clock.lock();
            until.into_iter().for_each(|until| clock.accept(until));
            clock.mint(self.shared.now())
        };
        if !self.bind(tick) {
            return tick;
        }
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
