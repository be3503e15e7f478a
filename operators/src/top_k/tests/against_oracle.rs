//! Random histories against a sort of everything, and against joins and a reduce.

use std::sync::Arc;

use proptest::prelude::*;

use super::{super::*, Built, Change, Listed, Lists, gates, history, places, scores, top_k};
use crate::testing::{Dice, WORKERS, assert_same, at_ticks};

/// The plain differential formulation: the three inputs joined by member, each group sorted anew
/// whenever anything in it changes. A row that is there several times is listed once.
fn plainly<'s>(input: Collection<'s, Change, i64>, lists: Lists) -> Collection<'s, Listed> {
    let scored = scores(&input).map(|(member, axis)| ((member, axis), ()));
    let scored = scored.reduce(|_, sums, out| out.push((sums[0].1, 1isize)));
    let scored = scored.map(|((member, axis), score)| (member, (axis, score)));

    // Every scored member has a gate of last resort, which comes after all others.
    let last_resort = lists.without_gate;
    let given = gates(&input).map(|(member, gate)| (member, (false, gate)));
    let gated = given.concat(scored.clone().map(move |(member, _)| (member, (true, last_resort))));
    let open = gated.reduce(|_, gates, out| out.extend(gates[0].0.1.map(|payload| (payload, 1))));

    let with_gate = scored.join_map(open, |member, (axis, score), payload| (*member, (*axis, *score, *payload)));
    let everywhere = lists.everywhere.clone();
    let everywhere = with_gate
        .clone()
        .flat_map(move |(member, row)| everywhere.clone().into_iter().map(move |place| (member, row, place)));
    let placed = with_gate.join_map(places(&input), |member, row, place| (*member, *row, *place));
    let groups = lists.clone();
    let rows = placed.concat(everywhere).flat_map(move |(member, (axis, score, payload), place)| {
        (score > 0 && groups.is_group(axis, place)).then_some(((axis, place), (-score, member, payload)))
    });
    rows.reduce(move |_, rows, out| {
        let ranked = rows.iter().map(|((score, member, payload), _)| (*member, -score, *payload));
        out.push((ranked.take(lists.k).collect(), 1));
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_lists_are_those_of_a_sort(history in history(), seed: u64) {
        let ticks = history.ticks();
        let expected = ticks.iter().map(|tick| (*tick, history.lists_at(*tick))).collect();
        for workers in WORKERS {
            let out = history.drive(workers, seed).run(&top_k(&history.lists)).out;
            assert_same(&at_ticks(&out, &ticks), &expected, workers);
            let drive = history.drive(workers, seed).in_steps();
            let ends = drive.ends();
            let expected = ends.iter().map(|tick| (*tick, history.lists_at(*tick))).collect();
            assert_same(&at_ticks(&drive.run(&top_k(&history.lists)).out, &ends), &expected, ("in steps", workers));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn joins_and_a_reduce_accumulate_to_the_same(history in history(), seed: u64) {
        let mut dice = Dice::new(seed);
        let span = history.last + 1 - history.input.iter().map(|(_, tick, _)| *tick).min().unwrap_or(0);
        let ticks = (0..64).map(|_| history.last - dice.below(span)).collect();
        for workers in WORKERS {
            let ours = history.drive(workers, seed).run(&top_k(&history.lists)).out;
            let lists = history.lists.clone();
            let plain: Built = Arc::new(move |input, _| plainly(input, lists.clone()));
            let plain = history.drive(workers, seed).and_goes_on().run(&plain);
            assert_same(&at_ticks(&ours, &ticks), &at_ticks(&plain.out, &ticks), workers);
        }
    }
}
