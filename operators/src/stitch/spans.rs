//! What is known of one identifier, in spans of activity, and when it is forgotten.
//!
//! Facts belong to one span where no pause between them is longer than [`Forgetting::idle_us`]. The newest span counts, as
//! long as its last fact is not longer ago than that. One that does not count is kept while a fact that is yet to come
//! could join it with a later one, and forgotten then. So what counts depends on the facts and the tick alone, in whatever
//! order they came. There are at most about `late_us` / `idle_us` and two of them.
//!
//! ```text
//!   facts   ●●─●  ●           ●──●─●
//!           └─span─┘ > idle   └span┘ idle ┊ nothing counts ┊ late ┊ forgotten
//! ```

use smallvec::SmallVec;

use super::{Summary, Whole};
use crate::Tick;

/// When an identifier of which nothing is heard any more is forgotten.
#[derive(Clone, Copy, Debug)]
pub struct Forgetting {
    /// The pause after which what was known does not count any more, in microseconds of event time.
    pub idle_us: u64,
    /// How old a fact may be when it comes, at most, in microseconds.
    pub late_us: u64,
}

impl Forgetting {
    /// Everything is remembered.
    pub const NEVER: Forgetting = Forgetting { idle_us: u64::MAX, late_us: 0 };

    /// The last tick at which something counts of which `last` was heard last.
    fn counts_until(&self, last: u64) -> Tick {
        last.saturating_add(self.idle_us)
    }

    /// The last tick at which a fact may come that joins what ends at `last` with something later.
    fn joins_until(&self, last: u64) -> Tick {
        self.counts_until(last).saturating_add(self.late_us)
    }
}

/// A span as exported: when its first and its last fact were, how many it has, and what they come to.
pub type SpanRow<S> = (u64, u64, i64, Whole<S>);

/// Facts without a longer pause.
#[derive(Clone)]
pub(super) struct Span<S> {
    first: u64,
    last: u64,
    facts: i64,
    /// It was told, or handed to an owner.
    is_shown: bool,
    summary: S,
}

/// The spans of an identifier. Between two calls of [`Spans::turn`] they may touch each other.
#[derive(Clone)]
pub(super) struct Spans<S>(SmallVec<[Span<S>; 1]>);

impl<S> Default for Spans<S> {
    fn default() -> Self {
        Spans(SmallVec::new())
    }
}

impl<S> Spans<S> {
    /// How many facts are remembered.
    pub(super) fn facts(&self) -> i64 {
        self.0.iter().map(|span| span.facts).sum()
    }

    /// The one that is shown, after [`Spans::turn`].
    pub(super) fn shown(&mut self) -> Option<&mut S> {
        self.0.last_mut().filter(|span| span.is_shown).map(|span| &mut span.summary)
    }

    /// Whether a fact that was taken in is in what is shown, after [`Spans::turn`].
    pub(super) fn shows(&self, at: u64) -> bool {
        self.0.last().is_some_and(|span| span.is_shown && span.first <= at && at <= span.last)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a fact is not among those that are remembered, and is so old that it may be forgotten by `tick`.
    pub(super) fn lacks(&self, at: u64, tick: Tick, forgetting: Forgetting) -> bool {
        forgetting.joins_until(at) < tick && !self.0.iter().any(|span| span.first <= at && at <= span.last)
    }

    /// The next tick at which something of it ceases to count, or is forgotten.
    pub(super) fn due(&self, forgetting: Forgetting) -> Option<Tick> {
        let until = |span: &Span<S>| match span.is_shown {
            true => forgetting.counts_until(span.last),
            false => forgetting.joins_until(span.last),
        };
        self.0.iter().map(until).min().filter(|until| *until < Tick::MAX).map(|until| until + 1)
    }

    /// Reads what taking in a fact will need.
    pub(super) fn peek<Id>(&self) -> u64
    where
        S: Summary<Id>,
    {
        self.0.last().map_or(0, |span| span.summary.peek())
    }
}

impl<S> Spans<S> {
    /// Takes in a fact.
    pub(super) fn absorb<Id>(&mut self, fact: &S::Fact, rules: &S::Rules)
    where
        S: Summary<Id>,
    {
        let (at, idle_us) = (S::at_us(fact), S::forgetting(rules).idle_us);
        let touches =
            |span: &Span<S>| at <= span.last.saturating_add(idle_us) && span.first <= at.saturating_add(idle_us);
        let place = self.0.iter().rposition(touches).unwrap_or_else(|| {
            let place = self.0.partition_point(|span| span.first <= at);
            self.0.insert(place, Span { first: at, last: at, facts: 0, is_shown: false, summary: S::default() });
            place
        });
        let span = &mut self.0[place];
        (span.first, span.last) = (span.first.min(at), span.last.max(at));
        span.facts += 1;
        span.summary.absorb(fact, rules);
    }

    /// Joins what touches, forgets what is over, and shows as of `tick` the span that counts, if one does. What was shown
    /// and is not any more is taken back. True where another is shown than before, or the same anew.
    pub(super) fn turn<Id>(
        &mut self,
        id: &Id,
        tick: Tick,
        rules: &S::Rules,
        tell: &mut dyn FnMut(S::Row, isize),
    ) -> bool
    where
        S: Summary<Id>,
    {
        let forgetting = S::forgetting(rules);
        let mut is_other = self.join(id, rules, tell);
        self.0.retain(|span| {
            let stays = forgetting.joins_until(span.last) >= tick;
            is_other |= !stays && span.hide(id, rules, tell);
            stays
        });
        let Some((newest, older)) = self.0.split_last_mut() else { return is_other };
        for span in older {
            is_other |= span.hide(id, rules, tell);
        }
        if forgetting.counts_until(newest.last) < tick {
            return newest.hide(id, rules, tell) || is_other;
        }
        !std::mem::replace(&mut newest.is_shown, true) || is_other
    }

    /// Joins spans between which there is no pause any more. True where something was taken back.
    fn join<Id>(&mut self, id: &Id, rules: &S::Rules, tell: &mut dyn FnMut(S::Row, isize)) -> bool
    where
        S: Summary<Id>,
    {
        let idle_us = S::forgetting(rules).idle_us;
        let is_apart = |two: &[Span<S>]| two[0].last.saturating_add(idle_us) < two[1].first;
        if self.0.windows(2).all(is_apart) {
            return false;
        }
        self.0.sort_by_key(|span| span.first);
        let (mut is_other, mut joined) = (false, SmallVec::<[Span<S>; 1]>::new());
        for mut span in self.0.drain(..) {
            match joined.last_mut().filter(|before| span.first <= before.last.saturating_add(idle_us)) {
                Some(before) => {
                    is_other |= before.hide(id, rules, tell) | span.hide(id, rules, tell);
                    before.last = before.last.max(span.last);
                    before.facts += span.facts;
                    before.summary.merge(&span.summary, rules);
                }
                None => joined.push(span),
            }
        }
        self.0 = joined;
        is_other
    }

    /// Takes back whatever was told.
    pub(super) fn withdraw<Id>(&mut self, id: &Id, rules: &S::Rules, tell: &mut dyn FnMut(S::Row, isize))
    where
        S: Summary<Id>,
    {
        for span in &mut self.0 {
            span.hide(id, rules, tell);
        }
    }

    /// Rows of an export.
    pub(super) fn into_rows<Id>(self) -> Vec<SpanRow<S>>
    where
        S: Summary<Id>,
    {
        let row = |span: Span<S>| (span.first, span.last, span.facts, Whole::of(Some(span.summary)));
        self.0.into_iter().map(row).collect()
    }

    /// What such rows come to; nothing of it is shown.
    pub(super) fn of_rows<Id>(rows: Vec<SpanRow<S>>) -> Self
    where
        S: Summary<Id>,
    {
        let span = |(first, last, facts, whole): SpanRow<S>| {
            let summary = whole.take().unwrap_or_default();
            Span { first, last, facts, is_shown: false, summary }
        };
        Spans(rows.into_iter().map(span).collect())
    }
}

impl<S> Span<S> {
    /// Takes back what was told of it. True where it was shown.
    fn hide<Id>(&mut self, id: &Id, rules: &S::Rules, tell: &mut dyn FnMut(S::Row, isize)) -> bool
    where
        S: Summary<Id>,
    {
        let was_shown = std::mem::replace(&mut self.is_shown, false);
        if was_shown {
            self.summary.withdraw(id, rules, tell);
        }
        was_shown
    }
}
