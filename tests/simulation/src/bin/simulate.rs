//! Runs seeds of the simulation, and says which failed, and in how many of them what occurred.

use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use clap::Parser;
use etalage_simulation::{MUTANTS, Report, run};
use indicatif::{ProgressBar, ProgressStyle};

/// Lines of what is wrong with a seed that are shown.
const MAX_SHOWN: usize = 5;

/// Runs the whole pipeline on a simulated machine, once for each seed: at least 2,000 messages, processes that are
/// killed, disks that fail. A seed that fails is named; `--seeds 1 --from SEED` runs it again, exactly.
#[derive(Parser)]
#[command(name = "simulate")]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Seeds at once; 0 is as many as there are processors.
    #[arg(long, default_value_t = 0)]
    jobs: usize,
    /// A fault of our own making that some seed should notice; it ends with the first that does.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(MUTANTS))]
    mutant: Option<String>,
}

#[allow(clippy::print_stdout, reason = "this is what the command is for")]
fn main() -> ExitCode {
    let args = Args::parse();
    let mutant = args.mutant.as_deref().and_then(|name| MUTANTS.iter().find(|mutant| **mutant == name).copied());
    let jobs = match args.jobs {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        jobs => jobs,
    };
    let (next, began) = (AtomicU64::new(0), Instant::now());
    let (report, failed) = (Mutex::new(Report::default()), Mutex::new(Vec::new()));
    let bar = ProgressBar::new(args.seeds)
        .with_style(ProgressStyle::with_template("{bar:30} {pos}/{len} seeds, {eta} left").expect("a template"));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let nth = next.fetch_add(1, Ordering::SeqCst);
                    if nth >= args.seeds || (mutant.is_some() && !failed.lock().expect("nobody panics").is_empty()) {
                        return;
                    }
                    let seed = args.from + nth;
                    let run = run(seed, mutant);
                    if !run.wrong.is_empty() {
                        if args.seeds == 1 {
                            bar.suspend(|| println!("{}", run.story.join("\n")));
                        }
                        let shown: Vec<String> =
                            run.wrong.iter().take(MAX_SHOWN).map(|wrong| format!("  {wrong:.600}")).collect();
                        bar.suspend(|| {
                            println!("seed {seed} failed: {} things are wrong\n{}", run.wrong.len(), shown.join("\n"))
                        });
                        failed.lock().expect("nobody panics").push(seed);
                    }
                    report.lock().expect("nobody panics").add(&run);
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let failed = failed.into_inner().expect("nobody panics");
    print!("{}", report.into_inner().expect("nobody panics"));
    println!("{} of {} seeds failed, in {:.1} s", failed.len(), args.seeds, began.elapsed().as_secs_f64());
    match failed.is_empty() != mutant.is_some() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
