//! Reads over HTTP with a key, while events are written: how many, and how late at half of that.
//!
//! Half of the reads are of sets (`set.bestsellers` of a category), half of profiles
//! (`profile.snapshot`), at random. The clients share the cores with the server, so what a core of the
//! server does is told by its CPU time. Beside it stands the floor: the same clients ask `/healthz`, whose answer
//! says nothing, so that what HTTP and the loopback take on this machine is known.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    figures::{Better, Latency, Part, Recorder},
    machine::{self, MemoryWatch},
    server::{Server, wait_until},
};

const CATEGORIES: u64 = 50;
/// Events of a request that writes.
const BATCH: u64 = 500;
/// How long the server may take until it shows what it has stored.
const PATIENCE: Duration = Duration::from_secs(120);
/// Reads a second of a core, and at half of what is achieved percentile and milliseconds.
const BAR_PER_CORE: f64 = 40_000.0;
const BARS_MS: (f64, f64) = (99.0, 2.0);
/// From the making of the schedule to its beginning.
const LEAD: Duration = Duration::from_millis(200);

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The server's binary
    #[arg(long, default_value = "target/release/etalage")]
    server: PathBuf,
    /// Connections that read
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    connections: u64,
    /// Seconds of each phase
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Seconds of the phase with a rate that are not counted
    #[arg(long, default_value_t = 2)]
    warm_up_s: u64,
    /// Events a second that are written meanwhile
    #[arg(long, default_value_t = 2_000)]
    writes: u64,
    /// Events that are there beforehand
    #[arg(long, default_value_t = 100_000)]
    events: u64,
    /// Customers
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    customers: u64,
    /// Items
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    items: u64,
    /// Seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Measures.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Part> {
    let dir = tempfile::tempdir()?;
    let key = Key::make(&options.server)?;
    let server = Server::start(&options.server, dir.path(), [("ETALAGE_KEYS__SECRET", key.sha256.clone())])?;
    let mut part = Part::begin(
        "read",
        format!(
            "one key a request, with key check: half set.bestsellers of {CATEGORIES} categories, half profile.snapshot \
             of {} customers; the default configuration with every view on; {} connections, keep-alive, on the \
             server's cores; the latencies while {} events a second are written",
            options.customers, options.connections, options.writes
        ),
    );
    part.latency(machine::noise(machine::NOISE));
    let reader = Reader { url: server.url.clone(), key: key.key, customers: options.customers };
    fill(options, &reader)?;
    let pid = server.pid();
    let memory = MemoryWatch::of(pid.clone());

    let floor = as_fast_as_it_goes(options, &pid, |agent, _| reader.get(agent, "/healthz"))?;
    let reads = as_fast_as_it_goes(options, &pid, |agent, random| reader.read(agent, random))?;
    let (rate, floor_rate) = (reads.per_second, floor.per_second);
    part.figure("answers that say nothing", "a second, beside the clients", Better::Neither, vec![floor_rate]);
    part.figure("answers that say nothing", "a second of a core of the server", Better::Neither, vec![floor.per_core]);
    part.figure("reads", "a second, beside the clients", Better::Higher, vec![rate]);
    part.figure("reads", "a second of a core of the server", Better::Higher, vec![reads.per_core]).bar(BAR_PER_CORE);
    let of_floor = reads.per_core / floor.per_core;
    part.figure("reads, of answers that say nothing", "times", Better::Neither, vec![of_floor]);

    let half = rate / 2.0;
    let (latencies, achieved, written) = at_a_rate(options, &reader, half)?;
    part.figure("events written meanwhile", "a second", Better::Neither, vec![written]);
    let latency = latencies.latency("at half of that").at_rate(half, achieved);
    part.latency(Latency { bars_ms: vec![BARS_MS], ..latency });
    part.figure("server's peak RSS", "MiB", Better::Lower, vec![machine::peak_rss_mib(&pid)]);
    part.part.curves.push(memory.curve("server"));
    Ok(part.done())
}

/// A secret key, and what the configuration knows of it.
#[derive(serde::Deserialize)]
struct Key {
    key: String,
    sha256: String,
}

impl Key {
    fn make(binary: &Path) -> anyhow::Result<Key> {
        let made = Command::new(binary).args(["key", "new", "sk", "--json"]).output();
        let made = made.with_context(|| format!("{} cannot be started", binary.display()))?;
        serde_json::from_slice(&made.stdout).context("`etalage key new sk --json` makes a key and its hash")
    }
}

/// Who reads, and writes.
#[derive(Clone)]
struct Reader {
    url: String,
    key: String,
    customers: u64,
}

impl Reader {
    fn get(&self, agent: &ureq::Agent, path: &str) -> Result<usize, ureq::Error> {
        let answer = agent.get(format!("{}{path}", self.url)).header("authorization", format!("Bearer {}", self.key));
        Ok(answer.call()?.body_mut().read_to_vec()?.len())
    }

    /// Reads something at random.
    fn read(&self, agent: &ureq::Agent, random: &mut ChaCha8Rng) -> Result<usize, ureq::Error> {
        let path = match random.random_bool(0.5) {
            true => {
                let category = random.random_range(0..CATEGORIES);
                format!("/v1/views/set.bestsellers/category:c{category}/1h")
            }
            false => format!("/v1/views/profile.snapshot/anon:v{}", random.random_range(0..self.customers)),
        };
        self.get(agent, &path)
    }

    /// Records that are stored and not published yet, of both groups.
    fn backlog(&self, agent: &ureq::Agent) -> anyhow::Result<f64> {
        let metrics =
            agent.get(format!("{}/metrics", self.url)).header("authorization", format!("Bearer {}", self.key));
        let metrics = metrics.call()?.body_mut().read_to_string()?;
        let of_groups = metrics.lines().filter(|line| line.starts_with("etalage_backlog_records{"));
        let of_groups = of_groups.map(|line| line.rsplit(' ').next().unwrap_or_default().parse::<f64>());
        let of_groups = of_groups.collect::<Result<Vec<_>, _>>()?;
        ensure!(of_groups.len() == 2, "the metrics tell the backlog of both groups");
        Ok(of_groups.iter().sum())
    }

    fn write(&self, agent: &ureq::Agent, body: &str) -> Result<(), ureq::Error> {
        let request = agent.post(format!("{}/v1/events", self.url));
        request.header("authorization", format!("Bearer {}", self.key)).send(body)?.body_mut().read_to_vec()?;
        Ok(())
    }
}

/// A batch of events from the `first` one on, of customers in turn.
fn batch(options: &Options, first: u64) -> String {
    let event = |at: u64| {
        let item = at.wrapping_mul(7_919) % options.items;
        format!(
            "{{\"messageId\":\"e{at}\",\"event\":\"view_item\",\"anonymousId\":\"v{}\",\"properties\":{{\"items\":[\
             {{\"item_id\":\"i{item}\",\"item_category\":\"c{}\",\"price\":9.99}}]}}}}\n",
            at % options.customers,
            item % CATEGORIES
        )
    };
    (first..first + BATCH).map(event).collect()
}

/// Writes what is there beforehand, and waits until it can be read.
fn fill(options: &Options, reader: &Reader) -> anyhow::Result<()> {
    let agent = ureq::Agent::new_with_defaults();
    for first in (0..options.events.max(options.customers)).step_by(BATCH as usize) {
        // A server that is behind says so; the batch comes again.
        wait_until(PATIENCE, "room for events", || reader.write(&agent, &batch(options, first)).is_ok())?;
    }
    wait_until(PATIENCE, "the last customer", || {
        (0..options.customers)
            .rev()
            .step_by(1 + options.customers as usize / 100)
            .all(|customer| reader.get(&agent, &format!("/v1/views/profile.snapshot/anon:v{customer}")).is_ok())
    })?;
    // What is stored and not published yet would be work beside the answers that are counted.
    wait_until(PATIENCE, "the end of the backlog", || reader.backlog(&agent).is_ok_and(|records| records == 0.0))
}

/// How many answers there were.
struct Answers {
    per_second: f64,
    /// Of the server's CPU time.
    per_core: f64,
}

/// Asks from all connections, one question after another each.
fn as_fast_as_it_goes(
    options: &Options,
    pid: &str,
    ask: impl Fn(&ureq::Agent, &mut ChaCha8Rng) -> Result<usize, ureq::Error> + Sync,
) -> anyhow::Result<Answers> {
    let cpu_s = machine::cpu_s(pid);
    let until = Instant::now() + Duration::from_secs(options.seconds);
    let answers = on_each_connection(options, |connection| {
        let agent = ureq::Agent::new_with_defaults();
        let mut random = ChaCha8Rng::seed_from_u64(options.seed + connection);
        let mut answers: u64 = 0;
        while Instant::now() < until {
            ensure!(ask(&agent, &mut random)? > 0, "an answer has a body");
            answers += 1;
        }
        Ok(answers)
    });
    let answers = answers?.into_iter().sum::<u64>() as f64;
    let server_cpu_s = machine::cpu_s(pid) - cpu_s;
    Ok(Answers { per_second: answers / options.seconds as f64, per_core: answers / server_cpu_s })
}

/// Reads at instants that are fixed beforehand, while events are written; how many reads a second it were, and
/// how many events.
fn at_a_rate(options: &Options, reader: &Reader, rate: f64) -> anyhow::Result<(Recorder, f64, f64)> {
    let began = Instant::now() + LEAD;
    let seconds = options.warm_up_s + options.seconds;
    let reads = (rate * seconds as f64) as u64;
    let is_over = AtomicBool::new(false);
    let ended = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_meanwhile(options, reader, began, &is_over));
        let recorders = on_each_connection(options, |connection| {
            let agent = ureq::Agent::new_with_defaults();
            let mut random = ChaCha8Rng::seed_from_u64(options.seed + 1_000 + connection);
            let mut recorder = Recorder::after(options.warm_up_s * 1_000_000);
            for read in (connection..reads).step_by(options.connections as usize) {
                let due_us = (read as f64 * 1e6 / rate) as u64;
                let due = began + Duration::from_micros(due_us);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                ensure!(reader.read(&agent, &mut random)? > 0, "an answer has a body");
                recorder.record(due_us, Instant::now().saturating_duration_since(began).as_micros() as u64);
            }
            Ok(recorder)
        });
        let elapsed_s = began.elapsed().as_secs_f64();
        is_over.store(true, Ordering::Relaxed);
        let written = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
        anyhow::Ok((recorders?, elapsed_s, written))
    });
    let (recorders, elapsed_s, written) = ended?;
    let mut all = Recorder::after(options.warm_up_s * 1_000_000);
    recorders.into_iter().for_each(|recorder| all.merge(recorder));
    Ok((all, reads as f64 / elapsed_s, written as f64 / elapsed_s))
}

fn write_meanwhile(options: &Options, reader: &Reader, began: Instant, is_over: &AtomicBool) -> anyhow::Result<u64> {
    let agent = ureq::Agent::new_with_defaults();
    let mut written = 0;
    while options.writes > 0 && !is_over.load(Ordering::Relaxed) {
        let due = began + Duration::from_micros(written * 1_000_000 / options.writes);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // A server that is behind says so; the batch comes again.
        let body = batch(options, options.events.max(options.customers) + written);
        wait_until(PATIENCE, "room for events", || reader.write(&agent, &body).is_ok())?;
        written += BATCH;
    }
    Ok(written)
}

fn on_each_connection<T: Send>(
    options: &Options,
    work: impl Fn(u64) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<Vec<T>> {
    std::thread::scope(|scope| {
        let threads = (0..options.connections).map(|connection| {
            let work = &work;
            scope.spawn(move || work(connection))
        });
        let threads = threads.collect::<Vec<_>>();
        let joined =
            threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a reader panicked"))?);
        joined.collect()
    })
}
