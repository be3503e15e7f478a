//! Lines of text into records. Of JSON, a record is a line. In CSV a quoted field may hold line
//! ends (RFC 4180), so a record may span lines; a quote that is never closed must not swallow the
//! file. A record that is still open at the end of its line is therefore read on for a few lines
//! only, and where that does not close it properly, its first line alone is bad and the next line
//! is read afresh.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, Read},
};

use super::{BadLine, ReadError};
use crate::Refusal;

/// The most bytes of one line of CSV that are kept; a longer one is a bad line.
const MAX_LINE_BYTES: usize = 65_536;

/// The most lines that one record may span.
const MAX_RECORD_LINES: usize = 16;

/// How many bytes are read at once.
const READ_BYTES: usize = 262_144;

/// The most of a wrong header that is shown, in characters.
const SHOWN_CHARS: usize = 120;

/// A line, or a record of several.
pub(super) struct Line {
    /// The number of its first line, from 1.
    pub(super) number: u64,
    /// Its bytes, without the last line end.
    pub(super) text: Vec<u8>,
    /// How long it was, if that is more than is kept.
    too_long: Option<usize>,
}

/// The records of an input.
pub(super) struct Lines<R> {
    input: BufReader<R>,
    last: u64,
    waiting: VecDeque<Line>,
    /// The most bytes of one line that are kept.
    limit: usize,
    has_quotes: bool,
}

impl<R: Read> Lines<R> {
    /// Records of CSV.
    pub(super) fn csv(input: R) -> Lines<R> {
        Lines::new(input, MAX_LINE_BYTES, true)
    }

    /// Records of JSON, each a line of at most `limit` bytes.
    pub(super) fn json(input: R, limit: usize) -> Lines<R> {
        Lines::new(input, limit, false)
    }

    fn new(input: R, limit: usize, has_quotes: bool) -> Lines<R> {
        let input = BufReader::with_capacity(READ_BYTES, input);
        Lines { input, last: 0, waiting: VecDeque::new(), limit, has_quotes }
    }

    /// The number of the last line that was read.
    pub(super) fn line(&self) -> u64 {
        self.last
    }

    /// Reads the header of a file of `format`: what `accept` makes of it, or says that it must do.
    pub(super) fn header<T>(
        &mut self,
        format: &'static str,
        accept: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<T, ReadError> {
        let (text, is_record) = match self.record().map_err(|source| ReadError::Input { line: 1, source })? {
            None => (Vec::new(), false),
            Some(Ok(line)) => (line.text, true),
            Some(Err(bad)) => (bad.raw, false),
        };
        accept(if is_record { &text } else { b"" }).map_err(|must| {
            let shown: String = String::from_utf8_lossy(&text).chars().take(SHOWN_CHARS).collect();
            let found = if text.is_empty() { "nothing".to_owned() } else { format!("`{}`", shown.escape_debug()) };
            ReadError::Header { format, must, found }
        })
    }

    /// The next record, blank lines before it passed over. `None` at the end.
    pub(super) fn record(&mut self) -> io::Result<Option<Result<Line, BadLine>>> {
        let mut line = loop {
            match self.next_line()? {
                None => return Ok(None),
                Some(line) if line.text.is_empty() => {}
                Some(line) => break line,
            }
        };
        if let Some(bytes) = line.too_long {
            let reason = Refusal::TooLarge { bytes, limit: self.limit };
            return Ok(Some(Err(BadLine { line: line.number, raw: line.text, reason })));
        }
        if !self.has_quotes || !line.text.contains(&b'"') {
            return Ok(Some(Ok(line)));
        }
        let first_bytes = line.text.len();
        let mut taken = Vec::new();
        let mut quoting = Quoting::Start.after(&line.text);
        while quoting == Quoting::Quoted && taken.len() + 1 < MAX_RECORD_LINES {
            let Some(next) = self.next_line()? else { break };
            line.text.push(b'\n');
            line.text.extend_from_slice(&next.text);
            quoting = if next.too_long.is_some() { Quoting::Broken } else { quoting.after(&next.text) };
            taken.push(next);
        }
        if !matches!(quoting, Quoting::Quoted | Quoting::Broken) {
            return Ok(Some(Ok(line)));
        }
        for next in taken.into_iter().rev() {
            self.waiting.push_front(next);
        }
        line.text.truncate(first_bytes);
        let reason = Refusal::Malformed("a quote is not closed, or stands where none may (RFC 4180)".to_owned());
        Ok(Some(Err(BadLine { line: line.number, raw: line.text, reason })))
    }

    fn next_line(&mut self) -> io::Result<Option<Line>> {
        if let Some(line) = self.waiting.pop_front() {
            return Ok(Some(line));
        }
        self.read_line()
    }

    fn read_line(&mut self) -> io::Result<Option<Line>> {
        let mut text = Vec::new();
        let kept = self.input.by_ref().take(self.limit as u64 + 1).read_until(b'\n', &mut text)?;
        if kept == 0 {
            return Ok(None);
        }
        let mut too_long = None;
        if text.last() == Some(&b'\n') {
            text.pop();
        } else if kept > self.limit {
            text.truncate(self.limit);
            too_long = Some(kept + self.input.skip_until(b'\n')?);
        }
        self.last += 1;
        if text.last() == Some(&b'\r') {
            text.pop();
        }
        if self.last == 1 && text.starts_with(b"\xef\xbb\xbf") {
            text.drain(..3);
        }
        Ok(Some(Line { number: self.last, text, too_long }))
    }
}

/// Where in a record a byte stands, as quotes go.
#[derive(Clone, Copy, PartialEq)]
enum Quoting {
    /// At the start of a field.
    Start,
    /// In a field without quotes.
    Plain,
    /// Between the quotes of a field.
    Quoted,
    /// Behind a quote that ends the field, unless another one follows.
    Closed,
    /// No record can continue like this.
    Broken,
}

impl Quoting {
    fn after(self, bytes: &[u8]) -> Quoting {
        bytes.iter().fold(self, |at, byte| match (at, byte) {
            (Quoting::Broken, _) => Quoting::Broken,
            (Quoting::Quoted, b'"') => Quoting::Closed,
            (Quoting::Quoted, _) => Quoting::Quoted,
            (_, b',') => Quoting::Start,
            (Quoting::Start | Quoting::Closed, b'"') => Quoting::Quoted,
            (Quoting::Plain, b'"') | (Quoting::Closed, _) => Quoting::Broken,
            (Quoting::Start | Quoting::Plain, _) => Quoting::Plain,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &[u8]) -> Vec<(u64, Result<String, String>)> {
        let mut lines = Lines::csv(text);
        let mut records = Vec::new();
        while let Some(record) = lines.record().unwrap() {
            let utf8 = |text: Vec<u8>| String::from_utf8(text).unwrap();
            records.push(match record {
                Ok(line) => (line.number, Ok(utf8(line.text))),
                Err(bad) => (bad.line, Err(utf8(bad.raw))),
            });
        }
        records
    }

    #[test]
    fn a_quoted_field_may_hold_commas_quotes_and_line_ends() {
        let text = b"a,\"b, \"\"c\"\"\",d\r\n\r\n1,\"two\nlines\",3\n4";
        let expected = [(1, "a,\"b, \"\"c\"\"\",d"), (3, "1,\"two\nlines\",3"), (5, "4")];
        assert_eq!(records(text), expected.map(|(line, text)| (line, Ok(text.to_owned()))));
    }

    #[test]
    fn an_open_quote_costs_its_own_line_only() {
        let mut text = b"a,\"open,1\nb,\"closed\",2\n".to_vec();
        text.extend(b"c,\"open,3\n");
        text.extend(b"d,4\n".repeat(MAX_RECORD_LINES + 3));
        let records = records(&text);
        assert_eq!(records[0], (1, Err("a,\"open,1".to_owned())));
        assert_eq!(records[1], (2, Ok("b,\"closed\",2".to_owned())));
        assert_eq!(records[2], (3, Err("c,\"open,3".to_owned())));
        assert_eq!(records[3..].len(), MAX_RECORD_LINES + 3);
        assert!(records[3..].iter().all(|(_, record)| record.as_deref() == Ok("d,4")));
    }

    #[test]
    fn quotes_outside_of_quoted_fields_are_broken() {
        assert_eq!(records(b"a\"b,c\n"), [(1, Err("a\"b,c".to_owned()))]);
        assert_eq!(records(b"\"a\"b,c\nd\n"), [(1, Err("\"a\"b,c".to_owned())), (2, Ok("d".to_owned()))]);
    }

    #[test]
    fn a_line_beyond_the_limit_is_bad_and_is_not_kept() {
        let mut text = vec![b'x'; MAX_LINE_BYTES];
        text.extend(b"\n");
        text.extend(vec![b'y'; 3 * MAX_LINE_BYTES]);
        text.extend(b"\nz");
        let records = records(&text);
        assert_eq!(records[0].1.as_ref().map(String::len), Ok(MAX_LINE_BYTES));
        assert_eq!(records[1].1.as_ref().map_err(String::len), Err(MAX_LINE_BYTES));
        assert_eq!(records[2], (3, Ok("z".to_owned())));
    }
}
