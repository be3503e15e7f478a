//! Random shops: every view equals its oracle at every cut, whatever is configured.

use std::collections::BTreeMap;

use etalage_model::{EventKind, Message, Micros, Record, StockOp, Tick};
use etalage_views::{ShopOptions, infos, popularity};
use proptest::prelude::*;
use serde_json::Value;

use crate::{
    harness::{admitted, check, play},
    random::{BUCKET_US, RandomShop, cases, shops},
    story::line,
};

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn every_view_equals_its_oracle_at_every_cut(shop in shops()) {
        let RandomShop { options, arrivals, uppers } = &shop;
        let rows = check(options, arrivals, uppers);
        for (rows, upper) in rows.iter().zip(uppers) {
            let popularity = rows.get(popularity::NAME);
            for (key, value) in popularity.into_iter().flatten().filter(|(key, _)| key.path().starts_with("global/")) {
                let (window, item) = (key.field(1).unwrap().as_str(), key.field(2).unwrap().as_str());
                let wanted = counted_from(&shop, start(options, key, upper - 1), item, upper - 1);
                let row: BTreeMap<String, Value> = serde_json::from_str(value).unwrap();
                let got = wanted.keys().map(|name| (*name, row[*name].as_i64().unwrap())).collect();
                prop_assert_eq!(wanted, got, "{} in {} as of {}", item, window, upper - 1);
            }
        }
    }

    /// The same records, each delivered one to five times, at the same or at later ticks; some come
    /// again with other content, and the first of them stays.
    #[test]
    fn with_dedup_on_records_may_come_again(shop in shops(), again in prop::collection::vec((0usize..70, prop_oneof![Just(0), 0u64..9_000], prop::bool::weighted(0.3)), 0..140)) {
        let RandomShop { mut options, mut arrivals, mut uppers } = shop;
        options.dedup = Some(etalage_operators::dedup::DedupLimits { horizon_us: 100_000_000, max_ids: 10_000 });
        let first = arrivals.clone();
        let mut copies = vec![0; first.len()];
        for (number, later_us, is_altered) in again.into_iter().filter(|(number, ..)| *number < first.len()) {
            copies[number] += 1;
            if copies[number] < 5 {
                let (tick, record) = &first[number];
                let record = if is_altered { altered(record) } else { record.clone() };
                arrivals.push((tick + later_us, record));
            }
        }
        // Stable: of one tick, what was there first comes first.
        arrivals.sort_by_key(|(tick, _)| *tick);
        let last = arrivals.last().map_or(0, |(tick, _)| *tick);
        uppers.extend((last >= *uppers.last().unwrap()).then_some(last + 1));
        check(&options, &arrivals, &uppers);
    }

    /// What is switched off changes nothing in what is on, and is not sealed itself.
    #[test]
    fn views_that_are_off_are_not_sealed_and_change_no_other(shop in shops(), off in prop::collection::btree_set(0..etalage_views::VIEWS.len(), 1..4)) {
        let RandomShop { mut options, arrivals, uppers } = shop;
        options.off.clear();
        let names: Vec<&str> = etalage_views::VIEWS.iter().map(|view| view.name).collect();
        let all = crate::harness::follow(&play(1, &options, &arrivals, &uppers));
        options.off = off.iter().map(|view| names[*view].to_owned()).collect();
        let ticks = play(2, &options, &arrivals, &uppers);
        for (mut all, some) in all.into_iter().zip(crate::harness::follow(&ticks)) {
            all.retain(|view, _| options.is_on(view));
            prop_assert_eq!(all, some);
        }
        prop_assert!(ticks.iter().flat_map(|tick| &tick.batches).all(|batch| options.is_on(batch.view)));
    }
}

/// A record with the id of this one and other content.
fn altered(record: &Record) -> Record {
    let mut other = record.clone();
    other.content ^= 1;
    match &mut other.message {
        Message::Event(event) => event.items.push(line("impostor")),
        Message::Inventory(stock) => stock.op = StockOp::Set(100),
        Message::Catalogue(item) => item.entry = None,
    }
    other
}

/// From which instant on a window holds what happened: as readers are told where windows are
/// spread; else the beginning of the bucket in which the window begins.
fn start(options: &ShopOptions, key: &etalage_model::Key, tick: Tick) -> Micros {
    let told = infos(options).into_iter().find(|view| view.name == popularity::NAME).and_then(|view| view.window_start);
    if let Some(window_start) = told {
        return window_start(key, tick).expect("a key of a window");
    }
    assert!(!options.is_spread(), "where windows are spread, readers are told where they start");
    let at = options.windows.iter().position(|window| Some(window.label) == key.field(1)).expect("a window");
    let bucket_us = options.expiry(options.phase).bucket_us(at);
    assert!(bucket_us.is_multiple_of(BUCKET_US));
    let edge = tick.saturating_sub(options.windows[at].length_us);
    Micros(edge - edge % bucket_us)
}

/// What was counted of an item from `start` on, by nothing but dates.
fn counted_from(shop: &RandomShop, start: Micros, item: &str, tick: Tick) -> BTreeMap<&'static str, i64> {
    let mut counts = BTreeMap::from([("views", 0), ("carts", 0), ("lines", 0), ("refund_lines", 0)]);
    for (arrived, message) in admitted(&shop.arrivals) {
        let Message::Event(event) = message else { continue };
        let measure = match event.kind {
            EventKind::ViewItem => "views",
            EventKind::AddToCart => "carts",
            EventKind::Purchase => "lines",
            EventKind::Refund => "refund_lines",
            _ => continue,
        };
        if arrived <= tick && event.timestamp >= start {
            let lines = event.items.iter().filter(|line| line.item_id.as_str() == item).count();
            *counts.get_mut(measure).expect("a measure") += lines as i64;
        }
    }
    counts
}
