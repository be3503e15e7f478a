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

/// Says which changes must not wait, where the changes of a view otherwise do.
pub trait Urgency: Send {
    /// Looks at a tick; true where something in it makes changes urgent that were not before.
    fn look(&mut self, tick: &SealedTick) -> bool;
    /// Whether a change of `view` must be sent at once: from what was `sent` last to what is `new`.
    fn is_urgent(&self, view: &str, sent: Option<&Value>, new: Option<&Value>) -> bool;
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

    /// Lets everything be sent that waits of a paced view.
    pub(super) fn release(&mut self, view: usize) {
        let keys = self.paced.get_mut(&view).map(|paced| std::mem::take(&mut paced.order));
        self.order.extend(keys.into_iter().flatten().map(|key| (view, key)));
    }

    /// Lets everything be sent that is urgent now.
    fn hurry(&mut self, views: &[ViewInfo]) {
        let Some(urgency) = &self.urgency else { return };
        for (view, paced) in &mut self.paced {
            let is_urgent = |key: &Key| {
                let new = self.waiting.get(&(*view, *key));
                new.is_some_and(|new| urgency.is_urgent(views[*view].name, paced.sent.get(key), new.value.as_ref()))
            };
            let (urgent, others): (Vec<Key>, Vec<Key>) = paced.order.iter().partition(|key| is_urgent(key));
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
            for (key, value) in &batch.upserts {
                self.wait((view, *key), Waiting { value: value.clone(), times: tick.times, as_of });
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
                    Some(paced) => paced.order.push_back(place.1),
                    None => self.order.push_back(place),
                }
                self.waiting.insert(place, new);
            }
        }
    }

    /// How many keys wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
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
        self.waiting.retain(|(view, key), waiting| {
            let known = newest.remove(&(*view, topics::key(key, views[*view].key_fields).into_bytes()));
            let value = waiting.value.as_ref().map(|value| {
                let mut json = Vec::new();
                value.write_json(&mut json);
                hash128(&json)
            });
            value != known
        });
        let (as_of, times) = self.sealed.unwrap_or_default();
        let gone: BTreeMap<(usize, Vec<u8>), u128> = newest.into_iter().collect();
        for ((view, json), _) in gone {
            let names = views[view].key_fields;
            match topics::read_key(&json, names) {
                Some(key) => self.wait((view, key), Waiting { value: None, times, as_of }),
                None => {
                    let key = String::from_utf8_lossy(&json);
                    tracing::warn!(view = views[view].name, %key, "a key that is none of the view's is left alone");
                }
            }
        }
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
            self.flying.insert(place, seq);
            if let Some(paced) = self.paced.get_mut(&place.0) {
                match &value {
                    Some(value) => _ = paced.sent.insert(place.1, value.clone()),
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
        let place = (flight.view, flight.key);
        let is_last = self.flying.get(&place) == Some(&seq);
        if is_last {
            self.flying.remove(&place);
        }
        is_last
    }

    /// A value has not arrived: it waits again, unless a newer one does or is on its way.
    pub(super) fn give_back(&mut self, flight: Flight) {
        if flight.seq.is_none() {
            return;
        }
        let (is_last, place) = (self.land(&flight), (flight.view, flight.key));
        // Nothing that was to be told from here on holds any more.
        self.marks.clear();
        if is_last && !self.waiting.contains_key(&place) {
            self.order.push_front(place);
            self.waiting.insert(place, Waiting { value: flight.value, times: flight.times, as_of: flight.as_of });
        }
        if self.waiting.is_empty() {
            self.mark();
        }
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
mod tests {
    use std::sync::Arc;

    use etalage_model::{Group, SealedBatch, Sym};

    use super::*;

    const VIEW: &str = "set.bestsellers";

    fn views() -> Vec<ViewInfo> {
        vec![ViewInfo { name: VIEW, group: Group::Shop, key_fields: &["scope"], about: "", window_start: None }]
    }

    fn key(scope: &str) -> Key {
        Key::new(&[Sym::new(scope)])
    }

    /// A tick with these changes; a value is a number.
    fn tick(at: Tick, changes: &[(&str, Option<u64>)]) -> SealedTick {
        let value = |value: &Option<u64>| value.map(|value| Arc::new(value) as Value);
        let upserts: Vec<(Key, Option<Value>)> = changes.iter().map(|(scope, to)| (key(scope), value(to))).collect();
        let (lower, upper, group) = (at, at + 1, Group::Shop);
        let times = TickTimes { first_arrival_us: Some(at), ..TickTimes::default() };
        SealedTick {
            group,
            lower,
            upper,
            times,
            batches: vec![SealedBatch { group, view: VIEW, lower, upper, upserts }],
        }
    }

    fn done(outbox: &mut Outbox) -> Option<Tick> {
        outbox.done().map(|done| done.tick)
    }

    fn json(flight: &Flight) -> String {
        flight.value.as_ref().map_or("null".to_owned(), |value| etalage_model::key::value_json(&**value))
    }

    #[test]
    fn of_several_changes_that_wait_the_newest_is_sent() {
        let mut outbox = Outbox::default();
        outbox.take(&tick(1, &[("a", Some(1)), ("b", Some(1))]), &views());
        outbox.take(&tick(2, &[("a", Some(2))]), &views());
        let first = outbox.next().unwrap();
        assert_eq!((json(&first).as_str(), first.as_of, first.times.first_arrival_us), ("2", 2, Some(1)));
        assert_eq!(json(&outbox.next().unwrap()), "1");
        assert!(outbox.next().is_none());
    }

    #[test]
    fn a_tick_is_done_when_everything_up_to_it_has_arrived() {
        let mut outbox = Outbox::default();
        outbox.take(&tick(1, &[("a", Some(1)), ("b", Some(1))]), &views());
        let first = outbox.next().unwrap();
        assert_eq!(done(&mut outbox), None, "b waits");
        let second = outbox.next().unwrap();
        outbox.take(&tick(2, &[("a", Some(2))]), &views());
        let third = outbox.next().unwrap();
        outbox.delivered(&third, 0, 12);
        outbox.delivered(&first, 0, 10);
        assert_eq!(done(&mut outbox), None, "b is on its way");
        outbox.delivered(&second, 1, 7);
        assert_eq!(done(&mut outbox), Some(2));
        assert_eq!(outbox.ends(0).collect::<Vec<_>>(), [(0, 13), (1, 8)]);
        assert!(outbox.done().unwrap().has_news);
        outbox.told();
        outbox.take(&tick(3, &[]), &views());
        let done = outbox.done().unwrap();
        assert_eq!((done.tick, done.has_news), (3, false), "time passes without news");
    }

    /// What is told of a tick ends before what belongs to a later one.
    #[test]
    fn a_later_value_that_has_arrived_is_none_of_the_tick() {
        let mut outbox = Outbox::default();
        outbox.take(&tick(1, &[("a", Some(1))]), &views());
        let first = outbox.next().unwrap();
        outbox.take(&tick(2, &[("b", Some(1)), ("c", Some(1))]), &views());
        let later = outbox.next().unwrap();
        outbox.delivered(&first, 0, 5);
        outbox.delivered(&later, 0, 6);
        assert_eq!(done(&mut outbox), Some(1));
        assert_eq!(outbox.ends(0).collect::<Vec<_>>(), [(0, 6)]);
    }

    #[test]
    fn what_did_not_arrive_waits_again_unless_there_is_something_newer() {
        let mut outbox = Outbox::default();
        outbox.take(&tick(1, &[("a", Some(1)), ("b", Some(1)), ("c", Some(1))]), &views());
        let [a, b, c] = [(); 3].map(|()| outbox.next().unwrap());
        outbox.take(&tick(2, &[("a", Some(2)), ("b", None)]), &views());
        let newer = outbox.next().unwrap();
        assert_eq!(json(&newer), "2");
        outbox.give_back(a);
        outbox.give_back(b);
        outbox.give_back(c);
        assert_eq!(done(&mut outbox), None);
        let left: Vec<(Key, String)> =
            std::iter::from_fn(|| outbox.next()).map(|flight| (flight.key, json(&flight))).collect();
        assert_eq!(left, [(key("c"), "1".to_owned()), (key("b"), "null".to_owned())]);
        outbox.delivered(&newer, 0, 1);
        assert_eq!(done(&mut outbox), None, "b and c are on their way");
    }

    #[test]
    fn only_what_differs_from_the_topics_is_sent_and_what_is_gone_gets_a_tombstone() {
        let mut outbox = Outbox::default();
        outbox.take(&tick(3, &[]), &views());
        outbox.take(&tick(9, &[("same", Some(1)), ("other", Some(2)), ("new", Some(3))]), &views());
        let known = |scope: &str, value: &str| {
            ((0, topics::key(&key(scope), &["scope"]).into_bytes()), hash128(value.as_bytes()))
        };
        let newest = [known("same", "1"), known("other", "1"), known("gone", "7")].into_iter().collect();
        outbox.leave_what_differs(Published { newest, ends: BTreeMap::from([((0, 0), 40)]) }, &views());
        assert_eq!(done(&mut outbox), None, "what the topics hold is of no tick before");
        let mut left: Vec<(Key, String)> = Vec::new();
        while let Some(flight) = outbox.next() {
            left.push((flight.key, json(&flight)));
            outbox.delivered(&flight, 0, 40 + left.len() as u64);
        }
        left.sort();
        let expected =
            [("gone", "null"), ("new", "3"), ("other", "2")].map(|(scope, value)| (key(scope), value.to_owned()));
        assert_eq!(left, expected);
        assert_eq!(done(&mut outbox), Some(9));
        assert_eq!(outbox.ends(0).collect::<Vec<_>>(), [(0, 44)]);
    }

    /// Item `x` is sold out from tick 5 on; a set is its number, and shows `x` where that is odd.
    struct SoldOut(bool);

    impl Urgency for SoldOut {
        fn look(&mut self, tick: &SealedTick) -> bool {
            self.0 = tick.as_of() == 5;
            self.0
        }
        fn is_urgent(&self, _view: &str, sent: Option<&Value>, _new: Option<&Value>) -> bool {
            self.0 && sent.is_some_and(|sent| etalage_model::key::value_json(&**sent).ends_with(['1', '3']))
        }
    }

    #[test]
    fn changes_of_a_paced_view_wait_unless_the_topic_shows_what_is_sold_out() {
        let mut outbox = Outbox::new([0], Box::new(SoldOut(false)));
        outbox.take(&tick(1, &[("a", Some(1)), ("b", Some(2))]), &views());
        assert!(outbox.next().is_none(), "both wait");
        outbox.release(0);
        let sent = [(); 2].map(|()| outbox.next().unwrap());
        sent.iter().zip(0..).for_each(|(flight, at)| outbox.delivered(flight, 0, at));
        assert_eq!(done(&mut outbox), Some(1));

        // `a` loses x by rank in tick 4, which can wait; in tick 5 x is sold out, and the topic shows it.
        outbox.take(&tick(4, &[("a", Some(2)), ("b", Some(4))]), &views());
        assert!(outbox.next().is_none());
        outbox.take(&tick(5, &[]), &views());
        let urgent = outbox.next().unwrap();
        assert_eq!((urgent.key, json(&urgent)), (key("a"), "2".to_owned()));
        assert!(outbox.next().is_none(), "b does not show it");
        outbox.delivered(&urgent, 0, 2);
        assert_eq!(done(&mut outbox), Some(1), "b still waits");
        outbox.release(0);
        assert_eq!(json(&outbox.next().unwrap()), "4");
    }
}
