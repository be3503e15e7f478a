//! The published values, in memory: what every read and every stream is answered from.
//!
//! **Atomicity.** A [`SealedTick`] is applied under one write lock of its group, and a read takes
//! one read lock: it sees exactly one tick, never a part of one. Locks are held for map work
//! only; values of bundles are made, JSON is written and old values are freed outside.
//!
//! **Reading back.** Ticks that are published before [`ReadStore::begin`] rebuild the state from
//! a snapshot and the log; nothing is served until then. Streams go on from a tick of an earlier process where it
//! is known exactly what was published as of it ([`known`](crate::known)), and what the snapshot kept of it tells what has changed
//! since ([`kept`](crate::kept)).
//!
//! **Bound.** Live keys are bounded by the dataflow; tombstones by [`StoreOptions`].

use std::{collections::VecDeque, sync::Arc};

use etalage_model::{
    Changes, Group, Key, KeyFields, KeyPrefix, Resolve, SealedBatch, SealedTick, Tick, TickTimes, Value, ViewInfo,
};
use parking_lot::{Mutex, RwLock};

use crate::{
    group_rows::GroupRows,
    replaced::Replaced,
    rows::Keep,
    sse::outbox::Outbox,
    view_rows::{Found, Held, ViewRows},
};

/// Limits of a [`ReadStore`].
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// How long a removed key is remembered, in pipeline time, so that a stream can be resumed
    /// over it. Default 10 minutes.
    pub tombstone_keep_us: u64,
    /// How many removed keys a view remembers at most. Default 100,000.
    pub max_tombstones: usize,
    /// For how long values of the shop that were replaced are kept for reads of both groups, while the
    /// other group is behind. Default 10 s.
    pub group_lag_max_us: u64,
    /// Of how many keys of a view a snapshot keeps when they changed. Default 100,000.
    pub max_kept_changes: usize,
    /// Ticks that may wait for the streams' encoder. Beyond it they are dropped and every stream
    /// is told to start again. Default 1,024.
    pub max_waiting_ticks: usize,
    /// The views of people and those of the shop come along each by itself: of no tick both are known, and they are not
    /// read together. Default false.
    pub groups_are_apart: bool,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            tombstone_keep_us: 600_000_000,
            max_tombstones: 100_000,
            group_lag_max_us: 10_000_000,
            max_kept_changes: 100_000,
            max_waiting_ticks: 1024,
            groups_are_apart: false,
        }
    }
}

/// All views of a process, as of their newest sealed ticks. A handle: clones share the content.
#[derive(Clone)]
pub struct ReadStore(Arc<Inner>);

struct Inner {
    /// Name and group of every view, in the order in which they were given.
    views: Vec<ViewAt>,
    groups: [RwLock<GroupRows>; 2],
    /// What the shop's values were as of the tick of the other group.
    replaced: Option<Mutex<Replaced>>,
    groups_are_apart: bool,
    keep: Keep,
    max_kept_changes: usize,
    outbox: Arc<Outbox>,
    /// The newest ticks that are in the log.
    bound: Mutex<VecDeque<Tick>>,
}

/// How many of the newest ticks of the log are remembered.
const MAX_BOUND: usize = 4_096;

struct ViewAt {
    name: &'static str,
    group: Group,
    /// Its place among the views of its group.
    at: usize,
    resolve: Option<Resolve>,
}

/// A view, as the store numbers them.
pub(crate) type ViewId = usize;

/// One key that was read.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) view: ViewId,
    pub(crate) key: Key,
    pub(crate) held: Held,
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
    /// The views of people are too far behind to be read together with the shop's.
    Lagging,
    /// The views of people are not read together with the shop's here.
    Apart,
}

impl ReadStore {
    /// An empty store for these views.
    pub fn new(views: &[ViewInfo], options: StoreOptions) -> ReadStore {
        let mut groups = [GroupRows::default(), GroupRows::default()];
        let views = views.iter().map(|view| {
            let rows = &mut groups[view.group as usize].views;
            rows.push(ViewRows::default());
            ViewAt { name: view.name, group: view.group, at: rows.len() - 1, resolve: view.resolve }
        });
        let views: Vec<ViewAt> = views.collect();
        let has = |group| views.iter().any(|view| view.group == group);
        let replaced = has(Group::Shop) && has(Group::Customer) && !options.groups_are_apart;
        ReadStore(Arc::new(Inner {
            views,
            groups: groups.map(RwLock::new),
            replaced: replaced.then(|| Mutex::new(Replaced::new(options.group_lag_max_us))),
            groups_are_apart: options.groups_are_apart,
            keep: Keep { span_us: options.tombstone_keep_us, max: options.max_tombstones },
            max_kept_changes: options.max_kept_changes,
            outbox: Arc::new(Outbox::new(options.max_waiting_ticks)),
            bound: Mutex::default(),
        }))
    }

    /// Says that the state is complete: everything published so far came from reading the log
    /// back, and ticks from `tick` on are new. From now on reads are answered.
    ///
    /// Until the first new tick the values hold as of the one before `tick`, which no earlier process has reached:
    /// `tick` is one that this process has minted.
    pub fn begin(&self, tick: Tick) {
        for group in &self.0.groups {
            let mut rows = group.write();
            rows.upper = rows.upper.max(tick);
            let as_of = rows.as_of();
            rows.known.begin(as_of);
        }
    }

    /// A tick is in the log. Told before anything is published as of it or later.
    pub fn bind(&self, tick: Tick) {
        let mut bound = self.0.bound.lock();
        if bound.len() == MAX_BOUND {
            bound.pop_front();
        }
        bound.push_back(tick);
    }

    /// From which tick somebody goes on who has what was published as of `as_of`, of which nothing has changed since
    /// `changed`: the newest one that is in the log, for which the next process knows what has changed since. One
    /// between two commits may not be known to it.
    pub(crate) fn resumption(&self, changed: Tick, as_of: Tick) -> Tick {
        let bound = self.0.bound.lock();
        let newest = bound.partition_point(|at| *at <= as_of).checked_sub(1).map(|at| bound[at]);
        newest.filter(|bound| changed <= *bound).unwrap_or(as_of)
    }

    /// Applies a sealed tick and hands it to the streams. Never waits for a reader of a stream.
    ///
    /// # Panics
    /// Where the tick is not after the one before: frontiers never go back.
    pub fn publish(&self, tick: &Arc<SealedTick>) {
        let changes: usize = tick.batches.iter().map(SealedBatch::len).sum();
        let keeps = self.0.replaced.is_some() && tick.group == Group::Shop;
        let mut was = Vec::with_capacity(tick.batches.len());
        let (begun, done) = {
            let mut rows = self.0.groups[tick.group as usize].write();
            assert!(tick.upper > rows.upper, "sealed up to {} after {}", tick.upper, rows.upper);
            rows.upper = tick.upper;
            rows.times = tick.times.after(&rows.times);
            rows.known.seal(tick.as_of());
            for batch in &tick.batches {
                let Some(view) = self.0.views.iter().find(|view| view.name == batch.view && view.group == tick.group)
                else {
                    tracing::error!(view = batch.view, "changes of a view that is not served");
                    continue;
                };
                let mut of_view = Vec::with_capacity(batch.upserts.len() + batch.bundles.changes.len());
                rows.views[view.at].apply(batch, tick.as_of(), keeps, &mut of_view);
                was.push((view.at, of_view));
            }
            rows.views.iter_mut().for_each(|view| view.bury(tick.as_of(), self.0.keep, changes));
            let done = match &self.0.replaced {
                Some(replaced) => replaced.lock().publish(tick, was),
                None => vec![was],
            };
            (rows.known.begun().is_some(), done)
        };
        drop(done);
        if begun {
            self.0.outbox.push(tick.clone());
        }
    }

    /// The newest value of a key.
    pub fn value(&self, view: &str, key: &KeyFields) -> Option<Value> {
        let view = self.view(view)?;
        let rows = self.0.groups[self.group(view) as usize].read();
        rows.views[self.0.views[view].at].get(key)?.held().value()
    }

    /// The tick as of which the group's values hold; `None` before [`ReadStore::begin`].
    pub fn as_of(&self, group: Group) -> Option<Tick> {
        let rows = self.0.groups[group as usize].read();
        rows.known.begun().map(|_| rows.as_of())
    }

    /// The tick as of which the values held at [`ReadStore::begin`].
    pub(crate) fn begun_at(&self, group: Group) -> Option<Tick> {
        self.0.groups[group as usize].read().known.begun()
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

    /// See [`StoreOptions::groups_are_apart`].
    pub(crate) fn are_groups_apart(&self) -> bool {
        self.0.groups_are_apart
    }

    /// Whether any view is of this group.
    pub(crate) fn has(&self, group: Group) -> bool {
        self.0.views.iter().any(|view| view.group == group)
    }

    pub(crate) fn group(&self, view: ViewId) -> Group {
        self.0.views[view].group
    }

    /// All views.
    pub(crate) fn views(&self) -> std::ops::Range<ViewId> {
        0..self.0.views.len()
    }

    pub(crate) fn name(&self, view: ViewId) -> &'static str {
        self.0.views[view].name
    }

    /// The place of a view among those of its group.
    pub(crate) fn place(&self, view: ViewId) -> usize {
        self.0.views[view].at
    }

    pub(crate) fn group_rows(&self, group: Group) -> &RwLock<GroupRows> {
        &self.0.groups[group as usize]
    }

    pub(crate) fn max_kept_changes(&self) -> usize {
        self.0.max_kept_changes
    }

    pub(crate) fn outbox(&self) -> &Arc<Outbox> {
        &self.0.outbox
    }

    /// These keys of a view, in the order asked for; `None` for one without a value. A profile is found
    /// by any of its identifiers.
    pub(crate) fn get(&self, view: ViewId, keys: &[KeyFields]) -> Read<Vec<Option<Entry>>> {
        let rows = self.0.groups[self.group(view) as usize].read();
        let mut tag = 0;
        let entries = keys.iter().map(|key| self.find(&rows, view, key, &mut tag).map(|found| entry(view, &found)));
        let entries = entries.collect();
        Read { as_of: rows.as_of(), times: rows.times, tag, entries }
    }

    /// These keys of views of whatever group, all as of one tick: the lesser one, where both groups are
    /// named.
    pub(crate) fn together(&self, wanted: &[(ViewId, KeyFields)]) -> Result<Read<Vec<Option<Entry>>>, Unreadable> {
        let names = |group| wanted.iter().any(|(view, _)| self.group(*view) == group);
        if self.0.groups_are_apart && names(Group::Shop) && names(Group::Customer) {
            return Err(Unreadable::Apart);
        }
        let customer = self.0.groups[Group::Customer as usize].read();
        let shop = self.0.groups[Group::Shop as usize].read();
        let leads = if names(Group::Customer) { &customer } else { &shop };
        let (as_of, times, mut tag) = (leads.as_of(), leads.times, 0);
        let replaced = self.0.replaced.as_ref().filter(|_| names(Group::Customer)).map(|replaced| replaced.lock());
        if names(Group::Shop) && replaced.as_ref().is_some_and(|replaced| !replaced.knows(as_of)) {
            return Err(Unreadable::Lagging);
        }
        let entries = wanted.iter().map(|(view, key)| {
            let is_shop = self.group(*view) == Group::Shop;
            let found = self.row(if is_shop { &shop } else { &customer }, *view, key, &mut tag)?;
            let was = replaced.as_ref().filter(|_| is_shop);
            let was = was.and_then(|replaced| replaced.was(as_of, self.0.views[*view].at, &found));
            let held = was.unwrap_or_else(|| found.held());
            (!matches!(held, Held::Nothing)).then(|| Entry { view: *view, key: found.key(), held })
        });
        let entries = entries.collect();
        Ok(Read { as_of, times, tag: tag.min(as_of), entries })
    }

    /// The row of a key that has a value.
    fn find<'a>(&self, rows: &'a GroupRows, view: ViewId, key: &KeyFields, tag: &mut Tick) -> Option<Found<'a>> {
        self.row(rows, view, key, tag).filter(Found::is_live)
    }

    /// The row, or the tombstone, of a key, or of the profile that its first field is an identifier of.
    fn row<'a>(&self, rows: &'a GroupRows, view: ViewId, key: &KeyFields, tag: &mut Tick) -> Option<Found<'a>> {
        let of_view = &rows.views[self.0.views[view].at];
        let mut look = |key: &KeyFields| {
            let row = of_view.get(key);
            // The tombstone of an absent key may have been forgotten up to the floor.
            *tag = (*tag).max(row.map_or(of_view.floor(), |row| row.changed()));
            row
        };
        let row = look(key);
        let Some(resolve) = self.0.views[view].resolve.filter(|_| row.is_none_or(|row| !row.is_live())) else {
            return row;
        };
        let text = key.0.first()?;
        let assigned = self.0.views.iter().find(|other| other.name == resolve.view)?;
        let owner = (resolve.keys)(text).iter().find_map(|key| {
            let row = rows.views[assigned.at].get(key);
            *tag = (*tag).max(row.map_or(rows.views[assigned.at].floor(), |row| row.changed()));
            (resolve.profile)(row?.held().value()?.as_ref()).map(str::to_owned)
        });
        let mut other = key.clone();
        other.0[0] = owner.unwrap_or_else(|| (resolve.alone)(text));
        let of_view = &rows.views[self.0.views[view].at];
        let found = of_view.get(&other);
        *tag = (*tag).max(found.map_or(of_view.floor(), |row| row.changed()));
        found.or(row)
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
            tag = tag.max(row.changed());
            if row.is_live() {
                more = entries.len() == limit;
                if more {
                    break;
                }
                entries.push(entry(view, &row));
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
            if after.is_some_and(|tick| tick >= rows.upper || tick < of_view.floor() || !rows.known.has(tick)) {
                return Err(Unreadable::Forgotten);
            }
            tag = tag.max(of_view.floor());
            let begin = entries.len();
            let mut take = |row: &Found<'_>, entries: &mut Vec<Entry>| {
                tag = tag.max(row.changed());
                if after.map_or(row.is_live(), |tick| row.changed() > tick) {
                    entries.push(entry(*view, row));
                }
                if entries.len() > limit { Err(Unreadable::TooManyKeys) } else { Ok(()) }
            };
            for part in of {
                match part {
                    Part::Prefix(prefix) => {
                        of_view.scan(prefix, None).try_for_each(|row| take(&row, &mut entries))?;
                    }
                    Part::Key(key) => {
                        let row = of_view.get(key);
                        row.map_or(Ok(()), |row| take(&row, &mut entries))?;
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

fn entry(view: ViewId, row: &Found<'_>) -> Entry {
    Entry { view, key: row.key(), held: row.held() }
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
