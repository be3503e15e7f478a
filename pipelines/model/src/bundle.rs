//! Bundles: rows of a view that change together.
//!
//! An item that is looked at has one more view in every window, in each scope in which it stands: five
//! windows and five scopes are 25 keys. A bundle says so once: *this* member, on this axis, stands in
//! *these* scopes and has *these* amounts by label. The keys that it stands for are `(scope, label,
//! member)`, and their values are made when somebody wants them.

use std::{fmt, sync::Arc};

use smallvec::SmallVec;

use crate::{Key, Sym, Value};

/// The values of a bundle by lane, which a label is the name of. They never change.
pub trait Amounts: fmt::Debug + Send + Sync {
    /// The value in a lane, if there is one.
    fn value(&self, lane: u8) -> Option<Value>;
    /// Whether a lane has a value.
    fn has(&self, lane: u8) -> bool;
}

/// Where a value is that is made when it is wanted.
#[derive(Clone, Debug)]
pub struct InLane {
    /// The bundle's values.
    pub amounts: Arc<dyn Amounts>,
    /// The lane.
    pub lane: u8,
}

impl InLane {
    /// The value, if there is one.
    pub fn value(&self) -> Option<Value> {
        self.amounts.value(self.lane)
    }
}

/// The scopes in which a bundle stands, in no order.
pub type Standing = SmallVec<[Sym; 6]>;

/// What changed of a bundle between two ticks.
#[derive(Clone, Debug)]
pub struct BundleChange {
    /// Whose rows they are: the last field of the keys.
    pub member: Sym,
    /// Which of the member's bundles; no two of them ever stand in one scope.
    pub axis: Sym,
    /// Where it stands now.
    pub scopes: Standing,
    /// Of these, where it did not stand before.
    pub joined: Vec<Sym>,
    /// Where it stands no longer.
    pub left: Vec<Sym>,
    /// The lanes in which it has another value than before. In scopes that it has joined it may have had
    /// none in others too.
    pub changed: SmallVec<[u8; 8]>,
    /// The values of before.
    pub was: Arc<dyn Amounts>,
    /// The values of now.
    pub now: Arc<dyn Amounts>,
}

/// The changes of a view's bundles.
#[derive(Clone, Debug, Default)]
pub struct Bundles {
    /// What the lanes are called in keys.
    pub labels: Arc<[Sym]>,
    /// Each bundle at most once.
    pub changes: Vec<BundleChange>,
}

impl Bundles {
    /// Every key that changed, with where its value is or without one.
    pub fn keys(&self) -> impl Iterator<Item = (Key, Option<InLane>)> {
        self.changes.iter().flat_map(|change| change.keys(&self.labels))
    }

    /// Every key that changed, with its value or without one.
    pub fn upserts(&self) -> impl Iterator<Item = (Key, Option<Value>)> {
        self.keys().map(|(key, at)| (key, at.and_then(|at| at.value())))
    }

    /// How many keys changed.
    pub fn len(&self) -> usize {
        let count = |change: &BundleChange| {
            let lanes = |of: &dyn Amounts| (0..self.labels.len()).filter(|lane| of.has(*lane as u8)).count();
            let stays = (change.scopes.len() - change.joined.len()) * change.changed.len();
            let joined = if change.joined.is_empty() { 0 } else { change.joined.len() * lanes(&*change.now) };
            let left = if change.left.is_empty() { 0 } else { change.left.len() * lanes(&*change.was) };
            stays + joined + left
        };
        self.changes.iter().map(count).sum()
    }

    /// True where nothing changed.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Takes in the changes of other bundles of the same view.
    pub fn append(&mut self, more: Bundles) {
        debug_assert!(self.is_empty() || more.is_empty() || self.labels == more.labels, "a view has the same labels");
        if self.is_empty() {
            self.labels = more.labels;
        }
        self.changes.extend(more.changes);
    }
}

impl BundleChange {
    /// Every key that changed, with where its value is or without one.
    fn keys<'a>(&'a self, labels: &'a [Sym]) -> impl Iterator<Item = (Key, Option<InLane>)> + use<'a> {
        let of_lane = move |(lane, label): (usize, &'a Sym)| {
            let lane = lane as u8;
            let (has_changed, has) = (self.changed.contains(&lane), self.now.has(lane));
            let had_left = !self.left.is_empty() && self.was.has(lane);
            let new = self.scopes.iter().filter(move |scope| match self.joined.contains(scope) {
                true => has,
                false => has_changed,
            });
            let at = move || has.then(|| InLane { amounts: Arc::clone(&self.now), lane });
            let gone = self.left.iter().filter(move |_| had_left);
            let key = move |scope: &Sym| Key::new(&[*scope, *label, self.member]);
            new.map(move |scope| (key(scope), at())).chain(gone.map(move |scope| (key(scope), None)))
        };
        labels.iter().enumerate().flat_map(of_lane)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A value per lane; 0 is none.
    #[derive(Debug)]
    struct Plain(Vec<u64>);

    impl Amounts for Plain {
        fn value(&self, lane: u8) -> Option<Value> {
            self.has(lane).then(|| Arc::new(self.0[usize::from(lane)]) as Value)
        }
        fn has(&self, lane: u8) -> bool {
            self.0.get(usize::from(lane)).is_some_and(|amount| *amount != 0)
        }
    }

    fn told(scopes: &[&str], joined: &[&str], left: &[&str], was: &[u64], now: &[u64]) -> BTreeMap<String, String> {
        let syms = |names: &[&str]| names.iter().map(|name| Sym::new(name)).collect::<Vec<_>>();
        let change = BundleChange {
            member: "boot".into(),
            axis: Sym::default(),
            scopes: syms(scopes).into(),
            joined: syms(joined),
            left: syms(left),
            changed: (0..2u8).filter(|lane| was[usize::from(*lane)] != now[usize::from(*lane)]).collect(),
            was: Arc::new(Plain(was.to_vec())),
            now: Arc::new(Plain(now.to_vec())),
        };
        let bundles = Bundles { labels: Arc::new(["1h".into(), "7d".into()]), changes: vec![change] };
        let text = |value: Option<Value>| value.map_or("-".to_owned(), |value| crate::key::value_json(&*value));
        let upserts: Vec<_> = bundles.upserts().map(|(key, value)| (key.path(), text(value))).collect();
        assert_eq!(upserts.len(), bundles.len());
        let by_key: BTreeMap<String, String> = upserts.iter().cloned().collect();
        assert_eq!(by_key.len(), upserts.len(), "each key once");
        by_key
    }

    fn rows(expected: &[(&str, &str)]) -> BTreeMap<String, String> {
        expected.iter().map(|(key, value)| (format!("{key}/boot"), (*value).to_owned())).collect()
    }

    #[test]
    fn what_changed_is_told_in_every_scope() {
        let both = rows(&[("all/1h", "3"), ("home/1h", "3")]);
        assert_eq!(told(&["all", "home"], &[], &[], &[2, 5], &[3, 5]), both);
        assert_eq!(told(&["all"], &[], &[], &[2, 5], &[0, 5]), rows(&[("all/1h", "-")]));
    }

    #[test]
    fn parts_of_several_workers_add_up_whichever_of_them_is_empty() {
        let part = || Bundles {
            labels: Arc::new(["1h".into()]),
            changes: vec![BundleChange {
                member: "boot".into(),
                axis: Sym::default(),
                scopes: Standing::from_slice(&["all".into()]),
                joined: Vec::new(),
                left: Vec::new(),
                changed: SmallVec::from_slice(&[0]),
                was: Arc::new(Plain(vec![0])),
                now: Arc::new(Plain(vec![1])),
            }],
        };
        for parts in [[part(), Bundles::default()], [Bundles::default(), part()]] {
            let mut all = Bundles::default();
            parts.into_iter().for_each(|part| all.append(part));
            assert_eq!(all.upserts().map(|(key, _)| key.path()).collect::<Vec<_>>(), ["all/1h/boot"]);
        }
    }

    #[test]
    fn a_scope_that_is_joined_has_all_of_now_and_one_that_is_left_had_all_of_before() {
        let moved = rows(&[("all/1h", "3"), ("new/1h", "3"), ("new/7d", "5"), ("old/1h", "-"), ("old/7d", "-")]);
        assert_eq!(told(&["all", "new"], &["new"], &["old"], &[2, 5], &[3, 5]), moved);
        let unchanged = rows(&[("new/7d", "5"), ("old/7d", "-")]);
        assert_eq!(told(&["all", "new"], &["new"], &["old"], &[0, 5], &[0, 5]), unchanged);
    }
}
