//! The first stage: a summary per identifier, wherever it belongs.
//!
//! A step may hold several instants. Facts that an instant retracts are matched with those of the
//! same instant and of earlier ones of the step before any summary is touched, so that what comes
//! and goes within a step leaves nothing in it. A fact that is forgotten is retracted in vain.

use std::{collections::BTreeMap, hash::Hash, rc::Rc};

use differential_dataflow::ExchangeData;
use smallvec::SmallVec;

use super::{
    Either, Feed, Part, Place, Summary, Whole, look_at,
    spans::{Forgetting, SpanRow, Spans},
};
use crate::{
    Tick,
    dues::Dues,
    shell::{Core, Out},
    table::{Slot, Table},
};

/// An identifier as exported: what is remembered of it.
pub type IdentifierRow<Id, S> = (Id, Vec<SpanRow<S>>);

/// Summaries by identifier.
pub(super) struct Identifiers<Id, S: Summary<Id>> {
    rules: Rc<S::Rules>,
    keys: Table<Id, Entry<Id, S>>,
    touched: Vec<Slot>,
    /// The facts that this step brings, in the order of its instants.
    facts: Vec<(Slot, S::Fact)>,
    /// Those of them that go to an owner as well.
    passed: Vec<(Slot, S::Fact)>,
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
    /// Absent where no facts are remembered.
    spans: Option<Box<Spans<S>>>,
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
    /// In this step it was handed, with all the facts of the step.
    is_handed_anew: bool,
}

impl<Id> Default for Linked<Id> {
    fn default() -> Self {
        Linked { places: SmallVec::new(), handed: None, is_handed_anew: false }
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
        Entry { spans: None, linked: None, due: None, touched: false }
    }
}

impl<Id: ExchangeData + Hash, S: Summary<Id>> Identifiers<Id, S> {
    pub(super) fn new(rules: Rc<S::Rules>) -> Self {
        let (keys, touched, dues) = Default::default();
        let (facts, passed, retracted, emptied) = Default::default();
        Identifiers { rules, keys, touched, facts, passed, retracted, emptied, dues }
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
            let before = self.keys.get(slot).1.facts();
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
            if let Some(mut spans) = entry.spans.take() {
                self.emptied.push(slot);
                spans.withdraw(id, &self.rules, &mut |row, diff| out.push((Ok(row), tick, diff)));
            }
        }
    }

    /// Takes in the facts of this step.
    fn take_facts(&mut self) {
        for (slot, fact) in self.facts.drain(..) {
            let entry = self.keys.get_mut(slot).1;
            entry.spans.get_or_insert_default().absorb(&fact, &self.rules);
            if entry.handed().is_some_and(|owner| entry.place() == Some(owner)) {
                self.passed.push((slot, fact));
            }
        }
    }

    /// Gives the facts that count of identifiers that stay with an owner to the owner, who has them already where all was
    /// handed anew.
    fn pass_facts(&mut self, tick: Tick, out: &mut Out<Either<Id, S>, isize>) {
        for (slot, fact) in self.passed.drain(..) {
            let (id, entry) = self.keys.get(slot);
            let is_shown = entry.spans.as_ref().is_some_and(|spans| spans.shows(S::at_us(&fact)));
            let linked = entry.linked.as_ref().filter(|linked| is_shown && !linked.is_handed_anew);
            if let Some(owner) = linked.and_then(|linked| linked.handed.as_ref()) {
                out.push((Err((owner.clone(), Part::Fact(id.clone(), fact))), tick, 1));
            }
        }
    }

    /// Hands what counts to its owner, or tells what has changed.
    fn settle_one(&mut self, slot: Slot, tick: Tick, out: &mut Out<Either<Id, S>, isize>) {
        let (id, entry) = self.keys.get_mut(slot);
        let rules = &*self.rules;
        entry.touched = false;
        let mut tell = |row, diff| out.push((Ok(row), tick, diff));
        let is_other = entry.spans.as_mut().is_some_and(|spans| spans.turn(id, tick, rules, &mut tell));
        entry.spans.take_if(|spans| spans.is_empty());
        let spans = entry.spans.as_deref_mut();
        let is_owned =
            entry.linked.as_mut().is_some_and(|linked| linked.hand_over(id, spans, is_other, rules, tick, out));
        if !is_owned {
            entry.linked = None;
            if let Some(summary) = entry.spans.as_mut().and_then(|spans| spans.shown()) {
                summary.settle(id, tick, rules, &mut |row, diff| out.push((Ok(row), tick, diff)));
            }
        }
        if entry.spans.is_some() || is_owned {
            // What an owner shows is due there.
            let shown = entry.spans.as_mut().and_then(|spans| spans.shown()).filter(|_| !is_owned);
            let due = shown.and_then(|summary| summary.due());
            let ends = entry.spans.as_ref().and_then(|spans| spans.due(S::forgetting(rules)));
            look_at(slot, &mut entry.due, due.into_iter().chain(ends).min(), tick, &mut self.dues);
        } else {
            entry.due.into_iter().for_each(|due| self.dues.remove(due, slot));
            self.keys.remove(slot);
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

impl<Id: Clone + PartialEq> Linked<Id> {
    /// Hands what counts to the owner, where one of the two is new: an identifier that was alone takes back what it told.
    /// True where it belongs to an owner.
    fn hand_over<S: Summary<Id>>(
        &mut self,
        id: &Id,
        spans: Option<&mut Spans<S>>,
        is_other: bool,
        rules: &S::Rules,
        tick: Tick,
        out: &mut Out<Either<Id, S>, isize>,
    ) -> bool {
        self.places.retain(|(_, count)| *count != 0);
        debug_assert!(self.places.len() <= 1, "an identifier has one place");
        let place = self.place().cloned();
        let before = self.handed.take_if(|before| Some(&*before) != place.as_ref());
        if let Some(owner) = before {
            out.push((Err((owner, Part::Goes(id.clone()))), tick, 1));
        }
        self.is_handed_anew = is_other || self.handed != place;
        self.handed = place;
        if let Some(owner) = self.handed.as_ref().filter(|_| self.is_handed_anew) {
            let shown = spans.and_then(Spans::shown).map(|summary| {
                summary.withdraw(id, rules, &mut |row, diff| out.push((Ok(row), tick, diff)));
                summary.clone()
            });
            out.push((Err((owner.clone(), Part::Comes(id.clone(), Whole::of(shown)))), tick, 1));
        }
        self.handed.is_some()
    }
}

impl<Id> Linked<Id> {
    /// Where it belongs.
    fn place(&self) -> Option<&Place<Id>> {
        self.places.iter().find(|(_, count)| *count > 0).map(|(place, _)| place)
    }
}

impl<Id, S> Entry<Id, S> {
    fn lacks(&self, at: u64, tick: Tick, forgetting: Forgetting) -> bool {
        match &self.spans {
            Some(spans) => spans.lacks(at, tick, forgetting),
            None => Spans::<S>::default().lacks(at, tick, forgetting),
        }
    }

    fn place(&self) -> Option<&Place<Id>> {
        self.linked.as_ref()?.place()
    }

    fn handed(&self) -> Option<&Place<Id>> {
        self.linked.as_ref()?.handed.as_ref()
    }

    /// How many facts are remembered.
    fn facts(&self) -> i64 {
        self.spans.as_ref().map_or(0, |spans| spans.facts())
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
        let peek = |entry: &Entry<Id, S>| entry.spans.as_ref().map_or(0, |spans| spans.peek());
        let forgetting = S::forgetting(&self.rules);
        let hints = self.keys.look_ahead(updates.iter().map(|(feed, _)| feed.id()), peek);
        for ((feed, diff), hint) in updates.drain(..).zip(hints) {
            let slot = self.keys.find_or_insert_near(hint, feed.id(), Entry::default);
            let entry = self.touch(slot);
            match feed {
                Feed::Fact(_, fact) if diff < 0 && entry.lacks(S::at_us(&fact), tick, forgetting) => {
                    // It is forgotten, unless it came in this step.
                    if self.facts.iter().any(|(other, came)| *other == slot && *came == fact) {
                        self.retracted.extend(std::iter::repeat_n((slot, fact), diff.unsigned_abs()));
                    }
                }
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
        self.take_facts();
        for slot in std::mem::take(&mut self.touched) {
            self.settle_one(slot, tick, out);
        }
        self.pass_facts(tick, out);
    }

    fn due(&self) -> Option<Tick> {
        self.dues.first()
    }

    fn begin_export(&mut self) {
        self.keys.begin_export();
    }

    fn export_slice(&mut self, max_rows: usize, out: &mut Vec<Self::Row>) -> bool {
        let row = |id, entry: Entry<Id, S>| Some((id, entry.spans?.into_rows()));
        self.keys.export_slice(max_rows, out, row)
    }

    /// Places are made of links anew.
    fn is_in_rows(data: &Self::In) -> bool {
        matches!(data, Feed::Fact(..))
    }

    /// What is remembered comes back as if its facts had just arrived; the place of the identifier comes as data. Where
    /// that came before, the owner is handed once more what counts.
    fn import(&mut self, (id, rows): Self::Row, _tick: Tick, _out: &mut Out<Self::Out, isize>) {
        let slot = self.keys.find_or_insert(&id, Entry::default);
        self.touch(slot).spans = Some(Box::new(Spans::of_rows(rows)));
    }
}
