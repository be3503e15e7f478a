//! Unpacked bytes into messages with their lines, by the format of the file.

use etalage_model::{
    Micros, Record, Refusal, Rejected,
    decode::{self, BadLine, ReadError, online_retail, otto, rees46, retailrocket},
};

use super::{Format, SourceOptions, Tally, lines::Lines, open::Unpacked};

/// A message or a bad line, with its number.
pub(super) type Placed = (u64, Result<Record, Rejected>);

/// A file that is being decoded.
pub(super) enum Decoder {
    Jsonl(Box<Jsonl>),
    OnlineRetail(Box<online_retail::Reader<Unpacked>>),
    Rees46(Box<rees46::Reader<Unpacked>>),
    Otto(Box<otto::Reader<Unpacked>>),
    Retailrocket(Box<retailrocket::Reader<Unpacked>>),
}

impl Decoder {
    /// Reads the header, where the format has one.
    pub(super) fn new(reader: Unpacked, options: SourceOptions) -> Result<Decoder, ReadError> {
        Ok(match options.format {
            Format::Jsonl => Decoder::Jsonl(Box::new(Jsonl::new(reader, options))),
            Format::OnlineRetail => {
                let options = online_retail::Options { non_items: options.non_items, currencies: options.currencies };
                Decoder::OnlineRetail(Box::new(online_retail::Reader::new(reader, options)?))
            }
            Format::Rees46 => Decoder::Rees46(Box::new(rees46::Reader::new(reader, options.currencies)?)),
            Format::Otto => Decoder::Otto(Box::new(otto::Reader::new(reader))),
            Format::Retailrocket => {
                let limits = retailrocket::Limits::default();
                Decoder::Retailrocket(Box::new(retailrocket::Reader::new(reader, limits)?))
            }
        })
    }

    /// The next message; `None` at the end.
    ///
    /// # Errors
    /// Where it cannot be read on. Of `jsonl` that looks like the end.
    pub(super) fn next(&mut self) -> Result<Option<Placed>, ReadError> {
        let placed = match self {
            Decoder::Jsonl(lines) => return Ok(lines.next()),
            Decoder::OnlineRetail(reader) => {
                let next = reader.next();
                next.map(|result| result.map(|record| (reader.line(), record)))
            }
            Decoder::Rees46(reader) => reader.next(),
            Decoder::Otto(reader) => reader.next(),
            Decoder::Retailrocket(reader) => reader.next(),
        };
        match placed {
            None => Ok(None),
            Some(Ok((line, record))) => Ok(Some((line, Ok(record)))),
            Some(Err(ReadError::Line(BadLine { line, raw, reason }))) => {
                Ok(Some((line, Err(Rejected { message_id: None, raw, reason }))))
            }
            Some(Err(error)) => Err(error),
        }
    }

    /// The line that is read next.
    pub(super) fn next_line(&self) -> u64 {
        match self {
            Decoder::Jsonl(lines) => lines.lines.next_number(),
            Decoder::OnlineRetail(reader) => reader.line() + 1,
            Decoder::Rees46(reader) => reader.line() + 1,
            Decoder::Otto(reader) => reader.line() + 1,
            Decoder::Retailrocket(reader) => reader.line() + 1,
        }
    }

    /// How many rows of each kind were read.
    pub(super) fn tally(&self) -> Option<Tally> {
        match self {
            Decoder::Jsonl(_) => None,
            Decoder::OnlineRetail(reader) => Some(Tally::OnlineRetail(reader.counts())),
            Decoder::Rees46(reader) => Some(Tally::Rees46(reader.counts())),
            Decoder::Otto(reader) => Some(Tally::Otto(reader.counts())),
            Decoder::Retailrocket(reader) => Some(Tally::Retailrocket(reader.counts())),
        }
    }
}

/// The lines of a `jsonl` file. A message without a time has that of the greatest one before it,
/// as the clock of a replay has.
pub(super) struct Jsonl {
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
