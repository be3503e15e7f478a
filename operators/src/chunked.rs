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
}
