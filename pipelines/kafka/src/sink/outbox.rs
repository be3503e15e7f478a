//! What waits to be sent, what is on its way, and up to which tick everything has arrived.

mod checkpoint;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use etalage_model::{Key, SealedTick, Tick, TickTimes, Value, Written, hash::hash128};

pub(super) use self::checkpoint::Checkpoint;
use super::output::{Output, json};
use crate::{published::Published, topics};

/// An output by its number, and a key of it.
type Place = (usize, Key);

/// A value on its way.
#[derive(Debug)]
pub(super) struct Flight {
    /// Its number among everything that was sent; `None` where nobody waits for it.
    seq: Option<u64>,
    /// The number of the output.
    pub(super) output: usize,
    pub(super) key: Key,
    /// What was sent before, of outputs of which that is known.
    pub(super) before: Option<Value>,
    pub(super) value: Option<Value>,
    pub(super) times: TickTimes,
    pub(super) as_of: Tick,
}

impl Flight {
    /// A message of the progress topic.
    pub(super) fn progress() -> Flight {
        let (key, times) = (Key::new(&[]), TickTimes::default());
        Flight { seq: None, output: 0, key, before: None, value: None, times, as_of: 0 }
    }

    /// True for a message of the progress topic: one that is lost is followed by the next.
    pub(super) fn is_progress(&self) -> bool {
        self.seq.is_none()
    }

    fn place(&self) -> Place {
        (self.output, self.key.clone())
    }
}

/// A change of a key that waits.
pub struct Step<'a> {
    /// What was sent last; `None` where the topic has no value.
    pub sent: Option<&'a Value>,
    /// What is to be sent; `None` is a tombstone.
    pub new: Option<&'a Value>,
}

/// Says which changes must not wait, where the changes of a view otherwise do.
pub trait Urgency: Send {
    /// Looks at a tick; true where something in it makes changes urgent that were not before.
    fn look(&mut self, tick: &SealedTick) -> bool;
    /// Whether changes of a view can be urgent at all.
    fn concerns(&self, view: &str) -> bool;
    /// Whether a change of `view` must be sent at once.
    fn is_urgent(&self, view: &str, change: &Step<'_>) -> bool;
}

/// The newest value of a key.
struct Waiting {
    value: Option<Value>,
    times: TickTimes,
    as_of: Tick,
}

/// Up to where everything is delivered.
pub(super) struct Done {
    pub(super) tick: Tick,
    pub(super) times: TickTimes,
    /// Whether anything has changed since it was last told.
    pub(super) has_news: bool,
}

/// An output by its number, and a partition of its topic.
pub(super) type Part = (usize, u32);

/// A tick of which everything was sent once everything before `seq` is delivered.
#[derive(Clone)]
struct Mark {
    tick: Tick,
    times: TickTimes,
    seq: u64,
}

pub(super) struct Outbox {
    outputs: Vec<Output>,
    waiting: HashMap<Place, Waiting>,
    /// Keys that may be sent, in the order in which they began to wait. Those that no longer do are
    /// passed over.
    order: VecDeque<Place>,
    /// Keys of outputs that are paced, in the order in which they began to wait.
    paced: BTreeMap<usize, VecDeque<Key>>,
    /// What was sent last of each key, of outputs that are paced or tell changes.
    sent: BTreeMap<usize, HashMap<Key, Value>>,
    /// Keys of which a broker has refused the value: they wait, and are not sent for now.
    aside: Vec<Place>,
    urgency: Box<dyn Urgency>,
    /// The number of the last value that was sent of each key that is on its way.
    flying: HashMap<Place, u64>,
    numbers: BTreeSet<u64>,
    next: u64,
    /// What has arrived, by its number, since the last mark was done: some of it may belong to a later one.
    landed: BTreeMap<u64, (Part, u64)>,
    /// The same of what belongs to the next mark, whichever that is: behind the last message of each partition.
    settled: BTreeMap<Part, u64>,
    /// Behind the last message of each partition that belongs to what is done.
    ends: BTreeMap<Part, u64>,
    sealed: Option<(Tick, TickTimes)>,
    marks: VecDeque<Mark>,
    done: Option<Mark>,
    told: Option<u64>,
}

impl Outbox {
    /// An outbox in which changes of the outputs numbered `paced` wait until they are released, but for
    /// those that are urgent.
    pub(super) fn new(outputs: Vec<Output>, paced: &[usize], urgency: Box<dyn Urgency>) -> Outbox {
        let tell_changes = (0..outputs.len()).filter(|output| outputs[*output].tells_changes);
        Outbox {
            sent: tell_changes.chain(paced.iter().copied()).map(|output| (output, HashMap::new())).collect(),
            paced: paced.iter().map(|output| (*output, VecDeque::new())).collect(),
            outputs,
            urgency,
            waiting: HashMap::new(),
            order: VecDeque::new(),
            aside: Vec::new(),
            flying: HashMap::new(),
            numbers: BTreeSet::new(),
            next: 0,
            landed: BTreeMap::new(),
            settled: BTreeMap::new(),
            ends: BTreeMap::new(),
            sealed: None,
            marks: VecDeque::new(),
            done: None,
            told: None,
        }
    }

    /// The topics that it is about.
    pub(super) fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// Lets everything be sent that waits of all paced outputs: then a tick can be done.
    pub(super) fn release_all(&mut self) {
        let paced: Vec<usize> = self.paced.keys().copied().collect();
        paced.into_iter().for_each(|output| self.release(output));
    }

    /// Lets what was refused be sent again, after everything else.
    pub(super) fn retry(&mut self) {
        self.order.extend(self.aside.drain(..));
    }

    /// Lets everything be sent that waits of a paced output.
    pub(super) fn release(&mut self, output: usize) {
        let keys = self.paced.get_mut(&output).map(std::mem::take);
        self.order.extend(keys.into_iter().flatten().map(|key| (output, key)));
    }

    /// Lets everything be sent that is urgent now.
    fn hurry(&mut self) {
        let Outbox { outputs, paced, sent, waiting, urgency, order, .. } = self;
        for (output, keys) in paced.iter_mut().filter(|(output, _)| urgency.concerns(outputs[**output].view.name)) {
            let is_urgent = |key: &Key| {
                waiting.get(&(*output, key.clone())).is_some_and(|new| {
                    let sent = sent.get(output).and_then(|sent| sent.get(key));
                    urgency.is_urgent(outputs[*output].view.name, &Step { sent, new: new.value.as_ref() })
                })
            };
            let (urgent, others): (Vec<Key>, Vec<Key>) = keys.drain(..).partition(is_urgent);
            order.extend(urgent.into_iter().map(|key| (*output, key)));
            *keys = others.into();
        }
    }

    /// Takes what a tick has changed.
    pub(super) fn take(&mut self, tick: &SealedTick) {
        let as_of = tick.as_of();
        let before = self.sealed.map(|(_, times)| times).unwrap_or_default();
        self.sealed = Some((as_of, tick.times.after(&before)));
        for batch in &tick.batches {
            let of_view = |output: &usize| self.outputs[*output].view.name == batch.view;
            let outputs: Vec<usize> = (0..self.outputs.len()).filter(of_view).collect();
            if outputs.is_empty() {
                continue;
            }
            for (key, value) in batch.changes() {
                for output in &outputs {
                    let new = Waiting { value: value.clone(), times: tick.times, as_of };
                    self.wait((*output, key.clone()), new);
                }
            }
        }
        if !self.paced.is_empty() && self.urgency.look(tick) {
            self.hurry();
        }
        if self.waiting.is_empty() {
            self.mark();
        }
    }

    fn wait(&mut self, place: Place, mut new: Waiting) {
        match self.waiting.get_mut(&place) {
            Some(old) => {
                // Freshness counts from the oldest cause that was not sent.
                let arrivals = [old.times.first_arrival_us, new.times.first_arrival_us];
                new.times.first_arrival_us = arrivals.into_iter().flatten().min();
                *old = new;
            }
            None => {
                match self.paced.get_mut(&place.0) {
                    Some(keys) => keys.push_back(place.1.clone()),
                    None => self.order.push_back(place.clone()),
                }
                self.waiting.insert(place, new);
            }
        }
    }

    /// How many keys wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// True where something is on its way, or may be sent, or nothing was told of what has arrived.
    pub(super) fn is_busy(&mut self) -> bool {
        self.is_flying() || !self.order.is_empty() || self.done().is_some_and(|done| done.has_news)
    }

    /// True where something may be sent.
    pub(super) fn has_order(&self) -> bool {
        !self.order.is_empty()
    }

    /// True where what is sent must have arrived before more is: so that of each key of a change stream one step is
    /// under way, and yet all that waits is sent at one instant, which can be told of.
    pub(super) fn goes_in_rounds(&self) -> bool {
        self.outputs.iter().any(|output| output.tells_changes)
    }

    /// True where something is on its way.
    pub(super) fn is_flying(&self) -> bool {
        !self.numbers.is_empty()
    }

    /// Of everything that waits, leaves what differs from the newest values that the topics hold, and
    /// tombstones for what they hold beyond it.
    pub(super) fn leave_what_differs(&mut self, published: Published) {
        let Published { mut newest, mut told, ended, ends } = published;
        self.ends = ends;
        // Nothing was sent so far: of no tick before is anything to be told.
        self.marks.clear();
        let (outputs, sent) = (&self.outputs, &mut self.sent);
        self.waiting.retain(|(output, key), waiting| {
            let place = (*output, topics::key(key, outputs[*output].view.key_fields).into_bytes());
            let known = newest.remove(&place);
            let differs = waiting.value.as_ref().map(|value| hash128(json(Some(value)).as_bytes())) != known;
            if let Some(sent) = sent.get_mut(output) {
                let told = told.remove(&place).map(Written::text);
                let value = if differs { told } else { waiting.value.clone() };
                value.into_iter().for_each(|value| _ = sent.insert(key.clone(), value));
            }
            differs
        });
        let (as_of, times) = self.sealed.unwrap_or_default();
        let gone: BTreeMap<(usize, Vec<u8>), u128> = newest.into_iter().collect();
        for (place, _) in gone {
            let view = &self.outputs[place.0].view;
            let key = topics::read_key(&place.1, view);
            let Some(key) = key.filter(|key| topics::key(key, view.key_fields).as_bytes() == place.1) else {
                let key = String::from_utf8_lossy(&place.1);
                tracing::warn!(view = view.name, %key, "a key that is none of the view's is left alone");
                continue;
            };
            if let (Some(sent), Some(told)) = (self.sent.get_mut(&place.0), told.remove(&place)) {
                sent.insert(key.clone(), Written::text(told));
            }
            self.wait((place.0, key), Waiting { value: None, times, as_of });
        }
        // Whoever told of their end has not got to their tombstones.
        for (output, json) in ended {
            let key = topics::read_key(&json, &self.outputs[output].view);
            if let Some(key) = key.filter(|key| !self.waiting.contains_key(&(output, key.clone()))) {
                self.wait((output, key), Waiting { value: None, times, as_of });
            }
        }
        // What the topics show is out of date: it does not wait for its pace.
        self.release_all();
        if self.waiting.is_empty() {
            self.mark();
        }
    }

    /// The next value to be sent; counts as on its way from here on.
    pub(super) fn next(&mut self) -> Option<Flight> {
        while let Some(place) = self.order.pop_front() {
            let tells_changes = self.outputs[place.0].tells_changes;
            let Some(Waiting { value, times, as_of }) = self.waiting.remove(&place) else { continue };
            let before = self.sent.get_mut(&place.0).and_then(|sent| match &value {
                Some(value) => sent.insert(place.1.clone(), value.clone()),
                None => sent.remove(&place.1),
            });
            let has_changed = !tells_changes || value.is_none() || json(before.as_ref()) != json(value.as_ref());
            if self.outputs[place.0].tells_ends() && value.is_none() && before.is_some() {
                // What compaction is to forget needs a tombstone behind what was told of it.
                self.waiting.insert(place.clone(), Waiting { value: None, times, as_of });
                self.order.push_front(place.clone());
            }
            let seq = has_changed.then(|| {
                self.numbers.insert(self.next);
                self.flying.insert(place.clone(), self.next);
                self.next += 1;
                self.next - 1
            });
            if self.waiting.is_empty() {
                self.mark();
            }
            if seq.is_some() {
                return Some(Flight { seq, output: place.0, key: place.1, before, value, times, as_of });
            }
        }
        None
    }

    /// Everything up to the sealed tick has been sent.
    fn mark(&mut self) {
        let Some((tick, times)) = self.sealed else { return };
        match self.marks.back_mut().filter(|mark| mark.seq == self.next) {
            Some(mark) => (mark.tick, mark.times) = (tick, times),
            None => self.marks.push_back(Mark { tick, times, seq: self.next }),
        }
    }

    /// A value has arrived.
    pub(super) fn delivered(&mut self, flight: &Flight, partition: u32, offset: u64) {
        self.land(flight);
        let end = ((flight.output, partition), offset + 1);
        match flight.seq {
            // Every mark that is still to be made comes behind it.
            Some(_) if self.marks.is_empty() => settle(&mut self.settled, end),
            Some(seq) => _ = self.landed.insert(seq, end),
            None => {}
        }
    }

    /// True where it was the last of its key.
    fn land(&mut self, flight: &Flight) -> bool {
        let Some(seq) = flight.seq else { return false };
        self.numbers.remove(&seq);
        let is_last = self.flying.get(&flight.place()) == Some(&seq);
        if is_last {
            self.flying.remove(&flight.place());
        }
        is_last
    }

    /// A value was not taken for want of room: it waits again, as the next one.
    pub(super) fn give_back(&mut self, flight: Flight) {
        if let Some(place) = self.wait_again(flight) {
            self.order.push_front(place);
        }
    }

    /// A value was refused: it waits until [`Outbox::retry`], and holds back no other.
    pub(super) fn set_aside(&mut self, flight: Flight) {
        let place = self.wait_again(flight);
        self.aside.extend(place);
    }

    /// Where the value of a flight, or a newer one that waits, is to be sent; nowhere where a newer one is on its way.
    fn wait_again(&mut self, flight: Flight) -> Option<Place> {
        if flight.is_progress() {
            return None;
        }
        let (is_last, place) = (self.land(&flight), flight.place());
        // Nothing that was to be told from here on holds any more.
        self.marks.clear();
        if is_last {
            self.take_back(flight);
        }
        if self.waiting.is_empty() {
            self.mark();
        }
        is_last.then_some(place)
    }

    /// Has the value of a flight wait, unless a newer one does.
    fn take_back(&mut self, flight: Flight) {
        let place = flight.place();
        if let Some(sent) = self.sent.get_mut(&flight.output) {
            match flight.before {
                Some(before) => _ = sent.insert(flight.key, before),
                None => _ = sent.remove(&flight.key),
            }
        }
        let Flight { value, times, as_of, .. } = flight;
        self.waiting.entry(place).or_insert(Waiting { value, times, as_of });
    }

    /// Up to where everything is delivered; `None` where nothing is yet.
    pub(super) fn done(&mut self) -> Option<Done> {
        let first = self.numbers.first().copied().unwrap_or(u64::MAX);
        while let Some(mark) = self.marks.pop_front_if(|mark| mark.seq <= first) {
            let later = self.landed.split_off(&mark.seq);
            let landed = std::mem::replace(&mut self.landed, later).into_values();
            let settled = std::mem::take(&mut self.settled);
            landed.chain(settled).for_each(|end| settle(&mut self.ends, end));
            self.done = Some(mark);
        }
        let Mark { tick, times, seq } = self.done.as_ref()?;
        Some(Done { tick: *tick, times: *times, has_news: self.told != Some(*seq) })
    }

    /// Behind the last message of each partition of an output that belongs to what is done.
    pub(super) fn ends(&self, output: usize) -> impl Iterator<Item = (u32, u64)> {
        self.ends.range((output, 0)..=(output, u32::MAX)).map(|((_, partition), end)| (*partition, *end))
    }

    /// What is done was told.
    pub(super) fn told(&mut self) {
        self.told = self.done.as_ref().map(|mark| mark.seq);
    }
}

/// Moves the end of a partition, where this is behind it.
fn settle(ends: &mut BTreeMap<Part, u64>, (part, end): (Part, u64)) {
    let known = ends.entry(part).or_default();
    *known = end.max(*known);
}

#[cfg(test)]
mod tests;
