//! A record's fields into a typed row.

use super::{super::table::Table, COLUMNS, CURRENCY, Options};
use crate::{Micros, Refusal, money::MAX_LINE_MICROS};

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

/// Checks the fields of records.
pub(super) struct Rows(Table<8>);

impl Rows {
    pub(super) fn new() -> Rows {
        Rows(Table::new(COLUMNS))
    }

    /// True where `text` names the columns of this format.
    pub(super) fn is_header(&mut self, text: &[u8]) -> bool {
        self.0.is_header(text)
    }

    /// The row that the record `text` holds.
    pub(super) fn row(&mut self, text: &[u8], options: &Options) -> Result<Row<'_>, Refusal> {
        self.0.read(text)?;
        let at = self.0.date(4, "")?;
        let table = &self.0;
        let (invoice, code) = (table.required(0)?, table.required(1)?);
        let quantity = table.number::<i64>(3, "a whole number")?;
        let price = table.amount(5)?;
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
            customer: table.text(6)?.map(|id| id.strip_suffix(".0").unwrap_or(id)),
            country: table.text(7)?,
        })
    }

    fn check_ranges(&self, class: Class, quantity: i64, price: i64) -> Result<(), Refusal> {
        let expected = match class {
            _ if quantity.unsigned_abs() > MAX_QUANTITY.unsigned_abs() => "at most 1,000,000,000 units either way",
            Class::Sale if quantity == 0 => "a quantity other than 0",
            Class::Cancel if quantity >= 0 => "a quantity below 0, since the invoice is a cancellation (C…)",
            Class::Cancel if price < 0 => return Err(self.0.wrong(5, "an amount that is not negative")),
            _ => return Ok(()),
        };
        Err(self.0.wrong(3, expected))
    }
}
