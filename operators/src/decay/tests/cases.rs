//! Decay in sentences. Each feeds `(key, at, tick, weight)` and asks for ranks at some ticks; each is
//! run on 1, 2 and 4 workers.

use std::collections::BTreeSet;

use super::{super::*, History, Key, decay};
use crate::{
    shell::Core,
    testing::{Updates, WORKERS, at_ticks},
};

/// The half-life of most cases.
const LENGTH: u64 = 1_000;

/// The tick at which `key` lets go of what happened at `at`.
fn leaves(half_lives: &HalfLives, key: Key, at: u64) -> Tick {
    half_lives.leaves(0, half_lives.phase(&key), half_lives.number(0, at))
}

/// All that comes out up to `last`, in order, the same on each worker count.
fn told(half_lives: &HalfLives, input: &[(Key, u64, Tick, i64)], last: Tick) -> Updates<(Key, u8), i64> {
    let input = input.iter().map(|(key, at, tick, weight)| ((*key, *at), *tick, *weight)).collect();
    let history = History { half_lives: half_lives.clone(), input, last };
    let run = |workers| {
        let mut out = history.drive(workers, 0).run(&decay(half_lives)).out;
        out.sort_by_key(|(key, tick, _)| (*tick, *key));
        out
    };
    let on_each: BTreeSet<Updates<(Key, u8), i64>> = WORKERS.into_iter().map(run).collect();
    assert_eq!(on_each.len(), 1);
    on_each.into_iter().next().expect("a worker count")
}

/// At which instants the score of `key` is one, as told at `ticks`.
fn one_at(input: &[(Key, u64, Tick, i64)], key: Key, ticks: &[Tick]) -> Vec<Option<i64>> {
    let half_lives = HalfLives::new(&[LENGTH]);
    let asked: BTreeSet<Tick> = ticks.iter().copied().collect();
    let found = at_ticks(&told(&half_lives, input, *asked.last().expect("a tick")), &asked);
    let rank = |tick: &Tick| found[tick].get(&(key, 0)).map(|rank| half_lives.one_at_us(0, *rank));
    ticks.iter().map(rank).collect()
}

#[test]
fn what_weighs_twice_as_much_lasts_a_half_life_longer() {
    let input = [(0, 5_000, 5_000, 1), (1, 5_000, 5_000, 2), (2, 5_000, 5_000, 8)];
    assert_eq!(one_at(&input, 0, &[5_000]), [Some(5_000)]);
    assert_eq!(one_at(&input, 1, &[5_000]), [Some(6_000)]);
    assert_eq!(one_at(&input, 2, &[5_000]), [Some(8_000)]);
}

#[test]
fn a_newer_event_outweighs_an_older_one_but_not_two_half_lives_of_them() {
    // Two at 5,000 are as much as one at 6,000, three are more.
    let input = [(0, 5_000, 5_000, 2), (1, 6_000, 6_000, 1), (2, 5_000, 5_000, 3)];
    let at = |key| one_at(&input, key, &[6_000])[0];
    assert_eq!(at(0), at(1));
    assert!(at(2) > at(1));
}

#[test]
fn nothing_is_told_when_a_half_life_ends() {
    let half_lives = HalfLives::new(&[LENGTH]);
    let input: Vec<(Key, u64, Tick, i64)> = (0..20).map(|key| (key, 5_500, 5_500, 1)).collect();
    let first_leaves = (0..20).map(|key| leaves(&half_lives, key, 5_500)).min().expect("keys");
    assert!((38_000..39_000).contains(&first_leaves));
    let out = told(&half_lives, &input, first_leaves - 1);
    assert_eq!(out.len(), 20, "each key tells what it is, and no more for 32 half-lives");
}

#[test]
fn what_happened_is_let_go_exactly_at_its_own_tick() {
    let half_lives = HalfLives::new(&[LENGTH]);
    let leaves = leaves(&half_lives, 0, 5_500);
    let seen = one_at(&[(0, 5_500, 5_500, 1)], 0, &[5_499, 5_500, leaves - 1, leaves, leaves + 90_000]);
    assert_eq!(seen.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, true, false, false]);
}

#[test]
fn spread_keys_let_go_at_ticks_of_their_own() {
    let half_lives = HalfLives::new(&[LENGTH]);
    let input: Vec<(Key, u64, Tick, i64)> = (0..40).map(|key| (key, 5_500, 5_500, 1)).collect();
    let out = told(&half_lives, &input, 60_000);
    let gone: BTreeSet<(Tick, Key)> =
        out.iter().filter(|(_, _, diff)| *diff < 0).map(|((key, _), tick, _)| (*tick, *key)).collect();
    assert_eq!(gone, (0..40).map(|key| (leaves(&half_lives, key, 5_500), key)).collect());
    let instants: BTreeSet<Tick> = gone.iter().map(|(tick, _)| *tick).collect();
    assert!(instants.len() > 10 && instants.iter().all(|tick| (38_000..39_000).contains(tick)));
}

#[test]
fn a_late_event_counts_as_if_it_had_come_in_time() {
    let in_time = one_at(&[(0, 5_000, 5_000, 1), (0, 9_300, 9_300, 4)], 0, &[9_300]);
    let late = one_at(&[(0, 9_300, 9_300, 4), (0, 5_000, 20_000, 1)], 0, &[9_300, 20_000]);
    assert!(late[0] < late[1]);
    assert_eq!(late[1], in_time[0]);
}

#[test]
fn an_event_that_is_too_late_says_nothing() {
    let half_lives = HalfLives::new(&[LENGTH]);
    let leaves = leaves(&half_lives, 0, 5_000);
    assert_eq!(told(&half_lives, &[(0, 5_000, leaves, 1)], 100_000), []);
    assert_eq!(told(&half_lives, &[(0, 5_000, leaves - 1, 1)], 100_000).len(), 2);
}

#[test]
fn an_event_ahead_of_its_tick_counts_at_once_however_far_ahead() {
    let seen = one_at(&[(0, 900_000, 100, 1), (0, 100, 100, 1)], 0, &[100, 500_000]);
    assert_eq!(seen, [Some(900_000), Some(900_000)], "beside it the other is nothing");
    let seen = one_at(&[(0, 900_000, 100, 1), (0, 0, 100, 1), (0, 900_000, 101, -1)], 0, &[100, 101]);
    assert_eq!(seen, [Some(900_000), Some(0)], "but it is there");
}

#[test]
fn a_retraction_leaves_no_trace() {
    let seen =
        one_at(&[(0, 5_000, 5_000, 1), (0, 5_700, 5_700, 9), (0, 5_700, 30_000, -9)], 0, &[5_000, 29_999, 30_000]);
    assert!(seen[1] > seen[0]);
    assert_eq!(seen[2], seen[0]);
}

#[test]
fn a_retraction_of_what_was_let_go_says_nothing() {
    let half_lives = HalfLives::new(&[LENGTH]);
    let leaves = leaves(&half_lives, 0, 5_000);
    let out = told(&half_lives, &[(0, 5_000, 5_000, 1), (0, 5_000, leaves, -1)], 100_000);
    assert_eq!(out.iter().map(|(_, tick, _)| *tick).collect::<Vec<_>>(), [5_000, leaves]);
}

#[test]
fn a_sum_that_is_not_above_zero_has_no_row() {
    // Taken back twice; then what made it negative is let go, and the newer one is left.
    let half_lives = HalfLives::new(&[LENGTH]);
    let leaves = leaves(&half_lives, 0, 5_000);
    let input = [(0, 5_000, 5_000, -40), (0, 9_000, 9_000, 2), (0, 5_000, 9_001, 7)];
    assert_eq!(one_at(&input, 0, &[5_000, 9_000, 9_001, leaves - 1]), [None, None, None, None]);
    assert_eq!(one_at(&input, 0, &[leaves]), [Some(10_000)]);
}

#[test]
fn what_weighs_nothing_takes_no_room() {
    let mut core = DecayCore::new(HalfLives::new(&[LENGTH]), Box::new(|_: &Key| 0));
    let mut out = Vec::new();
    core.advance(5, &mut out);
    core.absorb((0, 5), 5, 0, &mut out);
    core.settle(5, &mut out);
    assert_eq!((core.keys(), core.due(), out.len()), (0, None, 0));
}

#[test]
fn each_half_life_has_a_row_of_its_own() {
    let half_lives = HalfLives::new(&[1_000, 10]);
    let out = told(&half_lives, &[(0, 5_000, 5_000, 4)], 5_000);
    let read = |which: usize| {
        let (_, _, rank) = out.iter().find(|((_, other), _, _)| usize::from(*other) == which).expect("a row");
        half_lives.one_at_us(which, *rank)
    };
    assert_eq!((read(0), read(1)), (7_000, 5_020));
}

#[test]
#[should_panic(expected = "length_us > 0")]
fn a_half_life_without_length_is_refused() {
    HalfLives::new(&[60, 0]);
}
