//! What must not wait: that an item may no longer be shown.

use std::collections::HashSet;

use etalage_kafka::{Step, Urgency};
use etalage_model::{SealedTick, Sym, Value};
use etalage_views::{
    audit::{SETS, items},
    sellable,
};

/// The items that ceased to be sellable in the last tick.
#[derive(Default)]
pub(super) struct SoldOut(HashSet<Sym>);

impl Urgency for SoldOut {
    fn look(&mut self, tick: &SealedTick) -> bool {
        self.0.clear();
        for batch in tick.batches.iter().filter(|batch| batch.view == sellable::NAME) {
            let gone = batch.upserts.iter().filter(|(_, value)| !may_be_shown(value.as_ref()));
            self.0.extend(gone.filter_map(|(key, _)| key.field(0).filter(|_| key.field(1).is_none())));
        }
        !self.0.is_empty()
    }

    fn concerns(&self, view: &str) -> bool {
        view == sellable::NAME || SETS.contains(&view)
    }

    fn is_urgent(&self, view: &str, step: &Step<'_>) -> bool {
        match view {
            sellable::NAME => !may_be_shown(step.new),
            _ => {
                SETS.contains(&view)
                    && step.sent.is_some_and(|sent| items(sent.as_ref()).any(|item| self.0.contains(&item)))
            }
        }
    }
}

/// Whether a row of `item.sellable` says that the item may be shown.
fn may_be_shown(value: Option<&Value>) -> bool {
    value.and_then(|value| sellable::is_sellable(value.as_ref())).unwrap_or(false)
}
