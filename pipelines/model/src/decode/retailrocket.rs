//! The two kinds of file of the Retailrocket data set into messages, in the order of time. The
//! header tells which of them a file is.
//!
//! ```text
//! line ──► row ──► kept as written ──► order of (timestamp, line) ──► messages
//!   │       │
//!   │       └─ properties other than `available` and `categoryid`: counted only
//!   └─► bad line
//! ```
//!
//! **Events** (`timestamp,visitorid,event,itemid,transactionid`): `view` is a `view_item`,
//! `addtocart` an `add_to_cart`, `transaction` a `purchase` of its `transactionid`. `anonymousId`
//! is the visitor. There are no prices (0), and a row is one unit. Rows of one transaction, visitor
//! and timestamp that follow each other in that order are one message of at most 200 items.
//!
//! **Properties** (`timestamp,itemid,property,value`): `available` 0 or 1 sets the stock of the
//! item, `categoryid` is its category in the catalogue, of one level.
//!
//! **Order, memory.** The files are not sorted by time and span months, and a replay refuses what
//! is dated far ahead of its clock. So the rows are read to the end first, as their own bytes and
//! 24 more each, up to [`Limits`]; then messages come. **Bad lines** come out while
//! rows are read, before all messages, and are not kept. Where the input breaks off no message
//! comes at all, since a row that is missing may belong anywhere.
//!
//! `messageId` is made from the message's rows and the number of the first one's line.

mod kept;
mod row;

use std::{io::Read, vec};

pub use self::row::{EVENT_COLUMNS, PROPERTY_COLUMNS};
use self::{
    kept::{Kept, Place},
    row::{Row, Rows, What},
};
use super::{
    BadLine, ReadError,
    assembling::{Assembling, Assembly, Placed},
    draft::{Draft, Origin, catalogue_record, plain_item, stock_record},
    lines::{Line, Lines},
};
use crate::{Catalogue, CatalogueEntry, EventKind, Inventory, Record, StockOp, Sym};

const ORIGIN: Origin = Origin { name: "retailrocket", currency: "" };

/// How much is put into order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows that are kept. Default 30,000,000; the greatest file of the data set needs 3,000,000.
    pub max_rows: usize,
    /// Bytes of their texts. Default 3 GiB; at most 4 GiB are kept, whatever stands here.
    pub max_row_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_rows: 30_000_000, max_row_bytes: 3 << 30 }
    }
}

/// What was read so far. `rows` is the sum of the others but `messages`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records after the header; blank lines are none.
    pub rows: u64,
    /// Rows of `view`.
    pub views: u64,
    /// Rows of `addtocart`.
    pub carts: u64,
    /// Rows of `transaction`.
    pub transactions: u64,
    /// Rows of `available`.
    pub stock: u64,
    /// Rows of `categoryid`.
    pub categories: u64,
    /// Rows of other properties, skipped.
    pub skipped: u64,
    /// Rows that could not be read.
    pub bad: u64,
    /// Messages made of the rest.
    pub messages: u64,
}

/// Reads bad lines, then messages in the order of time, each with the number of its last line.
pub struct Reader<R> {
    rows: Assembling<R, Ordering>,
}

impl<R: Read> Reader<R> {
    /// Reads and checks the header.
    ///
    /// # Errors
    /// [`ReadError::Header`] where it is that of neither kind, [`ReadError::Input`] where it
    /// could not be read.
    pub fn new(input: R, limits: Limits) -> Result<Reader<R>, ReadError> {
        let mut lines = Lines::csv(input);
        let rows = lines.header(ORIGIN.name, Rows::of_header)?;
        let kept = Kept::new(limits);
        let ordering = Ordering {
            rows,
            counts: Counts::default(),
            kept,
            bad: None,
            order: Vec::new().into_iter(),
            next: None,
            error: None,
        };
        Ok(Reader { rows: Assembling::new(lines, ordering) })
    }

    /// What was read so far.
    pub fn counts(&self) -> Counts {
        self.rows.assembly.counts
    }

    /// The number of the last line that was read.
    pub fn line(&self) -> u64 {
        self.rows.line()
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<(u64, Record), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rows.next()
    }
}

/// Rows that go in, and messages that come out once all of them are in.
struct Ordering {
    rows: Rows,
    counts: Counts,
    kept: Kept,
    bad: Option<BadLine>,
    /// Why nothing is taken any more.
    error: Option<ReadError>,
    /// The rows that are still to come, once their order is known.
    order: vec::IntoIter<Place>,
    /// The first of them, where it was looked at to end what stands before it.
    next: Option<Place>,
}

impl Assembly for Ordering {
    fn absorb(&mut self, line: Line) {
        match self.rows.row(&line.text) {
            Ok(row) => {
                self.counts.count(row.as_ref().map(|row| &row.what));
                self.error = row.and_then(|row| self.kept.keep(row.at, &line).err());
            }
            Err(reason) => self.bad(BadLine { line: line.number, raw: line.text, reason }),
        }
    }

    fn bad(&mut self, bad: BadLine) {
        self.counts.rows += 1;
        self.counts.bad += 1;
        self.bad = Some(bad);
    }

    fn finish(&mut self) {
        self.order = self.kept.order().into_iter();
    }

    fn break_off(&mut self) {
        self.kept.forget();
    }

    fn take(&mut self) -> Option<Placed> {
        if let Some(bad) = self.bad.take() {
            return Some(Err(ReadError::Line(bad)));
        }
        if let Some(error) = self.error.take() {
            self.kept.forget();
            return Some(Err(error));
        }
        let made = self.make()?;
        self.counts.messages += u64::from(made.is_ok());
        Some(made)
    }

    fn is_over(&self) -> bool {
        self.error.is_some()
    }
}

impl Ordering {
    /// The next message of those whose rows are in order.
    fn make(&mut self) -> Option<Placed> {
        let mut order: Option<Draft> = None;
        while let Some(place) = self.next.take().or_else(|| self.order.next()) {
            let text = self.kept.text(&place);
            // It was read before, when it was kept, and reads alike again.
            let Ok(Some(row)) = self.rows.row(text) else { continue };
            if order.as_ref().is_some_and(|order| !continues(order, &row)) {
                self.next = Some(place);
                break;
            }
            match &row.what {
                What::Act { kind, visitor, transaction } => {
                    let draft = order.get_or_insert_with(|| {
                        let mut draft = Draft::new(*kind, row.at, place.line);
                        draft.event.anonymous_id = Some((*visitor).to_owned());
                        draft.event.transaction_id = transaction.map(str::to_owned);
                        draft
                    });
                    draft.add(text, place.line, plain_item(row.item, 1, 0), 0);
                    if *kind != EventKind::Purchase || draft.is_full() {
                        break;
                    }
                }
                What::Stock(units) => return Some(Ok((place.line, stock(&row, *units, text, place.line)))),
                What::Category(path) => return Some(Ok((place.line, catalogue(&row, *path, text, place.line)))),
            }
        }
        order.map(|draft| Ok(draft.record(ORIGIN)))
    }
}

/// True where `row` is one more item of `order`.
fn continues(order: &Draft, row: &Row<'_>) -> bool {
    let What::Act { kind: EventKind::Purchase, visitor, transaction } = row.what else { return false };
    order.event.timestamp == row.at
        && order.event.transaction_id.as_deref() == transaction
        && order.event.anonymous_id.as_deref() == Some(visitor)
}

fn stock(row: &Row<'_>, units: i64, text: &[u8], line: u64) -> Record {
    let stock = Inventory {
        message_id: String::new(),
        item_id: row.item,
        location_id: None,
        op: StockOp::Set(units),
        version: None,
        occurred_at: row.at,
    };
    stock_record(stock, ORIGIN, text, line)
}

fn catalogue(row: &Row<'_>, category: Sym, text: &[u8], line: u64) -> Record {
    let item = Catalogue {
        message_id: String::new(),
        item_id: row.item,
        updated_at: row.at,
        entry: Some(CatalogueEntry { category: Some(category), ..CatalogueEntry::default() }),
    };
    catalogue_record(item, ORIGIN, text, line)
}

impl Counts {
    /// Counts a row; `None` is one that is skipped.
    fn count(&mut self, what: Option<&What<'_>>) {
        self.rows += 1;
        *match what {
            None => &mut self.skipped,
            Some(What::Act { kind: EventKind::AddToCart, .. }) => &mut self.carts,
            Some(What::Act { kind: EventKind::Purchase, .. }) => &mut self.transactions,
            Some(What::Act { .. }) => &mut self.views,
            Some(What::Stock(_)) => &mut self.stock,
            Some(What::Category(_)) => &mut self.categories,
        } += 1;
    }
}
