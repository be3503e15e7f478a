//! The thin shell that all our operators share: it holds input back until its tick is complete,
//! hands it to a plain core in the order of ticks, and keeps one capability at the frontier as
//! long as the core may still have something to say by itself.
//!
//! ```text
//!   data (D, tick, R) ──exchange by route──┐
//!                                          ├─> stash by tick ─> core ─> (Out, tick, OutR)
//!   rows of an earlier export ──exchange───┘                     │
//!                                                                └─> Exports (rows at a tick)
//! ```
//!
//! **Time**: at a frontier `f` the core has seen all input below `f`, and all that fell due below
//! it, in the order of ticks: before the input of tick `t` it is told to `advance` to `t`, after it
//! to `settle`. When every input is closed nothing falls due any more: at shutdown nothing expires.
//! **Steps**: where the ticks at which the output will be looked at are known beforehand
//! ([`Steps`]), all input of a step is taken as of its last tick, and so is what falls due in it.
//! The output accumulates to the same at the end of every step, whatever it is in between.
//! **Imports** must all come before the first data; they count from the tick they carry. `expire`,
//! `decay`, `upsert`, `reduce`, `join_small`, `top_k` and `stitch` emit what their rows make, as if it had
//! just arrived; `latest` and `dedup` are silent, and so is `timers` but for what is due already. Of two that follow
//! each other both may be imported where the second is told so ([`Wiring::restored`]): what its input says at the tick
//! of the import is in its rows already.
//! **State bound**: input above the frontier, plus what the core says of itself.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    hash::Hash,
    rc::Rc,
};

use differential_dataflow::{AsCollection, ExchangeData};
use timely::{
    dataflow::{
        Stream,
        channels::pact::Exchange,
        operators::{
            InputCapability,
            generic::{OutputBuilder, OutputBuilderSession, builder_rc::OperatorBuilder},
        },
    },
    scheduling::Activator,
};

use crate::{
    Collection, Tick,
    inflow::{Inflow, Route, Stash},
    table::hash_of,
};

/// Updates on their way out of a core.
pub type Out<D, R> = Vec<(D, Tick, R)>;

/// How many rows of an export are written between two steps of the dataflow. At a few microseconds a
/// row this keeps well below the 5 ms that an export may hold a worker.
pub const EXPORT_SLICE_ROWS: usize = 256;

/// What an operator does, without timely types: testable without a worker.
pub trait Core: 'static {
    /// What comes in.
    type In: ExchangeData;
    /// Its differences.
    type InDiff: ExchangeData;
    /// What goes out.
    type Out: Clone + 'static;
    /// Its differences.
    type OutDiff: Clone + 'static;
    /// A row of an export: key and state.
    type Row: ExchangeData;

    /// Time has come to `tick`: emits everything that has fallen due since, as of `tick`. That may be
    /// several instants at once: time goes from [`Core::due`] to the end of its step.
    fn advance(&mut self, tick: Tick, out: &mut Out<Self::Out, Self::OutDiff>);
    /// Takes one update of `tick`; `advance` was called for it.
    fn absorb(&mut self, data: Self::In, tick: Tick, diff: Self::InDiff, out: &mut Out<Self::Out, Self::OutDiff>);
    /// Takes many updates of `tick`, all that are in `updates`: a core may look ahead. They are all those
    /// of one instant; of a step of several, the instants come in order.
    fn absorb_all(
        &mut self,
        updates: &mut Vec<(Self::In, Self::InDiff)>,
        tick: Tick,
        out: &mut Out<Self::Out, Self::OutDiff>,
    ) {
        for (data, diff) in updates.drain(..) {
            self.absorb(data, tick, diff, out);
        }
    }
    /// All updates of `tick` are in: emits what depends on all of them.
    fn settle(&mut self, _tick: Tick, _out: &mut Out<Self::Out, Self::OutDiff>) {}
    /// The least tick at which something falls due by time alone.
    fn due(&self) -> Option<Tick> {
        None
    }
    /// Begins an export of the state as it is now.
    fn begin_export(&mut self);
    /// Appends the next rows, about `max_rows`; true when there are no more.
    fn export_slice(&mut self, max_rows: usize, out: &mut Vec<Self::Row>) -> bool;
    /// Whether input that comes at the tick of an import is told by the rows too, where all operators before
    /// this one start from their rows as well. What is not, is absorbed then.
    fn is_in_rows(_data: &Self::In) -> bool {
        true
    }
    /// Takes back a row of an export, at `tick`.
    fn import(&mut self, row: Self::Row, tick: Tick, out: &mut Out<Self::Out, Self::OutDiff>);
}

/// The ticks at which a worker's output will be looked at: the ends of its steps.
///
/// Whoever feeds the dataflow announces the end of a step before it says that the step's input is
/// complete. What is never announced is looked at at every tick.
#[derive(Clone, Default)]
pub struct Steps(Rc<RefCell<VecDeque<Tick>>>);

impl Steps {
    /// A step ends below `upper`; steps are announced in order.
    pub fn announce(&self, upper: Tick) {
        let mut uppers = self.0.borrow_mut();
        debug_assert!(uppers.back().is_none_or(|last| *last <= upper), "steps are announced in order");
        uppers.push_back(upper);
    }

    /// The last tick of the step in which `tick` lies; of a step that is not announced, `tick`.
    pub fn end_of(&self, tick: Tick) -> Tick {
        let uppers = self.0.borrow();
        uppers.get(uppers.partition_point(|upper| *upper <= tick)).map_or(tick, |upper| upper - 1)
    }

    /// Everything below `upper` has been looked at.
    pub fn forget_below(&self, upper: Tick) {
        let mut uppers = self.0.borrow_mut();
        while uppers.front().is_some_and(|first| *first <= upper) {
            uppers.pop_front();
        }
    }
}

/// How many rows all exports of a worker may write until it says otherwise.
#[derive(Clone, Debug, Default)]
pub struct ExportPace(Rc<Cell<usize>>);

impl ExportPace {
    /// So many rows may be written from now on.
    pub fn set_rows(&self, rows: usize) {
        self.0.set(rows);
    }

    fn take(&self, rows: usize) -> usize {
        let taken = rows.min(self.0.get());
        self.0.set(self.0.get() - taken);
        taken
    }
}

/// Asks an operator instance for its rows and collects them.
pub struct Exports<Row>(Rc<RefCell<ExportState<Row>>>);

struct ExportState<Row> {
    wanted: Option<Tick>,
    running: bool,
    slice_rows: usize,
    /// Where there is one, a slice is written whenever rows were taken, within what it allows.
    pace: Option<ExportPace>,
    rows: Vec<Row>,
    done: bool,
    activator: Option<Activator>,
}

impl<Row> Clone for Exports<Row> {
    fn clone(&self) -> Self {
        Exports(Rc::clone(&self.0))
    }
}

impl<Row> Default for Exports<Row> {
    fn default() -> Self {
        Exports::in_slices_of(EXPORT_SLICE_ROWS)
    }
}

impl<Row> Exports<Row> {
    /// Exports that are written in slices of about `slice_rows`.
    pub fn in_slices_of(slice_rows: usize) -> Self {
        Exports::new(slice_rows.max(1), None)
    }

    /// Exports of an operator that shares `pace` with all others of its worker: it goes on whenever its rows are
    /// taken.
    pub fn at_pace(pace: &ExportPace) -> Self {
        Exports::new(EXPORT_SLICE_ROWS, Some(pace.clone()))
    }

    fn new(slice_rows: usize, pace: Option<ExportPace>) -> Self {
        let (wanted, running, rows, done, activator) = (None, false, Vec::new(), false, None);
        Exports(Rc::new(RefCell::new(ExportState { wanted, running, slice_rows, pace, rows, done, activator })))
    }

    /// Asks for the rows exactly as of `tick`, which the operator must not have passed yet. One
    /// export at a time: an earlier one ends, and rows of it that were not taken are dropped.
    pub fn request(&self, tick: Tick) {
        let mut state = self.0.borrow_mut();
        state.wanted = Some(tick);
        (state.running, state.done) = (false, false);
        state.rows.clear();
        state.activator.as_ref().expect("an operator was wired to this").activate();
    }

    /// The rows so far, and whether they are all.
    pub fn take(&self) -> (Vec<Row>, bool) {
        let mut state = self.0.borrow_mut();
        if let (true, Some(_), Some(activator)) = (state.running, &state.pace, &state.activator) {
            activator.activate();
        }
        (std::mem::take(&mut state.rows), state.done)
    }
}

/// The last input of every operator: rows of an earlier export.
pub type Imports<'scope, Row> = Stream<'scope, Tick, Vec<(Row, Tick, isize)>>;

/// How an operator instance is wired.
pub struct Wiring<'scope, Row> {
    /// The operator's name in the dataflow log.
    pub name: &'static str,
    /// Rows to start from; an empty stream for a first start.
    pub imports: Imports<'scope, Row>,
    /// Where exports are asked for and collected.
    pub exports: Exports<Row>,
    /// When the output is looked at.
    pub steps: Steps,
    /// The ticks of the imports with which all operators start that this one's input comes from.
    pub restored: Restored,
}

/// The ticks of the imports with which a dataflow starts, once they are known.
#[derive(Clone, Debug, Default)]
pub struct Restored(Rc<Cell<Option<(Tick, Tick)>>>);

impl Restored {
    /// The dataflow starts from rows as of `last`, which it takes in at ticks from `first` on.
    pub fn set(&self, first: Tick, last: Tick) {
        self.0.set(Some((first, last)));
    }

    fn has(&self, tick: Tick) -> bool {
        self.0.get().is_some_and(|(first, last)| first <= tick && tick <= last)
    }
}

impl<'scope, Row: ExchangeData> Wiring<'scope, Row> {
    /// An instance that starts empty, and whose exports nobody asks for.
    pub fn fresh(name: &'static str, scope: timely::dataflow::Scope<'scope, Tick>) -> Self {
        let imports = timely::dataflow::operators::generic::operator::empty(scope);
        let (exports, steps, restored) = Default::default();
        Wiring { name, imports, exports, steps, restored }
    }

    /// The same, its output looked at at the ends of `steps` only.
    pub fn in_steps(self, steps: &Steps) -> Self {
        Wiring { steps: steps.clone(), ..self }
    }
}

/// Runs `core` over `input`, each worker on the keys that `route` sends to it. Rows go to the
/// worker that `route_row` says: the same as their key's data.
pub fn run<'scope, C, K>(
    input: impl Into<Inflow<'scope, C::In, C::InDiff>>,
    wiring: Wiring<'scope, C::Row>,
    core: C,
    route: impl Fn(&C::In) -> K + 'static,
    route_row: impl Fn(&C::Row) -> K + 'static,
) -> Collection<'scope, C::Out, C::OutDiff>
where
    C: Core,
    K: Hash,
    C::OutDiff: differential_dataflow::difference::Semigroup,
{
    let input = input.into();
    let Wiring { name, imports, exports, steps, restored } = wiring;
    let scope = input.scope();
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let route: Route<C::In> = Rc::new(move |data| hash_of(&route(data)));
    let mut inlets = input.open(&mut builder, &route);
    let rows_pact = Exchange::new(move |(row, _, _): &(C::Row, Tick, isize)| hash_of(&route_row(row)));
    let mut rows = builder.new_input(imports, rows_pact);
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::from(output);
    builder.build(move |capabilities| {
        drop(capabilities);
        exports.0.borrow_mut().activator = Some(activator);
        let mut instance = Instance::new(core, exports, steps, restored);
        move |frontiers| {
            rows.for_each(|capability, batch| instance.stash_rows(&capability, batch));
            inlets.iter_mut().for_each(|inlet| inlet(&mut instance.stash));
            let least = frontiers.iter().filter_map(|frontier| frontier.frontier().first().copied()).min();
            instance.work(least, &mut output.activate());
        }
    });
    stream.as_collection()
}

/// A core in a worker, and what is stashed for it.
struct Instance<C: Core> {
    core: C,
    stash: Stash<C::In, C::InDiff>,
    rows: BTreeMap<Tick, Vec<C::Row>>,
    exports: Exports<C::Row>,
    steps: Steps,
    restored: Restored,
    out: Out<C::Out, C::OutDiff>,
    frontier: Tick,
}

type Output<'a, C> = OutputBuilderSession<
    'a,
    Tick,
    timely::container::CapacityContainerBuilder<Vec<(<C as Core>::Out, Tick, <C as Core>::OutDiff)>>,
>;

impl<C: Core> Instance<C> {
    fn new(core: C, exports: Exports<C::Row>, steps: Steps, restored: Restored) -> Self {
        let (stash, rows, out) = (Stash::new(), BTreeMap::new(), Vec::new());
        Instance { core, stash, rows, exports, steps, restored, out, frontier: 0 }
    }

    fn stash_rows(&mut self, capability: &InputCapability<Tick>, batch: &mut Vec<(C::Row, Tick, isize)>) {
        self.stash.hold(capability);
        for (row, tick, _) in batch.drain(..) {
            self.rows.entry(tick).or_default().push(row);
        }
    }

    /// Lets the core see everything below `frontier`; `None` when all inputs are closed.
    fn work(&mut self, frontier: Option<Tick>, output: &mut Output<'_, C>) {
        let wanted = self.exports.0.borrow().wanted;
        let end = frontier.unwrap_or(Tick::MAX);
        assert!(end >= self.frontier, "a frontier never goes back");
        if let Some(tick) = wanted.filter(|tick| *tick < end) {
            assert!(
                frontier.is_none() || tick + 1 >= self.frontier,
                "an export is asked for before its tick has passed"
            );
            self.run_below(tick + 1, true);
            self.begin_export();
        }
        self.frontier = end;
        self.run_below(end, frontier.is_some());
        match &self.stash.held {
            Some(held) => output.session(held).give_iterator(self.out.drain(..)),
            // An export that is asked for after the close lets time pass, but nobody hears of it.
            None if frontier.is_none() => self.out.clear(),
            None => {}
        }
        assert!(self.out.is_empty(), "what a core emits has a capability");
        self.release(frontier);
        self.export_some(frontier.is_none());
    }

    /// Lets the core see what is stashed below `end` and, with `dues`, what falls due there.
    fn run_below(&mut self, end: Tick, dues: bool) {
        loop {
            let due = if dues { self.core.due() } else { None };
            let first = self.first_stashed().into_iter().chain(due).min();
            let Some(first) = first.filter(|first| *first < end) else { return };
            let tick = self.steps.end_of(first).min(end - 1);
            self.core.advance(tick, &mut self.out);
            while let Some(rows) = self.rows.first_entry().filter(|entry| *entry.key() <= tick) {
                for row in rows.remove() {
                    self.core.import(row, tick, &mut self.out);
                }
            }
            while let Some(mut updates) = self.stash.take_first(tick) {
                if self.restored.has(tick) {
                    updates.retain(|(data, _)| !C::is_in_rows(data));
                }
                self.core.absorb_all(&mut updates, tick, &mut self.out);
                self.stash.reuse(updates);
            }
            self.core.settle(tick, &mut self.out);
        }
    }

    fn first_stashed(&self) -> Option<Tick> {
        self.stash.first().into_iter().chain(self.rows.keys().next().copied()).min()
    }

    /// Lets go of what is neither stashed nor due. The capability never runs ahead of the
    /// frontier: an operator downstream would take the close of the inputs for a leap of time to
    /// whatever falls due here next.
    fn release(&mut self, frontier: Option<Tick>) {
        let due = frontier.and(self.core.due());
        let next = self.first_stashed().into_iter().chain(due).min();
        match (next, &mut self.stash.held) {
            (Some(next), Some(held)) => {
                let next = next.min(frontier.unwrap_or(next));
                if next > *held.time() {
                    held.downgrade(&next);
                }
            }
            (None, held) => *held = None,
            (Some(_), None) => {}
        }
    }

    fn begin_export(&mut self) {
        let mut state = self.exports.0.borrow_mut();
        state.wanted = None;
        state.running = true;
        state.rows.clear();
        self.core.begin_export();
    }

    /// Writes one slice of an export under way and asks to be run again for the next. An operator
    /// whose inputs are closed may not be run again: it writes all that is left.
    fn export_some(&mut self, closed: bool) {
        let state = &mut *self.exports.0.borrow_mut();
        while state.running {
            let slice_rows = match &state.pace {
                Some(_) if !closed && !state.rows.is_empty() => 0,
                Some(pace) if !closed => pace.take(state.slice_rows),
                _ => state.slice_rows,
            };
            if slice_rows == 0 {
                return;
            }
            if self.core.export_slice(slice_rows, &mut state.rows) {
                state.running = false;
                state.done = true;
            } else if !closed {
                if state.pace.is_none() {
                    state.activator.iter().for_each(Activator::activate);
                }
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
