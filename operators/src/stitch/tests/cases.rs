//! Named cases, each on 1, 2 and 4 workers.

use super::*;
use crate::testing::{WORKERS, at_ticks};

fn fact(id: Id, value: u8) -> Fed {
    // So old that it is no news.
    Fed::Fact(id, (value, 0))
}

fn place(id: Id, owner: Id, generation: u64) -> Fed {
    Fed::Place(id, (owner, generation))
}

/// The sums that are told at `ticks`.
fn sums(input: &[(Fed, Tick, isize)], ticks: &[Tick]) -> Vec<Vec<(Id, u64)>> {
    let said = |(owner, said): Row| match said {
        Said::Sum(sum) => Some((owner, sum)),
        _ => None,
    };
    found(input, ticks).into_iter().map(|rows| rows.into_iter().filter_map(said).collect()).collect()
}

/// What is told at `ticks`, which the oracle says too.
fn found(input: &[(Fed, Tick, isize)], ticks: &[Tick]) -> Vec<Vec<Row>> {
    let input = input.to_vec();
    let asked: BTreeSet<Tick> = ticks.iter().copied().collect();
    let last = *asked.last().expect("a tick");
    let expected: BTreeMap<_, _> = asked.iter().map(|tick| (*tick, told_at(&input, *tick, &RULES))).collect();
    for workers in WORKERS {
        let out = Drive::new(workers, 7, &input, last).run(&stitched(RULES)).out;
        assert_eq!(at_ticks(&out, &asked), expected, "{workers} workers");
    }
    assert!(expected.values().flat_map(|told| told.values()).all(|count| *count == 1));
    ticks.iter().map(|tick| expected[tick].keys().cloned().collect()).collect()
}

/// Before any place there is: 100, 102 and 104 have facts.
fn begun() -> Vec<(Fed, Tick, isize)> {
    vec![(fact(1, 100), 30, 1), (fact(2, 102), 30, 1), (fact(3, 104), 30, 1)]
}

fn and(more: &[(Fed, Tick, isize)]) -> Vec<(Fed, Tick, isize)> {
    begun().into_iter().chain(more.iter().cloned()).collect()
}

#[test]
fn an_identifier_without_a_place_is_an_owner_by_itself() {
    assert_eq!(sums(&begun(), &[29, 30]), [vec![], vec![(1, 100), (2, 102), (3, 104)]]);
}

#[test]
fn the_identifiers_of_an_owner_are_told_of_as_one() {
    let input = and(&[
        (place(1, 1, 7), 40, 1),
        (place(2, 1, 7), 40, 1),
        (fact(2, 5), 50, 1), // Further facts go to the owner.
        (fact(1, 6), 60, 2),
    ]);
    let expected = [vec![(1, 202), (3, 104)], vec![(1, 207), (3, 104)], vec![(1, 219), (3, 104)]];
    assert_eq!(sums(&input, &[40, 50, 60]), expected);
    let greatest = (1, Said::Greatest(vec![102, 100, 6]));
    assert!(found(&input, &[60])[0].contains(&greatest));
}

#[test]
fn an_identifier_that_comes_with_its_first_fact_tells_nothing_by_itself() {
    let input = [(fact(1, 5), 30, 1), (place(1, 9, 7), 30, 1), (place(2, 9, 7), 30, 1), (fact(2, 6), 40, 1)];
    assert_eq!(sums(&input, &[30, 40]), [[(9, 5)], [(9, 11)]]);
}

#[test]
fn an_identifier_that_goes_back_alone_takes_its_facts_with_it() {
    let input = and(&[
        (place(1, 1, 7), 40, 1),
        (place(2, 1, 7), 40, 1),
        (fact(2, 5), 50, 1),
        (place(1, 1, 7), 60, -1),
        (place(2, 1, 7), 60, -1),
        (fact(1, 1), 70, 1),
    ]);
    assert_eq!(sums(&input, &[60, 70]), [[(1, 100), (2, 107), (3, 104)], [(1, 101), (2, 107), (3, 104)]]);
}

#[test]
fn an_identifier_moves_between_owners() {
    let input = and(&[
        (place(1, 8, 1), 40, 1),
        (place(2, 8, 1), 40, 1),
        (place(3, 9, 2), 40, 1),
        (place(1, 8, 1), 50, -1), // 2 goes over to 9, so that both have a new generation.
        (place(2, 8, 1), 50, -1),
        (place(3, 9, 2), 50, -1),
        (place(1, 8, 3), 50, 1),
        (place(2, 9, 4), 50, 1),
        (place(3, 9, 4), 50, 1),
        (fact(2, 1), 50, 1),
    ]);
    assert_eq!(sums(&input, &[40, 50]), [[(8, 202), (9, 104)], [(8, 100), (9, 207)]]);
}

#[test]
fn a_new_generation_of_the_same_identifiers_tells_nothing_new() {
    let input = and(&[
        (place(1, 1, 7), 40, 1),
        (place(2, 1, 7), 40, 1),
        (place(1, 1, 7), 50, -1),
        (place(2, 1, 7), 50, -1),
        (place(1, 1, 8), 50, 1),
        (place(2, 1, 8), 50, 1),
        (fact(1, 1), 60, 1),
    ]);
    assert_eq!(sums(&input, &[49, 50, 60]), [[(1, 202), (3, 104)], [(1, 202), (3, 104)], [(1, 203), (3, 104)]]);
}

#[test]
fn a_place_that_is_retracted_and_set_again_at_one_tick_stays() {
    let input = and(&[
        (place(1, 1, 7), 40, 1),
        (place(2, 1, 7), 40, 1),
        (place(1, 1, 7), 50, -1),
        (fact(1, 1), 50, 1),
        (place(1, 1, 7), 50, 1),
    ]);
    assert_eq!(sums(&input, &[50]), [[(1, 203), (3, 104)]]);
}

#[test]
fn an_owner_of_which_no_identifier_has_facts_tells_nothing() {
    let input = [
        (place(1, 9, 7), 30, 1),
        (place(2, 9, 7), 30, 1),
        (fact(1, 5), 40, 1),
        (fact(1, 5), 50, -1),
        (place(1, 9, 7), 50, -1),
        (place(2, 9, 7), 50, -1),
        (place(2, 9, 8), 50, 1),
    ];
    assert_eq!(sums(&input, &[39, 40, 50]), [vec![], vec![(9, 5)], vec![]]);
}

#[test]
fn what_is_told_changes_by_time_alone_as_well() {
    let input = [
        (Fed::Fact(1, (5, 38)), 40, 1), // News until 58.
        (Fed::Fact(2, (6, 41)), 41, 1), // News until 61.
        (place(1, 9, 7), 45, 1),
        (place(2, 9, 7), 45, 1),
        (place(1, 9, 7), 60, -1),
        (place(2, 9, 7), 60, -1),
    ];
    let news = |rows: Vec<Row>| rows.into_iter().filter(|(_, said)| matches!(said, Said::News(_))).collect::<Vec<_>>();
    let found: Vec<_> = found(&input, &[44, 57, 58, 60, 61]).into_iter().map(news).collect();
    let expected = [
        vec![(1, Said::News(1)), (2, Said::News(1))],
        vec![(9, Said::News(2))],
        vec![(9, Said::News(1))],
        vec![(2, Said::News(1))],
        vec![],
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_identifier_that_is_retracted_takes_its_facts_out_of_its_owner() {
    let input = and(&[
        (place(1, 1, 7), 40, 1),
        (place(2, 1, 7), 40, 1),
        (place(3, 1, 7), 40, 1),
        (fact(3, 5), 50, 1),
        (fact(3, 104), 60, -1),
        (fact(3, 5), 60, -1),
        (place(1, 1, 7), 60, -1),
        (place(2, 1, 7), 60, -1),
        (place(3, 1, 7), 60, -1),
        (place(1, 1, 8), 60, 1),
        (place(2, 1, 8), 60, 1),
        (fact(3, 9), 70, 1), // It comes again, alone.
    ]);
    assert_eq!(sums(&input, &[50, 60, 70]), [vec![(1, 311)], vec![(1, 202)], vec![(1, 202), (3, 9)]]);
}

#[test]
fn facts_that_come_with_the_retraction_of_the_earlier_ones_stay() {
    let alone = and(&[(fact(3, 104), 60, -1), (fact(3, 9), 60, 1)]);
    assert_eq!(sums(&alone, &[60]), [[(1, 100), (2, 102), (3, 9)]]);
    let owned = and(&[
        (place(2, 2, 7), 40, 1),
        (place(3, 2, 7), 40, 1),
        (fact(3, 104), 60, -1),
        (place(2, 2, 7), 60, -1),
        (place(3, 2, 7), 60, -1),
        (fact(3, 9), 60, 1),
        (place(2, 2, 8), 60, 1),
        (place(3, 2, 8), 60, 1),
    ]);
    assert_eq!(sums(&owned, &[50, 60]), [[(1, 100), (2, 206)], [(1, 100), (2, 111)]]);
}

#[test]
fn of_the_facts_that_are_retracted_some_may_come_again_at_the_same_tick() {
    let input = and(&[(fact(3, 5), 40, 1), (fact(3, 104), 60, -1), (fact(3, 5), 60, -1), (fact(3, 5), 60, 1)]);
    assert_eq!(sums(&input, &[59, 60]), [[(1, 100), (2, 102), (3, 109)], [(1, 100), (2, 102), (3, 5)]]);
}

#[test]
fn a_fact_that_comes_and_goes_at_one_tick_is_not_told() {
    let input = and(&[(fact(3, 5), 40, 1), (fact(3, 5), 40, -1), (fact(4, 5), 40, 1), (fact(4, 5), 40, -1)]);
    assert_eq!(sums(&input, &[40]), [[(1, 100), (2, 102), (3, 104)]]);
    let beside_a_retraction = and(&[(fact(3, 104), 50, -1), (fact(3, 5), 50, 1), (fact(3, 5), 50, -1)]);
    assert_eq!(sums(&beside_a_retraction, &[50]), [[(1, 100), (2, 102)]]);
}
