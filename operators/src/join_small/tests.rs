//! Joins with a few against differential's own join, at every tick.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::testing::{Build, Drive, RoundTrip, Snapshot, Updates, WORKERS, assert_same, at_ticks};

/// A datum, or what stands beside a key.
type In = Result<(u8, u8), (u8, u8)>;
type Met = (u8, u8, u8);
type Row = JoinRow<u8, u8, u8, isize>;

fn split<'s>(input: Collection<'s, In>) -> (Collection<'s, (u8, u8)>, Collection<'s, (u8, u8)>) {
    (input.clone().flat_map(|either| either.ok()), input.flat_map(|either| either.err()))
}

/// What is beside a key counts only where it is no more than the datum.
fn meet(key: u8, data: u8, beside: u8) -> Option<Met> {
    (beside <= data).then_some((key, data, beside))
}

fn ours() -> Arc<Build<In, isize, Row, Met, isize>> {
    Arc::new(|input, wiring| {
        let (data, beside) = split(input);
        join_small(data, beside, wiring, |_| Tick::MAX, |key, data, beside| meet(*key, *data, *beside))
    })
}

/// When data are let go in some tests; those of 3 never are.
fn until(data: u8) -> Tick {
    if data == 3 { Tick::MAX } else { 30 + 20 * Tick::from(data) }
}

fn ours_until() -> Arc<Build<In, isize, Row, Met, isize>> {
    Arc::new(|input, wiring| {
        let (data, beside) = split(input);
        join_small(data, beside, wiring, |data| until(*data), |key, data, beside| meet(*key, *data, *beside))
    })
}

/// What is joined at `tick` where what was let go stays as it was at the end.
fn kept(input: &Updates<In>, tick: Tick) -> Snapshot<Met> {
    let mut met = Snapshot::new();
    for data in 0..4 {
        let tick = tick.min(until(data) - 1);
        let state = at_ticks(input, &[tick].into()).remove(&tick).expect("asked for");
        let with = |side: &In| if let Ok((key, held)) = side { (*held == data).then_some(*key) } else { None };
        for (key, count) in state.iter().filter_map(|(side, count)| Some((with(side)?, count))) {
            for (side, times) in &state {
                if let Err((other, beside)) = side
                    && *other == key
                {
                    met.extend(meet(key, data, *beside).map(|met| (met, count * times)));
                }
            }
        }
    }
    met
}

fn differentials() -> Arc<Build<In, isize, Row, Met, isize>> {
    Arc::new(|input, _| {
        let (data, beside) = split(input);
        data.join_map(beside, |key, data, beside| meet(*key, *data, *beside)).flat_map(|met| met)
    })
}

fn history() -> impl Strategy<Value = (Updates<In>, Tick)> {
    let side = (0u8..3, 0u8..4, any::<bool>());
    let update = (side, 0u64..60, 1isize..3, prop::option::of(0u64..40));
    prop::collection::vec(update, 1..40).prop_map(|updates| {
        let mut input = Updates::new();
        for ((key, value, is_data), tick, count, retracted) in updates {
            let side = if is_data { Ok((key, value)) } else { Err((key, value)) };
            input.push((side, tick, count));
            input.extend(retracted.map(|later| (side, tick + later, -count)));
        }
        (input, 110)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn it_says_what_differential_says((input, last) in history(), seed in any::<u64>(), workers in 0usize..3) {
        let workers = WORKERS[workers];
        let ticks = (0..=last).collect();
        let expected = Drive::new(1, seed, &input, last).and_goes_on().run(&differentials()).out;
        let found = Drive::new(workers, seed, &input, last).run(&ours()).out;
        assert_same(&at_ticks(&found, &ticks), &at_ticks(&expected, &ticks), workers);
    }

    #[test]
    fn what_is_let_go_stays_joined_as_it_was((input, last) in history(), seed in any::<u64>(), workers in 0usize..3) {
        let ticks: std::collections::BTreeSet<Tick> = (0..=last).collect();
        let expected = ticks.iter().map(|tick| (*tick, kept(&input, *tick))).collect();
        let found = Drive::new(WORKERS[workers], seed, &input, last).run(&ours_until()).out;
        assert_same(&at_ticks(&found, &ticks), &expected, workers);
    }

    #[test]
    fn a_start_from_an_export_goes_on_the_same(
        (input, last) in history(), seed in any::<u64>(), at in 0u64..100, slice_rows in 1usize..4, workers in (0usize..3, 0usize..3),
    ) {
        let trip = RoundTrip { at, slice_rows, workers: (WORKERS[workers.0], WORKERS[workers.1]) };
        let (whole, resumed) = trip.run(Drive::new(1, seed, &input, last), &ours());
        let ticks = (at..=last).collect();
        assert_same(&at_ticks(&resumed, &ticks), &at_ticks(&whole, &ticks), trip);
    }
}

#[test]
fn a_key_without_anything_is_forgotten() {
    let mut core = JoinCore::<u8, u8, u8, isize, Met>::new(
        Box::new(|data| until(*data)),
        Box::new(|key, data, beside| meet(*key, *data, *beside)),
    );
    let mut out = Vec::new();
    for (feed, much) in [
        (Feed::Data(1, 0), Much::Data(1)),
        (Feed::Data(1, 5), Much::Data(2)),
        (Feed::Beside(1, 3), Much::Beside(1)),
        (Feed::Beside(1, 9), Much::Beside(1)),
        (Feed::Beside(1, 3), Much::Beside(-1)),
        (Feed::Beside(1, 9), Much::Beside(-1)),
        (Feed::Data(1, 5), Much::Data(-2)),
    ] {
        core.absorb(feed, 7, much, &mut out);
    }
    assert_eq!(out, [((1, 5, 3), 7, 2), ((1, 5, 3), 7, -2)]);
    assert_eq!((core.keys.len(), core.dues.len()), (1, 1));
    core.advance(until(0), &mut out);
    assert_eq!((core.keys.len(), core.dues.len(), out.len()), (0, 0, 2));
}
