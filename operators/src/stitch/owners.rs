//! The second stage: one merged summary per owner of several identifiers, and generation.
//!
//! A summary cannot be taken out of a merged one. So an owner keeps what each of its identifiers has handed over too, and
//! merges anew when one of them comes, goes or is forgotten.

use std::{hash::Hash, rc::Rc};

use differential_dataflow::ExchangeData;

use super::{Part, Place, Summary, Whole, look_at};
use crate::{
    Tick,
    dues::Dues,
    shell::{Core, Out},
    table::{Hint, Slot, Table},
};

/// Merged summaries by owner and generation.
pub(super) struct Owners<Id, S: Summary<Id>> {
    rules: Rc<S::Rules>,
    keys: Table<Place<Id>, Entry<Id, S>>,
    touched: Vec<Slot>,
    /// The `due` of every entry that has one.
    pub(super) dues: Dues,
}

#[derive(Clone)]
struct Entry<Id, S> {
    /// What the identifiers come to. Absent as long as nothing counts of any.
    merged: Option<Box<S>>,
    /// The identifiers, in order, with what counts of each.
    members: Vec<(Id, Option<Box<S>>)>,
    /// The members have to be merged anew.
    is_stale: bool,
    /// When it is to be looked at, at the latest.
    due: Option<Tick>,
    touched: bool,
}

impl<Id: Ord, S: Summary<Id>> Entry<Id, S> {
    fn place(&self, id: &Id) -> Result<usize, usize> {
        self.members.binary_search_by(|(member, _)| member.cmp(id))
    }

    fn take(&mut self, part: Part<Id, S::Fact, Whole<S>>, rules: &S::Rules) {
        match part {
            Part::Fact(id, fact) => {
                let place = self.place(&id).expect("facts come of identifiers that are there");
                self.members[place].1.get_or_insert_default().absorb(&fact, rules);
                if !self.is_stale {
                    self.merged.get_or_insert_default().absorb(&fact, rules);
                }
                return;
            }
            Part::Comes(id, whole) => {
                let summary = whole.take().map(Box::new);
                match self.place(&id) {
                    Ok(place) => self.members[place].1 = summary,
                    Err(place) => self.members.insert(place, (id, summary)),
                }
            }
            Part::Goes(id) => _ = self.place(&id).map(|place| self.members.remove(place)),
        }
        self.is_stale = true;
    }

    /// Merges the members, if there are others than before, or other things count of them.
    fn merge(&mut self, owner: &Id, rules: &S::Rules, tell: &mut dyn FnMut(S::Row, isize)) {
        if !std::mem::replace(&mut self.is_stale, false) {
            return;
        }
        self.merged.take().into_iter().for_each(|mut merged| merged.withdraw(owner, rules, tell));
        for summary in self.members.iter().filter_map(|(_, summary)| summary.as_ref()) {
            self.merged.get_or_insert_default().merge(summary, rules);
        }
    }
}

impl<Id: ExchangeData + Hash, S: Summary<Id>> Owners<Id, S> {
    pub(super) fn new(rules: Rc<S::Rules>) -> Self {
        Owners { rules, keys: Table::default(), touched: Vec::new(), dues: Dues::default() }
    }

    fn touch(&mut self, slot: Slot) -> &mut Entry<Id, S> {
        let entry = self.keys.get_mut(slot).1;
        if !std::mem::replace(&mut entry.touched, true) {
            self.touched.push(slot);
        }
        entry
    }

    fn take(&mut self, hint: Hint, (place, part): (Place<Id>, Part<Id, S::Fact, Whole<S>>)) {
        let fresh = || Entry { merged: None, members: Vec::new(), is_stale: false, due: None, touched: false };
        let slot = self.keys.find_or_insert_near(hint, &place, fresh);
        let rules = Rc::clone(&self.rules);
        self.touch(slot).take(part, &rules);
    }
}

impl<Id: ExchangeData + Hash, S: Summary<Id>> Core for Owners<Id, S> {
    type In = (Place<Id>, Part<Id, S::Fact, Whole<S>>);
    type InDiff = isize;
    type Out = S::Row;
    type OutDiff = isize;
    /// Nothing: identifiers hand everything over again.
    type Row = ();

    fn advance(&mut self, tick: Tick, _out: &mut Out<S::Row, isize>) {
        while let Some(slot) = self.dues.pop(tick) {
            self.touch(slot).due = None;
        }
    }

    fn absorb(&mut self, update: Self::In, _tick: Tick, _diff: isize, _out: &mut Out<S::Row, isize>) {
        self.take(Hint::NONE, update);
    }

    fn absorb_all(&mut self, updates: &mut Vec<(Self::In, isize)>, _tick: Tick, _out: &mut Out<S::Row, isize>) {
        let peek = |entry: &Entry<Id, S>| entry.merged.as_ref().map_or(0, |merged| merged.peek());
        let hints = self.keys.look_ahead(updates.iter().map(|((place, _), _)| place), peek);
        for ((update, _), hint) in updates.drain(..).zip(hints) {
            self.take(hint, update);
        }
    }

    fn settle(&mut self, tick: Tick, out: &mut Out<S::Row, isize>) {
        for slot in std::mem::take(&mut self.touched) {
            let ((owner, _), entry) = self.keys.get_mut(slot);
            entry.touched = false;
            let mut tell = |row, diff| out.push((row, tick, diff));
            entry.merge(owner, &self.rules, &mut tell);
            if let Some(merged) = &mut entry.merged {
                merged.settle(owner, tick, &self.rules, &mut tell);
                look_at(slot, &mut entry.due, merged.due(), tick, &mut self.dues);
            }
            if entry.members.is_empty() {
                entry.due.into_iter().for_each(|due| self.dues.remove(due, slot));
                self.keys.remove(slot);
            }
        }
    }

    fn due(&self) -> Option<Tick> {
        self.dues.first()
    }

    fn begin_export(&mut self) {}

    fn export_slice(&mut self, _max_rows: usize, _out: &mut Vec<()>) -> bool {
        true
    }

    fn import(&mut self, (): (), _tick: Tick, _out: &mut Out<S::Row, isize>) {}
}
