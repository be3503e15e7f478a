//! The shell around a core: capabilities, the order of ticks, exports and imports.

use differential_dataflow::{
    VecCollection,
    input::{Input, InputSession},
};
use timely::{dataflow::operators::probe::Handle, worker::Worker};

use super::*;

/// A core that sums by key, tells every sum `LATER` ticks after it changed, and notes what it was
/// asked to do.
#[derive(Default)]
struct Echo {
    pending: BTreeMap<Tick, Vec<u64>>,
    rows: Vec<u64>,
    exporting: Vec<u64>,
    log: Log,
}

type Log = Rc<RefCell<Vec<(&'static str, Tick)>>>;

/// How long an echo takes.
const LATER: Tick = 10;

impl Core for Echo {
    type In = u64;
    type InDiff = isize;
    type Out = u64;
    type OutDiff = isize;
    type Row = u64;

    fn advance(&mut self, tick: Tick, out: &mut Out<u64, isize>) {
        self.log.borrow_mut().push(("advance", tick));
        while let Some(entry) = self.pending.first_entry().filter(|entry| *entry.key() <= tick) {
            out.extend(entry.remove().into_iter().map(|echo| (echo, tick, 1)));
        }
    }

    fn absorb(&mut self, data: u64, tick: Tick, diff: isize, out: &mut Out<u64, isize>) {
        self.log.borrow_mut().push(("absorb", tick));
        self.rows.push(data);
        self.pending.entry(tick + LATER).or_default().push(data);
        out.push((data, tick, diff));
    }

    fn settle(&mut self, tick: Tick, _out: &mut Out<u64, isize>) {
        self.log.borrow_mut().push(("settle", tick));
    }

    fn due(&self) -> Option<Tick> {
        self.pending.keys().next().copied()
    }

    fn begin_export(&mut self) {
        self.exporting.clone_from(&self.rows);
    }

    fn export_slice(&mut self, max_rows: usize, out: &mut Vec<u64>) -> bool {
        let slice = max_rows.min(self.exporting.len());
        out.extend(self.exporting.drain(..slice));
        self.exporting.is_empty()
    }

    fn import(&mut self, row: u64, tick: Tick, _out: &mut Out<u64, isize>) {
        self.log.borrow_mut().push(("import", tick));
        self.rows.push(row);
    }
}

/// An echo in a dataflow of one worker, fed by hand.
struct Rig {
    data: InputSession<Tick, u64, isize>,
    rows: InputSession<Tick, u64, isize>,
    probe: Handle<Tick>,
    out: Rc<RefCell<Vec<(u64, Tick, isize)>>>,
    exports: Exports<u64>,
    steps: Steps,
    log: Log,
}

fn rig(worker: &mut Worker, slice_rows: usize) -> Rig {
    rig_with(worker, Exports::in_slices_of(slice_rows))
}

fn rig_with(worker: &mut Worker, exports: Exports<u64>) -> Rig {
    let (out, log) = (Rc::default(), Log::default());
    let steps = Steps::default();
    worker.dataflow::<Tick, _, _>(|scope| {
        let (data, input): (_, VecCollection<'_, Tick, u64, isize>) = scope.new_collection();
        let (rows, imports) = scope.new_collection::<u64, isize>();
        let wiring = Wiring {
            name: "Echo",
            imports: imports.inner,
            exports: exports.clone(),
            steps: steps.clone(),
            restored: Restored::default(),
        };
        let core = Echo { log: Rc::clone(&log), ..Echo::default() };
        let sink: Rc<RefCell<Vec<_>>> = Rc::clone(&out);
        let echoed = run(input, wiring, core, |data| *data, |row| *row);
        let (probe, _) = echoed.inspect(move |update| sink.borrow_mut().push(*update)).probe();
        Rig { data, rows, probe, out, exports, steps: steps.clone(), log }
    })
}

impl Rig {
    fn advance(&mut self, worker: &mut Worker, tick: Tick) {
        self.rows.advance_to(tick);
        self.rows.flush();
        self.data.advance_to(tick);
        self.data.flush();
        (0..10).for_each(|_| _ = worker.step());
    }

    /// Closes the inputs, and gives all that came out.
    fn close(self, worker: &mut Worker) -> Vec<(u64, Tick, isize)> {
        drop((self.data, self.rows));
        while worker.has_dataflows() {
            worker.step();
        }
        self.out.take()
    }
}

#[test]
fn data_of_tick_zero_may_come_before_the_frontier_moves() {
    timely::execute_directly(|worker| {
        let mut rig = rig(worker, 1);
        rig.data.insert(7);
        rig.advance(worker, 0);
        assert!(rig.out.borrow().is_empty());
        rig.advance(worker, 1);
        assert_eq!(*rig.out.borrow(), [(7, 0, 1)]);
    });
}

#[test]
fn a_core_sees_ticks_in_order_however_they_arrive() {
    timely::execute_directly(|worker| {
        let mut rig = rig(worker, 1);
        rig.data.update_at(7, 5, 1);
        rig.data.update_at(8, 3, 1);
        rig.data.update_at(9, 5, 1);
        rig.rows.update_at(1, 2, 1);
        rig.advance(worker, 6);
        let calls: Vec<_> = rig.log.borrow().iter().filter(|(call, _)| *call != "advance").copied().collect();
        let expected =
            [("import", 2), ("settle", 2), ("absorb", 3), ("settle", 3), ("absorb", 5), ("absorb", 5), ("settle", 5)];
        assert_eq!(calls, expected);
        let advanced = rig.log.borrow().iter().position(|call| *call == ("advance", 3));
        assert!(advanced < rig.log.borrow().iter().position(|call| *call == ("absorb", 3)));
    });
}

#[test]
fn what_falls_due_comes_out_without_input_and_holds_nothing_back_before() {
    timely::execute_directly(|worker| {
        let mut rig = rig(worker, 1);
        rig.data.insert(7);
        for tick in 1..=LATER {
            rig.advance(worker, tick);
            assert!(rig.probe.with_frontier(|frontier| *frontier == [tick]), "the output follows the input");
            assert_eq!(rig.out.borrow().len(), 1);
        }
        rig.advance(worker, LATER + 1);
        assert_eq!(*rig.out.borrow(), [(7, 0, 1), (7, LATER, 1)]);
    });
}

#[test]
fn time_stops_at_each_tick_at_which_something_falls_due() {
    timely::execute_directly(|worker| {
        let mut rig = rig(worker, 1);
        (0..3).for_each(|data| rig.data.update_at(data, 2 * data, 1));
        rig.advance(worker, 50);
        let echoes: Vec<_> = rig.out.borrow().iter().filter(|(_, tick, _)| *tick >= LATER).copied().collect();
        assert_eq!(echoes, [(0, LATER, 1), (1, LATER + 2, 1), (2, LATER + 4, 1)]);
    });
}

#[test]
fn a_step_is_taken_as_of_its_last_tick() {
    timely::execute_directly(|worker| {
        let mut rig = rig(worker, 1);
        [5, 8, 15, 40].into_iter().for_each(|upper| rig.steps.announce(upper));
        (0..7).for_each(|data| rig.data.update_at(data, data, 1));
        // A frontier in the middle of the second step, then one beyond the third.
        rig.advance(worker, 6);
        assert_eq!(
            rig.out.borrow().iter().map(|(data, tick, _)| (*data, *tick)).collect::<Vec<_>>(),
            [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4), (5, 5)]
        );
        rig.out.borrow_mut().clear();
        rig.advance(worker, 30);
        // What arrived at 4 is told at 14, with which the third step ends; the fourth has begun.
        assert_eq!(
            *rig.out.borrow(),
            [(6, 7, 1), (0, 14, 1), (1, 14, 1), (2, 14, 1), (3, 14, 1), (4, 14, 1), (5, 29, 1), (6, 29, 1)]
        );
        rig.steps.forget_below(15);
        assert_eq!((rig.steps.end_of(15), rig.steps.end_of(39), rig.steps.end_of(40)), (39, 39, 40));
    });
}

#[test]
fn nothing_falls_due_when_the_inputs_close() {
    timely::execute_directly(|worker| {
        let mut rig = rig(worker, 1);
        rig.data.insert(7);
        rig.advance(worker, 4);
        rig.data.update_at(8, 6, 1);
        assert_eq!(rig.close(worker), [(7, 0, 1), (8, 6, 1)]);
    });
}

#[test]
fn downstream_the_close_is_no_leap_of_time() {
    timely::execute_directly(|worker| {
        let out: Rc<RefCell<Vec<_>>> = Rc::default();
        let mut data = worker.dataflow::<Tick, _, _>(|scope| {
            let (data, input) = scope.new_collection::<u64, isize>();
            let once = run(input, Wiring::fresh("Once", scope), Echo::default(), |data| *data, |row| *row);
            let twice = run(once, Wiring::fresh("Twice", scope), Echo::default(), |data| *data, |row| *row);
            let sink = Rc::clone(&out);
            twice.inspect(move |update| sink.borrow_mut().push(*update));
            data
        });
        data.insert(7);
        data.advance_to(5);
        data.insert(8);
        data.advance_to(7);
        data.flush();
        (0..10).for_each(|_| _ = worker.step());
        drop(data);
        while worker.has_dataflows() {
            worker.step();
        }
        // The first echo of 7 is due at 10, that of 8 at 15: the second may not hear of either.
        assert_eq!(out.take(), [(7, 0, 1), (8, 5, 1)]);
    });
}

#[test]
fn an_export_is_written_in_slices_while_later_ticks_go_on() {
    timely::execute_directly(|worker| {
        let mut rig = rig(worker, 2);
        (0..7).for_each(|data| rig.data.update_at(data, data, 1));
        rig.exports.request(4);
        rig.data.advance_to(7);
        rig.data.flush();
        rig.rows.advance_to(7);
        rig.rows.flush();
        let (mut rows, mut slices) = (Vec::new(), 0);
        loop {
            worker.step();
            let (slice, is_done) = rig.exports.take();
            assert!(slice.len() <= 2);
            slices += usize::from(!slice.is_empty());
            rows.extend(slice);
            if is_done {
                break;
            }
        }
        rows.sort();
        assert_eq!((rows, slices), (vec![0, 1, 2, 3, 4], 3));
        assert_eq!(rig.exports.take(), (vec![], true));
    });
}

#[test]
fn a_second_export_begins_anew() {
    timely::execute_directly(|worker| {
        let mut rig = rig(worker, 100);
        rig.data.insert(7);
        rig.exports.request(0);
        rig.advance(worker, 1);
        // Not taken, and so dropped.
        rig.data.insert(8);
        rig.exports.request(1);
        assert!(!rig.exports.take().1);
        rig.exports.request(1);
        rig.advance(worker, 2);
        assert_eq!(rig.exports.take(), (vec![7, 8], true));
    });
}

#[test]
fn an_export_of_the_newest_complete_tick_needs_no_further_input() {
    timely::execute_directly(|worker| {
        let mut rig = rig(worker, 1);
        rig.data.insert(7);
        rig.advance(worker, 1);
        rig.exports.request(0);
        (0..10).for_each(|_| _ = worker.step());
        assert_eq!(rig.exports.take(), (vec![7], true));
    });
}

#[test]
fn when_the_inputs_close_an_export_is_still_of_its_tick_and_whole() {
    timely::execute_directly(|worker| {
        let mut rig = rig(worker, 1);
        (0..7).for_each(|data| rig.data.update_at(data, data, 1));
        rig.exports.request(4);
        let exports = rig.exports.clone();
        rig.close(worker);
        let (mut rows, is_done) = exports.take();
        rows.sort();
        assert_eq!((rows, is_done), (vec![0, 1, 2, 3, 4], true));
    });
}

#[test]
#[should_panic(expected = "before its tick has passed")]
fn an_export_of_a_tick_that_has_passed_is_refused() {
    timely::execute_directly(|worker| {
        let mut rig = rig(worker, 1);
        rig.advance(worker, 5);
        rig.exports.request(3);
        (0..10).for_each(|_| _ = worker.step());
    });
}

/// An export that is asked for before the one before it has ended gives its own rows and no others.
#[test]
fn an_export_ends_the_one_before_it() {
    timely::execute_directly(|worker| {
        let pace = ExportPace::default();
        let mut rig = rig_with(worker, Exports::at_pace(&pace));
        (1..=5).for_each(|row| rig.data.insert(row));
        rig.advance(worker, 1);
        rig.exports.request(1);
        rig.advance(worker, 2);
        pace.set_rows(2);
        assert_eq!(rig.exports.take(), (vec![], false));
        rig.advance(worker, 3);
        assert_eq!(rig.exports.take(), (vec![1, 2], false), "as many as are allowed");
        pace.set_rows(2);
        rig.advance(worker, 4);
        rig.data.insert(6);
        rig.exports.request(6);
        assert_eq!(rig.exports.take(), (vec![], false), "rows of the earlier one are dropped");
        rig.advance(worker, 6);
        assert_eq!(rig.exports.take(), (vec![], false), "its tick has not passed");
        rig.data.insert(7);
        rig.exports.request(6);
        rig.advance(worker, 7);
        pace.set_rows(100);
        let mut rows = rig.exports.take().0;
        rig.advance(worker, 8);
        rows.extend(rig.exports.take().0);
        assert_eq!(rows, [1, 2, 3, 4, 5, 6, 7]);
        assert!(rig.exports.take().1, "they are all");
    });
}
