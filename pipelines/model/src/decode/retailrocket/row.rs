//! A record's fields into a typed row, of either kind of file.

use crate::{
    EventKind, Micros, Refusal, Sym,
    decode::{
        draft::symbol,
        table::{Table, listed},
    },
    message::category_text,
};

/// The columns of the file of events, in any order and among any others.
pub const EVENT_COLUMNS: [&str; 5] = ["timestamp", "visitorid", "event", "itemid", "transactionid"];

/// The columns of a file of item properties, in any order and among any others.
pub const PROPERTY_COLUMNS: [&str; 4] = ["timestamp", "itemid", "property", "value"];

/// A row that becomes a message, or a part of one.
pub(super) struct Row<'r> {
    pub(super) at: Micros,
    pub(super) item: Sym,
    pub(super) what: What<'r>,
}

/// What a row says of its item.
pub(super) enum What<'r> {
    /// A visitor did something with it.
    Act { kind: EventKind, visitor: &'r str, transaction: Option<&'r str> },
    /// So many units are in stock.
    Stock(i64),
    /// This is its category.
    Category(Sym),
}

/// Checks the fields of records.
pub(super) enum Rows {
    Events(Table<5>),
    Properties(Table<4>),
}

impl Rows {
    /// The kind of file that `header` begins, or what a header must do.
    pub(super) fn of_header(header: &[u8]) -> Result<Rows, String> {
        let (mut events, mut properties) = (Table::new(EVENT_COLUMNS), Table::new(PROPERTY_COLUMNS));
        let Err(of_events) = events.find_columns(header) else { return Ok(Rows::Events(events)) };
        let Err(of_properties) = properties.find_columns(header) else { return Ok(Rows::Properties(properties)) };
        let (of_events, of_properties) = (listed(&of_events), listed(&of_properties));
        Err(format!("name the columns {of_events} too for events, or {of_properties} too for item properties"))
    }

    /// The row that the record `text` holds; `None` for a property that nothing is made of.
    pub(super) fn row(&mut self, text: &[u8]) -> Result<Option<Row<'_>>, Refusal> {
        match self {
            Rows::Events(table) => {
                table.read(text)?;
                event(table).map(Some)
            }
            Rows::Properties(table) => {
                table.read(text)?;
                property(table)
            }
        }
    }
}

fn event(table: &Table<5>) -> Result<Row<'_>, Refusal> {
    let at = table.millis(0)?;
    let kind = match table.field(2) {
        "view" => EventKind::ViewItem,
        "addtocart" => EventKind::AddToCart,
        "transaction" => EventKind::Purchase,
        _ => return Err(table.wrong(2, "view, addtocart or transaction")),
    };
    let transaction = if kind == EventKind::Purchase { Some(table.required(4)?) } else { None };
    let what = What::Act { kind, visitor: table.required(1)?, transaction };
    Ok(Row { at, item: symbol(table.required(3)?)?, what })
}

fn property(table: &Table<4>) -> Result<Option<Row<'_>>, Refusal> {
    let what = match (table.field(2), table.field(3)) {
        ("available", "0") => What::Stock(0),
        ("available", "1") => What::Stock(1),
        ("available", _) => return Err(table.wrong(3, "0 or 1")),
        ("categoryid", _) => {
            let path = category_text([table.required(3)?]);
            What::Category(symbol(&path.ok_or_else(|| table.wrong(3, "a category"))?)?)
        }
        ("", _) => return Err(table.wrong(2, "the name of a property")),
        _ => return Ok(None),
    };
    Ok(Some(Row { at: table.millis(0)?, item: symbol(table.required(1)?)?, what }))
}
