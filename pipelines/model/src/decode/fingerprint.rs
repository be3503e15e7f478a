//! The fingerprint of a message: what tells a retry from a conflict, and what a message without
//! an id is named by.
//!
//! It is taken over the decoded, typed content, so that key order, white space and the way a
//! number is written do not matter. The caller leaves the message id blank, sets the time to the
//! one that was sent (0 where none was), and leaves amounts in the currency that was sent: none
//! of what etalage fills in may make a retry look different from its first attempt.

use std::cell::RefCell;

use serde::Serialize;

use crate::{
    InputKind, codec,
    hash::{hash64, hash128},
};

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a message's content hashes to.
pub(super) struct Fingerprint {
    /// `Record.content`.
    pub(super) content: u64,
    /// The sender's id, or `auto:` and the 128-bit hash of the content.
    pub(super) message_id: String,
}

/// The fingerprint of `content`, whose amounts are in `currency` (empty: the shop's).
/// `given` is the id that the sender chose.
pub(super) fn fingerprint(
    kind: InputKind,
    content: &impl Serialize,
    currency: &str,
    given: Option<String>,
) -> Fingerprint {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        codec::encode_into(&(kind.name(), currency, content), buffer).expect("bounded plain data always encodes");
        let message_id = given.unwrap_or_else(|| format!("auto:{:032x}", hash128(buffer)));
        Fingerprint { content: hash64(buffer), message_id }
    })
}
