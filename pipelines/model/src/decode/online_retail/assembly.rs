//! Rows into messages: sales and cancellations by runs, stock by rows.

use std::collections::VecDeque;

use super::{
    CURRENCY, Counts, Options,
    row::{Class, Row, Rows},
};
use crate::{
    EventKind, Inventory, Record, Refusal, StockOp, Sym,
    decode::{
        BadLine, ReadError,
        assembling::{self, Placed},
        draft::{Draft, Origin, plain_item, stock_record, symbol},
        lines::Line,
    },
};

const ORIGIN: Origin = Origin { name: "online-retail", currency: CURRENCY };

/// Rows that go in, and what came out and was not taken yet.
pub(super) struct Assembly {
    rows: Rows,
    runs: Runs,
}

impl Assembly {
    pub(super) fn new(rows: Rows, options: Options) -> Assembly {
        Assembly { rows, runs: Runs { options, counts: Counts::default(), run: None, ready: VecDeque::new() } }
    }

    pub(super) fn counts(&self) -> Counts {
        self.runs.counts
    }
}

impl assembling::Assembly for Assembly {
    fn absorb(&mut self, line: Line) {
        let row = self.rows.row(&line.text, &self.runs.options);
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
        self.runs.run = None;
    }

    fn take(&mut self) -> Option<Placed> {
        self.runs.ready.pop_front()
    }
}

/// The run at hand, and what is complete.
struct Runs {
    options: Options,
    counts: Counts,
    run: Option<Run>,
    ready: VecDeque<Placed>,
}

impl Runs {
    /// The row that `line` holds.
    fn absorb(&mut self, row: &Row<'_>, line: &Line) -> Result<(), Refusal> {
        let item_id = symbol(row.code)?;
        let country = row.country.map(symbol).transpose()?;
        self.count(row.class);
        if self.run.as_ref().is_some_and(|run| !run.continues_with(row, country)) {
            self.close();
        }
        if self.options.non_items.contains(row.code) {
            self.counts.non_items += 1;
            return Ok(());
        }
        match row.class {
            Class::BadDebt => {}
            Class::Adjust | Class::Free => self.push((line.number, stock_change(row, item_id, line))),
            Class::Sale | Class::Cancel => {
                let run = self.run.get_or_insert_with(|| Run::starting_with(row, country, line));
                // A cancellation's quantity is below 0: so many units come back.
                let item = plain_item(item_id, row.quantity.abs(), row.price_micros);
                run.draft.add(&line.text, line.number, item, row.shop_price_micros);
                if run.draft.is_full() {
                    self.close();
                }
            }
        }
        Ok(())
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

    fn close(&mut self) {
        if let Some(run) = self.run.take() {
            self.push(run.draft.record(ORIGIN));
        }
    }

    fn push(&mut self, placed: (u64, Record)) {
        self.counts.messages += 1;
        self.ready.push_back(Ok(placed));
    }
}

fn stock_change(row: &Row<'_>, item_id: Sym, line: &Line) -> Record {
    let stock = Inventory {
        message_id: String::new(),
        item_id,
        location_id: None,
        op: StockOp::Delta(row.quantity),
        version: None,
        occurred_at: row.at,
    };
    stock_record(stock, ORIGIN, &line.text, line.number)
}

/// Consecutive rows that are one message.
struct Run {
    class: Class,
    draft: Draft,
}

impl Run {
    fn starting_with(row: &Row<'_>, country: Option<Sym>, line: &Line) -> Run {
        let kind = if row.class == Class::Cancel { EventKind::Refund } else { EventKind::Purchase };
        let mut draft = Draft::new(kind, row.at, line.number);
        draft.event.transaction_id = Some(row.invoice.to_owned());
        draft.event.user_id = row.customer.map(str::to_owned);
        draft.event.country = country;
        Run { class: row.class, draft }
    }

    fn continues_with(&self, row: &Row<'_>, country: Option<Sym>) -> bool {
        let event = &self.draft.event;
        self.class == row.class
            && event.transaction_id.as_deref() == Some(row.invoice)
            && event.timestamp == row.at
            && event.user_id.as_deref() == row.customer
            && event.country == country
    }
}
