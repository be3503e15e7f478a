//! A record's fields into a typed row.

use super::{super::table::Table, COLUMNS, CURRENCY};
use crate::{
    EventKind, Micros, Refusal,
    message::category_text,
    money::{Currencies, MAX_LINE_MICROS},
};

/// The most levels of a category.
const MAX_CATEGORY_LEVELS: usize = 10;

// Places in [`COLUMNS`].
const TIME: usize = 0;
const TYPE: usize = 1;
const PRODUCT: usize = 2;
const CATEGORY_ID: usize = 3;
const CATEGORY_CODE: usize = 4;
const BRAND: usize = 5;
const PRICE: usize = 6;
const USER: usize = 7;
const SESSION: usize = 8;

/// A row of the file.
pub(super) struct Row<'r> {
    pub(super) at: Micros,
    pub(super) kind: EventKind,
    pub(super) product: &'r str,
    /// The levels, joined.
    pub(super) category: Option<String>,
    pub(super) brand: Option<&'r str>,
    /// In the file's currency.
    pub(super) price_micros: i64,
    /// In the shop's.
    pub(super) shop_price_micros: i64,
    pub(super) user: &'r str,
    session: Option<&'r str>,
}

impl Row<'_> {
    /// What a purchase belongs to.
    pub(super) fn transaction(&self) -> String {
        let at_s = self.at.0 / 1_000_000;
        match self.session {
            Some(session) => format!("{session}:{at_s}"),
            None => format!("user-{}:{at_s}", self.user),
        }
    }
}

/// Checks the fields of records.
pub(super) struct Rows {
    table: Table<9>,
    currencies: Currencies,
}

impl Rows {
    pub(super) fn new(currencies: Currencies) -> Rows {
        Rows { table: Table::new(COLUMNS), currencies }
    }

    /// Takes the header, or says which columns it lacks.
    pub(super) fn find_columns(&mut self, header: &[u8]) -> Result<(), Vec<&'static str>> {
        self.table.find_columns(header)
    }

    /// The row that the record `text` holds.
    pub(super) fn row(&mut self, text: &[u8]) -> Result<Row<'_>, Refusal> {
        self.table.read(text)?;
        let at = self.table.date(TIME, " UTC")?;
        let table = &self.table;
        let kind = match table.field(TYPE) {
            "view" => EventKind::ViewItem,
            "cart" => EventKind::AddToCart,
            "remove_from_cart" => EventKind::RemoveFromCart,
            "purchase" => EventKind::Purchase,
            _ => return Err(table.wrong(TYPE, "view, cart, remove_from_cart or purchase")),
        };
        let (product, user) = (table.required(PRODUCT)?, table.required(USER)?);
        let price = if table.field(PRICE).is_empty() { 0 } else { table.amount(PRICE)? };
        if price < 0 {
            return Err(table.wrong(PRICE, "an amount that is not negative"));
        }
        // Nothing is worth nothing in every currency, so it needs no rate.
        let shop_price = if price == 0 { 0 } else { self.currencies.convert(price, Some(CURRENCY), at)? };
        if i128::from(shop_price) > MAX_LINE_MICROS {
            return Err(Refusal::AmountTooLarge);
        }
        Ok(Row {
            at,
            kind,
            product,
            category: category(table)?,
            brand: table.text(BRAND)?,
            price_micros: price,
            shop_price_micros: shop_price,
            user,
            session: table.text(SESSION)?,
        })
    }
}

fn category(table: &Table<9>) -> Result<Option<String>, Refusal> {
    let code = table.text(CATEGORY_CODE)?.unwrap_or_default();
    if code.split('.').count() > MAX_CATEGORY_LEVELS {
        return Err(table.wrong(CATEGORY_CODE, "at most 10 levels"));
    }
    let id = table.text(CATEGORY_ID)?;
    Ok(category_text(code.split('.')).or_else(|| category_text(id)))
}
