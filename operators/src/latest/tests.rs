//! Latest times against a plain look at the whole history.

use std::{collections::BTreeSet, sync::Arc};

use proptest::prelude::*;

use super::*;
use crate::testing::by_lane;
use crate::{
    expire::{Expire, Phase, Windows},
    shell::EXPORT_SLICE_ROWS,
    testing::{Build, Dice, Drive, RoundTrip, Snapshot, Updates, WORKERS, assert_same, at_ticks},
};

type Key = u64;
type Row = (Key, Times);

/// The operator, two keys on the same worker.
fn latest(horizon_us: u64) -> Arc<Build<(Key, u64), isize, Row, (Key, u64), isize>> {
    Arc::new(move |input, wiring| input.latest(horizon_us, wiring, |key| key / 2))
}

/// What comes out at `ticks`, on 1, 2 and 4 workers.
fn found(horizon_us: u64, input: &[(Key, u64, Tick, isize)], ticks: &[Tick]) -> Vec<Vec<(Key, u64)>> {
    let input: Updates<(Key, u64)> = input.iter().map(|(key, at, tick, diff)| ((*key, *at), *tick, *diff)).collect();
    let asked: BTreeSet<Tick> = ticks.iter().copied().collect();
    let on_each = WORKERS.into_iter().map(|workers| {
        let last = *asked.last().expect("a tick");
        let out = Drive::new(workers, 7, &input, last).run(&latest(horizon_us)).out;
        let at = at_ticks(&out, &asked);
        assert!(at.values().flat_map(|snapshot| snapshot.values()).all(|count| *count == 1));
        ticks.iter().map(|tick| at[tick].keys().copied().collect()).collect::<Vec<_>>()
    });
    on_each
        .reduce(|one, other| {
            assert_eq!(one, other);
            other
        })
        .expect("a worker count")
}

#[test]
fn the_greatest_time_stands_for_its_key() {
    let input = [(1, 10, 10, 1), (1, 30, 30, 1), (2, 20, 20, 1)];
    let expected = [vec![], vec![(1, 10)], vec![(1, 10), (2, 20)], vec![(1, 30), (2, 20)]];
    assert_eq!(found(1_000, &input, &[9, 10, 29, 30]), expected);
}

#[test]
fn a_late_time_moves_nothing_unless_it_is_the_greatest() {
    let input = [(1, 30, 30, 1), (1, 10, 40, 1), (1, 35, 50, 1)];
    assert_eq!(found(1_000, &input, &[30, 40, 50]), [[(1, 30)], [(1, 30)], [(1, 35)]]);
}

#[test]
fn a_retraction_brings_the_next_time_back() {
    let input = [(1, 10, 10, 1), (1, 30, 30, 2), (1, 30, 40, -1), (1, 30, 50, -1), (1, 10, 60, -1)];
    let expected = [vec![(1, 30)], vec![(1, 30)], vec![(1, 10)], vec![]];
    assert_eq!(found(1_000, &input, &[30, 40, 50, 60]), expected);
}

#[test]
fn a_time_is_forgotten_on_the_first_place_of_the_grid_after_the_horizon() {
    // The grid has parts of 10: 2563 is rounded up to 2570.
    let horizon_us = 10 * GRID;
    assert_eq!(LatestCore::<Key>::new(horizon_us).forgotten_at()(3), 2_570);
    assert_eq!(LatestCore::<Key>::new(horizon_us).forgotten_at()(10), 2_570);
    assert_eq!(found(horizon_us, &[(1, 3, 3, 1)], &[3, 2_569, 2_570]), [vec![(1, 3)], vec![(1, 3)], vec![]]);
}

#[test]
fn a_time_that_would_be_forgotten_already_is_not_taken() {
    let mut core = LatestCore::new(100);
    let mut out = Vec::new();
    core.advance(150, &mut out);
    core.absorb((1, 50), 150, 1, &mut out);
    assert_eq!((out.len(), core.keys.len(), core.due()), (0, 0, None));
    core.absorb((1, 51), 150, 1, &mut out);
    assert_eq!((out.len(), core.keys.len(), core.due()), (1, 1, Some(151)));
}

#[test]
fn what_was_taken_back_takes_no_room_after_the_horizon() {
    let mut core = LatestCore::new(100);
    let mut out = Vec::new();
    core.absorb((1, 0), 0, 1, &mut out);
    core.absorb((1, 0), 0, -1, &mut out);
    core.absorb((2, 5), 5, 1, &mut out);
    core.advance(105, &mut out);
    assert_eq!((core.keys.len(), core.due()), (0, None));
    assert_eq!(at_ticks(&out, &[99, 105].into())[&105], Snapshot::new());
}

/// Updates with late, repeated and retracted times.
fn history() -> impl Strategy<Value = (u64, Updates<(Key, u64)>, Tick)> {
    let update = (0u64..3, 0u64..150, -3i64..120, 1isize..3, prop::option::of(0u64..100));
    let updates = prop::collection::vec(update, 1..40);
    let base = prop_oneof![Just(0u64), Just(1_000_003)];
    let horizon_us = prop_oneof![1u64..200, 250u64..1_100];
    (horizon_us, updates, base).prop_map(|(horizon_us, updates, base)| {
        let mut input = Updates::new();
        for (key, tick, age, count, retracted) in updates {
            let tick = base + tick;
            let at = tick.saturating_add_signed(-age);
            input.push(((key, at), tick, count));
            input.extend(retracted.map(|later| ((key, at), tick + later, -1)));
        }
        (horizon_us, input, base + 260 + horizon_us)
    })
}

/// The greatest time of each key that has a positive count and is not forgotten at `tick`.
fn plainly(horizon_us: u64, input: &Updates<(Key, u64)>, tick: Tick) -> Snapshot<(Key, u64)> {
    let counts = at_ticks(input, &[tick].into()).remove(&tick).expect("asked for");
    let forgotten_at = LatestCore::<Key>::new(horizon_us).forgotten_at();
    let live = counts.into_iter().filter(|((_, at), count)| *count > 0 && forgotten_at(*at) > tick);
    let greatest: BTreeMap<Key, u64> = live.map(|(pair, _)| pair).collect();
    greatest.into_iter().map(|pair| (pair, 1)).collect()
}

/// Every tick at which something arrives or is forgotten, and the one before.
fn ticks(horizon_us: u64, input: &Updates<(Key, u64)>, last: Tick) -> BTreeSet<Tick> {
    let forgotten_at = LatestCore::<Key>::new(horizon_us).forgotten_at();
    let each = input.iter().flat_map(|((_, at), tick, _)| [*tick, forgotten_at(*at) - 1, forgotten_at(*at)]);
    each.filter(|tick| *tick <= last).chain([last]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_times_are_those_of_the_whole_history((horizon_us, input, last) in history(), seed: u64) {
        let ticks = ticks(horizon_us, &input, last);
        let expected = ticks.iter().map(|tick| (*tick, plainly(horizon_us, &input, *tick))).collect();
        for workers in WORKERS {
            let out = Drive::new(workers, seed, &input, last).run(&latest(horizon_us)).out;
            assert_same(&at_ticks(&out, &ticks), &expected, workers);
            let drive = Drive::new(workers, seed, &input, last).in_steps();
            let ends = drive.ends();
            let expected = ends.iter().map(|tick| (*tick, plainly(horizon_us, &input, *tick))).collect();
            assert_same(&at_ticks(&drive.run(&latest(horizon_us)).out, &ends), &expected, ("in steps", workers));
        }
    }

    /// An import is silent: it goes on from what the uninterrupted run had put out by then.
    #[test]
    fn a_run_from_rows_equals_the_uninterrupted_run(
        (horizon_us, input, last) in history(),
        share in 0u64..=1_000,
        slice_rows in 1usize..3,
        seed: u64,
    ) {
        let first = input.iter().map(|(_, tick, _)| *tick).min().unwrap_or(0);
        let at = first + (last - first) * share / 1_000;
        for workers in [(1, 1), (2, 2), (4, 4), (1, 4), (4, 2), (2, 1)] {
            check(Drive::new(1, seed, &input, last), RoundTrip { at, slice_rows, workers }, horizon_us);
        }
    }
}

/// How many keys of each pair of keys the windows hold, by the operators.
fn counted(windows: &Windows) -> Arc<Build<(Key, u64), isize, Row, (Key, u8), isize>> {
    let windows = windows.clone();
    Arc::new(move |input, wiring| {
        let scope = input.scope();
        let latest = input.latest(windows.horizon_us(), wiring, |key| key / 2);
        let pairs = latest.map(|(key, at)| (key / 2, at));
        by_lane(pairs.expire(windows.clone(), Wiring::fresh("Windows", scope), |pair| *pair))
    })
}

/// How many keys of each pair of keys each window holds at `tick`, by definition.
fn distinct(windows: &Windows, input: &Updates<(Key, u64)>, tick: Tick) -> Snapshot<(Key, u8)> {
    let counts = at_ticks(input, &[tick].into()).remove(&tick).expect("asked for");
    let mut held = BTreeSet::new();
    for ((key, at), _) in counts.into_iter().filter(|(_, count)| *count > 0) {
        let phase_us = windows.phase_us(&(key / 2));
        let holds = (0..windows.len()).filter(|window| windows.holds(*window, phase_us, at, tick));
        held.extend(holds.map(|window| (key, window as u8)));
    }
    let mut distinct = Snapshot::new();
    held.into_iter().for_each(|(key, window)| *distinct.entry((key / 2, window)).or_insert(0) += 1);
    distinct
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Fed into rolling windows, the latest times count each key once in every window.
    #[test]
    fn rolling_windows_count_distinct_keys((_, input, last) in history(), seed: u64) {
        let windows = Windows::new(&[12, 60, 120], 6, 10, Phase::Spread);
        let mut ticks = ticks(windows.horizon_us(), &input, last);
        let ends = input.iter().flat_map(|((key, at), _, _)| {
            let end = windows.bucket_end(0, windows.phase_us(&(key / 2)), *at);
            [end + 11, end + 12, end + 59, end + 60]
        });
        ticks.extend(ends.filter(|tick| *tick <= last));
        let expected = ticks.iter().map(|tick| (*tick, distinct(&windows, &input, *tick))).collect();
        for workers in WORKERS {
            let out = Drive::new(workers, seed, &input, last).run(&counted(&windows)).out;
            assert_same(&at_ticks(&out, &ticks), &expected, workers);
        }
    }
}

fn check(whole: Drive<(Key, u64), isize, Row>, trip: RoundTrip, horizon_us: u64) {
    let mut ticks = ticks(horizon_us, &whole.input, whole.last);
    ticks.retain(|tick| *tick >= trip.at);
    let (whole, mut resumed) = trip.run(whole, &latest(horizon_us));
    assert!(resumed.iter().all(|(_, tick, _)| *tick > trip.at), "an import is silent");
    resumed.extend(whole.iter().filter(|(_, tick, _)| *tick <= trip.at).cloned());
    assert_same(&at_ticks(&resumed, &ticks), &at_ticks(&whole, &ticks), trip);
}

/// So many keys that every worker writes its rows in several slices, while later ticks change and
/// remove what is not yet written.
#[test]
fn an_export_in_many_slices_is_of_one_tick() {
    let mut dice = Dice::new("many slices");
    let mut input = Updates::new();
    for key in 0..6 * EXPORT_SLICE_ROWS as u64 {
        for _ in 0..3 {
            let tick = dice.below(600);
            let late = dice.below(40);
            input.push(((key, tick.saturating_sub(late)), tick, 1));
        }
    }
    let ticks = (300..=600).step_by(7).collect();
    for workers in WORKERS {
        let trip = RoundTrip { at: 300, slice_rows: EXPORT_SLICE_ROWS, workers: (workers, 5 - workers.min(3)) };
        let drive = Drive::new(1, workers as u64, &input, 600);
        let (whole, mut resumed) = trip.run(drive, &latest(200));
        resumed.extend(whole.iter().filter(|(_, tick, _)| *tick <= trip.at).cloned());
        assert_same(&at_ticks(&resumed, &ticks), &at_ticks(&whole, &ticks), trip);
    }
}
