//! Files to replay: opened, unpacked, decoded into batches, with the line of each message.
//!
//! A bad line is data: it comes out as [`Rejected`] with its place, and the rest goes on. Only
//! an input that cannot be read on is an [`InputError`].

mod decoder;
mod error;
mod lines;
mod open;
mod progress;
mod sources;
mod tally;

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicU64},
};

use etalage_model::{
    Micros, Record, Rejected,
    decode::{self, ReadError},
    money::Currencies,
};

pub use error::{InputError, Taken};
pub use open::{Opened, Packing, STANDARD_INPUT};
pub use progress::Progress;
pub use sources::{FileLine, MAX_FILES, Merged, Sources};
pub use tally::Tally;

use decoder::Decoder;
use open::Watch;

/// How many messages a batch holds at most.
pub const BATCH_MESSAGES: usize = 1_024;

/// The formats that can be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON object per line: events, inventory and catalogue messages, mixed.
    Jsonl,
    /// The CSV file of the UCI data set "Online Retail".
    OnlineRetail,
    /// A CSV file of events of REES46.
    Rees46,
    /// The sessions of OTTO, one JSON object per line.
    Otto,
    /// A CSV file of Retailrocket: events, or item properties. Rows are put into order first.
    Retailrocket,
}

impl Format {
    /// As `--format` says it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Jsonl => "jsonl",
            Format::OnlineRetail => "online-retail",
            Format::Rees46 => "rees46",
            Format::Otto => "otto",
            Format::Retailrocket => "retailrocket",
        }
    }

    /// The currency of its prices, where it has some and they do not name their own.
    pub fn currency(self) -> Option<&'static str> {
        match self {
            Format::OnlineRetail => Some(decode::online_retail::CURRENCY),
            Format::Rees46 => Some(decode::rees46::CURRENCY),
            Format::Jsonl | Format::Otto | Format::Retailrocket => None,
        }
    }
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
    format: Format,
    watch: Watch,
    decoder: Decoder,
    /// What ended the decoding.
    broken: Option<ReadError>,
}

impl Source {
    /// Decodes `opened`.
    ///
    /// # Errors
    /// Where it begins with something else than the format does.
    pub fn new(opened: Opened, options: SourceOptions) -> Result<Source, InputError> {
        let Opened { name, packing, total_bytes, reader, watch } = opened;
        let format = options.format;
        let decoder = Decoder::new(reader, options).map_err(|error| {
            let header = InputError::Header { name: name.clone(), format: format.name(), reason: error.to_string() };
            watch.failure(&name, packing, 1).unwrap_or(header)
        })?;
        Ok(Source { name, packing, format, total_bytes, watch, decoder, broken: None })
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

    /// How many rows of each kind were read, where the format has rows.
    pub fn tally(&self) -> Option<Tally> {
        self.decoder.tally()
    }

    /// The next messages, at least one; `None` at the end.
    ///
    /// # Errors
    /// Where the input cannot be read on. What was decoded before comes out first.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, InputError> {
        let mut batch = Batch::default();
        while batch.results.len() < BATCH_MESSAGES && self.broken.is_none() {
            match self.decoder.next() {
                Ok(Some((line, result))) => {
                    batch.lines.push(line);
                    batch.results.push(result);
                }
                Ok(None) => break,
                Err(error) => self.broken = Some(error),
            }
        }
        if !batch.results.is_empty() {
            return Ok(Some(batch));
        }
        match self.failure() {
            Some(error) => Err(error),
            None => Ok(None),
        }
    }

    /// Why it cannot be read on, if that is so.
    fn failure(&mut self) -> Option<InputError> {
        let broken = self.broken.take();
        if let Some(error @ ReadError::TooMany { .. }) = broken {
            return Some(InputError::TooMany { name: self.name.clone(), reason: error.to_string() });
        }
        let failure = self.watch.failure(&self.name, self.packing, self.decoder.next_line())?;
        Some(if self.format == Format::Retailrocket { failure.with_nothing_taken() } else { failure })
    }
}

#[cfg(test)]
mod tests;
