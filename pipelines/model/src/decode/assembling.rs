//! The loop that all file formats share: records of lines go in, messages and bad lines come out
//! in their order.

use std::io::{self, Read};

use super::{
    BadLine, ReadError,
    lines::{Line, Lines},
};
use crate::Record;

/// A message, or a bad line, with the number of the last line that it is made of.
pub(super) type Placed = Result<(u64, Record), ReadError>;

/// What a format makes of its records.
pub(super) trait Assembly {
    /// A record of the file.
    fn absorb(&mut self, line: Line);
    /// A line that is no record.
    fn bad(&mut self, bad: BadLine);
    /// The end of the input.
    fn finish(&mut self);
    /// The input broke off. The message at hand may lack rows; it would have another id than the
    /// whole one, and count beside it when the file is read again. So it is dropped.
    fn break_off(&mut self);
    /// The next message or bad line, if one is complete.
    fn take(&mut self) -> Option<Placed>;
    /// True where nothing that follows can be taken: reading ends without the end of the input.
    fn is_over(&self) -> bool {
        false
    }
}

/// An input and the assembly that it feeds.
pub(super) struct Assembling<R, A> {
    lines: Lines<R>,
    pub(super) assembly: A,
    is_at_end: bool,
    broken: Option<ReadError>,
}

impl<R: Read, A: Assembly> Assembling<R, A> {
    /// Goes on behind what was read of `lines` already.
    pub(super) fn new(lines: Lines<R>, assembly: A) -> Assembling<R, A> {
        Assembling { lines, assembly, is_at_end: false, broken: None }
    }

    /// The number of the last line that was read.
    pub(super) fn line(&self) -> u64 {
        self.lines.line()
    }

    fn advance(&mut self) {
        match self.lines.record() {
            Ok(Some(Ok(line))) => self.assembly.absorb(line),
            Ok(Some(Err(bad))) => self.assembly.bad(bad),
            Ok(None) => {
                self.is_at_end = true;
                self.assembly.finish();
            }
            Err(source) => self.break_off(source),
        }
        self.is_at_end |= self.assembly.is_over();
    }

    fn break_off(&mut self, source: io::Error) {
        self.is_at_end = true;
        self.assembly.break_off();
        self.broken = Some(ReadError::Input { line: self.lines.line() + 1, source });
    }
}

impl<R: Read, A: Assembly> Iterator for Assembling<R, A> {
    type Item = Placed;

    fn next(&mut self) -> Option<Placed> {
        loop {
            if let Some(ready) = self.assembly.take() {
                return Some(ready);
            }
            if self.is_at_end {
                return self.broken.take().map(Err);
            }
            self.advance();
        }
    }
}
