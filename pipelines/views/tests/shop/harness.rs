//! Plays arrivals through the dataflow on several workers, as the pipeline does: records of a
//! tick are dealt to the workers, all workers cut at the same ticks, their parts are merged, and
//! up to two rounds are under way at once.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use etalage_model::{
    Group, Key, KeyFields, Message, Record, SealedBatch, SealedTick, Tick, TickTimes, Value, key::value_json,
};
use etalage_views::{
    Dataflow, ShopOptions, VIEWS, audit, bestsellers, oracle::History, people::identity, profile::identifiers, sellable,
};
use timely::{Config, WorkerConfig, worker::Worker};

use crate::promise;

/// The worker counts that everything is played with.
pub(crate) const WORKERS: [usize; 3] = [1, 2, 4];

/// The groups, which are played side by side and cut at the same ticks.
pub(crate) const GROUPS: [Group; 2] = [Group::Shop, Group::Customer];

/// Rounds that a worker takes before it has cut the first of them.
const ROUNDS_IN_FLIGHT: usize = 2;

/// How long a round may take before the dataflow counts as stuck.
const PATIENCE: Duration = Duration::from_secs(20);

/// Records with the ticks at which they arrive, in order.
pub(crate) type Arrivals = Vec<(Tick, Record)>;

/// View → key → JSON of the value.
pub(crate) type Rows = BTreeMap<&'static str, BTreeMap<Key, String>>;

/// A record of this message. Its content is told apart by the id alone, which is all that
/// deduplication needs here.
pub(crate) fn record(message: Message) -> Record {
    let content = etalage_model::hash::hash64(message.message_id().as_bytes());
    Record { message, content }
}

/// Plays `arrivals` on `workers` and cuts below each of `uppers`.
pub(crate) fn play(workers: usize, options: &ShopOptions, arrivals: &Arrivals, uppers: &[Tick]) -> Vec<SealedTick> {
    play_and_take_back(workers, options, arrivals, Vec::new(), uppers)
}

/// As [`play`]; in the last round `gone` is taken back, by the first worker.
pub(crate) fn play_and_take_back(
    workers: usize,
    options: &ShopOptions,
    arrivals: &Arrivals,
    gone: Vec<Record>,
    uppers: &[Tick],
) -> Vec<SealedTick> {
    let (shares, options, gone) = (Arc::new(deal(workers, arrivals, uppers)), options.clone(), Arc::new(gone));
    let ends: Arc<[Tick]> = uppers.into();
    let parts = on_workers(workers, move |worker| {
        let mut groups = GROUPS.map(|group| Dataflow::build(worker, group, options.clone()));
        let (mut parts, mut waiting) = (Vec::new(), VecDeque::new());
        for (batches, upper) in shares[worker.index()].iter().zip(ends.iter()) {
            for dataflow in &mut groups {
                batches.iter().for_each(|(tick, batch)| dataflow.send(Arc::clone(batch), *tick));
                if Some(upper) == ends.last() && worker.index() == 0 && !gone.is_empty() {
                    dataflow.update(Arc::clone(&gone), upper - 1, -1);
                }
                dataflow.advance(*upper);
            }
            waiting.push_back(*upper);
            if waiting.len() == ROUNDS_IN_FLIGHT {
                parts.extend(waiting.pop_front().map(|upper| cut(worker, &mut groups, upper)));
            }
        }
        parts.extend(waiting.into_iter().map(|upper| cut(worker, &mut groups, upper)));
        parts
    });
    merge_all(parts, uppers)
}

/// What `of_worker` gives on each of so many workers.
pub(crate) fn on_workers<T: Send + 'static>(
    workers: usize,
    of_worker: impl Fn(&mut Worker) -> T + Send + Sync + 'static,
) -> Vec<T> {
    let communication = timely::CommunicationConfig::Process(workers);
    let guards = timely::execute(Config { communication, worker: WorkerConfig::default() }, of_worker);
    let done = guards.expect("workers start").join().into_iter();
    done.map(|done| done.expect("no worker panics")).collect()
}

/// The parts of all workers as sealed ticks: each has one for each round.
pub(crate) fn merge_all(parts: Vec<Vec<Vec<SealedBatch>>>, uppers: &[Tick]) -> Vec<SealedTick> {
    let mut parts: Vec<_> = parts.into_iter().map(Vec::into_iter).collect();
    let mut lower = 0;
    let merged = uppers.iter().map(|upper| {
        let of_round = parts.iter_mut().flat_map(|parts| parts.next().expect("a part of each worker for each round"));
        merge(of_round, std::mem::replace(&mut lower, *upper), *upper)
    });
    merged.collect()
}

/// Batches of one round, with their ticks.
pub(crate) type Round = Vec<(Tick, Arc<Vec<Record>>)>;

/// What each worker gets in each round: the records of a tick in shares of equal size.
pub(crate) fn deal(workers: usize, arrivals: &Arrivals, uppers: &[Tick]) -> Vec<Vec<Round>> {
    let mut shares = vec![vec![Vec::new(); uppers.len()]; workers];
    for of_tick in arrivals.chunk_by(|(tick, _), (next, _)| tick == next) {
        let tick = of_tick[0].0;
        let round = uppers.partition_point(|upper| *upper <= tick);
        assert!(round < uppers.len(), "every arrival lies below some cut");
        for (share, records) in shares.iter_mut().zip(of_tick.chunks(of_tick.len().div_ceil(workers))) {
            let batch = records.iter().map(|(_, record)| record.clone()).collect();
            share[round].push((tick, Arc::new(batch)));
        }
    }
    shares
}

pub(crate) fn cut(worker: &mut Worker, groups: &mut [Dataflow], upper: Tick) -> Vec<SealedBatch> {
    let begun = Instant::now();
    while !groups.iter().all(|dataflow| dataflow.has_passed(upper)) {
        assert!(begun.elapsed() < PATIENCE, "the dataflow is stuck below {upper}");
        worker.step_or_park(Some(Duration::from_millis(1)));
    }
    groups.iter_mut().flat_map(|dataflow| dataflow.cut(upper)).collect()
}

fn merge(parts: impl Iterator<Item = SealedBatch>, lower: Tick, upper: Tick) -> SealedTick {
    let mut batches: BTreeMap<&'static str, SealedBatch> = BTreeMap::new();
    for part in parts {
        assert_eq!((part.lower, part.upper), (lower, upper), "parts of one round cover the same ticks");
        match batches.get_mut(part.view) {
            Some(batch) => batch.append(part),
            None => {
                batches.insert(part.view, part);
            }
        }
    }
    let batches = batches.into_values().collect();
    SealedTick { group: Group::Shop, lower, upper, times: TickTimes::default(), batches }
}

/// What a reader that keeps the newest value of each key holds after each tick. Checks that a key
/// changes at most once in a tick, and that a change is one.
pub(crate) fn follow(ticks: &[SealedTick]) -> Vec<Rows> {
    let mut rows = Rows::new();
    let after = ticks.iter().map(|tick| {
        for batch in &tick.batches {
            let of_view = rows.entry(batch.view).or_default();
            let mut changed = BTreeSet::new();
            for (key, value) in batch.changes() {
                assert!(changed.insert(key.clone()), "{} {key:?} changes twice below {}", batch.view, tick.upper);
                value.iter().for_each(|value| assert_read_as_it_is(batch.view, value));
                let value = value.as_ref().map(|value| value_json(value.as_ref()));
                let before = match &value {
                    Some(value) => of_view.insert(key.clone(), value.clone()),
                    None => of_view.remove(&key),
                };
                assert_ne!(before, value, "{} {key:?} is sealed below {} without a change", batch.view, tick.upper);
            }
        }
        rows.retain(|_, of_view| !of_view.is_empty());
        rows.clone()
    });
    after.collect()
}

/// Another process that gets the JSON of a value passes it on as it is, and knows of it what this one does.
fn assert_read_as_it_is(view: &str, value: &Value) {
    let json = value_json(value.as_ref());
    let read = (etalage_views::view(view).expect("what is sealed is a view").read)(json.clone().into_bytes());
    assert_eq!(value_json(read.as_ref()), json, "{view}");
    let known = |value: &Value| {
        let profile = (identity::RESOLVE.profile)(value.as_ref()).map(str::to_owned);
        let somebody = || (identity::VIEW.read)(br#"{"profile_id":"somebody"}"#.to_vec());
        let of_view = |view: &str, _: &KeyFields| match view {
            identity::NAME => Some(somebody()),
            _ => (view == identifiers::NAME).then(|| Arc::clone(value)),
        };
        (
            audit::items(value.as_ref()).collect::<Vec<_>>(),
            bestsellers::ranked(value.as_ref()).collect::<Vec<_>>(),
            sellable::is_sellable(value.as_ref()),
            profile,
            identifiers::identifiers_of("somebody", of_view),
        )
    };
    assert_eq!(known(&read), known(value), "{view}: {json}");
}

/// What the views that are on must hold at `tick`, by their oracles.
pub(crate) fn expected(options: &ShopOptions, admitted: &[(Tick, Message)], tick: Tick) -> Rows {
    let history = History { tick, options, admitted };
    let on = VIEWS.iter().filter(|view| options.is_on(view.name));
    let mut rows: Rows = on.map(|view| (view.name, (view.oracle)(&history))).collect();
    rows.retain(|_, of_view| !of_view.is_empty());
    rows
}

/// Each message of `arrivals` with the tick of its first arrival.
pub(crate) fn admitted(arrivals: &Arrivals) -> Vec<(Tick, Message)> {
    let mut known = BTreeSet::new();
    let first = arrivals.iter().filter(|(_, record)| known.insert(record.message.message_id()));
    first.map(|(tick, record)| (*tick, record.message.clone())).collect()
}

/// Plays on every worker count, checks everything that can be checked at every cut, and gives the
/// rows after each.
pub(crate) fn check(options: &ShopOptions, arrivals: &Arrivals, uppers: &[Tick]) -> Vec<Rows> {
    let admitted = admitted(arrivals);
    let expected: Vec<Rows> = uppers.iter().map(|upper| expected(options, &admitted, upper - 1)).collect();
    for workers in WORKERS {
        let ticks = play(workers, options, arrivals, uppers);
        for (tick, rows) in ticks.iter().zip(follow(&ticks)) {
            assert_eq!(promise::broken(&rows, options), Vec::<String>::new(), "at {} on {workers}", tick.as_of());
        }
        assert_eq!(promise::audited(&ticks), 0, "the audit finds nothing either");
        for ((rows, expected), upper) in follow(&ticks).iter().zip(&expected).zip(uppers) {
            for view in VIEWS {
                let (got, wanted) = (rows.get(view.name), expected.get(view.name));
                assert_eq!(got, wanted, "{} as of {} on {workers} workers", view.name, upper - 1);
            }
        }
    }
    expected
}
