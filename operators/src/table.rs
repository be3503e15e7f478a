//! Keyed state in dense slots, with a copy-on-write export.
//!
//! A [`Table`] maps keys to slots `0..n`; other structures name a key by its slot (four bytes)
//! instead of holding it. An export walks the slots in slices. A slot that is about to change
//! before the walk has reached it is copied first, so that the rows are exactly those of the
//! moment at which the export began, however many changes come in between.
//!
//! A table of many keys does not fit the processor's caches, and a look-up that waits for memory
//! three times in a row costs a third of a microsecond. [`Table::look_ahead`] looks for many keys
//! at once, in passes so short that the processor has a dozen of them under way together; the
//! look-ups that follow then find what they need at hand.
//!
//! The index is divided into [`SHARDS`] that grow by themselves, since it reads every key when it
//! grows: one of a hundred thousand keys stopped its worker for 8 ms. Slots stay where they are when
//! there are more of them.
//!
//! A key that comes and goes costs far more than one that stays: whoever forgets keys may let them
//! wait in an [`Idle`](crate::idle::Idle) first.
//!
//! **State bound**: one slot per live key; freed slots are used again.

use std::hash::{BuildHasher, Hash, Hasher};

use hashbrown::HashTable;

use crate::chunked::Chunked;

/// A slot's number.
pub type Slot = u32;

/// Where a key was when it was looked for: right unless the table has changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint(Slot);

impl Hint {
    /// Nothing is known.
    pub const NONE: Hint = Hint(Slot::MAX);
}

/// Into how many parts the index of a table is divided.
pub const SHARDS: usize = 64;

/// Keyed state in dense slots.
pub struct Table<K, S> {
    index: Index,
    slots: Slots<K, S>,
    free: Vec<Slot>,
    walk: Option<Walk<K, S>>,
}

/// Slots by hash of their key.
struct Index([HashTable<Slot>; SHARDS]);

type Slots<K, S> = Chunked<Option<(K, S)>>;

impl Index {
    fn with_room_for(keys: usize) -> Self {
        Index(std::array::from_fn(|_| HashTable::with_capacity(keys / SHARDS)))
    }

    /// The place of a hash's shard. The tables go by the lowest and the highest bits.
    fn shard(hash: u64) -> usize {
        (hash >> 40) as usize % SHARDS
    }

    fn find(&self, hash: u64, is_it: impl FnMut(&Slot) -> bool) -> Option<Slot> {
        self.0[Index::shard(hash)].find(hash, is_it).copied()
    }

    fn insert(&mut self, hash: u64, slot: Slot, rehash: impl Fn(&Slot) -> u64) {
        self.0[Index::shard(hash)].insert_unique(hash, slot, rehash);
    }

    fn remove(&mut self, hash: u64, slot: Slot) {
        if let Ok(found) = self.0[Index::shard(hash)].find_entry(hash, |other| *other == slot) {
            found.remove();
        }
    }
}

/// An export under way.
struct Walk<K, S> {
    cursor: usize,
    end: usize,
    copied: Vec<bool>,
    rows: Vec<(K, S)>,
}

impl<K, S> Default for Table<K, S> {
    fn default() -> Self {
        Table { index: Index::with_room_for(0), slots: Slots::default(), free: Vec::new(), walk: None }
    }
}

impl<K: Hash + Eq + Clone, S: Clone> Table<K, S> {
    /// A table whose index hardly has to grow before it holds `keys`.
    pub fn with_room_for(keys: usize) -> Self {
        Table { index: Index::with_room_for(keys), ..Table::default() }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// True where there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The slot of `key`, if it has one.
    pub fn find(&self, key: &K) -> Option<Slot> {
        let slots = &self.slots;
        self.index.find(hash_of(key), |slot| holds(slots, *slot, key))
    }

    /// Looks for `keys` and gives a hint for each; reads of each state what `also` reads. See the
    /// module's documentation.
    pub fn look_ahead<'a>(&self, keys: impl Iterator<Item = &'a K>, also: impl Fn(&S) -> u64) -> Vec<Hint>
    where
        K: 'a,
    {
        let likely = |key: &K| self.index.find(hash_of(key), |_| true).map_or(Hint::NONE, Hint);
        let hints: Vec<Hint> = keys.map(likely).collect();
        self.fetch(hints.iter().map(|hint| hint.0), also);
        hints
    }

    /// Reads the entries of `slots`, and of each what `also` reads, before they are needed.
    pub fn fetch(&self, slots: impl Iterator<Item = Slot>, also: impl Fn(&S) -> u64) {
        let entry = |slot: Slot| self.slots.get(slot as usize).and_then(Option::as_ref);
        let read = slots.fold(0, |read, slot| read ^ entry(slot).map_or(0, |(_, state)| also(state)));
        std::hint::black_box(read);
    }

    /// As [`Table::find`], looking where `hint` says first.
    pub fn find_near(&self, hint: Hint, key: &K) -> Option<Slot> {
        if self.is_at(hint, key) { Some(hint.0) } else { self.find(key) }
    }

    /// As [`Table::find_or_insert`], looking where `hint` says first.
    pub fn find_or_insert_near(&mut self, hint: Hint, key: &K, fresh: impl FnOnce() -> S) -> Slot {
        if self.is_at(hint, key) { hint.0 } else { self.find_or_insert(key, fresh) }
    }

    fn is_at(&self, hint: Hint, key: &K) -> bool {
        self.slots.get(hint.0 as usize).and_then(Option::as_ref).is_some_and(|(held, _)| held == key)
    }

    /// The slot of `key`, with the state that `fresh` makes where it had none.
    pub fn find_or_insert(&mut self, key: &K, fresh: impl FnOnce() -> S) -> Slot {
        let hash = hash_of(key);
        let slots = &self.slots;
        if let Some(slot) = self.index.find(hash, |slot| holds(slots, *slot, key)) {
            return slot;
        }
        let entry = Some((key.clone(), fresh()));
        let slot = match self.free.pop() {
            Some(slot) => {
                self.keep_for_walk(slot);
                self.slots[slot as usize] = entry;
                slot
            }
            None => {
                self.slots.push(entry);
                Slot::try_from(self.slots.len() - 1).expect("fewer than 2^32 keys a worker")
            }
        };
        let slots = &self.slots;
        self.index.insert(hash, slot, |slot| rehash(slots, *slot));
        slot
    }

    /// Key and state of a live slot.
    pub fn get(&self, slot: Slot) -> (&K, &S) {
        let (key, state) = self.slots[slot as usize].as_ref().expect("a live slot");
        (key, state)
    }

    /// Key and state of a live slot, the state to be changed.
    pub fn get_mut(&mut self, slot: Slot) -> (&K, &mut S) {
        self.keep_for_walk(slot);
        let (key, state) = self.slots[slot as usize].as_mut().expect("a live slot");
        (key, state)
    }

    /// True where the slot is in use.
    pub fn is_live(&self, slot: Slot) -> bool {
        self.slots.get(slot as usize).is_some_and(Option::is_some)
    }

    /// The state of a slot, if it is a live one.
    pub fn peek(&self, slot: Slot) -> Option<&S> {
        self.slots.get(slot as usize)?.as_ref().map(|(_, state)| state)
    }

    /// Forgets the key of a live slot.
    pub fn remove(&mut self, slot: Slot) -> (K, S) {
        self.keep_for_walk(slot);
        let entry = self.slots[slot as usize].take().expect("a live slot");
        self.index.remove(hash_of(&entry.0), slot);
        self.free.push(slot);
        entry
    }

    /// Keys and states, in the order of slots.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &S)> {
        self.slots.iter().flatten().map(|(key, state)| (key, state))
    }

    /// Begins an export of all that stands here now.
    pub fn begin_export(&mut self) {
        let end = self.slots.len();
        self.walk = Some(Walk { cursor: 0, end, copied: vec![false; end], rows: Vec::new() });
    }

    /// Appends the next rows of the export, of about `max_rows` keys, as `row` makes them of key and
    /// state, if any; true when there are no more.
    pub fn export_slice<R>(&mut self, max_rows: usize, out: &mut Vec<R>, row: impl Fn(K, S) -> Option<R>) -> bool {
        let Some(walk) = &mut self.walk else { return true };
        // The last copied first: it matters to nobody.
        let copied = walk.rows.len().min(max_rows);
        out.extend(walk.rows.drain(walk.rows.len() - copied..).filter_map(|(key, state)| row(key, state)));
        let until = walk.end.min(walk.cursor + max_rows - copied);
        for at in walk.cursor..until {
            if let (false, Some((key, state))) = (walk.copied[at], &self.slots[at]) {
                out.extend(row(key.clone(), state.clone()));
            }
        }
        walk.cursor = until;
        let done = walk.cursor == walk.end && walk.rows.is_empty();
        if done {
            self.walk = None;
        }
        done
    }

    #[inline]
    fn keep_for_walk(&mut self, slot: Slot) {
        if self.walk.is_some() {
            self.copy_for_walk(slot);
        }
    }

    /// Copies a slot that changes before the export has reached it. A slot that was empty or
    /// not there when the export began is no part of it.
    #[cold]
    fn copy_for_walk(&mut self, slot: Slot) {
        let Some(walk) = &mut self.walk else { return };
        let at = slot as usize;
        if at >= walk.cursor && at < walk.end && !walk.copied[at] {
            walk.copied[at] = true;
            walk.rows.extend(self.slots[at].clone());
        }
    }
}

fn holds<K: Eq, S>(slots: &Slots<K, S>, slot: Slot, key: &K) -> bool {
    slots[slot as usize].as_ref().is_some_and(|(held, _)| held == key)
}

fn rehash<K: Hash, S>(slots: &Slots<K, S>, slot: Slot) -> u64 {
    slots[slot as usize].as_ref().map_or(0, |(key, _)| hash_of(key))
}

/// A hash for tables and for choosing workers: quick, and the same on every machine for keys
/// whose own `Hash` is (multiply and rotate, finished as in MurmurHash3's 64-bit finaliser).
pub fn hash_of<K: Hash + ?Sized>(key: &K) -> u64 {
    Mix::default().hash_one(key)
}

/// The hash function of [`hash_of`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Mix(u64);

impl BuildHasher for Mix {
    type Hasher = Mix;
    fn build_hasher(&self) -> Mix {
        Mix(0x9E37_79B9_7F4A_7C15)
    }
}

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }
    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(23) ^ value).wrapping_mul(0x2545_F491_4F6C_DD1D);
    }
    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
    fn finish(&self) -> u64 {
        let mut hash = self.0;
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
        hash ^ (hash >> 33)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Whatever happens between the slices, the rows are those of the beginning.
        #[test]
        fn an_export_is_of_the_moment_at_which_it_began(
            before in prop::collection::vec((0u8..20, prop::option::weighted(0.8, 0u32..100)), 0..40),
            between in prop::collection::vec((0u8..25, prop::option::of(0u32..100)), 0..60),
            slice in 1usize..7,
        ) {
            let mut table = Table::default();
            let mut plain = BTreeMap::new();
            let keys: Vec<u8> = (0..30).collect();
            let change = |table: &mut Table<u8, u32>, plain: &mut BTreeMap<u8, u32>, key: u8, change: Option<u32>| {
                match (change, table.find(&key)) {
                    (None, Some(slot)) => {
                        table.remove(slot);
                        plain.remove(&key);
                    }
                    (Some(value), _) => {
                        let slot = table.find_or_insert(&key, || 0);
                        *table.get_mut(slot).1 = value;
                        plain.insert(key, value);
                    }
                    (None, None) => {}
                }
            };
            for (key, value) in before {
                change(&mut table, &mut plain, key, value);
            }
            let expected = plain.clone();
            let hints = table.look_ahead(keys.iter(), |state| u64::from(*state));
            table.begin_export();
            let (mut rows, mut done) = (Vec::new(), false);
            for (key, value) in between {
                done = done || table.export_slice(slice, &mut rows, |key, state| Some((key, state)));
                change(&mut table, &mut plain, key, value);
                // However old a hint is, and of whatever key: it never misleads.
                for hint in hints.iter().chain([&Hint::NONE]) {
                    prop_assert_eq!(table.find_near(*hint, &key), table.find(&key));
                }
            }
            while !done {
                done = table.export_slice(slice, &mut rows, |key, state| Some((key, state)));
            }
            let count = rows.len();
            prop_assert_eq!(rows.into_iter().collect::<BTreeMap<_, _>>(), expected.clone());
            prop_assert_eq!(count, expected.len());
            prop_assert_eq!(table.iter().map(|(k, v)| (*k, *v)).collect::<BTreeMap<_, _>>(), plain);
        }
    }
}
