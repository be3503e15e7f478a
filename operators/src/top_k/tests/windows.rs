//! Lists by what happened within windows, against windows that stand before the lists as an operator of
//! their own, which has tests against their definition.

use std::{collections::BTreeSet, sync::Arc};

use proptest::prelude::*;

use super::{super::*, Built, Change, History, LANES, Lists, history};
use crate::{
    Tick,
    expire::{Expire, Phase, Windows},
    shell::Core,
    testing::{Dice, RoundTrip, Updates, WORKERS, assert_same, at_ticks},
};

/// A history in which scores are what happened within windows.
#[derive(Clone, Debug)]
struct Windowed {
    history: History,
    windows: Windows,
}

impl Windowed {
    fn options(&self) -> TopKOptions<u32, u8, u8, i64> {
        TopKOptions { windows: Some(self.windows.clone()), ..self.history.lists.options() }
    }

    fn operator(&self) -> Built {
        let windowed = self.clone();
        Arc::new(move |input, wiring| {
            let feed = Inflow::of(input, |change: &Change, diff| (change.clone(), Lanes::one(0, *diff)));
            by_axis_and_lane(feed.top_k(windowed.options(), wiring))
        })
    }

    fn windows_first(&self) -> Built {
        let Windowed { history, windows } = self.clone();
        Arc::new(move |input, wiring| {
            let happened = input.clone().flat_map(|change| match change {
                Feed::Happened(cell, at) => Some((cell, at)),
                _ => None,
            });
            let others = input.filter(|change| !matches!(change, Feed::Happened(..)));
            let first = Wiring::fresh("Expire", others.scope()).in_steps(&wiring.steps);
            let sums = happened.expire(windows.clone(), first, |(member, _)| *member);
            let feed = Inflow::of(sums, |cell, sums: &Lanes<i64>| (Feed::Score(*cell), sums.clone()))
                .and(Inflow::of(others, |change: &Change, diff| (change.clone(), Lanes::one(0, *diff))));
            by_axis_and_lane(feed.top_k(history.lists.options(), wiring))
        })
    }

    /// Some ticks from `from` on, among them those at which something arrives.
    fn ticks(&self, from: Tick, seed: u64) -> BTreeSet<Tick> {
        let mut dice = Dice::new(seed);
        let span = self.history.last + 1 - from;
        let mut ticks = self.history.ticks();
        ticks.extend((0..64).map(|_| from + dice.below(span)));
        ticks.retain(|tick| *tick >= from);
        ticks
    }
}

fn by_axis_and_lane<'s>(
    lists: Collection<'s, ((u8, u8, u8), Ranking<u32, i64>)>,
) -> Collection<'s, ((u8, u8), Ranking<u32, i64>)> {
    lists.map(|((axis, place, lane), list)| ((axis | lane << 1, place), list))
}

/// Windows of one and of several levels, some of which do not nest.
fn windows() -> impl Strategy<Value = Windows> {
    let lengths = prop_oneof![Just([3, 12, 48]), Just([48, 6, 12]), Just([9, 15, 60]), Just([30, 30, 90])];
    (lengths, prop_oneof![Just(2u64), Just(5), Just(100)], any::<bool>()).prop_map(|(lengths, max_buckets, spread)| {
        Windows::new(&lengths, 3, max_buckets, if spread { Phase::Spread } else { Phase::Aligned })
    })
}

/// Scores of the histories of before are what happened, early, late or far too late, and is sometimes
/// taken back.
fn windowed() -> impl Strategy<Value = Windowed> {
    (history(), windows(), any::<u64>()).prop_map(|(history, windows, seed)| {
        let mut dice = Dice::new(seed);
        let mut input = Updates::new();
        for (change, tick, diff) in history.input {
            let Feed::Score((member, axis)) = change else {
                input.push((change, tick, diff));
                continue;
            };
            let oldest = if dice.below(4) == 0 { 90 } else { 12 };
            let at = (tick + 4).saturating_sub(dice.below(oldest));
            let happened = Feed::Happened((member, axis % 2), at);
            if dice.below(6) == 0 {
                input.push((happened.clone(), tick + dice.below(40), -diff));
            }
            input.push((happened, tick, diff));
        }
        let last = history.last + dice.below(120);
        input.retain(|(_, tick, _)| *tick <= last);
        Windowed { history: History { input, last, ..history }, windows }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_lists_are_those_of_windows_before_them(windowed in windowed(), seed: u64) {
        assert_eq!(windowed.windows.len(), LANES);
        let ticks = windowed.ticks(windowed.history.input.first().map_or(0, |(_, tick, _)| *tick), seed);
        let drive = |workers| windowed.history.drive(workers, seed);
        for workers in WORKERS {
            let expected = drive(workers).run(&windowed.windows_first()).out;
            let out = drive(workers).run(&windowed.operator()).out;
            assert_same(&at_ticks(&out, &ticks), &at_ticks(&expected, &ticks), workers);
            let ends = drive(workers).in_steps().ends();
            let out = drive(workers).in_steps().run(&windowed.operator()).out;
            assert_same(&at_ticks(&out, &ends), &at_ticks(&expected, &ends), ("in steps", workers));
        }
    }

    #[test]
    fn a_run_from_rows_equals_the_uninterrupted_run(
        windowed in windowed(),
        share in 0u64..=1_000,
        slice_rows in 1usize..3,
        seed: u64,
    ) {
        let first = windowed.history.input.iter().map(|(_, tick, _)| *tick).min().unwrap_or(0);
        let at = first + (windowed.history.last - first) * share / 1_000;
        let ticks = windowed.ticks(at, seed);
        for workers in [(1, 1), (2, 2), (4, 4), (1, 4), (4, 2), (2, 1)] {
            let trip = RoundTrip { at, slice_rows, workers };
            let (whole, resumed) = trip.run(windowed.history.drive(1, seed), &windowed.operator());
            assert_same(&at_ticks(&resumed, &ticks), &at_ticks(&whole, &ticks), trip);
        }
    }

    /// When everything has left every window, only places and gates are kept.
    #[test]
    fn what_no_window_holds_takes_no_room(windowed in windowed()) {
        let mut core = StageOne::new(windowed.options(), true);
        let mut out = Vec::new();
        let mut input = windowed.history.input.clone();
        input.sort_by_key(|(_, tick, _)| *tick);
        for (change, tick, diff) in input {
            core.advance(tick, &mut out);
            core.absorb(change, tick, Lanes::one(0, diff), &mut out);
            core.settle(tick, &mut out);
        }
        let end = windowed.history.last + 10 + windowed.windows.horizon_us();
        core.advance(end, &mut out);
        core.settle(end, &mut out);
        let (cells, _, groups) = core.held();
        prop_assert_eq!((core.rows(), core.due(), cells, groups), (0, None, 0, 0));
        prop_assert!(at_ticks(&out, &[Tick::MAX].into()).into_values().all(|lists| lists.is_empty()));
    }
}

/// What has left the last window is forgotten, another takes its slot, and the first comes back late.
#[test]
fn a_slot_that_was_forgotten_is_another_members() {
    let windows = Windows::new(&[3, 12, 48], 3, 2, Phase::Aligned);
    let options = TopKOptions { windows: Some(windows), ..Lists::of(2).options() };
    let (mut core, mut out) = (StageOne::new(options, true), Vec::new());
    for (member, at, tick, score) in [(1, 0, 0, 5), (2, 999, 1_000, 7), (1, 995, 1_001, 3)] {
        core.advance(tick, &mut out);
        core.absorb(Feed::Happened((member, 0), at), tick, Lanes::one(0, score), &mut out);
        core.settle(tick, &mut out);
    }
    let told = at_ticks(&out, &[1_000, 1_001].into());
    let lists = |tick: Tick| -> Vec<(u8, Vec<(u32, i64)>)> {
        let of = |((_, _, lane), list): &((u8, u8, u8), Ranking<u32, i64>)| {
            (*lane, list.iter().map(|(member, score, _)| (*member, *score)).collect())
        };
        told[&tick].keys().map(of).collect()
    };
    assert_eq!(lists(1_000), [(0, vec![(2, 7)]), (1, vec![(2, 7)]), (2, vec![(2, 7)])]);
    assert_eq!(lists(1_001), [(0, vec![(2, 7)]), (1, vec![(2, 7), (1, 3)]), (2, vec![(2, 7), (1, 3)])]);
}

/// An update, and a row of an export, are about the worker's own members, whatever is told of them.
#[test]
fn whatever_is_told_is_about_its_member() {
    let row = BucketRow { end: 3, level: 0, sum: 2 };
    let feeds: [Change; 4] =
        [Feed::Score((7, 0)), Feed::Happened((7, 1), 5), Feed::Place(7, 2), Feed::Gate(7, Some(1))];
    assert!(feeds.iter().all(|feed| *feed.member() == 7));
    let rows = feeds.into_iter().map(|feed| TopKRow::Held(feed, Lanes::one(0, 1)));
    assert!(rows.chain([TopKRow::Happened((7, 1), row)]).all(|row| *row.member() == 7));
}
