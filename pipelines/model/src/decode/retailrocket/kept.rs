//! Rows that wait for their turn: their bytes one behind the other, and a small place for each.

use super::Limits;
use crate::{
    Micros,
    decode::{ReadError, lines::Line},
};

/// A row's turn, and where its text stands.
pub(super) struct Place {
    at: Micros,
    /// Its line.
    pub(super) line: u64,
    start: u32,
    bytes: u32,
}

const _: () = assert!(size_of::<Place>() <= 24, "there are many millions of them");

/// All rows of a file.
pub(super) struct Kept {
    limits: Limits,
    texts: Vec<u8>,
    places: Vec<Place>,
}

impl Kept {
    pub(super) fn new(limits: Limits) -> Kept {
        Kept { limits, texts: Vec::new(), places: Vec::new() }
    }

    /// Keeps the row that `line` holds, which is dated `at`.
    ///
    /// # Errors
    /// [`ReadError::TooMany`] where there is no room for it.
    pub(super) fn keep(&mut self, at: Micros, line: &Line) -> Result<(), ReadError> {
        let beyond = |limit_name, limit, unit| Err(ReadError::TooMany { line: line.number, limit_name, limit, unit });
        let Limits { max_rows, max_row_bytes } = self.limits;
        if self.places.len() >= max_rows {
            return beyond("max_rows", max_rows, "rows");
        }
        let fits = |end: &usize| *end <= max_row_bytes;
        let end = self.texts.len().checked_add(line.text.len()).filter(fits).map(u32::try_from);
        let (Some(Ok(_)), Ok(start), Ok(bytes)) =
            (end, u32::try_from(self.texts.len()), u32::try_from(line.text.len()))
        else {
            return beyond("max_row_bytes", max_row_bytes.min(u32::MAX as usize), "bytes");
        };
        self.texts.extend_from_slice(&line.text);
        self.places.push(Place { at, line: line.number, start, bytes });
        Ok(())
    }

    /// The places in the order of (time, line); the texts stay.
    pub(super) fn order(&mut self) -> Vec<Place> {
        let mut places = std::mem::take(&mut self.places);
        places.sort_unstable_by_key(|place| (place.at, place.line));
        places
    }

    /// The bytes of a row.
    pub(super) fn text(&self, place: &Place) -> &[u8] {
        &self.texts[place.start as usize..][..place.bytes as usize]
    }

    /// Gives all memory back.
    pub(super) fn forget(&mut self) {
        (self.texts, self.places) = (Vec::new(), Vec::new());
    }
}
