//! Upserts against a plain look at all changes.

use std::{cell::Cell, collections::BTreeSet, sync::Arc};

use proptest::prelude::*;

use super::*;
use crate::{
    shell::EXPORT_SLICE_ROWS,
    testing::{Build, Dice, Drive, RoundTrip, Snapshot, Updates, WORKERS, assert_same, at_ticks},
};

type Key = u64;
type Change = (Key, (u32, Op<i64>));
type Row = UpsertRow<Key, u32, i64>;

use Op::{Add, Delete, Set};

const ALL: usize = 1_000;

thread_local! {
    static ADDED: Cell<usize> = const { Cell::new(0) };
}

/// An addition that tells in which order the changes came, and counts itself.
fn add(sum: &mut i64, more: &i64) {
    *sum = sum.wrapping_mul(10).wrapping_add(*more);
    ADDED.set(ADDED.get() + 1);
}

fn upsert(keep_superseded: usize) -> Arc<Build<Change, isize, Row, (Key, i64), isize>> {
    Arc::new(move |input, wiring| input.upsert(UpsertOptions { keep_superseded, add }, wiring, |key| *key))
}

/// The value of key 0 at the tick of each change, on 1, 2 and 4 workers.
fn values(keep_superseded: usize, changes: &[(Tick, u32, Op<i64>, isize)]) -> Vec<Option<i64>> {
    let change = |(tick, order, op, diff): &(Tick, u32, Op<i64>, isize)| ((0, (*order, op.clone())), *tick, *diff);
    let input: Updates<Change> = changes.iter().map(change).collect();
    let ticks: BTreeSet<Tick> = changes.iter().map(|(tick, ..)| *tick).collect();
    let on_each = WORKERS.into_iter().map(|workers| {
        let out = Drive::new(workers, 3, &input, *ticks.last().expect("a change")).run(&upsert(keep_superseded)).out;
        let found = at_ticks(&out, &ticks);
        assert!(found.values().all(|values| values.len() <= 1 && values.values().all(|count| *count == 1)));
        ticks.iter().map(|tick| found[tick].keys().next().map(|(_, value)| *value)).collect::<Vec<_>>()
    });
    on_each
        .reduce(|one, other| {
            assert_eq!(one, other);
            other
        })
        .expect("a worker count")
}

#[test]
fn changes_apply_in_their_own_order_not_in_that_of_arrival() {
    let changes = [(1, 30, Add(3), 1), (2, 10, Set(1), 1), (3, 20, Add(2), 1)];
    assert_eq!(values(ALL, &changes), [None, Some(13), Some(123)]);
}

#[test]
fn additions_alone_make_no_value() {
    assert_eq!(values(ALL, &[(1, 1, Add(3), 1), (2, 2, Add(4), 1)]), [None, None]);
}

#[test]
fn a_change_ordered_before_the_greatest_set_alters_nothing() {
    let changes = [(1, 20, Set(5), 1), (2, 10, Set(7), 1), (3, 15, Add(1), 1), (4, 5, Delete, 1)];
    assert_eq!(values(ALL, &changes), [Some(5); 4]);
}

#[test]
fn after_a_delete_there_is_no_value_until_a_set_ordered_after_it() {
    let changes = [(1, 10, Set(5), 1), (2, 20, Delete, 1), (3, 15, Set(6), 1), (4, 25, Add(1), 1), (5, 30, Set(7), 1)];
    assert_eq!(values(ALL, &changes), [Some(5), None, None, None, Some(7)]);
}

#[test]
fn a_set_takes_the_place_of_additions_ordered_before_it_only() {
    let changes = [(1, 10, Set(1), 1), (2, 20, Add(2), 1), (3, 40, Add(4), 1), (4, 30, Set(9), 1)];
    assert_eq!(values(ALL, &changes), [Some(1), Some(12), Some(124), Some(94)]);
}

#[test]
fn an_addition_given_twice_counts_twice() {
    let changes = [(1, 10, Set(1), 1), (2, 20, Add(2), 2), (3, 20, Add(2), 1), (4, 20, Add(2), -2)];
    assert_eq!(values(ALL, &changes), [Some(1), Some(122), Some(1_222), Some(12)]);
}

#[test]
fn taking_back_a_set_uncovers_the_one_before_with_its_additions() {
    let changes = [(1, 10, Set(1), 1), (2, 20, Add(2), 1), (3, 30, Set(9), 1), (4, 40, Add(4), 1), (5, 30, Set(9), -1)];
    assert_eq!(values(ALL, &changes), [Some(1), Some(12), Some(9), Some(94), Some(124)]);
}

#[test]
fn taking_back_a_delete_brings_the_value_back() {
    let changes = [(1, 10, Set(1), 1), (2, 20, Delete, 1), (3, 20, Delete, -1)];
    assert_eq!(values(ALL, &changes), [Some(1), None, Some(1)]);
}

#[test]
fn where_the_uncovered_set_was_let_go_there_is_no_value_until_the_next() {
    let sets = [(1, 10, Set(1), 1), (2, 20, Set(2), 1), (3, 30, Set(3), 1)];
    let more = [(4, 30, Set(3), -1), (5, 20, Set(2), -1), (6, 40, Set(4), 1)];
    let changes: Vec<_> = sets.into_iter().chain(more).collect();
    assert_eq!(values(1, &changes), [Some(1), Some(2), Some(3), Some(2), None, Some(4)]);
    assert_eq!(values(2, &changes), [Some(1), Some(2), Some(3), Some(2), Some(1), Some(4)]);
}

#[test]
fn taking_back_what_was_let_go_alters_nothing() {
    let changes = [(1, 10, Set(1), 1), (2, 20, Set(2), 1), (3, 30, Set(3), 1), (4, 10, Set(1), -1)];
    assert_eq!(values(1, &changes), [Some(1), Some(2), Some(3), Some(3)]);
}

#[test]
fn the_changes_of_a_tick_are_told_as_one() {
    let change = |order, op| ((0, (order, op)), 5, 1);
    let input = vec![change(1, Set(1)), change(2, Set(2)), change(3, Add(3)), change(4, Delete), change(5, Set(6))];
    for workers in WORKERS {
        assert_eq!(Drive::new(workers, 1, &input, 9).run(&upsert(ALL)).out, [((0, 6), 5, 1)]);
    }
}

#[test]
fn a_change_that_leaves_the_value_as_it_was_is_not_told() {
    let input = vec![((0, (1, Set(4))), 1, 1), ((0, (2, Set(4))), 2, 1), ((0, (1, Set(4))), 3, -1)];
    for workers in WORKERS {
        assert_eq!(Drive::new(workers, 1, &input, 9).run(&upsert(ALL)).out, [((0, 4), 1, 1)]);
    }
}

/// Feeds one change to a core in a tick of its own.
fn apply(core: &mut UpsertCore<Key, u32, i64>, order: u32, op: Op<i64>, diff: isize) -> Out<(Key, i64), isize> {
    let mut out = Vec::new();
    core.absorb((0, (order, op)), u64::from(order), diff, &mut out);
    core.settle(u64::from(order), &mut out);
    out
}

#[test]
fn a_key_whose_changes_were_all_taken_back_takes_no_room() {
    let mut core = UpsertCore::new(UpsertOptions { keep_superseded: 3, add });
    for (order, op) in [(1, Set(1)), (2, Add(2)), (3, Delete)] {
        apply(&mut core, order, op.clone(), 1);
        apply(&mut core, order, op, -1);
    }
    assert!(core.keys.is_empty());
}

#[test]
fn no_more_superseded_changes_are_kept_than_asked_for() {
    let mut core = UpsertCore::new(UpsertOptions { keep_superseded: 3, add });
    for order in 0..1_000 {
        apply(&mut core, order, if order % 2 == 0 { Set(1) } else { Add(1) }, 1);
        let slot = core.keys.find(&0).expect("the key");
        assert!(core.keys.get(slot).1.changes.len() <= 3 + 2);
    }
}

#[test]
fn additions_in_order_cost_one_addition_each() {
    let mut core = UpsertCore::new(UpsertOptions { keep_superseded: 3, add });
    apply(&mut core, 0, Set(0), 1);
    let before = ADDED.get();
    for order in 1..5_000 {
        apply(&mut core, order, Add(i64::from(order % 7)), 1);
    }
    assert_eq!(ADDED.get() - before, 4_999);
    // One that is out of order folds them all.
    apply(&mut core, 4_000, Add(100), 1);
    assert!(ADDED.get() - before > 2 * 4_999);
}

/// Changes of few keys and orders, so that they meet; some are taken back later.
fn history(with_retractions: bool) -> impl Strategy<Value = Updates<Change>> {
    let op = prop_oneof![2 => (0i64..9).prop_map(Set), 4 => (0i64..9).prop_map(Add), 1 => Just(Delete)];
    let change = (0u64..3, 0u32..25, op, 0u64..40, 1isize..3, prop::option::of(0u64..40));
    prop::collection::vec(change, 1..50).prop_map(move |changes| {
        let mut input = Updates::new();
        for (key, order, op, tick, count, taken_back) in changes {
            input.push(((key, (order, op.clone())), tick, count));
            input.extend(taken_back.filter(|_| with_retractions).map(|later| ((key, (order, op)), tick + later, -1)));
        }
        input
    })
}

const LAST: Tick = 80;

/// The values that all changes up to `tick` make.
fn plainly(input: &Updates<Change>, tick: Tick) -> Snapshot<(Key, i64)> {
    let mut values: std::collections::BTreeMap<Key, Option<i64>> = Default::default();
    for ((key, (_, op)), count) in at_ticks(input, &[tick].into()).remove(&tick).expect("asked for") {
        let value = values.entry(key).or_default();
        match op {
            Set(new) => *value = Some(new),
            Delete => *value = None,
            Add(more) => (0..count).for_each(|_| value.iter_mut().for_each(|value| add(value, &more))),
        }
    }
    values.into_iter().filter_map(|(key, value)| Some(((key, value?), 1))).collect()
}

fn check_against_plain(keep_superseded: usize, input: &Updates<Change>, seed: u64) {
    let ticks: BTreeSet<Tick> = input.iter().map(|(_, tick, _)| *tick).chain([LAST]).collect();
    let expected = ticks.iter().map(|tick| (*tick, plainly(input, *tick))).collect();
    for workers in WORKERS {
        let out = Drive::new(workers, seed, input, LAST).run(&upsert(keep_superseded)).out;
        assert_same(&at_ticks(&out, &ticks), &expected, workers);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn with_all_changes_kept_every_retraction_is_exact(input in history(true), seed: u64) {
        check_against_plain(ALL, &input, seed);
    }

    #[test]
    fn without_retractions_nothing_needs_to_be_kept(input in history(false), keep in 0usize..4, seed: u64) {
        check_against_plain(keep, &input, seed);
    }

    #[test]
    fn a_run_from_rows_equals_the_uninterrupted_run(
        input in history(true),
        keep in 0usize..4,
        at in 0u64..LAST,
        slice_rows in 1usize..3,
        seed: u64,
    ) {
        let ticks = (at..=LAST).collect();
        for workers in [(1, 1), (2, 2), (4, 4), (1, 4), (4, 2), (2, 1)] {
            let trip = RoundTrip { at, slice_rows, workers };
            let (whole, resumed) = trip.run(Drive::new(1, seed, &input, LAST), &upsert(keep));
            assert_same(&at_ticks(&resumed, &ticks), &at_ticks(&whole, &ticks), trip);
        }
    }
}

/// So many keys that every worker writes its rows in several slices, while later ticks change and
/// remove what is not yet written.
#[test]
fn an_export_in_many_slices_is_of_one_tick() {
    let mut dice = Dice::new("many slices");
    let mut input = Updates::new();
    for key in 0..6 * EXPORT_SLICE_ROWS as u64 {
        for order in 0..3u32 {
            let (tick, value) = (dice.below(600), dice.below(100) as i64);
            let op = if order == 0 { Set(value) } else { Add(value) };
            input.push(((key, (order, op.clone())), tick, 1isize));
            if dice.below(3) == 0 {
                input.push(((key, (order, op)), tick + dice.below(100), -1));
            }
        }
    }
    let ticks = (300..=700).step_by(7).collect();
    for workers in WORKERS {
        let trip = RoundTrip { at: 300, slice_rows: EXPORT_SLICE_ROWS, workers: (workers, 5 - workers.min(3)) };
        let (whole, resumed) = trip.run(Drive::new(1, workers as u64, &input, 700), &upsert(2));
        assert_same(&at_ticks(&resumed, &ticks), &at_ticks(&whole, &ticks), trip);
    }
}
