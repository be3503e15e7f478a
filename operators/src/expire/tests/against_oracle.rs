//! Random histories against the definition, and against explicit future retractions.

use std::sync::Arc;

use differential_dataflow::AsCollection;
use proptest::prelude::*;
use timely::dataflow::operators::vec::Map;

use super::{super::*, Built, History, Key, expire, history, windows};
use crate::{
    shell::Core,
    testing::{Dice, WORKERS, assert_same, at_ticks},
};

/// The plain differential formulation: each update comes with its retraction for each window,
/// dated into the future.
fn plainly<'s>(input: Collection<'s, (Key, u64)>, windows: Windows) -> Collection<'s, (Key, u8)> {
    let each = move |((key, at), tick, diff): ((Key, u64), Tick, isize)| {
        let phase_us = windows.phase_us(&key);
        let mut both = Vec::new();
        for (window, length_us) in windows.lengths_us.iter().enumerate() {
            let leaves = windows.bucket_end(window, phase_us, at) + length_us;
            if leaves > tick {
                both.extend([((key, window as u8), tick, diff), ((key, window as u8), leaves, -diff)]);
            }
        }
        both
    };
    input.inner.flat_map(each).as_collection().consolidate()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// At every tick the output accumulates to what the windows hold by definition.
    #[test]
    fn the_sums_are_those_of_the_definition(history in history(), seed: u64) {
        let ticks = history.ticks();
        let expected = ticks.iter().map(|tick| (*tick, history.sums_at(*tick))).collect();
        for workers in WORKERS {
            let out = history.drive(workers, seed).run(&expire(&history.windows)).out;
            assert_same(&at_ticks(&out, &ticks), &expected, workers);
        }
    }

    /// Where steps are announced, the output accumulates to the same at the end of each.
    #[test]
    fn the_sums_are_those_of_the_definition_at_the_ends_of_steps(history in history(), seed: u64) {
        for workers in WORKERS {
            let drive = history.drive(workers, seed).in_steps();
            let ends = drive.ends();
            let expected = ends.iter().map(|tick| (*tick, history.sums_at(*tick))).collect();
            let out = drive.run(&expire(&history.windows)).out;
            prop_assert!(out.iter().all(|(_, tick, _)| ends.contains(tick)), "nothing comes out in between");
            assert_same(&at_ticks(&out, &ends), &expected, workers);
        }
    }

    /// The operator and the plain differential formulation agree at random ticks.
    #[test]
    fn explicit_future_retractions_accumulate_to_the_same(history in history(), seed: u64) {
        let mut dice = Dice::new(seed);
        let span = history.last + 1 - history.input.iter().map(|(_, tick, _)| *tick).min().unwrap_or(0);
        let ticks = (0..64).map(|_| history.last - dice.below(span)).collect();
        for workers in WORKERS {
            let ours = history.drive(workers, seed).run(&expire(&history.windows)).out;
            let windows = history.windows.clone();
            let plain: Built = Arc::new(move |input, _| plainly(input, windows.clone()));
            let plain = history.drive(workers, seed).and_goes_on().run(&plain).out;
            assert_same(&at_ticks(&ours, &ticks), &at_ticks(&plain, &ticks), workers);
        }
    }

    /// When everything has left every window, nothing is kept.
    #[test]
    fn what_no_window_holds_takes_no_room(history in history()) {
        let History { windows, mut input, last } = history;
        let phases = windows.clone();
        let newest = input.iter().map(|((_, at), _, _)| *at).max().unwrap_or(0);
        let mut core = ExpireCore::new(windows.clone(), Box::new(move |key| phases.phase_us(key)));
        let mut out = Vec::new();
        input.sort_by_key(|(_, tick, _)| *tick);
        for (data, tick, diff) in input {
            core.advance(tick, &mut out);
            core.absorb(data, tick, diff, &mut out);
            core.settle(tick, &mut out);
        }
        let end = last.max(newest + windows.horizon_us());
        core.advance(end, &mut out);
        core.settle(end, &mut out);
        prop_assert_eq!((core.keys(), core.rows(), core.due()), (0, 0, None));
        prop_assert!(at_ticks(&out, &[Tick::MAX].into()).into_values().all(|sums| sums.is_empty()));
    }

    /// A window's start is the least time of which it holds something.
    #[test]
    fn a_window_holds_what_happened_since_its_start(windows in windows(), key: Key, tick in 0u64..5_000) {
        let phase_us = windows.phase_us(&key);
        for window in 0..windows.len() {
            let start = windows.start(window, phase_us, tick);
            prop_assert!(windows.holds(window, phase_us, start, tick));
            prop_assert!(start == 0 || !windows.holds(window, phase_us, start - 1, tick));
        }
    }

    /// Every bucket divides its window, and the coarser buckets are multiples of the finer.
    #[test]
    fn buckets_nest_and_divide(windows in windows()) {
        let mut buckets_us = windows.buckets_us.clone();
        buckets_us.sort();
        prop_assert!(buckets_us.windows(2).all(|pair| pair[1].is_multiple_of(pair[0])));
        for (length_us, bucket_us) in windows.lengths_us.iter().zip(&windows.buckets_us) {
            prop_assert!(length_us.is_multiple_of(*bucket_us));
        }
    }
}
