//! A record's fields into a typed row.

use std::{
    io::{self, Read},
    str::FromStr,
};

use csv::{StringRecord, Terminator};

use super::{COLUMNS, CURRENCY, Options};
use crate::{
    Micros, Refusal,
    money::{MAX_LINE_MICROS, micros_of},
};

/// The most bytes of an invoice number, stock code, customer or country.
const MAX_TEXT_BYTES: usize = 256;

/// The most units of one row, either way.
const MAX_QUANTITY: i64 = 1_000_000_000;

/// What a row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Sale,
    Cancel,
    Adjust,
    Free,
    BadDebt,
}

/// A row of the file.
pub(super) struct Row<'r> {
    pub(super) class: Class,
    pub(super) invoice: &'r str,
    pub(super) code: &'r str,
    pub(super) quantity: i64,
    pub(super) at: Micros,
    /// In the file's currency.
    pub(super) price_micros: i64,
    /// In the shop's.
    pub(super) shop_price_micros: i64,
    pub(super) customer: Option<&'r str>,
    pub(super) country: Option<&'r str>,
}

/// Splits records into fields and checks these.
pub(super) struct Rows {
    csv: csv::Reader<OneRecord>,
    fields: StringRecord,
    /// The last date as text and as an instant: neighbours mostly share theirs.
    last_date: (String, Micros),
}

impl Rows {
    pub(super) fn new() -> Rows {
        let csv = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .terminator(Terminator::Any(b'\n'))
            .from_reader(OneRecord::default());
        Rows { csv, fields: StringRecord::new(), last_date: (String::new(), Micros(0)) }
    }

    /// True where `text` names the columns of this format.
    pub(super) fn is_header(&mut self, text: &[u8]) -> bool {
        self.split(text).is_ok() && self.fields.iter().eq(COLUMNS)
    }

    /// The row that the record `text` holds.
    pub(super) fn row(&mut self, text: &[u8], options: &Options) -> Result<Row<'_>, Refusal> {
        self.split(text)?;
        if self.fields.len() != COLUMNS.len() {
            let (expected, found) = (COLUMNS.len(), self.fields.len());
            return Err(Refusal::Malformed(format!("expected {expected} columns, found {found}")));
        }
        let at = self.date()?;
        let invoice = self.text(0)?.ok_or_else(|| missing(0))?;
        let code = self.text(1)?.ok_or_else(|| missing(1))?;
        let quantity = self.number::<i64>(3, "a whole number")?;
        let price = self.number::<f64>(5, "an amount").and_then(|price| {
            if price.is_finite() {
                micros_of(price).ok_or(Refusal::AmountTooLarge)
            } else {
                Err(self.wrong(5, "an amount"))
            }
        })?;
        let class = match invoice.as_bytes()[0] {
            b'C' => Class::Cancel,
            b'A' => Class::BadDebt,
            _ if quantity < 0 => Class::Adjust,
            _ if quantity > 0 && price <= 0 => Class::Free,
            _ => Class::Sale,
        };
        self.check_ranges(class, quantity, price)?;
        let shop_price = match class {
            Class::Sale | Class::Cancel if price != 0 => options.currencies.convert(price, Some(CURRENCY), at)?,
            _ => 0,
        };
        if i128::from(shop_price) * i128::from(quantity.unsigned_abs()) > MAX_LINE_MICROS {
            return Err(Refusal::AmountTooLarge);
        }
        Ok(Row {
            class,
            invoice,
            code,
            quantity,
            at,
            price_micros: price,
            shop_price_micros: shop_price,
            customer: self.text(6)?.map(|id| id.strip_suffix(".0").unwrap_or(id)),
            country: self.text(7)?,
        })
    }

    fn check_ranges(&self, class: Class, quantity: i64, price: i64) -> Result<(), Refusal> {
        let expected = match class {
            _ if quantity.unsigned_abs() > MAX_QUANTITY.unsigned_abs() => "at most 1,000,000,000 units either way",
            Class::Sale if quantity == 0 => "a quantity other than 0",
            Class::Cancel if quantity >= 0 => "a quantity below 0, since the invoice is a cancellation (C…)",
            Class::Cancel if price < 0 => return Err(self.wrong(5, "an amount that is not negative")),
            _ => return Ok(()),
        };
        Err(self.wrong(3, expected))
    }

    fn split(&mut self, text: &[u8]) -> Result<(), Refusal> {
        self.csv.get_mut().put(text);
        match self.csv.read_record(&mut self.fields) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::Malformed("no columns".to_owned())),
            Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
                Err(Refusal::Malformed("not UTF-8".to_owned()))
            }
            Err(error) => Err(Refusal::Malformed(error.to_string())),
        }
    }

    fn date(&mut self) -> Result<Micros, Refusal> {
        let text = &self.fields[4];
        if text != self.last_date.0 {
            let has_shape = text.len() == "2010-12-01 08:26:00".len() && text.as_bytes()[10] == b' ';
            let at = Micros::parse(text).filter(|_| has_shape);
            self.last_date = (text.to_owned(), at.ok_or_else(|| self.wrong(4, "YYYY-MM-DD HH:MM:SS"))?);
        }
        Ok(self.last_date.1)
    }

    fn text(&self, column: usize) -> Result<Option<&str>, Refusal> {
        match &self.fields[column] {
            "" => Ok(None),
            text if text.len() > MAX_TEXT_BYTES => Err(self.wrong(column, "at most 256 bytes")),
            text => Ok(Some(text)),
        }
    }

    fn number<T: FromStr>(&self, column: usize, expected: &str) -> Result<T, Refusal> {
        self.fields[column].parse().map_err(|_| self.wrong(column, expected))
    }

    fn wrong(&self, column: usize, expected: &str) -> Refusal {
        let found: String = self.fields[column].chars().take(40).collect();
        Refusal::Invalid(format!("{}: expected {expected}, found `{found}`", COLUMNS[column]))
    }
}

fn missing(column: usize) -> Refusal {
    Refusal::Invalid(format!("{} is empty", COLUMNS[column]))
}

/// The input of the CSV reader: one record at a time, always ended, so that the reader never
/// meets an end of input and never waits for more than it is given.
#[derive(Default)]
struct OneRecord {
    text: Vec<u8>,
    read: usize,
}

impl OneRecord {
    fn put(&mut self, text: &[u8]) {
        self.text.clear();
        self.text.extend_from_slice(text);
        self.text.push(b'\n');
        self.read = 0;
    }
}

impl Read for OneRecord {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = (&self.text[self.read..]).read(out)?;
        self.read += count;
        Ok(count)
    }
}
