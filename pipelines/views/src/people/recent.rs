//! The items that a person looked at last, each once.
//!
//! **State bound**: as many as are published. A newer look at an item that was left out brings it
//! back by itself, so nothing else needs to be known.

use etalage_model::{Event, Micros, Sym};
use serde::{Deserialize, Serialize};

use super::small_map::make_room;

/// When an item was looked at: timestamp, messageId.
type Look = (Micros, Box<str>);

/// The last looks, the newest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Recent(Vec<(Look, Sym)>);

impl Recent {
    /// Takes in a look.
    pub fn absorb(&mut self, event: &Event, most: usize) {
        for item in &event.items {
            self.take((event.timestamp, &event.message_id), item.item_id, most);
        }
    }

    /// Takes in all that `other` knows.
    pub fn merge(&mut self, other: &Recent, most: usize) {
        other.0.iter().for_each(|((at, id), item)| self.take((*at, id), *item, most));
    }

    fn take(&mut self, look: (Micros, &str), item: Sym, most: usize) {
        if let Some(place) = self.0.iter().position(|(_, other)| *other == item) {
            let ((at, id), _) = &self.0[place];
            if look <= (*at, &**id) {
                return;
            }
            self.0.remove(place);
        }
        // The newest first; those of one event by their ids.
        let newer = |((at, id), other): &(Look, Sym)| {
            let before = (*at, &**id).cmp(&look);
            before.is_gt() || (before.is_eq() && *other < item)
        };
        let place = self.0.partition_point(newer);
        if place < most {
            make_room(&mut self.0);
            self.0.insert(place, ((look.0, look.1.into()), item));
            self.0.truncate(most);
        }
    }

    /// Items with the time of the last look, the newest first.
    pub fn items(&self) -> impl Iterator<Item = (Sym, Micros)> {
        self.0.iter().map(|((at, _), item)| (*item, *at))
    }
}
