//! Deduplication by id within a bounded horizon.
//!
//! - **Input** arrivals: each has a 128-bit hash of its id, a hash of its content, and a place in
//!   the log. Arrivals only: a retraction belongs downstream of this operator.
//! - **Output**: for each arrival whether it is [`Verdict::New`], a [`Verdict::Duplicate`] or in
//!   [`Verdict::Conflict`] (same id, other content; the first in log order stays).
//! - **Time** is the tick of arrival, never the time of the event. Ids are forgotten in slots, each
//!   of at most a part in [`SLOTS`] of the horizon and of `max_ids`: an id is known for at least
//!   `horizon_us` and at most one slot longer, and as long as time does not leap few go at once.
//! - **State bound**: `max_ids`. Where it binds, the oldest slots are forgotten early; the horizon
//!   that is left is [`DedupCore::effective_horizon_us`], and it is meant to raise an alert. An index
//!   for [`RESERVED_IDS`] is set aside beforehand, so that it does not grow part by part meanwhile.
//!
//! The core also stands alone: a source that must answer "duplicate" before the dataflow has run
//! uses it directly.

use std::collections::VecDeque;

use differential_dataflow::ExchangeData;

use crate::{
    Collection, Tick,
    shell::{Core, Out, Wiring, run},
    table::{Slot, Table},
};

/// Into how many slots a horizon is divided, and `max_ids`.
pub const SLOTS: u64 = 64;

/// For how many ids, if there may be as many, an index is set aside: addresses, and two bytes for
/// each; other memory is used when they come.
pub const RESERVED_IDS: usize = 4_000_000;

/// What decides whether two arrivals are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Hash of the message's id.
    pub id: u128,
    /// Hash of its content.
    pub content: u64,
    /// Place in the log: decides which of two arrivals of one tick was first.
    pub place: u64,
}

/// What an arrival is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Verdict {
    /// Seen for the first time.
    New,
    /// Seen before with the same content.
    Duplicate,
    /// Seen before with other content.
    Conflict,
}

/// How long and how much is remembered.
#[derive(Clone, Copy, Debug)]
pub struct DedupLimits {
    /// For how long an id is known after it arrived.
    pub horizon_us: u64,
    /// How many ids are known at the most, per worker.
    pub max_ids: usize,
}

/// What is known of an id: hash of the content, and when it arrived.
pub type Known = (u64, Tick);

/// Deduplication of a collection of arrivals.
pub trait Dedup<'scope, D: ExchangeData> {
    /// Each arrival with its verdict, partitioned by id.
    ///
    /// ```
    /// use differential_dataflow::input::Input;
    /// use etalage_operators::{dedup::{Dedup, DedupLimits, Identity, Verdict}, shell::Wiring};
    ///
    /// timely::example(|scope| {
    ///     let arrivals = scope.new_collection_from(vec![(7u64, 0u64), (7, 1), (8, 2)]).1;
    ///     let limits = DedupLimits { horizon_us: 1_000, max_ids: 100 };
    ///     arrivals
    ///         .dedup(limits, Wiring::fresh("Dedup", scope), |(id, place)| Identity {
    ///             id: u128::from(*id), content: 0, place: *place,
    ///         })
    ///         .filter(|(_, verdict)| *verdict == Verdict::New)
    ///         .map(|((id, _), _)| id);
    /// });
    /// ```
    fn dedup(
        self,
        limits: DedupLimits,
        wiring: Wiring<'scope, (u128, Known)>,
        identity: impl Fn(&D) -> Identity + 'static,
    ) -> Collection<'scope, (D, Verdict)>;
}

impl<'scope, D: ExchangeData> Dedup<'scope, D> for Collection<'scope, D> {
    fn dedup(
        self,
        limits: DedupLimits,
        wiring: Wiring<'scope, (u128, Known)>,
        identity: impl Fn(&D) -> Identity + 'static,
    ) -> Collection<'scope, (D, Verdict)> {
        let identity = std::rc::Rc::new(identity);
        let route = std::rc::Rc::clone(&identity);
        let core =
            Arrivals { core: DedupCore::new(limits), identity: Box::new(move |data| identity(data)), tick: Vec::new() };
        run(self, wiring, core, move |data| route(data).id, |(id, _)| *id)
    }
}

/// Deduplication without a dataflow.
pub struct DedupCore {
    limits: DedupLimits,
    ids: Table<u128, Known>,
    /// Oldest first.
    slots: VecDeque<Arrived>,
    now: Tick,
    forgotten_until: Tick,
}

/// Ids that arrived in one slot of the horizon, or in a part of it.
struct Arrived {
    /// First tick of the slot.
    start: Tick,
    /// When the newest of them arrived.
    newest: Tick,
    ids: Vec<Slot>,
}

impl DedupCore {
    /// A core that knows nothing yet.
    pub fn new(limits: DedupLimits) -> Self {
        let ids = Table::with_room_for(limits.max_ids.min(RESERVED_IDS));
        DedupCore { limits, ids, slots: VecDeque::new(), now: 0, forgotten_until: 0 }
    }

    /// Takes an arrival at `tick`.
    pub fn offer(&mut self, id: u128, content: u64, tick: Tick) -> Verdict {
        let verdict = self.judge(id, content, tick);
        if verdict == Verdict::New {
            self.remember(id, content, tick);
        }
        verdict
    }

    /// What an arrival at `tick` is, without taking it.
    pub fn judge(&mut self, id: u128, content: u64, tick: Tick) -> Verdict {
        self.forget(tick);
        match self.ids.find(&id) {
            Some(slot) if self.ids.get(slot).1.0 == content => Verdict::Duplicate,
            Some(_) => Verdict::Conflict,
            None => Verdict::New,
        }
    }

    /// Takes an arrival at `tick` that was judged new.
    pub fn admit(&mut self, id: u128, content: u64, tick: Tick) {
        self.forget(tick);
        self.remember(id, content, tick);
    }

    /// Reads what judging these ids will need, so that it is at hand then.
    pub fn look_ahead(&self, ids: &[u128]) {
        self.ids.look_ahead(ids.iter(), |known| known.0);
    }

    /// Forgets an id that was taken for new just now: what it stood for came to nothing.
    pub fn take_back(&mut self, id: u128) {
        let Some(slot) = self.ids.find(&id) else { return };
        let arrived = self.ids.remove(slot).1.1;
        let start = arrived - arrived % self.slot_us();
        // It was remembered last, or not long ago.
        let after = self.slots.partition_point(|arrived| arrived.start <= start);
        let of_then = (0..after).rev().take_while(|at| self.slots[*at].start == start);
        let holds = |at: usize| self.slots[at].ids.iter().rposition(|other| *other == slot).map(|place| (at, place));
        let Some((at, place)) = of_then.filter_map(holds).next() else { return };
        self.slots[at].ids.swap_remove(place);
        if self.slots[at].ids.is_empty() {
            self.slots.remove(at);
        }
    }

    /// Forgets what lies a horizon behind `tick`.
    pub fn forget(&mut self, tick: Tick) {
        self.now = self.now.max(tick);
        let slot_us = self.slot_us();
        while let Some(Arrived { start, .. }) =
            self.slots.front().filter(|oldest| oldest.start + slot_us + self.limits.horizon_us <= tick)
        {
            self.forgotten_until = start + slot_us;
            self.forget_oldest_slot();
        }
    }

    /// For how long ids are known at present: `horizon_us`, or less where `max_ids` binds.
    pub fn effective_horizon_us(&self) -> u64 {
        self.limits.horizon_us.min(self.now.saturating_sub(self.forgotten_until))
    }

    /// How many ids are known.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// True where no id is known.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Begins an export of the ids that are known now.
    pub fn begin_export(&mut self) {
        self.ids.begin_export();
    }

    /// Appends the next ids, about `max_rows`; true when there are no more.
    pub fn export_slice(&mut self, max_rows: usize, out: &mut Vec<(u128, Known)>) -> bool {
        self.ids.export_slice(max_rows, out, |id, known| Some((id, known)))
    }

    /// Takes an exported id back.
    pub fn import(&mut self, (id, (content, arrived)): (u128, Known)) {
        if self.ids.find(&id).is_none() {
            self.remember(id, content, arrived);
        }
    }

    fn slot_us(&self) -> u64 {
        (self.limits.horizon_us / SLOTS).max(1)
    }

    fn remember(&mut self, id: u128, content: u64, tick: Tick) {
        if self.ids.len() >= self.limits.max_ids {
            let until = self.slots.front().map_or(tick, |oldest| (oldest.newest + 1).min(self.now.max(tick)));
            self.forgotten_until = self.forgotten_until.max(until);
            self.forget_oldest_slot();
        }
        let start = tick - tick % self.slot_us();
        let slot = self.ids.find_or_insert(&id, || (content, tick));
        let most = (self.limits.max_ids / SLOTS as usize).max(1);
        // What is imported comes in any order.
        let is_newest = self.slots.back().is_none_or(|newest| newest.start <= start);
        let place = match is_newest {
            true => self.slots.len(),
            false => self.slots.partition_point(|arrived| arrived.start <= start),
        };
        let before = place.checked_sub(1).and_then(|place| self.slots.get_mut(place));
        match before.filter(|arrived| arrived.start == start && arrived.ids.len() < most) {
            Some(arrived) => {
                arrived.newest = arrived.newest.max(tick);
                arrived.ids.push(slot);
            }
            None => self.slots.insert(place, Arrived { start, newest: tick, ids: vec![slot] }),
        }
    }

    fn forget_oldest_slot(&mut self) {
        for slot in self.slots.pop_front().into_iter().flat_map(|arrived| arrived.ids) {
            self.ids.remove(slot);
        }
    }
}

/// The core as an operator: arrivals of a tick are judged in log order.
struct Arrivals<D> {
    core: DedupCore,
    identity: Box<dyn Fn(&D) -> Identity>,
    tick: Vec<(Identity, D)>,
}

impl<D: ExchangeData> Core for Arrivals<D> {
    type In = D;
    type InDiff = isize;
    type Out = (D, Verdict);
    type OutDiff = isize;
    type Row = (u128, Known);

    fn advance(&mut self, tick: Tick, _out: &mut Out<Self::Out, isize>) {
        self.core.forget(tick);
    }

    fn absorb(&mut self, data: D, _tick: Tick, diff: isize, _out: &mut Out<Self::Out, isize>) {
        assert!(diff > 0, "dedup takes arrivals; retract downstream of it");
        let identity = (self.identity)(&data);
        self.tick.extend(std::iter::repeat_n((identity, data), diff.unsigned_abs()));
    }

    fn settle(&mut self, tick: Tick, out: &mut Out<Self::Out, isize>) {
        self.tick.sort_by_key(|(identity, _)| identity.place);
        for (identity, data) in self.tick.drain(..) {
            let verdict = self.core.offer(identity.id, identity.content, tick);
            out.push(((data, verdict), tick, 1));
        }
    }

    fn begin_export(&mut self) {
        self.core.begin_export();
    }

    fn export_slice(&mut self, max_rows: usize, out: &mut Vec<Self::Row>) -> bool {
        self.core.export_slice(max_rows, out)
    }

    fn import(&mut self, row: Self::Row, _tick: Tick, _out: &mut Out<Self::Out, isize>) {
        self.core.import(row);
    }
}

#[cfg(test)]
mod tests;
