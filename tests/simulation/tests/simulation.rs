//! The whole pipeline under the faults of a few hundred seeds; `tests/simulate` runs as many as one likes.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use etalage_simulation::{MUTANTS, Report, run};

/// Seeds of a test run, beginning with [`FIRST`].
const SEEDS: u64 = 300;
const FIRST: u64 = 1_000_000;

/// Each fault of our own making is noticed by one of so many seeds.
const MUTANT_SEEDS: u64 = 500;

/// In how many of the seeds each kind of fault, and each failpoint, has to occur.
const MIN_COVERAGE: f64 = 0.05;

/// Runs `work` with numbers from 0, on two threads, until it says that it is enough.
fn on_two_threads(work: impl Fn(u64) -> bool + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| while work(next.fetch_add(1, Ordering::SeqCst)) {});
        }
    });
}

#[test]
fn nothing_is_lost_and_everything_equals_its_oracle_whatever_fails() {
    let (report, wrong) = (Mutex::new(Report::default()), Mutex::new(Vec::new()));
    on_two_threads(|nth| {
        if nth >= SEEDS {
            return false;
        }
        let run = run(FIRST + nth, None);
        assert!(run.messages >= 2_000, "a run has at least 2,000 messages");
        report.lock().expect("nobody panics").add(&run);
        let told =
            run.wrong.into_iter().map(|wrong| format!("tests/simulate --seeds 1 --from {}: {wrong:.400}", FIRST + nth));
        wrong.lock().expect("nobody panics").extend(told);
        true
    });
    let report = report.into_inner().expect("nobody panics");
    eprint!("{report}");
    assert_eq!(wrong.into_inner().expect("nobody panics"), Vec::<String>::new());
    let rare: Vec<_> = report.coverage().filter(|(_, part)| *part < MIN_COVERAGE).collect();
    assert!(rare.is_empty(), "these occur in too few of the runs: {rare:?}");
}

#[test]
fn every_mutant_is_noticed() {
    on_two_threads(|nth| {
        let Some(mutant) = MUTANTS.get(nth as usize) else { return false };
        let noticed = (0..MUTANT_SEEDS)
            .find_map(|seed| run(seed, Some(mutant)).wrong.into_iter().next().map(|wrong| (seed, wrong)));
        let (seed, wrong) = noticed.unwrap_or_else(|| panic!("{mutant} is not noticed by {MUTANT_SEEDS} seeds"));
        assert_eq!(run(seed, None).wrong, Vec::<String>::new(), "seed {seed} fails by itself");
        eprintln!("{mutant} is noticed by seed {seed}: {wrong:.200}");
        true
    });
}

#[test]
fn a_seed_is_one_run() {
    for seed in 0..20 {
        let (one, other) = (run(seed, None), run(seed, None));
        assert_eq!(one.digest, other.digest, "seed {seed}");
        assert_eq!((one.processes, one.messages, one.occurred), (other.processes, other.messages, other.occurred));
    }
}
