//! The event files of REES46 (the Kaggle sets of a multi-category and of a cosmetics shop) into
//! messages, in the order of the file, which is that of time.
//!
//! ```text
//! line ──► row ──┬─ view, cart, remove_from_cart ─► one event each
//!   │       │    └─ purchase ─► run of equal (user_session, user_id, event_time)
//!   │       │                      └─► purchase: at most 200 items each
//!   └───────┴─► bad line
//! ```
//!
//! **Messages.** `userId` is `user_id`, the shop's permanent id of a customer. A `user_session`
//! is no identity: it only tells orders apart. The transaction is `<user_session>:<seconds since
//! 1970>`, and `user-<user_id>:<seconds>` where the session is empty. A row is one unit; its price
//! is in USD, and an empty one is 0. The category is the levels of `category_code`
//! (`electronics.smartphone`), where that is empty the `category_id`. Ids of messages are made
//! from their rows and the number of the first one's line.
//!
//! A purchase run ends with any other row: it goes on as a message of its own, of the same
//! transaction. **Bad lines** come out as [`ReadError::Line`] at their place and interrupt none.

mod row;

use std::{collections::VecDeque, io::Read};

use self::row::{Row, Rows};
use super::{
    BadLine, ReadError,
    assembling::{Assembling, Assembly, Placed},
    draft::{Draft, Origin, symbol},
    lines::{Line, Lines},
    table::listed,
};
use crate::{EventKind, Item, Record, Refusal, money::Currencies};

/// The columns that the first line must name, in any order and among any others.
pub const COLUMNS: [&str; 9] = [
    "event_time",
    "event_type",
    "product_id",
    "category_id",
    "category_code",
    "brand",
    "price",
    "user_id",
    "user_session",
];

/// The currency of the file's prices.
pub const CURRENCY: &str = "USD";

const ORIGIN: Origin = Origin { name: "rees46", currency: CURRENCY };

/// What was read so far. `rows` is the sum of the four kinds and `bad`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records after the header; blank lines are none.
    pub rows: u64,
    /// Rows of views.
    pub views: u64,
    /// Rows of what was put into a cart.
    pub carts: u64,
    /// Rows of what was taken out again.
    pub removals: u64,
    /// Rows of what was bought.
    pub purchases: u64,
    /// Rows that could not be read.
    pub bad: u64,
    /// Messages made of the rest.
    pub messages: u64,
}

/// Reads messages, each with the number of its last line, and the bad lines between them.
pub struct Reader<R> {
    rows: Assembling<R, Rees46>,
}

impl<R: Read> Reader<R> {
    /// Reads and checks the header. `currencies` has the shop's currency, with a rate for USD
    /// where it is another.
    ///
    /// # Errors
    /// [`ReadError::Header`] where columns are missing, [`ReadError::Input`] where it could not
    /// be read.
    pub fn new(input: R, currencies: Currencies) -> Result<Reader<R>, ReadError> {
        let mut lines = Lines::csv(input);
        let mut rows = Rows::new(currencies);
        lines.header(ORIGIN.name, |header| {
            rows.find_columns(header).map_err(|missing| format!("name the columns {} too", listed(&missing)))
        })?;
        let runs = Runs { counts: Counts::default(), order: None, ready: VecDeque::new() };
        Ok(Reader { rows: Assembling::new(lines, Rees46 { rows, runs }) })
    }

    /// What was read so far.
    pub fn counts(&self) -> Counts {
        self.rows.assembly.runs.counts
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

struct Rees46 {
    rows: Rows,
    runs: Runs,
}

/// The order at hand, and what is complete.
struct Runs {
    counts: Counts,
    order: Option<Draft>,
    ready: VecDeque<Placed>,
}

impl Assembly for Rees46 {
    fn absorb(&mut self, line: Line) {
        let row = self.rows.row(&line.text);
        if let Err(reason) = row.and_then(|row| self.runs.absorb(&row, &line)) {
            self.bad(BadLine { line: line.number, raw: line.text, reason });
        }
    }

    fn bad(&mut self, bad: BadLine) {
        self.runs.counts.rows += 1;
        self.runs.counts.bad += 1;
        self.runs.ready.push_back(Err(ReadError::Line(bad)));
    }

    fn finish(&mut self) {
        self.runs.close();
    }

    fn break_off(&mut self) {
        self.runs.order = None;
    }

    fn take(&mut self) -> Option<Placed> {
        self.runs.ready.pop_front()
    }
}

impl Runs {
    fn absorb(&mut self, row: &Row<'_>, line: &Line) -> Result<(), Refusal> {
        let item = Item {
            item_id: symbol(row.product)?,
            brand: row.brand.map(symbol).transpose()?,
            category: row.category.as_deref().map(symbol).transpose()?,
            variant: None,
            list_id: None,
            location_id: None,
            quantity: 1,
            price_micros: row.price_micros,
        };
        self.count(row.kind);
        let transaction = (row.kind == EventKind::Purchase).then(|| row.transaction());
        if self.order.as_ref().is_some_and(|order| !continues(order, row, transaction.as_deref())) {
            self.close();
        }
        let draft = self.order.get_or_insert_with(|| {
            let mut draft = Draft::new(row.kind, row.at, line.number);
            draft.event.user_id = Some(row.user.to_owned());
            draft.event.transaction_id = transaction;
            draft
        });
        draft.add(&line.text, line.number, item, row.shop_price_micros);
        if row.kind != EventKind::Purchase || draft.is_full() {
            self.close();
        }
        Ok(())
    }

    fn count(&mut self, kind: EventKind) {
        self.counts.rows += 1;
        *match kind {
            EventKind::AddToCart => &mut self.counts.carts,
            EventKind::RemoveFromCart => &mut self.counts.removals,
            EventKind::Purchase => &mut self.counts.purchases,
            _ => &mut self.counts.views,
        } += 1;
    }

    fn close(&mut self) {
        if let Some(order) = self.order.take() {
            self.counts.messages += 1;
            self.ready.push_back(Ok(order.record(ORIGIN)));
        }
    }
}

/// True where `row` is one more item of `order`. The transaction names session and time.
fn continues(order: &Draft, row: &Row<'_>, transaction: Option<&str>) -> bool {
    transaction.is_some()
        && order.event.transaction_id.as_deref() == transaction
        && order.event.timestamp == row.at
        && order.event.user_id.as_deref() == Some(row.user)
}
