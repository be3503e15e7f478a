//! Scopes: which ones a line counts in, how they follow the item, and how they are named.

use etalage_model::{CatalogueEntry, EventKind, Item, Micros};
use etalage_operators::expire::Phase;
use etalage_views::{ShopOptions, totals};

use crate::story::{DAY, HOUR, MINUTE, START, Story, in_category, line, plain, scopes};

fn shop(dimensions: &[&str]) -> ShopOptions {
    ShopOptions { scopes: scopes(dimensions), ..plain() }
}

#[test]
fn a_category_change_moves_the_whole_window_of_an_item_in_one_tick() {
    for phase in [Phase::Aligned, Phase::Spread] {
        let mut story = Story::new(ShopOptions { phase, ..shop(&["global", "category"]) });
        story.listed("boot", in_category(&["Home", "Kitchen"])).view("boot").purchase("1", &["boot"]);
        story.wait(DAY).purchase("1", &["boot", "clog"]).wait(20 * MINUTE).purchase("2", &["boot"]).cut();
        story.listed("boot", in_category(&["Home", "Bath"])).cut();
        // The day before yesterday's buckets leave the week; so they do in the new category.
        story.wait(6 * DAY).cut();
        let seen = story.check();
        let (old, new) = ("category:Home%2FKitchen", "category:Home%2FBath");
        for (window, [views, orders, lines]) in [("1h", [0, 2, 2]), ("7d", [1, 2, 3])] {
            let (before, after) = (format!("{old}/{window}"), format!("{new}/{window}"));
            for (at, scope, gone) in [(0, &before, &after), (1, &after, &before)] {
                let totals = ["views", "orders", "lines"].map(|measure| seen[at].totals(scope, measure));
                assert_eq!(totals, [views, orders, lines], "{scope}");
                let boot = format!("{scope}/boot");
                let popularity = ["views", "orders", "lines"].map(|measure| seen[at].popularity(&boot, measure));
                assert_eq!(popularity, [views, orders, lines], "{boot}");
                assert_eq!(seen[at].set(scope), ["boot"]);
                assert_eq!(seen[at].row(totals::NAME, gone), None);
                assert_eq!(seen[at].popularity(&format!("{gone}/boot"), "lines"), 0);
                assert_eq!(seen[at].set(gone), Vec::<String>::new());
            }
        }
        assert_eq!(seen[0].row(totals::NAME, "category:Home/7d"), seen[1].row(totals::NAME, "category:Home/7d"));
        assert_eq!(seen[2].totals(&format!("{new}/7d"), "lines"), 2, "what came first has left");
        assert_eq!(seen[2].totals(&format!("{new}/7d"), "views"), 0);
    }
}

#[test]
fn an_item_that_moves_to_and_fro_counts_once_where_it_is() {
    let mut story = Story::new(shop(&["category"]));
    story.listed("boot", in_category(&["Home"])).purchase("1", &["boot"]).cut();
    for category in ["Sport", "Home", "Sport"] {
        story.wait(MINUTE).listed("boot", in_category(&[category])).cut();
    }
    let seen = story.check();
    let orders = |scope: &str| -> Vec<i64> {
        seen.iter().map(|seen| seen.totals(&format!("category:{scope}/1h"), "orders")).collect()
    };
    assert_eq!(orders("Home"), [1, 0, 1, 0]);
    assert_eq!(orders("Sport"), [0, 1, 0, 1]);
}

#[test]
fn an_order_stays_in_a_category_while_one_of_its_items_does() {
    let mut story = Story::new(shop(&["category"]));
    story.listed("boot", in_category(&["Home"])).listed("clog", in_category(&["Home"]));
    story.purchase("1", &["boot", "clog"]).cut();
    story.listed("boot", in_category(&["Sport"])).cut();
    story.listed("clog", in_category(&["Sport"])).cut();
    let seen = story.check();
    let totals = |at: usize, scope: &str| {
        ["orders", "items_sold"].map(|measure| seen[at].totals(&format!("category:{scope}/1h"), measure))
    };
    assert_eq!([totals(0, "Home"), totals(1, "Home"), totals(2, "Home")], [[1, 2], [1, 1], [0, 0]]);
    assert_eq!([totals(0, "Sport"), totals(1, "Sport"), totals(2, "Sport")], [[0, 0], [1, 1], [1, 2]]);
}

/// A view of a boot that states its category, dated `at`.
fn stating<'a>(story: &'a mut Story, category: &str, at: u64) -> &'a mut Story {
    story.event(EventKind::ViewItem, |event| {
        event.timestamp = Micros(at);
        event.items.push(Item { category: Some(category.into()), ..line("boot") });
    })
}

#[test]
fn the_newest_event_states_a_category_and_the_catalogue_knows_better() {
    let mut story = Story::new(shop(&["category"]));
    stating(&mut story, "Home", START).cut();
    stating(&mut story, "Attic", START - HOUR).cut();
    story.wait(MINUTE);
    let now = story.now();
    stating(&mut story, "Sport", now).cut();
    // Older than any event, but from the catalogue.
    story.listed("boot", in_category(&["Shoes"]));
    let (_, record) = story.arrivals.last_mut().unwrap();
    let etalage_model::Message::Catalogue(listed) = &mut record.message else { unreachable!() };
    listed.updated_at = Micros(START - DAY);
    story.cut();
    story.listed("boot", CatalogueEntry::default()).cut();
    story.delisted("boot").cut();
    let scopes: Vec<Vec<String>> = story.check().iter().map(|seen| seen.keys(totals::NAME)).collect();
    let of = |category: &str| vec![format!("category:{category}/1h"), format!("category:{category}/7d")];
    let wanted = ["Home", "Home", "Sport", "Shoes", "Sport", "Sport"];
    assert_eq!(scopes, wanted.map(of), "an entry that states none, or a deletion, leaves it to the events");
}

#[test]
fn of_two_categories_in_one_event_the_greater_holds_whatever_the_order_of_the_lines() {
    for categories in [["Home", "Sport"], ["Sport", "Home"]] {
        let mut story = Story::new(shop(&["category"]));
        story.event(EventKind::ViewItem, |event| {
            event.items.extend(categories.map(|category| Item { category: Some(category.into()), ..line("boot") }));
        });
        story.cut();
        assert_eq!(story.check()[0].keys(totals::NAME), ["category:Sport/1h", "category:Sport/7d"]);
    }
}

#[test]
fn scopes_of_the_event_stay_as_they_were_when_it_happened() {
    let mut story = Story::new(shop(&["global", "country", "country+category", "brand"]));
    let brand = Some("acme".into());
    story.listed("boot", CatalogueEntry { brand, ..in_category(&["Home"]) });
    story.event(EventKind::ViewItem, |event| {
        event.country = Some("Germany".into());
        event.items.push(line("boot"));
    });
    story.view("boot").cut();
    story.listed("boot", in_category(&["Sport"])).cut();
    let seen = story.check();
    let views = |at: usize, scope: &str| seen[at].popularity(&format!("{scope}/1h/boot"), "views");
    assert_eq!([views(0, "global"), views(0, "country:Germany"), views(0, "brand:acme")], [2, 1, 2]);
    assert_eq!(views(0, "country:Germany+category:Home"), 1);
    assert_eq!(views(0, "category:Home"), 0, "category alone is not configured");
    assert_eq!([views(1, "global"), views(1, "country:Germany"), views(1, "brand:acme")], [2, 1, 0]);
    let moved = ["country:Germany+category:Home", "country:Germany+category:Sport"].map(|scope| views(1, scope));
    assert_eq!(moved, [0, 1]);
}

#[test]
fn plus_and_percent_in_a_value_are_written_so_that_no_two_scopes_share_a_name() {
    let mut story = Story::new(shop(&["country", "brand", "category", "category+country"]));
    let looked_at = |country: &'static str, brand: &'static str| {
        move |event: &mut etalage_model::Event| {
            event.country = Some(country.into());
            event.items.push(Item { brand: Some(brand.into()), ..line(brand) });
        }
    };
    story.event(EventKind::ViewItem, looked_at("Trinidad+Tobago", "a+b"));
    story.event(EventKind::ViewItem, looked_at("100%", "a%2Bb"));
    story.listed("a+b", in_category(&["Tools/Toys", "R+D 50%"])).cut();
    let seen = story.check();
    let scopes: Vec<String> = seen[0]
        .keys(totals::NAME)
        .into_iter()
        .filter_map(|key| {
            let (scope, window) = key.rsplit_once('/').unwrap();
            (window == "1h").then(|| etalage_model::key::unescape(scope))
        })
        .collect();
    assert_eq!(
        scopes,
        [
            "brand:a%252Bb",
            "brand:a%2Bb",
            "category:Tools%2FToys",
            "category:Tools%2FToys+country:Trinidad%2BTobago",
            "category:Tools%2FToys/R%2BD 50%25",
            "category:Tools%2FToys/R%2BD 50%25+country:Trinidad%2BTobago",
            "country:100%25",
            "country:Trinidad%2BTobago",
        ]
    );
}
