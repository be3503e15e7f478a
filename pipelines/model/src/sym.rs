//! Interned text. An identifier that occurs in millions of events (an item, a scope, a window
//! label) is kept once for the life of the process; a [`Sym`] is its number and a hash of it, so that
//! it copies, compares for equality and hashes without touching the text.
//!
//! **Bound**: the texts are never freed. Only vocabularies go in here (items, categories,
//! brands, countries, locations, scopes, labels), never customers or message ids.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    num::NonZeroU32,
    sync::{
        LazyLock, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use hashbrown::HashTable;
use parking_lot::RwLock;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hash::hash64;

/// An interned string: eight bytes, `Copy`, ordered by its text.
#[derive(Clone, Copy)]
pub struct Sym {
    /// Numbers are given in the order in which texts come: they mean something in this process alone.
    number: NonZeroU32,
    /// The upper half of [`Sym::stable_hash`].
    hash: u32,
}

struct Entry {
    hash: u64,
    prefix: u64,
    text: Box<str>,
}

const SHARDS: usize = 64;

static SHARDS_OF_TEXT: LazyLock<Vec<RwLock<HashTable<Sym>>>> =
    LazyLock::new(|| (0..SHARDS).map(|_| RwLock::default()).collect());

/// How many entries a chunk has, and how many chunks there may be.
const CHUNK: usize = 1 << 16;

/// Entries by number. Chunks are made when they are needed and never move.
static CHUNKS: [OnceLock<Box<[OnceLock<Entry>]>>; CHUNK] = [const { OnceLock::new() }; CHUNK];

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
    ///
    /// # Panics
    /// With the text number 2³²; [`Sym::admit`] is for texts of strangers.
    pub fn new(text: &str) -> Sym {
        let hash = hash64(text.as_bytes());
        if let Some(sym) = known(hash, text) {
            return sym;
        }
        let mut table = shard(hash).write();
        if let Some(sym) = table.find(hash, |sym| sym.is(hash, text)) {
            return *sym;
        }
        let number = u32::try_from(COUNT.fetch_add(1, Relaxed) + 1).expect("fewer than 2^32 texts");
        let number = NonZeroU32::new(number).expect("numbers begin with 1");
        let sym = Sym { number, hash: (hash >> 32) as u32 };
        let is_new = sym.cell().set(Entry { hash, prefix: prefix(text), text: text.into() }).is_ok();
        assert!(is_new, "a number is given once");
        table.insert_unique(hash, sym, |sym| sym.stable_hash());
        sym
    }

    /// As [`Sym::new`], but refuses a text that is not known yet once [`set_limit`] texts are:
    /// what strangers send cannot fill the memory.
    pub fn admit(text: &str) -> Option<Sym> {
        if COUNT.load(Relaxed) < LIMIT.load(Relaxed) {
            return Some(Sym::new(text));
        }
        known(hash64(text.as_bytes()), text)
    }

    /// True for the symbol of `text`, whose hash is `hash`. A short text is told by its prefix, without a
    /// look at the text itself, which stands elsewhere.
    fn is(self, hash: u64, text: &str) -> bool {
        if self.hash != (hash >> 32) as u32 {
            return false;
        }
        let entry = self.entry();
        let is_likely = entry.prefix == prefix(text) && entry.text.len() == text.len();
        is_likely && (text.len() <= size_of::<u64>() || *entry.text == *text)
    }

    /// Where its entry stands, or will.
    fn cell(self) -> &'static OnceLock<Entry> {
        let number = self.number.get() as usize;
        let fresh = || (0..CHUNK).map(|_| OnceLock::new()).collect();
        &CHUNKS[number / CHUNK].get_or_init(fresh)[number % CHUNK]
    }

    fn entry(self) -> &'static Entry {
        self.cell().get().expect("a symbol has a text")
    }

    /// The text itself.
    pub fn as_str(self) -> &'static str {
        &self.entry().text
    }

    /// A 64-bit hash of the text, the same in every process and on every machine. The half of it
    /// that a symbol carries is what [`Hash`] gives: workers are chosen by it, and the phases of
    /// spread windows come from it.
    pub fn stable_hash(self) -> u64 {
        self.entry().hash
    }

    /// The first eight bytes of the text as a number: of two texts the lesser never has the greater.
    pub fn prefix(self) -> u64 {
        self.entry().prefix
    }

    /// True for the symbol of the empty string.
    pub fn is_empty(self) -> bool {
        self == Sym::default()
    }
}

fn shard(hash: u64) -> &'static RwLock<HashTable<Sym>> {
    // Of bits that the tables themselves do not go by.
    &SHARDS_OF_TEXT[(hash >> 40) as usize % SHARDS]
}

fn known(hash: u64, text: &str) -> Option<Sym> {
    shard(hash).read().find(hash, |sym| sym.is(hash, text)).copied()
}

fn prefix(text: &str) -> u64 {
    let mut first = [0; 8];
    let length = text.len().min(8);
    first[..length].copy_from_slice(&text.as_bytes()[..length]);
    u64::from_be_bytes(first)
}

impl PartialEq for Sym {
    fn eq(&self, other: &Sym) -> bool {
        self.number == other.number
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
        let (one, two) = (self.entry(), other.entry());
        one.prefix.cmp(&two.prefix).then_with(|| one.text.cmp(&two.text))
    }
}
impl Hash for Sym {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.hash);
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
