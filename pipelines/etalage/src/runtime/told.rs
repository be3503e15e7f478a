//! Ticks that somebody may have been told of: reserved before they are told, so that the next process begins above
//! them, and whoever read at one may go on from it.

use etalage_model::Tick;
use etalage_store::RESERVE_US;

use super::{
    clock::{ClockMode, Reading},
    sequencer::Sequencer,
};

impl Sequencer {
    /// Waits until pipeline time has passed every tick that the process before may have told. False where that is not
    /// known, or too far ahead: the wall clock was set back since.
    pub(super) fn pass_told(&mut self) -> bool {
        let Some(until) = self.told_before.take().filter(|_| self.is_by_wall()) else { return false };
        let mut now = self.shared.clock.lock().read(Reading::now());
        if until > now + 2 * RESERVE_US {
            return false;
        }
        while now <= until {
            std::thread::sleep(self.tick_idle);
            now = self.shared.clock.lock().read(Reading::now());
        }
        true
    }

    fn is_by_wall(&self) -> bool {
        self.shared.clock.lock().mode() == ClockMode::Wall
    }

    /// Reserves a tick before anybody is told of it. Ticks of replays and of demonstrations are not gone on from.
    pub(super) fn reserve(&mut self, tick: Tick) {
        if self.is_by_wall()
            && let Err(error) = self.reserved.take(tick)
        {
            self.shared.set_failed(format!("the store failed: {error}"));
        }
    }
}
