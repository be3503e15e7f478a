//! Latency from HTTP to a reader of the event stream, open loop. The server is another process.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};

use crate::report;

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The server's binary
    #[arg(long, default_value = "target/release/etalage")]
    server: PathBuf,
    /// Events a second
    #[arg(long, default_value_t = 50_000)]
    rate: u64,
    /// Events in a request
    #[arg(long, default_value_t = 100)]
    batch: u64,
    /// Connections
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Seconds that are counted
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Seconds before that are not
    #[arg(long, default_value_t = 3)]
    warm_up_s: u64,
    /// Items
    #[arg(long, default_value_t = 100_000)]
    items: usize,
    /// Seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Durability of the store
    #[arg(long, default_value = "process")]
    durability: String,
    /// Writes the whole distribution there
    #[arg(long)]
    hgrm: Option<PathBuf>,
}

/// Ends the server with the run, however that ends.
struct Server {
    child: Child,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    report::heading();
    let dir = tempfile::tempdir()?;
    let server = start(options, dir.path())?;
    println!(
        "job      set.bestsellers over 10m, global; JSON over HTTP, {} events a request, {} connections, \
         durability = {}, dedup on; from the intended instant to a message of the stream",
        options.batch, options.connections, options.durability
    );
    report::latencies("noise", &report::noise(Duration::from_secs(2)));
    let began = Instant::now() + Duration::from_millis(200);
    let stored: Arc<Mutex<Vec<(u64, u64)>>> = Arc::default();
    let (seen_tx, seen) = mpsc::channel();
    read_stream(&server.url, began, seen_tx)?;
    let requests = (options.warm_up_s + options.seconds) * options.rate / options.batch;
    let threads: Vec<_> = (0..options.connections)
        .map(|lane| {
            let (options, url, stored) = (options.clone(), server.url.clone(), Arc::clone(&stored));
            std::thread::spawn(move || load(&options, &url, lane as u64, requests, began, &stored))
        })
        .collect();
    let mut acknowledged = report::histogram();
    for thread in threads {
        let of_thread = thread.join().map_err(|_| anyhow::anyhow!("a load thread panicked"))??;
        acknowledged.add(of_thread)?;
    }
    let elapsed_s = began.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_millis(500));
    let messages: Vec<(u64, u64)> = seen.try_iter().collect();
    let visible = visible(options, &stored.lock().unwrap_or_else(|lock| lock.into_inner()), &messages);
    let pid = server.child.id().to_string();
    let achieved = (requests * options.batch) as f64 / elapsed_s;
    println!("offered  {} events/s, achieved {achieved:.0}", options.rate);
    if achieved < options.rate as f64 * 0.98 {
        println!("could not keep up: the percentiles below are those of a growing queue");
    }
    report::latencies("stored", &acknowledged);
    report::latencies("visible", &visible);
    let events = (requests * options.batch) as f64;
    println!(
        "server   peak RSS {:.0} MiB, {:.2} CPU s per million events",
        report::peak_rss_mib(&pid),
        report::cpu_s(&pid) * 1e6 / events
    );
    options.hgrm.as_deref().map_or(Ok(()), |path| report::write_hgrm(path, &visible))
}

fn start(options: &Options, dir: &std::path::Path) -> anyhow::Result<Server> {
    let environment = [
        ("ETALAGE_WINDOWS__NAMES", "10m"),
        ("ETALAGE_SCOPES__DIMENSIONS", "global"),
        ("ETALAGE_VIEWS__OFF", "item.popularity,scope.totals"),
        ("ETALAGE_STORE__DURABILITY", &options.durability),
    ];
    let mut child = Command::new(&options.server)
        .args(["run", "--port", "0", "--data-dir"])
        .arg(dir)
        .envs(environment)
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| {
            format!("{} cannot be started; build it with `cargo build --release`", options.server.display())
        })?;
    let stderr = child.stderr.take().context("a pipe was asked for")?;
    let mut lines = BufReader::new(stderr).lines();
    let Some(url) = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let at = line.find("http://")?;
        Some(line[at..].split_whitespace().next()?.to_owned())
    }) else {
        bail!("the server did not say where it listens");
    };
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("server: {line}")));
    Ok(Server { child, url })
}

/// Sends the arrival and the tick of each message, both in microseconds.
fn read_stream(url: &str, began: Instant, seen: mpsc::Sender<(u64, u64)>) -> anyhow::Result<()> {
    let answer = ureq::get(format!("{url}/v1/stream?sub=set.bestsellers")).call()?;
    std::thread::spawn(move || {
        let lines = BufReader::new(answer.into_body().into_reader()).lines();
        for line in lines.map_while(Result::ok) {
            let Some(data) = line.strip_prefix("data:") else { continue };
            let arrived_us = Instant::now().saturating_duration_since(began).as_micros() as u64;
            let Some(tick) = field(data, "\"tick\":") else { continue };
            if seen.send((arrived_us, tick)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

fn field(data: &str, name: &str) -> Option<u64> {
    let rest = &data[data.find(name)? + name.len()..];
    rest[..rest.find(|c: char| !c.is_ascii_digit())?].parse().ok()
}

/// One connection's requests, each at its intended instant.
fn load(
    options: &Options,
    url: &str,
    lane: u64,
    requests: u64,
    began: Instant,
    stored: &Mutex<Vec<(u64, u64)>>,
) -> anyhow::Result<Histogram<u64>> {
    let agent = ureq::Agent::new_with_defaults();
    let url = format!("{url}/v1/events");
    let mut random = ChaCha8Rng::seed_from_u64(options.seed + lane);
    let zipf = Zipf::new(options.items as f64, 1.05)?;
    let mut acknowledged = report::histogram();
    let step_us = options.batch as f64 * 1e6 / options.rate as f64;
    for request in (lane..requests).step_by(options.connections) {
        let mut body = String::with_capacity(200 * options.batch as usize);
        for at in 0..options.batch {
            let item = zipf.sample(&mut random) as u64;
            let name = ["view_item", "add_to_cart"][usize::from(random.random_bool(0.1))];
            body.push_str(&format!(
                "{{\"messageId\":\"{request}-{at}\",\"event\":\"{name}\",\"anonymousId\":\"v{}\",\"properties\":\
                 {{\"items\":[{{\"item_id\":\"i{item}\",\"price\":9.99}}]}}}}\n",
                random.random_range(0..1_000_000)
            ));
        }
        let intended_us = (request as f64 * step_us) as u64;
        let due = began + Duration::from_micros(intended_us);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        agent.post(&url).send(&body)?.body_mut().read_to_string()?;
        let stored_us = Instant::now().saturating_duration_since(began).as_micros() as u64;
        if intended_us >= options.warm_up_s * 1_000_000 {
            acknowledged.saturating_record(stored_us - intended_us);
        }
        let wall_us = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_micros() as u64;
        let mut stored = stored.lock().unwrap_or_else(|lock| lock.into_inner());
        stored.push((intended_us, wall_us));
    }
    Ok(acknowledged)
}

/// From the intended instant of each request to the first message of the stream that is as of its
/// acknowledgement or later: its events are in it for certain, so this errs on the slow side.
fn visible(options: &Options, stored: &[(u64, u64)], messages: &[(u64, u64)]) -> Histogram<u64> {
    let mut histogram = report::histogram();
    for (intended_us, wall_us) in stored.iter().filter(|(intended_us, _)| *intended_us >= options.warm_up_s * 1_000_000)
    {
        let at = messages.partition_point(|(_, tick)| tick < wall_us);
        if let Some((arrived_us, _)) = messages.get(at) {
            histogram.saturating_record(arrived_us.saturating_sub(*intended_us));
        }
    }
    histogram
}
