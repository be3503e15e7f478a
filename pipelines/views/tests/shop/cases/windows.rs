//! What rolling windows hold, and when it leaves them.

use etalage_model::{EventKind, Group, Key, Micros};
use etalage_operators::expire::Phase;
use etalage_views::{
    ShopOptions, VIEWS,
    distinct::{item_buyers, item_viewers},
    infos, popularity, sellable,
};

use crate::story::{DAY, HOUR, MINUTE, START, Story, line, plain, scopes};

/// Somebody looks at a boot, and it is told with this date.
fn view_dated(story: &mut Story, at: u64) -> &mut Story {
    story.event(EventKind::ViewItem, |event| {
        event.timestamp = Micros(at);
        event.items.push(line("boot"));
    })
}

#[test]
fn a_late_event_counts_in_the_longer_window_but_not_in_the_shorter() {
    let mut story = Story::new(plain());
    view_dated(&mut story, START - 2 * HOUR).cut();
    let seen = story.check();
    assert_eq!(seen[0].popularity("global/1h/boot", "views"), 0);
    assert_eq!(seen[0].popularity("global/7d/boot", "views"), 1);
    assert_eq!([seen[0].totals("global/1h", "views"), seen[0].totals("global/7d", "views")], [0, 1]);
    assert_eq!([seen[0].set("global/1h").len(), seen[0].set("global/7d").len()], [0, 1]);
}

#[test]
fn an_event_older_than_every_window_still_says_what_its_item_is() {
    let mut story = Story::new(ShopOptions { scopes: scopes(&["global", "category"]), ..plain() });
    story.view("boot");
    story.event(EventKind::ViewItem, |event| {
        event.timestamp = Micros(START - 30 * DAY);
        event.items.push(etalage_model::Item { category: Some("Shoes".into()), ..line("boot") });
    });
    story.cut();
    let seen = story.check();
    assert_eq!(seen[0].popularity("category:Shoes/7d/boot", "views"), 1, "the event of now, in the category of then");
    assert_eq!(seen[0].totals("category:Shoes/7d", "views"), 1);
}

#[test]
fn an_event_leaves_by_time_alone_when_its_bucket_has_ended_and_the_window_has_passed() {
    let mut story = Story::new(plain());
    story.wait(3 * MINUTE).view("boot").cut();
    // Its bucket ends ten minutes into the story, and the window is an hour long.
    let leaves_at = START + 10 * MINUTE + HOUR;
    let last = leaves_at - 1 - story.now();
    story.wait(last).cut();
    story.cut();
    let seen = story.check();
    let views: Vec<i64> = seen.iter().map(|seen| seen.popularity("global/1h/boot", "views")).collect();
    assert_eq!(views, [1, 1, 0]);
    assert_eq!(seen[2].row("scope.totals", "global/1h"), None, "a row without anything is no row");
    assert_eq!(seen[2].set("global/1h"), Vec::<String>::new());
    assert_eq!(seen[2].popularity("global/7d/boot", "views"), 1);
}

#[test]
fn when_all_windows_have_passed_only_stock_is_left() {
    let options = ShopOptions { scopes: scopes(&["global", "country", "category", "country+category"]), ..plain() };
    let mut story = Story::new(ShopOptions { phase: Phase::Spread, ..options });
    story.stock("boot", 1).view("boot").purchase("1", &["boot", "clog"]).cut();
    story.wait(8 * DAY).cut();
    let seen = story.check();
    let of_shop = VIEWS.iter().filter(|view| view.group == Group::Shop);
    for view in of_shop.filter(|view| view.name != sellable::NAME) {
        assert!(!seen[0].keys(view.name).is_empty(), "{}", view.name);
        assert_eq!(seen[1].keys(view.name), Vec::<String>::new(), "{}", view.name);
    }
    assert_eq!(seen[1].keys(sellable::NAME), ["boot"]);
}

#[test]
fn an_event_that_is_dated_ahead_counts_at_once_and_leaves_with_its_own_bucket() {
    let mut story = Story::new(plain());
    story.wait(9 * MINUTE);
    view_dated(&mut story, START + 11 * MINUTE).cut();
    let until_last = START + 20 * MINUTE + HOUR - 1 - story.now();
    story.wait(until_last).cut();
    story.cut();
    let views: Vec<i64> = story.check().iter().map(|seen| seen.popularity("global/1h/boot", "views")).collect();
    assert_eq!(views, [1, 1, 0], "its bucket is the second of the story");
}

#[test]
fn a_spread_window_begins_where_window_start_says() {
    let options = ShopOptions { phase: Phase::Spread, ..plain() };
    let told = infos(&options).into_iter().find(|view| view.name == popularity::NAME).unwrap();
    let window_start = told.window_start.expect("windows are spread");
    for window in ["1h", "7d"] {
        let key = Key::new(&["global".into(), window.into(), "boot".into()]);
        let start = window_start(&key, START).expect("a key of a window").0;
        let mut story = Story::new(options.clone());
        view_dated(&mut story, start - 1);
        view_dated(&mut story, start).cut();
        let seen = story.check();
        assert_eq!(seen[0].popularity(&format!("global/{window}/boot"), "views"), 1, "{window}");
        assert_eq!(window_start(&Key::new(&["global".into(), "2h".into(), "boot".into()]), START), None);
    }
}

#[test]
fn spread_buckets_of_different_items_end_at_different_times() {
    let options = ShopOptions { phase: Phase::Spread, ..plain() };
    let window_start = infos(&options).into_iter().find_map(|view| view.window_start).unwrap();
    let start = |item: &str| window_start(&Key::new(&["global".into(), "7d".into(), item.into()]), START);
    let starts: std::collections::BTreeSet<_> = (0..50).map(|item| start(&item.to_string())).collect();
    assert!(starts.len() > 25, "{} starts for 50 items", starts.len());
}

#[test]
fn only_windows_of_items_that_are_spread_have_a_window_start() {
    let has_start = |phase| {
        let views = infos(&ShopOptions { phase, ..plain() });
        views.into_iter().filter(|view| view.window_start.is_some()).map(|view| view.name).collect::<Vec<_>>()
    };
    assert_eq!(has_start(Phase::Spread), [popularity::NAME, item_viewers::NAME, item_buyers::NAME]);
    assert_eq!(has_start(Phase::Aligned), Vec::<&str>::new());
}

#[test]
fn an_aligned_window_at_an_edge_holds_exactly_what_is_not_older_than_it() {
    let mut story = Story::new(plain());
    for dated in [START - HOUR - 1, START - HOUR, START - 1, START] {
        view_dated(&mut story, dated);
    }
    story.cut();
    assert_eq!(story.check()[0].popularity("global/1h/boot", "views"), 3);
}
