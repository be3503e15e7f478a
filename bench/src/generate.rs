//! The workload `sb` as a file, so that other engines read the same input. Messages stand in the order of
//! their arrival; what the shop knows before the first click comes first.
//!
//! - `jsonl`: what etalage takes, over HTTP or with `etalage replay --format jsonl`.
//! - `csv`: `arrival_us,at_us,kind,item,category,amount` with a header. Kind `click`: the item's score
//!   grows by `amount` at `at_us`; kind `stock`: it has `amount` units from then on.
//! - `binary`: the same in records of [`RECORD_BYTES`] bytes, little-endian: `arrival_us` u64, `at_us` u64,
//!   `item` u32, `amount` i32, `category` u32, `kind` u32 (0 click, 1 stock).

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use clap::ValueEnum;
use etalage_model::{Inventory, Message, Micros, StockOp, Sym, Tick};
use serde_json::{Value, json};

use crate::workload::{self, CATEGORIES, EVENTS_PER_S, START_US, Shape};

/// Bytes of a record of the binary format.
const RECORD_BYTES: usize = 32;

/// What is written.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    shape: Shape,
    /// What the file is to be
    #[arg(long)]
    format: Format,
    /// The file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Has the last click happen so many days ago, in place of always at the same instant; JSON lines only
    #[arg(long, value_name = "DAYS")]
    ended_days_ago: Option<u64>,
}

/// How much later than in the workload the messages of `shape` happen where the last one is to be so old.
fn later_us(shape: &Shape, ended_days_ago: u64) -> anyhow::Result<u64> {
    const DAY_US: u64 = 86_400_000_000;
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
    let end_us = START_US + shape.events * 1_000_000 / EVENTS_PER_S;
    let wanted_us = ended_days_ago.checked_mul(DAY_US).and_then(|ago_us| now_us.checked_sub(ago_us));
    wanted_us.and_then(|wanted_us| wanted_us.checked_sub(end_us)).context("the workload ends in 2023 at the earliest")
}

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One JSON object a line, as etalage takes them
    Jsonl,
    /// Numbers with a header
    Csv,
    /// Numbers in records of 32 bytes
    Binary,
}

/// Writes the file; says how many messages are in it.
pub(crate) fn run(options: &Options) -> anyhow::Result<u64> {
    into_file(&options.shape, options.format, options.ended_days_ago, &options.out)
}

/// Writes a shape into a file; how many messages are in it.
pub(crate) fn into_file(
    shape: &Shape,
    format: Format,
    ended_days_ago: Option<u64>,
    path: &Path,
) -> anyhow::Result<u64> {
    anyhow::ensure!(format == Format::Jsonl || ended_days_ago.is_none(), "only JSON lines may end at another time");
    let later_us = ended_days_ago.map_or(Ok(0), |days| later_us(shape, days))?;
    let told = || format!("{} cannot be written", path.display());
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).with_context(told)?);
    let written = write(shape, format, later_us, &mut out).with_context(told)?;
    out.into_inner().map_err(std::io::IntoInnerError::into_error).with_context(told)?;
    Ok(written)
}

fn write(shape: &Shape, format: Format, later_us: u64, out: &mut impl Write) -> std::io::Result<u64> {
    if format == Format::Csv {
        writeln!(out, "arrival_us,at_us,kind,item,category,amount")?;
    }
    let mut written = 0;
    for (arrival_us, records) in workload::ticks(shape, 1) {
        for record in records.iter() {
            written += u64::from(match format {
                Format::Jsonl => write_json(&record.message, later_us, out)?,
                Format::Csv | Format::Binary => write_row(arrival_us, &record.message, format, out)?,
            });
        }
    }
    Ok(written)
}

/// A message as numbers: true where it can be told so. The catalogue cannot: its categories stand with
/// every row.
fn write_row(arrival_us: Tick, message: &Message, format: Format, out: &mut impl Write) -> std::io::Result<bool> {
    let (at, kind, item, amount) = match message {
        Message::Event(event) => (event.timestamp, 0u32, event.items[0].item_id, workload::weight(event.kind)),
        Message::Inventory(Inventory { op: StockOp::Set(units), occurred_at, item_id, .. }) => {
            (*occurred_at, 1, *item_id, *units)
        }
        Message::Inventory(_) | Message::Catalogue(_) => return Ok(false),
    };
    let item = number(item);
    let category = item as usize % CATEGORIES;
    if format == Format::Csv {
        let kind = ["click", "stock"][kind as usize];
        writeln!(out, "{arrival_us},{},{kind},{item},{category},{amount}", at.0)?;
        return Ok(true);
    }
    let mut bytes = Vec::with_capacity(RECORD_BYTES);
    bytes.extend(arrival_us.to_le_bytes());
    bytes.extend(at.0.to_le_bytes());
    for word in [item, amount as i32 as u32, category as u32, kind] {
        bytes.extend(word.to_le_bytes());
    }
    out.write_all(&bytes)?;
    Ok(true)
}

/// Items are numbered: `i17`.
fn number(item: Sym) -> u32 {
    item.as_str()[1..].parse().expect("items are numbered")
}

fn write_json(message: &Message, later_us: u64, out: &mut impl Write) -> std::io::Result<bool> {
    out.write_all(&line(message, later_us))?;
    out.write_all(b"\n")?;
    Ok(true)
}

/// A message that happens so much later, as a line of JSON, without its end.
pub(crate) fn line(message: &Message, later_us: u64) -> Vec<u8> {
    json_of(message, later_us).to_string().into_bytes()
}

/// A message as etalage takes it.
fn json_of(message: &Message, later_us: u64) -> Value {
    let time = |at: Micros| time(at.plus(later_us));
    match message {
        Message::Event(event) => json!({
            "messageId": event.message_id,
            "event": event.kind.name(),
            "anonymousId": event.anonymous_id,
            "timestamp": time(event.timestamp),
            "context": {
                "country": event.country, "device": { "type": event.device }, "locale": event.language,
                "channel": event.channel,
            },
            "properties": { "items": event.items.iter().map(|item| json!({
                "item_id": item.item_id, "price": item.price_micros as f64 / 1e6, "quantity": item.quantity,
            })).collect::<Vec<_>>() },
        }),
        Message::Inventory(stock) => {
            let (op, available) = match stock.op {
                StockOp::Set(units) => ("set", units),
                StockOp::Delta(units) => ("delta", units),
            };
            json!({
                "messageId": stock.message_id, "item_id": stock.item_id, "op": op, "available": available,
                "occurred_at": time(stock.occurred_at),
            })
        }
        Message::Catalogue(item) => json!({
            "messageId": item.message_id, "item_id": item.item_id, "op": "upsert",
            "category": item.entry.as_ref().and_then(|entry| entry.category),
            "brand": item.entry.as_ref().and_then(|entry| entry.brand), "updated_at": time(item.updated_at),
        }),
    }
}

fn time(at: Micros) -> String {
    let at = i64::try_from(at.0).ok().and_then(|at| jiff::Timestamp::from_microsecond(at).ok());
    at.expect("a time of this millennium").to_string()
}

#[cfg(test)]
mod tests {
    use etalage_model::{
        Record,
        decode::json::{self, Context, Limits},
        money::Currencies,
    };

    use super::*;

    fn shape() -> Shape {
        Shape { events: 2_000, items: 100, ..Shape::default() }
    }

    fn written(format: Format) -> (u64, Vec<u8>) {
        let mut out = Vec::new();
        let count = write(&shape(), format, 0, &mut out).expect("a vector takes all");
        (count, out)
    }

    fn messages() -> Vec<Record> {
        workload::ticks(&shape(), 1).flat_map(|(_, records)| records.as_ref().clone()).collect()
    }

    #[test]
    fn csv_and_binary_tell_the_same() {
        let (count, csv) = written(Format::Csv);
        let (same, binary) = written(Format::Binary);
        let csv = String::from_utf8(csv).expect("it is text");
        let told = messages().iter().filter(|record| !matches!(record.message, Message::Catalogue(_))).count() as u64;
        assert_eq!((count, same, binary.len()), (told, told, told as usize * RECORD_BYTES));
        let word = |record: &[u8], at: usize| u32::from_le_bytes(record[at..at + 4].try_into().expect("four bytes"));
        let long = |record: &[u8], at: usize| u64::from_le_bytes(record[at..at + 8].try_into().expect("eight bytes"));
        for (line, record) in csv.lines().skip(1).zip(binary.chunks(RECORD_BYTES)) {
            let (kind, amount) = (["click", "stock"][word(record, 28) as usize], word(record, 20) as i32);
            let numbers = (long(record, 0), long(record, 8), word(record, 16), word(record, 24));
            let (arrival, at, item, category) = numbers;
            assert_eq!(line, format!("{arrival},{at},{kind},{item},{category},{amount}"));
        }
    }

    /// What etalage's own decoder makes of the lines is what was generated.
    #[test]
    fn json_lines_are_read_back_as_they_were_generated() {
        let (count, lines) = written(Format::Jsonl);
        let currencies = Currencies::only("EUR");
        let context = Context { now: Micros(0), map_time: None, currencies: &currencies, limits: &Limits::default() };
        let lines = String::from_utf8(lines).expect("it is text");
        let expected = messages();
        assert_eq!((count as usize, lines.lines().count()), (expected.len(), expected.len()));
        for (line, record) in lines.lines().zip(&expected) {
            let decoded = json::message(line.as_bytes(), &context).expect("it is read");
            assert_eq!(decoded.message, record.message, "{line}");
        }
    }
}
