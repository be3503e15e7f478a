//! Several collections into one operator: as one that was mapped and concatenated before it.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use differential_dataflow::input::{Input, InputSession};
use proptest::prelude::*;
use timely::worker::Worker;

use super::*;
use crate::{
    reduce::{ReduceRow, ReduceSmall},
    shell::Wiring,
    testing::{Build, Drive, Updates, WORKERS, assert_same, at_ticks},
};

type Built = Arc<Build<(u64, u8), isize, ReduceRow<u64, (bool, u8)>, (u64, usize), isize>>;

/// Values of each key, odd ones apart from even ones: how many there are.
fn counted(values: &[((bool, u8), isize)], out: &mut Vec<usize>) {
    out.push(values.len());
}

/// The odd and the even values are collections of their own, with a key that is another there.
fn side_by_side() -> Built {
    Arc::new(|input, wiring| {
        let of = |is_odd: bool| {
            let half = input.clone().filter(move |(_, value)| (value % 2 == 1) == is_odd);
            let other = half.map(|(key, value)| (value, key + 1));
            Inflow::of(other, move |(value, key), diff| ((key - 1, (is_odd, *value)), 2 * *diff))
        };
        of(true).and(of(false)).reduce_small(wiring, |key| *key, |_, values, out| counted(values, out))
    })
}

fn concatenated() -> Built {
    Arc::new(|input, wiring| {
        let told = input.map(|(key, value)| (key, (value % 2 == 1, value)));
        told.clone().concat(told).reduce_small(wiring, |key| *key, |_, values, out| counted(values, out))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn it_is_as_if_they_were_one(
        input in prop::collection::vec(((0u64..6, 0u8..6), 0u64..60, prop_oneof![Just(1isize), Just(-1)]), 1..40),
        seed: u64,
    ) {
        // What is taken back was there before.
        let input: Updates<(u64, u8)> = input.iter().flat_map(|(data, tick, diff)| {
            [(*data, *tick, 1), (*data, tick + 30, (*diff).min(0))].into_iter().filter(|(_, _, diff)| *diff != 0)
        }).collect();
        let ticks = input.iter().map(|(_, tick, _)| *tick).chain([100]).collect();
        let expected = at_ticks(&Drive::new(1, seed, &input, 100).run(&concatenated()).out, &ticks);
        prop_assert!(expected.values().any(|counts| !counts.is_empty()));
        for workers in WORKERS {
            let out = Drive::new(workers, seed, &input, 100).run(&side_by_side()).out;
            assert_same(&at_ticks(&out, &ticks), &expected, workers);
        }
    }
}

/// Two collections into one operator of one worker, fed by hand.
struct Rig {
    names: InputSession<Tick, u64, isize>,
    units: InputSession<Tick, (u64, u8), isize>,
    out: Rc<RefCell<Updates<(u64, usize)>>>,
}

fn rig(worker: &mut Worker) -> Rig {
    let out: Rc<RefCell<Updates<(u64, usize)>>> = Rc::default();
    worker.dataflow::<Tick, _, _>(|scope| {
        let (names, named) = scope.new_collection::<u64, isize>();
        let (units, counts) = scope.new_collection::<(u64, u8), isize>();
        let facts = Inflow::of(named, |key, diff| ((*key, (true, 0)), *diff))
            .and(Inflow::of(counts, |(key, units), diff| ((*key, (false, *units)), *diff)));
        let sink = Rc::clone(&out);
        facts
            .reduce_small(Wiring::fresh("Facts", scope), |key| *key, |_, values, out| counted(values, out))
            .inspect(move |update| sink.borrow_mut().push(*update));
        Rig { names, units, out: Rc::clone(&out) }
    })
}

fn settled(worker: &mut Worker, rig: &Rig) -> Updates<(u64, usize)> {
    (0..10).for_each(|_| _ = worker.step());
    rig.out.borrow().clone()
}

#[test]
fn one_that_lags_holds_the_others_back() {
    timely::execute_directly(|worker| {
        let mut rig = rig(worker);
        rig.names.advance_to(5);
        rig.names.insert(1);
        rig.names.advance_to(9);
        rig.names.flush();
        assert!(settled(worker, &rig).is_empty(), "the other may still bring something below 5");
        // It brings an earlier tick than that which is held.
        rig.units.advance_to(3);
        rig.units.insert((1, 7));
        rig.units.advance_to(4);
        rig.units.flush();
        assert_eq!(settled(worker, &rig), [((1, 1), 3, 1)]);
        rig.units.advance_to(9);
        rig.units.flush();
        assert_eq!(settled(worker, &rig)[1..], [((1, 1), 5, -1), ((1, 2), 5, 1)]);
    });
}

#[test]
fn one_that_closes_holds_nobody_back() {
    timely::execute_directly(|worker| {
        let mut rig = rig(worker);
        rig.units.advance_to(2);
        rig.units.insert((1, 7));
        let Rig { mut names, units, out } = rig;
        drop(units);
        names.advance_to(4);
        names.insert(1);
        names.advance_to(6);
        names.flush();
        (0..10).for_each(|_| _ = worker.step());
        assert_eq!(*out.borrow(), [((1, 1), 2, 1), ((1, 1), 4, -1), ((1, 2), 4, 1)]);
    });
}
