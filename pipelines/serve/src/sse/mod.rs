//! Server-Sent Events.
//!
//! ```text
//!  ReadStore::publish ──▶ Outbox (bounded) ──▶ Hub (one thread) ──▶ Topic (bounded ring of frames)
//!                                                                     │      │      │
//!                                                                  reader  reader  reader
//! ```
//!
//! A *topic* is what one or many streams follow: the same parts of the same views. The hub
//! encodes each tick once per topic, and all its readers send the same bytes.
//!
//! **Delivery.** A reader gets a snapshot as of a tick `t`, then every later tick that changed
//! something in its parts, in order, each once. A reader that falls behind its topic's ring is
//! told `reset` and gets a new snapshot: nothing is ever skipped in silence.

mod frames;
pub(crate) mod hub;
pub(crate) mod outbox;
pub(crate) mod stream;
pub(crate) mod topic;
