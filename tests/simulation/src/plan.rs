//! What a seed draws before a run: the options of the shop, and how each process lives and dies.

use std::io::ErrorKind;

use etalage::{config::Config, runtime::FAILPOINTS};
use etalage_tests::seed::Random;
use etalage_views::VIEWS;
use rand::{RngExt, seq::IndexedRandom};

use crate::disk::{Call, Fault};

/// Messages of a run.
pub(crate) const MESSAGES: usize = 2_000;

/// The kinds of fault that a run counts; beside these each failpoint is one.
pub const FAULTS: &[&str] = &[
    "killed_between_steps",
    "killed_in_a_call",
    "power_loss",
    "sync_error",
    "write_error",
    "disk_full",
    "folder_error",
    "object_write_error",
    "object_read_error",
    "rotten_object",
    "wall_clock_jump",
    "wall_clock_adopted",
    "answer_lost",
    "request_twice",
    "request_reordered",
    "garbage",
    "message_again",
    "conflicting_message",
    "late_message",
    "link",
    "reader_lagged",
    "reader_started_again",
    "reader_went_on",
    "not_modified",
    "started_from_a_snapshot",
    "snapshot_failed",
    "log_trimmed",
];

/// Faults of our own making, each of which a run of some seed must notice.
pub const MUTANTS: &[&str] = &[
    "ack-before-commit",
    "no-folder-sync",
    "no-dedup-on-replay",
    "bucket-twice",
    "half-a-tick",
    "ungated",
    "unbound-ticks",
];

/// How a process ends, beside by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Death {
    /// After so many steps.
    Between(usize),
    /// In this of its calls to the disk, of which so many bytes are still written.
    AtCall(usize, usize),
    /// When it comes to a failpoint for the nth time.
    AtFailpoint(&'static str, usize),
}

/// A process.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) death: Death,
    /// What was not synced is lost when it ends.
    pub(crate) loses_power: bool,
    pub(crate) faults: Vec<(Fault, u64)>,
    /// At which step the wall clock is set off, and by how much.
    pub(crate) jump: Option<(usize, i64)>,
    /// How far the wall clock is off when it starts.
    pub(crate) begins_off_us: i64,
    /// Which object has rotted before, and where.
    pub(crate) rot: Option<(usize, usize)>,
}

/// A run.
pub(crate) struct Plan {
    pub(crate) config: Config,
    pub(crate) lives: Vec<Life>,
}

impl Plan {
    pub(crate) fn draw(random: &mut Random) -> Plan {
        let is_fsync = random.random_bool(0.6);
        let mut config = config(is_fsync, random);
        let count = random.random_range(3..=6);
        config.snapshots.trim_log = random.random_bool(0.3);
        let mut lives: Vec<Life> = (0..count).map(|_| Life::draw(is_fsync, random)).collect();
        if config.snapshots.trim_log {
            // Then snapshots are all there is of what was before.
            lives.iter_mut().for_each(|life| life.rot = None);
        }
        Plan { config, lives }
    }
}

impl Life {
    /// At which step somebody adopts the wall clock: some time after about half of the jumps, and of the starts where it
    /// is off.
    pub(crate) fn adopts(&self) -> Option<usize> {
        const LATER: usize = 300;
        let (step, off_us) = self.jump.unwrap_or((0, self.begins_off_us));
        (off_us != 0 && off_us % 2 == 0 && step.is_multiple_of(2)).then_some(step + LATER)
    }

    fn draw(is_fsync: bool, random: &mut Random) -> Life {
        let death = match random.random_range(0..10) {
            0..2 => Death::Between(random.random_range(0..6_000)),
            2..5 => Death::AtCall(random.random_range(1..160), random.random_range(0..6_000)),
            _ => {
                let name = *FAILPOINTS.choose(random).expect("there are failpoints");
                // What happens once in a process, or with each snapshot, or all the time.
                let most = if name.starts_with("re") {
                    1
                } else if name.starts_with("snapshot") {
                    2
                } else {
                    50
                };
                Death::AtFailpoint(name, random.random_range(1..=most))
            }
        };
        let day_us = 86_400_000_000;
        let jump = random.random_bool(0.2).then(|| {
            (random.random_range(0..4_000), *[day_us, -day_us, 30_000_000, -30_000_000].choose(random).expect("some"))
        });
        let begins_off_us = match random.random_range(0..20) {
            0 => day_us,
            1 => -day_us,
            2..8 => random.random_range(-90_000_000..30_000_000),
            _ => 0,
        };
        let faults = if random.random_bool(0.7) { faults(random) } else { Vec::new() };
        let rot =
            random.random_bool(0.15).then(|| (random.random_range(0..1_000_000), random.random_range(0..1_000_000)));
        Life { death, loses_power: is_fsync && random.random_bool(0.6), faults, jump, begins_off_us, rot }
    }
}

/// One kind of fault, once or several times.
fn faults(random: &mut Random) -> Vec<(Fault, u64)> {
    let fault =
        |call, kind, random: &mut Random| Fault { call: Some(call), kind, written: random.random_range(0..2_000) };
    let nth = random.random_range(1..60);
    match random.random_range(0..11) {
        0..2 => vec![(fault(Call::SyncFile, ErrorKind::Other, random), nth)],
        2 | 10 => vec![(fault(Call::Append, ErrorKind::Other, random), nth)],
        3..5 => {
            let full = |nth| (Fault { call: Some(Call::Append), kind: ErrorKind::StorageFull, written: 7 }, nth);
            (nth..nth + random.random_range(1..6)).map(full).collect()
        }
        5 => vec![(fault(Call::Create, ErrorKind::StorageFull, random), random.random_range(1..8))],
        6 => {
            let call = *[Call::Rename, Call::SyncFolder].choose(random).expect("there are two");
            vec![(fault(call, ErrorKind::Other, random), random.random_range(1..4))]
        }
        7 | 8 => vec![(fault(Call::Put, ErrorKind::Other, random), random.random_range(1..40))],
        _ => vec![(fault(Call::Get, ErrorKind::Other, random), random.random_range(1..12))],
    }
}

fn config(is_fsync: bool, random: &mut Random) -> Config {
    let names: Vec<&str> = VIEWS.iter().map(|view| view.name).collect();
    let windows = *[r#"["10m", "2h"]"#, r#"["5m"]"#, r#"["30m", "10m"]"#].choose(random).expect("there are some");
    let retention = *["auto", "30h"].choose(random).expect("there are some");
    let half_lives = *[r#"["10m"]"#, r#"["1h"]"#].choose(random).expect("there are some");
    let dimensions =
        *[r#"["global"]"#, r#"["global", "category"]"#, r#"["country", "brand"]"#].choose(random).expect("some");
    let phase = *["aligned", "spread"].choose(random).expect("there are two");
    let unknown = *["sellable", "hidden"].choose(random).expect("there are two");
    let locations = *["[]", r#"["north"]"#].choose(random).expect("there are two");
    let durability = if is_fsync { "fsync" } else { "process" };
    let off: Vec<&str> = match random.random_bool(0.3) {
        true => Vec::new(),
        false => names.iter().copied().filter(|_| random.random_bool(0.5)).collect(),
    };
    let k = random.random_range(1..6);
    let text = format!(
        r#"
        [windows]
        names = {windows}
        bucket = "1m"
        phase = "{phase}"
        [trending]
        half_lives = {half_lives}
        [scopes]
        dimensions = {dimensions}
        [sets]
        k = {k}
        locations = {locations}
        [stock]
        unknown = "{unknown}"
        [store]
        durability = "{durability}"
        write_behind_bytes = 0
        [dedup]
        horizon = "400d"
        max_ids = 100_000
        [people]
        cart_idle = "10m"
        session_idle = "5m"
        [time]
        retention = "{retention}"
        [workers]
        count = 1
        [views]
        off = {off:?}
        "#
    );
    let mut config =
        Config::from_text("plan", &text, [], &names).map(|loaded| loaded.config).unwrap_or_else(|errors| {
            panic!("{errors}");
        });
    // Shorter than anybody would want them, so that a run has several.
    config.store.segment_bytes = random.random_range(8_000..80_000);
    // So that people are forgotten, and some of what they did never comes back.
    const MINUTE_US: u64 = 60_000_000;
    let as_configured = config.people.retention_us;
    config.people.retention_us =
        *[as_configured, 180 * MINUTE_US, 5 * MINUTE_US].choose(random).expect("there are some");
    config.people.late_us = config.time.retention_us;
    config
}
