//! The rows of the Online Retail file and what they add up to, by the plainest means.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::Path,
};

/// A row that counts: sold, or taken back.
pub(super) struct Row {
    /// Seconds since the Unix epoch.
    pub(super) at: i64,
    pub(super) invoice: String,
    pub(super) code: String,
    pub(super) country: String,
    /// Without its `.0`.
    pub(super) customer: Option<String>,
    class: Class,
    units: i64,
    micros: i64,
}

#[derive(PartialEq)]
enum Class {
    Sale,
    Cancel,
    /// Stock that was corrected or given away, bad debts.
    Other,
}

/// What rows add up to.
#[derive(Default)]
pub(super) struct Measures {
    pub(super) orders: BTreeSet<String>,
    pub(super) items: BTreeSet<String>,
    pub(super) lines: i64,
    pub(super) units: i64,
    pub(super) revenue_micros: i64,
    pub(super) refund_lines: i64,
    pub(super) refund_units: i64,
    pub(super) refund_micros: i64,
    /// The first and the last sale.
    pub(super) sold_at: Option<(i64, i64)>,
    pub(super) buyers: BTreeSet<String>,
}

impl Measures {
    pub(super) fn add(&mut self, row: &Row) {
        match row.class {
            Class::Sale => {
                self.orders.insert(row.invoice.clone());
                self.items.insert(row.code.clone());
                self.lines += 1;
                self.units += row.units;
                self.revenue_micros += row.micros;
                let (first, last) = self.sold_at.unwrap_or((row.at, row.at));
                self.sold_at = Some((first.min(row.at), last.max(row.at)));
                self.buyers.extend(row.customer.clone());
            }
            Class::Cancel => {
                self.refund_lines += 1;
                self.refund_units -= row.units;
                self.refund_micros -= row.micros;
            }
            Class::Other => {}
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines == 0 && self.refund_lines == 0
    }
}

/// All rows of the file.
pub(super) fn rows(path: &Path) -> Vec<Row> {
    let unpacked = zstd::Decoder::new(File::open(path).expect("the file is there")).expect("it is packed with zstd");
    let mut csv = csv::Reader::from_reader(unpacked);
    let columns: BTreeMap<String, usize> =
        csv.headers().expect("it has a header").iter().map(str::to_owned).zip(0..).collect();
    let records = csv.records().map(|record| {
        let record = record.expect("a row is CSV");
        let text = |column: &str| record[columns[column]].to_owned();
        let units: i64 = text("Quantity").parse().expect("a whole number");
        let price = decimal_micros(&text("UnitPrice"));
        let invoice = text("InvoiceNo");
        let class = match invoice.as_bytes()[0] {
            b'C' => Class::Cancel,
            b'A' => Class::Other,
            _ if units > 0 && price > 0 => Class::Sale,
            _ => Class::Other,
        };
        let (code, country) = (text("StockCode"), text("Country"));
        let customer = text("CustomerID").strip_suffix(".0").map(str::to_owned);
        let at = instant(&text("InvoiceDate"));
        Row { at, invoice, code, country, customer, class, units, micros: units * price }
    });
    records.collect()
}

/// `12.5` → 12,500,000.
fn decimal_micros(text: &str) -> i64 {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = format!("{fraction:0<6}");
    assert_eq!(fraction.len(), 6, "`{text}` has too many digits");
    sign * (whole.parse::<i64>().expect("digits") * 1_000_000 + fraction.parse::<i64>().expect("digits"))
}

/// `2010-12-01 08:26:00`, or with a `T`, in seconds since the Unix epoch.
pub(super) fn instant(text: &str) -> i64 {
    let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().expect("digits");
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    // Days from civil (Howard Hinnant): years begin in March, so that the leap day is the last.
    let years = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (years.div_euclid(400), years.rem_euclid(400));
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    ((days * 24 + number(11..13)) * 60 + number(14..16)) * 60 + number(17..19)
}

/// Seconds since the Unix epoch as etalage writes them, by looking for the day.
pub(super) fn text_of(at: i64) -> String {
    let days =
        (2010..2012).flat_map(|year| (1..=12).flat_map(move |month| (1..=31).map(move |day| (year, month, day))));
    let mut texts = days.map(|(year, month, day)| format!("{year}-{month:02}-{day:02}"));
    let of_day = |text: &String| instant(&format!("{text} 00:00:00")) == at - at.rem_euclid(86_400);
    // What looks like the 31st of a shorter month is the first of the next.
    let day = texts.rfind(of_day).expect("a day of the file");
    let second = at.rem_euclid(86_400);
    format!("{day}T{:02}:{:02}:{:02}.000000Z", second / 3_600, second / 60 % 60, second % 60)
}

#[test]
fn instants_and_amounts_are_read() {
    assert_eq!(instant("1970-01-01 00:00:00"), 0);
    assert_eq!(instant("2010-12-01 08:26:00"), 1_291_191_960);
    assert_eq!(instant("2012-02-29T23:59:59"), 1_330_559_999);
    assert_eq!(
        (decimal_micros("2.55"), decimal_micros("-11062.06"), decimal_micros("3")),
        (2_550_000, -11_062_060_000, 3_000_000)
    );
}
