//! The HTTP side of etalage: reads, Server-Sent Events, the inputs, keys, status, the live page.
//!
//! It knows views by name only, and reaches the pipeline through two things:
//!
//! - [`ReadStore`], a reader of sealed ticks: what is published there can be read and followed.
//!   A read takes a lock of the store for moments, sees exactly one tick, and never reaches the
//!   dataflow.
//! - [`Door`], which takes what comes in and answers when it is stored.
//!
//! ```text
//!   sealed ticks ──▶ ReadStore ──▶ GET /v1/views…
//!                        └──────▶ hub ──▶ GET /v1/stream…
//!   POST /v1/events… ──▶ Door ──▶ store, dataflow
//! ```
//!
//! The interface is described in `openapi.json`, served at `/openapi.json`.

mod app;
mod body;
mod bundles;
mod clock;
mod door;
mod errors;
mod gauges;
mod group_rows;
mod ingest;
mod json;
mod kept;
mod keys;
mod known;
mod options;
mod page;
mod part;
mod people;
mod query;
mod read_store;
mod reads;
mod replaced;
mod rows;
mod sse;
mod state;
mod status;
mod view_rows;
mod vital;

pub use app::{app, serve};
pub use clock::monotonic_us;
pub use door::{Busy, Counts, Door, NotExplained, NotStored};

pub use keys::{Keys, hash_key};
pub use options::ServeOptions;
pub use part::{PartState, serve_part};
pub use read_store::{ReadStore, StoreOptions};
pub use state::ServeState;
pub use vital::{DEFECT, Vital};
