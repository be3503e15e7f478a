//! From events to lines: what an event adds, to which item, under which event parts.

use etalage_model::{Event, EventKind, Item, Measures, Message, Record, Sym, hash::hash128};
use serde::{Deserialize, Serialize};

use crate::scope::{Part, Scopes};

/// What lines are counted under: an item and an event part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// The item.
    pub item: Sym,
    /// The event part.
    pub part: Part,
}

impl From<Cell> for (Sym, Part) {
    fn from(cell: Cell) -> (Sym, Part) {
        (cell.item, cell.part)
    }
}

/// A transaction, by a hash of its id.
pub type Transaction = u128;

/// The transaction of a purchase: as the event names it, or the message itself.
pub fn transaction(event: &Event) -> Transaction {
    hash128(event.transaction_id.as_deref().unwrap_or(&event.message_id).as_bytes())
}

/// True where the lines of such an event add anything.
pub fn counts(kind: EventKind) -> bool {
    matches!(kind, EventKind::ViewItem | EventKind::AddToCart | EventKind::Purchase | EventKind::Refund)
}

/// What one line of an event adds, but for distinct orders and items, which are no sums.
pub fn measures(kind: EventKind, item: &Item) -> Option<Measures> {
    let mut measures = Measures::default();
    match kind {
        EventKind::ViewItem => measures.views = 1,
        EventKind::AddToCart => measures.carts = 1,
        EventKind::Purchase => {
            measures.lines = 1;
            measures.units = item.quantity;
            measures.revenue_micros = item.amount_micros();
        }
        EventKind::Refund => {
            measures.refund_lines = 1;
            measures.refund_units = item.quantity;
            measures.refund_micros = item.amount_micros();
        }
        _ => return None,
    }
    Some(measures)
}

/// The events of a batch.
pub fn events(batch: &[Record]) -> impl Iterator<Item = &Event> {
    batch.iter().filter_map(|record| match &record.message {
        Message::Event(event) => Some(event),
        _ => None,
    })
}

/// Every line of a batch with what it adds: `(cell, at)`, measures.
pub fn lines<R>(batch: &[Record], scopes: &Scopes, of: impl Fn(&Measures) -> R) -> Vec<((Cell, u64), R)> {
    let mut lines = Vec::with_capacity(batch.len());
    let mut parts = Vec::new();
    for event in events(batch) {
        parts.clear();
        for item in &event.items {
            let Some(measures) = measures(event.kind, item) else { break };
            if parts.is_empty() {
                scopes.event_parts(event, &mut parts);
            }
            let cells = parts.iter().map(|part| Cell { item: item.item_id, part: *part });
            lines.extend(cells.map(|cell| ((cell, event.timestamp.0), of(&measures))));
        }
    }
    lines
}

/// The purchase lines of a batch: `((cell, transaction), at)`.
pub fn purchases(batch: &[Record], scopes: &Scopes) -> Vec<((Cell, Transaction), u64)> {
    let mut lines = Vec::new();
    let mut parts = Vec::new();
    for event in events(batch).filter(|event| event.kind == EventKind::Purchase) {
        parts.clear();
        scopes.event_parts(event, &mut parts);
        let order = transaction(event);
        for item in &event.items {
            let cells = parts.iter().map(|part| Cell { item: item.item_id, part: *part });
            lines.extend(cells.map(|cell| ((cell, order), event.timestamp.0)));
        }
    }
    lines
}
