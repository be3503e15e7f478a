//! The first stage: a summary per identifier, wherever it belongs.
//!
//! A step may hold several instants. Facts that an instant retracts are matched with those of the
//! same instant and of earlier ones of the step before any summary is touched, so that what comes
//! and goes within a step leaves nothing in it.

use std::{collections::BTreeMap, hash::Hash, rc::Rc, sync::Arc};

use differential_dataflow::ExchangeData;
use smallvec::SmallVec;

use super::{Either, Feed, Part, Place, Summary, Whole, look_at};
use crate::{
    Tick,
    dues::Dues,
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
    /// The facts that this step brings, in the order of its instants.
    facts: Vec<(Slot, S::Fact)>,
    /// What the instant at hand retracts.
    retracted: Vec<(Slot, S::Fact)>,
    /// The identifiers of which this step has emptied the summary.
    emptied: Vec<Slot>,
    /// The `due` of every entry that has one.
    pub(super) dues: Dues,
}

/// What is kept of an identifier.
#[derive(Clone)]
struct Entry<Id, S> {
    /// Absent as long as there are no facts.
    summary: Option<Box<S>>,
    /// Facts in the summary.
    facts: i64,
    /// Most stand by themselves.
    linked: Option<Box<Linked<Id>>>,
    /// When it is to be looked at, at the latest.
    due: Option<Tick>,
    touched: bool,
}

/// Where an identifier belongs.
#[derive(Clone)]
struct Linked<Id> {
    /// With counts: at most one, of count 1, outside a step.
    places: SmallVec<[(Place<Id>, isize); 1]>,
    /// The owner that has been handed the summary.
    handed: Option<Place<Id>>,
}

impl<Id> Default for Linked<Id> {
    fn default() -> Self {
        Linked { places: SmallVec::new(), handed: None }
    }
}

/// What an instant retracts of one identifier.
struct Retracted<F> {
    /// Facts that it does not bring itself, with counts.
    gone: BTreeMap<F, i64>,
    gone_count: i64,
    /// All that it retracts.
    count: i64,
    /// Facts that were there before it.
    before: i64,
}

impl<Id, S> Default for Entry<Id, S> {
    fn default() -> Self {
        Entry { summary: None, facts: 0, linked: None, due: None, touched: false }
    }
}

impl<Id: ExchangeData + Hash, S: Summary<Id>> Identifiers<Id, S> {
    pub(super) fn new(rules: Rc<S::Rules>) -> Self {
        let (touched, facts, retracted, emptied) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Identifiers { rules, keys: Table::default(), touched, facts, retracted, emptied, dues: Dues::default() }
    }

    fn touch(&mut self, slot: Slot) -> &mut Entry<Id, S> {
        let entry = self.keys.get_mut(slot).1;
        if !std::mem::replace(&mut entry.touched, true) {
            self.touched.push(slot);
        }
        entry
    }

    /// Takes out what the instant at hand retracts; the facts that it brings itself begin at `begin`.
    fn retract(&mut self, begin: usize, tick: Tick, out: &mut Out<Either<Id, S>, isize>) {
        let mut all: BTreeMap<Slot, Retracted<S::Fact>> = BTreeMap::new();
        for (slot, fact) in self.retracted.drain(..) {
            let before = self.keys.get(slot).1.facts;
            let of_slot =
                all.entry(slot).or_insert(Retracted { gone: BTreeMap::new(), gone_count: 0, count: 0, before });
            *of_slot.gone.entry(fact).or_insert(0) += 1;
            of_slot.gone_count += 1;
            of_slot.count += 1;
        }
        let cancel = |(at, (slot, fact)): (usize, &(Slot, S::Fact))| {
            let Some(of_slot) = all.get_mut(slot) else { return false };
            if at < begin {
                of_slot.before += 1;
            }
            at >= begin && of_slot.cancel(fact)
        };
        let cancelled: Vec<bool> = self.facts.iter().enumerate().map(cancel).collect();
        let mut places = cancelled.into_iter().enumerate();
        self.facts.retain(|(slot, _)| {
            let Some((at, is_cancelled)) = places.next() else { return true };
            all.get(slot).is_none_or(|of_slot| of_slot.keeps(at < begin, is_cancelled))
        });
        for (slot, _) in all.into_iter().filter(|(_, of_slot)| of_slot.empties()) {
            let (id, entry) = self.keys.get_mut(slot);
            entry.facts = 0;
            if let Some(mut summary) = entry.summary.take() {
                self.emptied.push(slot);
                summary.withdraw(id, &self.rules, &mut |row, diff| out.push((Ok(row), tick, diff)));
            }
        }
    }

    /// Takes in the facts of this step; those of identifiers that stay with an owner go there too.
    fn take_facts(&mut self, tick: Tick, out: &mut Out<Either<Id, S>, isize>) {
        for (slot, fact) in self.facts.drain(..) {
            let entry = self.keys.get_mut(slot).1;
            entry.facts += 1;
            entry.summary.get_or_insert_default().absorb(&fact, &self.rules);
            if let Some(owner) = entry.handed().filter(|owner| entry.place() == Some(owner)) {
                out.push((Err((owner.clone(), Part::Fact(fact))), tick, 1));
            }
        }
    }

    /// Hands the summary to a new owner, or tells what has changed.
    fn settle_one(&mut self, slot: Slot, tick: Tick, out: &mut Out<Either<Id, S>, isize>) {
        let (id, entry) = self.keys.get_mut(slot);
        entry.touched = false;
        if let Some(linked) = &mut entry.linked {
            linked.places.retain(|(_, count)| *count != 0);
            debug_assert!(linked.places.len() <= 1, "an identifier has one place");
            let place = linked.place().cloned();
            if linked.handed != place {
                if let Some(owner) = linked.handed.take() {
                    out.push((Err((owner, Part::Goes)), tick, 1));
                }
                if let Some(owner) = &place {
                    if let Some(summary) = &mut entry.summary {
                        summary.withdraw(id, &self.rules, &mut |row, diff| out.push((Ok(row), tick, diff)));
                    }
                    let whole = Whole(entry.summary.as_ref().map(|summary| Arc::new(S::clone(summary))));
                    out.push((Err((owner.clone(), Part::Comes(whole))), tick, 1));
                }
                linked.handed = place;
            }
            if linked.handed.is_some() {
                return;
            }
            entry.linked = None;
        }
        match &mut entry.summary {
            Some(summary) => {
                summary.settle(id, tick, &self.rules, &mut |row, diff| out.push((Ok(row), tick, diff)));
                look_at(slot, &mut entry.due, summary.due(), tick, &mut self.dues);
            }
            None => {
                entry.due.into_iter().for_each(|due| self.dues.remove(due, slot));
                self.keys.remove(slot);
            }
        }
    }
}

impl<F: Ord> Retracted<F> {
    /// Matches a fact that the same instant brings with one that it retracts, if there is one.
    fn cancel(&mut self, fact: &F) -> bool {
        let Some(count) = self.gone.get_mut(fact).filter(|count| **count > 0) else { return false };
        *count -= 1;
        self.gone_count -= 1;
        true
    }

    /// True where the instant retracts all that was there before it.
    fn empties(&self) -> bool {
        debug_assert!(
            self.gone_count == 0 || self.gone_count == self.before || self.count == self.before,
            "the facts of an identifier are retracted together"
        );
        self.gone_count != 0
    }

    /// Whether a fact of this step stays. What the instant both retracts and brings has come again if
    /// it was among the facts before, and has come and gone if all of those are gone without it.
    fn keeps(&self, is_earlier: bool, is_cancelled: bool) -> bool {
        match self.gone_count {
            0 => !is_cancelled,
            gone => !is_earlier && (!is_cancelled || gone != self.before),
        }
    }
}

impl<Id> Linked<Id> {
    /// Where it belongs.
    fn place(&self) -> Option<&Place<Id>> {
        self.places.iter().find(|(_, count)| *count > 0).map(|(place, _)| place)
    }
}

impl<Id, S> Entry<Id, S> {
    fn place(&self) -> Option<&Place<Id>> {
        self.linked.as_ref()?.place()
    }

    fn handed(&self) -> Option<&Place<Id>> {
        self.linked.as_ref()?.handed.as_ref()
    }
}

impl<Id: ExchangeData + Hash, S: Summary<Id>> Core for Identifiers<Id, S> {
    type In = Feed<Id, S::Fact>;
    type InDiff = isize;
    type Out = Either<Id, S>;
    type OutDiff = isize;
    type Row = IdentifierRow<Id, S>;

    fn advance(&mut self, tick: Tick, _out: &mut Out<Self::Out, isize>) {
        while let Some(slot) = self.dues.pop(tick) {
            self.touch(slot).due = None;
        }
    }

    fn absorb(&mut self, feed: Self::In, tick: Tick, diff: isize, out: &mut Out<Self::Out, isize>) {
        self.absorb_all(&mut vec![(feed, diff)], tick, out);
    }

    /// The updates are those of an instant.
    fn absorb_all(&mut self, updates: &mut Vec<(Self::In, isize)>, tick: Tick, out: &mut Out<Self::Out, isize>) {
        let begin = self.facts.len();
        let peek = |entry: &Entry<Id, S>| entry.summary.as_ref().map_or(0, |summary| summary.peek());
        let hints = self.keys.look_ahead(updates.iter().map(|(feed, _)| feed.id()), peek);
        for ((feed, diff), hint) in updates.drain(..).zip(hints) {
            let slot = self.keys.find_or_insert_near(hint, feed.id(), Entry::default);
            let entry = self.touch(slot);
            match feed {
                Feed::Fact(_, fact) => {
                    let facts = if diff > 0 { &mut self.facts } else { &mut self.retracted };
                    facts.extend(std::iter::repeat_n((slot, fact), diff.unsigned_abs()));
                }
                Feed::Place(_, place) => {
                    let places = &mut entry.linked.get_or_insert_default().places;
                    match places.iter_mut().find(|(other, _)| *other == place) {
                        Some((_, count)) => *count += diff,
                        None => places.push((place, diff)),
                    }
                }
            }
        }
        if !self.retracted.is_empty() {
            self.retract(begin, tick, out);
        }
    }

    fn settle(&mut self, tick: Tick, out: &mut Out<Self::Out, isize>) {
        for slot in self.emptied.drain(..) {
            let entry = self.keys.get(slot).1;
            debug_assert!(
                entry.handed().is_none() || entry.handed() != entry.place(),
                "an identifier whose facts are retracted leaves its place"
            );
        }
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

    /// Places are made of links anew.
    fn is_in_rows(data: &Self::In) -> bool {
        matches!(data, Feed::Fact(..))
    }

    /// A summary comes back as if its facts had just arrived; its place comes as data. Where that came before, the
    /// identifier comes to its owner once more, now with something.
    fn import(&mut self, (id, Whole(summary), facts): Self::Row, tick: Tick, out: &mut Out<Self::Out, isize>) {
        let slot = self.keys.find_or_insert(&id, Entry::default);
        let entry = self.touch(slot);
        entry.facts = facts;
        entry.summary = summary.map(|summary| Box::new(S::clone(&summary)));
        if let Some(owner) = entry.linked.as_mut().and_then(|linked| linked.handed.take()) {
            out.push((Err((owner, Part::Goes)), tick, 1));
        }
    }
}
