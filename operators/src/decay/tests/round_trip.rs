//! What is exported at a tick and imported elsewhere goes on as if nothing had happened.

use proptest::prelude::*;

use super::{super::*, History, decay, history};
use crate::{
    shell::EXPORT_SLICE_ROWS,
    testing::{Dice, Drive, RoundTrip, WORKERS, assert_same, at_ticks},
};

fn check(history: &History, trip: RoundTrip, seed: u64) {
    let mut ticks = history.ticks();
    ticks.retain(|tick| *tick >= trip.at);
    let (whole, resumed) = trip.run(history.drive(1, seed), &decay(&history.half_lives));
    assert_same(&at_ticks(&resumed, &ticks), &at_ticks(&whole, &ticks), trip);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_run_from_rows_equals_the_uninterrupted_run(
        history in history(),
        share in 0u64..=1_000,
        slice_rows in 1usize..3,
        seed: u64,
    ) {
        let first = history.input.iter().map(|(_, tick, _)| *tick).min().unwrap_or(0);
        let at = first + (history.last - first) * share / 1_000;
        for workers in [(1, 1), (2, 2), (4, 4), (1, 4), (4, 2), (2, 1)] {
            check(&history, RoundTrip { at, slice_rows, workers }, seed);
        }
    }
}

/// So many keys that every worker writes its rows in several slices, while later ticks change and
/// remove what is not yet written.
#[test]
fn an_export_in_many_slices_is_of_one_tick() {
    let half_lives = HalfLives::new(&[5, 40]);
    let mut dice = Dice::new("many slices");
    let mut input = Vec::new();
    for key in 0..6 * EXPORT_SLICE_ROWS as u64 {
        for _ in 0..3 {
            let tick = dice.below(600);
            input.push(((key, tick.saturating_sub(dice.below(30))), tick, 1i64));
        }
    }
    let ticks = (300..=600).step_by(7).collect();
    for workers in WORKERS {
        let trip = RoundTrip { at: 300, slice_rows: EXPORT_SLICE_ROWS, workers: (workers, 5 - workers.min(3)) };
        let drive = Drive::new(1, workers as u64, &input, 600);
        let (whole, resumed) = trip.run(drive, &decay(&half_lives));
        assert_same(&at_ticks(&resumed, &ticks), &at_ticks(&whole, &ticks), trip);
    }
}
