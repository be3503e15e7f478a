//! The rows of one view, of whichever kind: those with a key of their own, or those of bundles.

use etalage_model::{Key, KeyFields, KeyPrefix, KeyText, SealedBatch, Tick, Value, bundle::InLane};

use crate::{
    bundles::{BundleRows, InBundle, WasBundle},
    rows::{Keep, Row, Rows},
};

/// All rows of a view, which are of one kind: the other is empty.
#[derive(Default)]
pub(crate) struct ViewRows {
    pub(crate) single: Rows,
    pub(crate) bundled: BundleRows,
}

/// A key with its newest state.
#[derive(Clone, Copy)]
pub(crate) enum Found<'a> {
    Row(&'a Row),
    InBundle(InBundle<'a>),
}

/// A value that is at hand, or that is made when it is wanted: outside of locks.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    Nothing,
    Value(Value),
    InLane(InLane),
}

impl Held {
    pub(crate) fn value(&self) -> Option<Value> {
        match self {
            Held::Nothing => None,
            Held::Value(value) => Some(value.clone()),
            Held::InLane(at) => at.value(),
        }
    }
}

impl From<Option<Value>> for Held {
    fn from(value: Option<Value>) -> Held {
        value.map_or(Held::Nothing, Held::Value)
    }
}

impl From<Option<InLane>> for Held {
    fn from(at: Option<InLane>) -> Held {
        at.map_or(Held::Nothing, Held::InLane)
    }
}

/// What something was before it changed.
pub(crate) enum Was {
    Row(Key, Option<Value>),
    Bundle(WasBundle),
    /// A value that nobody will ask for, to be freed.
    Freed(Option<Value>),
}

impl Found<'_> {
    pub(crate) fn key(&self) -> Key {
        match self {
            Found::Row(row) => row.key.clone(),
            Found::InBundle(found) => found.key(),
        }
    }

    /// Nothing for a tombstone.
    pub(crate) fn held(&self) -> Held {
        match self {
            Found::Row(row) => row.value.clone().into(),
            Found::InBundle(found) => found.in_lane().into(),
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        match self {
            Found::Row(row) => row.value.is_some(),
            Found::InBundle(found) => found.is_live(),
        }
    }

    /// The tick of its last change.
    pub(crate) fn changed(&self) -> Tick {
        match self {
            Found::Row(row) => row.changed,
            Found::InBundle(found) => found.changed(),
        }
    }
}

impl ViewRows {
    /// Keys that have a value.
    pub(crate) fn live(&self) -> usize {
        self.single.live() + self.bundled.live()
    }

    /// The tick at and below which changes may have been forgotten.
    pub(crate) fn floor(&self) -> Tick {
        self.single.floor().max(self.bundled.floor())
    }

    /// Applies changes that are all of `tick`. What they have replaced goes to `was`, for the caller to
    /// keep it, if it `keeps` any, or to free it outside the lock.
    pub(crate) fn apply(&mut self, batch: &SealedBatch, tick: Tick, keeps: bool, was: &mut Vec<Was>) {
        self.single.apply(&batch.upserts, tick, |key, value| {
            was.push(if keeps { Was::Row(key.clone(), value) } else { Was::Freed(value) });
        });
        self.bundled.apply(&batch.bundles, tick, |bundle| was.push(Was::Bundle(bundle)));
        debug_assert!(self.single.is_empty() || self.bundled.is_empty(), "a view has rows of one kind");
    }

    /// Forgets tombstones that are too old or too many: in a tick of `changes` changes not many
    /// more than these, so that no tick holds the lock for the work of others.
    pub(crate) fn bury(&mut self, now: Tick, keep: Keep, changes: usize) {
        self.single.bury(now, keep, changes);
        self.bundled.bury(now, keep, changes);
    }

    /// The row of a key; a tombstone where it had a value not long ago.
    pub(crate) fn get(&self, key: &dyn KeyText) -> Option<Found<'_>> {
        self.single.get(key).map(Found::Row).or_else(|| self.bundled.get(key).map(Found::InBundle))
    }

    /// The rows whose keys begin with `prefix`, in key order, tombstones among them; with
    /// `after`, only those behind that key, whether it exists or not.
    pub(crate) fn scan<'a>(
        &'a self,
        prefix: &'a KeyPrefix,
        after: Option<&KeyFields>,
    ) -> impl Iterator<Item = Found<'a>> + use<'a> {
        let single = self.single.scan(prefix, after).map(Found::Row);
        single.chain(self.bundled.scan(prefix, after).map(Found::InBundle))
    }
}
