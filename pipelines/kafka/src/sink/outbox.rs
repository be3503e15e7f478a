//! What waits to be sent, what is on its way, and up to which tick everything has arrived.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use etalage_model::{Key, SealedTick, Tick, TickTimes, Value, ViewInfo, hash::hash128};

use crate::{published::Published, topics};

/// A view by its number, and a key of it.
type Place = (usize, Key);

/// A value on its way.
#[derive(Debug)]
pub(super) struct Flight {
    /// Its number among everything that was sent; `None` where nobody waits for it.
    seq: Option<u64>,
    pub(super) view: usize,
    pub(super) key: Key,
    pub(super) value: Option<Value>,
    pub(super) times: TickTimes,
    pub(super) as_of: Tick,
}

impl Flight {
    /// A message of the progress topic.
    pub(super) fn progress() -> Flight {
        Flight { seq: None, view: 0, key: Key::new(&[]), value: None, times: TickTimes::default(), as_of: 0 }
    }

    /// True for a message of the progress topic: one that is lost is followed by the next.
    pub(super) fn is_progress(&self) -> bool {
        self.seq.is_none()
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

/// A view whose changes wait for each other.
#[derive(Default)]
struct Paced {
    order: VecDeque<Key>,
    /// What was sent last of each key.
    sent: HashMap<Key, Value>,
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

/// A view by its number, and a partition of its topic.
pub(super) type Part = (usize, u32);

/// A tick of which everything was sent once everything before `seq` is delivered.
struct Mark {
    tick: Tick,
    times: TickTimes,
    seq: u64,
}

#[derive(Default)]
pub(super) struct Outbox {
    waiting: HashMap<Place, Waiting>,
    /// Keys that may be sent, in the order in which they began to wait. Those that no longer do are
    /// passed over.
    order: VecDeque<Place>,
    /// Views that are paced, by their number.
    paced: BTreeMap<usize, Paced>,
    /// Keys of which a broker has refused the value: they wait, and are not sent for now.
    aside: Vec<Place>,
    urgency: Option<Box<dyn Urgency>>,
    /// The number of the last value that was sent of each key that is on its way.
    flying: HashMap<Place, u64>,
    numbers: BTreeSet<u64>,
    next: u64,
    /// What has arrived, by its number, since the last mark was done.
    landed: BTreeMap<u64, (Part, u64)>,
    /// Behind the last message of each partition that belongs to what is done.
    ends: BTreeMap<Part, u64>,
    sealed: Option<(Tick, TickTimes)>,
    marks: VecDeque<Mark>,
    done: Option<Mark>,
    told: Option<u64>,
}

impl Outbox {
    /// An outbox in which changes of the views numbered `paced` wait until they are released, but for
    /// those that are urgent.
    pub(super) fn new(paced: impl IntoIterator<Item = usize>, urgency: Box<dyn Urgency>) -> Outbox {
        let paced = paced.into_iter().map(|view| (view, Paced::default())).collect();
        Outbox { paced, urgency: Some(urgency), ..Outbox::default() }
    }

    /// Lets everything be sent that waits of all paced views: then a tick can be done.
    pub(super) fn release_all(&mut self) {
        let views: Vec<usize> = self.paced.keys().copied().collect();
        views.into_iter().for_each(|view| self.release(view));
    }

    /// Lets what was refused be sent again, after everything else.
    pub(super) fn retry(&mut self) {
        self.order.extend(self.aside.drain(..));
    }

    /// Lets everything be sent that waits of a paced view.
    pub(super) fn release(&mut self, view: usize) {
        let keys = self.paced.get_mut(&view).map(|paced| std::mem::take(&mut paced.order));
        self.order.extend(keys.into_iter().flatten().map(|key| (view, key)));
    }

    /// Lets everything be sent that is urgent now.
    fn hurry(&mut self, views: &[ViewInfo]) {
        let Some(urgency) = &self.urgency else { return };
        for (view, paced) in self.paced.iter_mut().filter(|(view, _)| urgency.concerns(views[**view].name)) {
            let is_urgent = |key: &Key| {
                self.waiting.get(&(*view, key.clone())).is_some_and(|new| {
                    let step = Step { sent: paced.sent.get(key), new: new.value.as_ref() };
                    urgency.is_urgent(views[*view].name, &step)
                })
            };
            let (urgent, others): (Vec<Key>, Vec<Key>) = paced.order.iter().cloned().partition(is_urgent);
            self.order.extend(urgent.into_iter().map(|key| (*view, key)));
            paced.order = others.into();
        }
    }

    /// Takes what a tick has changed.
    pub(super) fn take(&mut self, tick: &SealedTick, views: &[ViewInfo]) {
        let as_of = tick.as_of();
        let before = self.sealed.map(|(_, times)| times).unwrap_or_default();
        self.sealed = Some((as_of, tick.times.after(&before)));
        for batch in &tick.batches {
            let Some(view) = views.iter().position(|view| view.name == batch.view) else { continue };
            for (key, value) in batch.changes() {
                self.wait((view, key), Waiting { value, times: tick.times, as_of });
            }
        }
        if !self.paced.is_empty() && self.urgency.as_mut().is_some_and(|urgency| urgency.look(tick)) {
            self.hurry(views);
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
                    Some(paced) => paced.order.push_back(place.1.clone()),
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

    /// True where something is on its way.
    pub(super) fn is_flying(&self) -> bool {
        !self.numbers.is_empty()
    }

    /// Of everything that waits, leaves what differs from the newest values that the topics hold, and
    /// tombstones for what they hold beyond it.
    pub(super) fn leave_what_differs(&mut self, published: Published, views: &[ViewInfo]) {
        let Published { mut newest, ends } = published;
        self.ends = ends;
        // Nothing was sent so far: of no tick before is anything to be told.
        self.marks.clear();
        let paced = &mut self.paced;
        self.waiting.retain(|(view, key), waiting| {
            let known = newest.remove(&(*view, topics::key(key, views[*view].key_fields).into_bytes()));
            let value = waiting.value.as_ref().map(|value| {
                let mut json = Vec::new();
                value.write_json(&mut json);
                hash128(&json)
            });
            let differs = value != known;
            if let (false, Some(paced), Some(value)) = (differs, paced.get_mut(view), &waiting.value) {
                paced.sent.insert(key.clone(), value.clone());
            }
            differs
        });
        let (as_of, times) = self.sealed.unwrap_or_default();
        let gone: BTreeMap<(usize, Vec<u8>), u128> = newest.into_iter().collect();
        for ((view, json), _) in gone {
            let names = views[view].key_fields;
            match topics::read_key(&json, &views[view]).filter(|key| topics::key(key, names).as_bytes() == json) {
                Some(key) => self.wait((view, key), Waiting { value: None, times, as_of }),
                None => {
                    let key = String::from_utf8_lossy(&json);
                    tracing::warn!(view = views[view].name, %key, "a key that is none of the view's is left alone");
                }
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
            let Some(Waiting { value, times, as_of }) = self.waiting.remove(&place) else { continue };
            let seq = self.next;
            self.next += 1;
            self.numbers.insert(seq);
            self.flying.insert(place.clone(), seq);
            if let Some(paced) = self.paced.get_mut(&place.0) {
                match &value {
                    Some(value) => _ = paced.sent.insert(place.1.clone(), value.clone()),
                    None => _ = paced.sent.remove(&place.1),
                }
            }
            if self.waiting.is_empty() {
                self.mark();
            }
            return Some(Flight { seq: Some(seq), view: place.0, key: place.1, value, times, as_of });
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
        let place = ((flight.view, partition), offset + 1);
        flight.seq.into_iter().for_each(|seq| _ = self.landed.insert(seq, place));
    }

    /// True where it was the last of its key.
    fn land(&mut self, flight: &Flight) -> bool {
        let Some(seq) = flight.seq else { return false };
        self.numbers.remove(&seq);
        let place = (flight.view, flight.key.clone());
        let is_last = self.flying.get(&place) == Some(&seq);
        if is_last {
            self.flying.remove(&place);
        }
        is_last
    }

    /// A value was not taken for want of room: it waits again, as the next one.
    pub(super) fn give_back(&mut self, flight: Flight) {
        let place = (flight.view, flight.key.clone());
        if self.wait_again(flight) {
            self.order.push_front(place);
        }
    }

    /// A value was refused: it waits until [`Outbox::retry`], and holds back no other.
    pub(super) fn set_aside(&mut self, flight: Flight) {
        let place = (flight.view, flight.key.clone());
        if self.wait_again(flight) {
            self.aside.push(place);
        }
    }

    /// True where the value of a flight waits again: where no newer one does or is on its way.
    fn wait_again(&mut self, flight: Flight) -> bool {
        if flight.is_progress() {
            return false;
        }
        let (is_last, place) = (self.land(&flight), (flight.view, flight.key));
        // Nothing that was to be told from here on holds any more.
        self.marks.clear();
        let waits_again = is_last && !self.waiting.contains_key(&place);
        if waits_again {
            self.waiting.insert(place, Waiting { value: flight.value, times: flight.times, as_of: flight.as_of });
        }
        if self.waiting.is_empty() {
            self.mark();
        }
        waits_again
    }

    /// Up to where everything is delivered; `None` where nothing is yet.
    pub(super) fn done(&mut self) -> Option<Done> {
        let first = self.numbers.first().copied().unwrap_or(u64::MAX);
        while let Some(mark) = self.marks.pop_front_if(|mark| mark.seq <= first) {
            let later = self.landed.split_off(&mark.seq);
            for (part, end) in std::mem::replace(&mut self.landed, later).into_values() {
                let known = self.ends.entry(part).or_default();
                *known = end.max(*known);
            }
            self.done = Some(mark);
        }
        let Mark { tick, times, seq } = self.done.as_ref()?;
        Some(Done { tick: *tick, times: *times, has_news: self.told != Some(*seq) })
    }

    /// Behind the last message of each partition of a view that belongs to what is done.
    pub(super) fn ends(&self, view: usize) -> impl Iterator<Item = (u32, u64)> {
        self.ends.range((view, 0)..=(view, u32::MAX)).map(|((_, partition), end)| (*partition, *end))
    }

    /// What is done was told.
    pub(super) fn told(&mut self) {
        self.told = self.done.as_ref().map(|mark| mark.seq);
    }
}

#[cfg(test)]
mod tests;
