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
mod lines;
mod row;

use std::{
    collections::BTreeSet,
    fmt,
    io::{self, Read},
};

use self::{
    assembly::Assembly,
    lines::{Line, Lines},
    row::Rows,
};
use crate::{Record, Refusal, money::Currencies};

/// The columns that the first line must name.
pub const COLUMNS: [&str; 8] =
    ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"];

/// The currency of the file's prices.
pub const CURRENCY: &str = "GBP";

/// The most items of one message.
pub const MAX_ITEMS: usize = 200;

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

/// A line that is no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number; the header is line 1.
    pub line: u64,
    /// Its bytes, without the line end.
    pub raw: Vec<u8>,
    /// What is wrong with it.
    pub reason: Refusal,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// Why there is no message here.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// One bad line; the reader goes on behind it.
    #[error("{0}")]
    Line(BadLine),
    /// The input is empty or starts with another header. Only [`Reader::new`] says so.
    #[error("this is no Online Retail file: the first line must be `{expected}`, found {found}")]
    Header {
        /// The header of this format.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// The input broke off (a truncated archive, a failing disk). Nothing follows, and the
    /// message at hand is left out, since it may lack rows.
    #[error("reading broke off at line {line}: {source}")]
    Input {
        /// The line that was being read.
        line: u64,
        /// What the input said.
        source: io::Error,
    },
}

/// Reads messages, and the bad lines between them, in the order of the file.
pub struct Reader<R> {
    lines: Lines<R>,
    rows: Rows,
    assembly: Assembly,
    is_at_end: bool,
}

impl<R: Read> Reader<R> {
    /// Reads and checks the header.
    ///
    /// # Errors
    /// [`ReadError::Header`] where it is not the one of this format, [`ReadError::Input`] where
    /// it could not be read.
    pub fn new(input: R, options: Options) -> Result<Reader<R>, ReadError> {
        let mut lines = Lines::new(input);
        let mut rows = Rows::new();
        check_header(&mut lines, &mut rows)?;
        Ok(Reader { lines, rows, assembly: Assembly::new(options), is_at_end: false })
    }

    /// What was read so far.
    pub fn counts(&self) -> Counts {
        self.assembly.counts()
    }

    /// The number of the last line that was read.
    pub fn line(&self) -> u64 {
        self.lines.line()
    }

    /// Reads one record of the file.
    fn advance(&mut self) {
        match self.lines.record() {
            Ok(Some(Ok(line))) => match self.rows.row(&line.text, self.assembly.options()) {
                Ok(row) => self.assembly.absorb(&row, &line),
                Err(reason) => self.assembly.bad(BadLine { line: line.number, raw: line.text, reason }),
            },
            Ok(Some(Err(bad))) => self.assembly.bad(bad),
            Ok(None) => {
                self.is_at_end = true;
                self.assembly.finish();
            }
            Err(source) => {
                self.is_at_end = true;
                self.assembly.break_off(ReadError::Input { line: self.lines.line() + 1, source });
            }
        }
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(ready) = self.assembly.take() {
                return Some(ready);
            }
            if self.is_at_end {
                return None;
            }
            self.advance();
        }
    }
}

/// The most of a wrong header that is shown, in characters.
const SHOWN_CHARS: usize = 120;

fn check_header<R: Read>(lines: &mut Lines<R>, rows: &mut Rows) -> Result<(), ReadError> {
    let header = |found| Err(ReadError::Header { expected: COLUMNS.join(","), found });
    match lines.record().map_err(|source| ReadError::Input { line: 1, source })? {
        None => header("nothing".to_owned()),
        Some(Ok(line)) if rows.is_header(&line.text) => Ok(()),
        Some(Ok(Line { text, .. }) | Err(BadLine { raw: text, .. })) => {
            let shown: String = String::from_utf8_lossy(&text).chars().take(SHOWN_CHARS).collect();
            header(format!("`{}`", shown.escape_debug()))
        }
    }
}
