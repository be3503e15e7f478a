//! Coalescing, refusals, progress, pace.

use std::sync::Arc;

use etalage_model::{Group, SealedBatch, Sym, ViewInfo};

use super::*;

const VIEW: &str = "set.bestsellers";

fn output(tells_changes: bool) -> Output {
    let view = ViewInfo {
        name: VIEW,
        group: Group::Shop,
        key_fields: &["scope"],
        about: "",
        is_personal: false,
        resolve: None,
        window_start: None,
    };
    Output { view, topic: String::new(), tells_changes }
}

/// An outbox of one topic, which holds the newest values.
fn outbox() -> Outbox {
    Outbox::new(vec![output(false)], &[], Box::new(SoldOut(false)))
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
        batches: vec![SealedBatch { upserts, ..SealedBatch::new(group, VIEW, lower, upper) }],
    }
}

fn done(outbox: &mut Outbox) -> Option<Tick> {
    outbox.done().map(|done| done.tick)
}

fn json(flight: &Flight) -> String {
    super::json(flight.value.as_ref())
}

#[test]
fn of_several_changes_that_wait_the_newest_is_sent() {
    let mut outbox = outbox();
    outbox.take(&tick(1, &[("a", Some(1)), ("b", Some(1))]));
    outbox.take(&tick(2, &[("a", Some(2))]));
    let first = outbox.next().unwrap();
    assert_eq!((json(&first).as_str(), first.as_of, first.times.first_arrival_us), ("2", 2, Some(1)));
    assert_eq!(json(&outbox.next().unwrap()), "1");
    assert!(outbox.next().is_none());
}

#[test]
fn a_tick_is_done_when_everything_up_to_it_has_arrived() {
    let mut outbox = outbox();
    outbox.take(&tick(1, &[("a", Some(1)), ("b", Some(1))]));
    let first = outbox.next().unwrap();
    assert_eq!(done(&mut outbox), None, "b waits");
    let second = outbox.next().unwrap();
    outbox.take(&tick(2, &[("a", Some(2))]));
    let third = outbox.next().unwrap();
    outbox.delivered(&third, 0, 12);
    outbox.delivered(&first, 0, 10);
    assert_eq!(done(&mut outbox), None, "b is on its way");
    outbox.delivered(&second, 1, 7);
    assert_eq!(done(&mut outbox), Some(2));
    assert_eq!(outbox.ends(0).collect::<Vec<_>>(), [(0, 13), (1, 8)]);
    assert!(outbox.done().unwrap().has_news);
    outbox.told();
    outbox.take(&tick(3, &[]));
    let done = outbox.done().unwrap();
    assert_eq!((done.tick, done.has_news), (3, false), "time passes without news");
}

/// What is told of a tick ends before what belongs to a later one.
#[test]
fn a_later_value_that_has_arrived_is_none_of_the_tick() {
    let mut outbox = outbox();
    outbox.take(&tick(1, &[("a", Some(1))]));
    let first = outbox.next().unwrap();
    outbox.take(&tick(2, &[("b", Some(1)), ("c", Some(1))]));
    let later = outbox.next().unwrap();
    outbox.delivered(&first, 0, 5);
    outbox.delivered(&later, 0, 6);
    assert_eq!(done(&mut outbox), Some(1));
    assert_eq!(outbox.ends(0).collect::<Vec<_>>(), [(0, 6)]);
}

#[test]
fn what_is_refused_holds_back_no_other_and_no_progress_is_told_until_it_is_taken() {
    let mut outbox = outbox();
    outbox.take(&tick(1, &[("large", Some(1)), ("b", Some(1))]));
    let [first, second] = [(); 2].map(|()| outbox.next().unwrap());
    let (large, b) = if first.key == key("large") { (first, second) } else { (second, first) };
    outbox.set_aside(large);
    outbox.delivered(&b, 0, 0);
    outbox.take(&tick(2, &[("b", Some(2))]));
    let b = outbox.next().unwrap();
    assert_eq!(json(&b), "2");
    outbox.delivered(&b, 0, 1);
    assert!(outbox.next().is_none());
    assert_eq!(done(&mut outbox), None);
    outbox.retry();
    let large = outbox.next().unwrap();
    assert_eq!(large.key, key("large"));
    outbox.delivered(&large, 0, 2);
    assert_eq!(done(&mut outbox), Some(2));
}

#[test]
fn what_did_not_arrive_waits_again_unless_there_is_something_newer() {
    let mut outbox = outbox();
    outbox.take(&tick(1, &[("a", Some(1)), ("b", Some(1)), ("c", Some(1))]));
    let [a, b, c] = [(); 3].map(|()| outbox.next().unwrap());
    outbox.take(&tick(2, &[("a", Some(2)), ("b", None)]));
    let newer = outbox.next().unwrap();
    assert_eq!(json(&newer), "2");
    outbox.give_back(a);
    outbox.give_back(b);
    outbox.give_back(c);
    assert_eq!(done(&mut outbox), None);
    let left: Vec<(Key, String)> =
        std::iter::from_fn(|| outbox.next()).map(|flight| (flight.key.clone(), json(&flight))).collect();
    assert_eq!(left, [(key("c"), "1".to_owned()), (key("b"), "null".to_owned())]);
    outbox.delivered(&newer, 0, 1);
    assert_eq!(done(&mut outbox), None, "b and c are on their way");
}

#[test]
fn only_what_differs_from_the_topics_is_sent_and_what_is_gone_gets_a_tombstone() {
    let mut outbox = outbox();
    outbox.take(&tick(3, &[]));
    outbox.take(&tick(9, &[("same", Some(1)), ("other", Some(2)), ("new", Some(3))]));
    let known =
        |scope: &str, value: &str| ((0, topics::key(&key(scope), &["scope"]).into_bytes()), hash128(value.as_bytes()));
    let newest = [known("same", "1"), known("other", "1"), known("gone", "7")].into_iter().collect();
    outbox.leave_what_differs(Published { newest, ends: BTreeMap::from([((0, 0), 40)]), ..Published::default() });
    assert_eq!(done(&mut outbox), None, "what the topics hold is of no tick before");
    let mut left: Vec<(Key, String)> = Vec::new();
    while let Some(flight) = outbox.next() {
        left.push((flight.key.clone(), json(&flight)));
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
    fn concerns(&self, _view: &str) -> bool {
        true
    }
    fn is_urgent(&self, _view: &str, step: &Step<'_>) -> bool {
        self.0 && step.sent.is_some_and(|sent| etalage_model::key::value_json(&**sent).ends_with(['1', '3']))
    }
}

#[test]
fn changes_of_a_paced_view_wait_unless_the_topic_shows_what_is_sold_out() {
    let mut outbox = Outbox::new(vec![output(false)], &[0], Box::new(SoldOut(false)));
    outbox.take(&tick(1, &[("a", Some(1)), ("b", Some(2))]));
    assert!(outbox.next().is_none(), "both wait");
    outbox.release(0);
    let sent = [(); 2].map(|()| outbox.next().unwrap());
    sent.iter().zip(0..).for_each(|(flight, at)| outbox.delivered(flight, 0, at));
    assert_eq!(done(&mut outbox), Some(1));

    // `a` loses x by rank in tick 4, which can wait; in tick 5 x is sold out, and the topic shows it.
    outbox.take(&tick(4, &[("a", Some(2)), ("b", Some(4))]));
    assert!(outbox.next().is_none());
    outbox.take(&tick(5, &[]));
    let urgent = outbox.next().unwrap();
    assert_eq!((urgent.key.clone(), json(&urgent)), (key("a"), "2".to_owned()));
    assert!(outbox.next().is_none(), "b does not show it");
    outbox.delivered(&urgent, 0, 2);
    assert_eq!(done(&mut outbox), Some(1), "b still waits");
    outbox.release(0);
    assert_eq!(json(&outbox.next().unwrap()), "4");
}

/// What is told: before, after; and what was sent of it.
fn told(flight: &Flight) -> (String, String) {
    (super::json(flight.before.as_ref()), json(flight))
}

fn change_stream() -> Outbox {
    Outbox::new(vec![output(true)], &[], Box::new(SoldOut(false)))
}

/// Everything that may be sent.
fn round(outbox: &mut Outbox) -> Vec<Flight> {
    assert!(outbox.goes_in_rounds() && !outbox.is_flying());
    std::iter::from_fn(|| outbox.next()).collect()
}

#[test]
fn what_stood_after_a_change_stands_before_the_next_whatever_is_refused() {
    let mut outbox = change_stream();
    outbox.take(&tick(1, &[("a", Some(1))]));
    let [first] = round(&mut outbox).try_into().unwrap();
    assert_eq!(told(&first), ("null".into(), "1".into()));
    outbox.take(&tick(2, &[("a", Some(2))]));
    outbox.take(&tick(3, &[("a", Some(3))]));
    outbox.delivered(&first, 0, 0);
    let [second] = round(&mut outbox).try_into().unwrap();
    assert_eq!(told(&second), ("1".into(), "3".into()));
    // It was refused: the next says what stood before it.
    outbox.take(&tick(4, &[("a", Some(4))]));
    outbox.set_aside(second);
    let [again] = round(&mut outbox).try_into().unwrap();
    assert_eq!(told(&again), ("1".into(), "4".into()));
    outbox.delivered(&again, 0, 2);
    outbox.retry();
    assert!(round(&mut outbox).is_empty());
    assert_eq!(done(&mut outbox), Some(4));
}

/// Keys that change in every tick, and messages that take several: there is always one on its way and a newer value.
#[test]
fn progress_goes_on_while_keys_change_without_a_pause() {
    let mut outbox = Outbox::new(vec![output(false), output(true)], &[], Box::new(SoldOut(false)));
    let (mut flying, mut rounds) = (Vec::new(), 0);
    for at in 1..=60 {
        let gone = at % 3 == 0;
        outbox.take(&tick(at, &[("a", Some(at)), ("b", (!gone).then_some(at)), ("c", gone.then_some(at))]));
        if !outbox.is_flying() {
            flying = round(&mut outbox);
            rounds += 1;
        }
        // Half of them take a tick longer.
        let half = flying.len().div_ceil(2);
        flying.drain(..half).zip(0..).for_each(|(flight, offset)| outbox.delivered(&flight, 0, at * 10 + offset));
        let so_far = done(&mut outbox);
        assert!(at < 20 || so_far.is_some_and(|tick| tick + 20 > at), "progress stands still at {at}");
        assert!(outbox.landed.len() < 20);
    }
    assert!(rounds < 40, "the next round waits for the one before");
}

#[test]
fn of_a_key_that_has_no_value_any_more_a_tombstone_follows_and_of_nothing_nothing_is_told() {
    let mut outbox = change_stream();
    outbox.take(&tick(1, &[("a", Some(1))]));
    let [first] = round(&mut outbox).try_into().unwrap();
    outbox.take(&tick(2, &[("a", Some(2))]));
    outbox.take(&tick(3, &[("a", Some(1))]));
    outbox.delivered(&first, 0, 0);
    assert!(round(&mut outbox).is_empty(), "it is as it was");
    assert_eq!(done(&mut outbox), Some(3));
    outbox.take(&tick(4, &[("a", None)]));
    let [gone, tombstone] = round(&mut outbox).try_into().unwrap();
    assert_eq!(told(&gone), ("1".into(), "null".into()));
    assert_eq!(told(&tombstone), ("null".into(), "null".into()));
    outbox.delivered(&gone, 0, 1);
    assert_eq!(done(&mut outbox), Some(3));
    outbox.delivered(&tombstone, 0, 2);
    assert_eq!((done(&mut outbox), round(&mut outbox).is_empty()), (Some(4), true));
}

/// A paced change stream keeps its pace, however often its keys change.
#[test]
fn a_paced_change_stream_waits_until_it_is_released() {
    let mut outbox = Outbox::new(vec![output(true)], &[0], Box::new(SoldOut(false)));
    outbox.take(&tick(1, &[("a", Some(2))]));
    outbox.release(0);
    let [first] = round(&mut outbox).try_into().unwrap();
    outbox.take(&tick(2, &[("a", Some(4))]));
    outbox.delivered(&first, 0, 0);
    assert!(round(&mut outbox).is_empty(), "it waits");
    outbox.release(0);
    let [second] = round(&mut outbox).try_into().unwrap();
    // A newer value of what did not arrive waits no longer than that would have.
    outbox.take(&tick(3, &[("a", Some(6))]));
    outbox.give_back(second);
    let [again] = round(&mut outbox).try_into().unwrap();
    assert_eq!(told(&again), ("2".into(), "6".into()));
}

/// What stood before is not written anew where it may be of somebody who was erased.
#[test]
fn of_people_a_tombstone_alone_tells_that_a_key_has_no_value_any_more() {
    let mut personal = output(true);
    personal.view.is_personal = true;
    let mut outbox = Outbox::new(vec![personal], &[], Box::new(SoldOut(false)));
    outbox.take(&tick(1, &[("a", Some(1))]));
    let first = outbox.next().unwrap();
    outbox.delivered(&first, 0, 0);
    outbox.take(&tick(2, &[("a", None)]));
    let gone = outbox.next().unwrap();
    let payload = |flight: &Flight, outbox: &Outbox| {
        outbox.outputs()[0].payload(9, flight.before.as_ref(), flight.value.as_ref())
    };
    assert_eq!(payload(&gone, &outbox), None);
    let after = r#"{"as_of":"1970-01-01T00:00:00.000009Z","before":null,"after":1}"#;
    assert_eq!(payload(&first, &outbox).as_deref(), Some(after));
    outbox.delivered(&gone, 0, 1);
    assert_eq!((done(&mut outbox), outbox.next().is_none()), (Some(2), true));
}

#[test]
fn a_change_stream_goes_on_from_what_the_topic_holds() {
    let mut outbox = change_stream();
    outbox.take(&tick(9, &[("same", Some(1)), ("other", Some(2)), ("new", Some(3))]));
    let place = |scope: &str| (0, topics::key(&key(scope), &["scope"]).into_bytes());
    let known = [("same", "1"), ("other", "8"), ("gone", "7")];
    let newest = known.iter().map(|(scope, value)| (place(scope), hash128(value.as_bytes()))).collect();
    let held = known.iter().map(|(scope, value)| (place(scope), value.as_bytes().to_vec())).collect();
    // Somebody was killed between the end of a key and its tombstone.
    let ended = [place("ended"), place("new")].into_iter().collect();
    outbox.leave_what_differs(Published { newest, told: held, ended, ends: BTreeMap::new() });
    let mut changes = BTreeMap::new();
    while let Some(flight) = outbox.next() {
        outbox.delivered(&flight, 0, changes.len() as u64);
        changes.entry(flight.key.clone()).or_insert_with(Vec::new).push(told(&flight));
    }
    let change = |before: &str, after: &str| (before.to_owned(), after.to_owned());
    assert_eq!(changes[&key("other")], [change("8", "2")]);
    assert_eq!(changes[&key("new")], [change("null", "3")]);
    assert_eq!(changes[&key("gone")], [change("7", "null"), change("null", "null")]);
    assert_eq!(changes[&key("ended")], [change("null", "null")]);
    assert_eq!(changes.len(), 4);
    outbox.take(&tick(10, &[("same", Some(5))]));
    assert_eq!(told(&outbox.next().unwrap()), change("1", "5"));
}

/// Whatever was sent since a checkpoint, and has arrived or not: it is as if it had not been.
#[test]
fn what_is_rolled_back_waits_again_as_it_was() {
    let mut outbox = Outbox::new(vec![output(false), output(true)], &[], Box::new(SoldOut(false)));
    outbox.take(&tick(1, &[("a", Some(1)), ("b", Some(1))]));
    let sent = |outbox: &mut Outbox| std::iter::from_fn(|| outbox.next()).collect::<Vec<_>>();
    for (flight, at) in sent(&mut outbox).iter().zip(0..) {
        outbox.delivered(flight, 0, at);
    }
    assert_eq!(done(&mut outbox), Some(1));
    outbox.told();
    outbox.take(&tick(2, &[("a", Some(2)), ("b", None)]));
    let before = outbox.checkpoint();
    let flights = sent(&mut outbox);
    assert_eq!(flights.len(), 5, "the end of b in the stream has a tombstone");
    flights.iter().for_each(|flight| outbox.delivered(flight, 0, 50));
    outbox.take(&tick(3, &[("a", Some(3))]));
    let (refused, others) = flights.into_iter().partition(|flight| flight.output == 0 && flight.key == key("a"));
    outbox.roll_back(before, others, refused);
    assert_eq!(done(&mut outbox), Some(1));
    assert!(outbox.ends(0).chain(outbox.ends(1)).all(|(_, end)| end <= 4), "no offset is told that nobody sees");
    let again = sent(&mut outbox);
    let mut told = BTreeMap::new();
    for flight in &again {
        told.entry((flight.output, flight.key.clone())).or_insert(self::told(flight));
    }
    assert_eq!(told[&(1, key("a"))], ("1".into(), "3".into()));
    assert_eq!(told[&(1, key("b"))], ("1".into(), "null".into()));
    assert_eq!(told[&(0, key("b"))].1, "null");
    assert_eq!(told[&(0, key("a"))].1, "3", "a newer value does not wait for what was refused");
    again.iter().zip(60..).for_each(|(flight, at)| outbox.delivered(flight, 0, at));
    sent(&mut outbox).iter().zip(70..).for_each(|(flight, at)| outbox.delivered(flight, 0, at));
    outbox.retry();
    assert!(outbox.next().is_none());
    assert_eq!(done(&mut outbox), Some(3));
    assert!(outbox.done().unwrap().has_news);
}
