//! etalage's ad feeds: a product file, as Google Merchant and Meta read it, that follows stock and
//! popularity.
//!
//! A [`Feed`] is told what the catalogue says, what can be sold and what the bestsellers are; it knows
//! nothing of where that comes from. [`write()`] puts it into a file, at once and as a whole.
//!
//! **Promise**: what the file offers is sellable at the tick that stands beside it. A product that
//! cannot be sold keeps its row, as `out_of_stock`: rows that vanish linger on the platforms.

mod feed;
mod file;

pub use feed::{Feed, Format, LABELS, Label};
pub use file::{FeedError, Written, confirm, write};
