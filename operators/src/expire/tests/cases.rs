//! Single cases, told in sentences. A case gives `(key, at, tick, diff)` and asks for the sum of
//! key 0 in one window at some ticks; each is run on 1, 2 and 4 workers.

use std::collections::BTreeSet;

use super::{super::*, History, Key, expire, expire_by};
use crate::{
    shell::Core,
    testing::{Updates, WORKERS, at_ticks},
};

fn aligned(lengths_us: &[u64], bucket_us: u64) -> Windows {
    Windows::new(lengths_us, bucket_us, DEFAULT_MAX_BUCKETS, Phase::Aligned)
}

/// All that comes out up to `last`, in order.
fn told(windows: &Windows, input: &[(Key, u64, Tick, isize)], last: Tick) -> Vec<Updates<(Key, u8)>> {
    let input = input.iter().map(|(key, at, tick, diff)| ((*key, *at), *tick, *diff)).collect();
    let history = History { windows: windows.clone(), input, last };
    let run = |workers| {
        let mut out = history.drive(workers, 0).run(&expire(windows)).out;
        out.sort();
        out
    };
    WORKERS.into_iter().map(run).collect()
}

/// The sums of key 0 in `window` at `ticks`.
fn sums(windows: &Windows, input: &[(Key, u64, Tick, isize)], window: u8, ticks: &[Tick]) -> Vec<isize> {
    let asked: BTreeSet<Tick> = ticks.iter().copied().collect();
    let on_each = told(windows, input, *asked.last().expect("a tick")).into_iter().map(|out| {
        let found = at_ticks(&out, &asked);
        ticks.iter().map(|tick| found[tick].get(&(0, window)).copied().unwrap_or(0)).collect::<Vec<_>>()
    });
    on_each
        .reduce(|one, other| {
            assert_eq!(one, other);
            other
        })
        .expect("a worker count")
}

#[test]
fn an_event_at_a_bucket_edge_belongs_to_the_bucket_that_begins_there() {
    let windows = aligned(&[100], 10);
    assert_eq!(windows.bucket_end(0, 0, 29), 30);
    assert_eq!(windows.bucket_end(0, 0, 30), 40);
    // The bucket of 29 ends at 30 and leaves at 130, that of 30 leaves at 140.
    let input = [(0, 29, 50, 1), (0, 30, 50, 10)];
    assert_eq!(sums(&windows, &input, 0, &[49, 50, 129, 130, 139, 140]), [0, 11, 11, 10, 10, 0]);
}

#[test]
fn a_bucket_leaves_exactly_at_its_end_plus_the_length() {
    let windows = aligned(&[60, 600], 10);
    let input = [(0, 5, 5, 7)];
    assert_eq!(sums(&windows, &input, 0, &[4, 5, 69, 70, 10_000]), [0, 7, 7, 0, 0]);
    assert_eq!(sums(&windows, &input, 1, &[4, 5, 609, 610, 10_000]), [0, 7, 7, 0, 0]);
}

#[test]
fn at_an_aligned_tick_a_window_holds_what_is_dated_since_tick_minus_length() {
    let windows = aligned(&[60], 10);
    let input = [(0, 39, 50, 1), (0, 40, 50, 10)];
    assert_eq!(sums(&windows, &input, 0, &[100]), [10]);
    assert_eq!(windows.start(0, 0, 100), 40);
}

#[test]
fn a_late_event_counts_where_its_bucket_is_still_held_and_nowhere_else() {
    let windows = aligned(&[60, 600], 10);
    // Its bucket ended at 110: at 200 it has left the short window already.
    let input = [(0, 100, 200, 3)];
    assert_eq!(sums(&windows, &input, 0, &[200, 300, 1_000]), [0, 0, 0]);
    assert_eq!(sums(&windows, &input, 1, &[199, 200, 709, 710]), [0, 3, 3, 0]);
}

#[test]
fn an_event_that_arrives_when_its_bucket_leaves_is_too_late() {
    let windows = aligned(&[60], 10);
    assert_eq!(sums(&windows, &[(0, 100, 169, 1)], 0, &[168, 169, 170]), [0, 1, 0]);
    assert!(told(&windows, &[(0, 100, 170, 1)], 500).iter().all(Vec::is_empty));
}

#[test]
fn an_event_older_than_every_window_leaves_no_trace() {
    let mut core = ExpireCore::new(aligned(&[60, 600], 10), Box::new(|_: &Key| 0));
    let mut out = Vec::new();
    // Its bucket ends at 110 and leaves the longest window at this very tick.
    core.advance(710, &mut out);
    core.absorb((0, 100), 710, 1isize, &mut out);
    core.settle(710, &mut out);
    assert_eq!((out.len(), core.rows(), core.due()), (0, 0, None));
}

#[test]
fn an_event_ahead_of_its_tick_counts_at_once_in_its_own_bucket() {
    let windows = aligned(&[60], 10);
    assert_eq!(sums(&windows, &[(0, 130, 100, 1)], 0, &[99, 100, 199, 200]), [0, 1, 1, 0]);
}

#[test]
fn a_retraction_takes_back_only_from_windows_that_still_count_the_event() {
    let windows = aligned(&[60, 600], 10);
    // Left the short window at 70; taken back at 100.
    let input = [(0, 5, 5, 4), (0, 5, 100, -4)];
    assert_eq!(sums(&windows, &input, 0, &[69, 70, 100, 1_000]), [4, 0, 0, 0]);
    assert_eq!(sums(&windows, &input, 1, &[99, 100, 610, 1_000]), [4, 0, 0, 0]);
}

#[test]
fn a_retraction_after_everything_has_left_says_nothing() {
    let windows = aligned(&[60], 10);
    for out in told(&windows, &[(0, 5, 5, 4), (0, 5, 100, -4)], 500) {
        assert_eq!(out, [((0, 0), 5, 4), ((0, 0), 70, -4)]);
    }
}

#[test]
fn what_is_taken_back_in_the_same_tick_leaves_nothing_to_expire() {
    let windows = aligned(&[60], 10);
    let input = [(0, 5, 5, 4), (0, 6, 5, -4)];
    assert_eq!(sums(&windows, &input, 0, &[5, 69, 70]), [0, 0, 0]);
}

#[test]
fn a_jump_over_many_ticks_dates_every_expiry_exactly() {
    let windows = aligned(&[20, 40], 10);
    let input = [(0, 1, 1, 1), (0, 11, 11, 2), (1, 15, 15, 4)];
    let mut expected = vec![((0, 0), 1, 1), ((0, 1), 1, 1), ((0, 0), 11, 2), ((0, 1), 11, 2)];
    expected.extend([((1, 0), 15, 4), ((1, 1), 15, 4)]);
    expected.extend([((0, 0), 30, -1), ((0, 0), 40, -2), ((1, 0), 40, -4)]);
    expected.extend([((0, 1), 50, -1), ((0, 1), 60, -2), ((1, 1), 60, -4)]);
    expected.sort();
    for out in told(&windows, &input, 1_000_000) {
        assert_eq!(out, expected);
    }
}

#[test]
fn expiry_needs_no_further_input() {
    let windows = aligned(&[20], 10);
    assert_eq!(sums(&windows, &[(0, 1, 1, 1)], 0, &[29, 30]), [1, 0]);
}

#[test]
fn time_zero_is_a_time_like_any_other() {
    let windows = Windows::new(&[10, 40], 10, 2, Phase::Spread);
    for (key, tick) in [(0, 0), (1, 0), (2, 1)] {
        let phase_us = windows.phase_us(&key);
        let end = windows.bucket_end(0, phase_us, 0);
        assert!((1..=10).contains(&end));
        let history = History { windows: windows.clone(), input: vec![((key, 0), tick, 1)], last: 100 };
        for workers in WORKERS {
            let out = history.drive(workers, 1).run(&expire(&windows)).out;
            let found = at_ticks(&out, &[tick, end + 9, end + 10].into());
            assert_eq!(found[&(end + 9)].get(&(key, 0)), Some(&1));
            assert_eq!(found[&(end + 10)].get(&(key, 0)), None);
        }
    }
}

/// Levels of 10, 20 and 80: each window has at most two buckets.
fn nested() -> Windows {
    let windows = Windows::new(&[20, 40, 160], 10, 2, Phase::Aligned);
    assert_eq!(windows.buckets_us, [10, 20, 80]);
    windows
}

#[test]
fn a_longer_window_gets_the_least_coarser_bucket_that_nests_and_divides() {
    // 7 steps of 10 have no divisor but 7; 5 steps of 70 need at most 3 buckets.
    let windows = Windows::new(&[70, 350], 10, 3, Phase::Aligned);
    assert_eq!(windows.buckets_us, [70, 350]);
    // The coarser bucket is found whatever the order of the windows.
    let windows = Windows::new(&[160, 20, 40], 10, 2, Phase::Aligned);
    assert_eq!(windows.buckets_us, [80, 10, 20]);
    // The defaults nest: 5 m, 1 h, 24 h, 7 d and 28 d over 10 s.
    let s = 1_000_000;
    let lengths = [300, 3_600, 86_400, 604_800, 2_419_200].map(|length| length * s);
    let windows = Windows::new(&lengths, 10 * s, DEFAULT_MAX_BUCKETS, Phase::Aligned);
    assert_eq!(windows.buckets_us, [10, 10, 10, 60, 240].map(|bucket| bucket * s));
}

#[test]
fn windows_that_do_not_nest_share_the_finest_bucket() {
    let windows = Windows::new(&[20, 50], 10, 1, Phase::Aligned);
    assert_eq!(windows.buckets_us, [10, 10]);
}

#[test]
#[should_panic(expected = "is_multiple_of")]
fn a_bucket_that_does_not_divide_a_window_is_refused() {
    aligned(&[60, 65], 10);
}

#[test]
fn a_coarser_bucket_leaves_its_window_as_a_whole() {
    // In the window of 40 the bucket [0, 20) leaves at 60, in that of 160 [0, 80) leaves at 240.
    let input = [(0, 1, 1, 1), (0, 19, 19, 10), (0, 20, 20, 100)];
    assert_eq!(sums(&nested(), &input, 0, &[29, 30, 40, 50]), [111, 110, 100, 0]);
    assert_eq!(sums(&nested(), &input, 1, &[59, 60, 79, 80]), [111, 100, 100, 0]);
    assert_eq!(sums(&nested(), &input, 2, &[239, 240]), [111, 0]);
}

#[test]
fn rows_are_rolled_up_when_the_finer_level_has_passed_them() {
    let mut core = ExpireCore::new(nested(), Box::new(|_: &Key| 0));
    let mut out = Vec::new();
    let mut rows_at = |tick: Tick| {
        core.advance(tick, &mut out);
        if tick < 80 {
            core.absorb((0, tick), tick, 1isize, &mut out);
        }
        core.settle(tick, &mut out);
        core.rows()
    };
    // Eight events in eight buckets of 10; those that ended by tick - 20 lie in buckets of 20,
    // those that ended by tick - 40 in the bucket of 80.
    let counted: Vec<usize> =
        [5, 15, 25, 35, 45, 55, 65, 75, 100, 120, 239, 240].into_iter().map(&mut rows_at).collect();
    assert_eq!(counted, [1, 2, 3, 4, 4, 5, 5, 6, 2, 1, 1, 0]);
}

#[test]
fn rows_of_one_bucket_are_merged_and_exported_whole_whatever_happens_meanwhile() {
    let mut core = ExpireCore::new(nested(), Box::new(|_: &Key| 0));
    let mut out = Vec::new();
    core.advance(5, &mut out);
    for round in 0..5 {
        (0..3).for_each(|key| core.absorb((key, 1 + round), 5, 1isize, &mut out));
    }
    core.settle(5, &mut out);
    assert!((3..=6).contains(&core.rows()), "{} rows of three keys", core.rows());
    core.begin_export();
    let mut rows = Vec::new();
    assert!(!core.export_slice(1, &mut rows));
    // More comes, rows are merged again, and the bucket is rolled up before its rows are written.
    core.advance(6, &mut out);
    (0..3).for_each(|key| core.absorb((key, 6), 6, 100, &mut out));
    core.settle(6, &mut out);
    core.advance(30, &mut out);
    core.settle(30, &mut out);
    while !core.export_slice(1, &mut rows) {}
    for key in 0..3 {
        let of_key = rows.iter().filter(|(other, row)| *other == key && (row.level, row.end) == (0, 10));
        assert_eq!(of_key.map(|(_, row)| row.sum).sum::<isize>(), 5);
    }
    assert!(rows.iter().all(|(_, row)| (row.level, row.end) == (0, 10)));
    let sums = at_ticks(&out, &[29, 30].into());
    assert!((0..3).all(|key| sums[&29][&key].get(0) == Some(&105) && sums[&30][&key].get(0).is_none()));
    assert!((0..3).all(|key| sums[&30][&key].get(1) == Some(&105)));
}

#[test]
fn a_late_event_joins_a_bucket_that_was_rolled_up() {
    // At 100 the bucket of 10 is gone, at 110 that of 20 too: only the longest window holds them.
    let input = [(0, 1, 1, 1), (0, 2, 50, 10), (0, 3, 110, 100), (0, 71, 110, 1_000)];
    assert_eq!(sums(&nested(), &input, 0, &[29, 30, 50, 110]), [1, 0, 0, 0]);
    assert_eq!(sums(&nested(), &input, 1, &[49, 50, 59, 60, 110, 119, 120]), [1, 11, 11, 0, 1_000, 1_000, 0]);
    assert_eq!(sums(&nested(), &input, 2, &[50, 109, 110, 239, 240]), [11, 11, 1_111, 1_111, 0]);
}

#[test]
fn a_retraction_reaches_a_bucket_that_was_rolled_up_twice() {
    let input = [(0, 1, 1, 1), (0, 12, 12, 10), (0, 1, 130, -1)];
    assert_eq!(sums(&nested(), &input, 2, &[129, 130, 239, 240]), [11, 10, 10, 0]);
    assert_eq!(sums(&nested(), &input, 1, &[59, 60, 130, 240]), [11, 0, 0, 0]);
}

#[test]
fn a_jump_past_several_levels_at_once_rolls_up_in_order() {
    let input = [(0, 1, 1, 1), (0, 70, 200, 10), (0, 75, 205, 100)];
    assert_eq!(sums(&nested(), &input, 2, &[199, 200, 205, 239, 240]), [1, 11, 111, 111, 0]);
}

#[test]
fn spread_keys_leave_at_edges_of_their_own() {
    let windows = Windows::new(&[100], 50, DEFAULT_MAX_BUCKETS, Phase::Spread);
    let input: Vec<(Key, u64, Tick, isize)> = (0..40).map(|key| (key, 500, 500, 1)).collect();
    for out in told(&windows, &input, 2_000) {
        let gone: BTreeSet<(Key, Tick)> =
            out.iter().filter(|(_, _, diff)| *diff < 0).map(|((key, _), tick, _)| (*key, *tick)).collect();
        let expected = (0..40).map(|key| (key, windows.bucket_end(0, windows.phase_us(&key), 500) + 100));
        assert_eq!(gone, expected.collect());
        let instants: BTreeSet<Tick> = gone.iter().map(|(_, tick)| *tick).collect();
        assert!(instants.len() > 10 && instants.iter().all(|tick| (601..=650).contains(tick)));
    }
}

#[test]
fn keys_with_the_same_phase_key_share_their_edges() {
    let windows = Windows::new(&[100], 50, DEFAULT_MAX_BUCKETS, Phase::Spread);
    let input: Updates<(Key, u64)> = (0..40).map(|key| ((key, 500), 500, 1)).collect();
    let by_half = expire_by(&windows, |key| key / 20);
    for workers in WORKERS {
        let history = History { windows: windows.clone(), input: input.clone(), last: 2_000 };
        let out = history.drive(workers, 3).run(&by_half).out;
        let gone = out.iter().filter(|(_, _, diff)| *diff < 0).map(|((key, _), tick, _)| (key / 20, *tick));
        assert_eq!(gone.collect::<BTreeSet<_>>().len(), 2);
    }
}
