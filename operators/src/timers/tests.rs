//! Timers against a filter over the whole history, and against the plain differential formulation.

use std::{collections::BTreeSet, sync::Arc};

use differential_dataflow::AsCollection;
use proptest::prelude::*;
use timely::dataflow::operators::vec::Map;

use super::*;
use crate::{
    shell::EXPORT_SLICE_ROWS,
    testing::{Build, Dice, Drive, RoundTrip, Snapshot, Updates, WORKERS, assert_same, at_ticks},
};

type Data = u64;
type Timer = (Data, Tick);
type Row = TimerRow<Data>;
type Built = Arc<Build<Timer, isize, Row, Data, isize>>;

/// The operator, two data on the same worker.
fn timers() -> Built {
    Arc::new(|input, wiring| input.timers(wiring, |data| data / 2))
}

/// The plain differential formulation: each update is moved to the tick at which it is due.
fn plainly() -> Built {
    Arc::new(|input, _| {
        let moved = |((data, due), tick, diff): (Timer, Tick, isize)| [(data, tick.max(due), diff)];
        input.inner.flat_map(moved).as_collection().consolidate()
    })
}

/// What comes out at `ticks`, on 1, 2 and 4 workers: the data with their counts.
fn found(input: &[(Data, Tick, Tick, isize)], ticks: &[Tick]) -> Vec<Vec<(Data, isize)>> {
    let input: Updates<Timer> = input.iter().map(|(data, due, tick, diff)| ((*data, *due), *tick, *diff)).collect();
    let asked: BTreeSet<Tick> = ticks.iter().copied().collect();
    let on_each = WORKERS.into_iter().map(|workers| {
        let last = *asked.last().expect("a tick");
        let out = Drive::new(workers, 7, &input, last).run(&timers()).out;
        let at = at_ticks(&out, &asked);
        ticks.iter().map(|tick| at[tick].clone().into_iter().collect()).collect::<Vec<_>>()
    });
    on_each
        .reduce(|one, other| {
            assert_eq!(one, other);
            other
        })
        .expect("a worker count")
}

#[test]
fn a_datum_comes_out_at_the_tick_at_which_it_is_due_without_further_input() {
    assert_eq!(found(&[(1, 20, 5, 1), (2, 30, 5, 1)], &[19, 20, 30]), [vec![], vec![(1, 1)], vec![(1, 1), (2, 1)]]);
}

#[test]
fn what_is_due_already_comes_out_at_once() {
    assert_eq!(found(&[(1, 3, 10, 1), (2, 10, 10, 1)], &[9, 10]), [vec![], vec![(1, 1), (2, 1)]]);
}

#[test]
fn what_is_retracted_before_it_is_due_never_comes_out() {
    assert_eq!(found(&[(1, 20, 5, 1), (1, 20, 19, -1)], &[19, 20, 40]), vec![vec![]; 3]);
}

#[test]
fn a_retraction_at_the_tick_of_the_timer_or_later_takes_back_what_came_out() {
    assert_eq!(found(&[(1, 20, 5, 1), (1, 20, 20, -1)], &[19, 20]), vec![vec![]; 2]);
    assert_eq!(found(&[(1, 20, 5, 1), (1, 20, 25, -1)], &[20, 24, 25]), [vec![(1, 1)], vec![(1, 1)], vec![]]);
}

#[test]
fn a_timer_that_is_moved_goes_off_at_its_new_tick_only() {
    let input = [(1, 20, 5, 1), (1, 20, 15, -1), (1, 30, 15, 1)];
    assert_eq!(found(&input, &[20, 29, 30]), [vec![], vec![], vec![(1, 1)]]);
}

#[test]
fn one_datum_may_be_wanted_from_several_ticks_on_and_several_times() {
    let input = [(1, 20, 5, 1), (1, 30, 5, 2), (1, 30, 25, -1)];
    assert_eq!(found(&input, &[20, 25, 30]), [[(1, 1)], [(1, 1)], [(1, 2)]]);
}

#[test]
fn a_retraction_that_comes_before_what_it_retracts_is_held_back_too() {
    let input = [(1, 20, 5, -1), (1, 20, 15, 1), (2, 20, 5, -1), (2, 20, 25, 1)];
    assert_eq!(found(&input, &[19, 20, 25]), [vec![], vec![(2, -1)], vec![]]);
}

#[test]
fn a_timer_at_the_end_of_time_never_goes_off() {
    assert_eq!(found(&[(1, Tick::MAX, 5, 1)], &[1_000]), [vec![]]);
}

/// A slot that was freed is given to the next timer: of neither anything comes out at the other's tick.
#[test]
fn a_timer_in_a_slot_that_was_freed_goes_off_at_its_own_tick() {
    let mut core = TimersCore::default();
    let mut out = Vec::new();
    core.absorb((1, 20), 5, 1, &mut out);
    core.absorb((1, 20), 6, -1, &mut out);
    core.absorb((2, 30), 6, 1, &mut out);
    core.absorb((3, 20), 6, 1, &mut out);
    assert_eq!((core.pending.len(), core.due()), (2, Some(20)));
    core.advance(20, &mut out);
    assert_eq!(std::mem::take(&mut out), [(3, 20, 1)]);
    core.absorb((4, 40), 20, 1, &mut out);
    core.advance(35, &mut out);
    assert_eq!(std::mem::take(&mut out), [(2, 35, 1)]);
    core.advance(40, &mut out);
    assert_eq!(out, [(4, 40, 1)]);
    assert_eq!((core.pending.len(), core.due()), (0, None));
}

#[test]
fn a_timer_that_is_set_and_taken_back_again_and_again_leaves_nothing_behind() {
    let mut core = TimersCore::default();
    let mut out = Vec::new();
    core.absorb((7, 1_000), 0, 1, &mut out);
    for tick in 1..100 {
        core.absorb((1, 1_000), tick, 1, &mut out);
        core.absorb((1, 1_000), tick, -1, &mut out);
        core.absorb((2, 1_000 + tick), tick, -1, &mut out);
        core.absorb((2, 1_000 + tick), tick, 1, &mut out);
    }
    assert_eq!((out.len(), core.pending.len(), core.dues.len(), core.due()), (0, 1, 1, Some(1_000)));
}

/// Timers that are early, late, repeated, and retracted before and after they are due, or before
/// they are set.
fn history() -> impl Strategy<Value = (Updates<Timer>, Tick)> {
    let count = prop_oneof![4 => Just(1isize), 1 => Just(2), 1 => Just(-1)];
    let update = (0u64..5, 0u64..80, -10i64..60, count, prop::option::of(0u64..80));
    let base = prop_oneof![Just(0u64), Just(1_000_003)];
    (prop::collection::vec(update, 1..50), base, 0u64..160).prop_map(|(updates, base, end)| {
        let mut input = Updates::new();
        for (data, tick, ahead, count, retracted) in updates {
            let tick = base + tick;
            // Few ticks to be due at, so that timers meet.
            let due = tick.saturating_add_signed(ahead) / 4 * 4;
            input.push(((data, due), tick, count));
            input.extend(retracted.map(|later| ((data, due), tick + later, -count)));
        }
        let last = base + end;
        input.retain(|(_, tick, _)| *tick <= last);
        (input, last)
    })
}

/// What is due at `tick`, of all that came by then.
fn due_at(input: &Updates<Timer>, tick: Tick) -> Snapshot<Data> {
    let mut due: Updates<Data> = Vec::new();
    for ((data, at), came, diff) in input.iter().filter(|((_, due), came, _)| *came <= tick && *due <= tick) {
        due.push((*data, *came.max(at), *diff));
    }
    at_ticks(&due, &[tick].into()).remove(&tick).expect("asked for")
}

/// Every tick at which something arrives or is due, and the one before.
fn ticks(input: &Updates<Timer>, last: Tick) -> BTreeSet<Tick> {
    let each = input.iter().flat_map(|((_, due), tick, _)| [*tick, *due, due.saturating_sub(1)]);
    each.filter(|tick| *tick <= last).chain([last]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_due_is_that_of_the_whole_history((input, last) in history(), seed: u64) {
        let ticks = ticks(&input, last);
        let expected = ticks.iter().map(|tick| (*tick, due_at(&input, *tick))).collect();
        let plain = Drive::new(1, seed, &input, last).and_goes_on().run(&plainly()).out;
        assert_same(&at_ticks(&plain, &ticks), &expected, "differential's own");
        for workers in WORKERS {
            let out = Drive::new(workers, seed, &input, last).run(&timers()).out;
            assert_same(&at_ticks(&out, &ticks), &expected, workers);
            let drive = Drive::new(workers, seed, &input, last).in_steps();
            let ends = drive.ends();
            let expected = ends.iter().map(|tick| (*tick, due_at(&input, *tick))).collect();
            assert_same(&at_ticks(&drive.run(&timers()).out, &ends), &expected, ("in steps", workers));
        }
    }

    #[test]
    fn a_run_from_rows_equals_the_uninterrupted_run(
        (input, last) in history(),
        share in 0u64..=1_000,
        slice_rows in 1usize..3,
        seed: u64,
    ) {
        let first = input.iter().map(|(_, tick, _)| *tick).min().unwrap_or(last);
        let at = first + (last - first) * share / 1_000;
        for workers in [(1, 1), (2, 2), (4, 4), (1, 4), (4, 2), (2, 1)] {
            let trip = RoundTrip { at, slice_rows, workers };
            check(Drive::new(1, seed, &input, last), &ticks(&input, last), trip);
        }
    }

    /// When everything is due, nothing is kept.
    #[test]
    fn what_has_gone_off_takes_no_room((input, _) in history()) {
        let mut core = TimersCore::default();
        let mut out = Vec::new();
        let mut in_order = input;
        in_order.sort_by_key(|(_, tick, _)| *tick);
        for (timer, tick, diff) in in_order {
            core.advance(tick, &mut out);
            core.absorb(timer, tick, diff, &mut out);
            prop_assert_eq!(core.pending.len(), core.dues.len());
            prop_assert!(core.due().is_none_or(|due| due > tick));
        }
        core.advance(Tick::MAX - 1, &mut out);
        prop_assert_eq!((core.pending.len(), core.dues.len(), core.due()), (0, 0, None));
    }
}

/// An import is silent: it goes on from what the uninterrupted run had put out by then.
fn check(whole: Drive<Timer, isize, Row>, ticks: &BTreeSet<Tick>, trip: RoundTrip) {
    let ticks = ticks.iter().copied().filter(|tick| *tick >= trip.at).collect();
    let (whole, mut resumed) = trip.run(whole, &timers());
    assert!(resumed.iter().all(|(_, tick, _)| *tick > trip.at), "an import is silent");
    resumed.extend(whole.iter().filter(|(_, tick, _)| *tick <= trip.at).cloned());
    assert_same(&at_ticks(&resumed, &ticks), &at_ticks(&whole, &ticks), trip);
}

/// So many timers that every worker writes its rows in several slices, while later ticks change and
/// remove what is not yet written.
#[test]
fn an_export_in_many_slices_is_of_one_tick() {
    let mut dice = Dice::new("many slices");
    let mut input = Updates::new();
    for data in 0..6 * EXPORT_SLICE_ROWS as u64 {
        for _ in 0..3 {
            let (tick, due) = (dice.below(600), dice.below(900));
            input.push(((data, due), tick, 1));
            if dice.below(3) == 0 {
                input.push(((data, due), tick + dice.below(300), -1));
            }
        }
    }
    input.retain(|(_, tick, _)| *tick <= 600);
    let ticks = (300..=600).step_by(7).collect();
    for workers in WORKERS {
        let trip = RoundTrip { at: 300, slice_rows: EXPORT_SLICE_ROWS, workers: (workers, 5 - workers.min(3)) };
        check(Drive::new(1, workers as u64, &input, 600), &ticks, trip);
    }
}
