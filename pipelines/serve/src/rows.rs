//! The rows of one view in memory: the newest value of every key, or the tombstone of a key that
//! has none any more, each with the tick of its last change.
//!
//! A row stands in a slab; a hash table finds it by key and an ordered map lists the keys in
//! order. A change of a known key, by far the most frequent thing, costs one hash lookup and
//! compares no text. Requests search by [`KeyText`], so their texts are never interned.
//!
//! **Tombstones** go after a while or beyond a number of them. `floor` is the tick up to which
//! some may be missing: what changed after any later tick is known completely.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::{Bound, Range},
};

use etalage_model::{Key, KeyFields, KeyPrefix, KeyText, Name, Tick, Value, hash::hash64, key::MAX_KEY_FIELDS};
use hashbrown::HashTable;

/// How many tombstones a tick may forget, however little it changes.
pub(crate) const BURY_PER_TICK: usize = 256;

/// One key with its newest state.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) key: Key,
    /// `None` is a tombstone.
    pub(crate) value: Option<Value>,
    /// The tick of its last change.
    pub(crate) changed: Tick,
}

/// How long tombstones are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    pub(crate) span_us: u64,
    pub(crate) max: usize,
}

/// All rows of one view.
#[derive(Default)]
pub(crate) struct Rows {
    slots: Vec<Row>,
    free: Vec<u32>,
    index: HashTable<u32>,
    order: BTreeMap<Key, u32>,
    /// Tombstones in the order of their ticks. An entry whose slot has come to life again is
    /// stale, and is passed over.
    graves: VecDeque<(Tick, u32)>,
    dead: usize,
    floor: Tick,
}

impl Rows {
    /// Keys that have a value.
    pub(crate) fn live(&self) -> usize {
        self.order.len() - self.dead
    }

    /// True where nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Tombstones kept.
    #[cfg(test)]
    pub(crate) fn dead(&self) -> usize {
        self.dead
    }

    /// The tick at and below which changes may have been forgotten.
    pub(crate) fn floor(&self) -> Tick {
        self.floor
    }

    /// How many slots there are, some of which are free.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The rows in these slots, tombstones among them.
    pub(crate) fn in_slots(&self, slots: Range<usize>) -> impl Iterator<Item = &Row> {
        // The tombstone in a slot that is free is at or below the floor.
        self.slots
            .iter()
            .take(slots.end)
            .skip(slots.start)
            .filter(|row| row.value.is_some() || row.changed > self.floor)
    }

    /// Says that some changes up to `floor` are forgotten, and that of everything there is nothing is known but that it
    /// has not changed since `rest`.
    pub(crate) fn begin_restoring(&mut self, floor: Tick, rest: Tick) {
        // What came and went while the snapshot was taken in was never there.
        for (tick, slot) in std::mem::take(&mut self.graves) {
            let row = &self.slots[slot as usize];
            if row.value.is_none() && row.changed == tick {
                self.remove(slot);
            }
        }
        self.floor = floor;
        self.slots.iter_mut().for_each(|row| row.changed = row.changed.min(rest));
    }

    /// Says when a key changed last; one that is not there was removed then. Later ones come after earlier ones.
    pub(crate) fn restore(&mut self, key: &KeyFields, tick: Tick) {
        let key: &dyn KeyText = key;
        let same = |slot: &u32| (&self.slots[*slot as usize].key as &dyn KeyText) == key;
        if let Some(&slot) = self.index.find(hash_of(key), same) {
            self.slots[slot as usize].changed = tick;
            return;
        }
        let names: Vec<Name> = (0..MAX_KEY_FIELDS).map_while(|at| key.text(at).map(Name::from)).collect();
        let slot = self.insert(hash_of(key), Row { key: Key::of_names(&names), value: None, changed: tick });
        self.graves.push_back((tick, slot));
        self.dead += 1;
    }

    /// Applies changes that are all of `tick`, and tells what each has replaced.
    pub(crate) fn apply(
        &mut self,
        upserts: &[(Key, Option<Value>)],
        tick: Tick,
        mut was: impl FnMut(&Key, Option<Value>),
    ) {
        for (key, value) in upserts {
            was(key, self.set(key.clone(), value.clone(), tick));
        }
    }

    fn set(&mut self, key: Key, value: Option<Value>, tick: Tick) -> Option<Value> {
        let hash = hash_of(&key);
        let Some(&slot) = self.index.find(hash, |slot| self.slots[*slot as usize].key == key) else {
            // A tombstone for a key that no reader has ever seen says nothing.
            if value.is_some() {
                self.insert(hash, Row { key, value, changed: tick });
            }
            return None;
        };
        let row = &mut self.slots[slot as usize];
        match (row.value.is_some(), value.is_some()) {
            (true, false) => {
                self.dead += 1;
                self.graves.push_back((tick, slot));
            }
            (false, true) => self.dead -= 1,
            (false, false) => return None,
            (true, true) => {}
        }
        row.changed = tick;
        std::mem::replace(&mut row.value, value)
    }

    fn insert(&mut self, hash: u64, row: Row) -> u32 {
        let key = row.key.clone();
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = row;
                slot
            }
            None => {
                self.slots.push(row);
                u32::try_from(self.slots.len() - 1).expect("a view has fewer than 4 billion keys")
            }
        };
        self.index.insert_unique(hash, slot, |slot| hash_of(&self.slots[*slot as usize].key));
        self.order.insert(key, slot);
        slot
    }

    /// Forgets tombstones that are too old or too many: in a tick of `changes` changes not many
    /// more than these, so that no tick holds the lock for the work of others.
    pub(crate) fn bury(&mut self, now: Tick, keep: Keep, changes: usize) {
        let budget = changes.max(BURY_PER_TICK);
        let mut buried = 0;
        while let Some(&(tick, slot)) = self.graves.front() {
            let row = &self.slots[slot as usize];
            let stale = row.value.is_some() || row.changed != tick;
            let due = tick.saturating_add(keep.span_us) < now || self.dead > keep.max;
            if !stale && (!due || buried == budget) {
                break;
            }
            self.graves.pop_front();
            if !stale {
                self.remove(slot);
                self.floor = self.floor.max(tick);
                buried += 1;
            }
        }
        // Keys that come and go leave stale entries behind a tombstone that stays.
        if self.graves.len() > 2 * self.dead + 1024 {
            let slots = &self.slots;
            self.graves.retain(|(tick, slot)| {
                let row = &slots[*slot as usize];
                row.value.is_none() && row.changed == *tick
            });
        }
    }

    fn remove(&mut self, slot: u32) {
        let key = self.slots[slot as usize].key.clone();
        if let Ok(entry) = self.index.find_entry(hash_of(&key), |at| *at == slot) {
            entry.remove();
        }
        self.order.remove(&key);
        self.free.push(slot);
        self.dead -= 1;
    }

    /// The row of a key; a tombstone where it had a value not long ago.
    pub(crate) fn get(&self, key: &dyn KeyText) -> Option<&Row> {
        let same = |slot: &u32| (&self.slots[*slot as usize].key as &dyn KeyText) == key;
        self.index.find(hash_of(key), same).map(|slot| &self.slots[*slot as usize])
    }

    /// The rows whose keys begin with `prefix`, in key order, tombstones among them; with
    /// `after`, only those behind that key, whether it exists or not.
    pub(crate) fn scan<'a>(
        &'a self,
        prefix: &'a KeyPrefix,
        after: Option<&KeyFields>,
    ) -> impl Iterator<Item = &'a Row> + use<'a> {
        let lower = prefix.lower_bound();
        let from: Bound<&dyn KeyText> = match after {
            Some(after) if (after as &dyn KeyText) >= (&lower as &dyn KeyText) => Bound::Excluded(after),
            _ => Bound::Included(&lower),
        };
        self.order
            .range::<dyn KeyText + '_, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| prefix.matches(key))
            .map(|(_, slot)| &self.slots[*slot as usize])
    }
}

/// A hash over the texts: the same for an interned key, whose parts know theirs, and for the
/// texts of a request.
fn hash_of(key: &(impl KeyHash + ?Sized)) -> u64 {
    (0..MAX_KEY_FIELDS)
        .map_while(|at| key.field_hash(at))
        .fold(0, |hash: u64, field| (hash.rotate_left(23) ^ field).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

trait KeyHash {
    fn field_hash(&self, at: usize) -> Option<u64>;
}

impl KeyHash for Key {
    fn field_hash(&self, at: usize) -> Option<u64> {
        match self.field(at) {
            Some(sym) => Some(sym.stable_hash()),
            None => self.text(at).map(|text| hash64(text.as_bytes())),
        }
    }
}

impl KeyHash for dyn KeyText + '_ {
    fn field_hash(&self, at: usize) -> Option<u64> {
        self.text(at).map(|text| hash64(text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const KEEP: Keep = Keep { span_us: 100, max: 3 };

    fn key(text: &str) -> Key {
        Key::new(&text.split('/').map(Into::into).collect::<Vec<_>>())
    }

    fn fields(text: &str) -> KeyFields {
        KeyFields(text.split('/').map(str::to_owned).collect())
    }

    fn put(rows: &mut Rows, tick: Tick, changes: &[(&str, Option<u64>)]) {
        let upserts: Vec<_> =
            changes.iter().map(|(text, value)| (key(text), value.map(|value| Arc::new(value) as Value))).collect();
        rows.apply(&upserts, tick, |_, _| ());
        rows.bury(tick, KEEP, upserts.len());
    }

    fn keys(rows: &Rows, prefix: &str, after: Option<&str>) -> Vec<String> {
        let prefix = KeyPrefix::parse(prefix, &["a", "b"]).unwrap();
        let after = after.map(fields);
        rows.scan(&prefix, after.as_ref()).filter(|row| row.value.is_some()).map(|row| row.key.path()).collect()
    }

    #[test]
    fn keys_are_found_by_text_and_listed_in_order() {
        let mut rows = Rows::default();
        put(&mut rows, 1, &[("b/2", Some(1)), ("a/1", Some(2)), ("b/10", Some(3)), ("b", Some(4)), ("ba/1", Some(5))]);
        assert_eq!(rows.get(&fields("b/10")).map(|row| row.changed), Some(1));
        assert!(rows.get(&fields("b/1")).is_none());
        assert_eq!(keys(&rows, "", None), ["a/1", "b", "b/10", "b/2", "ba/1"]);
        assert_eq!(keys(&rows, "b/", None), ["b", "b/10", "b/2"]);
        assert_eq!(keys(&rows, "b/1", None), ["b/10"]);
        assert_eq!(keys(&rows, "b/", Some("b/11")), ["b/2"]);
        assert_eq!(keys(&rows, "b/", Some("a/9")), ["b", "b/10", "b/2"]);
    }

    #[test]
    fn old_tombstones_go_and_raise_the_floor() {
        let mut rows = Rows::default();
        put(&mut rows, 1, &[("a", Some(1)), ("b", Some(1))]);
        put(&mut rows, 2, &[("a", None), ("unknown", None)]);
        assert_eq!((rows.live(), rows.dead(), rows.floor()), (1, 1, 0));
        assert!(rows.get(&fields("a")).is_some_and(|row| row.value.is_none() && row.changed == 2));
        put(&mut rows, 102, &[]);
        assert_eq!(rows.dead(), 1, "kept for the whole span");
        put(&mut rows, 103, &[]);
        assert_eq!((rows.live(), rows.dead(), rows.floor()), (1, 0, 2));
        assert!(rows.get(&fields("a")).is_none());
        put(&mut rows, 104, &[("c", Some(7))]);
        assert_eq!(keys(&rows, "", None), ["b", "c"]);
    }

    #[test]
    fn too_many_tombstones_go_oldest_first_and_a_revived_key_is_none() {
        let mut rows = Rows::default();
        let texts: Vec<String> = (0..5).map(|n| format!("k{n}")).collect();
        for (at, text) in texts.iter().enumerate() {
            put(&mut rows, at as u64 * 2 + 1, &[(text, Some(1))]);
            put(&mut rows, at as u64 * 2 + 2, &[(text, None)]);
        }
        assert_eq!((rows.dead(), rows.floor()), (3, 4));
        put(&mut rows, 11, &[("k2", Some(2))]);
        put(&mut rows, 12, &[("k2", None)]);
        put(&mut rows, 13, &[("k0", Some(3))]);
        assert_eq!((rows.live(), rows.dead(), rows.floor()), (1, 3, 4));
        put(&mut rows, 14, &[("k0", None)]);
        assert_eq!((rows.dead(), rows.floor()), (3, 8), "k3 was the oldest");
    }

    #[test]
    fn a_key_that_flips_does_not_fill_the_list_of_graves() {
        let mut rows = Rows::default();
        put(&mut rows, 1, &[("stays", Some(1)), ("flips", Some(1))]);
        put(&mut rows, 2, &[("stays", None)]);
        for n in 0..10_000 {
            let keep = Keep { span_us: u64::MAX / 2, max: 3 };
            rows.apply(&[(key("flips"), None)], 3 + 2 * n, |_, _| ());
            rows.apply(&[(key("flips"), Some(Arc::new(n)))], 4 + 2 * n, |_, _| ());
            rows.bury(4 + 2 * n, keep, 1);
        }
        assert!(rows.graves.len() < 2_000, "{}", rows.graves.len());
        assert!(rows.get(&fields("stays")).is_some());
    }
}
