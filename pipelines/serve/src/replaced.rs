//! What the shop's values were as of the tick of the other group.
//!
//! The views of people are sealed after the shop's, so that a read of both is answered as of their
//! tick. Values that the shop has replaced since are kept here until they have caught up, but not
//! longer than `group_lag_max`.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, OnceLock},
};

use etalage_model::{Group, Key, SealedTick, Sym, Tick, bundle::InLane};

use crate::view_rows::{Found, Held, Was};

/// What a tick has replaced, by the view's place in its group.
pub(crate) type OfViews = Vec<(usize, Vec<Was>)>;

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
    was: OfViews,
    /// Where each thing is: made by the first reader, since most ticks have none.
    places: OnceLock<HashMap<(usize, Id), (usize, usize)>>,
}

/// What replaced things go by: keys, or members and axes of bundles.
#[derive(PartialEq, Eq, Hash)]
enum Id {
    Key(Key),
    Bundle(Sym, Sym),
}

impl Replacement {
    fn of(&self, view: usize, found: &Found<'_>) -> Option<Held> {
        let places = self.places.get_or_init(|| {
            let of_view = |(at, (view, was)): (usize, &(usize, Vec<Was>))| {
                let id = |was: &Was| match was {
                    Was::Row(key, _) => Some(Id::Key(key.clone())),
                    Was::Bundle(was) => Some(Id::Bundle(was.member, was.axis)),
                    Was::Freed(_) => None,
                };
                let ids = was.iter().enumerate().filter_map(|(place, was)| Some(((*view, id(was)?), (at, place))));
                ids.collect::<Vec<_>>()
            };
            self.was.iter().enumerate().flat_map(of_view).collect()
        });
        let (id, scope) = match found {
            Found::Row(row) => (Id::Key(row.key.clone()), None),
            Found::InBundle(found) => {
                let (member, axis, scope) = found.at();
                (Id::Bundle(member, axis), Some((scope, found.lane)))
            }
        };
        let (at, place) = places.get(&(view, id))?;
        Some(match &self.was[*at].1[*place] {
            Was::Row(_, value) | Was::Freed(value) => value.clone().into(),
            Was::Bundle(was) => {
                let stood = scope.filter(|(scope, lane)| was.scopes.contains(scope) && was.amounts.has(*lane));
                stood.map(|(_, lane)| InLane { amounts: Arc::clone(&was.amounts), lane }).into()
            }
        })
    }
}

impl Replaced {
    pub(crate) fn new(max_lag_us: u64) -> Replaced {
        Replaced { max_lag_us, ticks: VecDeque::new(), known_from: 0 }
    }

    /// A tick is published that has replaced these values. Gives what nobody will ask for any more, to
    /// be freed outside of locks.
    pub(crate) fn publish(&mut self, tick: &SealedTick, was: OfViews) -> Vec<OfViews> {
        let mut done = Vec::new();
        if tick.group == Group::Customer {
            done.push(was);
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
    pub(crate) fn was(&self, tick: Tick, view: usize, found: &Found<'_>) -> Option<Held> {
        let after = self.ticks.partition_point(|replacement| replacement.at <= tick);
        self.ticks.range(after..).find_map(|replacement| replacement.of(view, found))
    }
}

#[cfg(test)]
mod tests {
    use etalage_model::{Amounts, BundleChange, Bundles, SealedBatch, TickTimes, Value};

    use super::*;
    use crate::{rows::Row, view_rows::ViewRows};

    fn tick(group: Group, as_of: Tick, sealed_us: u64) -> SealedTick {
        let times = TickTimes { sealed_us, ..TickTimes::default() };
        SealedTick { group, lower: 0, upper: as_of + 1, times, batches: Vec::new() }
    }

    fn was(rows: &[(&str, Option<i32>)]) -> OfViews {
        let row = |(key, value): &(&str, Option<i32>)| {
            Was::Row(Key::new(&[(*key).into()]), value.map(|value| Arc::new(value) as Value))
        };
        vec![(0, rows.iter().map(row).collect())]
    }

    #[test]
    fn the_first_replacement_after_a_tick_tells_what_was_there() {
        let mut replaced = Replaced::new(1_000);
        replaced.publish(&tick(Group::Shop, 10, 1), was(&[("a", None)]));
        replaced.publish(&tick(Group::Shop, 20, 2), was(&[("a", Some(1)), ("b", Some(7))]));
        replaced.publish(&tick(Group::Shop, 30, 3), was(&[("a", Some(2))]));
        let text = |tick, key: &str| {
            let row = Row { key: Key::new(&[key.into()]), value: None, changed: 0 };
            let was = replaced.was(tick, 0, &Found::Row(&row));
            was.map(|was| was.value().map(|value| etalage_model::key::value_json(value.as_ref())))
        };
        assert_eq!(text(5, "a"), Some(None));
        assert_eq!(text(10, "a"), Some(Some("1".into())));
        assert_eq!(text(20, "a"), Some(Some("2".into())));
        assert_eq!((text(30, "a"), text(20, "b"), text(10, "b")), (None, None, Some(Some("7".into()))));
    }

    /// An item moves from one category to another after the tick that is asked for.
    #[test]
    fn a_bundle_was_where_it_stood_and_not_where_it_stands() {
        #[derive(Debug)]
        struct Only(i32);
        impl Amounts for Only {
            fn value(&self, lane: u8) -> Option<Value> {
                self.has(lane).then(|| Arc::new(self.0) as Value)
            }
            fn has(&self, lane: u8) -> bool {
                lane == 0
            }
        }
        let bundle = |scopes: &[&str], joined: &[&str], left: &[&str], was: i32, now: i32| {
            let syms = |names: &[&str]| names.iter().map(|name| Sym::new(name)).collect::<Vec<_>>();
            let change = BundleChange {
                member: "boot".into(),
                axis: Sym::default(),
                scopes: syms(scopes).into(),
                joined: syms(joined),
                left: syms(left),
                changed: if was == now { Default::default() } else { [0].into_iter().collect() },
                was: Arc::new(Only(was)),
                now: Arc::new(Only(now)),
            };
            let bundles = Bundles { labels: Arc::new(["7d".into()]), changes: vec![change] };
            SealedBatch { bundles, ..SealedBatch::new(Group::Shop, "item.popularity", 0, 1) }
        };
        let (mut rows, mut replaced) = (ViewRows::default(), Replaced::new(1_000));
        let changes = [bundle(&["all", "old"], &[], &[], 0, 1), bundle(&["all", "new"], &["new"], &["old"], 1, 2)];
        for (batch, at) in changes.iter().zip([10, 20]) {
            let mut was = Vec::new();
            rows.apply(batch, at, true, &mut was);
            replaced.publish(&tick(Group::Shop, at, at), vec![(0, was)]);
        }
        let text = |held: Held| held.value().map(|value| etalage_model::key::value_json(value.as_ref()));
        for (scope, before, now) in [("all", Some("1"), Some("2")), ("old", Some("1"), None), ("new", None, Some("2"))]
        {
            let key = Key::new(&[scope.into(), "7d".into(), "boot".into()]);
            let found = rows.get(&key).expect("a value or a tombstone");
            assert_eq!(replaced.was(10, 0, &found).map(text), Some(before.map(str::to_owned)), "{scope} as of 10");
            assert!(replaced.was(20, 0, &found).is_none(), "{scope} has not changed since 20");
            assert_eq!(text(found.held()), now.map(str::to_owned), "{scope} now");
        }
    }

    #[test]
    fn what_both_groups_have_passed_is_freed_and_what_is_too_old_is_not_known_any_more() {
        let mut replaced = Replaced::new(100);
        replaced.publish(&tick(Group::Shop, 10, 1), was(&[("a", None)]));
        replaced.publish(&tick(Group::Shop, 20, 50), was(&[("a", Some(1))]));
        assert_eq!(replaced.publish(&tick(Group::Customer, 10, 60), Vec::new()).len(), 2, "its own, and one");
        assert!(replaced.knows(10));
        assert_eq!(replaced.publish(&tick(Group::Shop, 30, 151), Vec::new()).len(), 1, "the one of tick 20");
        assert!(!replaced.knows(10) && replaced.knows(20));
    }
}
