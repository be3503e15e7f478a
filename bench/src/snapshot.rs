//! Snapshots: how long one takes, what a restart from it costs, and what whoever reads notices meanwhile.
//!
//! The workload is played into a store, the service started over it: that reads the whole log. A snapshot is asked for
//! twice: the first writes everything, the second what has changed. Then events come in at a fixed rate, for a while
//! alone and for as long while one snapshot follows another; latency is from the instant at which a request is due to
//! the message of the stream that shows it, as in `ingest`. At last the service is killed and started again: what
//! counts is the time until `/readyz` says yes, with the events that came after the last snapshot to be read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    figures::{Better, Part},
    generate::{self, Format},
    ingest::{self, Loaded},
    machine,
    replay::{self, Job},
    server::{Server, wait_until},
    workload,
};

/// How long a restart from a snapshot may take.
const BAR_READY_S: f64 = 5.0;
/// How long a snapshot may take.
const BAR_SNAPSHOT_S: f64 = 3.0;
/// How many times as long a percentile may be while snapshots are taken.
const BAR_TIMES_WITHOUT: f64 = 2.0;
/// How long a restart over the log may take.
const PATIENCE: Duration = Duration::from_secs(1_200);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(300);

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    job: Job,
    /// How many days ago the last message happened: 0, and the windows are full of what was read; 40, and they are empty
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    ended_days_ago: u64,
    /// Events a second while snapshots are taken, and while none are
    #[arg(long, default_value_t = 10_000)]
    rate: u64,
    /// Seconds of each
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// Measures.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Part> {
    let job =
        if options.job.full { "the default configuration with every view on" } else { "sb, and the brands of probes" };
    let mut part = Part::begin(
        "snapshot",
        format!("{job}; durability = process; 1 worker; snapshots in a folder of the same disk, each file synced"),
    );
    part.latency(machine::noise(machine::NOISE));
    let dir = tempfile::tempdir()?;
    let (file, store) = (dir.path().join("messages.jsonl"), dir.path().join("store"));
    let messages = generate::into_file(&options.job.shape, Format::Jsonl, Some(options.ended_days_ago), &file)? as f64;
    replay::take(&options.job.server, environment(options), &file, &store)?;
    std::fs::remove_file(&file)?;
    let (server, over_log_s) = start(options, &store)?;
    part.figure("messages of history", "", Better::Neither, vec![messages]);
    part.figure("until ready over the log", "s", Better::Lower, vec![over_log_s]);

    let mut written = Vec::new();
    for name in ["a snapshot", "a second one"] {
        let began = Instant::now();
        let answer = take_one(&server.url)?;
        let figure = part.figure(name, "s", Better::Lower, vec![began.elapsed().as_secs_f64()]);
        if written.is_empty() {
            figure.bar(BAR_SNAPSHOT_S);
        }
        written.push(answer);
    }
    let number = |answer: &Value, name: &str| answer[name].as_f64().unwrap_or_default();
    part.figure("rows of a snapshot", "", Better::Neither, vec![number(&written[0], "rows")]);
    let mib = 1_048_576.0;
    part.figure("a snapshot, stored", "MiB", Better::Lower, vec![number(&written[0], "stored_bytes") / mib]);
    part.figure("new in the second one", "MiB", Better::Lower, vec![number(&written[1], "new_bytes") / mib]);

    let alone = load(options, &server.url, 0)?;
    let stop = Arc::new(AtomicBool::new(false));
    let taking = std::thread::spawn({
        let (stop, url) = (Arc::clone(&stop), server.url.clone());
        move || {
            let mut taken = 0;
            while !stop.load(Ordering::SeqCst) {
                take_one(&url)?;
                taken += 1;
            }
            anyhow::Ok(taken)
        }
    });
    let meanwhile = load(options, &server.url, 1)?;
    stop.store(true, Ordering::SeqCst);
    let taken = taking.join().map_err(|_| anyhow::anyhow!("the thread that takes snapshots panicked"))??;
    part.part.remarks.push(format!("{taken} snapshots were taken, one after the other"));
    let mut p99_ms = Vec::new();
    for (name, loaded) in [("visible, no snapshot", alone), ("visible, snapshots all the time", meanwhile)] {
        let latency = loaded.visible.latency(name).at_rate(options.rate as f64, loaded.events / loaded.elapsed_s);
        p99_ms.push(latency.percentile_ms(99.0));
        part.latency(latency);
    }
    part.figure("p99 with snapshots, of that without", "times", Better::Lower, vec![p99_ms[1] / p99_ms[0]])
        .bar(BAR_TIMES_WITHOUT);
    part.figure("peak RSS with snapshots", "MiB", Better::Lower, vec![machine::peak_rss_mib(&server.pid())]);

    drop(server);
    let (server, ready_s) = start(options, &store)?;
    part.figure("until ready from a snapshot", "s", Better::Lower, vec![ready_s]).bar(BAR_READY_S);
    part.figure("peak RSS of that", "MiB", Better::Lower, vec![machine::peak_rss_mib(&server.pid())]);
    Ok(part.done())
}

/// The configuration: nothing is taken without being asked for.
fn environment(options: &Options) -> Vec<(&'static str, String)> {
    let mut environment =
        vec![("ETALAGE_SNAPSHOTS__EVERY", "30d".to_owned()), ("ETALAGE_SNAPSHOTS__AFTER_RECORDS", "0".to_owned())];
    if !options.job.full {
        environment.extend([
            ("ETALAGE_WINDOWS__NAMES", "10m".to_owned()),
            ("ETALAGE_SCOPES__DIMENSIONS", "global,category,brand".to_owned()),
            ("ETALAGE_VIEWS__OFF", workload::views_off()),
        ]);
    }
    environment
}

/// Starts the service; how long it took until it was ready.
fn start(options: &Options, store: &std::path::Path) -> anyhow::Result<(Server, f64)> {
    let began = Instant::now();
    let server = Server::start(&options.job.server, store, environment(options))?;
    let agent = ureq::Agent::new_with_defaults();
    let ready = format!("{}/readyz", server.url);
    wait_until(PATIENCE, "/readyz", || agent.get(&ready).call().is_ok())?;
    Ok((server, began.elapsed().as_secs_f64()))
}

/// Asks for a snapshot, and waits for it.
fn take_one(url: &str) -> anyhow::Result<Value> {
    let request = ureq::post(format!("{url}/v1/snapshots")).config().timeout_global(Some(ANSWER)).build();
    Ok(serde_json::from_str(&request.send_empty()?.body_mut().read_to_string()?)?)
}

fn load(options: &Options, url: &str, turn: u64) -> anyhow::Result<Loaded> {
    const CONNECTIONS: usize = 8;
    let load = ingest::Options {
        server: options.job.server.clone(),
        rate: options.rate,
        batch: 20,
        connections: CONNECTIONS,
        seconds: options.seconds,
        warm_up_s: 2,
        items: 100_000,
        seed: turn,
        durability: "process".into(),
        first_lane: turn * CONNECTIONS as u64,
    };
    ingest::put_load(&load, url)
}
