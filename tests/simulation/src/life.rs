//! One process, from its start to its end.

use std::{
    cell::{Cell, RefCell},
    path::Path,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use etalage::runtime::{
    ClockMode, PipelineOptions,
    simulated::{Part, Simulated, at_failpoints},
    snapshot::{Snapshots, Taking},
};
use etalage_model::Group;
use etalage_store::snapshot::{Kept, Place};
use etalage_views::sellable;
use rand::{RngExt, seq::IndexedMutRandom};

use crate::{
    disk::SimDisk,
    follower::Streams,
    objects::Objects,
    plan::{Death, Life},
    reader::Reader,
    scenario::World,
};

/// The folder of the store.
pub(crate) const DIR: &str = "/store";

/// Requests that the shop leaves under way before it makes more.
const MAX_UNDER_WAY: usize = 12;

/// A process that runs.
pub(crate) struct Process {
    world: Rc<World>,
    sim: Simulated,
    streams: Streams,
    pub(crate) reader: Reader,
    disk: SimDisk,
    steps: Cell<usize>,
    death: Option<Death>,
    jump: Option<(usize, i64)>,
    adopts: Option<usize>,
    is_taking: Cell<bool>,
    /// The shop makes no more requests.
    is_closing: Cell<bool>,
    wrong: RefCell<Vec<String>>,
}

/// How far a process came.
pub(crate) enum Start {
    /// It runs.
    Runs(Rc<Process>),
    /// It did not start, and why.
    Failed(String),
}

impl Process {
    /// Starts a process with this disk. `life` says what becomes of it; without, nothing happens to it.
    pub(crate) fn start(world: &Rc<World>, disk: &SimDisk, objects: &Objects, life: Option<&Life>) -> Start {
        arm(world, disk, life);
        let options = etalage::runtime::shop_options(&world.config);
        let audits = options.is_on(sellable::NAME).then_some(options.unknown_stock);
        let reader = Reader::new(disk.clone(), audits);
        let place = Place::within(Arc::new(objects.for_disk(disk.clone())), "objects").expect("a thread can be had");
        let views = etalage_views::infos(&options);
        let store = Streams::store(&views);
        let ready = store.clone();
        let pipeline = PipelineOptions {
            others: None,
            served: Some(store.clone()),
            clock: ClockMode::Wall,
            readers: vec![Box::new(store.clone()), Box::new(reader.clone())],
            on_ready: Box::new(move |tick| ready.begin(tick)),
            refused: None,
            identify: None,
            snapshots: Some(Snapshots {
                url: "objects".into(),
                retry_for: Duration::ZERO,
                // Every chunk by itself.
                restored_at_once_bytes: 1,
                taking: Taking { every: Duration::ZERO, after_records: 0 },
                kept: Kept { newest: 2, for_us: 0, max_bytes: 0 },
                trims_log: world.config.snapshots.trim_log,
            }),
        };
        let machine = (world.disk_of(disk), Arc::new(world.clocks.clone()) as Arc<_>);
        let sim = match Simulated::open(&world.config, Path::new(DIR), pipeline, machine, Some(place)) {
            Ok(sim) => sim,
            Err(error) => return Start::Failed(error.to_string()),
        };
        let streams = Streams::new(views, sim.edition(), store, sim.door());
        let process = Process {
            world: Rc::clone(world),
            sim,
            streams,
            reader,
            disk: disk.clone(),
            steps: Cell::default(),
            death: life.map(|life| life.death),
            jump: life.and_then(|life| life.jump),
            adopts: life.and_then(Life::adopts),
            is_taking: Cell::default(),
            is_closing: Cell::default(),
            wrong: RefCell::default(),
        };
        match process.sim.begin() {
            Ok(()) => Start::Runs(Rc::new(process)),
            Err(reason) => Start::Failed(reason),
        }
    }

    /// Steps until the process ends; by itself after so many messages.
    pub(crate) fn run(self: &Rc<Process>, until_lines: usize) {
        while !self.is_over() && self.world.shop.borrow().lines < until_lines {
            self.step();
        }
        if !self.disk.is_dead() {
            // Whoever was answered before the end knows it.
            self.answer();
        }
    }

    /// Steps until everything is stored and published, and marks it.
    ///
    /// # Errors
    /// Why it does not come to that.
    pub(crate) fn close(self: &Rc<Process>) -> Result<(), String> {
        self.is_closing.set(true);
        let mut left = 2_000_000;
        while self.world.network.borrow().len() > 0 || self.is_taking.get() {
            self.step();
            left -= 1;
            if self.is_over() || left == 0 {
                return Err(self.sim.failure().unwrap_or_else(|| "the shop gets no answers".into()));
            }
        }
        self.sim.finish()?;
        [Group::Shop, Group::Customer].into_iter().for_each(|group| self.reader.mark(group));
        self.check_followers();
        Ok(())
    }

    /// How far it came.
    pub(crate) fn told(&self) -> String {
        let Process { steps, disk, sim, .. } = self;
        let published = self.reader.published();
        let (failure, hits) = (sim.failure(), disk.hits());
        format!("{} steps, published as of {published:?}; calls that failed: {hits:?}; {failure:?}", steps.get())
    }

    /// Why it ended, where nothing that was to happen to it explains it.
    pub(crate) fn unexplained_end(&self) -> Option<String> {
        let is_explained = self.disk.is_dead() || !self.disk.hits().is_empty();
        self.sim.failure().filter(|_| !is_explained)
    }

    /// What must not have happened, and did.
    pub(crate) fn take_wrong(&self) -> Vec<String> {
        std::mem::take(&mut self.wrong.borrow_mut())
    }

    fn is_over(&self) -> bool {
        self.disk.is_dead() || self.sim.failure().is_some()
    }

    /// Something happens: nobody knows what comes next.
    fn step(self: &Rc<Process>) {
        let at = self.steps.replace(self.steps.get() + 1);
        if matches!(self.death, Some(Death::Between(steps)) if steps == at) && !self.disk.is_dead() {
            self.world.note("killed_between_steps");
            self.disk.die_now();
        }
        if self.disk.is_dead() {
            return self.sim.kill();
        }
        if let Some((_, off_us)) = self.jump.filter(|(step, _)| *step == at) {
            self.world.note("wall_clock_jump");
            self.world.clocks.set_off(off_us);
        }
        if self.adopts == Some(at) && self.sim.door().accept_clock().is_ok() {
            self.world.note("wall_clock_adopted");
        }
        let draw = self.world.random.borrow_mut().random_range(0..1_000);
        match draw {
            0..30 => self.request(),
            30..90 => self.deliver(),
            90..130 => self.answer(),
            130..190 => self.pass_time(),
            190..210 => self.sim.idle(),
            210..330 => self.turn(Part::Sequencer),
            330..480 => self.turn(Part::Conductor),
            480..930 => self.turn(Part::Worker),
            930..950 => self.streams.feed(false),
            950..952 => self.streams.feed(true),
            952..980 => self.follow(),
            980..990 => self.turn(Part::Quarantine),
            990..992 => self.want(),
            992..996 => self.snapshot(),
            _ => {}
        }
    }

    fn turn(&self, part: Part) {
        self.sim.turn(part);
    }

    fn request(&self) {
        if !self.is_closing.get() && self.world.network.borrow().len() < MAX_UNDER_WAY {
            let request = self.world.shop.borrow_mut().request(self.world.clocks.true_ms());
            self.world.network.borrow_mut().send(request, &mut self.world.random.borrow_mut());
        }
    }

    fn deliver(&self) {
        let mut random = self.world.random.borrow_mut();
        let delivered = self.world.network.borrow_mut().deliver(&self.sim.door(), &mut random);
        self.wrong.borrow_mut().extend(delivered.err());
    }

    fn answer(&self) {
        let (mut network, mut shop) = (self.world.network.borrow_mut(), self.world.shop.borrow_mut());
        let answered = network.answer(&mut shop, &mut self.world.random.borrow_mut());
        self.wrong.borrow_mut().extend(answered.err());
    }

    fn pass_time(&self) {
        let mut random = self.world.random.borrow_mut();
        let us = match random.random_range(0..100) {
            0..60 => random.random_range(0..50_000),
            60..97 => random.random_range(0..5_000_000),
            _ => random.random_range(0..900_000_000),
        };
        self.world.clocks.pass(us);
    }

    /// Somebody looks at a stream.
    fn follow(&self) {
        let mut random = self.world.random.borrow_mut();
        let mut followers = self.world.followers.borrow_mut();
        let Some(follower) = followers.choose_mut(&mut *random) else { return };
        if !follower.is_slow || random.random_bool(0.03) {
            self.wrong.borrow_mut().extend(follower.look(&self.streams).err());
        }
        if let Some(poller) = self.world.pollers.borrow_mut().choose_mut(&mut *random) {
            self.wrong.borrow_mut().extend(poller.look(&self.streams).err());
        }
    }

    /// Everybody who follows a stream has what was published.
    fn check_followers(&self) {
        self.streams.feed(true);
        let mut wrong = self.wrong.borrow_mut();
        for follower in self.world.followers.borrow_mut().iter_mut() {
            while match follower.look(&self.streams) {
                Ok(more) => more,
                Err(error) => {
                    wrong.push(error);
                    false
                }
            } {}
            wrong.extend(self.reader.with_marks(|marks| follower.check(marks)).err());
        }
    }

    fn want(&self) {
        if self.world.random.borrow_mut().random_bool(0.1) {
            let is_shop = self.world.random.borrow_mut().random_bool(0.5);
            self.reader.want(if is_shop { Group::Shop } else { Group::Customer });
        }
    }

    fn snapshot(self: &Rc<Process>) {
        if self.is_taking.replace(true) {
            return;
        }
        let beside = Rc::clone(self);
        if self.sim.snapshot(Rc::new(move || beside.step())).is_err() && !self.disk.is_dead() {
            self.world.note("snapshot_failed");
        }
        self.is_taking.set(false);
    }
}

/// Prepares what is to happen to a process.
fn arm(world: &Rc<World>, disk: &SimDisk, life: Option<&Life>) {
    let Some(life) = life else { return at_failpoints(|_| {}) };
    life.faults.iter().for_each(|(fault, nth)| disk.fail(*fault, *nth));
    if let Death::AtCall(nth, written) = life.death {
        disk.die(nth, written);
    }
    let (death, passed, world, disk) = (life.death, Cell::new(0), Rc::clone(world), disk.clone());
    at_failpoints(move |name| {
        if name == "restored" && !disk.is_dead() {
            world.note("started_from_a_snapshot");
        }
        let Death::AtFailpoint(chosen, nth) = death else { return };
        if chosen == name && !disk.is_dead() {
            passed.set(passed.get() + 1);
            if passed.get() == nth {
                world.note(chosen);
                disk.die_now();
            }
        }
    });
}
