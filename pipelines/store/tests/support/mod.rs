//! What the tests of the store share: records to store, and ways to read a store back.

#![allow(dead_code)]

pub(crate) mod erasure;
pub(crate) mod sim;

use std::{fs, path::Path};

use etalage_model::{
    Catalogue, CatalogueEntry, Event, EventKind, Inventory, Item, Message, Micros, Record, StockOp, Sym,
};
use etalage_store::{Frame, Frames, StoreError};

/// The `n`-th record: the three kinds take turns.
pub(crate) fn record(n: u64) -> Record {
    let item_id = Sym::new(&format!("item-{}", n % 7));
    let at = Micros(1_291_191_960_000_000 + n);
    let message_id = format!("message-{n}");
    let message = match n % 3 {
        0 => Message::Event(event(message_id, at, item_id)),
        1 => Message::Inventory(Inventory {
            message_id,
            item_id,
            location_id: n.is_multiple_of(2).then(|| Sym::new("shop")),
            op: if n.is_multiple_of(2) { StockOp::Set(n as i64) } else { StockOp::Delta(-3) },
            version: Some(n),
            occurred_at: at,
        }),
        _ => Message::Catalogue(Catalogue {
            message_id,
            item_id,
            updated_at: at,
            entry: n.is_multiple_of(2).then(|| CatalogueEntry {
                category: Some(Sym::new("Home/Kitchen")),
                brand: Some(Sym::new("Été & fils")),
                safety_threshold: Some(2),
                withdrawn: false,
                fields: vec![("title".to_owned(), "Cup".to_owned())],
            }),
        }),
    };
    Record { message, content: n.wrapping_mul(0x9E37_79B9_7F4A_7C15) }
}

/// `count` records from number `first` on.
pub(crate) fn records(first: u64, count: u64) -> Vec<Record> {
    (first..first + count).map(record).collect()
}

fn event(message_id: String, timestamp: Micros, item_id: Sym) -> Event {
    let line = Item {
        item_id,
        brand: None,
        category: Some(Sym::new("Home")),
        variant: None,
        list_id: None,
        location_id: None,
        quantity: 6,
        price_micros: 2_550_000,
    };
    Event {
        message_id,
        kind: EventKind::Purchase,
        name: Some("Order Completed".to_owned()),
        timestamp,
        user_id: Some("17850".to_owned()),
        anonymous_id: None,
        previous_id: None,
        group_id: None,
        country: Some(Sym::new("United Kingdom")),
        device: None,
        language: None,
        channel: Some(Sym::new("web")),
        transaction_id: Some("536365".to_owned()),
        value_micros: None,
        coupon: None,
        search_term: None,
        items: vec![line],
    }
}

/// All frames, up to the first error.
pub(crate) fn collect(frames: Result<Frames, StoreError>) -> Result<Vec<Frame>, StoreError> {
    frames?.collect()
}

/// The names of the segments in `dir`, in order.
pub(crate) fn segment_names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".seg")).collect();
    names.sort();
    names
}

/// Copies the segments of a store into a new folder.
pub(crate) fn copy_store(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for name in segment_names(from) {
        fs::copy(from.join(&name), to.path().join(&name)).unwrap();
    }
    to
}
