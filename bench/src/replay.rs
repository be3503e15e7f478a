//! From files and from the log: JSON lines through the whole pipeline, and a restart over what they left.
//!
//! `etalage replay` decodes, validates, deduplicates and stores the lines and evaluates at their end; its
//! clock is read around the process. Then `etalage run` starts over the same store, and what counts is the
//! time until `/readyz` says yes.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::{
    figures::{Better, Part},
    generate::{self, Format},
    hand, machine,
    server::{Server, wait_until},
    workload::{self, Shape},
};

/// Messages a second of a restart: of `sb`, and with every view on.
const BARS_RESTART: [f64; 2] = [500_000.0, 100_000.0];
/// How many times as fast as the loop by hand JSON lines should be taken.
const BAR_TIMES_HAND: f64 = 1.0;
/// How long a restart may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// A job of the service: its binary, what comes in, and which views are on.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Job {
    /// The server's binary
    #[arg(long, default_value = "target/release/etalage")]
    pub(crate) server: PathBuf,
    #[command(flatten)]
    pub(crate) shape: Shape,
    /// The default configuration with every view on, in place of the job `sb`
    #[arg(long)]
    pub(crate) full: bool,
}

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    job: Job,
    /// How many days ago the last message happened: 0, and the windows are full of what was read; 40, and they are empty
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    ended_days_ago: u64,
}

/// Measures.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Part> {
    let job = match options.job.full {
        true => "the default configuration with every view on",
        false => "sb: set.bestsellers over 10m, global and 500 categories, K = 10; every other view off",
    };
    let mut part = Part::begin(
        "replay",
        format!(
            "{job}; JSON lines, dedup and store on, durability = process; 1 worker; evaluated at the end of the file, where the loop by hand changes its lists at every line"
        ),
    );
    let dir = tempfile::tempdir()?;
    let (file, store) = (dir.path().join("messages.jsonl"), dir.path().join("store"));
    let messages = generate::into_file(&options.job.shape, Format::Jsonl, Some(options.ended_days_ago), &file)? as f64;

    let taken_s = take(&options.job.server, environment(options.job.full), &file, &store)?;
    part.figure("messages from JSON lines", "a second", Better::Higher, vec![messages / taken_s]);
    if !options.job.full {
        let by_hand_s = hand::take_json_lines(&options.job.shape, &file)?.as_secs_f64();
        part.figure("messages from JSON lines by hand", "a second", Better::Neither, vec![messages / by_hand_s]);
        part.figure("as fast as by hand", "times", Better::Higher, vec![by_hand_s / taken_s]).bar(BAR_TIMES_HAND);
    }

    let began = Instant::now();
    let server = Server::start(&options.job.server, &store, environment(options.job.full))?;
    let agent = ureq::Agent::new_with_defaults();
    let ready = format!("{}/readyz", server.url);
    wait_until(PATIENCE, "/readyz", || agent.get(&ready).call().is_ok())?;
    let ready_s = began.elapsed().as_secs_f64();
    part.figure("until ready after a restart", "s", Better::Lower, vec![ready_s]);
    part.figure("messages of a restart", "a second", Better::Higher, vec![messages / ready_s])
        .bar(BARS_RESTART[usize::from(options.job.full)]);
    part.figure("peak RSS of a restart", "MiB", Better::Lower, vec![machine::peak_rss_mib(&server.pid())]);
    Ok(part.done())
}

/// The configuration of the job: every view on, or `sb`.
pub(crate) fn environment(is_full: bool) -> Vec<(&'static str, String)> {
    match is_full {
        true => Vec::new(),
        false => vec![
            ("ETALAGE_WINDOWS__NAMES", "10m".into()),
            ("ETALAGE_SCOPES__DIMENSIONS", "global,category".into()),
            ("ETALAGE_VIEWS__OFF", workload::views_off()),
        ],
    }
}

/// Plays the file into a store; how many seconds it took.
pub(crate) fn take(
    server: &Path,
    environment: Vec<(&'static str, String)>,
    file: &Path,
    store: &Path,
) -> anyhow::Result<f64> {
    let mut command = Command::new(server);
    command.arg("replay").arg(file).args(["--format", "jsonl", "--quiet", "--data-dir"]).arg(store);
    command.envs(environment).stdout(Stdio::null()).stderr(Stdio::piped());
    let began = Instant::now();
    let ended = command.output().with_context(|| format!("{} cannot be started", server.display()))?;
    if !ended.status.success() {
        bail!("`etalage replay` ended with {}: {}", ended.status, String::from_utf8_lossy(&ended.stderr));
    }
    Ok(began.elapsed().as_secs_f64())
}
