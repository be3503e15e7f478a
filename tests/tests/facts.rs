//! The whole Online Retail file, replayed, answers what independent figures say: those of
//! `facts.json`, and of further windows that this test computes plainly from the CSV, with the csv
//! crate and maps.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    fs,
};

use etalage_tests::{Shop, binary::root};
use serde_json::Value;

const CONFIG: &str = r#"
[windows]
names = ["1h", "1d", "7d", "400d"]
bucket = "1h"
phase = "aligned"
[scopes]
dimensions = ["global", "country"]
[online_retail]
non_items = []
"#;
const MICROS: f64 = 1e6;

/// A row of the file that was sold or refunded.
struct Row {
    invoice: String,
    item: String,
    at: String,
    country: String,
    units: i64,
    micros: i128,
    is_sale: bool,
}

fn rows() -> Vec<Row> {
    let file = fs::File::open(root().join("data/online-retail/online_retail.csv.zst")).expect("the data is there");
    let mut reader = csv::Reader::from_reader(zstd::Decoder::new(file).expect("it is zstd"));
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.expect("a row");
        let (invoice, units): (&str, i64) = (&record[0], record[3].parse().expect("a number"));
        let price: f64 = record[5].parse().expect("a number");
        let is_refund = invoice.starts_with('C');
        let is_sale = !is_refund && !invoice.starts_with('A') && units > 0 && price > 0.0;
        if is_sale || is_refund {
            let units = units.abs();
            let micros = (price * MICROS).round() as i128 * i128::from(units);
            let (item, at, country) = (record[1].to_owned(), record[4].to_owned(), record[7].to_owned());
            rows.push(Row { invoice: invoice.to_owned(), item, at, country, units, micros, is_sale });
        }
    }
    rows
}

/// What happened to an item.
#[derive(Default)]
struct Item {
    lines: i64,
    orders: i64,
    units: i64,
    net_units: i64,
    micros: i128,
}

/// What happened in a scope.
#[derive(Default, Debug, PartialEq)]
struct Totals {
    orders: i64,
    lines: i64,
    units: i64,
    micros: i128,
    refund_lines: i64,
    refund_micros: i128,
    items_sold: i64,
}

/// The answers of one replay up to `until`.
struct Answers(Vec<Value>);

impl Answers {
    fn until(until: Option<&str>) -> Answers {
        let shop = Shop::new(CONFIG);
        let file = root().join("data/online-retail/online_retail.csv.zst");
        let file = file.to_str().expect("a path that is text");
        let mut arguments = vec!["replay", file, "--format", "online-retail", "--dump", "scope.totals"];
        arguments.extend(["--dump", "item.popularity:global/"]);
        arguments.extend(until.into_iter().flat_map(|until| ["--until", until]));
        Answers(shop.ended(&arguments).with_code(0).json_lines())
    }

    fn totals(&self, scope: &str, window: &str) -> Totals {
        let is_it = |row: &&Value| {
            row["view"] == "scope.totals" && row["key"]["scope"] == scope && row["key"]["window"] == window
        };
        let Some(row) = self.0.iter().find(is_it) else { return Totals::default() };
        let number = |name: &str| row["value"][name].as_i64().unwrap_or_else(|| panic!("{name} in {row}"));
        Totals {
            orders: number("orders"),
            lines: number("lines"),
            units: number("units"),
            micros: number("revenue_micros").into(),
            refund_lines: number("refund_lines"),
            refund_micros: number("refund_micros").into(),
            items_sold: number("items_sold"),
        }
    }

    fn items(&self, window: &str) -> BTreeMap<String, Item> {
        let rows = self.0.iter().filter(|row| row["view"] == "item.popularity" && row["key"]["window"] == window);
        let item = |row: &Value| {
            let number = |name: &str| row["value"][name].as_i64().expect("a number");
            let item = Item {
                lines: number("lines"),
                orders: number("orders"),
                units: number("units"),
                net_units: number("units") - number("refund_units"),
                micros: number("revenue_micros").into(),
            };
            (row["key"]["item_id"].as_str().expect("a text").to_owned(), item)
        };
        rows.map(item).collect()
    }
}

/// The first ten by a measure, descending, then by code.
fn top(items: &BTreeMap<String, Item>, of: impl Fn(&Item) -> i128) -> Vec<(String, i128)> {
    let mut ranked: Vec<(String, i128)> = items.iter().map(|(code, item)| (code.clone(), of(item))).collect();
    ranked.retain(|(_, measure)| *measure > 0);
    ranked.sort_by_key(|(code, measure)| (Reverse(*measure), code.clone()));
    ranked.truncate(10);
    ranked
}

/// A list of `facts.json`; `scale` brings its numbers to ours.
fn listed(facts: &Value, name: &str, scale: f64) -> Vec<(String, i128)> {
    let pair = |pair: &Value| {
        let number = pair[1].as_f64().expect("a number") * scale;
        (pair[0].as_str().expect("a code").to_owned(), number.round() as i128)
    };
    facts[name].as_array().expect("a list").iter().map(pair).collect()
}

fn check_facts(answers: &Answers, window: &str, facts: &Value) {
    let totals = answers.totals("global", window);
    let fact = |name: &str| facts[name].as_i64().unwrap_or_else(|| panic!("{name} is among the facts"));
    assert_eq!(totals.lines, fact("sale_lines"));
    assert_eq!(totals.orders, fact("sale_orders"));
    assert_eq!(totals.units, fact("sale_units"));
    assert_eq!(totals.items_sold, fact("products_sold"));
    assert_eq!(totals.refund_lines, facts["classes"]["cancel"].as_i64().expect("a count"));
    let pounds = facts["sale_revenue_pounds"].as_f64().expect("an amount");
    assert_eq!(totals.micros, (pounds * MICROS).round() as i128);
    let items = answers.items(window);
    assert_eq!(top(&items, |item| item.lines.into()), listed(facts, "top_by_sale_lines", 1.0));
    assert_eq!(top(&items, |item| item.orders.into()), listed(facts, "top_by_orders", 1.0));
    assert_eq!(top(&items, |item| item.units.into()), listed(facts, "top_by_units", 1.0));
    assert_eq!(top(&items, |item| item.net_units.into()), listed(facts, "top_by_net_units", 1.0));
    assert_eq!(top(&items, |item| item.micros), listed(facts, "top_by_revenue_pounds", MICROS));
}

/// The totals of rows dated from `from` to before `to`, plainly.
fn plain(rows: &[Row], country: Option<&str>, from: &str, to: &str) -> Totals {
    let mut totals = Totals::default();
    let (mut orders, mut items) = (BTreeSet::new(), BTreeSet::new());
    let within = |row: &&Row| row.at.as_str() >= from && row.at.as_str() < to;
    for row in rows.iter().filter(within).filter(|row| country.is_none_or(|country| row.country == country)) {
        if row.is_sale {
            totals.lines += 1;
            totals.units += row.units;
            totals.micros += row.micros;
            orders.insert(&row.invoice);
            items.insert(&row.item);
        } else {
            totals.refund_lines += 1;
            totals.refund_micros += row.micros;
        }
    }
    Totals { orders: orders.len() as i64, items_sold: items.len() as i64, ..totals }
}

fn facts() -> Value {
    let text = fs::read_to_string(root().join("data/online-retail/facts.json")).expect("the facts are there");
    serde_json::from_str(&text).expect("they are JSON")
}

#[test]
fn the_whole_file() {
    let answers = Answers::until(None);
    assert_eq!(answers.0[0]["as_of"], "2011-12-09T12:50:00.000000Z", "evaluated at the greatest accepted event time");
    check_facts(&answers, "400d", &facts()["all"]["measures"]);
}

#[test]
fn the_first_day_and_an_hour() {
    let facts = facts();
    let answers = Answers::until(Some("2010-12-02T00:00:00Z"));
    assert_eq!(answers.0[0]["as_of"], "2010-12-02T00:00:00.000000Z");
    check_facts(&answers, "1d", &facts["first day 2010-12-01"]);
    check_facts(&Answers::until(Some("2010-12-06T17:00:00Z")), "1h", &facts["hour 2010-12-06 16"]);
}

#[test]
fn a_late_day_and_further_windows() {
    let answers = Answers::until(Some("2011-12-06T00:00:00Z"));
    check_facts(&answers, "1d", &facts()["day 2011-12-05"]);
    let rows = rows();
    let to = "2011-12-06 00:00:00";
    for (window, from) in
        [("1d", "2011-12-05 00:00:00"), ("7d", "2011-11-29 00:00:00"), ("400d", "2010-11-01 00:00:00")]
    {
        assert_eq!(answers.totals("global", window), plain(&rows, None, from, to), "{window}");
        for country in ["United Kingdom", "Germany", "EIRE", "Iceland"] {
            let scope = format!("country:{country}");
            assert_eq!(answers.totals(&scope, window), plain(&rows, Some(country), from, to), "{scope}, {window}");
        }
    }
}
