//! What is exported at a tick and imported elsewhere goes on as if nothing had happened.

use proptest::prelude::*;

use super::{super::*, Lists, history, top_k};
use crate::{
    shell::EXPORT_SLICE_ROWS,
    testing::{Dice, Drive, RoundTrip, Updates, WORKERS, assert_same, at_ticks},
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_run_from_rows_equals_the_uninterrupted_run(
        history in history(),
        share in 0u64..=1_000,
        slice_rows in 1usize..3,
        seed: u64,
    ) {
        let mut ticks = history.ticks();
        let first = ticks.first().copied().unwrap_or(0);
        let at = first + (history.last - first) * share / 1_000;
        ticks.insert(at);
        ticks.retain(|tick| *tick >= at);
        for workers in [(1, 1), (2, 2), (4, 4), (1, 4), (4, 2), (2, 1)] {
            let trip = RoundTrip { at, slice_rows, workers };
            let (whole, resumed) = trip.run(history.drive(1, seed), &top_k(&history.lists));
            assert_same(&at_ticks(&resumed, &ticks), &at_ticks(&whole, &ticks), trip);
        }
    }
}

/// So many members that every worker writes its rows in several slices, while later ticks change
/// and remove what is not yet written.
#[test]
fn an_export_in_many_slices_is_of_one_tick() {
    let mut dice = Dice::new("many slices");
    let mut input = Updates::new();
    for member in 0..6 * EXPORT_SLICE_ROWS as u32 {
        let (scored, placed, gated) = (dice.below(600), dice.below(600), dice.below(600));
        let score = 1 + dice.below(500) as i64;
        input.push((Feed::Score((member, 0)), scored, score));
        input.push((Feed::Place(member, dice.below(20) as u8), placed, 1));
        input.push((Feed::Gate(member, Some(1)), gated, 1));
        if dice.below(2) == 0 {
            input.push((Feed::Score((member, 0)), scored + dice.below(100), -score));
        }
    }
    let lists = Lists { without_gate: None, ..Lists::of(10) };
    let ticks = (300..=700).step_by(7).collect();
    for workers in WORKERS {
        let trip = RoundTrip { at: 300, slice_rows: EXPORT_SLICE_ROWS, workers: (workers, 5 - workers.min(3)) };
        let (whole, resumed) = trip.run(Drive::new(1, workers as u64, &input, 700), &top_k(&lists));
        assert_same(&at_ticks(&resumed, &ticks), &at_ticks(&whole, &ticks), trip);
    }
}
