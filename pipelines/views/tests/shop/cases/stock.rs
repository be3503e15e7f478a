//! Stock, the catalogue's terms, and what they do to sets.

use etalage_model::{CatalogueEntry, StockOp};
use etalage_views::{ShopOptions, UnknownStock, sellable};
use serde_json::json;

use crate::story::{MINUTE, Story, plain};

/// A story in which boot leads clog, which leads mule; each has stock.
fn three_shoes() -> Story {
    let mut story = Story::new(plain());
    for (item, views) in [("boot", 3), ("clog", 2), ("mule", 1)] {
        story.stock(item, 5);
        (0..views).for_each(|_| {
            story.view(item);
        });
    }
    story.cut();
    story
}

fn hidden() -> ShopOptions {
    ShopOptions { unknown_stock: UnknownStock::Hidden, ..plain() }
}

#[test]
fn a_sold_out_item_leaves_and_its_successor_enters_in_the_same_cut() {
    let mut story = three_shoes();
    story.wait(MINUTE).stock("boot", 0).cut();
    let seen = story.check();
    assert_eq!(seen[0].set("global/1h"), ["boot", "clog"]);
    assert_eq!(seen[1].sellable("boot"), Some(false));
    assert_eq!(seen[1].set("global/1h"), ["clog", "mule"]);
    assert_eq!(seen[1].set("global/7d"), ["clog", "mule"]);
    assert_eq!(seen[1].popularity("global/1h/boot", "views"), 3, "what happened to it stays");
}

#[test]
fn a_restock_brings_an_item_back_in_the_same_cut() {
    let mut story = three_shoes();
    story.wait(MINUTE).stock("boot", 0).cut();
    story.wait(MINUTE).stock_op("boot", None, StockOp::Delta(1), None).cut();
    let seen = story.check();
    assert_eq!(seen[1].set("global/1h"), ["clog", "mule"]);
    assert_eq!(seen[2].set("global/1h"), ["boot", "clog"]);
    let boot = &seen[2].row("set.bestsellers", "global/1h").unwrap()["items"][0];
    assert_eq!(*boot, json!({"item_id": "boot", "score": 3, "available": 1}));
}

#[test]
fn sold_out_and_back_between_two_cuts_is_no_change_at_all() {
    let mut story = three_shoes();
    story.wait(MINUTE).stock("boot", 0).wait(MINUTE).stock("boot", 5).cut();
    let seen = story.check();
    assert_eq!(seen[0].row("set.bestsellers", "global/1h"), seen[1].row("set.bestsellers", "global/1h"));
}

#[test]
fn a_purchase_does_not_move_stock() {
    let mut story = Story::new(plain());
    story.stock("boot", 1).purchase("1", &["boot", "boot", "boot"]).cut();
    let seen = story.check();
    let row = json!({"available": 1, "availability": "in_stock", "sellable": true});
    assert_eq!(seen[0].row(sellable::NAME, "boot"), Some(row));
    assert_eq!(seen[0].set("global/1h"), ["boot"]);
}

#[test]
fn an_item_of_unknown_stock_is_shown_without_a_number_or_hidden() {
    for (options, shown) in [(plain(), vec!["boot".to_owned()]), (hidden(), vec![])] {
        let mut story = Story::new(options);
        story.view("boot").cut();
        story.listed("boot", CatalogueEntry::default()).cut();
        story.stock("boot", 1).cut();
        let seen = story.check();
        assert_eq!(seen[0].set("global/1h"), shown);
        assert_eq!(seen[0].sellable("boot"), None, "nobody has told of it");
        assert_eq!(seen[1].set("global/1h"), shown, "the catalogue knows it, but not its stock");
        assert_eq!(seen[1].sellable("boot"), Some(!shown.is_empty()));
        assert!(seen[1].row(sellable::NAME, "boot").unwrap()["available"].is_null());
        assert_eq!(seen[2].set("global/1h"), ["boot"]);
    }
}

#[test]
fn deltas_without_a_set_leave_the_stock_unknown() {
    let mut story = Story::new(hidden());
    story.view("boot").stock_op("boot", None, StockOp::Delta(7), None).cut();
    story.wait(MINUTE).stock_op("boot", None, StockOp::Set(2), None).cut();
    story.wait(MINUTE).stock_op("boot", None, StockOp::Delta(-1), None).cut();
    let seen = story.check();
    assert_eq!(seen[0].keys(sellable::NAME), Vec::<String>::new());
    assert_eq!(seen[0].set("global/1h"), Vec::<String>::new());
    let available = |at: usize| seen[at].row(sellable::NAME, "boot").unwrap()["available"].clone();
    assert_eq!((available(1), available(2)), (json!(2), json!(1)), "the delta before the set plays no part");
}

#[test]
fn changes_of_stock_apply_in_their_own_order_not_in_that_of_arrival() {
    let mut story = Story::new(plain());
    story.wait(MINUTE).stock_op("boot", None, StockOp::Delta(-2), None).cut();
    // Arrives last, is dated first.
    story.stock("boot", 9);
    let Some((_, record)) = story.arrivals.last_mut() else { unreachable!() };
    let etalage_model::Message::Inventory(set) = &mut record.message else { unreachable!() };
    set.occurred_at = set.occurred_at.minus(10 * MINUTE);
    story.cut();
    let seen = story.check();
    assert_eq!(seen[1].row(sellable::NAME, "boot").unwrap()["available"], 7);
}

#[test]
fn a_version_counts_for_more_than_a_date() {
    let mut story = Story::new(plain());
    story.stock_op("boot", None, StockOp::Set(4), Some(2)).wait(MINUTE);
    story.stock_op("boot", None, StockOp::Set(0), Some(1)).cut();
    story.wait(MINUTE).stock_op("boot", None, StockOp::Delta(-3), Some(3)).cut();
    let seen = story.check();
    let available = |at: usize| seen[at].row(sellable::NAME, "boot").unwrap()["available"].clone();
    assert_eq!((available(0), available(1)), (json!(4), json!(1)));
}

#[test]
fn locations_add_up_and_have_rows_of_their_own() {
    let mut story = Story::new(plain());
    story.view("boot");
    story.stock_op("boot", Some("north"), StockOp::Set(0), None);
    story.stock_op("boot", Some("south"), StockOp::Set(3), None).cut();
    story.stock_op("boot", Some("south"), StockOp::Set(0), None).cut();
    let seen = story.check();
    assert_eq!(seen[0].keys(sellable::NAME), ["boot", "boot/north", "boot/south"]);
    assert_eq!([seen[0].sellable("boot"), seen[0].sellable("boot/north")], [Some(true), Some(false)]);
    assert_eq!(seen[0].set("global/1h"), ["boot"]);
    assert_eq!(seen[1].sellable("boot"), Some(false));
    assert_eq!(seen[1].set("global/1h"), Vec::<String>::new());
}

#[test]
fn sets_count_the_stock_of_the_configured_locations_only() {
    let locations = ["north".into()].into();
    let mut story = Story::new(ShopOptions { locations, ..hidden() });
    story.view("boot").stock_op("boot", Some("south"), StockOp::Set(3), None);
    story.stock_op("boot", None, StockOp::Set(8), None).cut();
    story.stock_op("boot", Some("north"), StockOp::Set(1), None).cut();
    let seen = story.check();
    assert_eq!([seen[0].sellable("boot"), seen[0].sellable("boot/south")], [Some(false), Some(true)]);
    assert!(seen[0].row(sellable::NAME, "boot").unwrap()["available"].is_null());
    assert_eq!(seen[0].set("global/1h"), Vec::<String>::new());
    assert_eq!(seen[1].set("global/1h"), ["boot"]);
    assert_eq!(seen[1].row(sellable::NAME, "boot").unwrap()["available"], 1);
}

#[test]
fn units_up_to_the_safety_threshold_are_not_for_sale() {
    let mut story = Story::new(ShopOptions { safety_threshold: 2, ..plain() });
    story.view("boot").stock("boot", 2).cut();
    story.stock("boot", 3).cut();
    story.listed("boot", CatalogueEntry { safety_threshold: Some(3), ..Default::default() }).cut();
    story.listed("boot", CatalogueEntry { safety_threshold: Some(-1), ..Default::default() }).stock("boot", 0).cut();
    let seen = story.check();
    let sellable: Vec<_> = seen.iter().map(|seen| seen.sellable("boot")).collect();
    assert_eq!(sellable, [Some(false), Some(true), Some(false), Some(true)], "the catalogue's threshold comes first");
    let listed: Vec<_> = seen.iter().map(|seen| seen.set("global/1h").len()).collect();
    assert_eq!(listed, [0, 1, 0, 1]);
}

#[test]
fn deletion_from_the_catalogue_hides_an_item_until_it_is_listed_again() {
    let mut story = three_shoes();
    story.wait(MINUTE).delisted("boot").cut();
    story.wait(MINUTE).stock("boot", 50).cut();
    story.wait(MINUTE).listed("boot", CatalogueEntry::default()).cut();
    let seen = story.check();
    let hidden = json!({"available": 5, "availability": "out_of_stock", "sellable": false});
    assert_eq!(seen[1].row(sellable::NAME, "boot"), Some(hidden));
    assert_eq!(seen[1].set("global/1h"), ["clog", "mule"]);
    assert_eq!(seen[2].set("global/1h"), ["clog", "mule"], "stock does not help a deleted item");
    assert_eq!(seen[3].set("global/1h"), ["boot", "clog"]);
}

#[test]
fn a_withdrawn_item_is_hidden_however_much_there_is_of_it() {
    let mut story = three_shoes();
    story.wait(MINUTE).listed("boot", CatalogueEntry { withdrawn: true, ..Default::default() }).cut();
    story.wait(MINUTE).listed("boot", CatalogueEntry::default()).cut();
    let seen = story.check();
    assert_eq!(seen[1].set("global/1h"), ["clog", "mule"]);
    assert_eq!(seen[2].set("global/1h"), ["boot", "clog"]);
}

#[test]
fn equal_scores_stand_in_the_order_of_their_item_ids() {
    let mut story = Story::new(plain());
    story.view("mule").view("clog").view("boot").cut();
    story.stock("boot", 0).cut();
    let seen = story.check();
    assert_eq!(seen[0].set("global/1h"), ["boot", "clog"]);
    assert_eq!(seen[1].set("global/1h"), ["clog", "mule"]);
}
