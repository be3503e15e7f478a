//! Pipeline time: what ticks are minted from.
//!
//! - `wall`: runs with the monotonic clock, steered to the wall clock by at most 1 %. A wall clock
//!   that is off by more than `max_clock_step` is not followed; an alert is raised. Somebody may adopt it
//!   ([`Clock::adopt`]): ahead, pipeline time is there at once; behind, it stands until the wall clock has come to it,
//!   since it never goes back.
//! - `scaled` (the demonstration): data start + speed × time since the start.
//! - `replay`: stands at the greatest event time accepted so far, and moves with it.
//!
//! ```text
//!   wall clock set back, and adopted          pipeline time
//!   ──────────────┐                           ─────────────────╱
//!                 └──────────╱                stands here ──╯  and runs on with it
//! ```
//!
//! Why it stands, and is not merely steered: at 1 % a day would take a hundred of them, and as long as pipeline time is
//! ahead, what happens now is as old as that in every window, and every cart idle for as long.
//!
//! Ticks are strictly increasing, across restarts too: none is at or below the last that the log
//! holds. The readings of both clocks are arguments of [`Clock::read`], so that a test is its
//! own clock.

use std::time::{SystemTime, UNIX_EPOCH};

use etalage_model::{Micros, Tick};

use super::passing::MAX_UNBOUND_US;

/// The wall clock is followed by at most this part of the time that has passed.
pub const STEERING_DIVISOR: u64 = 100;

/// What drives pipeline time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ClockMode {
    /// Live.
    Wall,
    /// Data that is played faster than it happened.
    Scaled {
        /// Where pipeline time begins.
        start: Micros,
        /// How many seconds of data pass in a second.
        speed: f64,
    },
    /// A file, as fast as it can be read: the clock is the greatest accepted event time.
    Replay,
}

/// One reading of the machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Monotonic, from any origin.
    pub monotonic_us: u64,
    /// Since the Unix epoch.
    pub wall_us: u64,
}

impl Reading {
    /// Both clocks now.
    pub fn now() -> Reading {
        let wall_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        Reading { monotonic_us: etalage_serve::monotonic_us(), wall_us }
    }
}

/// How the wall clock stands to pipeline time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Pipeline time.
    pub now_us: u64,
    /// The wall clock.
    pub wall_us: u64,
    /// Whether it is too far away to be followed.
    pub is_astray: bool,
    /// For how long pipeline time stands, as the wall clock was adopted from behind.
    pub stands_for_us: u64,
}

impl Standing {
    /// How far the wall clock is ahead.
    pub fn off_us(&self) -> i64 {
        self.wall_us.cast_signed().saturating_sub(self.now_us.cast_signed())
    }
}

/// Pipeline time.
#[derive(Debug)]
pub struct Clock {
    mode: ClockMode,
    max_step_us: u64,
    /// The last tick that was minted or read back.
    last: Tick,
    /// Pipeline time at the last reading, but for `stands_at_us`.
    now_us: u64,
    /// Pipeline time is not before this: where it stood when a wall clock that is behind was adopted.
    stands_at_us: u64,
    read: Reading,
    began: Reading,
    /// True while the wall clock is too far away to be followed.
    astray: bool,
}

impl Clock {
    /// A clock that begins at a reading, above `last_tick`.
    pub fn start_at(mode: ClockMode, max_step_us: u64, last_tick: Option<Tick>, read: Reading) -> Clock {
        let last = last_tick.unwrap_or(0);
        let begin = match mode {
            ClockMode::Wall => read.wall_us,
            ClockMode::Scaled { start, .. } => start.0,
            ClockMode::Replay => 0,
        };
        let (now_us, stands_at_us) = (begin.max(last), 0);
        Clock { mode, max_step_us, last, now_us, stands_at_us, read, began: read, astray: false }
    }

    /// The mode.
    pub fn mode(&self) -> ClockMode {
        self.mode
    }

    /// Pipeline time at a reading.
    pub fn read(&mut self, reading: Reading) -> u64 {
        self.advance(reading).max(self.stands_at_us)
    }

    fn advance(&mut self, reading: Reading) -> u64 {
        let passed_us = reading.monotonic_us.saturating_sub(self.read.monotonic_us);
        match self.mode {
            ClockMode::Wall => {
                let steps_us = passed_us / STEERING_DIVISOR;
                self.now_us += passed_us;
                let off_us = reading.wall_us.abs_diff(self.now_us);
                let was_astray = std::mem::replace(&mut self.astray, off_us > self.max_step_us);
                if self.astray && !was_astray {
                    tracing::error!(
                        off_us,
                        "the wall clock jumped by more than max_clock_step; it is not followed. Mend it, or, if it is \
                         right, `etalage clock accept`"
                    );
                }
                if self.astray != was_astray {
                    metrics::gauge!("etalage_clock_astray").set(f64::from(u8::from(self.astray)));
                }
                if !self.astray {
                    let step_us = off_us.min(steps_us);
                    self.now_us =
                        if reading.wall_us > self.now_us { self.now_us + step_us } else { self.now_us - step_us };
                }
                // What is too short to be steered by is not lost: it is read again next time.
                if steps_us == 0 {
                    self.now_us -= passed_us;
                    return self.now_us + passed_us;
                }
            }
            ClockMode::Scaled { start, speed } => {
                let since_us = reading.monotonic_us.saturating_sub(self.began.monotonic_us);
                self.now_us = self.now_us.max(start.0 + (since_us as f64 * speed) as u64);
            }
            ClockMode::Replay => {}
        }
        self.read = reading;
        self.now_us
    }

    /// A new tick: pipeline time, or just above the last tick. In a replay the last tick stays
    /// the same until an event moves the clock.
    pub fn mint(&mut self, reading: Reading) -> Tick {
        let now = self.read(reading);
        self.last = match self.mode {
            ClockMode::Replay => self.last.max(now),
            _ => now.max(self.last + 1),
        };
        self.last
    }

    /// How far beyond the newest frame of the log ticks may be published that no frame binds; `None` in a replay, whose
    /// ticks are all those of messages.
    pub fn unbound_us(&self) -> Option<u64> {
        match self.mode {
            ClockMode::Wall => Some(MAX_UNBOUND_US),
            ClockMode::Scaled { speed, .. } => Some((MAX_UNBOUND_US as f64 * speed.max(1.0)) as u64),
            ClockMode::Replay => None,
        }
    }

    /// Moves a replay's clock to an accepted time; no effect on a clock that runs by itself.
    pub fn accept(&mut self, at: u64) {
        if self.mode == ClockMode::Replay {
            self.now_us = self.now_us.max(at);
        }
    }

    /// Lets the wall clock drive pipeline time from here on.
    pub fn go_live(&mut self, reading: Reading) {
        let now_us = reading.wall_us.max(self.last + 1);
        *self = Clock { mode: ClockMode::Wall, now_us, read: reading, began: reading, astray: false, ..*self };
    }

    /// A tick that was read back from the log.
    pub fn restore(&mut self, tick: Tick) {
        self.last = self.last.max(tick);
        self.now_us = self.now_us.max(tick);
    }

    /// The last tick.
    pub fn last(&self) -> Tick {
        self.last
    }

    /// How the wall clock stands to pipeline time. `None` where it does not drive it.
    pub fn standing(&mut self, reading: Reading) -> Option<Standing> {
        let now_us = self.read(reading);
        let standing = Standing {
            now_us,
            wall_us: reading.wall_us,
            is_astray: self.astray,
            stands_for_us: now_us.saturating_sub(self.now_us),
        };
        (self.mode == ClockMode::Wall).then_some(standing)
    }

    /// Adopts the wall clock, whatever it says: how it stood before, and how it stands now. `None` where it does not
    /// drive pipeline time.
    pub fn adopt(&mut self, reading: Reading) -> Option<(Standing, Standing)> {
        let before = self.standing(reading)?;
        // A tick may lie above the time of which it was minted.
        self.stands_at_us = before.now_us.max(self.last);
        (self.now_us, self.read) = (reading.wall_us, reading);
        let after = self.standing(reading)?;
        tracing::warn!(off_us = before.off_us(), stands_for_us = after.stands_for_us, "the wall clock was adopted");
        Some((before, after))
    }

    /// Pipeline time that a wall timestamp stands for: in a scaled run everything outside lives in
    /// wall time.
    pub fn map_wall(&self, wall: Micros) -> Micros {
        let ClockMode::Scaled { start, speed } = self.mode else { return wall };
        let since_us = (wall.0 as f64 - self.began.wall_us as f64) * speed;
        if since_us < 0.0 { start.minus((-since_us) as u64) } else { start.plus(since_us as u64) }
    }

    /// A wall clock that is off by more is not followed.
    pub fn max_step_us(&self) -> u64 {
        self.max_step_us
    }

    /// True while the wall clock is too far away to be followed.
    pub fn is_astray(&self) -> bool {
        self.astray
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000;
    const DAY: u64 = 1_440 * MINUTE;

    fn at(monotonic_us: u64, wall_us: u64) -> Reading {
        Reading { monotonic_us, wall_us }
    }

    #[test]
    fn ticks_increase_even_when_time_stands_still() {
        let mut clock = Clock::start_at(ClockMode::Wall, MINUTE, Some(5_000), at(0, 1_000));
        let ticks: Vec<Tick> = (0..3).map(|_| clock.mint(at(0, 1_000))).collect();
        assert_eq!(ticks, [5_001, 5_002, 5_003], "never at or below the last tick of the log");
    }

    #[test]
    fn a_wall_clock_that_jumps_a_day_is_not_followed() {
        let mut clock = Clock::start_at(ClockMode::Wall, MINUTE, None, at(0, DAY));
        assert_eq!(clock.read(at(1_000_000, 2 * DAY)), DAY + 1_000_000);
        assert!(clock.is_astray());
        assert_eq!(clock.read(at(2_000_000, 2_000_000)), DAY + 2_000_000, "nor one that goes back");
        assert_eq!(clock.read(at(3_000_000, DAY + 3_000_000)), DAY + 3_000_000);
        assert!(!clock.is_astray(), "it is forgiven once it is right again");
    }

    #[test]
    fn a_day_ahead_is_not_followed_until_it_is_adopted() {
        let mut clock = Clock::start_at(ClockMode::Wall, MINUTE, None, at(0, DAY));
        assert_eq!(clock.mint(at(1_000_000, 2 * DAY + 1_000_000)), DAY + 1_000_000);
        let (before, after) = clock.adopt(at(2_000_000, 2 * DAY + 2_000_000)).unwrap();
        assert_eq!((before.off_us(), before.is_astray), (DAY as i64, true));
        assert_eq!((after.off_us(), after.is_astray, after.stands_for_us), (0, false, 0));
        assert_eq!(clock.mint(at(3_000_000, 2 * DAY + 3_000_000)), 2 * DAY + 3_000_000, "it runs on from there");
        assert!(!clock.is_astray());
        assert_eq!(clock.read(at(4_000_000, 3 * DAY)), 2 * DAY + 4_000_000, "the next jump is not adopted");
        assert!(clock.is_astray());
    }

    #[test]
    fn a_day_behind_that_is_adopted_makes_pipeline_time_stand_until_it_has_come() {
        let mut clock = Clock::start_at(ClockMode::Wall, MINUTE, None, at(0, 2 * DAY));
        assert_eq!(clock.mint(at(1_000_000, DAY + 1_000_000)), 2 * DAY + 1_000_000, "it runs on until it is adopted");
        let (before, after) = clock.adopt(at(1_000_000, DAY + 1_000_000)).unwrap();
        assert_eq!((before.off_us(), before.is_astray), (-(DAY as i64), true));
        assert_eq!((after.now_us, after.stands_for_us, after.is_astray), (2 * DAY + 1_000_000, DAY, false));
        // Ticks increase although time stands, and stay where it stands.
        let mut last = 2 * DAY + 1_000_000;
        for hour in 1..24 {
            let now = hour * 60 * MINUTE;
            let tick = clock.mint(at(now, DAY + now));
            assert_eq!(tick, last + 1, "hour {hour}");
            assert!(!clock.is_astray());
            last = tick;
        }
        let arrived = DAY + 5 * MINUTE;
        assert_eq!(clock.mint(at(arrived, DAY + arrived)), DAY + arrived, "then it runs with the wall clock");
        assert_eq!(clock.standing(at(arrived, DAY + arrived)).unwrap().stands_for_us, 0);
    }

    #[test]
    fn while_time_stands_the_next_jump_is_an_alert_too() {
        let mut clock = Clock::start_at(ClockMode::Wall, MINUTE, None, at(0, 2 * DAY));
        clock.adopt(at(0, DAY)).unwrap();
        assert_eq!(clock.read(at(MINUTE, DAY / 2)), 2 * DAY);
        assert!(clock.is_astray(), "it is not where it was adopted");
        assert_eq!(clock.read(at(DAY + MINUTE, 5 * DAY)), 2 * DAY + MINUTE, "how long it stands is settled");
    }

    #[test]
    fn what_is_no_wall_clock_is_not_adopted() {
        let scaled = ClockMode::Scaled { start: Micros(DAY), speed: 60.0 };
        for mode in [ClockMode::Replay, scaled] {
            let mut clock = Clock::start_at(mode, MINUTE, None, at(0, DAY));
            assert_eq!((clock.adopt(at(0, 5 * DAY)), clock.standing(at(0, DAY))), (None, None));
        }
    }

    #[test]
    fn a_small_error_is_steered_away_by_at_most_one_percent() {
        let mut clock = Clock::start_at(ClockMode::Wall, MINUTE, None, at(0, DAY));
        let ahead = 500_000;
        assert_eq!(clock.read(at(1_000_000, DAY + 1_000_000 + ahead)), DAY + 1_010_000);
        // Short readings lose nothing of the time that passes.
        let mut clock = Clock::start_at(ClockMode::Wall, MINUTE, None, at(0, DAY));
        for us in 1..=1_000 {
            assert_eq!(clock.read(at(us, DAY + us)), DAY + us);
        }
    }

    #[test]
    fn a_replay_stands_until_an_event_moves_it() {
        let mut clock = Clock::start_at(ClockMode::Replay, MINUTE, None, at(0, DAY));
        clock.accept(700);
        assert_eq!(clock.mint(at(9, DAY)), 700);
        assert_eq!(clock.mint(at(10, DAY)), 700);
        clock.accept(600);
        assert_eq!(clock.mint(at(11, DAY)), 700);
    }

    #[test]
    fn a_replay_that_goes_live_runs_on_with_the_wall_clock() {
        let mut clock = Clock::start_at(ClockMode::Replay, MINUTE, None, at(0, DAY));
        clock.accept(700);
        clock.mint(at(9, DAY));
        clock.go_live(at(10, DAY));
        assert_eq!((clock.mode(), clock.mint(at(10, DAY))), (ClockMode::Wall, DAY));
        assert_eq!(clock.mint(at(1_010, DAY + 1_000)), DAY + 1_000);
        // Where the last message is ahead of the wall clock, time goes on from there.
        let mut clock = Clock::start_at(ClockMode::Replay, MINUTE, Some(DAY + 5), at(0, DAY));
        clock.go_live(at(0, DAY));
        assert_eq!(clock.mint(at(0, DAY)), DAY + 6);
    }

    #[test]
    fn scaled_time_runs_faster_and_maps_wall_timestamps() {
        let mut clock =
            Clock::start_at(ClockMode::Scaled { start: Micros(DAY), speed: 60.0 }, MINUTE, None, at(0, 50 * DAY));
        assert_eq!(clock.read(at(1_000_000, 50 * DAY + 1_000_000)), DAY + MINUTE);
        assert_eq!(clock.map_wall(Micros(50 * DAY + 1_000_000)), Micros(DAY + MINUTE));
    }
}
