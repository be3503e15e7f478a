//! Files to replay: opened, unpacked, decoded into batches, with the line of each message.
//!
//! A bad line is data: it comes out as [`Rejected`] with its place, and the rest goes on. Only
//! an input that cannot be read on is an [`InputError`].

mod error;
mod lines;
mod open;
mod progress;

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicU64},
};

use etalage_model::{
    Micros, Record, Refusal, Rejected,
    decode::{self, online_retail::ReadError},
    money::Currencies,
};

pub use error::InputError;
pub use open::{Opened, Packing, STANDARD_INPUT};
pub use progress::Progress;

use lines::Lines;
use open::{Unpacked, Watch};

/// How many messages a batch holds at most.
pub const BATCH_MESSAGES: usize = 1_024;

/// The formats that can be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON object per line: events, inventory and catalogue messages, mixed.
    Jsonl,
    /// The CSV file of the UCI data set "Online Retail".
    OnlineRetail,
}

/// What decoding needs to know beside the bytes.
#[derive(Clone, Debug)]
pub struct SourceOptions {
    /// The format.
    pub format: Format,
    /// What a message may hold.
    pub limits: decode::json::Limits,
    /// The shop's currency and the rates of others.
    pub currencies: Currencies,
    /// `online-retail`: codes that are no products.
    pub non_items: BTreeSet<String>,
    /// What is dated later has not happened: it will be refused, and lends its time to nothing.
    pub not_after: Micros,
}

/// Messages in the order of the input, each with its line.
#[derive(Debug, Default)]
pub struct Batch {
    /// The line of each of `results`; the last one, where a message is made of several.
    pub lines: Vec<u64>,
    /// What each is.
    pub results: Vec<Result<Record, Rejected>>,
}

/// An input that is being decoded.
pub struct Source {
    name: String,
    packing: Packing,
    total_bytes: Option<u64>,
    watch: Watch,
    decoder: Decoder,
}

enum Decoder {
    Jsonl(Box<Jsonl>),
    OnlineRetail(Box<decode::online_retail::Reader<Unpacked>>),
}

impl Source {
    /// Decodes `opened`.
    ///
    /// # Errors
    /// Where it begins with something else than the format does.
    pub fn new(opened: Opened, options: SourceOptions) -> Result<Source, InputError> {
        let Opened { name, packing, total_bytes, reader, watch } = opened;
        let decoder = match options.format {
            Format::Jsonl => Decoder::Jsonl(Box::new(Jsonl::new(reader, options))),
            Format::OnlineRetail => {
                let options =
                    decode::online_retail::Options { non_items: options.non_items, currencies: options.currencies };
                let reader = decode::online_retail::Reader::new(reader, options).map_err(|error| {
                    let header = InputError::Header { name: name.clone(), reason: error.to_string() };
                    watch.failure(&name, packing, 1).unwrap_or(header)
                })?;
                Decoder::OnlineRetail(Box::new(reader))
            }
        };
        Ok(Source { name, packing, total_bytes, watch, decoder })
    }

    /// What the input is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its length as it lies there, where that is known.
    pub fn total_bytes(&self) -> Option<u64> {
        self.total_bytes
    }

    /// How much of [`Source::total_bytes`] was read.
    pub fn read_bytes(&self) -> Arc<AtomicU64> {
        self.watch.packed_bytes.clone()
    }

    /// `online-retail`: how many rows of each class were read.
    pub fn rows(&self) -> Option<decode::online_retail::Counts> {
        match &self.decoder {
            Decoder::Jsonl(_) => None,
            Decoder::OnlineRetail(reader) => Some(reader.counts()),
        }
    }

    /// The next messages, at least one; `None` at the end.
    ///
    /// # Errors
    /// Where the input cannot be read on. What was decoded before comes out first.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, InputError> {
        let mut batch = Batch::default();
        while batch.results.len() < BATCH_MESSAGES {
            let Some((line, result)) = self.decoder.next() else { break };
            batch.lines.push(line);
            batch.results.push(result);
        }
        if !batch.results.is_empty() {
            return Ok(Some(batch));
        }
        match self.watch.failure(&self.name, self.packing, self.decoder.next_line()) {
            Some(error) => Err(error),
            None => Ok(None),
        }
    }
}

impl Decoder {
    /// The next message; `None` at the end and where the input cannot be read on, which
    /// [`Watch::failure`] tells apart.
    fn next(&mut self) -> Option<(u64, Result<Record, Rejected>)> {
        match self {
            Decoder::Jsonl(lines) => lines.next(),
            Decoder::OnlineRetail(reader) => match reader.next()? {
                Ok(record) => Some((reader.line(), Ok(record))),
                Err(ReadError::Line(bad)) => {
                    Some((bad.line, Err(Rejected { message_id: None, raw: bad.raw, reason: bad.reason })))
                }
                Err(ReadError::Header { .. } | ReadError::Input { .. }) => None,
            },
        }
    }

    /// The line that is read next.
    fn next_line(&self) -> u64 {
        match self {
            Decoder::Jsonl(lines) => lines.lines.next_number(),
            Decoder::OnlineRetail(reader) => reader.line() + 1,
        }
    }
}

/// The lines of a `jsonl` file. A message without a time has that of the greatest one before it,
/// as the clock of a replay has.
struct Jsonl {
    lines: Lines<Unpacked>,
    options: SourceOptions,
    newest: Option<Micros>,
    is_broken: bool,
}

impl Jsonl {
    fn new(reader: Unpacked, options: SourceOptions) -> Jsonl {
        let lines = Lines::new(reader, options.limits.max_event_bytes);
        Jsonl { lines, options, newest: None, is_broken: false }
    }

    fn next(&mut self) -> Option<(u64, Result<Record, Rejected>)> {
        let limit = self.options.limits.max_event_bytes;
        while !self.is_broken {
            let line = match self.lines.next() {
                Ok(line) => line?,
                Err(_) => {
                    self.is_broken = true;
                    break;
                }
            };
            if !line.is_whole {
                let reason = Refusal::TooLarge { bytes: line.bytes, limit };
                return Some((line.number, Err(Rejected { message_id: None, raw: line.text.to_vec(), reason })));
            }
            if line.text.trim_ascii().is_empty() {
                continue;
            }
            let context = decode::json::Context {
                now: self.newest.unwrap_or_default(),
                map_time: None,
                currencies: &self.options.currencies,
                limits: &self.options.limits,
            };
            let mut result = decode::json::message(line.text, &context);
            match &result {
                Ok(record) if self.newest.is_none() && record.message.at() == Micros::default() => {
                    let reason = "no time, and no message before it has one that could stand in".to_owned();
                    let message_id = Some(record.message.message_id().to_owned());
                    result = Err(Rejected { message_id, raw: line.text.to_vec(), reason: Refusal::Invalid(reason) });
                }
                Ok(record) if record.message.at() <= self.options.not_after => {
                    self.newest = self.newest.max(Some(record.message.at()));
                }
                _ => {}
            }
            return Some((line.number, result));
        }
        None
    }
}

#[cfg(test)]
mod tests;
