//! A vector that grows without moving what it holds. One of millions that doubles copies them all,
//! and stops its worker for milliseconds.

use std::ops::{Index, IndexMut};

/// How many values lie together.
const CHUNK: usize = 1 << 12;

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
        self.more.last().map_or(self.first.len(), |last| self.more.len() * CHUNK + last.len())
    }

    pub(crate) fn push(&mut self, value: T) {
        if self.first.len() < CHUNK {
            return self.first.push(value);
        }
        if self.more.last().is_none_or(|last| last.len() == CHUNK) {
            self.more.push(Vec::with_capacity(CHUNK));
        }
        self.more.last_mut().expect("there is room").push(value);
    }

    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        match (at / CHUNK).checked_sub(1) {
            None => self.first.get(at),
            Some(chunk) => self.more.get(chunk)?.get(at % CHUNK),
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
        match (at / CHUNK).checked_sub(1) {
            None => &self.first[at],
            Some(chunk) => &self.more[chunk][at % CHUNK],
        }
    }
}

impl<T> IndexMut<usize> for Chunks<T> {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut T {
        match (at / CHUNK).checked_sub(1) {
            None => &mut self.first[at],
            Some(chunk) => &mut self.more[chunk][at % CHUNK],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_where_they_were_put_and_do_not_move() {
        let mut chunks = Chunks::default();
        assert_eq!((chunks.len(), chunks.get(0)), (0, None));
        (0..2 * CHUNK).for_each(|value| chunks.push(value));
        let first: *const usize = &chunks[CHUNK];
        (2 * CHUNK..10 * CHUNK + 1).for_each(|value| chunks.push(value));
        assert!(std::ptr::eq(first, &chunks[CHUNK]));
        chunks[CHUNK + 7] = 0;
        assert_eq!(
            (chunks.len(), chunks.get(10 * CHUNK), chunks.get(10 * CHUNK + 1)),
            (10 * CHUNK + 1, Some(&(10 * CHUNK)), None)
        );
        let expected = (0..10 * CHUNK + 1).map(|value| if value == CHUNK + 7 { 0 } else { value });
        assert!(chunks.iter().copied().eq(expected));
    }
}
