//! The UCI "Online Retail" file into messages: the invoice lines of a shop, oldest first.
//!
//! ```text
//! line ──► row ──► class ──┬─ sale, cancel ─► run of equal (InvoiceNo, InvoiceDate, class)
//!   │       │              │                    └─► purchase, refund: at most 200 items each
//!   │       │              ├─ adjust, free ─► stock delta = Quantity, one message a row
//!   └───────┴─► bad line   └─ baddebt ─► counted only
//! ```
//!
//! **Classes**, the first that fits: `cancel` InvoiceNo starts with C; `baddebt` with A; `adjust`
//! Quantity < 0; `free` Quantity > 0 and UnitPrice <= 0; `sale` the rest.
//!
//! **Messages.** `transaction_id` is the InvoiceNo (a cancellation's own: it names no earlier
//! one), `userId` the CustomerID without its `.0`, times are UTC, prices GBP. `messageId` is made
//! from the message's rows and the number of the first one's line, so that the same file gives
//! the same ids and equal rows at two places do not meet. A run that another one interrupts goes
//! on as a message of its own, and so does one whose customer or country changes.
//!
//! **Bad lines** (columns, quoting, numbers, dates, encoding) come out as
//! [`ReadError::Line`] at their place, belong to no run, interrupt none, and reading goes on.

mod assembly;
mod row;

use std::{collections::BTreeSet, io::Read};

use self::{assembly::Assembly, row::Rows};
use super::{ReadError, assembling::Assembling, lines::Lines};
use crate::{Record, money::Currencies};

/// The columns that the first line must name.
pub const COLUMNS: [&str; 8] =
    ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"];

/// The currency of the file's prices.
pub const CURRENCY: &str = "GBP";

/// How the file is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Stock codes that are no products (`POST`, `M`, …): their rows, of every class, are
    /// skipped. Upper and lower case differ.
    pub non_items: BTreeSet<String>,
    /// The shop's currency, with a rate for GBP where it is another.
    pub currencies: Currencies,
}

impl Default for Options {
    /// Every code is a product, and the shop's currency is the file's.
    fn default() -> Options {
        Options { non_items: BTreeSet::new(), currencies: Currencies::only(CURRENCY) }
    }
}

/// What was read so far. `rows` is the sum of the five classes and `bad`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records after the header; blank lines are none.
    pub rows: u64,
    /// Rows sold.
    pub sale: u64,
    /// Rows of cancellations.
    pub cancel: u64,
    /// Rows given away, or found.
    pub free: u64,
    /// Rows of stock written off.
    pub adjust: u64,
    /// Rows of bookkeeping, skipped.
    pub baddebt: u64,
    /// Of the rows of the classes: skipped since their code is in `non_items`.
    pub non_items: u64,
    /// Rows that could not be read.
    pub bad: u64,
    /// Messages made of the rest.
    pub messages: u64,
}

/// Reads messages, and the bad lines between them, in the order of the file.
pub struct Reader<R> {
    rows: Assembling<R, Assembly>,
}

impl<R: Read> Reader<R> {
    /// Reads and checks the header.
    ///
    /// # Errors
    /// [`ReadError::Header`] where it is not the one of this format, [`ReadError::Input`] where
    /// it could not be read.
    pub fn new(input: R, options: Options) -> Result<Reader<R>, ReadError> {
        let mut lines = Lines::csv(input);
        let mut rows = Rows::new();
        lines.header("Online Retail", |header| {
            if rows.is_header(header) { Ok(()) } else { Err(format!("be `{}`", COLUMNS.join(","))) }
        })?;
        Ok(Reader { rows: Assembling::new(lines, Assembly::new(rows, options)) })
    }

    /// What was read so far.
    pub fn counts(&self) -> Counts {
        self.rows.assembly.counts()
    }

    /// The number of the last line that was read.
    pub fn line(&self) -> u64 {
        self.rows.line()
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rows.next().map(|result| result.map(|(_, record)| record))
    }
}
