//! Short ways to look at what the file formats give.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Chain, Read},
    path::PathBuf,
};

use etalage_model::{Event, Message, Record, decode::ReadError};

/// What a reader gives.
pub type Given = Result<(u64, Record), ReadError>;

/// The bytes of a file in `tests/fixtures/formats`.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/formats").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn event(given: &Given) -> &Event {
    match given {
        Ok((_, Record { message: Message::Event(event), .. })) => event,
        other => panic!("expected an event, found {other:?}"),
    }
}

/// The line and the reason of a bad line.
pub fn bad(given: &Given) -> (u64, String) {
    match given {
        Err(ReadError::Line(bad)) => (bad.line, bad.reason.to_string()),
        other => panic!("expected a bad line, found {other:?}"),
    }
}

/// Lines, and what happened to which items.
pub fn summary(results: &[Given]) -> Vec<(u64, String)> {
    let text = |message: &Message| match message {
        Message::Event(event) => {
            let items = event.items.iter().map(|item| item.item_id.as_str());
            std::iter::once(event.kind.name()).chain(items).collect::<Vec<_>>().join(" ")
        }
        Message::Inventory(stock) => format!("{} {:?}", stock.item_id, stock.op),
        Message::Catalogue(item) => {
            let category = item.entry.as_ref().and_then(|entry| entry.category);
            format!("{} category {}", item.item_id, category.unwrap())
        }
    };
    let one = |given: &Given| match given {
        Ok((line, record)) => (*line, text(&record.message)),
        Err(ReadError::Line(bad)) => (bad.line, bad.reason.code().to_owned()),
        Err(other) => panic!("{other}"),
    };
    results.iter().map(one).collect()
}

/// The distinct ids of the messages.
pub fn ids(results: &[Given]) -> BTreeSet<&str> {
    results.iter().flatten().map(|(_, record)| record.message.message_id()).collect()
}

/// An input that cannot be read.
pub struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is truncated"))
    }
}

/// An input that breaks off behind these bytes.
pub fn cut(bytes: &[u8]) -> Chain<&[u8], Broken> {
    bytes.chain(Broken)
}
