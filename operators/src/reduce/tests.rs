//! Small groups against differential's own `reduce`, and against a look at the whole history.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::testing::{Build, Drive, RoundTrip, Snapshot, Updates, WORKERS, add, assert_same, at_ticks};

type Key = u64;
type Value = u8;
type Row = ReduceRow<Key, Value>;
type Built = Arc<Build<(Key, Value), isize, Row, (Key, i64), isize>>;

/// The greatest value, the sum of all with their counts, and the count of odd ones twice: outputs
/// that change often, seldom, and come in pairs.
fn made(values: &[(Value, isize)]) -> Vec<i64> {
    let greatest = values.iter().map(|(value, _)| i64::from(*value)).max();
    let sum = values.iter().map(|(value, count)| i64::from(*value) * *count as i64).sum::<i64>();
    let odd = values.iter().filter(|(value, _)| value % 2 == 1).count() as i64;
    greatest.into_iter().chain([1_000 + sum]).chain(if odd > 0 { vec![-odd; 2] } else { vec![] }).collect()
}

/// The operator, two keys on the same worker.
fn reduce_small() -> Built {
    Arc::new(|input, wiring| input.reduce_small(wiring, |key| key / 2, |_, values, out| out.extend(made(values))))
}

/// Differential's own.
fn plainly() -> Built {
    Arc::new(|input, _| {
        input.reduce(|_, values, out| {
            let values: Vec<(Value, isize)> = values.iter().map(|(value, count)| (**value, *count)).collect();
            out.extend(made(&values).into_iter().map(|made| (made, 1)));
        })
    })
}

/// What the groups make at `tick`, from the whole history.
fn made_at(input: &Updates<(Key, Value)>, tick: Tick) -> Snapshot<(Key, i64)> {
    let mut groups: std::collections::BTreeMap<Key, Vec<(Value, isize)>> = Default::default();
    for ((key, value), count) in at_ticks(input, &[tick].into()).remove(&tick).expect("asked for") {
        groups.entry(key).or_default().push((value, count));
    }
    let mut all = Snapshot::new();
    for (key, values) in groups {
        made(&values).into_iter().for_each(|made| add(&mut all, &(key, made), &1));
    }
    all
}

/// Values that come, come again, and are taken back.
fn history() -> impl Strategy<Value = Updates<(Key, Value)>> {
    let update = (0u64..5, 0u8..6, 0u64..60, 1isize..3, prop::option::of(0u64..40));
    prop::collection::vec(update, 1..50).prop_map(|updates| {
        let each = updates.into_iter().flat_map(|(key, value, tick, count, retracted)| {
            let taken_back = retracted.map(|later| ((key, value), tick + later, -count));
            std::iter::once(((key, value), tick, count)).chain(taken_back)
        });
        each.collect()
    })
}

const LAST: Tick = 110;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn groups_make_what_the_whole_history_and_differential_make(input in history(), seed: u64) {
        let ticks = input.iter().map(|(_, tick, _)| *tick).chain([LAST]).collect();
        let expected = at_ticks(&Drive::new(1, seed, &input, LAST).and_goes_on().run(&plainly()).out, &ticks);
        let whole = ticks.iter().map(|tick| (*tick, made_at(&input, *tick))).collect();
        assert_same(&expected, &whole, "differential's own");
        for workers in WORKERS {
            let out = Drive::new(workers, seed, &input, LAST).run(&reduce_small()).out;
            assert_same(&at_ticks(&out, &ticks), &expected, workers);
            let drive = Drive::new(workers, seed, &input, LAST).in_steps();
            let ends = drive.ends();
            let expected = ends.iter().map(|tick| (*tick, made_at(&input, *tick))).collect();
            assert_same(&at_ticks(&drive.run(&reduce_small()).out, &ends), &expected, ("in steps", workers));
        }
    }

    #[test]
    fn a_run_from_rows_equals_the_uninterrupted_run(
        input in history(), at in 0u64..LAST, slice_rows in 1usize..3, seed: u64,
    ) {
        let ticks = (at..=LAST).collect();
        for workers in [(1, 1), (2, 2), (4, 4), (1, 4), (4, 2)] {
            let trip = RoundTrip { at, slice_rows, workers };
            let (whole, resumed) = trip.run(Drive::new(1, seed, &input, LAST), &reduce_small());
            assert_same(&at_ticks(&resumed, &ticks), &at_ticks(&whole, &ticks), trip);
        }
    }
}

#[test]
fn a_group_of_which_everything_was_taken_back_takes_no_room() {
    let mut core = ReduceCore::new(Box::new(|_: &Key, values: &[(Value, isize)], out| out.extend(made(values))));
    let mut out = Vec::new();
    core.absorb((1, 3), 1, 2, &mut out);
    core.settle(1, &mut out);
    assert_eq!((out.len(), core.keys.len()), (4, 1));
    core.absorb((1, 3), 2, -2, &mut out);
    core.settle(2, &mut out);
    assert_eq!((out.len(), core.keys.len()), (8, 0));
    assert!(at_ticks(&out, &[2].into())[&2].is_empty());
}
