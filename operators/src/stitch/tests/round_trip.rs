//! What the identifiers export at a tick goes on elsewhere as if nothing had happened. Places are
//! no part of it: they come as data, as of the tick of the export.

use proptest::prelude::*;

use super::{against_oracle::history, *};
use crate::{
    shell::EXPORT_SLICE_ROWS,
    testing::{Dice, RoundTrip, WORKERS, assert_same, at_ticks},
};

/// Everything is told anew at the tick of the import.
fn check(rules: Rules, (input, last): (&Updates<Fed>, Tick), ticks: &BTreeSet<Tick>, trip: RoundTrip, seed: u64) {
    let ticks = ticks.iter().copied().filter(|tick| *tick >= trip.at).collect();
    let mut first = Drive::new(trip.workers.0, seed, input, last);
    first.export = Some((trip.at, trip.slice_rows));
    let first = first.run(&stitched(rules));
    let mut after: Updates<Fed> = input.iter().filter(|(_, tick, _)| *tick > trip.at).cloned().collect();
    let as_of = at_ticks(input, &[trip.at].into()).remove(&trip.at).expect("asked for");
    let places = as_of.into_iter().filter(|(fed, _)| matches!(fed, Fed::Place(..)));
    after.extend(places.map(|(fed, count)| (fed, trip.at, count)));
    let mut second = Drive::new(trip.workers.1, seed + 1, &after, last);
    second.imports = Some((trip.at, first.rows));
    let resumed = second.run(&stitched(rules)).out;
    assert_same(&at_ticks(&resumed, &ticks), &at_ticks(&first.out, &ticks), trip);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_run_from_rows_equals_the_uninterrupted_run(
        (input, last) in history(),
        share in 0u64..=1_000,
        slice_rows in 1usize..3,
        seed in 0..u64::MAX,
    ) {
        let first = input.iter().map(|(_, tick, _)| *tick).min().unwrap_or(last);
        let at = first + (last - first) * share / 1_000;
        for workers in [(1, 1), (2, 2), (4, 4), (1, 4), (4, 2), (2, 1)] {
            for rules in [RULES, FORGETFUL] {
                let trip = RoundTrip { at, slice_rows, workers };
                check(rules, (&input, last), &ticks(&input, last, &rules), trip, seed);
            }
        }
    }
}

/// So many identifiers that every worker writes its rows in several slices, while later ticks change,
/// move and remove what is not yet written.
#[test]
fn an_export_in_many_slices_is_of_one_tick() {
    let mut dice = Dice::new("many slices");
    let mut input = Updates::new();
    for id in 0..6 * EXPORT_SLICE_ROWS as u64 {
        let mut facts: Vec<(Tick, Fact)> = (0..3).map(|_| (dice.below(500), (dice.below(4) as u8, 0))).collect();
        facts.iter_mut().for_each(|(tick, (_, at))| *at = tick.saturating_sub(dice.below(40)));
        input.extend(facts.iter().map(|(tick, fact)| (Fed::Fact(id, *fact), *tick, 1)));
        let place = Fed::Place(id, (id, 7));
        match dice.below(4) {
            0 => {}
            1 => input.push((place, dice.below(600), 1)),
            _ => {
                // Retracted with all that it had, and with its place.
                let end = 501 + dice.below(99);
                input.push((place.clone(), dice.below(500), 1));
                input.push((place, end, -1));
                input.extend(facts.iter().map(|(_, fact)| (Fed::Fact(id, *fact), end, -1)));
            }
        }
    }
    let ticks = (300..=600).step_by(7).collect();
    for workers in WORKERS {
        let at = 480;
        let trip = RoundTrip { at, slice_rows: EXPORT_SLICE_ROWS, workers: (workers, 5 - workers.min(3)) };
        check(RULES, (&input, 600), &ticks, trip, workers as u64);
    }
}
