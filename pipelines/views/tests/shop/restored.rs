//! A restart from a snapshot: the rows that were exported as of a tick, taken in by as many workers as there are then,
//! give the values of that tick, and every later one.

use std::sync::Arc;

use etalage_model::{Group, SealedTick, Tick};
use etalage_views::{Dataflow, ShopOptions};
use proptest::prelude::*;
use timely::worker::Worker;

use crate::{
    harness::{Arrivals, GROUPS, Rows, WORKERS, admitted, cut, deal, expected, follow, merge_all, on_workers},
    random::{RandomShop, cases, shops},
};

/// Rows of a section of a group.
type Exported = Vec<(Group, &'static str, Vec<u8>)>;

/// Plays `arrivals` to their end, and gives the rows as of the tick before `uppers[at]`. A section is written after
/// each later round, so that most of them are written after their state has changed.
fn export(workers: usize, options: &ShopOptions, arrivals: &Arrivals, uppers: &[Tick], at: usize) -> Exported {
    let (shares, options) = (Arc::new(deal(workers, arrivals, uppers)), options.clone());
    let ends: Arc<[Tick]> = uppers.into();
    let exported = on_workers(workers, move |worker| {
        let mut groups = GROUPS.map(|group| Dataflow::build(worker, group, options.clone()));
        let mut rows = Exported::new();
        for (round, (batches, upper)) in shares[worker.index()].iter().zip(ends.iter()).enumerate() {
            for dataflow in &mut groups {
                batches.iter().for_each(|(tick, batch)| dataflow.send(Arc::clone(batch), *tick));
                if round == at {
                    dataflow.begin_export(upper - 1);
                }
                dataflow.advance(*upper);
            }
            cut(worker, &mut groups, *upper);
            export_some(worker, &mut groups, &mut rows);
        }
        while groups.iter().any(Dataflow::is_exporting) {
            export_some(worker, &mut groups, &mut rows);
        }
        rows
    });
    exported.into_iter().flatten().collect()
}

fn export_some(worker: &mut Worker, groups: &mut [Dataflow], rows: &mut Exported) {
    for (group, dataflow) in GROUPS.iter().zip(groups) {
        let some = dataflow.export_some().expect("rows can be encoded");
        rows.extend(some.map(|(name, some)| (*group, name, some.bytes)));
    }
    worker.step();
}

/// Starts from rows as of the tick before the first of `uppers`, which are taken in in so many parts, and plays what came
/// after it.
fn go_on(
    (workers, taken): (usize, u64),
    options: &ShopOptions,
    exported: Exported,
    arrivals: &Arrivals,
    uppers: &[Tick],
) -> Vec<SealedTick> {
    let at = uppers[0] - 1;
    let rest: Arrivals = arrivals.iter().filter(|(tick, _)| *tick > at).cloned().collect();
    let (shares, options, exported) = (Arc::new(deal(workers, &rest, uppers)), options.clone(), Arc::new(exported));
    let first = at.saturating_sub(taken - 1);
    // What the rows of each part but the last make is cut by itself.
    let before: Vec<Tick> = (first..at).map(|tick| tick + 1).collect();
    let uppers: Vec<Tick> = before.iter().chain(uppers).copied().collect();
    let (ends, before): (Arc<[Tick]>, Arc<[Tick]>) = (uppers.clone().into(), before.into());
    let parts = on_workers(workers, move |worker| {
        let mut groups = GROUPS.map(|group| Dataflow::build(worker, group, options.clone()));
        groups.iter_mut().for_each(|dataflow| dataflow.begin_import(first, at));
        let at_once = exported.len().div_ceil(before.len() + 1).max(1);
        let nothing = crate::harness::Round::default();
        let rounds = before.iter().map(|_| &nothing).chain(shares[worker.index()].iter()).zip(ends.iter());
        let mut chunks = exported.chunks(at_once);
        let cut_below = |(batches, upper): (&crate::harness::Round, &Tick)| {
            for (group, name, rows) in chunks.next().into_iter().flatten().skip(worker.index()).step_by(worker.peers())
            {
                let dataflow = GROUPS.iter().position(|other| other == group).map(|place| &mut groups[place]);
                dataflow.expect("a group").import(name, rows, upper - 1).expect("rows are as they were written");
            }
            for dataflow in &mut groups {
                batches.iter().for_each(|(tick, batch)| dataflow.send(Arc::clone(batch), *tick));
                dataflow.advance(*upper);
            }
            cut(worker, &mut groups, *upper)
        };
        rounds.map(cut_below).collect()
    });
    merge_all(parts, &uppers)
}

fn check(shop: &RandomShop, at: usize, before: usize, (after, taken): (usize, u64)) -> Result<(), TestCaseError> {
    let RandomShop { options, arrivals, uppers } = shop;
    let exported = export(before, options, arrivals, uppers, at);
    let uppers = &uppers[at..];
    let admitted = admitted(arrivals);
    let got: Vec<Rows> = follow(&go_on((after, taken), options, exported, arrivals, uppers));
    for (got, upper) in got[got.len() - uppers.len()..].iter().zip(uppers) {
        let wanted = expected(options, &admitted, upper - 1);
        let what = format!(
            "as of {}, exported as of {} by {before}, taken in by {after} in {taken} parts",
            upper - 1,
            uppers[0] - 1
        );
        for view in etalage_views::VIEWS {
            prop_assert_eq!(got.get(view.name), wanted.get(view.name), "{} {}", view.name, &what);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn whatever_the_number_of_workers_it_goes_on_as_if_nothing_had_happened(
        shop in shops(),
        at in any::<prop::sample::Index>(),
        before in prop::sample::select(WORKERS.to_vec()),
        after in prop::sample::select(WORKERS.to_vec()),
        taken in 1u64..6,
    ) {
        check(&shop, at.index(shop.uppers.len()), before, (after, taken))?;
    }
}
