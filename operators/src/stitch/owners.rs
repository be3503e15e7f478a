//! The second stage: one merged summary per owner of several identifiers, and generation.

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
    keys: Table<Place<Id>, Entry<S>>,
    touched: Vec<Slot>,
    /// The `due` of every entry that has one.
    pub(super) dues: Dues,
}

#[derive(Clone)]
struct Entry<S> {
    /// Absent as long as no identifier has any facts.
    summary: Option<Box<S>>,
    /// Identifiers that came and did not go.
    members: i64,
    /// When it is to be looked at, at the latest.
    due: Option<Tick>,
    touched: bool,
}

impl<Id: ExchangeData + Hash, S: Summary<Id>> Owners<Id, S> {
    pub(super) fn new(rules: Rc<S::Rules>) -> Self {
        Owners { rules, keys: Table::default(), touched: Vec::new(), dues: Dues::default() }
    }

    fn touch(&mut self, slot: Slot) -> &mut Entry<S> {
        let entry = self.keys.get_mut(slot).1;
        if !std::mem::replace(&mut entry.touched, true) {
            self.touched.push(slot);
        }
        entry
    }

    fn take(
        &mut self,
        hint: Hint,
        (place, part): (Place<Id>, Part<S::Fact, Whole<S>>),
        tick: Tick,
        out: &mut Out<S::Row, isize>,
    ) {
        let fresh = || Entry { summary: None, members: 0, due: None, touched: false };
        let slot = self.keys.find_or_insert_near(hint, &place, fresh);
        let rules = Rc::clone(&self.rules);
        let entry = self.touch(slot);
        match part {
            Part::Fact(fact) => entry.summary.get_or_insert_default().absorb(&fact, &rules),
            Part::Comes(Whole(summary)) => {
                entry.members += 1;
                if let Some(summary) = summary {
                    let merged = entry.summary.get_or_insert_default();
                    // What is imported may come when the others have told already.
                    merged.withdraw(&place.0, &rules, &mut |row, diff| out.push((row, tick, diff)));
                    merged.merge(&summary, &rules);
                }
            }
            Part::Goes => entry.members -= 1,
        }
    }
}

impl<Id: ExchangeData + Hash, S: Summary<Id>> Core for Owners<Id, S> {
    type In = (Place<Id>, Part<S::Fact, Whole<S>>);
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

    fn absorb(&mut self, update: Self::In, tick: Tick, _diff: isize, out: &mut Out<S::Row, isize>) {
        self.take(Hint::NONE, update, tick, out);
    }

    fn absorb_all(&mut self, updates: &mut Vec<(Self::In, isize)>, tick: Tick, out: &mut Out<S::Row, isize>) {
        let peek = |entry: &Entry<S>| entry.summary.as_ref().map_or(0, |summary| summary.peek());
        let hints = self.keys.look_ahead(updates.iter().map(|((place, _), _)| place), peek);
        for ((update, _), hint) in updates.drain(..).zip(hints) {
            self.take(hint, update, tick, out);
        }
    }

    fn settle(&mut self, tick: Tick, out: &mut Out<S::Row, isize>) {
        for slot in std::mem::take(&mut self.touched) {
            let ((owner, _), entry) = self.keys.get_mut(slot);
            entry.touched = false;
            let mut tell = |row, diff| out.push((row, tick, diff));
            match &mut entry.summary {
                Some(summary) if entry.members == 0 => summary.withdraw(owner, &self.rules, &mut tell),
                Some(summary) => {
                    summary.settle(owner, tick, &self.rules, &mut tell);
                    look_at(slot, &mut entry.due, summary.due(), tick, &mut self.dues);
                }
                None => {}
            }
            if entry.members == 0 {
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
