//! The real data answers exactly what plain counting answers: `replay` of the whole Online Retail
//! file against `facts.json`, which an independent script made, and against [`plain`], which counts
//! the rows of the CSV file and knows nothing of etalage's decoder. Every key of `item.popularity`,
//! `scope.totals` and `scope.buyers` is compared, for all scopes and windows, the sets that follow from
//! them, and what every customer is worth.

mod plain;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::OnceLock,
};

use etalage_tests::{Ended, Shop, binary::root, etalage};
use plain::{Measures, Row, instant, text_of};
use serde_json::{Value, json};

/// Aligned buckets of an hour: at a full hour a window holds exactly the rows since its beginning.
fn config(windows: Windows) -> String {
    let names: Vec<&str> = windows.iter().map(|(name, _)| *name).collect();
    format!(
        r#"
[windows]
names = {names:?}
bucket = "1h"
phase = "aligned"

[scopes]
dimensions = ["global", "country"]

[online_retail]
non_items = []
"#
    )
}

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;

/// Labels, and lengths in seconds.
type Windows = &'static [(&'static str, i64)];
const WINDOWS: Windows = &[("1h", HOUR_S), ("1d", DAY_S), ("7d", 7 * DAY_S), ("400d", 400 * DAY_S)];

/// Windows none of which is as long as the file: whatever is counted is let go again.
const SHORT_WINDOWS: Windows = &[("1h", HOUR_S), ("1d", DAY_S), ("7d", 7 * DAY_S), ("30d", 30 * DAY_S)];

/// Points of the default configuration.
const ORDER_SCORE: i64 = 20;
const REFUND_SCORE: i64 = -20;

/// What is compared.
const VIEWS: [&str; 5] = ["item.popularity", "scope.totals", "scope.buyers", "set.bestsellers", "profile.value"];

/// Key (scope, window, item), (scope, window) or (profile) → value.
type Rows = BTreeMap<Vec<String>, Value>;

fn data(name: &str) -> PathBuf {
    root().join("data/online-retail").join(name)
}

fn facts() -> Value {
    serde_json::from_slice(&std::fs::read(data("facts.json")).expect("the facts are there")).expect("they are JSON")
}

/// The rows of the file, read once.
fn rows() -> &'static [Row] {
    static ROWS: OnceLock<Vec<Row>> = OnceLock::new();
    let rows = ROWS.get_or_init(|| plain::rows(&data("online_retail.csv.zst")));
    assert_eq!(rows.len(), 541_909);
    rows
}

/// What a replay up to `until`, or to the end of the file, answers as of `as_of`, by view.
fn replayed(windows: Windows, until: Option<&str>, as_of: &str) -> BTreeMap<String, Rows> {
    let shop = Shop::new(&config(windows));
    let file = data("online_retail.csv.zst");
    let mut replay = etalage(["replay", file.to_str().expect("a path that is text"), "--format", "online-retail"]);
    replay.arg("--config").arg(shop.path("shop.toml"));
    replay.args(until.into_iter().flat_map(|until| ["--until", until]));
    replay.args(VIEWS.into_iter().flat_map(|view| ["--dump", view]));
    let ended = Ended::of(replay).with_code(0).says(&[", 0 duplicates, 0 refused"]);
    let as_of = format!("{as_of}.000000Z");
    let mut views: BTreeMap<String, Rows> = BTreeMap::new();
    for mut line in ended.json_lines() {
        assert_eq!(line["as_of"], as_of, "{line}");
        let field = |name: &str| line["key"][name].as_str().map(str::to_owned);
        let key = ["profile_id", "scope", "window", "item_id"].iter().filter_map(|name| field(name)).collect();
        let view = line["view"].as_str().expect("a view has a name").to_owned();
        let before = views.entry(view).or_default().insert(key, line["value"].take());
        assert!(before.is_none(), "a key is printed once: {line}");
    }
    views
}

/// The same by counting, globally and by country. A window holds what lies in buckets that end
/// after its beginning; `is_open` where what happens at `until` itself is left out.
fn counted(windows: Windows, until: i64, is_open: bool) -> BTreeMap<String, Rows> {
    let (mut totals, mut popularity) = (BTreeMap::new(), BTreeMap::new());
    for (label, length_s) in windows {
        let bucket_end = |row: &Row| (row.at / HOUR_S + 1) * HOUR_S;
        let is_in = |row: &&Row| bucket_end(row) > until - length_s && row.at < until + i64::from(!is_open);
        for row in rows().iter().filter(is_in) {
            for scope in ["global".to_owned(), format!("country:{}", row.country)] {
                let total = totals.entry(vec![scope.clone(), (*label).to_owned()]).or_insert_with(Measures::default);
                total.add(row);
                let item = vec![scope, (*label).to_owned(), row.code.clone()];
                popularity.entry(item).or_insert_with(Measures::default).add(row);
            }
        }
    }
    let value = |measures: &Measures| {
        let orders = measures.orders.len() as i64;
        json!({
            "views": 0, "carts": 0, "orders": orders, "lines": measures.lines, "units": measures.units,
            "revenue_micros": measures.revenue_micros, "refund_lines": measures.refund_lines,
            "refund_units": measures.refund_units, "refund_micros": measures.refund_micros,
            "score": ORDER_SCORE * orders + REFUND_SCORE * measures.refund_lines,
        })
    };
    let sold = |measures: &Measures| {
        let mut row = value(measures);
        row["items_sold"] = measures.items.len().into();
        row
    };
    let bought = totals.iter().filter(|(_, measures)| !measures.buyers.is_empty());
    let buyers: Rows =
        bought.map(|(key, measures)| (key.clone(), json!({ "buyers": measures.buyers.len() }))).collect();
    // Stock and free rows touch no measure, and what was never sold nor taken back has no row.
    totals.retain(|_, measures| !measures.is_empty());
    popularity.retain(|_, measures| !measures.is_empty());
    let popularity: Rows = popularity.iter().map(|(key, measures)| (key.clone(), value(measures))).collect();
    let totals = totals.iter().map(|(key, measures)| (key.clone(), sold(measures))).collect();
    let sets = bestsellers(&popularity);
    let customers = customers(|row| row.at < until + i64::from(!is_open));
    [
        ("item.popularity", popularity),
        ("scope.totals", totals),
        ("scope.buyers", buyers),
        ("set.bestsellers", sets),
        ("profile.value", customers),
    ]
    .map(|(view, rows)| (view.to_owned(), rows))
    .into()
}

/// What every customer is worth, of all rows that count.
fn customers(counts: impl Fn(&Row) -> bool) -> Rows {
    let mut customers: BTreeMap<String, Measures> = BTreeMap::new();
    for row in rows().iter().filter(|row| counts(row)) {
        row.customer.iter().for_each(|customer| customers.entry(customer.clone()).or_default().add(row));
    }
    customers.retain(|_, measures| !measures.is_empty());
    let value = |measures: &Measures| {
        let orders = measures.orders.len() as i64;
        json!({
            "orders": orders, "lines": measures.lines, "units": measures.units,
            "spend_micros": measures.revenue_micros, "refund_lines": measures.refund_lines,
            "refund_units": measures.refund_units, "refund_micros": measures.refund_micros,
            "distinct_items": measures.items.len(),
            "first_order": measures.sold_at.map(|(first, _)| text_of(first)),
            "last_order": measures.sold_at.map(|(_, last)| text_of(last)),
            "average_order_micros": measures.revenue_micros.checked_div(orders),
        })
    };
    customers.iter().map(|(customer, measures)| (vec![customer.clone()], value(measures))).collect()
}

/// The first ten of each scope and window by score, then by item; nobody ever counted the stock,
/// so that every item is sellable.
fn bestsellers(popularity: &Rows) -> Rows {
    let mut sets: BTreeMap<Vec<String>, Vec<(i64, &str)>> = BTreeMap::new();
    for (key, value) in popularity {
        let score = value["score"].as_i64().expect("a score is a whole number");
        if score > 0 {
            sets.entry(key[..2].to_vec()).or_default().push((-score, &key[2]));
        }
    }
    let set = |(key, mut items): (Vec<String>, Vec<(i64, &str)>)| {
        items.sort_unstable();
        let items = items.iter().take(10);
        let items: Vec<Value> =
            items.map(|(score, item)| json!({ "item_id": item, "score": -score, "available": null })).collect();
        (key, json!({ "items": items }))
    };
    sets.into_iter().map(set).collect()
}

/// Compares every key of every view.
fn assert_equal(found: &BTreeMap<String, Rows>, expected: &BTreeMap<String, Rows>) {
    for (view, expected) in expected {
        let found = found.get(view).unwrap_or_else(|| panic!("nothing of {view}"));
        let mut keys: Vec<&Vec<String>> = expected.keys().chain(found.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        let different: Vec<String> = keys
            .iter()
            .filter(|key| expected.get(**key) != found.get(**key))
            .map(|key| format!("{key:?}\n  etalage {:?}\n  counted {:?}", found.get(*key), expected.get(*key)))
            .collect();
        assert!(
            different.is_empty(),
            "{view}: {} of {} keys differ, such as\n{}",
            different.len(),
            keys.len(),
            different[..different.len().min(5)].join("\n")
        );
    }
}

/// Compares the global scope with the facts of one window.
fn assert_facts(found: &BTreeMap<String, Rows>, window: &str, facts: &Value) {
    let whole = |name: &str| facts[name].as_i64().unwrap_or_else(|| panic!("no `{name}` in {facts}"));
    let totals = &found["scope.totals"][&vec!["global".to_owned(), window.to_owned()]];
    for (ours, theirs) in
        [("orders", "sale_orders"), ("lines", "sale_lines"), ("units", "sale_units"), ("items_sold", "products_sold")]
    {
        assert_eq!(totals[ours], whole(theirs), "{window} {ours}");
    }
    let buyers = &found["scope.buyers"][&vec!["global".to_owned(), window.to_owned()]];
    assert_eq!(buyers["buyers"], facts["known_customers"], "{window} buyers");
    assert_eq!(totals["refund_lines"], facts["classes"]["cancel"], "{window} refund_lines");
    assert_eq!(totals["revenue_micros"], micros(&facts["sale_revenue_pounds"]), "{window} revenue");
    let tops: [(&str, fn(&Value) -> i64); 5] = [
        ("top_by_sale_lines", |row| number(row, "lines")),
        ("top_by_orders", |row| number(row, "orders")),
        ("top_by_units", |row| number(row, "units")),
        ("top_by_net_units", |row| number(row, "units") - number(row, "refund_units")),
        ("top_by_revenue_pounds", |row| number(row, "revenue_micros")),
    ];
    for (name, measure) in tops {
        let items = found["item.popularity"].iter().filter(|(key, _)| key[0] == "global" && key[1] == window);
        let mut ranked: Vec<(i64, &str)> = items.map(|(key, row)| (-measure(row), key[2].as_str())).collect();
        ranked.sort_unstable();
        let top = facts[name].as_array().unwrap_or_else(|| panic!("no `{name}` in {facts}"));
        assert!(!top.is_empty(), "{name}");
        let is_money = name.ends_with("_pounds");
        let expected = top.iter().map(|entry| {
            let amount = if is_money { micros(&entry[1]) } else { entry[1].as_i64().expect("a whole number") };
            (-amount, entry[0].as_str().expect("a code"))
        });
        assert_eq!(ranked[..top.len()], expected.collect::<Vec<_>>(), "{window} {name}");
    }
}

/// Compares customers with the facts `as of` some instant.
fn assert_customers(found: &BTreeMap<String, Rows>, as_of: &str) {
    let facts = &facts()["customers"];
    let of_instant = facts.as_object().expect("customers").iter().filter_map(|(name, facts)| {
        let (customer, at) = name.split_once(" as of ")?;
        (at == as_of).then(|| (customer.trim_end_matches(".0").to_owned(), facts))
    });
    let mut compared = 0;
    for (customer, facts) in of_instant {
        let row = &found["profile.value"][&vec![customer.clone()]];
        let whole = [
            ("lines", "sale_lines"),
            ("orders", "orders"),
            ("units", "units"),
            ("refund_lines", "cancel_lines"),
            ("refund_units", "cancelled_units"),
            ("distinct_items", "distinct_products"),
        ];
        whole.into_iter().for_each(|(ours, theirs)| assert_eq!(row[ours], facts[theirs], "{customer} {ours}"));
        assert_eq!(row["spend_micros"], micros(&facts["spend_pounds"]), "{customer} spend");
        assert_eq!(row["refund_micros"], micros(&facts["cancelled_pounds"]), "{customer} refunds");
        for (ours, theirs) in [("first_order", "first_sale"), ("last_order", "last_sale")] {
            let text = facts[theirs].as_str().expect("an instant").replace(' ', "T") + ".000000Z";
            assert_eq!(row[ours], text, "{customer} {ours}");
        }
        compared += 1;
    }
    assert_eq!(compared, 3, "customers as of {as_of}");
}

fn number(row: &Value, name: &str) -> i64 {
    row[name].as_i64().unwrap_or_else(|| panic!("no `{name}` in {row}"))
}

/// Pounds as the facts write them, with at most three decimals.
fn micros(pounds: &Value) -> i64 {
    (pounds.as_f64().expect("an amount") * 1e3).round() as i64 * 1_000
}

/// Replays up to `until` and compares everything; gives it for comparison with the facts.
fn checked(until: &str) -> BTreeMap<String, Rows> {
    let as_of = until.trim_end_matches('Z');
    let found = replayed(WINDOWS, Some(until), as_of);
    assert_equal(&found, &counted(WINDOWS, instant(as_of), true));
    found
}

/// It is evaluated at its last row.
#[test]
fn the_whole_file() {
    let last = "2011-12-09T12:50:00";
    let found = replayed(WINDOWS, None, last);
    assert_equal(&found, &counted(WINDOWS, instant(last), false));
    assert_facts(&found, "400d", &facts()["all"]["measures"]);
    assert_customers(&found, "end");
}

#[test]
fn customers_in_the_middle_of_the_year() {
    assert_customers(&checked("2011-06-01T00:00:00Z"), "2011-06-01");
}

#[test]
fn the_whole_file_in_windows_that_let_it_go() {
    let last = "2011-12-09T12:50:00";
    assert_equal(&replayed(SHORT_WINDOWS, None, last), &counted(SHORT_WINDOWS, instant(last), false));
}

#[test]
fn a_day_near_its_end() {
    let found = checked("2011-12-06T00:00:00Z");
    assert_facts(&found, "1d", &facts()["day 2011-12-05"]);
}

#[test]
fn the_first_day() {
    let found = checked("2010-12-02T00:00:00Z");
    assert_facts(&found, "1d", &facts()["first day 2010-12-01"]);
}

#[test]
fn one_hour() {
    let found = checked("2010-12-06T17:00:00Z");
    assert_facts(&found, "1h", &facts()["hour 2010-12-06 16"]);
}

/// The shop rests from Christmas on: windows empty by time alone, without any row.
#[test]
fn the_days_after_the_last_sale_of_the_year() {
    for (until, expected) in [("2010-12-30T14:00:00Z", &["400d", "7d"][..]), ("2011-01-01T00:00:00Z", &["400d"][..])] {
        let found = checked(until);
        let windows: BTreeSet<&str> = found["scope.totals"].keys().map(|key| key[1].as_str()).collect();
        assert_eq!(windows.into_iter().collect::<Vec<_>>(), expected, "{until}");
    }
}
