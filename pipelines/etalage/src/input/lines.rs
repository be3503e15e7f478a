//! The lines of an input, without ever holding more of one than it may be long.

use std::io::{self, BufRead};

/// One line, or the beginning of one that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Its bytes without the line end; of a line that is too long, the first ones.
    pub(super) text: &'a [u8],
    /// How long it is, whatever stands in `text`.
    pub(super) bytes: usize,
    /// False where `text` is only its beginning.
    pub(super) is_whole: bool,
    /// Its number, from 1.
    pub(super) number: u64,
}

/// Reads lines of at most `limit` bytes; of longer ones the beginning is kept.
pub(super) struct Lines<R> {
    reader: R,
    limit: usize,
    text: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R, limit: usize) -> Lines<R> {
        // One more, so that the carriage return of a line of just the limit has a place.
        Lines { reader, limit: limit + 1, text: Vec::new(), number: 0 }
    }

    /// The number of the line that is read next.
    pub(super) fn next_number(&self) -> u64 {
        self.number + 1
    }

    /// The next line; `None` at the end. After an error the line that it broke off is lost.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.text.clear();
        let mut bytes = 0;
        loop {
            let found = match self.reader.fill_buf() {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if found.is_empty() && bytes == 0 {
                return Ok(None);
            }
            // Skipping in a slice in memory searches many bytes at once, and cannot fail.
            let length = { found }.skip_until(b'\n').unwrap_or(found.len());
            let end = length.checked_sub(1).filter(|end| found[*end] == b'\n');
            let piece = &found[..end.unwrap_or(found.len())];
            let room = self.limit.saturating_sub(self.text.len());
            self.text.extend_from_slice(&piece[..piece.len().min(room)]);
            bytes += piece.len();
            let last = end.is_some() || found.is_empty();
            let used = piece.len() + usize::from(end.is_some());
            self.reader.consume(used);
            // A line end counts, so that an empty line is told from the end of the input.
            if last {
                self.number += 1;
                let is_whole = bytes == self.text.len();
                let text = self.text.strip_suffix(b"\r").unwrap_or(&self.text);
                return Ok(Some(Line { text, bytes, is_whole, number: self.number }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn lines(text: &str, limit: usize, buffer: usize) -> Vec<(String, usize, bool)> {
        let mut lines = Lines::new(BufReader::with_capacity(buffer, text.as_bytes()), limit);
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push((String::from_utf8(line.text.to_vec()).unwrap(), line.bytes, line.is_whole));
            assert_eq!(line.number, all.len() as u64);
        }
        all
    }

    #[test]
    fn lines_are_cut_at_the_limit_and_counted_whole() {
        for buffer in [1, 2, 3, 100] {
            let all = lines("ab\n\nabcdefg\r\nfour\r\nlast", 4, buffer);
            let expected = [("ab", 2, true), ("", 0, true), ("abcde", 8, false), ("four", 5, true), ("last", 4, true)];
            assert_eq!(all, expected.map(|(text, bytes, whole)| (text.to_owned(), bytes, whole)), "{buffer}");
            assert!(lines("", 4, buffer).is_empty());
            assert_eq!(lines("\n", 4, buffer).len(), 1);
        }
    }
}
