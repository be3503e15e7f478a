//! The first stage: a summary per identifier, wherever it belongs.

use std::{collections::BTreeMap, hash::Hash, rc::Rc, sync::Arc};

use differential_dataflow::ExchangeData;
use smallvec::SmallVec;

use super::{Either, Feed, Part, Place, Summary, Whole};
use crate::{
    Tick,
    shell::{Core, Out},
    table::{Slot, Table},
};

/// An identifier as exported: its summary, and how many facts it holds.
pub type IdentifierRow<Id, S> = (Id, Whole<S>, i64);

/// Summaries by identifier.
pub(super) struct Identifiers<Id, S: Summary<Id>> {
    rules: Rc<S::Rules>,
    keys: Table<Id, Entry<Id, S>>,
    touched: Vec<Slot>,
    /// The facts of this tick.
    facts: Vec<(Slot, S::Fact)>,
    dues: Dues,
}

/// What is kept of an identifier.
#[derive(Clone)]
struct Entry<Id, S> {
    /// Absent as long as there are no facts.
    summary: Option<Box<S>>,
    /// Facts in the summary.
    facts: i64,
    /// Facts that this tick retracts.
    gone: i64,
    /// Where it belongs, with counts: at most one of count 1 outside a tick.
    places: SmallVec<[(Place<Id>, isize); 1]>,
    /// The owner that has been handed the summary.
    handed: Option<Place<Id>>,
    due: Option<Tick>,
    touched: bool,
}

impl<Id, S> Default for Entry<Id, S> {
    fn default() -> Self {
        let places = SmallVec::new();
        Entry { summary: None, facts: 0, gone: 0, places, handed: None, due: None, touched: false }
    }
}

impl<Id: ExchangeData + Hash, S: Summary<Id>> Identifiers<Id, S> {
    pub(super) fn new(rules: Rc<S::Rules>) -> Self {
        Identifiers { rules, keys: Table::default(), touched: Vec::new(), facts: Vec::new(), dues: Dues::default() }
    }

    fn touch(&mut self, slot: Slot) -> &mut Entry<Id, S> {
        let entry = self.keys.get_mut(slot).1;
        if !std::mem::replace(&mut entry.touched, true) {
            self.touched.push(slot);
        }
        entry
    }

    /// Empties the summaries of which all facts were retracted.
    fn forget(&mut self, tick: Tick, out: &mut Out<Either<Id, S>, isize>) {
        for slot in &self.touched {
            let (id, entry) = self.keys.get_mut(*slot);
            let gone = std::mem::take(&mut entry.gone);
            if gone == 0 {
                continue;
            }
            debug_assert_eq!(gone, -entry.facts, "the facts of an identifier are retracted together");
            entry.facts = 0;
            if let Some(mut summary) = entry.summary.take() {
                summary.withdraw(id, &self.rules, &mut |row, diff| out.push((Ok(row), tick, diff)));
            }
        }
    }

    /// Takes in the facts of this tick; those of identifiers that stay with an owner go there too.
    fn take_facts(&mut self, tick: Tick, out: &mut Out<Either<Id, S>, isize>) {
        for (slot, fact) in self.facts.drain(..) {
            let entry = self.keys.get_mut(slot).1;
            entry.facts += 1;
            entry.summary.get_or_insert_default().absorb(&fact, &self.rules);
            if let Some(owner) = entry.handed.as_ref().filter(|owner| entry.place() == Some(owner)) {
                out.push((Err((owner.clone(), Part::Fact(fact))), tick, 1));
            }
        }
    }

    /// Hands the summary to a new owner, or tells what has changed.
    fn settle_one(&mut self, slot: Slot, tick: Tick, out: &mut Out<Either<Id, S>, isize>) {
        let (id, entry) = self.keys.get_mut(slot);
        entry.touched = false;
        entry.places.retain(|(_, count)| *count != 0);
        debug_assert!(entry.places.len() <= 1, "an identifier has one place");
        let place = entry.place().cloned();
        if entry.handed != place {
            if let Some(owner) = entry.handed.take() {
                out.push((Err((owner, Part::Goes)), tick, 1));
            }
            if let Some(owner) = &place {
                if let Some(summary) = &mut entry.summary {
                    summary.withdraw(id, &self.rules, &mut |row, diff| out.push((Ok(row), tick, diff)));
                }
                let whole = Whole(entry.summary.as_ref().map(|summary| Arc::new(S::clone(summary))));
                out.push((Err((owner.clone(), Part::Comes(whole))), tick, 1));
            }
            entry.handed = place;
        }
        if entry.handed.is_some() {
            return;
        }
        match &mut entry.summary {
            Some(summary) => {
                summary.settle(id, tick, &self.rules, &mut |row, diff| out.push((Ok(row), tick, diff)));
                self.dues.set(slot, &mut entry.due, summary.due());
            }
            None => _ = self.keys.remove(slot),
        }
    }
}

impl<Id: PartialEq, S> Entry<Id, S> {
    /// Where it belongs.
    fn place(&self) -> Option<&Place<Id>> {
        self.places.iter().find(|(_, count)| *count > 0).map(|(place, _)| place)
    }
}

impl<Id: ExchangeData + Hash, S: Summary<Id>> Core for Identifiers<Id, S> {
    type In = Feed<Id, S::Fact>;
    type InDiff = isize;
    type Out = Either<Id, S>;
    type OutDiff = isize;
    type Row = IdentifierRow<Id, S>;

    fn advance(&mut self, tick: Tick, _out: &mut Out<Self::Out, isize>) {
        for slot in self.dues.pop(tick) {
            // The slot may have been freed, or given to somebody else, who is looked at in vain.
            if self.keys.is_live(slot) {
                self.touch(slot).due = None;
            }
        }
    }

    fn absorb(&mut self, feed: Self::In, _tick: Tick, diff: isize, _out: &mut Out<Self::Out, isize>) {
        let slot = self.keys.find_or_insert(feed.id(), Entry::default);
        let entry = self.touch(slot);
        match feed {
            Feed::Fact(_, fact) if diff > 0 => self.facts.extend((0..diff).map(|_| (slot, fact.clone()))),
            Feed::Fact(..) => entry.gone += diff as i64,
            Feed::Place(_, place) => match entry.places.iter_mut().find(|(other, _)| *other == place) {
                Some((_, count)) => *count += diff,
                None => entry.places.push((place, diff)),
            },
        }
    }

    fn settle(&mut self, tick: Tick, out: &mut Out<Self::Out, isize>) {
        self.forget(tick, out);
        self.take_facts(tick, out);
        for slot in std::mem::take(&mut self.touched) {
            self.settle_one(slot, tick, out);
        }
    }

    fn due(&self) -> Option<Tick> {
        self.dues.first()
    }

    fn begin_export(&mut self) {
        self.keys.begin_export();
    }

    fn export_slice(&mut self, max_rows: usize, out: &mut Vec<Self::Row>) -> bool {
        let row = |id, entry: Entry<Id, S>| {
            let summary = entry.summary?;
            Some((id, Whole(Some(Arc::new(*summary))), entry.facts))
        };
        self.keys.export_slice(max_rows, out, row)
    }

    /// A summary comes back as if its facts had just arrived; its place comes as data.
    fn import(&mut self, (id, Whole(summary), facts): Self::Row, _tick: Tick, _out: &mut Out<Self::Out, isize>) {
        let slot = self.keys.find_or_insert(&id, Entry::default);
        let entry = self.touch(slot);
        entry.facts = facts;
        entry.summary = summary.map(|summary| Box::new(S::clone(&summary)));
    }
}

/// When summaries are to be looked at although nothing has come for them.
#[derive(Default)]
pub(super) struct Dues(BTreeMap<Tick, Vec<Slot>>);

impl Dues {
    /// Sees to it that `slot` is looked at at `next`, or before.
    pub(super) fn set(&mut self, slot: Slot, set: &mut Option<Tick>, next: Option<Tick>) {
        let Some(next) = next else { return };
        if set.is_none_or(|set| next < set) {
            *set = Some(next);
            self.0.entry(next).or_default().push(slot);
        }
    }

    /// What is due at `tick`.
    pub(super) fn pop(&mut self, tick: Tick) -> Vec<Slot> {
        let mut slots = Vec::new();
        while let Some(entry) = self.0.first_entry().filter(|entry| *entry.key() <= tick) {
            slots.extend(entry.remove());
        }
        slots
    }

    pub(super) fn first(&self) -> Option<Tick> {
        self.0.keys().next().copied()
    }
}
