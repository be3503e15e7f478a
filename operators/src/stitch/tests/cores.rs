//! The stages without a dataflow: steps of several instants, slots that are used again, broken input.

use super::{identifiers::Identifiers, owners::Owners, *};
use crate::{shell::Core, testing::at_ticks};

type Feeds = Feed<Id, Fact>;

fn identifiers() -> Identifiers<Id, Known> {
    Identifiers::new(Rc::new(RULES))
}

fn owners() -> Owners<Id, Known> {
    Owners::new(Rc::new(RULES))
}

/// A fact that is news until `NEWS_US` after `at`.
fn fact(id: Id, value: u8, at: Tick) -> Feeds {
    Feed::Fact(id, (value, at))
}

/// Takes a step that ends at `tick`, of several instants, and gives what comes out.
fn step<C: Core>(core: &mut C, tick: Tick, instants: Vec<Vec<(C::In, C::InDiff)>>) -> Vec<(C::Out, C::OutDiff)> {
    let mut out = Vec::new();
    core.advance(tick, &mut out);
    for mut instant in instants {
        core.absorb_all(&mut instant, tick, &mut out);
    }
    core.settle(tick, &mut out);
    out.into_iter().map(|(out, _, diff)| (out, diff)).collect()
}

/// The sums that come out of the identifiers, added up.
fn sums(out: Vec<(Either<Id, Known>, isize)>) -> Vec<(Id, u64, isize)> {
    let rows = out.into_iter().filter_map(|(either, diff)| Some((either.ok()?, 0, diff))).collect();
    let all = at_ticks(&rows, &[0].into()).remove(&0).expect("asked for");
    let sum = |((id, said), count): (Row, isize)| match said {
        Said::Sum(sum) => Some((id, sum, count)),
        _ => None,
    };
    all.into_iter().filter_map(sum).collect()
}

#[test]
fn what_comes_and_goes_within_a_step_leaves_nothing() {
    let mut core = identifiers();
    let out = step(&mut core, 9, vec![vec![(fact(1, 5, 0), 1)], vec![(fact(1, 5, 0), -1)]]);
    assert_eq!((out.len(), core.due()), (0, None));
    let out = step(&mut core, 19, vec![vec![(fact(1, 7, 0), 2)], vec![(fact(1, 7, 0), -2)], vec![(fact(1, 8, 0), 1)]]);
    assert_eq!(sums(out), [(1, 8, 1)]);
    let out = step(&mut core, 29, vec![vec![(fact(1, 9, 0), 1)], vec![(fact(1, 9, 0), -1), (fact(1, 8, 0), -1)]]);
    assert_eq!(sums(out), [(1, 8, -1)]);
}

#[test]
fn what_goes_with_a_fact_of_the_same_step_may_come_again_in_it() {
    let mut core = identifiers();
    step(&mut core, 9, vec![vec![(fact(1, 5, 0), 1), (fact(1, 6, 0), 1), (fact(2, 1, 0), 1)]]);
    let instants = vec![
        vec![(fact(1, 7, 0), 1), (fact(2, 2, 0), 1)],
        vec![(fact(1, 7, 0), -1), (fact(1, 5, 0), -1), (fact(1, 6, 0), -1)],
        vec![(fact(1, 5, 0), 1)],
    ];
    assert_eq!(sums(step(&mut core, 19, instants)), [(1, 5, 1), (1, 11, -1), (2, 1, -1), (2, 3, 1)]);
    // The summary holds as many facts as it should.
    assert_eq!(sums(step(&mut core, 29, vec![vec![(fact(1, 5, 0), -1)]])), [(1, 5, -1)]);
}

#[test]
fn an_identifier_that_comes_and_goes_again_and_again_leaves_nothing_behind() {
    let mut core = identifiers();
    step(&mut core, 1, vec![vec![(fact(7, 1, 1_000), 1)]]);
    for tick in 2..100 {
        step(&mut core, tick, vec![vec![(fact(1, 5, 900 + tick), 1)]]);
        assert_eq!(core.due(), Some(900 + tick + NEWS_US));
        let out = step(&mut core, tick, vec![vec![(fact(1, 5, 900 + tick), -1)]]);
        assert_eq!(sums(out), [(1, 5, -1)]);
        assert_eq!((core.dues.len(), core.due()), (1, Some(1_000 + NEWS_US)));
    }
}

#[test]
fn an_owner_that_comes_and_goes_again_and_again_leaves_nothing_behind() {
    let mut core = owners();
    let mut known = Known::default();
    known.absorb(&(5, 1_000), &RULES);
    for generation in 0..100 {
        let comes = || Part::Comes(9, Whole::of(Some(known.clone())));
        let out = step(&mut core, generation, vec![vec![(((9, generation), comes()), 1)]]);
        assert_eq!((out.len(), core.dues.len(), core.due()), (3, 1, Some(1_000 + NEWS_US)));
        let out = step(&mut core, generation, vec![vec![(((9, generation), Part::Goes(9)), 1)]]);
        assert_eq!((out.len(), core.dues.len(), core.due()), (3, 0, None));
    }
}

#[test]
fn an_identifier_in_a_slot_that_was_freed_is_looked_at_when_it_is_due_itself() {
    let mut core = identifiers();
    step(&mut core, 1, vec![vec![(fact(1, 5, 30), 1)]]);
    step(&mut core, 2, vec![vec![(fact(1, 5, 30), -1)]]);
    step(&mut core, 3, vec![vec![(fact(2, 6, 60), 1)]]);
    assert_eq!(core.due(), Some(80));
    assert!(step(&mut core, 50, vec![]).is_empty());
    let ceased = ((2, Said::News(1)), -1);
    let out = step(&mut core, 80, vec![]).into_iter().map(|(either, diff)| (either.expect("a row"), diff));
    assert_eq!((out.collect::<Vec<_>>(), core.due()), (vec![ceased], None));
}

#[test]
fn the_due_of_an_identifier_that_has_gone_to_an_owner_is_looked_at_in_vain() {
    let mut core = identifiers();
    step(&mut core, 1, vec![vec![(fact(1, 5, 30), 1)]]);
    step(&mut core, 2, vec![vec![(Feed::Place(1, (9, 7)), 1)]]);
    assert!(step(&mut core, 50, vec![]).is_empty());
    assert_eq!(core.due(), None);
    // What it has to say when it is back is of the tick.
    let out = step(&mut core, 51, vec![vec![(Feed::Place(1, (9, 7)), -1)]]);
    assert!(out.iter().all(|(either, _)| !matches!(either, Ok((_, Said::News(_))))));
    assert_eq!(sums(out), [(1, 5, 1)]);
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "the facts of an identifier are retracted together")]
fn a_single_fact_cannot_be_taken_out() {
    let mut core = identifiers();
    step(&mut core, 1, vec![vec![(fact(1, 5, 0), 1), (fact(1, 6, 0), 1)]]);
    step(&mut core, 2, vec![vec![(fact(1, 5, 0), -1)]]);
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "an identifier whose facts are retracted leaves its place")]
fn an_identifier_cannot_stay_where_its_facts_were() {
    let mut core = identifiers();
    step(&mut core, 1, vec![vec![(fact(1, 5, 0), 1), (Feed::Place(1, (9, 7)), 1)]]);
    step(&mut core, 2, vec![vec![(fact(1, 5, 0), -1)]]);
}
