//! The fields of a CSV record, by the names of their columns, and the checks that every CSV
//! format shares. Each check answers with a [`Refusal`] that names the column.

use std::{
    io::{self, Read},
    str::FromStr,
};

use csv::{StringRecord, Terminator};

use crate::{Micros, Refusal, money::micros_of};

/// The most bytes of an id or a label.
pub(super) const MAX_TEXT_BYTES: usize = 256;

/// One record at a time, of the columns `names`.
pub(super) struct Table<const N: usize> {
    names: [&'static str; N],
    /// Where in a record each of them stands.
    places: [usize; N],
    /// How many fields a record has, further columns included.
    width: usize,
    csv: csv::Reader<OneRecord>,
    fields: StringRecord,
    /// The last date as text and as an instant: neighbours mostly share theirs.
    last_date: (String, Micros),
}

impl<const N: usize> Table<N> {
    /// Records of exactly these columns, in this order.
    pub(super) fn new(names: [&'static str; N]) -> Table<N> {
        let csv = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .terminator(Terminator::Any(b'\n'))
            .from_reader(OneRecord::default());
        Table {
            names,
            places: std::array::from_fn(|column| column),
            width: N,
            csv,
            fields: StringRecord::new(),
            last_date: (String::new(), Micros(0)),
        }
    }

    /// True where the record `header` names these columns, in this order, and no others.
    pub(super) fn is_header(&mut self, header: &[u8]) -> bool {
        self.split(header).is_ok() && self.fields.iter().eq(self.names)
    }

    /// Finds the columns in the record `header`, in any order and among others.
    ///
    /// # Errors
    /// Those that are missing.
    pub(super) fn find_columns(&mut self, header: &[u8]) -> Result<(), Vec<&'static str>> {
        if self.split(header).is_err() {
            return Err(self.names.to_vec());
        }
        self.width = self.fields.len();
        let mut missing = Vec::new();
        for (name, place) in self.names.iter().zip(&mut self.places) {
            match self.fields.iter().position(|field| field == *name) {
                Some(found) => *place = found,
                None => missing.push(*name),
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    }

    /// Takes the record `text`, of which the other methods speak from now on.
    pub(super) fn read(&mut self, text: &[u8]) -> Result<(), Refusal> {
        self.split(text)?;
        let (expected, found) = (self.width, self.fields.len());
        if expected == found {
            return Ok(());
        }
        Err(Refusal::Malformed(format!("expected {expected} columns, found {found}")))
    }

    fn split(&mut self, text: &[u8]) -> Result<(), Refusal> {
        self.csv.get_mut().put(text);
        match self.csv.read_record(&mut self.fields) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::Malformed("no columns".to_owned())),
            Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
                Err(Refusal::Malformed("not UTF-8".to_owned()))
            }
            Err(error) => Err(Refusal::Malformed(error.to_string())),
        }
    }

    /// A field as it is written; an empty one is an empty text.
    pub(super) fn field(&self, column: usize) -> &str {
        &self.fields[self.places[column]]
    }

    /// An id or a label; `None` where the field is empty.
    pub(super) fn text(&self, column: usize) -> Result<Option<&str>, Refusal> {
        match self.field(column) {
            "" => Ok(None),
            text if text.len() > MAX_TEXT_BYTES => Err(self.wrong(column, "at most 256 bytes")),
            text => Ok(Some(text)),
        }
    }

    /// An id that a row cannot do without.
    pub(super) fn required(&self, column: usize) -> Result<&str, Refusal> {
        self.text(column)?.ok_or_else(|| Refusal::Invalid(format!("{} is empty", self.names[column])))
    }

    /// A number.
    pub(super) fn number<T: FromStr>(&self, column: usize, expected: &str) -> Result<T, Refusal> {
        self.field(column).parse().map_err(|_| self.wrong(column, expected))
    }

    /// An amount of money in micros, of either sign.
    pub(super) fn amount(&self, column: usize) -> Result<i64, Refusal> {
        let amount = self.number::<f64>(column, "an amount")?;
        if !amount.is_finite() {
            return Err(self.wrong(column, "an amount"));
        }
        micros_of(amount).ok_or(Refusal::AmountTooLarge)
    }

    /// An instant: `2010-12-01 08:26:00` and then `zone`, which the format writes for UTC.
    pub(super) fn date(&mut self, column: usize, zone: &str) -> Result<Micros, Refusal> {
        const SHAPE: &str = "YYYY-MM-DD HH:MM:SS";
        let text = &self.fields[self.places[column]];
        if text != self.last_date.0 {
            let civil = text.strip_suffix(zone).filter(|civil| civil.len() == SHAPE.len());
            let at = civil.filter(|civil| civil.as_bytes()[10] == b' ').and_then(Micros::parse);
            let at = at.ok_or_else(|| self.wrong(column, &format!("{SHAPE}{zone}")))?;
            self.last_date = (text.to_owned(), at);
        }
        Ok(self.last_date.1)
    }

    /// An instant in whole milliseconds since 1970.
    pub(super) fn millis(&self, column: usize) -> Result<Micros, Refusal> {
        let expected = "whole milliseconds since 1970";
        Micros::from_millis(self.number(column, expected)?).ok_or_else(|| self.wrong(column, expected))
    }

    /// The refusal of a field that is none of what was expected.
    pub(super) fn wrong(&self, column: usize, expected: &str) -> Refusal {
        let found: String = self.field(column).chars().take(40).collect();
        Refusal::Invalid(format!("{}: expected {expected}, found `{found}`", self.names[column]))
    }
}

/// `a`, `b` and so on, for a message.
pub(super) fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The input of the CSV reader: one record at a time, always ended, so that the reader never
/// meets an end of input and never waits for more than it is given.
#[derive(Default)]
struct OneRecord {
    text: Vec<u8>,
    read: usize,
}

impl OneRecord {
    fn put(&mut self, text: &[u8]) {
        self.text.clear();
        self.text.extend_from_slice(text);
        self.text.push(b'\n');
        self.read = 0;
    }
}

impl Read for OneRecord {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = (&self.text[self.read..]).read(out)?;
        self.read += count;
        Ok(count)
    }
}
