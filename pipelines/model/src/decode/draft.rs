//! Messages in the making out of the rows of a file. The rows and the number of the first one's
//! line name a message, so that the same file gives the same ids and equal rows at two places do
//! not meet.

use super::fingerprint::fingerprint;
use crate::{
    Catalogue, Event, EventKind, InputKind, Inventory, Item, Message, Micros, Record, Refusal, Sym, hash::hash128,
};

/// The most items of one message.
pub(super) const MAX_ITEMS: usize = 200;

/// What names the messages of a format.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    /// What their ids begin with.
    pub(super) name: &'static str,
    /// The currency of the prices; empty: there are none.
    pub(super) currency: &'static str,
}

/// An event that rows make.
pub(super) struct Draft {
    /// What is known of it so far; its prices are the file's, as the fingerprint wants them.
    pub(super) event: Event,
    /// The rows as they stand in the file.
    rows: Vec<u8>,
    first_line: u64,
    last_line: u64,
    shop_prices_micros: Vec<i64>,
}

impl Draft {
    /// An event of nobody and nothing, the first row of which stands at `line`.
    pub(super) fn new(kind: EventKind, at: Micros, line: u64) -> Draft {
        let event = Event {
            message_id: String::new(),
            kind,
            name: None,
            timestamp: at,
            user_id: None,
            anonymous_id: None,
            previous_id: None,
            group_id: None,
            country: None,
            device: None,
            language: None,
            channel: None,
            transaction_id: None,
            value_micros: None,
            coupon: None,
            search_term: None,
            items: Vec::new(),
        };
        Draft { event, rows: Vec::new(), first_line: line, last_line: line, shop_prices_micros: Vec::new() }
    }

    /// Adds the item that the bytes `row` at `line` state.
    pub(super) fn add(&mut self, row: &[u8], line: u64, item: Item, shop_price_micros: i64) {
        self.rows.extend_from_slice(row);
        self.rows.push(b'\n');
        self.last_line = line;
        self.event.items.push(item);
        self.shop_prices_micros.push(shop_price_micros);
    }

    /// True where no further item has a place.
    pub(super) fn is_full(&self) -> bool {
        self.event.items.len() >= MAX_ITEMS
    }

    /// The message, with the number of its last line.
    pub(super) fn record(mut self, origin: Origin) -> (u64, Record) {
        let given = row_id(origin, &self.rows, self.first_line);
        let fingerprint = fingerprint(InputKind::Events, &self.event, origin.currency, Some(given));
        self.event.message_id = fingerprint.message_id;
        for (item, shop_price) in self.event.items.iter_mut().zip(&self.shop_prices_micros) {
            item.price_micros = *shop_price;
        }
        (self.last_line, Record { message: Message::Event(self.event), content: fingerprint.content })
    }
}

/// So many units of an item, of which nothing else is known.
pub(super) fn plain_item(item_id: Sym, quantity: i64, price_micros: i64) -> Item {
    Item {
        item_id,
        brand: None,
        category: None,
        variant: None,
        list_id: None,
        location_id: None,
        quantity,
        price_micros,
    }
}

/// The stock message that the bytes `row` at `line` state; its id is still to be made.
pub(super) fn stock_record(mut stock: Inventory, origin: Origin, row: &[u8], line: u64) -> Record {
    let given = row_id(origin, row, line);
    let fingerprint = fingerprint(InputKind::Inventory, &stock, "", Some(given));
    stock.message_id = fingerprint.message_id;
    Record { message: Message::Inventory(stock), content: fingerprint.content }
}

/// The catalogue message that the bytes `row` at `line` state; its id is still to be made.
pub(super) fn catalogue_record(mut item: Catalogue, origin: Origin, row: &[u8], line: u64) -> Record {
    let given = row_id(origin, row, line);
    let fingerprint = fingerprint(InputKind::Catalogue, &item, "", Some(given));
    item.message_id = fingerprint.message_id;
    Record { message: Message::Catalogue(item), content: fingerprint.content }
}

/// The symbol of a text out of a vocabulary, if there is room for it.
pub(super) fn symbol(text: &str) -> Result<Sym, Refusal> {
    Sym::admit(text).ok_or_else(|| Refusal::Invalid("vocabulary full: raise max_symbols".to_owned()))
}

/// The id of the message that `rows` make, the first of which stands at `line`.
fn row_id(origin: Origin, rows: &[u8], line: u64) -> String {
    let mut hashed = Vec::with_capacity(rows.len() + 8);
    hashed.extend_from_slice(rows);
    hashed.extend_from_slice(&line.to_le_bytes());
    format!("{}:{:032x}", origin.name, hash128(&hashed))
}
