//! A watch over the one promise that matters most: at every published tick no set holds an item
//! that is not sellable. It reads what readers read, apart from the dataflow that made it.

use etalage_model::{Key, SealedTick, Sym, ViewValue};
use hashbrown::{HashMap, HashSet};

use crate::{UnknownStock, bestsellers, sellable, trending};

/// The views whose values are sets.
pub const SETS: [&str; 2] = [bestsellers::NAME, trending::NAME];

/// The items of a published set, of whichever view.
pub fn items(value: &dyn ViewValue) -> impl Iterator<Item = Sym> + use<'_> {
    bestsellers::items(value).chain(trending::items(value))
}

/// Follows published ticks and counts broken promises. It needs `item.sellable` to be published.
pub struct StockAudit {
    /// Whether an item of which nothing was published may be shown.
    unknown_is_sellable: bool,
    /// The items that are not as the policy says: those that may not be shown, or those that may.
    others: HashSet<Sym>,
    sets: HashMap<(&'static str, Key), Vec<Sym>>,
    /// In how many sets an item stands.
    listed: HashMap<Sym, usize>,
}

impl StockAudit {
    /// A watch that has seen nothing yet.
    pub fn new(unknown: UnknownStock) -> StockAudit {
        StockAudit {
            unknown_is_sellable: unknown == UnknownStock::Sellable,
            others: HashSet::new(),
            sets: HashMap::new(),
            listed: HashMap::new(),
        }
    }

    /// Takes a tick and gives each item that stands in a set although it is not sellable, where
    /// this tick changed the set or the item.
    pub fn violations(&mut self, tick: &SealedTick) -> Vec<Sym> {
        let mut suspects = HashSet::new();
        for batch in tick.batches.iter().filter(|batch| batch.view == sellable::NAME) {
            for (key, value) in batch.upserts.iter().filter(|(key, _)| key.field(1).is_none()) {
                let Some(item) = key.field(0) else { continue };
                let is_sellable = value.as_ref().and_then(|value| sellable::is_sellable(value.as_ref()));
                if is_sellable.unwrap_or(self.unknown_is_sellable) == self.unknown_is_sellable {
                    self.others.remove(&item);
                } else {
                    self.others.insert(item);
                }
                suspects.insert(item);
            }
        }
        for batch in tick.batches.iter().filter(|batch| SETS.contains(&batch.view)) {
            for (key, value) in &batch.upserts {
                let items: Vec<Sym> = value.iter().flat_map(|value| items(value.as_ref())).collect();
                suspects.extend(&items);
                self.replace((batch.view, key.clone()), items);
            }
        }
        let is_broken = |item: &Sym| {
            let is_sellable = self.others.contains(item) != self.unknown_is_sellable;
            !is_sellable && self.listed.contains_key(item)
        };
        suspects.into_iter().filter(is_broken).collect()
    }

    fn replace(&mut self, set: (&'static str, Key), items: Vec<Sym>) {
        for item in &items {
            *self.listed.entry(*item).or_default() += 1;
        }
        for item in self.sets.insert(set, items).into_iter().flatten() {
            if let Some(count) = self.listed.get_mut(&item) {
                *count -= 1;
                if *count == 0 {
                    self.listed.remove(&item);
                }
            }
        }
    }
}
