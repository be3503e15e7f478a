//! Where the time of a dataflow goes: nanoseconds an event in each operator, as timely's own log of
//! starts and stops tells it. The time of a scope is without that of the operators in it.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    rc::Rc,
    time::Duration,
};

use timely::{
    logging::{StartStop, TimelyEvent, TimelyEventBuilder},
    worker::Worker,
};

use crate::figures::{Better, Measuring};

/// A watch over one worker.
#[derive(Clone, Default)]
pub(crate) struct Stages(Rc<RefCell<Seen>>);

#[derive(Default)]
struct Seen {
    names: HashMap<usize, String>,
    /// Who is at work, outermost first, each with the time from which on its own time was not counted yet.
    at_work: Vec<(usize, Duration)>,
    own: HashMap<usize, Duration>,
}

impl Seen {
    fn note(&mut self, at: Duration, event: &TimelyEvent) {
        match event {
            TimelyEvent::Operates(operates) => {
                self.names.insert(operates.id, operates.name.clone());
            }
            TimelyEvent::Schedule(schedule) => {
                if let Some((id, since)) = self.at_work.last_mut() {
                    *self.own.entry(*id).or_default() += at.saturating_sub(*since);
                    *since = at;
                }
                match schedule.start_stop {
                    StartStop::Start => self.at_work.push((schedule.id, at)),
                    StartStop::Stop => {
                        self.at_work.pop();
                        if let Some((_, since)) = self.at_work.last_mut() {
                            *since = at;
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

impl Stages {
    /// Watches a worker from now on; dataflows that are watched must be built afterwards.
    pub(crate) fn watch(worker: &mut Worker) -> Stages {
        let stages = Stages::default();
        let seen = Rc::clone(&stages.0);
        let note = move |_: &Duration, events: &mut Option<Vec<(Duration, TimelyEvent)>>| {
            let mut seen = seen.borrow_mut();
            events.iter().flatten().for_each(|(at, event)| seen.note(*at, event));
        };
        worker.log_register().expect("a worker has a log").insert::<TimelyEventBuilder, _>("timely", note);
        stages
    }

    /// Forgets the times until now.
    pub(crate) fn begin(&self) {
        self.0.borrow_mut().own.clear();
    }

    /// The nanoseconds of each operator since [`Stages::begin`], those of one name together, most first.
    pub(crate) fn told(&self) -> Vec<(String, u128)> {
        let seen = self.0.borrow();
        let mut by_name: BTreeMap<&str, u128> = BTreeMap::new();
        for (id, own) in &seen.own {
            *by_name.entry(seen.names.get(id).map_or("?", String::as_str)).or_default() += own.as_nanos();
        }
        let mut told: Vec<(String, u128)> = by_name.into_iter().map(|(name, ns)| (name.to_owned(), ns)).collect();
        told.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
        told
    }
}

/// Adds what stages took to a part, by event.
pub(crate) fn figures(part: &mut Measuring, stages: &[(String, u128)], events: u64) {
    for (name, ns) in stages {
        part.figure(&format!("in {name}"), "ns an event", Better::Lower, vec![*ns as f64 / events as f64]);
    }
}
