//! A vector that moves nothing when it grows beyond its first [`CHUNK_VALUES`]. One of millions that
//! doubles copies them all, and stops its worker for milliseconds.

use std::ops::{Index, IndexMut};

/// How many values lie together.
const CHUNK_VALUES: usize = 1 << 12;

/// Values by number.
pub(crate) struct Chunks<T> {
    /// Most vectors are small: the first chunk is at hand, and grows with what it holds.
    first: Vec<T>,
    more: Vec<Vec<T>>,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Chunks { first: Vec::new(), more: Vec::new() }
    }
}

impl<T> Chunks<T> {
    pub(crate) fn len(&self) -> usize {
        self.more.last().map_or(self.first.len(), |last| self.more.len() * CHUNK_VALUES + last.len())
    }

    pub(crate) fn push(&mut self, value: T) {
        if self.first.len() < CHUNK_VALUES {
            return self.first.push(value);
        }
        if self.more.last().is_none_or(|last| last.len() == CHUNK_VALUES) {
            self.more.push(Vec::with_capacity(CHUNK_VALUES));
        }
        self.more.last_mut().expect("there is room").push(value);
    }

    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        match (at / CHUNK_VALUES).checked_sub(1) {
            None => self.first.get(at),
            Some(chunk) => self.more.get(chunk)?.get(at % CHUNK_VALUES),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(self.more.iter().flatten())
    }
}

impl<T> Index<usize> for Chunks<T> {
    type Output = T;
    #[inline]
    fn index(&self, at: usize) -> &T {
        match (at / CHUNK_VALUES).checked_sub(1) {
            None => &self.first[at],
            Some(chunk) => &self.more[chunk][at % CHUNK_VALUES],
        }
    }
}

impl<T> IndexMut<usize> for Chunks<T> {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut T {
        match (at / CHUNK_VALUES).checked_sub(1) {
            None => &mut self.first[at],
            Some(chunk) => &mut self.more[chunk][at % CHUNK_VALUES],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_where_they_were_put_and_those_of_later_chunks_do_not_move() {
        let mut chunks = Chunks::default();
        assert_eq!((chunks.len(), chunks.get(0)), (0, None));
        (0..2 * CHUNK_VALUES).for_each(|value| chunks.push(value));
        let of_second_chunk: *const usize = &chunks[CHUNK_VALUES];
        (2 * CHUNK_VALUES..10 * CHUNK_VALUES + 1).for_each(|value| chunks.push(value));
        assert!(std::ptr::eq(of_second_chunk, &chunks[CHUNK_VALUES]));
        chunks[CHUNK_VALUES + 7] = 0;
        assert_eq!(
            (chunks.len(), chunks.get(10 * CHUNK_VALUES), chunks.get(10 * CHUNK_VALUES + 1)),
            (10 * CHUNK_VALUES + 1, Some(&(10 * CHUNK_VALUES)), None)
        );
        let expected = (0..10 * CHUNK_VALUES + 1).map(|value| if value == CHUNK_VALUES + 7 { 0 } else { value });
        assert!(chunks.iter().copied().eq(expected));
    }
}
