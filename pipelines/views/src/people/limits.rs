//! How often limits of people were hit: what lies beyond them is left out.

use std::sync::atomic::{AtomicU64, Ordering};

/// A limit of a person, counted when it is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `people.max_identifiers`
    Identifiers,
    /// `people.max_cart_lines`
    CartLines,
    /// `people.max_link_messages`
    LinkMessages,
}

static HITS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

impl Limit {
    /// All of them.
    pub const ALL: [Limit; 3] = [Limit::Identifiers, Limit::CartLines, Limit::LinkMessages];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Limit::Identifiers => "max_identifiers",
            Limit::CartLines => "max_cart_lines",
            Limit::LinkMessages => "max_link_messages",
        }
    }

    /// It was hit.
    pub(crate) fn hit(self) {
        HITS[self as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was hit in this process.
    pub fn hits(self) -> u64 {
        HITS[self as usize].load(Ordering::Relaxed)
    }
}
