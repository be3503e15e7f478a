//! Sealed batches against a plain accumulation.

mod placed;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use differential_dataflow::input::Input;
use proptest::prelude::*;
use timely::{Config, dataflow::operators::Probe};

use super::*;
use crate::testing::{Dice, Snapshot, Updates, WORKERS, add, at_ticks};

type Key = u64;

/// Builds the seal of a collection.
type Build<D, S> = dyn for<'s> Fn(Collection<'s, D>) -> Sealing<'s, S> + Send + Sync;

/// The parts of all workers at each cut, and how many keys have a value in the end.
struct Cuts<V> {
    parts: BTreeMap<Tick, Vec<(Key, Option<V>)>>,
    keys: usize,
}

/// Feeds `input`, dealt to the workers by `seed`, and cuts at `uppers` on all of them. Each worker
/// may have been given changes far above the cut by then.
fn cuts<D, S, V>(
    workers: usize,
    seed: u64,
    input: &Updates<D>,
    uppers: &BTreeSet<Tick>,
    build: &Arc<Build<D, S>>,
) -> Cuts<V>
where
    D: ExchangeData + Sync,
    S: Seal<Change = (Key, Option<V>)> + 'static,
    V: Send + 'static,
{
    let (input, uppers, build) = (input.clone(), uppers.clone(), Arc::clone(build));
    let guards = timely::execute(Config::process(workers), move |worker| {
        let index = worker.index();
        let (mut session, seal, probe) = worker.dataflow::<Tick, _, _>(|scope| {
            let (session, data) = scope.new_collection();
            let sealing = build(data);
            (session, sealing.seal, sealing.passed.probe().0)
        });
        let mut mine: Updates<D> = Vec::new();
        for (at, update) in input.iter().enumerate() {
            if Dice::new((seed, at)).below(workers as u64) as usize == index {
                mine.insert(Dice::new((seed, at, index)).below(mine.len() as u64 + 1) as usize, update.clone());
            }
        }
        let mut dice = Dice::new((seed, index));
        let mut parts = BTreeMap::new();
        for upper in uppers.iter().copied() {
            let ahead = upper.max(*session.time()) + dice.below(2) * dice.below(30);
            for (data, tick, diff) in mine.extract_if(.., |(_, tick, _)| *tick < ahead) {
                session.update_at(data, tick, diff);
            }
            session.advance_to(ahead);
            session.flush();
            while probe.less_than(&upper) {
                worker.step_or_park(Some(std::time::Duration::from_millis(1)));
            }
            parts.insert(upper, seal.borrow_mut().cut(upper));
        }
        let keys = seal.borrow().len();
        assert_eq!(seal.borrow().is_empty(), keys == 0);
        (parts, keys)
    });
    let mut all = Cuts { parts: BTreeMap::new(), keys: 0 };
    for result in guards.expect("timely starts").join() {
        let (parts, keys) = result.expect("a worker failed");
        all.keys += keys;
        parts.into_iter().for_each(|(upper, part)| all.parts.entry(upper).or_default().extend(part));
    }
    all
}

/// Asserts that each cut tells exactly the keys whose value differs from the cut before.
fn check<V: Clone + PartialEq + std::fmt::Debug>(cuts: Cuts<V>, at: impl Fn(Tick) -> BTreeMap<Key, V>) {
    let mut before = BTreeMap::new();
    for (upper, part) in cuts.parts {
        let now = upper.checked_sub(1).map(&at).unwrap_or_default();
        let keys: BTreeSet<Key> = before.keys().chain(now.keys()).copied().collect();
        let expected: BTreeMap<Key, Option<V>> = keys
            .into_iter()
            .filter(|key| before.get(key) != now.get(key))
            .map(|key| (key, now.get(&key).cloned()))
            .collect();
        let count = part.len();
        assert_eq!(part.into_iter().collect::<BTreeMap<_, _>>(), expected, "cut at {upper}");
        assert_eq!(count, expected.len(), "each key at most once in the cut at {upper}");
        before = now;
    }
    assert_eq!(cuts.keys, before.len());
}

fn by_sum() -> Arc<Build<Key, Sums<Key, isize>>> {
    Arc::new(|input| seal_sums(input, "Sums", |key| *key))
}

fn by_value() -> Arc<Build<(Key, i64), Values<Key, i64>>> {
    Arc::new(|input| seal_values(input, "Values", |key| *key))
}

fn by_difference() -> Arc<Build<(Key, i64), Differences<Key, i64>>> {
    Arc::new(|input| seal_differences(input, "Differences", |key| *key))
}

/// The upserts of each cut of values, in order of key: the same on any number of workers, whether values are
/// kept or not.
fn values_cut(input: &Updates<(Key, i64)>, uppers: &[Tick]) -> Vec<Upserts<Key, i64>> {
    let uppers = uppers.iter().copied().collect();
    let on_each = WORKERS.into_iter().flat_map(|workers| {
        let (kept, not_kept) = (
            cuts(workers, 2, input, &uppers, &by_value()).parts,
            cuts(workers, 2, input, &uppers, &by_difference()).parts,
        );
        [kept, not_kept].map(|parts| {
            let in_order = parts.into_values().map(|mut part| {
                part.sort();
                part
            });
            in_order.collect::<Vec<_>>()
        })
    });
    on_each
        .reduce(|one, other| {
            assert_eq!(one, other);
            other
        })
        .expect("a worker count")
}

/// The upserts of each cut, in order of key, the same on any number of workers.
fn sums_cut(input: &Updates<Key>, uppers: &[Tick]) -> Vec<Upserts<Key, isize>> {
    let uppers = uppers.iter().copied().collect();
    let on_each = WORKERS.into_iter().map(|workers| {
        let parts = cuts(workers, 1, input, &uppers, &by_sum()).parts;
        let in_order = parts.into_values().map(|mut part| {
            part.sort();
            part
        });
        in_order.collect::<Vec<_>>()
    });
    on_each
        .reduce(|one, other| {
            assert_eq!(one, other);
            other
        })
        .expect("a worker count")
}

#[test]
fn a_cut_tells_each_changed_key_once_with_its_value_below_the_upper() {
    let input = vec![(1, 3, 2), (1, 5, 2), (2, 5, 7), (1, 9, 1), (2, 10, 1)];
    assert_eq!(sums_cut(&input, &[4, 10]), [vec![(1, Some(2))], vec![(1, Some(5)), (2, Some(7))]]);
}

#[test]
fn the_upper_itself_is_not_part_of_the_cut() {
    assert_eq!(sums_cut(&vec![(1, 4, 2)], &[4, 5]), [vec![], vec![(1, Some(2))]]);
}

#[test]
fn a_sum_that_returns_to_zero_is_told_as_none() {
    assert_eq!(sums_cut(&vec![(1, 3, 2), (1, 5, -2)], &[4, 6]), [[(1, Some(2))], [(1, None)]]);
}

#[test]
fn a_sum_that_returns_to_what_it_was_at_the_cut_before_is_not_told() {
    let input = vec![(1, 3, 2), (1, 5, 4), (1, 6, -4), (2, 5, 1), (2, 6, -1)];
    assert_eq!(sums_cut(&input, &[4, 7]), [vec![(1, Some(2))], vec![]]);
}

#[test]
fn a_negative_sum_is_a_value() {
    assert_eq!(sums_cut(&vec![(1, 3, -2)], &[4]), [[(1, Some(-2))]]);
}

#[test]
fn a_value_that_is_replaced_several_times_between_cuts_is_told_once() {
    let input = vec![
        ((1, 10), 1, 1),
        ((1, 10), 2, -1),
        ((1, 20), 2, 1),
        ((1, 20), 3, -1),
        ((1, 30), 3, 1), // A third value.
        ((2, 10), 1, 1),
        ((2, 10), 3, -1),
        ((2, 11), 3, 1),
        ((2, 11), 4, -1),
        ((2, 10), 4, 1), // Back to the first.
        ((3, 10), 1, 1),
        ((3, 10), 4, -1), // Gone.
    ];
    let expected = [vec![(1, Some(10)), (2, Some(10)), (3, Some(10))], vec![(1, Some(30)), (3, None)]];
    assert_eq!(values_cut(&input, &[2, 5]), expected);
}

#[test]
fn a_key_that_comes_and_goes_between_cuts_is_not_told() {
    let input = vec![((1, 10), 2, 1), ((1, 10), 3, -1), ((1, 20), 3, 1), ((1, 20), 4, -1), ((2, 10), 4, 1)];
    assert_eq!(values_cut(&input, &[2, 5]), [vec![], vec![(2, Some(10))]]);
}

#[test]
fn a_key_that_goes_and_comes_between_cuts_is_told_where_its_value_is_another() {
    let goes = vec![((1, 10), 1, 1), ((2, 10), 1, 1), ((1, 10), 2, -1), ((2, 10), 2, -1)];
    let comes = vec![((1, 10), 4, 1), ((2, 20), 4, 1)];
    let input = [goes, comes].concat();
    assert_eq!(values_cut(&input, &[2, 5]), [vec![(1, Some(10)), (2, Some(10))], vec![(2, Some(20))]]);
    let expected = [vec![(1, Some(10)), (2, Some(10))], vec![(1, None), (2, None)], vec![(1, Some(10)), (2, Some(20))]];
    assert_eq!(values_cut(&input, &[2, 3, 5]), expected);
}

#[test]
#[should_panic(expected = "a worker failed")]
fn two_values_of_a_key_at_a_tick_are_refused() {
    cuts::<_, _, i64>(1, 0, &vec![((1, 10), 1, 1), ((1, 20), 1, 1)], &[2].into(), &by_value());
}

#[test]
#[should_panic(expected = "a worker failed")]
fn two_values_of_a_key_at_a_tick_are_refused_without_keeping_any() {
    cuts::<_, _, i64>(1, 0, &vec![((1, 10), 1, 1), ((1, 20), 1, 1)], &[2].into(), &by_difference());
}

#[test]
#[should_panic(expected = "a worker failed")]
fn a_value_that_was_never_given_is_not_taken_back() {
    cuts::<_, _, i64>(1, 0, &vec![((1, 10), 1, -1)], &[2].into(), &by_difference());
}

/// Some ticks to cut at, the last of which is above everything.
fn uppers() -> impl Strategy<Value = BTreeSet<Tick>> {
    prop::collection::btree_set(0u64..100, 0..12).prop_map(|mut uppers| {
        uppers.insert(101);
        uppers
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cuts_of_sums_add_up(
        input in prop::collection::vec((0u64..8, 0u64..100, -2isize..3), 0..80),
        uppers in uppers(),
        seed: u64,
    ) {
        let input: Updates<Key> = input;
        for workers in WORKERS {
            let found = cuts(workers, seed, &input, &uppers, &by_sum());
            check(found, |tick| at_ticks(&input, &[tick].into()).remove(&tick).expect("asked for"));
        }
    }

    #[test]
    fn cuts_of_values_follow_the_values(
        sets in prop::collection::vec((0u64..8, 0u64..100, prop::option::of(0i64..4)), 0..80),
        uppers in uppers(),
        seed: u64,
    ) {
        let mut sets = sets;
        sets.sort_by_key(|(_, tick, _)| *tick);
        let (mut input, mut values) = (Updates::new(), BTreeMap::new());
        for (key, tick, value) in sets {
            let before: Option<i64> = values.insert(key, value).flatten();
            input.extend(before.map(|before| ((key, before), tick, -1)));
            input.extend(value.map(|value| ((key, value), tick, 1)));
        }
        for workers in WORKERS {
            let at = |tick| {
                let mut now: Snapshot<(Key, i64)> = Snapshot::new();
                input.iter().filter(|(_, at, _)| *at <= tick).for_each(|(pair, _, diff)| add(&mut now, pair, diff));
                now.into_keys().collect()
            };
            check(cuts(workers, seed, &input, &uppers, &by_value()), at);
            check(cuts(workers, seed, &input, &uppers, &by_difference()), at);
        }
    }
}
