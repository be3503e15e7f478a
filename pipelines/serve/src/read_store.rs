//! The published values, in memory: what every read and every stream is answered from.
//!
//! **Atomicity.** A [`SealedTick`] is applied under one write lock of its group, and a read takes
//! one read lock: it sees exactly one tick, never a part of one. Locks are held for map work
//! only; JSON is written and old values are freed outside.
//!
//! **Reading back.** Ticks that are published before [`ReadStore::begin`] rebuild the state from
//! the log; nothing is served until then, and a stream cannot be resumed from before it.
//!
//! **Bound.** Live keys are bounded by the dataflow; tombstones by [`StoreOptions`].

use std::sync::Arc;

use etalage_model::{Changes, Group, Key, KeyFields, KeyPrefix, SealedTick, Tick, TickTimes, Value, ViewInfo};
use parking_lot::RwLock;

use crate::{
    rows::{Keep, Row, Rows},
    sse::outbox::Outbox,
};

/// Limits of a [`ReadStore`].
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// How long a removed key is remembered, in pipeline time, so that a stream can be resumed
    /// over it. Default 10 minutes.
    pub tombstone_keep_us: u64,
    /// How many removed keys a view remembers at most. Default 100,000.
    pub max_tombstones: usize,
    /// Ticks that may wait for the streams' encoder. Beyond it they are dropped and every stream
    /// is told to start again. Default 1,024.
    pub max_waiting_ticks: usize,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions { tombstone_keep_us: 600_000_000, max_tombstones: 100_000, max_waiting_ticks: 1024 }
    }
}

/// All views of a process, as of their newest sealed ticks. A handle: clones share the content.
#[derive(Clone)]
pub struct ReadStore(Arc<Inner>);

struct Inner {
    /// Name and group of every view, in the order in which they were given.
    views: Vec<ViewAt>,
    groups: [RwLock<GroupRows>; 2],
    keep: Keep,
    outbox: Arc<Outbox>,
}

struct ViewAt {
    name: &'static str,
    group: Group,
    /// Its place among the views of its group.
    at: usize,
}

#[derive(Default)]
struct GroupRows {
    /// The tick as of which the values held at [`ReadStore::begin`].
    begun: Option<Tick>,
    /// First tick not covered yet; 0 before anything was published.
    upper: Tick,
    times: TickTimes,
    views: Vec<Rows>,
}

impl GroupRows {
    fn as_of(&self) -> Tick {
        self.upper.saturating_sub(1)
    }
}

/// A view, as the store numbers them.
pub(crate) type ViewId = usize;

/// One key that was read.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) view: ViewId,
    pub(crate) key: Key,
    pub(crate) value: Option<Value>,
}

/// What was read, and as of when.
#[derive(Debug)]
pub(crate) struct Read<E> {
    pub(crate) as_of: Tick,
    pub(crate) times: TickTimes,
    /// The greatest tick at which anything that was read has changed.
    pub(crate) tag: Tick,
    pub(crate) entries: E,
}

/// A part of one view.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Part {
    /// All keys that begin so.
    Prefix(KeyPrefix),
    /// This key.
    Key(KeyFields),
}

/// Why a part could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// More keys than are given at once.
    TooManyKeys,
    /// What changed after that tick is no longer known, or was never known here.
    Forgotten,
}

impl ReadStore {
    /// An empty store for these views.
    pub fn new(views: &[ViewInfo], options: StoreOptions) -> ReadStore {
        let mut groups = [GroupRows::default(), GroupRows::default()];
        let views = views.iter().map(|view| {
            let rows = &mut groups[view.group as usize].views;
            rows.push(Rows::default());
            ViewAt { name: view.name, group: view.group, at: rows.len() - 1 }
        });
        let views = views.collect();
        ReadStore(Arc::new(Inner {
            views,
            groups: groups.map(RwLock::new),
            keep: Keep { span_us: options.tombstone_keep_us, max: options.max_tombstones },
            outbox: Arc::new(Outbox::new(options.max_waiting_ticks)),
        }))
    }

    /// Says that the state is complete: everything published so far came from reading the log
    /// back, and ticks from `tick` on are new. From now on reads are answered.
    ///
    /// Until the first new tick the values hold as of the one before `tick`, and a stream that
    /// asks to go on from earlier is reset. So that none goes on from a tick of an earlier
    /// process, whose idle ticks are not in the log, `tick` is one that this process has minted.
    pub fn begin(&self, tick: Tick) {
        for group in &self.0.groups {
            let mut rows = group.write();
            rows.upper = rows.upper.max(tick);
            let as_of = rows.as_of();
            rows.views.iter_mut().for_each(|view| view.raise_floor(as_of));
            rows.begun = Some(as_of);
        }
    }

    /// Applies a sealed tick and hands it to the streams. Never waits for a reader of a stream.
    ///
    /// # Panics
    /// Where the tick is not after the one before: frontiers never go back.
    pub fn publish(&self, tick: &Arc<SealedTick>) {
        let mut dropped = Vec::new();
        let begun = {
            let mut rows = self.0.groups[tick.group as usize].write();
            assert!(tick.upper > rows.upper, "sealed up to {} after {}", tick.upper, rows.upper);
            rows.upper = tick.upper;
            rows.times = tick.times.after(&rows.times);
            for batch in &tick.batches {
                let Some(view) = self.0.views.iter().find(|view| view.name == batch.view && view.group == tick.group)
                else {
                    tracing::error!(view = batch.view, "changes of a view that is not served");
                    continue;
                };
                rows.views[view.at].apply(&batch.upserts, tick.as_of(), &mut dropped);
            }
            let changes = dropped.len();
            rows.views.iter_mut().for_each(|view| view.bury(tick.as_of(), self.0.keep, changes));
            rows.begun.is_some()
        };
        drop(dropped);
        if begun {
            self.0.outbox.push(tick.clone());
        }
    }

    /// The tick as of which the group's values hold; `None` before [`ReadStore::begin`].
    pub fn as_of(&self, group: Group) -> Option<Tick> {
        let rows = self.0.groups[group as usize].read();
        rows.begun.map(|_| rows.as_of())
    }

    /// The tick as of which the values held at [`ReadStore::begin`].
    pub(crate) fn begun_at(&self, group: Group) -> Option<Tick> {
        self.0.groups[group as usize].read().begun
    }

    /// How many keys each view has, in the order of the views.
    pub fn keys(&self) -> Vec<(&'static str, usize)> {
        let count = |view: &ViewAt| self.0.groups[view.group as usize].read().views[view.at].live();
        self.0.views.iter().map(|view| (view.name, count(view))).collect()
    }

    /// The view of that name.
    pub(crate) fn view(&self, name: &str) -> Option<ViewId> {
        self.0.views.iter().position(|view| view.name == name)
    }

    pub(crate) fn group(&self, view: ViewId) -> Group {
        self.0.views[view].group
    }

    pub(crate) fn outbox(&self) -> &Arc<Outbox> {
        &self.0.outbox
    }

    /// These keys of a view, in the order asked for; `None` for one without a value.
    pub(crate) fn get(&self, view: ViewId, keys: &[KeyFields]) -> Read<Vec<Option<Entry>>> {
        let rows = self.0.groups[self.group(view) as usize].read();
        let of_view = &rows.views[self.0.views[view].at];
        let mut tag = 0;
        let entries = keys.iter().map(|key| {
            let row = of_view.get(key);
            // The tombstone of an absent key may have been forgotten up to the floor.
            tag = tag.max(row.map_or(of_view.floor(), |row| row.changed));
            row.filter(|row| row.value.is_some()).map(|row| entry(view, row))
        });
        let entries = entries.collect();
        Read { as_of: rows.as_of(), times: rows.times, tag, entries }
    }

    /// At most `limit` entries of a view by prefix, in key order, behind the key `after`; and
    /// whether there are more.
    pub(crate) fn list(
        &self,
        view: ViewId,
        prefix: &KeyPrefix,
        after: Option<&KeyFields>,
        limit: usize,
    ) -> (Read<Vec<Entry>>, bool) {
        let rows = self.0.groups[self.group(view) as usize].read();
        let of_view = &rows.views[self.0.views[view].at];
        let mut tag = of_view.floor();
        let mut entries = Vec::new();
        let mut more = false;
        for row in of_view.scan(prefix, after) {
            tag = tag.max(row.changed);
            if row.value.is_some() {
                more = entries.len() == limit;
                if more {
                    break;
                }
                entries.push(entry(view, row));
            }
        }
        (Read { as_of: rows.as_of(), times: rows.times, tag, entries }, more)
    }

    /// Every entry of these parts, at most `limit`, each key once.
    pub(crate) fn snapshot(&self, parts: &Parts, limit: usize) -> Result<Read<Vec<Entry>>, Unreadable> {
        self.read_parts(parts, limit, None)
    }

    /// Every key of these parts that changed after `tick`, with its value or tombstone.
    pub(crate) fn changed_after(
        &self,
        parts: &Parts,
        tick: Tick,
        limit: usize,
    ) -> Result<Read<Vec<Entry>>, Unreadable> {
        self.read_parts(parts, limit, Some(tick))
    }

    fn read_parts(&self, parts: &Parts, limit: usize, after: Option<Tick>) -> Result<Read<Vec<Entry>>, Unreadable> {
        let rows = self.0.groups[parts.group as usize].read();
        let mut entries = Vec::new();
        let mut tag = 0;
        for (view, of) in &parts.of {
            let of_view = &rows.views[self.0.views[*view].at];
            if after.is_some_and(|tick| tick >= rows.upper || tick < of_view.floor()) {
                return Err(Unreadable::Forgotten);
            }
            let begin = entries.len();
            let mut take = |row: &Row, entries: &mut Vec<Entry>| {
                tag = tag.max(row.changed);
                if after.map_or(row.value.is_some(), |tick| row.changed > tick) {
                    entries.push(entry(*view, row));
                }
                if entries.len() > limit { Err(Unreadable::TooManyKeys) } else { Ok(()) }
            };
            for part in of {
                match part {
                    Part::Prefix(prefix) => {
                        of_view.scan(prefix, None).try_for_each(|row| take(row, &mut entries))?;
                    }
                    Part::Key(key) => {
                        let row = of_view.get(key);
                        row.map_or(Ok(()), |row| take(row, &mut entries))?;
                    }
                }
            }
            if of.len() > 1 {
                entries[begin..].sort_by(|one, other| one.key.cmp(&other.key));
                entries.dedup_by(|a, b| a.view == b.view && a.key == b.key);
            }
        }
        Ok(Read { as_of: rows.as_of(), times: rows.times, tag, entries })
    }
}

impl Changes for ReadStore {
    fn sealed(&mut self, tick: &Arc<SealedTick>) {
        self.publish(tick);
    }
}

fn entry(view: ViewId, row: &Row) -> Entry {
    Entry { view, key: row.key.clone(), value: row.value.clone() }
}

/// Parts of views of one group, in the store's order of views, each at most once: what one
/// stream follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Parts {
    pub(crate) group: Group,
    pub(crate) of: Vec<(ViewId, Vec<Part>)>,
}

impl Parts {
    /// Puts parts in order and drops repeated ones.
    pub(crate) fn new(group: Group, parts: impl IntoIterator<Item = (ViewId, Part)>) -> Parts {
        let mut by_view = std::collections::BTreeMap::<ViewId, std::collections::BTreeSet<Part>>::new();
        for (view, part) in parts {
            by_view.entry(view).or_default().insert(part);
        }
        let of = by_view.into_iter().map(|(view, parts)| (view, parts.into_iter().collect()));
        Parts { group, of: of.collect() }
    }
}
