//! Orders, refunds and money.

use std::sync::atomic::Ordering;

use etalage_model::{EventKind, Item, Micros};
use etalage_operators::expire::Phase;
use etalage_views::{ShopOptions, totals};

use crate::story::{HOUR, MINUTE, START, Story, line, plain, scopes};

#[test]
fn an_order_in_three_messages_counts_once() {
    let mut story = Story::new(plain());
    story.purchase("1", &["boot", "clog"]).cut();
    story.purchase("1", &["boot"]).wait(MINUTE).purchase("1", &["mule"]).cut();
    let seen = story.check();
    assert_eq!(seen[1].totals("global/1h", "orders"), 1);
    assert_eq!(seen[1].totals("global/1h", "lines"), 4);
    assert_eq!(seen[1].totals("global/1h", "items_sold"), 3);
    assert_eq!(seen[1].totals("global/1h", "score"), 20);
    let boot = |measure: &str| seen[1].popularity("global/1h/boot", measure);
    assert_eq!([boot("orders"), boot("lines"), boot("score")], [1, 2, 20]);
}

#[test]
fn an_order_whose_lines_lie_in_two_buckets_counts_in_each_window_exactly_once() {
    for phase in [Phase::Aligned, Phase::Spread] {
        let mut story = Story::new(ShopOptions { phase, ..plain() });
        story.purchase("1", &["boot"]).cut();
        story.wait(30 * MINUTE).purchase("1", &["boot"]).cut();
        // The first line has left the hour, the second has not.
        story.wait(50 * MINUTE).cut();
        story.wait(HOUR).cut();
        let seen = story.check();
        let hour = |measure: &str| -> Vec<i64> {
            seen.iter().map(|seen| seen.popularity("global/1h/boot", measure)).collect()
        };
        assert_eq!(hour("orders"), [1, 1, 1, 0]);
        assert_eq!(hour("lines"), [1, 2, 1, 0]);
        let week: Vec<i64> = seen.iter().map(|seen| seen.popularity("global/7d/boot", "orders")).collect();
        assert_eq!(week, [1, 1, 1, 1]);
        let totals: Vec<i64> = seen.iter().map(|seen| seen.totals("global/1h", "orders")).collect();
        assert_eq!(totals, [1, 1, 1, 0]);
    }
}

#[test]
fn an_older_line_of_an_order_that_comes_later_makes_no_second_order() {
    let mut story = Story::new(plain());
    story.purchase("1", &["boot"]).cut();
    story.event(EventKind::Purchase, |event| {
        event.timestamp = Micros(START - 3 * HOUR);
        event.transaction_id = Some("1".into());
        event.items.push(line("boot"));
    });
    story.cut();
    let seen = story.check();
    assert_eq!([seen[1].totals("global/1h", "orders"), seen[1].totals("global/1h", "lines")], [1, 1]);
    assert_eq!([seen[1].totals("global/7d", "orders"), seen[1].totals("global/7d", "lines")], [1, 2]);
}

#[test]
fn a_purchase_that_names_no_transaction_is_an_order_of_its_own() {
    let mut story = Story::new(plain());
    for _ in 0..2 {
        story.event(EventKind::Purchase, |event| event.items.push(line("boot")));
    }
    story.cut();
    assert_eq!(story.check()[0].totals("global/1h", "orders"), 2);
}

#[test]
fn a_refund_subtracts_from_the_score_and_leaves_the_gross_measures() {
    let mut story = Story::new(plain());
    story.purchase("1", &["boot"]).view("boot").view("clog").view("clog").cut();
    story.wait(MINUTE);
    story.event(EventKind::Refund, |event| {
        event.items.push(Item { quantity: 2, ..line("boot") });
    });
    story.cut();
    let seen = story.check();
    assert_eq!(seen[0].set("global/1h"), ["boot", "clog"]);
    assert_eq!(seen[1].set("global/1h"), ["clog", "boot"], "one view is left of its score");
    let boot = |measure: &str| seen[1].popularity("global/1h/boot", measure);
    assert_eq!([boot("orders"), boot("revenue_micros"), boot("score")], [1, 2_500_000, 1]);
    assert_eq!([boot("refund_lines"), boot("refund_units"), boot("refund_micros")], [1, 2, 5_000_000]);
}

#[test]
fn a_refund_counts_in_the_windows_that_hold_it_even_without_its_purchase() {
    let mut story = Story::new(plain());
    story.purchase("1", &["boot"]).cut();
    story.wait(2 * HOUR);
    story.event(EventKind::Refund, |event| event.items.push(line("boot")));
    story.cut();
    let seen = story.check();
    assert_eq!(seen[1].popularity("global/1h/boot", "score"), -20);
    assert_eq!(seen[1].popularity("global/7d/boot", "score"), 0);
    assert_eq!(seen[1].set("global/7d"), Vec::<String>::new(), "a set takes what scores above 0");
}

#[test]
fn one_order_from_two_countries_counts_once_in_each_and_once_in_all() {
    let mut story = Story::new(ShopOptions { scopes: scopes(&["global", "country"]), ..plain() });
    for country in ["Germany", "France", "France"] {
        story.event(EventKind::Purchase, |event| {
            event.transaction_id = Some("1".into());
            event.country = Some(country.into());
            event.items.push(line("boot"));
        });
    }
    story.cut();
    let seen = story.check();
    let orders = |scope: &str| seen[0].totals(&format!("{scope}/1h"), "orders");
    assert_eq!([orders("global"), orders("country:Germany"), orders("country:France")], [1, 1, 1]);
}

#[test]
fn money_beyond_what_is_published_is_held_and_counted() {
    let before = totals::OVERFLOWS.load(Ordering::Relaxed);
    let mut story = Story::new(plain());
    story.event(EventKind::Purchase, |event| {
        event.items.push(Item { quantity: 4, price_micros: i64::MAX / 2, ..line("boot") });
    });
    story.cut();
    let seen = story.check();
    assert_eq!(seen[0].totals("global/1h", "revenue_micros"), i64::MAX);
    assert!(totals::OVERFLOWS.load(Ordering::Relaxed) > before);
}

#[test]
fn events_that_nothing_is_counted_of_leave_no_row() {
    let mut story = Story::new(plain());
    for kind in [EventKind::Search, EventKind::RemoveFromCart, EventKind::Page, EventKind::Other] {
        story.event(kind, |event| event.items.push(line("boot")));
    }
    story.event(EventKind::Purchase, |_| {}).cut();
    let seen = story.check();
    assert_eq!(seen[0].keys("item.popularity").len() + seen[0].keys("scope.totals").len(), 0);
}
