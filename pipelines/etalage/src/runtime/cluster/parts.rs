//! Sealed batches on their way to the head: values as JSON, which the process that made them writes.
//!
//! So the work of writing is spread over the processes, and whoever serves or publishes a value passes on the very
//! bytes: what a cluster answers is byte-equal to what one process does.

use std::sync::Arc;

use etalage_model::{Amounts, BundleChange, Bundles, Group, Key, SealedBatch, Sym, Tick, Value};
use etalage_views::VIEWS;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// A [`SealedBatch`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ToldBatch {
    /// Its place among [`VIEWS`], which processes of one version share.
    view: usize,
    lower: Tick,
    upper: Tick,
    upserts: Vec<(Key, Option<Vec<u8>>)>,
    labels: Vec<Sym>,
    bundles: Vec<ToldBundle>,
}

/// A [`BundleChange`].
#[derive(Debug, Serialize, Deserialize)]
struct ToldBundle {
    member: Sym,
    axis: Sym,
    scopes: Vec<Sym>,
    joined: Vec<Sym>,
    left: Vec<Sym>,
    /// The lanes that changed, each with the value of before.
    was: Vec<(u8, Option<Vec<u8>>)>,
    /// All lanes that have a value.
    now: Vec<(u8, Vec<u8>)>,
}

/// The values of a bundle of another process, by lane.
#[derive(Clone, Debug)]
struct Lanes(SmallVec<[Option<Value>; 8]>);

impl Amounts for Lanes {
    fn value(&self, lane: u8) -> Option<Value> {
        self.0.get(usize::from(lane)).cloned().flatten()
    }
    fn has(&self, lane: u8) -> bool {
        self.0.get(usize::from(lane)).is_some_and(Option::is_some)
    }
}

fn json(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    value.write_json(&mut out);
    out
}

impl ToldBatch {
    pub(super) fn of(batch: &SealedBatch) -> ToldBatch {
        let view = VIEWS.iter().position(|view| view.name == batch.view);
        let lanes = batch.bundles.labels.len() as u8;
        let upserts = batch.upserts.iter().map(|(key, value)| (key.clone(), value.as_ref().map(json)));
        ToldBatch {
            view: view.expect("what is sealed is a view"),
            lower: batch.lower,
            upper: batch.upper,
            upserts: upserts.collect(),
            labels: batch.bundles.labels.to_vec(),
            bundles: batch.bundles.changes.iter().map(|change| ToldBundle::of(change, lanes)).collect(),
        }
    }

    /// The batch; an error where a process of another version has sent it.
    pub(super) fn into_batch(self, group: Group) -> Result<SealedBatch, String> {
        let view = VIEWS.get(self.view).ok_or("a view that is not known here")?;
        let value = |json: Vec<u8>| (view.read)(json);
        let upserts = self.upserts.into_iter().map(|(key, told)| (key, told.map(value)));
        let lanes = self.labels.len();
        Ok(SealedBatch {
            group,
            view: view.name,
            lower: self.lower,
            upper: self.upper,
            upserts: upserts.collect(),
            bundles: Bundles {
                labels: self.labels.into(),
                changes: self.bundles.into_iter().map(|told| told.into_change(lanes, value)).collect(),
            },
        })
    }
}

impl ToldBundle {
    fn of(change: &BundleChange, lanes: u8) -> ToldBundle {
        let was = change.changed.iter().map(|lane| (*lane, change.was.value(*lane).as_ref().map(json)));
        let now = (0..lanes).filter_map(|lane| Some((lane, json(&change.now.value(lane)?))));
        ToldBundle {
            member: change.member,
            axis: change.axis,
            scopes: change.scopes.to_vec(),
            joined: change.joined.clone(),
            left: change.left.clone(),
            was: was.collect(),
            now: now.collect(),
        }
    }

    fn into_change(self, lanes: usize, value: impl Fn(Vec<u8>) -> Value) -> BundleChange {
        let mut now = Lanes(SmallVec::from_elem(None, lanes));
        let set = |of: &mut Lanes, lane: u8, told: Option<Value>| {
            of.0.get_mut(usize::from(lane)).into_iter().for_each(|at| at.clone_from(&told));
        };
        self.now.into_iter().for_each(|(lane, told)| set(&mut now, lane, Some(value(told))));
        // What has not changed is as it was.
        let mut was = now.clone();
        let changed = self.was.iter().map(|(lane, _)| *lane).collect();
        self.was.into_iter().for_each(|(lane, told)| set(&mut was, lane, told.map(&value)));
        BundleChange {
            member: self.member,
            axis: self.axis,
            scopes: self.scopes.into(),
            joined: self.joined,
            left: self.left,
            changed,
            was: Arc::new(was),
            now: Arc::new(now),
        }
    }
}
