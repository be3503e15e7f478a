//! `etalage clock`: how the wall clock stands to pipeline time, and adopting it.

use etalage_model::Micros;
use serde_json::{Value, json};

use super::{
    clock::{ClockMode, Standing},
    door::Door,
};

impl Door {
    /// How the wall clock stands to pipeline time.
    pub fn clock(&self) -> Value {
        let mut clock = self.shared().clock.lock();
        let reading = self.shared().now();
        match clock.standing(reading) {
            Some(standing) => told(&standing, clock.max_step_us()),
            None => json!({ "mode": mode(clock.mode()), "now": Micros(clock.read(reading)).to_string() }),
        }
    }

    /// Adopts the wall clock: what it did, and how it stands now.
    ///
    /// # Errors
    /// Where it does not drive pipeline time.
    pub fn accept_clock(&self) -> Result<Value, String> {
        let mut clock = self.shared().clock.lock();
        let adopted = clock.adopt(self.shared().now());
        let Some((before, after)) = adopted else {
            return Err(format!(
                "pipeline time is made of {}, not of the wall clock: there is nothing to adopt",
                match clock.mode() {
                    ClockMode::Replay =>
                        "the times of messages until what was there at the start has been caught up with",
                    _ => "the times of the data that is played",
                }
            ));
        };
        let mut told = told(&after, clock.max_step_us());
        told["was_off_ms"] = (before.off_us() / 1_000).into();
        told["did"] = match after.stands_for_us {
            0 => "moved",
            _ => "stands",
        }
        .into();
        Ok(told)
    }
}

fn mode(mode: ClockMode) -> &'static str {
    match mode {
        ClockMode::Wall => "wall",
        ClockMode::Scaled { .. } => "scaled",
        ClockMode::Replay => "replay",
    }
}

fn told(standing: &Standing, max_step_us: u64) -> Value {
    json!({
        "mode": mode(ClockMode::Wall),
        "now": Micros(standing.now_us).to_string(),
        "wall": Micros(standing.wall_us).to_string(),
        "off_ms": standing.off_us() / 1_000,
        "max_clock_step_ms": max_step_us / 1_000,
        "followed": !standing.is_astray,
        "stands_for_ms": standing.stands_for_us / 1_000,
    })
}
