//! What a file format gives in the place of a message: a bad line, after which reading goes on,
//! or an error that ends it.

use std::{fmt, io};

use crate::Refusal;

/// A line that is no row, or a part of one that is no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1; a header is line 1.
    pub line: u64,
    /// Its bytes, without the line end.
    pub raw: Vec<u8>,
    /// What is wrong with it.
    pub reason: Refusal,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// Why there is no message here.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// One bad line; the reader goes on behind it.
    #[error("{0}")]
    Line(BadLine),
    /// The input is empty or starts with another header. Only the `new` of a reader says so.
    #[error("this is no {format} file: the first line must {must}, found {found}")]
    Header {
        /// What the format is called.
        format: &'static str,
        /// What the first line must do.
        must: String,
        /// What stands there.
        found: String,
    },
    /// The input broke off (a truncated archive, a failing disk). Nothing follows, and the
    /// message at hand is left out, since it may lack rows.
    #[error("reading broke off at line {line}: {source}")]
    Input {
        /// The line that was being read.
        line: u64,
        /// What the input said.
        source: io::Error,
    },
    /// A format that puts its rows into order found more of them than it keeps. Nothing follows.
    #[error("line {line} is beyond {limit_name}: at most {limit} {unit} are put into order; split the file by time")]
    TooMany {
        /// The line that had no place any more.
        line: u64,
        /// What the limit is called.
        limit_name: &'static str,
        /// How much is taken.
        limit: usize,
        /// Of what.
        unit: &'static str,
    },
}
