//! The real data of the demonstration, and what is known of its items beforehand.

use std::collections::{BTreeMap, BTreeSet};

use etalage_model::{
    decode::online_retail::{self, Options, Reader},
    money::{Currencies, micros_of},
};

/// Who made the data, and under which licence it may be handed on.
pub const ATTRIBUTION: &str = "Online Retail data set, D. Chen (2015), UCI Machine Learning Repository, \
                               https://doi.org/10.24432/C5BW33, licence CC BY 4.0";

/// Codes of the data that are no products: postage (`POST`, `DOT`, `C2`), manual entries (`M`,
/// `m`), discounts (`D`), samples (`S`), fees and bookkeeping (`BANK CHARGES`, `AMAZONFEE`, `B`,
/// `CRUK`), an addition to cushions (`PADS`), and gift vouchers.
pub const NON_ITEMS: &[&str] = &[
    "AMAZONFEE",
    "B",
    "BANK CHARGES",
    "C2",
    "CRUK",
    "D",
    "DOT",
    "M",
    "PADS",
    "POST",
    "S",
    "gift_0001_10",
    "gift_0001_20",
    "gift_0001_30",
    "gift_0001_40",
    "gift_0001_50",
    "m",
];

/// The data as it is packed into the repository.
const PACKED: &[u8] =
    include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/online-retail/online_retail.csv.zst"));

/// The rows, unpacked as they are read.
pub(super) type Rows = zstd::stream::read::Decoder<'static, &'static [u8]>;

/// What the data says of an item over its whole time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The description that stands there most often.
    pub(super) title: String,
    /// Lines sold.
    pub(super) lines: u64,
    /// Units sold.
    pub(super) units: i64,
    /// Price of the first sale, in micros.
    pub(super) price_micros: i64,
}

/// The messages of the data, from the beginning.
pub(super) fn messages(currencies: &Currencies) -> Reader<Rows> {
    let options = Options {
        non_items: NON_ITEMS.iter().map(|code| (*code).to_owned()).collect(),
        currencies: currencies.clone(),
    };
    Reader::new(rows(), options).expect("the data that is packed in has the header of its format")
}

/// Reads the data once and sums up each item that was sold, in the order of their codes.
pub(super) fn facts() -> BTreeMap<String, Facts> {
    let mut items: BTreeMap<String, (Facts, BTreeMap<String, u64>)> = BTreeMap::new();
    let non_items: BTreeSet<&str> = NON_ITEMS.iter().copied().collect();
    let mut rows = csv::Reader::from_reader(rows());
    let mut row = csv::StringRecord::new();
    let at = |name: &str| online_retail::COLUMNS.iter().position(|column| *column == name).expect("a column's name");
    let [code, title, quantity, price, invoice] =
        ["StockCode", "Description", "Quantity", "UnitPrice", "InvoiceNo"].map(at);
    while rows.read_record(&mut row).is_ok_and(|more| more) {
        let (code, title, invoice) = (&row[code], row[title].trim(), &row[invoice]);
        let quantity: i64 = row[quantity].parse().unwrap_or_default();
        let price: f64 = row[price].parse().unwrap_or_default();
        let is_sale = quantity > 0 && price > 0.0 && invoice.starts_with(|c: char| c.is_ascii_digit());
        if !is_sale || non_items.contains(code) {
            continue;
        }
        if !items.contains_key(code) {
            items.insert(code.to_owned(), Default::default());
        }
        let (facts, titles) = items.get_mut(code).expect("it was put there");
        if facts.lines == 0 {
            facts.price_micros = micros_of(price).unwrap_or_default();
        }
        facts.lines += 1;
        facts.units += quantity;
        match titles.get_mut(title) {
            Some(count) => *count += 1,
            None if title.is_empty() => {}
            None => {
                titles.insert(title.to_owned(), 1);
            }
        }
    }
    let titled = items.into_iter().map(|(code, (facts, titles))| {
        let most = titles.into_iter().max_by_key(|(_, count)| *count).map(|(title, _)| title);
        let title = most.unwrap_or_else(|| code.clone());
        (code, Facts { title, ..facts })
    });
    titled.collect()
}

fn rows() -> Rows {
    let opened = zstd::stream::read::Decoder::with_buffer(PACKED);
    opened.expect("the data that is packed in begins as Zstandard does")
}
