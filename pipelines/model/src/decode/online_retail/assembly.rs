//! Rows into messages: sales and cancellations by runs, stock by rows.

use std::{collections::VecDeque, mem};

use super::{
    BadLine, CURRENCY, Counts, MAX_ITEMS, Options, ReadError,
    lines::Line,
    row::{Class, Row},
};
use crate::{
    Event, EventKind, InputKind, Inventory, Item, Message, Micros, Record, Refusal, StockOp, Sym,
    decode::fingerprint::fingerprint, hash::hash128,
};

/// The run at hand, and what came out and was not taken yet.
pub(super) struct Assembly {
    options: Options,
    counts: Counts,
    run: Option<Run>,
    ready: VecDeque<Result<Record, ReadError>>,
}

impl Assembly {
    pub(super) fn new(options: Options) -> Assembly {
        Assembly { options, counts: Counts::default(), run: None, ready: VecDeque::new() }
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// The next message or bad line, if one is complete.
    pub(super) fn take(&mut self) -> Option<Result<Record, ReadError>> {
        self.ready.pop_front()
    }

    /// A line that is no row.
    pub(super) fn bad(&mut self, bad: BadLine) {
        self.counts.rows += 1;
        self.counts.bad += 1;
        self.ready.push_back(Err(ReadError::Line(bad)));
    }

    /// The end of the input.
    pub(super) fn finish(&mut self) {
        self.close_run();
    }

    /// The input broke off. The run at hand may lack rows; as a message it would have another id
    /// than the whole one, and count beside it when the file is read again. So it is dropped.
    pub(super) fn break_off(&mut self, error: ReadError) {
        self.run = None;
        self.ready.push_back(Err(error));
    }

    /// The row that `line` holds.
    pub(super) fn absorb(&mut self, row: &Row<'_>, line: &Line) {
        let (Some(item_id), Ok(country)) = (Sym::admit(row.code), row.country.map(admitted).transpose()) else {
            let reason = Refusal::Invalid("vocabulary full: raise max_symbols".to_owned());
            return self.bad(BadLine { line: line.number, raw: line.text.clone(), reason });
        };
        self.count(row.class);
        if self.run.as_ref().is_some_and(|run| !run.continues_with(row, country)) {
            self.close_run();
        }
        if self.options.non_items.contains(row.code) {
            self.counts.non_items += 1;
            return;
        }
        match row.class {
            Class::BadDebt => {}
            Class::Adjust | Class::Free => self.push(stock_change(row, item_id, line)),
            Class::Sale | Class::Cancel => {
                let run = self.run.get_or_insert_with(|| Run::starting_with(row, country, line));
                run.add(row, item_id, line);
                if run.items.len() == MAX_ITEMS {
                    self.close_run();
                }
            }
        }
    }

    fn count(&mut self, class: Class) {
        self.counts.rows += 1;
        *match class {
            Class::Sale => &mut self.counts.sale,
            Class::Cancel => &mut self.counts.cancel,
            Class::Adjust => &mut self.counts.adjust,
            Class::Free => &mut self.counts.free,
            Class::BadDebt => &mut self.counts.baddebt,
        } += 1;
    }

    fn close_run(&mut self) {
        if let Some(run) = self.run.take() {
            self.push(run.record());
        }
    }

    fn push(&mut self, record: Record) {
        self.counts.messages += 1;
        self.ready.push_back(Ok(record));
    }
}

fn admitted(text: &str) -> Result<Sym, ()> {
    Sym::admit(text).ok_or(())
}

/// The id of the message that `rows` make, the first of which stands at `line`.
fn message_id(rows: &[u8], line: u64) -> String {
    let mut hashed = Vec::with_capacity(rows.len() + 8);
    hashed.extend_from_slice(rows);
    hashed.extend_from_slice(&line.to_le_bytes());
    format!("online-retail:{:032x}", hash128(&hashed))
}

fn stock_change(row: &Row<'_>, item_id: Sym, line: &Line) -> Record {
    let mut stock = Inventory {
        message_id: String::new(),
        item_id,
        location_id: None,
        op: StockOp::Delta(row.quantity),
        version: None,
        occurred_at: row.at,
    };
    let given = message_id(&line.text, line.number);
    let fingerprint = fingerprint(InputKind::Inventory, &stock, "", Some(given));
    stock.message_id = fingerprint.message_id;
    Record { message: Message::Inventory(stock), content: fingerprint.content }
}

/// Consecutive rows that are one message.
struct Run {
    class: Class,
    invoice: String,
    at: Micros,
    customer: Option<String>,
    country: Option<Sym>,
    first_line: u64,
    /// The rows as they stand in the file, for the message id.
    rows: Vec<u8>,
    /// Their prices are the file's, as the fingerprint wants them.
    items: Vec<Item>,
    shop_prices_micros: Vec<i64>,
}

impl Run {
    fn starting_with(row: &Row<'_>, country: Option<Sym>, line: &Line) -> Run {
        Run {
            class: row.class,
            invoice: row.invoice.to_owned(),
            at: row.at,
            customer: row.customer.map(str::to_owned),
            country,
            first_line: line.number,
            rows: Vec::new(),
            items: Vec::new(),
            shop_prices_micros: Vec::new(),
        }
    }

    fn continues_with(&self, row: &Row<'_>, country: Option<Sym>) -> bool {
        self.class == row.class
            && self.invoice == row.invoice
            && self.at == row.at
            && self.customer.as_deref() == row.customer
            && self.country == country
    }

    fn add(&mut self, row: &Row<'_>, item_id: Sym, line: &Line) {
        self.rows.extend_from_slice(&line.text);
        self.rows.push(b'\n');
        self.shop_prices_micros.push(row.shop_price_micros);
        self.items.push(Item {
            item_id,
            brand: None,
            category: None,
            variant: None,
            list_id: None,
            location_id: None,
            // A cancellation's quantity is below 0: so many units come back.
            quantity: row.quantity.abs(),
            price_micros: row.price_micros,
        });
    }

    fn record(mut self) -> Record {
        let mut event = Event {
            message_id: String::new(),
            kind: if self.class == Class::Cancel { EventKind::Refund } else { EventKind::Purchase },
            name: None,
            timestamp: self.at,
            user_id: self.customer.take(),
            anonymous_id: None,
            previous_id: None,
            group_id: None,
            country: self.country,
            device: None,
            language: None,
            channel: None,
            transaction_id: Some(mem::take(&mut self.invoice)),
            value_micros: None,
            coupon: None,
            search_term: None,
            items: mem::take(&mut self.items),
        };
        let given = message_id(&self.rows, self.first_line);
        let fingerprint = fingerprint(InputKind::Events, &event, CURRENCY, Some(given));
        event.message_id = fingerprint.message_id;
        for (item, shop_price) in event.items.iter_mut().zip(&self.shop_prices_micros) {
            item.price_micros = *shop_price;
        }
        Record { message: Message::Event(event), content: fingerprint.content }
    }
}
