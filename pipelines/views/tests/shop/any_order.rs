//! The claim on order: the same admitted messages, whenever they arrived, give byte-equal values
//! at one tick.

use etalage_model::Tick;
use proptest::prelude::*;

use crate::{
    harness::{Arrivals, WORKERS, follow, play},
    random::{RandomShop, cases, shops},
};

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn arrival_in_any_order_ends_in_the_same_values(
        shop in shops(),
        order in prop::collection::vec((any::<u64>(), any::<u64>()), 70),
        cuts in prop::collection::btree_set(any::<u64>(), 0..6),
    ) {
        let RandomShop { options, arrivals, uppers } = shop;
        let end = *uppers.last().unwrap();
        let first = arrivals.first().map_or(0, |(tick, _)| *tick).min(end - 1);
        let anywhere = |random: u64| first + random % (end - first);
        let mut shuffled: Vec<(Tick, u64, _)> = arrivals
            .iter()
            .zip(&order)
            .map(|((_, record), (tick, rank))| (anywhere(*tick), *rank, record.clone()))
            .collect();
        shuffled.sort_by_key(|(tick, rank, _)| (*tick, *rank));
        let shuffled: Arrivals = shuffled.into_iter().map(|(tick, _, record)| (tick, record)).collect();
        let mut cuts: Vec<Tick> = cuts.into_iter().map(|cut| anywhere(cut) + 1).chain([end]).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let wanted = follow(&play(1, &options, &arrivals, &uppers)).pop();
        for workers in WORKERS {
            let got = follow(&play(workers, &options, &shuffled, &cuts)).pop();
            prop_assert_eq!(&wanted, &got, "on {} workers", workers);
        }
    }
}
