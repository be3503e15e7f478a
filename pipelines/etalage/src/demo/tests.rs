//! The simulation: the same for a seed, in order, labelled, and it sells out.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn pounds() -> Currencies {
    Currencies::only("GBP")
}

/// The messages of the first days, as text.
fn first_days(seed: u64, messages: usize) -> Vec<String> {
    Demo::new(seed, &pounds()).take(messages).map(|(at, record)| format!("{at} {record:?}")).collect()
}

#[test]
fn a_seed_gives_the_same_messages_again() {
    let count = 50_000;
    let first = first_days(7, count);
    assert!(first == first_days(7, count), "seed 7 differs from itself");
    let other = first_days(8, count);
    assert!(first != other, "seeds 7 and 8 are the same");
    // The real messages do not depend on the seed.
    let real = |all: &[String]| -> Vec<String> {
        all.iter().filter(|text| text.contains("Purchase")).take(100).cloned().collect()
    };
    assert_eq!(real(&first).len(), 100);
    assert_eq!(real(&first), real(&other));
}

#[test]
fn messages_come_in_order_and_what_is_simulated_says_so() {
    let demo = Demo::new(1, &pounds());
    assert_eq!(demo.start().to_string(), "2010-12-01T07:56:00.000000Z");
    let mut newest = demo.start();
    let mut ids = BTreeSet::new();
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for (at, record) in demo.take(100_000) {
        assert!(at >= newest && at == record.message.at(), "{at} after {newest}");
        newest = at;
        let is_labelled = record.message.message_id().starts_with(LABEL);
        let kind = match &record.message {
            Message::Event(event) => event.kind.name(),
            Message::Inventory(_) => "stock",
            Message::Catalogue(_) => "catalogue",
        };
        assert_eq!(is_labelled, !matches!(kind, "purchase" | "refund"), "{record:?}");
        assert!(ids.insert(record.message.message_id().to_owned()), "an id comes twice: {record:?}");
        *kinds.entry(kind).or_default() += 1;
    }
    assert!(kinds["view_item"] > 10 * kinds["purchase"], "{kinds:?}");
    assert!(kinds["add_to_cart"] < kinds["view_item"], "{kinds:?}");
    assert!(kinds["refund"] > 0, "{kinds:?}");
}

#[test]
fn items_sell_out_and_come_back() {
    let mut levels: BTreeMap<Sym, i64> = BTreeMap::new();
    let (mut sold_out, mut came_back) = (0, 0);
    let mut within_the_first_hour = 0;
    let demo = Demo::new(1, &pounds());
    let first_hour = demo.start().plus(3_600_000_000 + LEAD_US);
    for (at, record) in demo.take(120_000) {
        let Message::Inventory(stock) = record.message else { continue };
        let level = levels.entry(stock.item_id).or_default();
        let before = *level;
        match stock.op {
            StockOp::Set(units) => *level = units,
            StockOp::Delta(units) => *level += units,
        }
        assert!(*level >= 0, "{} at {level}", stock.item_id);
        sold_out += u32::from(before > 0 && *level == 0);
        within_the_first_hour += u32::from(before > 0 && *level == 0 && at < first_hour);
        came_back += u32::from(before == 0 && *level > 0 && at > first_hour);
    }
    assert!(within_the_first_hour > 10, "{within_the_first_hour}");
    assert!(sold_out > 1_000 && came_back > 500, "{sold_out} sold out, {came_back} came back");
    let out = levels.values().filter(|level| **level == 0).count();
    assert!(out < levels.len() / 3, "{out} of {} items are sold out", levels.len());
}

#[test]
fn most_items_have_a_category_and_a_title() {
    let facts = data::facts();
    let codes = NON_ITEMS.len();
    assert!((3_921 - codes..3_921).contains(&facts.len()), "all that was sold but {codes} codes: {}", facts.len());
    assert_eq!(facts["85123A"].title, "WHITE HANGING HEART T-LIGHT HOLDER");
    assert_eq!(facts["85123A"].lines, 2_265, "as the facts beside the data say");
    let other = facts.values().filter(|facts| guess(&facts.title) == OTHER).count();
    assert!(other * 10 < facts.len(), "{other} of {} without a category", facts.len());
}

#[test]
fn no_item_of_the_demonstration_is_postage() {
    let facts = data::facts();
    let odd: Vec<&String> = facts.keys().filter(|code| !code.starts_with(|c: char| c.is_ascii_digit())).collect();
    assert!(odd.iter().all(|code| code.starts_with("DCGS")), "{odd:?}");
}
