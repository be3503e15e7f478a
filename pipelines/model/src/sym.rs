//! Interned text. An identifier that occurs in millions of events (an item, a scope, a window
//! label) is kept once for the life of the process; a [`Sym`] is a pointer to it, so that it
//! copies, compares for equality and hashes without touching the text.
//!
//! **Bound**: the texts are never freed. Only vocabularies go in here (items, categories,
//! brands, countries, locations, scopes, labels), never customers or message ids.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use hashbrown::HashTable;
use parking_lot::RwLock;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hash::hash64;

/// An interned string: one pointer wide, `Copy`, ordered by its text.
#[derive(Clone, Copy)]
pub struct Sym(&'static Entry);

struct Entry {
    hash: u64,
    prefix: u64,
    text: Box<str>,
}

const SHARDS: usize = 64;

static SHARDS_OF_TEXT: LazyLock<Vec<RwLock<HashTable<&'static Entry>>>> =
    LazyLock::new(|| (0..SHARDS).map(|_| RwLock::default()).collect());

/// The default of [`set_limit`].
pub const DEFAULT_MAX_SYMBOLS: usize = 20_000_000;

static COUNT: AtomicUsize = AtomicUsize::new(0);
static LIMIT: AtomicUsize = AtomicUsize::new(DEFAULT_MAX_SYMBOLS);

/// Sets how many distinct texts [`Sym::admit`] takes (`[limits] max_symbols`).
pub fn set_limit(max_symbols: usize) {
    LIMIT.store(max_symbols, Relaxed);
}

impl Sym {
    /// The symbol of `text`; the same text gives the same symbol everywhere in the process.
    pub fn new(text: &str) -> Sym {
        let hash = hash64(text.as_bytes());
        let shard = &SHARDS_OF_TEXT[(hash >> 58) as usize % SHARDS];
        if let Some(entry) = shard.read().find(hash, |e| &*e.text == text) {
            return Sym(entry);
        }
        let mut table = shard.write();
        if let Some(entry) = table.find(hash, |e| &*e.text == text) {
            return Sym(entry);
        }
        let entry: &'static Entry = Box::leak(Box::new(Entry { hash, prefix: prefix(text), text: text.into() }));
        table.insert_unique(hash, entry, |e| e.hash);
        COUNT.fetch_add(1, Relaxed);
        Sym(entry)
    }

    /// As [`Sym::new`], but refuses a text that is not known yet once [`set_limit`] texts are:
    /// what strangers send cannot fill the memory.
    pub fn admit(text: &str) -> Option<Sym> {
        if COUNT.load(Relaxed) < LIMIT.load(Relaxed) {
            return Some(Sym::new(text));
        }
        let hash = hash64(text.as_bytes());
        let shard = &SHARDS_OF_TEXT[(hash >> 58) as usize % SHARDS];
        shard.read().find(hash, |e| &*e.text == text).map(|entry| Sym(entry))
    }

    /// The text itself.
    pub fn as_str(self) -> &'static str {
        &self.0.text
    }

    /// A 64-bit hash of the text, the same in every process and on every machine: workers are
    /// chosen by it, and the phases of spread windows come from it.
    pub fn stable_hash(self) -> u64 {
        self.0.hash
    }

    /// The first eight bytes of the text as a number: of two texts the lesser never has the greater.
    pub fn prefix(self) -> u64 {
        self.0.prefix
    }

    /// True for the symbol of the empty string.
    pub fn is_empty(self) -> bool {
        self.0.text.is_empty()
    }
}

fn prefix(text: &str) -> u64 {
    let mut first = [0; 8];
    let length = text.len().min(8);
    first[..length].copy_from_slice(&text.as_bytes()[..length]);
    u64::from_be_bytes(first)
}

impl PartialEq for Sym {
    fn eq(&self, other: &Sym) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}
impl Eq for Sym {}
impl PartialOrd for Sym {
    fn partial_cmp(&self, other: &Sym) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Sym {
    fn cmp(&self, other: &Sym) -> Ordering {
        if self == other {
            return Ordering::Equal;
        }
        self.0.prefix.cmp(&other.0.prefix).then_with(|| self.0.text.cmp(&other.0.text))
    }
}
impl Hash for Sym {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}
impl fmt::Debug for Sym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
impl fmt::Display for Sym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl Default for Sym {
    fn default() -> Sym {
        static EMPTY: LazyLock<Sym> = LazyLock::new(|| Sym::new(""));
        *EMPTY
    }
}
impl From<&str> for Sym {
    fn from(text: &str) -> Sym {
        Sym::new(text)
    }
}
impl Serialize for Sym {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
impl<'de> Deserialize<'de> for Sym {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sym, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Sym;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E>(self, text: &str) -> Result<Sym, E> {
                Ok(Sym::new(text))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_symbol_and_order_is_that_of_the_text() {
        let (a, b) = (Sym::new("22086"), Sym::new("85123A"));
        assert_eq!(a, Sym::new("22086"));
        assert_ne!(a, b);
        assert!(a < b);
        let texts = ["", "\0", "\0\0", "1", "22086", "85123A", "85123A-1", "85123A-10", "85123A-2", "ü"];
        let syms = texts.map(Sym::new);
        for (one, a) in texts.iter().zip(&syms) {
            for (other, b) in texts.iter().zip(&syms) {
                assert_eq!(a.cmp(b), one.cmp(other), "{one:?} and {other:?}");
                assert!(a.prefix() <= b.prefix() || one > other);
            }
        }
        assert_eq!(a.stable_hash(), hash64(b"22086"));
        assert_eq!(codec_round_trip(a), a);
    }

    fn codec_round_trip(sym: Sym) -> Sym {
        crate::codec::decode(&crate::codec::encode(&sym).unwrap()).unwrap()
    }
}
