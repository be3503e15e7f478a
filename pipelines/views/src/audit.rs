//! A watch over the one promise that matters most: at every published tick no set holds an item
//! that is not sellable. It reads what readers read, apart from the dataflow that made it.

use std::collections::{HashMap, HashSet};

use etalage_model::{Key, SealedTick, Sym};

use crate::{bestsellers, sellable};

/// Follows published ticks and counts broken promises.
#[derive(Default)]
pub struct StockAudit {
    unsellable: HashSet<Sym>,
    sets: HashMap<Key, Vec<Sym>>,
    /// In how many sets an item stands.
    listed: HashMap<Sym, usize>,
}

impl StockAudit {
    /// Takes a tick and gives each item that stands in a set although it is not sellable, where
    /// this tick changed the set or the item.
    pub fn violations(&mut self, tick: &SealedTick) -> Vec<Sym> {
        let mut suspects = HashSet::new();
        for batch in tick.batches.iter().filter(|batch| batch.view == sellable::NAME) {
            for (key, value) in batch.upserts.iter().filter(|(key, _)| key.field(1).is_none()) {
                let Some(item) = key.field(0) else { continue };
                if value.as_ref().and_then(|value| sellable::is_sellable(value.as_ref())) == Some(false) {
                    self.unsellable.insert(item);
                    suspects.insert(item);
                } else {
                    self.unsellable.remove(&item);
                }
            }
        }
        for batch in tick.batches.iter().filter(|batch| batch.view == bestsellers::NAME) {
            for (key, value) in &batch.upserts {
                let items: Vec<Sym> = value.iter().flat_map(|value| bestsellers::items(value.as_ref())).collect();
                suspects.extend(&items);
                self.replace(*key, items);
            }
        }
        let is_broken = |item: &Sym| self.unsellable.contains(item) && self.listed.contains_key(item);
        suspects.into_iter().filter(is_broken).collect()
    }

    fn replace(&mut self, set: Key, items: Vec<Sym>) {
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
