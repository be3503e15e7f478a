//! The plain data that every part of etalage speaks of: identifiers, time, money, the messages
//! that come in, the sealed changes that go out, and how each is decoded. No I/O, no clock, no
//! dataflow: whatever stands here can be used by an oracle.

pub mod binding;
pub mod bundle;
pub mod changes;
pub mod codec;
pub mod decode;
pub mod hash;
pub mod key;
pub mod measures;
pub mod message;
pub mod money;
pub mod name;
pub mod refusal;
pub mod sym;
pub mod time;
pub mod view;
pub mod written;

pub use binding::{Binding, Position};
pub use bundle::{Amounts, BundleChange, Bundles};
pub use changes::{Changes, SealedBatch, SealedTick, TickTimes};
pub use key::{Key, KeyFields, KeyPrefix, KeyText, Value, ViewValue};
pub use measures::{Measures, ScoreWeights};
pub use message::{Catalogue, CatalogueEntry, Event, EventKind, InputKind, Inventory, Item, Message, Record, StockOp};
pub use name::Name;
pub use refusal::{Outcome, Quarantined, Refusal, Rejected};
pub use sym::Sym;
pub use time::{Micros, Tick};
pub use view::{Group, Resolve, ViewInfo};
pub use written::Written;
