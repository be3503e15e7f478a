//! The job as a circuit: collections of which every step changes a part, and operators that work on the changes.
//!
//! ```text
//!  clock ──► bounds [T − 10 min, T) ──┬───────────────────────────┐
//!                                     ▼                           ▼
//!  clicks, by minute ──────────────► window    stock, by minute ► window
//!                                     │                           │
//!                          score of each item           last update of each item
//!                                     │                           │
//!                                     │                    those with some left
//!                                     └──────────► join ◄─────────┘
//!                                                   │
//!                                      first ten of each category ──► first ten of these
//!                                                   └────────► + ◄────────┘
//!                                                              ▼
//!                                                       changes of lists
//! ```
//!
//! **Input**: messages in the order of their arrival, and at each step the minute T that it answers. What is dated
//! T or later waits in the windows.
//! **Output**: which members each list loses and gains.
//! **State bound**: the clicks and stock of ten minutes, and of each item its score and last update.

use anyhow::Result;
use dbsp::{
    IndexedZSetHandle, InputHandle, OrdIndexedZSet, OutputHandle, RootCircuit, TypedBox,
    typed_batch::SpineSnapshot,
    utils::{Tup2, Tup3},
};

/// How many members a list has at the most.
const K: usize = 10;
/// How far back clicks count, in minutes.
const WINDOW_MINUTES: u32 = 10;

/// An item: its category, then its number.
pub(crate) type Item = Tup2<u32, u32>;
/// An update of stock: when, in which line, how many are left. The greatest one holds.
pub(crate) type Update = Tup3<u64, u64, i64>;
/// A list: that of a category, or the global one.
pub(crate) type List = Option<u32>;
/// A member of a list: its score, negated so that greater ones come first, and its number.
pub(crate) type Member = Tup2<i64, u32>;

/// What goes into the circuit, and what comes out of it.
pub(crate) struct Handles {
    /// The minute that the next step answers.
    pub(crate) clock: InputHandle<u32>,
    /// Minute → the item that was clicked, as many times as the click is worth.
    pub(crate) clicks: IndexedZSetHandle<u32, Item>,
    /// Minute → an item and an update of its stock.
    pub(crate) stock: IndexedZSetHandle<u32, Tup2<Item, Update>>,
    /// What has changed in the lists.
    pub(crate) lists: OutputHandle<SpineSnapshot<OrdIndexedZSet<List, Member>>>,
}

/// Builds the circuit; each worker calls it.
pub(crate) fn build(circuit: &mut RootCircuit) -> Result<Handles> {
    let (time, clock) = circuit.add_input_stream::<u32>();
    let (clicked, clicks) = circuit.add_input_indexed_zset::<u32, Item>();
    let (updated, stock) = circuit.add_input_indexed_zset::<u32, Tup2<Item, Update>>();
    let bounds = time.apply(|minute| (TypedBox::new(minute.saturating_sub(WINDOW_MINUTES)), TypedBox::new(*minute)));

    let scores = clicked.window((true, false), &bounds).map_index(|(_, item)| (*item, ())).weighted_count();
    // The greatest of a collection that only grows needs no more than itself to be kept up. An update that leaves
    // the window is not greater than the one that holds, so that it changes nothing.
    let in_stock = updated
        .window((true, false), &bounds)
        .map_index(|(_, Tup2(item, update))| (*item, *update))
        .chain_aggregate(|update, _| *update, |holds, update, _| holds.max(*update))
        .filter(|(_, Tup3(_, _, units))| *units > 0)
        .map_index(|(item, _)| (*item, ()));

    let by_category = scores
        .join_index(&in_stock, |Tup2(category, item), score, ()| Some((Some(*category), Tup2(-score, *item))))
        .topk_asc(K);
    // Who is among the first ten of all is among the first ten of the own category.
    let global = by_category.map_index(|(_, member)| (None, *member)).topk_asc(K);
    let lists = by_category.plus(&global).accumulate_output();
    Ok(Handles { clock, clicks, stock, lists })
}
