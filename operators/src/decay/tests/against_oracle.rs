//! Random histories against the definition.

use proptest::prelude::*;

use super::{super::*, History, decay, history};
use crate::{
    shell::Core,
    testing::{Dice, WORKERS, assert_same, at_ticks},
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// At every tick the output accumulates to the ranks of what counts by definition.
    #[test]
    fn the_ranks_are_those_of_the_definition(history in history(), seed: u64) {
        let ticks = history.ticks();
        let expected = ticks.iter().map(|tick| (*tick, history.ranks_at(*tick))).collect();
        for workers in WORKERS {
            let out = history.drive(workers, seed).run(&decay(&history.half_lives)).out;
            assert_same(&at_ticks(&out, &ticks), &expected, workers);
        }
    }

    /// Where steps are announced, the output accumulates to the same at the end of each.
    #[test]
    fn the_ranks_are_those_of_the_definition_at_the_ends_of_steps(history in history(), seed: u64) {
        for workers in WORKERS {
            let drive = history.drive(workers, seed).in_steps();
            let ends = drive.ends();
            let expected = ends.iter().map(|tick| (*tick, history.ranks_at(*tick))).collect();
            let out = drive.run(&decay(&history.half_lives)).out;
            prop_assert!(out.iter().all(|(_, tick, _)| ends.contains(tick)), "nothing comes out in between");
            assert_same(&at_ticks(&out, &ends), &expected, workers);
        }
    }

    /// What has arrived by a tick makes the same ranks, whenever it did.
    #[test]
    fn ranks_do_not_depend_on_the_order_of_arrival(history in history(), seed: u64) {
        let wanted = history.ranks_at(history.last);
        let mut dice = Dice::new(seed);
        let mut shuffled = history.clone();
        let first = shuffled.input.iter().map(|(_, tick, _)| *tick).min().unwrap_or(0);
        for (_, tick, _) in &mut shuffled.input {
            *tick = first + dice.below(history.last - first + 1);
        }
        let ticks = [history.last].into();
        for workers in WORKERS {
            let out = shuffled.drive(workers, seed).run(&decay(&history.half_lives)).out;
            prop_assert_eq!(&at_ticks(&out, &ticks)[&history.last], &wanted);
        }
    }

    /// A key says at most one thing of a half-life in a tick, and only where its rank changes.
    #[test]
    fn a_rank_is_told_once_a_tick_and_where_it_changes(history in history(), seed: u64) {
        let out = history.drive(1, seed).run(&decay(&history.half_lives)).out;
        let mut told = std::collections::BTreeSet::new();
        for (key, tick, diff) in out {
            prop_assert!(diff != 0 && told.insert((key, tick)));
        }
    }

    /// When everything has been let go, nothing is kept.
    #[test]
    fn what_does_not_count_takes_no_room(history in history()) {
        let History { half_lives, mut input, last } = history;
        let phases = half_lives.clone();
        let newest = input.iter().map(|((_, at), _, _)| *at).max().unwrap_or(0);
        let mut core = DecayCore::new(half_lives.clone(), Box::new(move |key| phases.phase(key)));
        let mut out = Vec::new();
        input.sort_by_key(|(_, tick, _)| *tick);
        for (data, tick, weight) in input {
            core.advance(tick, &mut out);
            core.absorb(data, tick, weight, &mut out);
            core.settle(tick, &mut out);
        }
        let end = last.max(newest + half_lives.horizon_us());
        core.advance(end, &mut out);
        core.settle(end, &mut out);
        prop_assert_eq!((core.keys(), core.due()), (0, None));
        prop_assert!(at_ticks(&out, &[Tick::MAX].into()).into_values().all(|ranks| ranks.is_empty()));
    }
}
