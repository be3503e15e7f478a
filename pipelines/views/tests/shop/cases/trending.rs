//! Trends: what happens counts half as much after each half-life.

use etalage_model::{EventKind, Micros};
use etalage_views::{ShopOptions, UnknownStock, Window, trend, trending};
use serde_json::json;

use crate::story::{DAY, HOUR, MINUTE, START, Story, in_category, line, plain, scopes};

/// A half-life.
fn half_life(label: &str, length_us: u64) -> Window {
    Window { label: label.into(), length_us }
}

/// So many look at an item, now.
fn views<'a>(story: &'a mut Story, item: &str, many: usize) -> &'a mut Story {
    (0..many).for_each(|_| _ = story.view(item));
    story
}

#[test]
fn a_score_is_halved_after_each_half_life() {
    let mut story = Story::new(plain());
    views(&mut story, "boot", 8).cut();
    let seen = story.check();
    assert_eq!(seen[0].one_at("global/1h/boot"), Some(START + 3 * HOUR), "8 now, 4 in an hour, 1 in three hours");
}

#[test]
fn a_row_does_not_change_by_time_alone() {
    let mut story = Story::new(plain());
    views(&mut story, "boot", 3);
    views(&mut story, "clog", 2).cut();
    (0..32).for_each(|_| _ = story.wait(HOUR).cut());
    let seen = story.check();
    for row in ["global/1h/boot", "global/1h/clog"] {
        assert!(seen.iter().all(|later| later.one_at(row) == seen[0].one_at(row)), "{row}");
    }
    assert!(seen.iter().all(|seen| seen.trending("global/1h") == ["boot", "clog"]));
}

#[test]
fn a_few_views_of_today_overtake_many_of_yesterday() {
    let mut story = Story::new(plain());
    views(&mut story, "boot", 100).cut();
    // After six hours the hundred are worth one and a half.
    story.wait(6 * HOUR);
    views(&mut story, "clog", 1).cut();
    views(&mut story, "clog", 1).cut();
    let seen = story.check();
    let sets: Vec<Vec<String>> = seen.iter().map(|seen| seen.trending("global/1h")).collect();
    assert_eq!(sets, [vec!["boot"], vec!["boot", "clog"], vec!["clog", "boot"]]);
    assert_eq!(seen[2].set("global/7d"), ["boot", "clog"], "in the window they count as before");
}

#[test]
fn a_longer_half_life_remembers_for_longer() {
    let half_lives = vec![half_life("1h", HOUR), half_life("24h", DAY)];
    let mut story = Story::new(ShopOptions { half_lives, ..plain() });
    views(&mut story, "boot", 4).wait(6 * HOUR);
    views(&mut story, "clog", 2).cut();
    let seen = story.check();
    assert_eq!(seen[0].trending("global/1h"), ["clog", "boot"]);
    assert_eq!(seen[0].trending("global/24h"), ["boot", "clog"]);
    assert_eq!(seen[0].one_at("global/24h/boot"), Some(START + 2 * DAY));
}

#[test]
fn a_late_event_counts_as_what_is_left_of_it() {
    let view_late = |story: &mut Story, late_us: u64| {
        let at = Micros(story.now() - late_us);
        story.event(EventKind::ViewItem, |event| {
            event.timestamp = at;
            event.items.push(line("boot"));
        });
    };
    let mut in_time = Story::new(plain());
    in_time.view("boot").wait(2 * HOUR).view("boot").cut();
    let mut late = Story::new(plain());
    late.wait(2 * HOUR).view("boot").cut();
    view_late(&mut late, 2 * HOUR);
    late.cut();
    let late = late.check();
    assert!(late[0].one_at("global/1h/boot") < late[1].one_at("global/1h/boot"));
    assert_eq!(late[1].one_at("global/1h/boot"), in_time.check()[0].one_at("global/1h/boot"));
}

#[test]
fn an_item_that_is_sold_out_is_not_shown_and_comes_back_with_its_stock() {
    let mut story = Story::new(plain());
    for (item, many) in [("boot", 3), ("clog", 2), ("mule", 1)] {
        story.stock(item, 5);
        views(&mut story, item, many);
    }
    story.cut();
    story.wait(MINUTE).stock("boot", 0).cut();
    story.wait(MINUTE).stock("boot", 4).cut();
    let seen = story.check();
    let sets: Vec<Vec<String>> = seen.iter().map(|seen| seen.trending("global/1h")).collect();
    assert_eq!(sets, [["boot", "clog"], ["clog", "mule"], ["boot", "clog"]]);
    assert_eq!(seen[1].one_at("global/1h/boot"), seen[0].one_at("global/1h/boot"), "its trend stays");
    let one_at_us = seen[2].one_at("global/1h/boot");
    let boot = &seen[2].row(trending::NAME, "global/1h").unwrap()["items"][0];
    assert_eq!(*boot, json!({"item_id": "boot", "one_at_us": one_at_us, "available": 4}));
}

#[test]
fn an_item_of_unknown_stock_is_hidden_where_that_is_the_rule() {
    let mut story = Story::new(ShopOptions { unknown_stock: UnknownStock::Hidden, ..plain() });
    story.view("boot").cut();
    story.stock("boot", 1).cut();
    let seen = story.check();
    assert_eq!([seen[0].trending("global/1h").len(), seen[1].trending("global/1h").len()], [0, 1]);
}

#[test]
fn a_trend_follows_its_item_into_another_category() {
    let mut story = Story::new(ShopOptions { scopes: scopes(&["category", "country+category"]), ..plain() });
    story.listed("boot", in_category(&["Shoes"]));
    story.event(EventKind::ViewItem, |event| {
        event.country = Some("Germany".into());
        event.items.push(line("boot"));
    });
    story.cut();
    story.wait(MINUTE).listed("boot", in_category(&["Sport"])).cut();
    let seen = story.check();
    for (scope, was, is) in [
        ("category:Shoes", true, false),
        ("category:Sport", false, true),
        ("country:Germany+category:Shoes", true, false),
        ("country:Germany+category:Sport", false, true),
    ] {
        for (seen, expected) in seen.iter().zip([was, is]) {
            let is_there = seen.keys(trend::NAME).iter().any(|key| key.starts_with(&format!("{scope}/")));
            assert_eq!(is_there, expected, "{scope}");
            let set = seen.keys(trending::NAME).contains(&format!("{scope}/1h"));
            assert_eq!(set, expected, "{scope}");
        }
    }
}

#[test]
fn an_order_counts_once_at_its_latest_time() {
    let mut story = Story::new(plain());
    story.purchase("1", &["boot"]).cut();
    story.wait(HOUR).purchase("1", &["boot"]).cut();
    let seen = story.check();
    let of_twenty = |seen: &crate::story::Seen| seen.one_at("global/1h/boot").unwrap();
    assert_eq!(of_twenty(&seen[1]) - of_twenty(&seen[0]), HOUR, "the same 20 points, an hour later");
}

#[test]
fn what_was_refunded_as_often_as_ordered_has_no_trend() {
    let mut story = Story::new(plain());
    story.purchase("1", &["boot"]).cut();
    story.event(EventKind::Refund, |event| event.items.push(line("boot"))).cut();
    let seen = story.check();
    assert_eq!(seen[0].trending("global/1h"), ["boot"]);
    assert_eq!((seen[1].one_at("global/1h/boot"), seen[1].trending("global/1h").len()), (None, 0));
}

#[test]
fn after_33_half_lives_nothing_is_left() {
    let mut story = Story::new(plain());
    story.view("boot").cut();
    story.wait(33 * HOUR - 2).cut();
    story.wait(HOUR).cut();
    let seen = story.check();
    let left: Vec<usize> =
        seen.iter().map(|seen| seen.keys(trend::NAME).len() + seen.keys(trending::NAME).len()).collect();
    assert_eq!(left, [2, 2, 0]);
}
