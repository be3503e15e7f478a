//! What the shop's values were as of the tick of the other group.
//!
//! The views of people are sealed after the shop's, so that a read of both is answered as of their
//! tick. Values that the shop has replaced since are kept here until they have caught up, but not
//! longer than `group_lag_max`.

use std::{
    collections::{HashMap, VecDeque},
    sync::OnceLock,
};

use etalage_model::{Group, Key, SealedTick, Tick, Value};

/// A value that was replaced: the view's place in its group, the key, what it was.
pub(crate) type Was = (usize, Key, Option<Value>);

/// Values of the shop that were replaced after the other group's tick.
pub(crate) struct Replaced {
    max_lag_us: u64,
    /// In order.
    ticks: VecDeque<Replacement>,
    /// Of ticks before this one not everything is known any more.
    known_from: Tick,
}

/// What a tick has replaced.
struct Replacement {
    at: Tick,
    sealed_us: u64,
    was: Vec<Was>,
    /// Where each key is, by view: made by the first reader, since most ticks have none.
    places: OnceLock<HashMap<(usize, Key), usize>>,
}

impl Replacement {
    fn of(&self, view: usize, key: &Key) -> Option<Option<Value>> {
        let places = self.places.get_or_init(|| {
            let places = self.was.iter().enumerate().map(|(place, (view, key, _))| ((*view, key.clone()), place));
            places.collect()
        });
        places.get(&(view, key.clone())).map(|place| self.was[*place].2.clone())
    }
}

impl Replaced {
    pub(crate) fn new(max_lag_us: u64) -> Replaced {
        Replaced { max_lag_us, ticks: VecDeque::new(), known_from: 0 }
    }

    /// A tick is published that has replaced these values. Gives what nobody will ask for any more, to
    /// be freed outside of locks.
    pub(crate) fn publish(&mut self, tick: &SealedTick, was: Vec<Was>) -> Vec<Vec<Was>> {
        let mut done = Vec::new();
        if tick.group == Group::Customer {
            while let Some(replacement) = self.ticks.pop_front_if(|replacement| replacement.at <= tick.as_of()) {
                done.push(replacement.was);
            }
            return done;
        }
        let (at, sealed_us) = (tick.as_of(), tick.times.sealed_us);
        self.ticks.push_back(Replacement { at, sealed_us, was, places: OnceLock::new() });
        let oldest_us = tick.times.sealed_us.saturating_sub(self.max_lag_us);
        while let Some(replacement) = self.ticks.pop_front_if(|replacement| replacement.sealed_us < oldest_us) {
            self.known_from = replacement.at;
            done.push(replacement.was);
        }
        done
    }

    /// Whether everything is known as of `tick`.
    pub(crate) fn knows(&self, tick: Tick) -> bool {
        tick >= self.known_from
    }

    /// What a key's value was as of `tick`, where it was replaced since.
    pub(crate) fn was(&self, tick: Tick, view: usize, key: &Key) -> Option<Option<Value>> {
        let after = self.ticks.partition_point(|replacement| replacement.at <= tick);
        self.ticks.range(after..).find_map(|replacement| replacement.of(view, key))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use etalage_model::TickTimes;

    use super::*;

    fn tick(group: Group, as_of: Tick, sealed_us: u64) -> SealedTick {
        let times = TickTimes { sealed_us, ..TickTimes::default() };
        SealedTick { group, lower: 0, upper: as_of + 1, times, batches: Vec::new() }
    }

    fn was(key: &str, value: Option<i32>) -> Was {
        (0, Key::new(&[key.into()]), value.map(|value| Arc::new(value) as Value))
    }

    #[test]
    fn the_first_replacement_after_a_tick_tells_what_was_there() {
        let mut replaced = Replaced::new(1_000);
        replaced.publish(&tick(Group::Shop, 10, 1), vec![was("a", None)]);
        replaced.publish(&tick(Group::Shop, 20, 2), vec![was("a", Some(1)), was("b", Some(7))]);
        replaced.publish(&tick(Group::Shop, 30, 3), vec![was("a", Some(2))]);
        let text = |tick, key: &str| {
            let was = replaced.was(tick, 0, &Key::new(&[key.into()]));
            was.map(|was| was.map(|value| etalage_model::key::value_json(value.as_ref())))
        };
        assert_eq!(text(5, "a"), Some(None));
        assert_eq!(text(10, "a"), Some(Some("1".into())));
        assert_eq!(text(20, "a"), Some(Some("2".into())));
        assert_eq!((text(30, "a"), text(20, "b"), text(10, "b")), (None, None, Some(Some("7".into()))));
    }

    #[test]
    fn what_both_groups_have_passed_is_freed_and_what_is_too_old_is_not_known_any_more() {
        let mut replaced = Replaced::new(100);
        replaced.publish(&tick(Group::Shop, 10, 1), vec![was("a", None)]);
        replaced.publish(&tick(Group::Shop, 20, 50), vec![was("a", Some(1))]);
        assert_eq!(replaced.publish(&tick(Group::Customer, 10, 60), Vec::new()).len(), 1);
        assert!(replaced.knows(10));
        assert_eq!(replaced.publish(&tick(Group::Shop, 30, 151), vec![]).len(), 1, "the one of tick 20");
        assert!(!replaced.knows(10) && replaced.knows(20));
    }
}
