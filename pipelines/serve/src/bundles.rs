//! The rows of one view whose rows change together, in memory: a bundle is held once, however many
//! scopes and labels its keys have.
//!
//! ```text
//!   (member, axis) ──> bundle: amounts, when each lane changed, places
//!                         ^
//!   scope ──> member ─────┘      in order of text: point reads, and scans label by label
//! ```
//!
//! **Tombstones.** A lane without a value is one as long as the bundle lives. What has no value in any
//! lane, and a scope in which a member stands no longer, go after a while or beyond a number of them,
//! as single rows do; `floor` is the tick up to which some may be missing. In a scope that was left every
//! lane that ever changed counts as a tombstone of that tick: some may have been one before.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, VecDeque},
    hash::{BuildHasher, RandomState},
    iter,
    ops::Bound,
    rc::Rc,
    sync::Arc,
};

use etalage_model::{
    Amounts, BundleChange, Bundles, Key, KeyFields, KeyPrefix, KeyText, Sym, Tick,
    bundle::{InLane, Standing},
};
use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::rows::{BURY_PER_TICK, Keep};

/// All bundles of one view.
#[derive(Default)]
pub(crate) struct BundleRows {
    /// What the lanes are called.
    labels: Arc<[Sym]>,
    /// The labels in order of text, with their lanes.
    in_order: Vec<(Sym, u8)>,
    slots: Vec<Bundle>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: RandomState,
    scopes: BTreeMap<ByText, BTreeMap<ByText, u32>>,
    /// What may be forgotten, in order: bundles, or places of theirs. Some have come to life again.
    graves: VecDeque<Grave>,
    live: usize,
    dead: usize,
    floor: Tick,
}

/// One bundle with its newest state. In a slot that is free it has neither amounts nor places.
struct Bundle {
    member: Sym,
    axis: Sym,
    amounts: Option<Arc<dyn Amounts>>,
    /// When each lane last changed; 0 for never.
    changed: SmallVec<[Tick; 5]>,
    places: SmallVec<[Place; 6]>,
    /// When it lost its last value; 0 while it has any.
    died: Tick,
}

/// A scope in which a bundle stands, or stood.
#[derive(Clone, Copy)]
struct Place {
    scope: Sym,
    stands: bool,
    /// When it began to stand there, or ceased to.
    since: Tick,
}

/// Something that may be forgotten: all of a bundle, or one place of it.
struct Grave {
    tick: Tick,
    slot: u32,
    scope: Option<Sym>,
}

/// What a bundle was before it changed.
pub(crate) struct WasBundle {
    pub(crate) member: Sym,
    pub(crate) axis: Sym,
    /// Where it stood.
    pub(crate) scopes: Standing,
    pub(crate) amounts: Arc<dyn Amounts>,
}

/// A key of a bundle, with its newest state.
#[derive(Clone, Copy)]
pub(crate) struct InBundle<'a> {
    bundle: &'a Bundle,
    place: Place,
    label: Sym,
    pub(crate) lane: u8,
}

impl Bundle {
    /// One that has no value and stands nowhere.
    fn new(member: Sym, axis: Sym, lanes: usize) -> Bundle {
        let (amounts, changed) = (None, iter::repeat_n(0, lanes).collect());
        Bundle { member, axis, amounts, changed, places: SmallVec::new(), died: 0 }
    }
}

impl InBundle<'_> {
    pub(crate) fn key(&self) -> Key {
        Key::new(&[self.place.scope, self.label, self.bundle.member])
    }

    pub(crate) fn is_live(&self) -> bool {
        self.place.stands && self.bundle.amounts.as_ref().is_some_and(|amounts| amounts.has(self.lane))
    }

    /// Where its value is.
    pub(crate) fn in_lane(&self) -> Option<InLane> {
        let amounts = self.bundle.amounts.as_ref().filter(|_| self.is_live())?;
        Some(InLane { amounts: Arc::clone(amounts), lane: self.lane })
    }

    pub(crate) fn changed(&self) -> Tick {
        match self.place.stands {
            true => self.bundle.changed[usize::from(self.lane)].max(self.place.since),
            false => self.place.since,
        }
    }

    /// Which bundle it is in, and in which scope.
    pub(crate) fn at(&self) -> (Sym, Sym, Sym) {
        (self.bundle.member, self.bundle.axis, self.place.scope)
    }
}

/// A symbol that is found by text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ByText(Sym);

impl Borrow<str> for ByText {
    fn borrow(&self) -> &str {
        self.0.as_str()
    }
}

impl BundleRows {
    /// Keys that have a value.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// True where nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The tick at and below which changes may have been forgotten.
    pub(crate) fn floor(&self) -> Tick {
        self.floor
    }

    /// Applies changes that are all of `tick`, and tells what each bundle was before.
    pub(crate) fn apply(&mut self, bundles: &Bundles, tick: Tick, was: impl FnMut(WasBundle)) {
        if bundles.is_empty() {
            return;
        }
        if self.labels.is_empty() {
            self.set_labels(Arc::clone(&bundles.labels));
        }
        debug_assert_eq!(self.labels, bundles.labels, "a view has the same labels for ever");
        bundles.changes.iter().filter_map(|change| self.set(change, tick)).for_each(was);
    }

    fn set_labels(&mut self, labels: Arc<[Sym]>) {
        self.in_order = labels.iter().enumerate().map(|(lane, label)| (*label, lane as u8)).collect();
        self.in_order.sort_by_key(|(label, _)| *label);
        self.labels = labels;
    }

    fn set(&mut self, change: &BundleChange, tick: Tick) -> Option<WasBundle> {
        let has_any = (0..self.labels.len()).any(|lane| change.now.has(lane as u8));
        // That something is gone which no reader has ever seen says nothing, nor what stands nowhere.
        let slot = match self.find(change.member, change.axis) {
            None if !has_any || change.scopes.is_empty() => return None,
            found => found.unwrap_or_else(|| self.insert(Bundle::new(change.member, change.axis, self.labels.len()))),
        };
        let (live, dead) = self.counts(slot);
        let bundle = &mut self.slots[slot as usize];
        let standing = bundle.places.iter().filter(|place| place.stands).map(|place| place.scope);
        let was = WasBundle {
            member: change.member,
            axis: change.axis,
            scopes: standing.collect(),
            amounts: Arc::clone(&change.was),
        };
        bundle.amounts = Some(Arc::clone(&change.now));
        for (lane, changed) in bundle.changed.iter_mut().enumerate() {
            let lane = lane as u8;
            // What came while it stood nowhere was not told.
            if change.changed.contains(&lane) || (*changed == 0 && change.now.has(lane)) {
                *changed = tick;
            }
        }
        if !has_any && bundle.died == 0 {
            bundle.died = tick;
            self.graves.push_back(Grave { tick, slot, scope: None });
        } else if has_any {
            bundle.died = 0;
        }
        let stays = |scope: &Sym| change.scopes.contains(scope);
        if !change.joined.is_empty() || was.scopes.len() != change.scopes.len() || !was.scopes.iter().all(stays) {
            self.place(slot, change, tick);
        }
        let (live_now, dead_now) = self.counts(slot);
        self.live = self.live + live_now - live;
        self.dead = self.dead + dead_now - dead;
        Some(was)
    }

    /// Lets a bundle stand in its scopes, and in no other. What it has joined may be where it is thought to
    /// stand: nobody is told that it leaves with nothing.
    fn place(&mut self, slot: u32, change: &BundleChange, tick: Tick) {
        let bundle = &mut self.slots[slot as usize];
        for place in bundle.places.iter_mut() {
            let stands = change.scopes.contains(&place.scope);
            if stands != place.stands || change.joined.contains(&place.scope) {
                (place.stands, place.since) = (stands, tick);
                if !stands {
                    self.graves.push_back(Grave { tick, slot, scope: Some(place.scope) });
                }
            }
        }
        for scope in &change.scopes {
            if bundle.places.iter().all(|place| place.scope != *scope) {
                bundle.places.push(Place { scope: *scope, stands: true, since: tick });
                self.scopes.entry(ByText(*scope)).or_default().insert(ByText(bundle.member), slot);
            }
        }
    }

    /// How many keys of a bundle have a value, and how many at most are tombstones that take room.
    fn counts(&self, slot: u32) -> (usize, usize) {
        let bundle = &self.slots[slot as usize];
        let standing = bundle.places.iter().filter(|place| place.stands).count();
        let has = |amounts: &Arc<dyn Amounts>| (0..self.labels.len()).filter(|lane| amounts.has(*lane as u8)).count();
        let dead = if bundle.died > 0 { bundle.places.len() } else { bundle.places.len() - standing };
        (standing * bundle.amounts.as_ref().map_or(0, has), dead * self.labels.len())
    }

    fn find(&self, member: Sym, axis: Sym) -> Option<u32> {
        let is_same = |slot: &u32| {
            let bundle = &self.slots[*slot as usize];
            (bundle.member, bundle.axis) == (member, axis)
        };
        self.index.find(self.hasher.hash_one((member, axis)), is_same).copied()
    }

    fn insert(&mut self, bundle: Bundle) -> u32 {
        let hash = self.hasher.hash_one((bundle.member, bundle.axis));
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = bundle;
                slot
            }
            None => {
                self.slots.push(bundle);
                u32::try_from(self.slots.len() - 1).expect("a view has fewer than 4 billion bundles")
            }
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.insert_unique(hash, slot, |slot| {
            let bundle = &slots[*slot as usize];
            hasher.hash_one((bundle.member, bundle.axis))
        });
        slot
    }

    /// Forgets tombstones that are too old or too many, in a tick of `changes` changes not many more
    /// than these.
    pub(crate) fn bury(&mut self, now: Tick, keep: Keep, changes: usize) {
        let budget = changes.max(BURY_PER_TICK);
        let mut buried = 0;
        while let Some(grave) = self.graves.front() {
            let is_stale = !self.is_dead(grave);
            let due = grave.tick.saturating_add(keep.span_us) < now || self.dead > keep.max;
            if !is_stale && (!due || buried >= budget) {
                break;
            }
            let Some(grave) = self.graves.pop_front() else { break };
            if !is_stale {
                let forgotten = self.remove(&grave);
                self.dead -= forgotten;
                self.floor = self.floor.max(grave.tick);
                buried += forgotten.max(1);
            }
        }
        // What comes and goes leaves stale graves behind one that stays.
        if self.graves.len() > 2 * self.dead + 1024 {
            let graves = std::mem::take(&mut self.graves);
            self.graves = graves.into_iter().filter(|grave| self.is_dead(grave)).collect();
        }
    }

    /// Whether what is buried there is still dead.
    fn is_dead(&self, grave: &Grave) -> bool {
        let bundle = &self.slots[grave.slot as usize];
        match grave.scope {
            None => bundle.died == grave.tick,
            Some(scope) => {
                let of_scope = bundle.places.iter().find(|place| place.scope == scope);
                of_scope.is_some_and(|place| !place.stands && place.since == grave.tick)
            }
        }
    }

    /// Forgets what is dead; how many tombstones it was.
    fn remove(&mut self, grave: &Grave) -> usize {
        let dead = self.counts(grave.slot).1;
        self.forget(grave);
        dead - self.counts(grave.slot).1
    }

    fn forget(&mut self, grave: &Grave) {
        let bundle = &mut self.slots[grave.slot as usize];
        let gone: SmallVec<[Place; 6]> = match grave.scope {
            None => std::mem::take(&mut bundle.places),
            Some(scope) => {
                let at = bundle.places.iter().position(|place| place.scope == scope);
                at.map(|at| bundle.places.remove(at)).into_iter().collect()
            }
        };
        for place in gone {
            if let Some(members) = self.scopes.get_mut(place.scope.as_str()) {
                members.remove(bundle.member.as_str());
                if members.is_empty() {
                    self.scopes.remove(place.scope.as_str());
                }
            }
        }
        // What stands nowhere any more is not told of when it loses its values.
        if bundle.places.is_empty() {
            let hash = self.hasher.hash_one((bundle.member, bundle.axis));
            (bundle.died, bundle.amounts) = (0, None);
            if let Ok(entry) = self.index.find_entry(hash, |slot| *slot == grave.slot) {
                entry.remove();
            }
            self.free.push(grave.slot);
        }
    }

    /// What is known of a key; a tombstone where it had a value not long ago.
    pub(crate) fn get(&self, key: &dyn KeyText) -> Option<InBundle<'_>> {
        let (scope, label, member) = (key.text(0)?, key.text(1)?, key.text(2)?);
        if key.text(3).is_some() {
            return None;
        }
        let slot = self.scopes.get(scope)?.get(member)?;
        let (label, lane) = self.in_order.iter().find(|(other, _)| other.as_str() == label)?;
        self.at(*slot, scope, *label, *lane)
    }

    /// The keys that begin with `prefix`, in order, tombstones among them; with `after`, only those
    /// behind that key, whether it exists or not.
    pub(crate) fn scan<'a>(
        &'a self,
        prefix: &'a KeyPrefix,
        after: Option<&KeyFields>,
    ) -> impl Iterator<Item = InBundle<'a>> + use<'a> {
        let lower = prefix.lower_bound();
        let (from, is_excluded) = match after {
            Some(after) if (after as &dyn KeyText) >= (&lower as &dyn KeyText) => (after.clone(), true),
            _ => (lower, false),
        };
        let from: Rc<[String; 3]> = Rc::new([0, 1, 2].map(|at| from.0.get(at).cloned().unwrap_or_default()));
        let first = Rc::clone(&from);
        let scopes = self.scopes.range::<str, _>((Bound::Included(first[0].as_str()), Bound::Unbounded));
        scopes.take_while(|(scope, _)| prefix.admits(0, scope.0.as_str())).flat_map(move |(scope, members)| {
            let (from, scope) = (Rc::clone(&from), scope.0.as_str());
            let is_first = scope == from[0];
            let labels = self.in_order.iter().filter(|(label, _)| prefix.admits(1, label.as_str()));
            labels.flat_map(move |(label, lane)| {
                let begin = match label.as_str().cmp(&from[1]) {
                    _ if !is_first => Bound::Unbounded,
                    std::cmp::Ordering::Less => return None.into_iter().flatten(),
                    std::cmp::Ordering::Equal if is_excluded => Bound::Excluded(from[2].as_str()),
                    std::cmp::Ordering::Equal => Bound::Included(from[2].as_str()),
                    std::cmp::Ordering::Greater => Bound::Unbounded,
                };
                let members = members.range::<str, _>((begin, Bound::Unbounded));
                let members = members.take_while(|(member, _)| prefix.admits(2, member.0.as_str()));
                let found = members.filter_map(move |(_, slot)| self.at(*slot, scope, *label, *lane));
                Some(found).into_iter().flatten()
            })
        })
    }

    /// A key of a bundle, if it ever had a value.
    fn at(&self, slot: u32, scope: &str, label: Sym, lane: u8) -> Option<InBundle<'_>> {
        let bundle = &self.slots[slot as usize];
        let place = *bundle.places.iter().find(|place| place.scope.as_str() == scope)?;
        let had_one = bundle.changed[usize::from(lane)] > 0;
        had_one.then_some(InBundle { bundle, place, label, lane })
    }
}

mod kept;
#[cfg(test)]
mod tests;

pub(crate) use kept::KeptBundle;
