//! A list that grows without moving what it holds.
//!
//! A `Vec` of a hundred thousand entries that grows copies them all, which stops its worker for many
//! milliseconds. Here a chunk is added.

use std::ops::{Index, IndexMut};

/// Entries of a chunk. The first one grows as a `Vec` does, so that a list of a few stays small.
const CHUNK: usize = if cfg!(test) { 4 } else { 1_024 };

/// A list in chunks.
pub(crate) struct Chunked<T>(Vec<Vec<T>>);

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Chunked(Vec::new())
    }
}

impl<T> Chunked<T> {
    pub(crate) fn len(&self) -> usize {
        let before = self.0.len().saturating_sub(1) * CHUNK;
        before + self.0.last().map_or(0, Vec::len)
    }

    pub(crate) fn push(&mut self, entry: T) {
        match self.0.last_mut() {
            Some(last) if last.len() < CHUNK => last.push(entry),
            None => self.0.push(vec![entry]),
            Some(_) => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(entry);
                self.0.push(chunk);
            }
        }
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.0.get(at / CHUNK)?.get(at % CHUNK)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }
}

impl<T> Index<usize> for Chunked<T> {
    type Output = T;
    fn index(&self, at: usize) -> &T {
        &self.0[at / CHUNK][at % CHUNK]
    }
}
impl<T> IndexMut<usize> for Chunked<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.0[at / CHUNK][at % CHUNK]
    }
}

/// Rows of one width, in chunks: the entries of a row stand together.
pub(crate) struct Rows<T> {
    width: usize,
    chunks: Vec<Vec<T>>,
}

impl<T: Clone> Rows<T> {
    pub(crate) fn of_width(width: usize) -> Self {
        Rows { width, chunks: Vec::new() }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        let before = self.chunks.len().saturating_sub(1) * CHUNK;
        before + self.chunks.last().map_or(0, |last| last.len() / self.width)
    }

    /// A row more, `fill` in every place of it.
    pub(crate) fn push(&mut self, fill: T) {
        let entries = self.width * CHUNK;
        match self.chunks.last_mut() {
            Some(last) if last.len() < entries => last.resize(last.len() + self.width, fill),
            None => self.chunks.push(vec![fill; self.width]),
            Some(_) => {
                let mut chunk = Vec::with_capacity(entries);
                chunk.resize(self.width, fill);
                self.chunks.push(chunk);
            }
        }
    }
}

impl<T> Index<usize> for Rows<T> {
    type Output = [T];
    fn index(&self, at: usize) -> &[T] {
        &self.chunks[at / CHUNK][at % CHUNK * self.width..][..self.width]
    }
}
impl<T> IndexMut<usize> for Rows<T> {
    fn index_mut(&mut self, at: usize) -> &mut [T] {
        &mut self.chunks[at / CHUNK][at % CHUNK * self.width..][..self.width]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_list() {
        let mut list = Chunked::default();
        assert_eq!((list.len(), list.get(0)), (0, None));
        for n in 0..3 * CHUNK {
            list.push(n);
            assert_eq!((list.len(), list[n], list.get(n + 1)), (n + 1, n, None));
        }
        list[CHUNK] = 0;
        assert_eq!(list.iter().filter(|n| **n == 0).count(), 2);
    }

    #[test]
    fn rows_keep_apart() {
        let mut rows = Rows::of_width(3);
        for n in 0..3 * CHUNK {
            assert_eq!(rows.len(), n);
            rows.push(n);
            rows[n][1] += 100;
        }
        assert!((0..3 * CHUNK).all(|n| rows[n] == [n, n + 100, n]));
    }
}
