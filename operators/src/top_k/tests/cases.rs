//! Single cases, told in sentences. Each is run on 1, 2 and 4 workers.

use std::collections::BTreeSet;

use super::{super::*, Change, EVERYWHERE, History, Listed, Lists, Member, Payload, laned, top_k};
use crate::{
    Tick,
    shell::Core,
    testing::{Updates, WORKERS, at_ticks},
};

fn score(member: Member, tick: Tick, more: i64) -> (Change, Tick, i64) {
    (Feed::Score((member, 0)), tick, more)
}

fn place(member: Member, place: u8, tick: Tick, diff: i64) -> (Change, Tick, i64) {
    (Feed::Place(member, place), tick, diff)
}

fn gate(member: Member, gate: Option<Payload>, tick: Tick, diff: i64) -> (Change, Tick, i64) {
    (Feed::Gate(member, gate), tick, diff)
}

/// All updates that come out, in order, the same on any number of workers.
fn told(lists: Lists, input: &[(Change, Tick, i64)]) -> Updates<Listed> {
    let last = input.iter().map(|(_, tick, _)| *tick).max().unwrap_or(0);
    let history = History { lists, input: input.to_vec(), last };
    let on_each = WORKERS.into_iter().map(|workers| {
        let mut out = history.drive(workers, 11).run(&top_k(&history.lists)).out;
        out.sort_by_key(|(listed, tick, diff)| (*tick, listed.clone(), *diff));
        out
    });
    on_each
        .reduce(|one, other| {
            assert_eq!(one, other);
            other
        })
        .expect("a worker count")
}

/// The list of axis 0 at `place` at `ticks`.
fn lists_at(
    lists: Lists,
    input: &[(Change, Tick, i64)],
    place: u8,
    ticks: &[Tick],
) -> Vec<Vec<Ranked<Member, Payload>>> {
    let asked: BTreeSet<Tick> = ticks.iter().copied().collect();
    let found = at_ticks(&told(lists, input), &asked);
    let at = |tick: &Tick| {
        let mut here = found[tick].iter().filter(|((group, _), _)| *group == (0, place));
        let list = here.next().map(|((_, list), count)| {
            assert_eq!(*count, 1);
            list.to_vec()
        });
        assert!(here.next().is_none(), "a group has one list");
        list.unwrap_or_default()
    };
    ticks.iter().map(at).collect()
}

#[test]
fn the_first_k_are_listed_by_score_and_then_by_member() {
    let input = [score(3, 1, 5), score(1, 1, 5), score(2, 1, 7), score(4, 1, 1)];
    assert_eq!(lists_at(Lists::of(3), &input, EVERYWHERE, &[1]), [[(2, 7, 0), (1, 5, 0), (3, 5, 0)]]);
}

#[test]
fn only_scores_above_zero_are_listed() {
    let input = [score(1, 1, 0), score(2, 1, -4), score(3, 1, 1), score(2, 2, 9), score(3, 3, -1)];
    let expected = [vec![(3, 1, 0)], vec![(2, 5, 0), (3, 1, 0)], vec![(2, 5, 0)]];
    assert_eq!(lists_at(Lists::of(3), &input, EVERYWHERE, &[1, 2, 3]), expected);
}

#[test]
fn a_member_that_closes_leaves_and_its_successor_enters_at_that_tick() {
    let input = [
        score(1, 1, 9),
        score(2, 1, 8),
        score(3, 1, 7),
        gate(1, Some(4), 1, 1),
        gate(1, Some(4), 5, -1),
        gate(1, None, 5, 1),
        gate(1, None, 8, -1),
        gate(1, Some(2), 8, 1),
    ];
    let before = vec![(1, 9, 4), (2, 8, 0)];
    let closed = vec![(2, 8, 0), (3, 7, 0)];
    let again = vec![(1, 9, 2), (2, 8, 0)];
    assert_eq!(lists_at(Lists::of(2), &input, EVERYWHERE, &[4, 5, 7, 8]), [before, closed.clone(), closed, again]);
}

#[test]
fn a_payload_that_changes_shows_in_the_list_and_only_there() {
    let input =
        [score(1, 1, 9), score(2, 1, 1), gate(1, Some(4), 1, 1), gate(1, Some(4), 2, -1), gate(1, Some(3), 2, 1)];
    assert_eq!(lists_at(Lists::of(1), &input, EVERYWHERE, &[1, 2]), [[(1, 9, 4)], [(1, 9, 3)]]);
    // Member 2 is below the cut: its payload changes nothing.
    let below =
        [score(1, 1, 9), score(2, 1, 1), gate(2, Some(4), 2, 1), gate(2, Some(4), 3, -1), gate(2, Some(3), 3, 1)];
    assert_eq!(told(Lists::of(1), &below), [(((0, EVERYWHERE), [(1, 9, 0)].into()), 1, 1)]);
}

#[test]
fn without_a_gate_a_member_is_as_the_options_say() {
    let input = [score(1, 1, 9), gate(1, Some(4), 2, 1), gate(1, Some(4), 3, -1)];
    let closed = Lists { without_gate: None, ..Lists::of(1) };
    assert_eq!(lists_at(closed, &input, EVERYWHERE, &[1, 2, 3]), [vec![], vec![(1, 9, 4)], vec![]]);
    assert_eq!(lists_at(Lists::of(1), &input, EVERYWHERE, &[1, 2, 3]), [[(1, 9, 0)], [(1, 9, 4)], [(1, 9, 0)]]);
}

#[test]
fn of_two_gates_the_closed_one_holds() {
    let input =
        [score(1, 1, 9), gate(1, Some(4), 1, 1), gate(1, None, 2, 1), gate(1, Some(4), 3, -1), gate(1, None, 4, -1)];
    let expected = [vec![(1, 9, 4)], vec![], vec![], vec![(1, 9, 0)]];
    assert_eq!(lists_at(Lists::of(1), &input, EVERYWHERE, &[1, 2, 3, 4]), expected);
}

#[test]
fn a_member_that_moves_leaves_one_list_and_enters_the_other_at_that_tick() {
    let input = [score(1, 1, 9), place(1, 4, 1, 1), place(1, 4, 6, -1), place(1, 5, 6, 1), score(1, 7, 1)];
    assert_eq!(lists_at(Lists::of(1), &input, 4, &[5, 6, 7]), [vec![(1, 9, 0)], vec![], vec![]]);
    assert_eq!(lists_at(Lists::of(1), &input, 5, &[5, 6, 7]), [vec![], vec![(1, 9, 0)], vec![(1, 10, 0)]]);
}

#[test]
fn a_place_that_everyone_has_is_not_lost_by_being_placed_there_and_taken_away() {
    let input = [score(1, 1, 9), place(1, EVERYWHERE, 2, 1), place(1, EVERYWHERE, 3, -1)];
    assert_eq!(lists_at(Lists::of(1), &input, EVERYWHERE, &[1, 2, 3]), [[(1, 9, 0)], [(1, 9, 0)], [(1, 9, 0)]]);
}

#[test]
fn axes_and_places_that_make_no_group_have_no_list() {
    let lists = Lists { axis_1_only_everywhere: true, ..Lists::of(2) };
    let input = [(Feed::Score((1, 1)), 1, 5), place(1, 4, 1, 1)];
    assert_eq!(told(lists, &input), [(((1, EVERYWHERE), [(1, 5, 0)].into()), 1, 1)]);
}

#[test]
fn what_is_undone_within_its_tick_is_not_told() {
    let listed = [score(1, 1, 9), place(1, 4, 1, 1)];
    let undone = [
        score(1, 2, -9),
        score(1, 2, 9),
        place(1, 4, 2, -1),
        place(1, 4, 2, 1),
        gate(1, None, 2, 1),
        gate(1, None, 2, -1),
        score(2, 2, 50),
        score(2, 2, -50),
        place(2, 4, 2, 1),
        place(2, 4, 2, -1),
    ];
    let input: Vec<_> = listed.into_iter().chain(undone).collect();
    let expected = [(((0, 4), [(1, 9, 0)].into()), 1, 1), (((0, EVERYWHERE), [(1, 9, 0)].into()), 1, 1)];
    assert_eq!(told(Lists::of(2), &input), expected);
}

#[test]
fn when_the_best_close_one_after_another_the_list_stays_exact() {
    let mut input: Vec<_> = (0..200).map(|member| score(member, 1, 1_000 - i64::from(member))).collect();
    input.extend((0..200).map(|member| gate(member, None, 2 + u64::from(member), 1)));
    let ticks: Vec<Tick> = (1..=201).collect();
    let expected = (0..=200)
        .map(|closed| (closed..200).take(2).map(|member| (member, 1_000 - i64::from(member), 0)).collect::<Vec<_>>());
    assert_eq!(lists_at(Lists::of(2), &input, EVERYWHERE, &ticks), expected.collect::<Vec<_>>());
}

fn stage() -> StageOne<Member, u8, u8, Payload> {
    StageOne::new(Lists::of(2).options(), false)
}

/// Feeds a core all changes of one tick, in this order.
fn apply(core: &mut StageOne<Member, u8, u8, Payload>, changes: &[(Change, Tick, i64)]) -> Vec<((u8, u8), Member)> {
    let mut out = Vec::new();
    for (change, tick, diff) in changes {
        let (change, diff) = laned(change, *diff);
        core.absorb(change, *tick, diff, &mut out);
    }
    core.settle(changes[0].1, &mut out);
    let mut rows: Vec<_> = out
        .into_iter()
        .flat_map(|(((axis, place, _), candidates), _, diff)| {
            assert_eq!(diff, 1);
            candidates.iter().map(|(member, _, _)| ((axis, place), *member)).collect::<Vec<_>>()
        })
        .collect();
    rows.sort();
    rows
}

#[test]
fn a_place_taken_away_before_it_is_given_within_a_tick_counts_as_never_given() {
    let changes = [place(1, 4, 1, -1), score(1, 1, 9), place(1, 4, 1, 1)];
    assert_eq!(apply(&mut stage(), &changes), [((0, EVERYWHERE), 1)]);
    let mut core = stage();
    assert_eq!(apply(&mut core, &[gate(1, None, 1, -1), score(1, 1, 9), gate(1, None, 1, 1)]), [((0, EVERYWHERE), 1)]);
}

#[test]
fn a_member_of_whom_everything_was_taken_back_takes_no_room() {
    let mut core = stage();
    let changes = [score(1, 1, 9), place(1, 4, 1, 1), gate(1, Some(3), 1, 1)];
    assert_eq!(apply(&mut core, &changes).len(), 2);
    assert_eq!(core.held(), (1, 1, 2));
    let mut out = Vec::new();
    for (change, _, diff) in changes {
        let (change, diff) = laned(&change, -diff);
        core.absorb(change, 2, diff, &mut out);
    }
    core.settle(2, &mut out);
    assert_eq!((out.len(), core.held()), (2, (0, 0, 0)));
}

#[test]
#[should_panic(expected = "a list has room")]
fn a_list_of_none_is_refused() {
    StageOne::<Member, u8, u8, Payload>::new(Lists::of(0).options(), true);
}
