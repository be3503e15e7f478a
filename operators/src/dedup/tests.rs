//! Deduplication against a plain look at the whole history.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;

use super::*;
use crate::{
    shell::EXPORT_SLICE_ROWS,
    testing::{Build, Dice, Drive, RoundTrip, Updates, WORKERS},
};

/// Id, content, place in the log.
type Arrival = (u64, u64, u64);
type Row = (u128, Known);

const NEVER_FULL: usize = 1_000_000;

fn dedup(limits: DedupLimits) -> Arc<Build<Arrival, isize, Row, (Arrival, Verdict), isize>> {
    Arc::new(move |input, wiring| {
        input.dedup(limits, wiring, |(id, content, place)| Identity {
            id: u128::from(*id),
            content: *content,
            place: *place,
        })
    })
}

fn drive(workers: usize, seed: u64, input: &Updates<Arrival>) -> Drive<Arrival, isize, Row> {
    let last = input.iter().map(|(_, tick, _)| *tick).max().unwrap_or(0);
    Drive::new(workers, seed, input, last)
}

fn limits(horizon_us: u64) -> DedupLimits {
    DedupLimits { horizon_us, max_ids: NEVER_FULL }
}

/// The verdicts in the order of the log, on 1, 2 and 4 workers.
fn verdicts(horizon_us: u64, arrivals: &[(u64, u64, Tick)]) -> Vec<Verdict> {
    let place = |(place, (id, content, tick)): (usize, &(u64, u64, Tick))| ((*id, *content, place as u64), *tick, 1);
    let input: Updates<Arrival> = arrivals.iter().enumerate().map(place).collect();
    let on_each = WORKERS.into_iter().map(|workers| {
        let mut out = drive(workers, 5, &input).run(&dedup(limits(horizon_us))).out;
        out.sort_by_key(|(((_, _, place), _), _, _)| *place);
        out.into_iter().map(|((_, verdict), _, _)| verdict).collect::<Vec<_>>()
    });
    on_each
        .reduce(|one, other| {
            assert_eq!(one, other);
            other
        })
        .expect("a worker count")
}

#[test]
fn the_first_is_new_the_same_again_a_duplicate_and_other_content_a_conflict() {
    let arrivals = [(7, 1, 10), (8, 1, 10), (7, 1, 11), (7, 2, 12), (7, 1, 13)];
    use Verdict::{Conflict, Duplicate, New};
    assert_eq!(verdicts(1_000, &arrivals), [New, New, Duplicate, Conflict, Duplicate]);
}

#[test]
fn within_a_tick_the_first_in_the_log_stays() {
    use Verdict::{Conflict, Duplicate, New};
    assert_eq!(verdicts(1_000, &[(7, 1, 10), (7, 2, 10), (7, 1, 10)]), [New, Conflict, Duplicate]);
    assert_eq!(verdicts(1_000, &[(7, 2, 10), (7, 1, 10), (7, 1, 10)]), [New, Conflict, Conflict]);
}

#[test]
fn one_update_of_two_arrivals_is_a_new_one_and_a_duplicate() {
    for workers in WORKERS {
        let mut out = drive(workers, 0, &vec![((7, 1, 0), 3, 2)]).run(&dedup(limits(100))).out;
        out.sort();
        assert_eq!(out, [(((7, 1, 0), Verdict::New), 3, 1), (((7, 1, 0), Verdict::Duplicate), 3, 1)]);
    }
}

#[test]
fn an_id_is_known_for_the_horizon_and_at_most_one_slot_longer() {
    // Slots of 10: what arrives at 13 is forgotten a horizon after 20.
    let horizon_us = 10 * SLOTS;
    for (again, verdict) in [(13, Verdict::Duplicate), (19, Verdict::Duplicate), (20, Verdict::New)] {
        let arrivals = [(7, 1, 13), (7, 1, again + horizon_us)];
        assert_eq!(verdicts(horizon_us, &arrivals), [Verdict::New, verdict]);
    }
}

#[test]
fn a_duplicate_does_not_make_an_id_known_for_longer() {
    assert_eq!(
        verdicts(160, &[(7, 1, 13), (7, 1, 170), (7, 2, 190)]),
        [Verdict::New, Verdict::Duplicate, Verdict::New]
    );
}

#[test]
#[should_panic(expected = "a worker failed")]
fn a_retraction_is_refused() {
    drive(1, 0, &vec![((7, 1, 0), 3, -1)]).run(&dedup(limits(100)));
}

#[test]
fn when_full_the_oldest_are_forgotten_and_the_horizon_says_so() {
    let mut core = DedupCore::new(DedupLimits { horizon_us: 10 * SLOTS, max_ids: 4 });
    for (id, tick) in [(1, 100), (2, 105), (3, 112), (4, 125)] {
        assert_eq!(core.offer(id, 0, tick), Verdict::New);
    }
    assert_eq!((core.len(), core.effective_horizon_us()), (4, 125));
    // What came at 100 makes room.
    assert_eq!(core.offer(5, 0, 130), Verdict::New);
    assert_eq!((core.len(), core.effective_horizon_us()), (4, 29));
    assert_eq!(core.offer(3, 0, 131), Verdict::Duplicate);
    assert_eq!(core.offer(1, 0, 132), Verdict::New);
    // A full horizon later the limit has not been felt for as long.
    core.forget(132 + 20 * SLOTS);
    assert!(core.is_empty());
    assert_eq!(core.effective_horizon_us(), 10 * SLOTS);
}

/// Many ids within one slot of the horizon do not go all at once when there is no more room.
#[test]
fn a_slot_that_takes_all_room_loses_its_oldest_part() {
    let max_ids = 3 * SLOTS as usize;
    let mut core = DedupCore::new(DedupLimits { horizon_us: 1_000_000 * SLOTS, max_ids });
    for id in 0..max_ids as u128 {
        assert_eq!(core.offer(id, 0, 1_000_000 + id as u64), Verdict::New);
    }
    assert_eq!(core.offer(u128::MAX, 0, 1_000_000 + max_ids as u64), Verdict::New);
    assert_eq!((core.len(), core.effective_horizon_us()), (max_ids - 2, max_ids as u64 - 3));
    assert_eq!(core.offer(3, 0, 1_000_001 + max_ids as u64), Verdict::Duplicate);
    assert_eq!(core.offer(2, 0, 1_000_002 + max_ids as u64), Verdict::New);
    core.take_back(4);
    assert_eq!(core.offer(4, 0, 1_000_003 + max_ids as u64), Verdict::New);
}

#[test]
fn what_is_judged_is_not_remembered_until_it_is_admitted() {
    let mut core = DedupCore::new(DedupLimits { horizon_us: 64, max_ids: 100 });
    assert_eq!(core.judge(1, 7, 10), Verdict::New);
    assert_eq!(core.judge(1, 7, 10), Verdict::New);
    assert_eq!(core.len(), 0);
    core.admit(1, 7, 20);
    assert_eq!((core.judge(1, 7, 84), core.judge(1, 8, 84)), (Verdict::Duplicate, Verdict::Conflict));
    // Known for a horizon from the tick at which it was admitted.
    assert_eq!(core.judge(1, 7, 85), Verdict::New);
}

#[test]
fn what_was_taken_back_makes_no_room_twice() {
    let mut core = DedupCore::new(DedupLimits { horizon_us: 10 * SLOTS, max_ids: 2 });
    for (id, tick) in [(1, 100), (2, 110)] {
        assert_eq!(core.offer(id, 0, tick), Verdict::New);
    }
    core.take_back(1);
    for (id, tick) in [(3, 120), (4, 130), (5, 140)] {
        assert_eq!(core.offer(id, 0, tick), Verdict::New);
        assert_eq!(core.len(), 2);
    }
    assert_eq!(core.offer(4, 0, 150), Verdict::Duplicate);
}

proptest! {
    /// The bound holds whatever comes, and what is still within the horizon that is told is known.
    #[test]
    fn never_more_ids_than_allowed(
        max_ids in 1usize..20,
        horizon_us in 1u64..200,
        arrivals in prop::collection::vec((0u128..40, 0u64..20), 1..200),
    ) {
        let mut core = DedupCore::new(DedupLimits { horizon_us, max_ids });
        let mut newest = BTreeMap::new();
        let mut tick = 1_000;
        for (id, later) in arrivals {
            tick += later;
            core.forget(tick);
            let known = newest.get(&id).is_some_and(|arrived| tick - arrived < core.effective_horizon_us());
            let verdict = core.offer(id, 0, tick);
            prop_assert!(!known || verdict == Verdict::Duplicate);
            if verdict == Verdict::New {
                newest.insert(id, tick);
            }
            prop_assert!(core.len() <= max_ids);
        }
    }
}

/// Arrivals of few ids, so that there are duplicates, conflicts and forgotten ids.
fn history() -> impl Strategy<Value = (u64, Updates<Arrival>)> {
    let arrival = (0u64..8, 0u64..2, 0u64..12);
    let base = prop_oneof![Just(0u64), Just(1_000_003)];
    (1u64..120, base, prop::collection::vec(arrival, 1..80)).prop_map(|(horizon_us, base, arrivals)| {
        let mut tick = base;
        let mut input = Updates::new();
        for (place, (id, content, later)) in arrivals.into_iter().enumerate() {
            // Half of the arrivals share the tick of the one before.
            tick += later.saturating_sub(5);
            input.push(((id, content, place as u64), tick, 1));
        }
        (horizon_us, input)
    })
}

/// Each arrival's verdict, from the arrivals before it.
fn plainly(horizon_us: u64, input: &Updates<Arrival>) -> BTreeSet<((Arrival, Verdict), Tick)> {
    let slot_us = (horizon_us / SLOTS).max(1);
    let mut first: BTreeMap<u64, (u64, Tick)> = BTreeMap::new();
    let mut verdicts = BTreeSet::new();
    for (arrival, tick, _) in input {
        let (id, content, _) = *arrival;
        let forgotten = |arrived: Tick| arrived - arrived % slot_us + slot_us + horizon_us;
        let known = first.get(&id).filter(|(_, arrived)| *tick < forgotten(*arrived)).copied();
        let verdict = match known {
            None => Verdict::New,
            Some((other, _)) if other == content => Verdict::Duplicate,
            Some(_) => Verdict::Conflict,
        };
        if verdict == Verdict::New {
            first.insert(id, (content, *tick));
        }
        verdicts.insert(((*arrival, verdict), *tick));
    }
    verdicts
}

fn as_set(out: Updates<(Arrival, Verdict)>) -> BTreeSet<((Arrival, Verdict), Tick)> {
    let count = out.len();
    let set: BTreeSet<_> = out
        .into_iter()
        .map(|(judged, tick, diff)| {
            assert_eq!(diff, 1);
            (judged, tick)
        })
        .collect();
    assert_eq!(set.len(), count, "one verdict each");
    set
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_verdicts_are_those_of_the_whole_history((horizon_us, input) in history(), seed: u64) {
        for workers in WORKERS {
            let out = drive(workers, seed, &input).run(&dedup(limits(horizon_us))).out;
            prop_assert_eq!(as_set(out), plainly(horizon_us, &input), "{} workers", workers);
        }
    }

    #[test]
    fn a_run_from_rows_gives_the_same_verdicts(
        (horizon_us, input) in history(),
        share in 0u64..=1_000,
        slice_rows in 1usize..3,
        seed: u64,
    ) {
        let (first, last) = (input[0].1, input[input.len() - 1].1);
        let at = first + (last - first) * share / 1_000;
        for workers in [(1, 1), (2, 2), (4, 4), (1, 4), (4, 2), (2, 1)] {
            check(drive(1, seed, &input), RoundTrip { at, slice_rows, workers }, horizon_us);
        }
    }
}

fn check(whole: Drive<Arrival, isize, Row>, trip: RoundTrip, horizon_us: u64) {
    let (whole, resumed) = trip.run(whole, &dedup(limits(horizon_us)));
    let mut expected = as_set(whole);
    expected.retain(|(_, tick)| *tick > trip.at);
    assert_eq!(as_set(resumed), expected, "{trip:?}");
}

/// So many ids that every worker writes its rows in several slices, while later ticks forget ids
/// that are not yet written and use their slots again.
#[test]
fn an_export_in_many_slices_is_of_one_tick() {
    let mut dice = Dice::new("many slices");
    let mut input: Updates<Arrival> = Vec::new();
    for place in 0..20 * EXPORT_SLICE_ROWS as u64 {
        input.push(((dice.below(8 * EXPORT_SLICE_ROWS as u64), dice.below(2), place), place / 10, 1));
    }
    for workers in WORKERS {
        let trip = RoundTrip { at: 300, slice_rows: EXPORT_SLICE_ROWS, workers: (workers, 5 - workers.min(3)) };
        check(drive(1, workers as u64, &input), trip, 100);
    }
}
