//! Makes the simulated messages. Each is labelled: its id begins with [`LABEL`].

use etalage_model::{
    Catalogue, CatalogueEntry, Event, EventKind, Inventory, Item, Message, Micros, Record, StockOp, Sym, codec,
    hash::hash64,
};

/// What the ids of all simulated messages and visitors begin with.
pub const LABEL: &str = "sim-";

/// Who looks at an item, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visitor<'a> {
    /// The customer, where the visitor has said who he is.
    pub(super) user_id: Option<&'a str>,
    /// The number of the simulated browser.
    pub(super) number: u64,
    /// The country of the row, or a drawn one.
    pub(super) country: Option<Sym>,
}

/// Devices and channels, each as often as it is drawn. A visitor keeps his.
const DEVICES: [&str; 5] = ["desktop", "desktop", "mobile", "mobile", "tablet"];
const CHANNELS: [&str; 6] = ["web", "web", "web", "app", "email", "social"];

/// A view or a cart line.
pub(super) fn event(kind: EventKind, at: Micros, number: u64, visitor: Visitor<'_>, item: (Sym, i64)) -> Record {
    let browser = visitor.number as usize;
    record(Message::Event(Event {
        message_id: format!("{LABEL}{}-{number}", kind.name()),
        kind,
        name: None,
        timestamp: at,
        user_id: visitor.user_id.map(str::to_owned),
        anonymous_id: Some(format!("{LABEL}visitor-{browser}")),
        previous_id: None,
        group_id: None,
        country: visitor.country,
        device: Some(Sym::new(DEVICES[browser % DEVICES.len()])),
        language: None,
        channel: Some(Sym::new(CHANNELS[browser % CHANNELS.len()])),
        transaction_id: None,
        value_micros: None,
        coupon: None,
        search_term: None,
        items: vec![Item {
            item_id: item.0,
            brand: None,
            category: None,
            variant: None,
            list_id: None,
            location_id: None,
            quantity: 1,
            price_micros: item.1,
        }],
    }))
}

/// A change of stock; `what` and `number` make its id.
pub(super) fn stock(what: &str, number: u64, at: Micros, item_id: Sym, op: StockOp) -> Record {
    record(Message::Inventory(Inventory {
        message_id: format!("{LABEL}{what}-{number}"),
        item_id,
        location_id: None,
        op,
        version: None,
        occurred_at: at,
    }))
}

/// What an item is. The title is real; the category is guessed, and says so.
pub(super) fn catalogue(at: Micros, item_id: Sym, title: &str, category: &str) -> Record {
    let field = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    record(Message::Catalogue(Catalogue {
        message_id: format!("{LABEL}catalogue-{item_id}"),
        item_id,
        updated_at: at,
        entry: Some(CatalogueEntry {
            category: Some(Sym::new(category)),
            brand: None,
            safety_threshold: None,
            withdrawn: false,
            fields: vec![field("simulated", "category"), field("title", title)],
        }),
    }))
}

/// The message with the hash of its content.
pub(super) fn record(message: Message) -> Record {
    let content = codec::encode(&message).map_or(0, |bytes| hash64(&bytes));
    Record { message, content }
}
