//! A view that is switched off costs nothing: the operators that it alone needs are not built.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use etalage_model::Group;
use etalage_views::{Dataflow, ShopOptions, bestsellers, popularity, sellable, totals, trend, trending};
use timely::logging::{TimelyEvent, TimelyEventBuilder};

use crate::story::{plain, scopes};

/// How often each operator stands in the dataflow of `options`, by name, and which views it holds.
fn operators(options: ShopOptions) -> (BTreeMap<String, usize>, Vec<&'static str>) {
    timely::execute_directly(move |worker| {
        let names = Rc::new(RefCell::new(BTreeMap::<String, usize>::new()));
        let seen = Rc::clone(&names);
        let mut register = worker.log_register().expect("a worker logs");
        register.insert::<TimelyEventBuilder, _>("timely", move |_, batch| {
            for (_, logged) in batch.iter().flat_map(|batch| batch.iter()) {
                if let TimelyEvent::Operates(operator) = logged {
                    *seen.borrow_mut().entry(operator.name.clone()).or_default() += 1;
                }
            }
        });
        drop(register);
        let shop = Dataflow::build(worker, Group::Shop, options);
        worker.step();
        worker.log_register().expect("a worker logs").flush();
        let views = shop.keys().into_iter().map(|(view, _)| view).collect();
        (names.take(), views)
    })
}

fn all_on() -> ShopOptions {
    ShopOptions { scopes: scopes(&["global", "category", "country+brand"]), ..plain() }
}

fn off(views: &[&str]) -> ShopOptions {
    ShopOptions { off: views.iter().map(|view| view.to_string()).collect(), ..all_on() }
}

/// Operators that hold what only some views need, and the views that need them.
const NEEDED: &[(&str, &[&str])] = &[
    ("Windows by item", &[popularity::NAME]),
    (popularity::NAME, &[popularity::NAME]),
    ("Windows by scope", &[totals::NAME]),
    ("Orders by scope", &[totals::NAME]),
    ("Items by scope", &[totals::NAME]),
    ("Lines by scope", &[totals::NAME]),
    ("Purchases by scope", &[totals::NAME]),
    ("Bestsellers", &[bestsellers::NAME]),
    ("Trends by item", &[trend::NAME, trending::NAME]),
    (trend::NAME, &[trend::NAME]),
    ("Trending", &[trending::NAME]),
    ("Orders by item", &[popularity::NAME, bestsellers::NAME, trend::NAME, trending::NAME]),
    ("Stock", &[sellable::NAME, bestsellers::NAME, trending::NAME]),
    ("Stock by item", &[sellable::NAME, bestsellers::NAME, trending::NAME]),
    ("Stock by location", &[sellable::NAME]),
    ("Places", &[popularity::NAME, totals::NAME, bestsellers::NAME, trend::NAME, trending::NAME]),
    ("Statements", &[popularity::NAME, totals::NAME, bestsellers::NAME, trend::NAME, trending::NAME]),
];

const ALL: [&str; 6] = [sellable::NAME, popularity::NAME, totals::NAME, bestsellers::NAME, trend::NAME, trending::NAME];

#[test]
fn an_operator_is_built_exactly_if_a_view_that_is_on_needs_it() {
    for chosen in 0..1u32 << ALL.len() {
        let is_off = |view: &&str| chosen & (1 << ALL.iter().position(|other| other == view).unwrap()) != 0;
        let absent: Vec<&str> = ALL.into_iter().filter(|view| is_off(view)).collect();
        let (built, views) = operators(off(&absent));
        assert_eq!(views, ALL.into_iter().filter(|view| !is_off(view)).collect::<Vec<_>>());
        for (operator, needed_by) in NEEDED {
            let is_needed = needed_by.iter().any(|view| !is_off(view));
            assert_eq!(built.contains_key(*operator), is_needed, "{operator} without {absent:?}");
        }
    }
}

#[test]
fn a_lone_worker_merges_nothing() {
    let (built, _) = operators(all_on());
    assert_eq!((built.get("Bestsellers"), built.get("TopK: merge")), (Some(&1), None));
}

#[test]
fn what_several_views_need_is_built_once() {
    let (built, _) = operators(all_on());
    for shared in [
        "Trends by item",
        "Windows by item",
        "Orders by item",
        "Catalogue",
        "Stock",
        "Stock by item",
        "Places",
        "Statements",
    ] {
        assert_eq!(built.get(shared), Some(&1), "{shared}");
    }
}

#[test]
fn without_popularity_the_lists_hold_the_windows() {
    let (built, _) = operators(off(&[popularity::NAME]));
    assert_eq!((built.get("Bestsellers"), built.get("Windows by item")), (Some(&1), None));
}

#[test]
fn a_shop_without_half_lives_has_no_trends() {
    let (built, views) = operators(ShopOptions { half_lives: vec![], ..all_on() });
    assert_eq!(views, [sellable::NAME, popularity::NAME, totals::NAME, bestsellers::NAME]);
    assert_eq!(built.get("Trends by item"), None);
}

#[test]
fn a_shop_without_item_scopes_has_no_places() {
    let (built, _) = operators(plain());
    for operator in ["Places", "Statements", "Lines by item", "Purchases by item", "Popularity by scope"] {
        assert_eq!(built.get(operator), None, "{operator}");
    }
}

#[test]
fn a_shop_without_views_is_an_input_and_nothing_else() {
    let (built, views) = operators(off(&ALL));
    assert!(views.is_empty());
    assert_eq!(built.keys().filter(|name| !["Input", "shop", "Dataflow"].contains(&name.as_str())).count(), 0);
}
