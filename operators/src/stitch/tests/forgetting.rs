//! What is silent for long is forgotten, in named cases. A pause of 25 is long; facts come up to 40 late.

use super::{identifiers::Identifiers, *};
use crate::{
    shell::Core,
    testing::{WORKERS, at_ticks},
};

fn fact(id: Id, value: u8, at: Tick) -> Fed {
    Fed::Fact(id, (value, at))
}

fn place(id: Id, owner: Id) -> Fed {
    Fed::Place(id, (owner, 7))
}

/// The sums that are told at `ticks`, which the oracle says too.
fn sums(input: &[(Fed, Tick, isize)], ticks: &[Tick]) -> Vec<Vec<(Id, u64)>> {
    let input = input.to_vec();
    let asked: BTreeSet<Tick> = ticks.iter().copied().collect();
    let last = *asked.last().expect("a tick");
    let expected: BTreeMap<_, _> = asked.iter().map(|tick| (*tick, told_at(&input, *tick, &FORGETFUL))).collect();
    for workers in WORKERS {
        let out = Drive::new(workers, 7, &input, last).run(&stitched(FORGETFUL)).out;
        assert_eq!(at_ticks(&out, &asked), expected, "{workers} workers");
    }
    let sum = |(owner, said): &Row| match said {
        Said::Sum(sum) => Some((*owner, *sum)),
        _ => None,
    };
    ticks.iter().map(|tick| expected[tick].keys().filter_map(sum).collect()).collect()
}

#[test]
fn what_is_silent_for_longer_than_the_pause_counts_no_more() {
    let input = [(fact(1, 5, 100), 100, 1), (fact(1, 6, 120), 120, 1)];
    assert_eq!(sums(&input, &[145, 146]), [vec![(1, 11)], vec![]]);
}

#[test]
fn who_comes_back_begins_anew() {
    let input =
        [(fact(1, 5, 100), 100, 1), (fact(1, 6, 126), 126, 1), (fact(2, 5, 100), 100, 1), (fact(2, 6, 125), 125, 1)];
    assert_eq!(sums(&input, &[125, 126]), [[(1, 5), (2, 11)], [(1, 6), (2, 11)]]);
}

#[test]
fn what_comes_late_fills_the_pause_and_everything_counts_again() {
    let begun = [(fact(1, 5, 100), 100, 1), (fact(1, 6, 140), 140, 1)];
    let late = [(fact(1, 9, 120), 150, 1)];
    let input = [&begun[..], &late].concat();
    assert_eq!(
        sums(&input, &[139, 140, 149, 150, 165, 166]),
        [vec![], vec![(1, 6)], vec![(1, 6)], vec![(1, 20)], vec![(1, 20)], vec![]]
    );
}

#[test]
fn an_owner_loses_what_counts_no_more_of_one_identifier() {
    let input = [
        (place(1, 9), 90, 1),
        (place(2, 9), 90, 1),
        (fact(1, 5, 100), 100, 1),
        (fact(2, 6, 100), 100, 1),
        (fact(2, 7, 120), 120, 1),
        (fact(1, 8, 130), 130, 1), // It comes back, beside the other.
        (place(1, 9), 150, -1),
        (place(2, 9), 150, -1),
    ];
    let expected = [vec![(9, 18)], vec![(9, 13)], vec![(9, 21)], vec![(9, 8)], vec![(1, 8)], vec![]];
    assert_eq!(sums(&input, &[125, 126, 145, 146, 150, 156]), expected);
}

#[test]
fn what_is_forgotten_is_retracted_in_vain_and_what_is_not_goes_as_a_whole() {
    let input = [
        (fact(1, 5, 100), 100, 1),
        (fact(1, 6, 170), 170, 1),
        (fact(1, 5, 100), 180, -1),
        (fact(1, 6, 170), 180, -1),
        (fact(1, 7, 181), 181, 1),
    ];
    assert_eq!(sums(&input, &[170, 180, 181]), [vec![(1, 6)], vec![], vec![(1, 7)]]);
}

/// Nothing is left of an identifier that is forgotten, in a core that nobody feeds any more.
#[test]
fn what_is_forgotten_takes_no_room() {
    let mut core = Identifiers::<Id, Known>::new(Rc::new(FORGETFUL));
    let (mut out, mut ticks) = (Vec::new(), Vec::new());
    core.absorb_all(&mut vec![(Feed::Fact(1, (5, 100)), 1)], 100, &mut out);
    core.settle(100, &mut out);
    while let Some(tick) = core.due() {
        ticks.push(tick);
        core.advance(tick, &mut out);
        core.settle(tick, &mut out);
    }
    // News until 120, counted until 125, remembered until 165.
    assert_eq!(ticks, [120, 126, 166]);
    core.begin_export();
    let mut rows = Vec::new();
    assert!(core.export_slice(10, &mut rows) && rows.is_empty(), "{rows:?}");
}

/// A step may be so long that what comes and goes in it would be forgotten by its end.
#[test]
fn what_came_in_the_step_that_retracts_it_goes() {
    let mut core = Identifiers::<Id, Known>::new(Rc::new(FORGETFUL));
    let mut out = Vec::new();
    let mut instant = |core: &mut Identifiers<Id, Known>, facts: &[Fact], diff: isize| {
        let mut updates = facts.iter().map(|fact| (Feed::Fact(1, *fact), diff)).collect();
        core.absorb_all(&mut updates, 101, &mut out);
    };
    instant(&mut core, &[(5, 2), (6, 50)], 1);
    instant(&mut core, &[(5, 2), (6, 50)], -1);
    core.settle(101, &mut Vec::new());
    assert_eq!(core.due(), None);
    assert!(out.is_empty());
}
