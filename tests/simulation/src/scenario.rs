//! A run: one process after another on one disk, until everything that was sent is stored; then everything is checked.

use std::{cell::RefCell, collections::BTreeSet, path::Path, rc::Rc, sync::Arc};

use etalage::{
    config::Config,
    runtime::{Time, shop_options, simulated},
};
use etalage_model::Group;
use etalage_store::disk::Disk;
use etalage_tests::seed::{self, Random};
use rand::{RngExt, seq::IndexedRandom};

use crate::{
    check,
    disk::{Call, SimDisk},
    follower::Follower,
    life::{DIR, Process, Start},
    network::Network,
    objects::Objects,
    plan::{Death, Life, MESSAGES, Plan},
    poller::Poller,
    reader::Mark,
    shop::Shop,
    time::Clocks,
};

/// How long it takes until the next process runs.
const RESTART_US: u64 = 1_000;

/// Who follows streams.
const FOLLOWERS: usize = 4;

/// How many ask for a view now and then.
const POLLERS: usize = 2;

/// What became of a run.
pub struct Run {
    /// Messages that were sent.
    pub messages: usize,
    /// Processes that were started.
    pub processes: usize,
    /// Which faults occurred, and at which failpoints a process died.
    pub occurred: BTreeSet<&'static str>,
    /// What must not be; nothing, if all is well.
    pub wrong: Vec<String>,
    /// What was to happen to each process, and how each began and ended.
    pub story: Vec<String>,
    /// Stands for everything that was stored and published: of one seed it is always the same.
    pub digest: u64,
}

/// What is the same for all processes of a run.
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) mutant: Option<&'static str>,
    pub(crate) random: RefCell<Random>,
    pub(crate) clocks: Clocks,
    pub(crate) shop: RefCell<Shop>,
    pub(crate) network: RefCell<Network>,
    pub(crate) followers: RefCell<Vec<Follower>>,
    pub(crate) pollers: RefCell<Vec<Poller>>,
    occurred: RefCell<BTreeSet<&'static str>>,
}

impl World {
    /// A fault occurred.
    pub(crate) fn note(&self, name: &'static str) {
        self.occurred.borrow_mut().insert(name);
    }

    /// The disk as a process knows it.
    pub(crate) fn disk_of(&self, disk: &SimDisk) -> Arc<dyn Disk> {
        if self.mutant == Some("no-folder-sync") {
            disk.forget_folders();
        }
        Arc::new(disk.clone())
    }
}

/// Runs a seed, with a fault of our own making if one is named.
pub fn run(seed: u64, mutant: Option<&'static str>) -> Run {
    let run = std::panic::catch_unwind(|| run_through(seed, mutant));
    simulated::choose_mutant(None);
    simulated::at_failpoints(|_| {});
    run.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let wrong = vec![format!("panicked: {}", text.unwrap_or("nobody knows why"))];
        Run { messages: MESSAGES, processes: 0, occurred: BTreeSet::new(), wrong, story: Vec::new(), digest: 0 }
    })
}

fn run_through(seed: u64, mutant: Option<&'static str>) -> Run {
    let mut random = seed::from(seed);
    let Plan { config, lives } = Plan::draw(&mut random);
    let shop = Shop::new(seed::from(random.random()));
    let views = etalage_views::infos(&shop_options(&config));
    let followers = (0..FOLLOWERS).filter_map(|nth| Some(Follower::of(views.choose(&mut random)?, nth % 2 == 1)));
    let followers = RefCell::new(followers.collect());
    let pollers = (0..POLLERS).filter_map(|_| Some(Poller::of(views.choose(&mut random)?)));
    let pollers = RefCell::new(pollers.collect());
    let world = Rc::new(World {
        config,
        mutant,
        random: RefCell::new(random),
        clocks: Clocks::new(),
        shop: RefCell::new(shop),
        network: RefCell::default(),
        followers,
        pollers,
        occurred: RefCell::default(),
    });
    simulated::choose_mutant(mutant);
    let mut course = Course::begin(Rc::clone(&world));
    for (at, life) in lives.iter().enumerate() {
        course.live(life, MESSAGES * (at + 1) / (lives.len() + 1));
    }
    course.live_on();
    course.end()
}

/// What one process leaves to the next.
struct Course {
    world: Rc<World>,
    disk: SimDisk,
    objects: Objects,
    processes: usize,
    /// The disk of the last process was full.
    was_full: bool,
    marks: Vec<Mark>,
    wrong: Vec<String>,
    story: Vec<String>,
}

impl Course {
    fn begin(world: Rc<World>) -> Course {
        let disk = SimDisk::default();
        let objects = Objects::new(disk.clone());
        Course {
            world,
            disk,
            objects,
            processes: 0,
            was_full: false,
            marks: Vec::new(),
            wrong: Vec::new(),
            story: Vec::new(),
        }
    }

    /// A process to which something happens.
    fn live(&mut self, life: &Life, until_lines: usize) {
        if let Some((nth, at)) = life.rot
            && self.objects.rot(nth, at)
        {
            self.world.note("rotten_object");
        }
        // A process takes a while to start, and what was published before anything was stored is bound by nothing.
        self.world.clocks.pass(RESTART_US);
        // What `runtime::passing` excepts: before anything is stored nobody remembers what time it was, nor where the disk
        // was full.
        let is_known = self.world.shop.borrow().sent.values().any(|sent| sent.is_acknowledged);
        let may_be_off = is_known && !self.was_full;
        self.world.clocks.set_off(if may_be_off { life.begins_off_us } else { 0 });
        self.processes += 1;
        let now = self.world.clocks.now();
        self.story.push(format!("process {} at {now:?}: {life:?}", self.processes));
        match Process::start(&self.world, &self.disk, &self.objects, Some(life)) {
            Start::Runs(process) => {
                self.was_full = false;
                process.run(until_lines);
                self.story.push(format!("  ran {}", process.told()));
                // What was published last is what a later process contradicts most easily.
                if self.world.random.borrow_mut().random_bool(0.5) {
                    process.reader.mark(Group::Shop);
                }
                let end = process.unexplained_end();
                self.wrong.extend(end.map(|reason| format!("a process ended by itself: {reason}")));
                self.keep(&process);
            }
            // Only what was to happen to it may keep it from starting; and nothing damages a log.
            Start::Failed(reason) if self.is_explained(&reason) => {
                self.story.push(format!("  did not start: {reason}"))
            }
            Start::Failed(reason) => self.wrong.push(format!("a process did not start: {reason}")),
        }
        self.count(life);
        // One that did not start has not told the log what time it was either.
        self.was_full |= life.faults.iter().any(|(fault, _)| fault.kind == std::io::ErrorKind::StorageFull);
        self.end_process(life.loses_power);
    }

    /// Whether what was to happen to a process may have kept it from starting.
    fn is_explained(&self, reason: &str) -> bool {
        let hits = self.disk.hits();
        let is_unread = self.disk.is_dead() || hits.contains(&Call::Get);
        !reason.contains("is damaged at byte")
            && (is_unread || !reason.contains("was trimmed"))
            && (self.disk.is_dead() || !hits.is_empty())
    }

    /// A process to which nothing happens, to its end.
    fn live_on(&mut self) {
        self.world.clocks.pass(RESTART_US);
        self.world.clocks.set_off(0);
        self.processes += 1;
        match Process::start(&self.world, &self.disk, &self.objects, None) {
            Start::Runs(process) => {
                process.run(MESSAGES);
                let closed = process.close();
                self.wrong.extend(closed.err());
                self.keep(&process);
            }
            Start::Failed(reason) => self.wrong.push(format!("a process did not start: {reason}")),
        }
    }

    fn keep(&mut self, process: &Process) {
        let (marks, wrong) = process.reader.take();
        self.marks.extend(marks);
        self.wrong.extend(wrong);
        self.wrong.extend(process.take_wrong());
    }

    /// What of a life's faults occurred.
    fn count(&self, life: &Life) {
        if matches!(life.death, Death::AtCall(..)) && self.disk.is_dead() {
            self.world.note("killed_in_a_call");
        }
        for call in self.disk.hits() {
            self.world.note(match (call, life.faults.first().map(|(fault, _)| fault.kind)) {
                (_, Some(std::io::ErrorKind::StorageFull)) => "disk_full",
                (Call::SyncFile, _) => "sync_error",
                (Call::Rename | Call::SyncFolder, _) => "folder_error",
                (Call::Put | Call::Delete, _) => "object_write_error",
                (Call::Get, _) => "object_read_error",
                _ => "write_error",
            });
        }
    }

    /// The process is gone, and the machine perhaps too.
    fn end_process(&mut self, loses_power: bool) {
        self.world.network.borrow_mut().cut();
        self.world.followers.borrow_mut().iter_mut().for_each(Follower::cut);
        self.world.pollers.borrow_mut().iter_mut().for_each(Poller::cut);
        self.disk = match loses_power {
            true => {
                self.world.note("power_loss");
                self.world.clocks.reboot();
                self.disk.after_power_loss(self.world.random.borrow_mut().random())
            }
            false => self.disk.after_kill(),
        };
    }

    /// Checks everything.
    fn end(mut self) -> Run {
        let shop = self.world.shop.borrow();
        let mut digest = 0;
        let acknowledged = shop.sent.values().filter(|sent| sent.is_acknowledged).count();
        if acknowledged * 3 < shop.sent.len() {
            self.wrong.push(format!("only {acknowledged} of {} messages were taken", shop.sent.len()));
        }
        match check::log(&self.disk, Path::new(DIR)) {
            Ok(stored) => {
                self.wrong.extend(check::ledger(&stored, &shop, &self.world.config));
                self.wrong.extend(check::oracles(&stored, &self.marks, &self.world.config));
                digest = check::digest(&stored, &self.marks);
            }
            Err(error) => self.wrong.push(format!("the log cannot be read: {error}")),
        }
        let mut occurred = std::mem::take(&mut *self.world.occurred.borrow_mut());
        occurred.extend(&shop.occurred);
        if !check::trimmed(&self.disk).files().is_empty() {
            occurred.insert("log_trimmed");
        }
        occurred.extend(&self.world.network.borrow().occurred);
        occurred.extend(self.world.followers.borrow().iter().flat_map(|follower| &follower.occurred));
        occurred.extend(self.world.pollers.borrow().iter().flat_map(|poller| &poller.occurred));
        Run { messages: shop.lines, processes: self.processes, occurred, wrong: self.wrong, story: self.story, digest }
    }
}
