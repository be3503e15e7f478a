//! Drives an operator in a dataflow on several workers and tells what came out.
//!
//! Input is dealt to the workers and shuffled by a seed, each worker moves its frontier in uneven
//! steps of its own (many ticks at once, or none), and the dataflow gets a random share of the
//! processor in between. The same seed deals, shuffles and steps the same way.
//!
//! Every run also checks that nothing comes out above the last tick, that the frontier passes it,
//! and that closing the inputs brings out nothing more.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use differential_dataflow::{
    AsCollection, ExchangeData,
    difference::{IsZero, Semigroup},
    input::Input,
};
use smallvec::SmallVec;
use timely::{Config, dataflow::operators::vec::Map, worker::Worker};

use crate::{
    Collection, Tick,
    lanes::Lanes,
    shell::{Exports, Restored, Steps, Wiring},
    table::hash_of,
};

/// The worker counts that every operator is tested with.
pub(crate) const WORKERS: [usize; 3] = [1, 2, 4];

/// How long a dataflow may take before its frontier counts as stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// Updates of a collection.
pub(crate) type Updates<D, R = isize> = Vec<(D, Tick, R)>;

/// A collection as accumulated at some tick.
pub(crate) type Snapshot<D, R = isize> = BTreeMap<D, R>;

/// What is fed to a dataflow, and how.
#[derive(Clone, Debug)]
pub(crate) struct Drive<D, R, Row> {
    pub(crate) workers: usize,
    pub(crate) seed: u64,
    pub(crate) input: Updates<D, R>,
    /// The run ends when this tick is complete.
    pub(crate) last: Tick,
    /// Rows of an earlier run, and the tick at which they count.
    pub(crate) imports: Option<(Tick, Vec<Row>)>,
    /// The tick at which to export, and how many rows a slice has.
    pub(crate) export: Option<(Tick, usize)>,
    /// Whether the dataflow may go on beyond the last tick when the inputs close, as
    /// differential's own operators do.
    pub(crate) goes_on: bool,
    /// Whether the output is looked at only where the frontiers stop, which is then the same on
    /// all workers.
    pub(crate) in_steps: bool,
}

/// Builds a dataflow from its input.
pub(crate) type Build<D, R, Row, O, OR> =
    dyn for<'s> Fn(Collection<'s, D, R>, Wiring<'s, Row>) -> Collection<'s, O, OR> + Send + Sync;

/// What came out of a dataflow, on all workers together.
pub(crate) struct Driven<O, OR, Row> {
    pub(crate) out: Updates<O, OR>,
    pub(crate) rows: Vec<Row>,
}

impl<D, R, Row> Drive<D, R, Row>
where
    D: ExchangeData + Sync,
    R: ExchangeData + Semigroup + Sync,
    Row: ExchangeData + Sync,
{
    /// Feeds `input` on `workers` workers until `last` is complete.
    pub(crate) fn new(workers: usize, seed: u64, input: &Updates<D, R>, last: Tick) -> Self {
        let (imports, export) = (None, None);
        Drive { workers, seed, input: input.clone(), last, imports, export, goes_on: false, in_steps: false }
    }

    /// Announces steps; the output is exact at [`Drive::ends`].
    pub(crate) fn in_steps(self) -> Self {
        Drive { in_steps: true, ..self }
    }

    /// The ends of the steps.
    pub(crate) fn ends(&self) -> BTreeSet<Tick> {
        uppers(self, &mut dice_of(self, 0)).into_iter().filter_map(|upper| upper.checked_sub(1)).collect()
    }

    /// Leaves out what comes out beyond the last tick when the inputs close.
    pub(crate) fn and_goes_on(self) -> Self {
        Drive { goes_on: true, ..self }
    }

    /// Runs the dataflow that `build` builds.
    pub(crate) fn run<O, OR>(self, build: &Arc<Build<D, R, Row, O, OR>>) -> Driven<O, OR, Row>
    where
        O: Clone + Send + 'static,
        OR: Clone + Send + 'static,
    {
        let build = Arc::clone(build);
        let failed = Arc::new(AtomicBool::new(false));
        let workers = self.workers;
        let guards = timely::execute(Config::process(workers), move |worker| {
            let _flag = RaiseOnPanic(Arc::clone(&failed));
            work(worker, &self, &failed, &*build)
        });
        let mut all = Driven { out: Vec::new(), rows: Vec::new() };
        for result in guards.expect("timely starts").join() {
            let part = result.expect("a worker failed");
            all.out.extend(part.out);
            all.rows.extend(part.rows);
        }
        all
    }
}

/// Tells the other workers of a panic: they would wait for this worker's frontier for ever.
struct RaiseOnPanic(Arc<AtomicBool>);

impl Drop for RaiseOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

fn work<D, R, Row, O, OR>(
    worker: &mut Worker,
    drive: &Drive<D, R, Row>,
    failed: &AtomicBool,
    build: &Build<D, R, Row, O, OR>,
) -> Driven<O, OR, Row>
where
    D: ExchangeData,
    R: ExchangeData + Semigroup,
    Row: ExchangeData,
    O: Clone + 'static,
    OR: Clone + 'static,
{
    let index = worker.index();
    let exports = Exports::in_slices_of(drive.export.map_or(1, |(_, slice_rows)| slice_rows));
    let (out, steps) = (Rc::new(RefCell::new(Vec::new())), Steps::default());
    let (mut input, mut rows, probe) = worker.dataflow::<Tick, _, _>(|scope| {
        let (input, data) = scope.new_collection::<D, R>();
        let (rows, imports) = scope.new_collection::<Row, isize>();
        let (exports, steps, restored) = (exports.clone(), steps.clone(), Restored::default());
        let wiring = Wiring { name: "Tested", imports: imports.inner, exports, steps, restored };
        let sink = Rc::clone(&out);
        let seen = build(data, wiring).inspect(move |update| sink.borrow_mut().push(update.clone()));
        (input, rows, seen.probe().0)
    });
    let wait = |worker: &mut Worker, is_over: &mut dyn FnMut(&Worker) -> bool| wait(worker, failed, is_over);
    for (row, at) in dealt(drive.imports.iter().flat_map(|(at, rows)| rows.iter().map(|row| (row, *at))), drive, index)
    {
        rows.update_at(row.clone(), at, 1);
    }
    let mut rows = Some(rows);
    let mut mine = dealt(drive.input.iter(), drive, index);
    let mut dice = dice_of(drive, index);
    let mut wanted = drive.export.map(|(at, _)| at);
    for upper in uppers(drive, &mut dice) {
        if wanted.is_some_and(|at| at < upper) {
            exports.request(wanted.take().expect("a tick"));
        }
        for (data, tick, diff) in mine.extract_if(.., |(_, tick, _)| *tick < upper) {
            input.update_at(data.clone(), *tick, diff.clone());
        }
        if drive.in_steps {
            steps.announce(upper);
        }
        input.advance_to(upper);
        input.flush();
        if dice.below(3) == 0 {
            rows = None;
        }
        (0..dice.below(3)).for_each(|_| _ = worker.step());
    }
    drop(rows);
    wait(worker, &mut |_| !probe.less_equal(&drive.last));
    let mut exported = Vec::new();
    if drive.export.is_some() {
        wait(worker, &mut |_| {
            let (slice, is_done) = exports.take();
            exported.extend(slice);
            is_done
        });
    }
    let at_last = out.borrow().len();
    drop(input);
    wait(worker, &mut |worker| !worker.has_dataflows());
    Driven { out: checked(out.take(), at_last, drive), rows: exported }
}

/// The output, which must be no more than it was before the inputs closed, and of no later tick.
fn checked<D, R, Row, O, OR>(
    mut out: Updates<O, OR>,
    before_the_close: usize,
    drive: &Drive<D, R, Row>,
) -> Updates<O, OR> {
    if drive.goes_on {
        out.retain(|(_, tick, _)| *tick <= drive.last);
    }
    assert_eq!(out.len(), before_the_close, "closing the inputs brings out nothing");
    assert!(out.iter().all(|(_, tick, _)| *tick <= drive.last), "nothing comes out ahead of time");
    out
}

/// Steps until `is_over`; fails where another worker did, or where nothing moves any more.
fn wait(worker: &mut Worker, failed: &AtomicBool, is_over: &mut dyn FnMut(&Worker) -> bool) {
    let begun = Instant::now();
    while !is_over(worker) {
        assert!(!failed.load(Ordering::SeqCst), "another worker failed");
        assert!(begun.elapsed() < PATIENCE, "the dataflow stands still");
        worker.step_or_park(Some(Duration::from_millis(1)));
    }
}

/// The part of `all` that is dealt to worker `index`, shuffled.
fn dealt<T, D, R, Row>(all: impl Iterator<Item = T>, drive: &Drive<D, R, Row>, index: usize) -> Vec<T> {
    let place = |at: usize| hash_of(&(drive.seed, at));
    let mut mine: Vec<(u64, T)> = all
        .enumerate()
        .map(|(at, item)| (place(at), item))
        .filter(|(place, _)| *place as usize % drive.workers == index)
        .collect();
    mine.sort_by_key(|(place, _)| *place);
    mine.into_iter().map(|(_, item)| item).collect()
}

/// What chance decides on a worker.
fn dice_of<D, R, Row>(drive: &Drive<D, R, Row>, worker: usize) -> Dice {
    Dice::new((drive.seed, if drive.in_steps { 0 } else { worker }))
}

/// Where a worker's frontier stops on its way past the last tick.
fn uppers<D, R, Row>(drive: &Drive<D, R, Row>, dice: &mut Dice) -> BTreeSet<Tick> {
    let ticks = drive.input.iter().map(|(_, tick, _)| *tick).chain(drive.imports.iter().map(|(at, _)| *at));
    let mut uppers: BTreeSet<Tick> = ticks.flat_map(|tick| [tick, tick + 1]).collect();
    let first = uppers.first().copied().unwrap_or(0).min(drive.last);
    uppers.extend((0..8).map(|_| first + dice.below(drive.last - first + 1)));
    uppers.retain(|upper| *upper <= drive.last && dice.below(2) == 0);
    uppers.insert(drive.last + 1);
    uppers
}

/// Random numbers from a seed.
pub(crate) struct Dice(u64, u64);

impl Dice {
    pub(crate) fn new(seed: impl std::hash::Hash) -> Self {
        Dice(hash_of(&seed), 0)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.1 += 1;
        hash_of(&(self.0, self.1)) % limit
    }
}

/// What `updates` accumulate to at each of `ticks`.
pub(crate) fn at_ticks<D: Ord + Clone, R: Semigroup>(
    updates: &Updates<D, R>,
    ticks: &BTreeSet<Tick>,
) -> BTreeMap<Tick, Snapshot<D, R>> {
    let mut in_order: Vec<&(D, Tick, R)> = updates.iter().collect();
    in_order.sort_by_key(|(_, tick, _)| *tick);
    let (mut place, mut now) = (0, Snapshot::new());
    let mut at = |tick: Tick| {
        while let Some((data, _, diff)) = in_order.get(place).filter(|(_, other, _)| *other <= tick) {
            add(&mut now, data, diff);
            place += 1;
        }
        (tick, now.clone())
    };
    ticks.iter().map(|tick| at(*tick)).collect()
}

/// Adds to a snapshot, in which nothing has a count of zero.
pub(crate) fn add<D: Ord + Clone, R: Semigroup>(snapshot: &mut Snapshot<D, R>, data: &D, diff: &R) {
    let sum = snapshot.entry(data.clone()).and_modify(|sum| sum.plus_equals(diff)).or_insert_with(|| diff.clone());
    if IsZero::is_zero(sum) {
        snapshot.remove(data);
    }
}

/// Asserts that two runs accumulate to the same at every tick.
pub(crate) fn assert_same<D: Ord + Debug, R: PartialEq + Debug>(
    found: &BTreeMap<Tick, Snapshot<D, R>>,
    expected: &BTreeMap<Tick, Snapshot<D, R>>,
    what: impl Debug,
) {
    assert!(found.keys().eq(expected.keys()));
    for (tick, snapshot) in found {
        assert_eq!(snapshot, &expected[tick], "at tick {tick}, {what:?} (left: found, right: expected)");
    }
}

/// An export, and a start from what it brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoundTrip {
    /// The tick of the export.
    pub(crate) at: Tick,
    /// Rows of a slice.
    pub(crate) slice_rows: usize,
    /// Workers of the run that exports, and of the run that imports.
    pub(crate) workers: (usize, usize),
}

impl RoundTrip {
    /// The output of a run that is exported and goes on, and that of a run which starts from the
    /// rows and gets only what came after.
    pub(crate) fn run<D, R, Row, O, OR>(
        self,
        whole: Drive<D, R, Row>,
        build: &Arc<Build<D, R, Row, O, OR>>,
    ) -> (Updates<O, OR>, Updates<O, OR>)
    where
        D: ExchangeData + Sync,
        R: ExchangeData + Semigroup + Sync,
        Row: ExchangeData + Sync,
        O: Clone + Send + 'static,
        OR: Clone + Send + 'static,
    {
        let mut first = whole.clone();
        (first.workers, first.export) = (self.workers.0, Some((self.at, self.slice_rows)));
        let first = first.run(build);
        let mut second = whole;
        second.input.retain(|(_, tick, _)| *tick > self.at);
        (second.workers, second.imports) = (self.workers.1, Some((self.at, first.rows)));
        second.seed += 1;
        (first.out, second.run(build).out)
    }
}

/// The same collection with a row of its own for each lane.
pub(crate) fn by_lane<'scope, K, R>(collection: Collection<'scope, K, Lanes<R>>) -> Collection<'scope, (K, u8), R>
where
    K: Clone + 'static,
    R: ExchangeData + Semigroup,
{
    let rows = |(key, tick, lanes): (K, Tick, Lanes<R>)| {
        let row = |(lane, amount): (u8, &R)| ((key.clone(), lane), tick, amount.clone());
        lanes.iter().map(row).collect::<SmallVec<[_; 4]>>()
    };
    collection.inner.flat_map(rows).as_collection()
}
