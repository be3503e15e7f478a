//! What a snapshot keeps of the served values: not the values, which are made again, but when each key changed last,
//! the newest tombstones, and from which ticks streams can go on. With it ETags, and places in streams, mean the same
//! to the next process.
//!
//! **Bound**: of each view, [`StoreOptions::max_kept_changes`](crate::StoreOptions::max_kept_changes) keys, those that
//! changed last. Of the others the next process knows that they have not changed since.

use etalage_model::{
    Group, KeyFields, Tick,
    codec::{self, CodecError},
};
use serde::{Deserialize, Serialize};

use crate::{
    bundles::KeptBundle,
    known::Known,
    read_store::{ReadStore, ViewId},
    rows::Row,
    view_rows::ViewRows,
};

/// So many rows are looked at under one lock.
const SLICE: usize = 4_096;

/// The sections that say from which ticks streams of a group can go on.
const TICKS: [(&str, Group); 2] = [("ticks of shop", Group::Shop), ("ticks of customer", Group::Customer)];

/// A row of a snapshot.
#[derive(Debug, Serialize, Deserialize)]
enum Kept {
    /// Streams can go on from these ticks, from the first to the last.
    Ticks(Vec<(Tick, Tick)>),
    /// Begins a view: up to `floor` removed keys may be missing, and what is not listed has not changed since `rest`.
    View { floor: Tick, rest: Tick, labels: Vec<String> },
    /// A key of its own, and when it changed.
    Key(Vec<String>, Tick),
    /// Keys that change together.
    Bundle(KeptBundle),
    /// Ends a view.
    End,
}

/// Something that changed, and when.
trait Changed {
    fn tick(&self) -> Tick;
}

impl Changed for (Vec<String>, Tick) {
    fn tick(&self) -> Tick {
        self.1
    }
}

impl Changed for KeptBundle {
    fn tick(&self) -> Tick {
        self.newest()
    }
}

/// The newest of many changes.
struct Newest<C> {
    changes: Vec<C>,
    max: usize,
    /// The newest of those that had no room.
    rest: Tick,
}

impl<C: Changed> Newest<C> {
    fn new(max: usize) -> Newest<C> {
        Newest { changes: Vec::new(), max, rest: 0 }
    }

    fn add(&mut self, change: C) {
        if change.tick() > self.rest {
            self.changes.push(change);
        }
        if self.changes.len() > 2 * self.max {
            self.cut();
        }
    }

    /// Lets those go that have no room, and all that changed at the same tick as one of them.
    fn cut(&mut self) {
        if self.changes.len() > self.max {
            let at = self.changes.len() - self.max - 1;
            let (_, last, _) = self.changes.select_nth_unstable_by_key(at, C::tick);
            self.rest = last.tick().max(self.rest);
            self.changes.retain(|change| change.tick() > self.rest);
        }
    }

    /// Oldest first.
    fn finish(mut self) -> (Vec<C>, Tick) {
        self.cut();
        self.changes.sort_by_key(C::tick);
        (self.changes, self.rest)
    }
}

impl ReadStore {
    /// Whether everything up to `tick` was published.
    pub fn has_passed(&self, tick: Tick) -> bool {
        self.views().all(|view| self.group_rows(self.group(view)).read().as_of() >= tick)
    }

    /// What the next process wants to know, as of `tick`, which was published: rows, each behind its length, by section.
    /// Readers and the next ticks are held up for a slice of it at a time.
    pub fn export_changes(&self, tick: Tick) -> impl Iterator<Item = (&'static str, Result<Vec<u8>, CodecError>)> {
        let ticks = TICKS.into_iter().map(move |(section, group)| {
            let ranges = self.group_rows(group).read().known.until(tick);
            (section, framed([Kept::Ticks(ranges)]))
        });
        let views = self.views().map(move |view| (self.name(view), framed(self.changes_of(view, tick))));
        ticks.chain(views)
    }

    fn changes_of(&self, view: ViewId, tick: Tick) -> Vec<Kept> {
        let (group, max) = (self.group_rows(self.group(view)), self.max_kept_changes());
        let look = |at: usize, take: &mut dyn FnMut(&ViewRows, std::ops::Range<usize>)| {
            let rows = group.read();
            let of_view = &rows.views[self.place(view)];
            take(of_view, at..at + SLICE);
            at + SLICE < of_view.single.slots().max(of_view.bundled.slots())
        };
        let (mut keys, mut bundles) = (Newest::new(max), Newest::new(max));
        let mut forgotten = 0;
        let (erased, floor) = {
            let rows = group.read();
            (rows.erased, rows.views[self.place(view)].floor())
        };
        let mut at = 0;
        while look(at, &mut |of_view, slots| {
            for Row { key, value, changed } in of_view.single.in_slots(slots.clone()) {
                // The key of somebody who was erased must not be kept anywhere.
                if value.is_none() && *changed <= erased {
                    forgotten = forgotten.max((*changed).min(tick));
                } else {
                    keys.add((key.texts().map(str::to_owned).collect(), (*changed).min(tick)));
                }
            }
            of_view.bundled.in_slots(slots).for_each(|bundle| bundles.add(bundle.until(tick)));
        }) {
            at += SLICE;
        }
        let ((keys, rest), (bundles, rest_of_bundles)) = (keys.finish(), bundles.finish());
        let rows = group.read();
        let of_view = &rows.views[self.place(view)];
        // A key that was forgotten meanwhile, and came again, may have been passed over.
        let passed_over = if of_view.floor() > floor { tick } else { 0 };
        let rest = rest.max(rest_of_bundles).max(passed_over);
        let floor = of_view.floor().min(tick).max(rest).max(forgotten);
        let begin = Kept::View { floor, rest, labels: of_view.bundled.labels() };
        let keys = keys.into_iter().map(|(key, changed)| Kept::Key(key, changed));
        let changes = keys.chain(bundles.into_iter().map(Kept::Bundle));
        std::iter::once(begin).chain(changes).chain([Kept::End]).collect()
    }

    /// Everything as of `tick`, the tick of a snapshot, was published: what was before, which is a part of it, says nothing.
    pub fn begin_import(&self, tick: Tick) {
        for group in [Group::Shop, Group::Customer] {
            let rows = &mut *self.group_rows(group).write();
            rows.known = Known::default();
            rows.known.seal(tick);
            for view in &mut rows.views {
                view.single.begin_restoring(tick, tick);
                view.bundled.begin_restoring(tick, tick, &[]);
            }
        }
    }

    /// Takes rows of a section back in, in the order in which they were exported: once the values as of the snapshot's
    /// tick were published, before [`ReadStore::begin`].
    ///
    /// # Errors
    /// Where they are none.
    pub fn import_changes(&self, section: &str, rows: &[u8]) -> Result<(), CodecError> {
        let of_group = TICKS.into_iter().find(|(name, _)| *name == section);
        for row in codec::framed(rows) {
            let kept: Kept = codec::decode(row.unwrap_or_default())?;
            if let (Kept::Ticks(ranges), Some((_, group))) = (&kept, of_group) {
                self.group_rows(group).write().know(ranges);
            }
            // A view that is switched off now was switched off then: the options are the same.
            let Some(view) = self.view(section) else { continue };
            let mut group = self.group_rows(self.group(view)).write();
            let of_view = &mut group.views[self.place(view)];
            match kept {
                Kept::View { floor, rest, labels } => {
                    of_view.single.begin_restoring(floor, rest);
                    of_view.bundled.begin_restoring(floor, rest, &labels);
                }
                Kept::Key(key, changed) => of_view.single.restore(&KeyFields(key), changed),
                Kept::Bundle(bundle) => of_view.bundled.restore(&bundle),
                Kept::End => of_view.bundled.end_restoring(),
                Kept::Ticks(_) => {}
            }
        }
        Ok(())
    }

    /// Somebody was erased as of this tick: no snapshot names who was removed up to it.
    pub fn erased(&self, tick: Tick) {
        for group in [Group::Shop, Group::Customer] {
            self.group_rows(group).write().erase(tick);
        }
    }
}

fn framed(rows: impl IntoIterator<Item = Kept>) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    rows.into_iter().try_for_each(|row| codec::frame_into(&row, &mut out))?;
    Ok(out)
}
