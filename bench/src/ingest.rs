//! Latency from HTTP to a reader of the event stream, open loop. The server is another process.
//!
//! What is visible is counted, not guessed: the last event of every request is a view of an item
//! that only its connection ever names, alone of its brand. A connection sends one request after
//! another, so the score of that brand's only bestseller is the number of its requests whose events
//! the stream shows.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    sync::mpsc,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};

use crate::{
    figures::{Better, Latency, Part, Recorder},
    machine::{self, MemoryWatch},
    server::Server,
    workload,
};

/// The brand of a connection's own item, and the scope that it makes.
pub(crate) const PROBE_BRAND: &str = "probe-";
pub(crate) const PROBE_SCOPE: &str = "brand:probe-";

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The server's binary
    #[arg(long, default_value = "target/release/etalage")]
    pub(crate) server: PathBuf,
    /// Events a second
    #[arg(long, default_value_t = 50_000)]
    pub(crate) rate: u64,
    /// Events in a request
    #[arg(long, default_value_t = 100)]
    pub(crate) batch: u64,
    /// Connections
    #[arg(long, default_value_t = 16)]
    pub(crate) connections: usize,
    /// Seconds that are counted
    #[arg(long, default_value_t = 20)]
    pub(crate) seconds: u64,
    /// Seconds before that are not
    #[arg(long, default_value_t = 3)]
    pub(crate) warm_up_s: u64,
    /// Items
    #[arg(long, default_value_t = 100_000)]
    pub(crate) items: usize,
    /// Seed
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Durability of the store
    #[arg(long, default_value = "process")]
    pub(crate) durability: String,
    /// The number of the first connection: of two loads on one server each has its own.
    #[arg(skip)]
    pub(crate) first_lane: u64,
}

/// Bars: percentiles, and milliseconds.
const BARS_MS: [(f64, f64); 2] = [(50.0, 1.0), (99.0, 10.0)];
/// From the making of the schedule to its beginning.
const LEAD: Duration = Duration::from_millis(200);
/// For how long after the end what was sent may still be shown.
const PATIENCE: Duration = Duration::from_millis(500);

/// Measures.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Part> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(&options.server, dir.path(), environment(&options.durability))?;
    let mut part = Part::begin(
        "ingest",
        format!(
            "set.bestsellers over 10m, global and brand, every other view but item.sellable off; JSON over HTTP, {} events a request, {} connections, durability = {}, \
             dedup on; from the instant at which a request is due to its storing, and to a message of the stream that \
             shows it",
            options.batch, options.connections, options.durability
        ),
    );
    part.latency(machine::noise(machine::NOISE));
    let pid = server.pid();
    let memory = MemoryWatch::of(pid.clone());
    let Loaded { acknowledged, visible, events, elapsed_s } = put_load(options, &server.url)?;
    let at_rate =
        |name: &str, recorder: &Recorder| recorder.latency(name).at_rate(options.rate as f64, events / elapsed_s);
    part.latency(at_rate("stored", &acknowledged));
    part.latency(Latency { bars_ms: BARS_MS.to_vec(), ..at_rate("visible", &visible) });
    if visible.count() < acknowledged.count() {
        let missing = acknowledged.count() - visible.count();
        part.part.remarks.push(format!(
            "NOT SEEN: {missing} of {} requests had not been shown {PATIENCE:?} after the end",
            acknowledged.count()
        ));
    }
    part.figure("server's peak RSS", "MiB", Better::Lower, vec![machine::peak_rss_mib(&pid)]);
    part.figure("server's CPU", "s a million events", Better::Lower, vec![machine::cpu_s(&pid) * 1e6 / events]);
    part.part.curves.push(memory.curve("server"));
    Ok(part.done())
}

/// What became of a load.
pub(crate) struct Loaded {
    pub(crate) acknowledged: Recorder,
    pub(crate) visible: Recorder,
    /// Events that were sent.
    pub(crate) events: f64,
    pub(crate) elapsed_s: f64,
}

/// Sends requests to the server at `url`, each at its intended instant.
pub(crate) fn put_load(options: &Options, url: &str) -> anyhow::Result<Loaded> {
    let (seen_tx, seen) = mpsc::channel();
    read_stream(url, seen_tx)?;
    let began = Instant::now() + LEAD;
    let requests = (options.warm_up_s + options.seconds) * options.rate / options.batch;
    let threads: Vec<_> = (0..options.connections)
        .map(|lane| {
            let (options, url) = (options.clone(), url.to_owned());
            std::thread::spawn(move || load(&options, &url, lane as u64, requests, began))
        })
        .collect();
    let mut acknowledged = Recorder::after(options.warm_up_s * 1_000_000);
    for thread in threads {
        acknowledged.merge(thread.join().map_err(|_| anyhow::anyhow!("a load thread panicked"))??);
    }
    let elapsed_s = began.elapsed().as_secs_f64();
    std::thread::sleep(PATIENCE);
    let visible = visible(options, requests, began, seen.try_iter());
    Ok(Loaded { acknowledged, visible, events: (requests * options.batch) as f64, elapsed_s })
}

/// The configuration of the server with nothing on but `set.bestsellers` and what it needs.
pub(crate) fn environment(durability: &str) -> [(&'static str, String); 4] {
    [
        ("ETALAGE_WINDOWS__NAMES", "10m".into()),
        ("ETALAGE_SCOPES__DIMENSIONS", "global,brand".into()),
        ("ETALAGE_VIEWS__OFF", workload::views_off()),
        ("ETALAGE_STORE__DURABILITY", durability.into()),
    ]
}

/// A message of the stream, as far as it matters here.
#[derive(serde::Deserialize)]
struct StreamMessage {
    changes: Vec<SetChange>,
}

#[derive(serde::Deserialize)]
struct SetChange {
    key: SetKey,
    value: Option<Set>,
}

/// The key of `set.bestsellers`, as far as it matters here.
#[derive(serde::Deserialize)]
pub(crate) struct SetKey {
    pub(crate) scope: String,
}

/// Its value.
#[derive(serde::Deserialize)]
pub(crate) struct Set {
    items: Vec<SetEntry>,
}

#[derive(serde::Deserialize)]
struct SetEntry {
    score: u64,
}

impl Set {
    /// The score of the first item.
    pub(crate) fn best(&self) -> Option<u64> {
        self.items.first().map(|entry| entry.score)
    }
}

/// How many requests of a connection a message showed, and when it arrived.
pub(crate) struct Seen {
    pub(crate) lane: u64,
    pub(crate) requests: u64,
    pub(crate) arrived: Instant,
}

/// Follows the stream of `set.bestsellers` from now on, on a thread of its own that ends with the stream.
pub(crate) fn read_stream(url: &str, seen: mpsc::Sender<Seen>) -> anyhow::Result<()> {
    let answer = ureq::get(format!("{url}/v1/stream?sub=set.bestsellers")).call()?;
    std::thread::spawn(move || {
        let lines = BufReader::new(answer.into_body().into_reader()).lines();
        for line in lines.map_while(Result::ok) {
            let Some(data) = line.strip_prefix("data:") else { continue };
            let arrived = Instant::now();
            let Ok(message) = serde_json::from_str::<StreamMessage>(data) else { continue };
            for change in message.changes {
                let lane = change.key.scope.strip_prefix(PROBE_SCOPE).and_then(|lane| lane.parse().ok());
                let score = change.value.and_then(|set| set.best());
                let (Some(lane), Some(requests)) = (lane, score) else { continue };
                if seen.send(Seen { lane, requests, arrived }).is_err() {
                    return;
                }
            }
        }
    });
    Ok(())
}

/// Makes the bodies of a connection's requests: events of items as popular as in the workload, the last of them
/// the connection's probe.
pub(crate) struct Bodies {
    lane: u64,
    batch: u64,
    random: ChaCha8Rng,
    zipf: Zipf<f64>,
}

impl Bodies {
    /// Bodies of `batch` events.
    pub(crate) fn of(lane: u64, batch: u64, items: usize, seed: u64) -> anyhow::Result<Bodies> {
        let random = ChaCha8Rng::seed_from_u64(seed + lane);
        Ok(Bodies { lane, batch, random, zipf: Zipf::new(items as f64, 1.05)? })
    }

    /// The body of a request, as lines of JSON.
    pub(crate) fn make(&mut self, request: u64) -> String {
        let lane = self.lane;
        let mut body = String::with_capacity(200 * self.batch as usize);
        for at in 1..self.batch {
            let item = self.zipf.sample(&mut self.random) as u64;
            let name = ["view_item", "add_to_cart"][usize::from(self.random.random_bool(0.1))];
            body.push_str(&format!(
                "{{\"messageId\":\"{lane}-{request}-{at}\",\"event\":\"{name}\",\"anonymousId\":\"v{}\",\"properties\":\
                 {{\"items\":[{{\"item_id\":\"i{item}\",\"price\":9.99}}]}}}}\n",
                self.random.random_range(0..1_000_000)
            ));
        }
        body.push_str(&format!(
            "{{\"messageId\":\"{lane}-{request}-probe\",\"event\":\"view_item\",\"anonymousId\":\"probe\",\"properties\":\
             {{\"items\":[{{\"item_id\":\"probe-{lane}\",\"item_brand\":\"{PROBE_BRAND}{lane}\",\"price\":9.99}}]}}}}\n"
        ));
        body
    }
}

/// One connection's requests, each at its intended instant.
fn load(options: &Options, url: &str, lane: u64, requests: u64, began: Instant) -> anyhow::Result<Recorder> {
    let agent = ureq::Agent::new_with_defaults();
    let url = format!("{url}/v1/events");
    let mut bodies = Bodies::of(options.first_lane + lane, options.batch, options.items, options.seed)?;
    let mut acknowledged = Recorder::after(options.warm_up_s * 1_000_000);
    for request in (lane..requests).step_by(options.connections) {
        let body = bodies.make(request);
        let intended_us = intended_us(options, request);
        let due = began + Duration::from_micros(intended_us);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        agent.post(&url).send(&body)?.body_mut().read_to_string()?;
        let stored_us = Instant::now().saturating_duration_since(began).as_micros() as u64;
        acknowledged.record(intended_us, stored_us);
    }
    Ok(acknowledged)
}

/// The instant, fixed before the run, at which a request is to be sent.
fn intended_us(options: &Options, request: u64) -> u64 {
    request * options.batch * 1_000_000 / options.rate
}

/// From the intended instant of each request to the arrival of the message that shows its events.
fn visible(options: &Options, requests: u64, began: Instant, seen: impl Iterator<Item = Seen>) -> Recorder {
    let mut recorder = Recorder::after(options.warm_up_s * 1_000_000);
    let lanes = options.connections as u64;
    let mut shown = vec![0; options.connections];
    for Seen { lane, requests: count, arrived } in seen {
        let arrived_us = arrived.saturating_duration_since(began).as_micros() as u64;
        let Some(lane) = lane.checked_sub(options.first_lane) else { continue };
        let Some(before) = shown.get_mut(lane as usize) else { continue };
        let newly = (*before..count).map(|at| lane + at * lanes).filter(|request| *request < requests);
        newly.for_each(|request| recorder.record(intended_us(options, request), arrived_us));
        *before = count.max(*before);
    }
    recorder
}
