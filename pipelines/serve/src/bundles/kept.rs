//! When bundles changed, as a snapshot keeps it.

use std::ops::Range;

use etalage_model::{Sym, Tick};
use serde::{Deserialize, Serialize};

use super::{Bundle, BundleRows, ByText, Grave, Place};

/// When the keys of a bundle changed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptBundle {
    member: String,
    axis: String,
    /// Of each lane; 0 for never.
    changed: Vec<Tick>,
    /// The scopes, whether it stands there, and since when it does or does not.
    places: Vec<(String, bool, Tick)>,
    /// When it lost its last value; 0 while it has any.
    died: Tick,
}

impl KeptBundle {
    /// The tick of its last change.
    pub(crate) fn newest(&self) -> Tick {
        let changed = self.changed.iter().chain(self.places.iter().map(|(.., since)| since));
        changed.copied().max().unwrap_or(0).max(self.died)
    }

    /// What it was as of `tick`, as far as that is known: what changed later may have changed then too.
    pub(crate) fn until(mut self, tick: Tick) -> KeptBundle {
        let changed = self.changed.iter_mut().chain(self.places.iter_mut().map(|(.., since)| since));
        changed.for_each(|at| *at = tick.min(*at));
        self.died = self.died.min(tick);
        self
    }
}

impl BundleRows {
    /// How many slots there are, some of which are free.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// What the lanes are called.
    pub(crate) fn labels(&self) -> Vec<String> {
        self.labels.iter().map(|label| label.as_str().to_owned()).collect()
    }

    /// When the bundles in these slots changed.
    pub(crate) fn in_slots(&self, slots: Range<usize>) -> impl Iterator<Item = KeptBundle> {
        let slots = self.slots.iter().take(slots.end).skip(slots.start);
        // What is in a slot that is free stands nowhere.
        slots.filter(|bundle| !bundle.places.is_empty()).map(|bundle| KeptBundle {
            member: bundle.member.as_str().to_owned(),
            axis: bundle.axis.as_str().to_owned(),
            changed: bundle.changed.to_vec(),
            places: bundle.places.iter().map(|at| (at.scope.as_str().to_owned(), at.stands, at.since)).collect(),
            died: bundle.died,
        })
    }

    /// Says that some changes up to `floor` are forgotten, and that of everything there is nothing is known but that it
    /// has not changed since `rest`.
    pub(crate) fn begin_restoring(&mut self, floor: Tick, rest: Tick, labels: &[String]) {
        // What came and went while the snapshot was taken in was never there.
        for grave in std::mem::take(&mut self.graves) {
            if self.is_dead(&grave) {
                self.dead -= self.remove(&grave);
            }
        }
        self.floor = floor;
        if self.labels.is_empty() {
            self.set_labels(labels.iter().map(|label| Sym::new(label)).collect());
        }
        for bundle in &mut self.slots {
            bundle.changed.iter_mut().filter(|tick| **tick > 0).for_each(|tick| *tick = rest.clamp(1, *tick));
            bundle.places.iter_mut().for_each(|place| place.since = place.since.min(rest));
        }
    }

    /// Says when the keys of a bundle changed last; what is not there was removed then.
    pub(crate) fn restore(&mut self, kept: &KeptBundle) {
        if kept.changed.len() != self.labels.len() {
            return;
        }
        let (member, axis) = (Sym::new(&kept.member), Sym::new(&kept.axis));
        let slot = self.find(member, axis).unwrap_or_else(|| {
            let died = kept.newest();
            let slot = self.insert(Bundle::new(member, axis, self.labels.len()));
            self.slots[slot as usize].died = died;
            self.graves.push_back(Grave { tick: died, slot, scope: None });
            slot
        });
        let dead = self.counts(slot).1;
        let bundle = &mut self.slots[slot as usize];
        for (changed, tick) in bundle.changed.iter_mut().zip(&kept.changed) {
            *changed = if *tick > 0 { *tick } else { *changed };
        }
        for (scope, stood, since) in &kept.places {
            let scope = Sym::new(scope);
            // Where it stood without a value, the lanes tell when it lost it; where it stands no longer, nothing else does.
            let gone = if *stood { kept.newest() } else { *since };
            match bundle.places.iter_mut().find(|place| place.scope == scope) {
                Some(place) => place.since = *since,
                None => {
                    bundle.places.push(Place { scope, stands: false, since: gone });
                    self.graves.push_back(Grave { tick: gone, slot, scope: Some(scope) });
                    self.scopes.entry(ByText(scope)).or_default().insert(ByText(member), slot);
                }
            }
        }
        self.dead = self.dead + self.counts(slot).1 - dead;
    }

    /// Puts what may be forgotten in order.
    pub(crate) fn end_restoring(&mut self) {
        self.graves.make_contiguous().sort_by_key(|grave| grave.tick);
    }
}
