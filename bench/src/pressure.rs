//! More than the server can take: what it answers, what becomes of its memory, and how soon it is well again.
//!
//! Two runs, each over a fresh store, with every view on; what is told of each is of its second half, when the views of
//! people lag as much as they may:
//!
//! - **polite**: clients in a closed loop, who wait as long as `Retry-After` says. What is accepted is the sustainable
//!   rate.
//! - **pressed**: for as long, clients send on a schedule of `--times` that rate and never wait: open loop, each
//!   request at its instant, or as soon as the one before was answered.
//!
//! Then the load ends, and a probe tells when a message is taken, and shown by the views of the shop and of people, as
//! fast as before.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use hdrhistogram::Histogram;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    figures::{Better, Measuring, Part},
    machine,
    server::{Server, wait_until},
};

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The server's binary
    #[arg(long, default_value = "target/release/etalage")]
    server: PathBuf,
    /// How long each run is; its second half is told of
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// How many times the sustainable rate is sent
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    times: u64,
    /// Events in a request
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    /// Lines of an event
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..))]
    lines: u64,
    /// Connections
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    connections: u64,
    /// Items
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    items: u64,
    /// Messages that may wait to be stored (`limits.ingest_queue_events`)
    #[arg(long, default_value_t = 20_000)]
    queue: u64,
    /// Seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Under pressure at least this part of the sustainable rate is accepted.
const BAR_GOODPUT: f64 = 0.7;
/// Memory under pressure, of that of the polite run, at most.
const BAR_MEMORY: f64 = 1.5;
/// It is well again within so many seconds: `group_lag_max`, which may be taken up whole, and as much again to catch up with it, with room.
const BAR_RECOVERY_S: f64 = 30.0;
/// How soon a probe is shown by a server that is well.
const WELL: Duration = Duration::from_millis(250);
/// How long it may take to be well again.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a client waits that is turned away without being told how long.
const RETRY_AFTER_S: u64 = 1;

/// Measures.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Part> {
    let mut part = Part::begin(
        "pressure",
        format!(
            "JSON over HTTP, {} purchases of {} lines a request, every view on, ingest_queue_events = {}; {} s with 8 polite clients, then, \
             over a fresh store, {} s with {} clients that send {} times what was accepted and do not wait when they are \
             turned away. Load and server share the machine",
            options.batch,
            options.lines,
            options.queue,
            options.seconds,
            options.seconds,
            options.connections,
            options.times
        ),
    );
    let polite = run(options, None)?;
    let pressed = run(options, Some(polite.accepted_per_s() * options.times as f64))?;
    tell(&mut part, &polite, &pressed);
    Ok(part.done())
}

fn tell(part: &mut Measuring, polite: &Ran, pressed: &Ran) {
    let (higher, lower) = (Better::Higher, Better::Lower);
    part.figure("accepted, polite", "events a second", higher, vec![polite.accepted_per_s()]);
    part.figure("sent, pressed", "events a second", higher, vec![pressed.sent_per_s()]);
    part.figure("accepted, pressed", "events a second", higher, vec![pressed.accepted_per_s()]);
    let goodput = pressed.accepted_per_s() / polite.accepted_per_s();
    part.figure("accepted under pressure, of polite", "times", higher, vec![goodput]).bar(BAR_GOODPUT);
    part.figure("turned away (429, 503), pressed", "requests", lower, vec![pressed.turned_away as f64]);
    part.figure("turned away without Retry-After", "requests", lower, vec![pressed.untold as f64]).bar(0.0);
    part.figure("answered otherwise, or not", "requests", lower, vec![pressed.failed as f64]).bar(0.0);
    part.figure("a refusal takes, p99", "ms", lower, vec![pressed.refusal_p99_ms]);
    part.figure("peak memory, polite", "MiB", lower, vec![polite.peak_mib]);
    part.figure("peak memory, pressed", "MiB", lower, vec![pressed.peak_mib]);
    part.figure("peak memory, pressed of polite", "times", lower, vec![pressed.peak_mib / polite.peak_mib])
        .bar(BAR_MEMORY);
    part.figure("well again after the load", "s", lower, vec![pressed.recovery_s]).bar(BAR_RECOVERY_S);
    part.part.remarks.push(format!(
        "accepted in all: {} events by polite clients, {} under pressure: state grows with what is accepted",
        polite.accepted, pressed.accepted
    ));
}

/// What a run comes to.
struct Ran {
    /// The half that is told of.
    took: Duration,
    /// In all.
    accepted: u64,
    /// In that half, as what was sent and turned away.
    accepted_then: u64,
    sent: u64,
    turned_away: u64,
    /// Turned away without being told for how long.
    untold: u64,
    failed: u64,
    refusal_p99_ms: f64,
    peak_mib: f64,
    recovery_s: f64,
}

impl Ran {
    fn accepted_per_s(&self) -> f64 {
        self.accepted_then as f64 / self.took.as_secs_f64()
    }

    fn sent_per_s(&self) -> f64 {
        self.sent as f64 / self.took.as_secs_f64()
    }
}

/// One run over a fresh store; at a rate in events a second, or politely.
fn run(options: &Options, rate: Option<f64>) -> anyhow::Result<Ran> {
    let dir = tempfile::tempdir()?;
    let environment = [("ETALAGE_LIMITS__INGEST_QUEUE_EVENTS", options.queue.to_string())];
    let server = Server::start(&options.server, dir.path(), environment)?;
    let is_ready = || ureq::get(format!("{}/readyz", server.url)).call().is_ok();
    wait_until(PATIENCE, "the server's readiness", is_ready)?;
    let connections = if rate.is_some() { options.connections } else { 8 };
    let (next, began) = (AtomicU64::new(0), Instant::now());
    let half = Duration::from_secs(options.seconds) / 2;
    let ends = began + 2 * half;
    let lanes: Vec<Lane> = std::thread::scope(|scope| {
        let lane = |lane| Client {
            options,
            url: format!("{}/v1/events", server.url),
            lane,
            rate,
            next: &next,
            began,
            half: began + half,
            ends,
        };
        let lanes: Vec<_> = (0..connections).map(|at| scope.spawn(move || lane(at).run())).collect();
        lanes
            .into_iter()
            .map(|lane| lane.join().unwrap_or_else(|_| bail!("a load thread panicked")))
            .collect::<anyhow::Result<_>>()
    })?;
    let took = (began + half).elapsed();
    let recovery_s = recover(&server.url)?;
    let mut refusals = machine::histogram();
    for lane in &lanes {
        refusals.add(&lane.refusals)?;
    }
    let sum = |of: fn(&Lane) -> u64| lanes.iter().map(of).sum();
    Ok(Ran {
        took,
        accepted: sum(|lane| lane.accepted),
        accepted_then: sum(|lane| lane.accepted_then),
        sent: sum(|lane| lane.sent),
        turned_away: sum(|lane| lane.turned_away),
        untold: sum(|lane| lane.untold),
        failed: sum(|lane| lane.failed),
        refusal_p99_ms: refusals.value_at_quantile(0.99) as f64 / 1_000.0,
        peak_mib: machine::peak_rss_mib(&server.pid()),
        recovery_s,
    })
}

/// What became of a connection's events and requests.
struct Lane {
    accepted: u64,
    accepted_then: u64,
    sent: u64,
    turned_away: u64,
    untold: u64,
    failed: u64,
    /// How long refusals took, in microseconds.
    refusals: Histogram<u64>,
}

struct Client<'a> {
    options: &'a Options,
    url: String,
    lane: u64,
    rate: Option<f64>,
    /// Number of the next request of all connections.
    next: &'a AtomicU64,
    began: Instant,
    /// From when on it is told of.
    half: Instant,
    ends: Instant,
}

impl Client<'_> {
    fn run(self) -> anyhow::Result<Lane> {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut random = ChaCha8Rng::seed_from_u64(self.options.seed + self.lane);
        let refusals = machine::histogram();
        let mut lane = Lane { accepted: 0, accepted_then: 0, sent: 0, turned_away: 0, untold: 0, failed: 0, refusals };
        let mut request = self.next.fetch_add(1, Ordering::Relaxed);
        let mut body = body(self.options, request, &mut random);
        loop {
            if let Some(rate) = self.rate {
                let due_s = (request * self.options.batch) as f64 / rate;
                std::thread::sleep(
                    (self.began + Duration::from_secs_f64(due_s)).saturating_duration_since(Instant::now()),
                );
            }
            let sent_at = Instant::now();
            if sent_at >= self.ends {
                return Ok(lane);
            }
            let is_told = sent_at >= self.half;
            lane.sent += if is_told { self.options.batch } else { 0 };
            let Ok(mut answer) = agent.post(&self.url).send(&body) else {
                lane.failed += 1;
                continue;
            };
            let text = answer.body_mut().read_to_string().unwrap_or_default();
            match answer.status().as_u16() {
                200 => {
                    let stored = text.matches("\"status\":\"stored\"").count() as u64;
                    lane.accepted += stored;
                    lane.accepted_then += if is_told { stored } else { 0 };
                }
                429 | 503 => {
                    lane.turned_away += u64::from(is_told);
                    lane.refusals.saturating_record(sent_at.elapsed().as_micros() as u64);
                    let told = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
                    lane.untold += u64::from(told.is_none());
                    if self.rate.is_none() {
                        std::thread::sleep(Duration::from_secs(told.unwrap_or(RETRY_AFTER_S)));
                        continue;
                    }
                }
                _ => lane.failed += 1,
            }
            request = self.next.fetch_add(1, Ordering::Relaxed);
            body = self::body(self.options, request, &mut random);
        }
    }
}

/// Purchases of many lines, which cost the server far more than whoever sends them.
fn body(options: &Options, request: u64, random: &mut ChaCha8Rng) -> String {
    let mut body = String::with_capacity((options.batch * (120 + 40 * options.lines)) as usize);
    for at in 0..options.batch {
        let user = random.random_range(0..100_000);
        body.push_str(&format!(
            "{{\"messageId\":\"{request}-{at}\",\"event\":\"purchase\",\"userId\":\"u{user}\",\"properties\":\
             {{\"transaction_id\":\"t{request}-{at}\",\"items\":["
        ));
        for line in 0..options.lines {
            let (comma, item) = (if line > 0 { "," } else { "" }, random.random_range(0..options.items));
            body.push_str(&format!("{comma}{{\"item_id\":\"i{item}\",\"price\":9.99}}"));
        }
        body.push_str("]}}\n");
    }
    body
}

/// How long it takes until a message is taken at once, and shown at once by the views of the shop and of people.
fn recover(url: &str) -> anyhow::Result<f64> {
    let began = Instant::now();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    for nth in 0.. {
        ensure!(began.elapsed() < PATIENCE, "the server is not well again after {PATIENCE:?}");
        let asked = Instant::now();
        let body = format!(
            "{{\"messageId\":\"well-{nth}\",\"event\":\"view_item\",\"userId\":\"well-{nth}\",\"properties\":\
             {{\"items\":[{{\"item_id\":\"well-{nth}\",\"price\":1}}]}}}}"
        );
        let taken = agent.post(format!("{url}/v1/events")).send(&body).is_ok_and(|answer| answer.status() == 200);
        let shown = |path: &str| agent.get(format!("{url}{path}")).call().is_ok_and(|answer| answer.status() == 200);
        let paths = [
            format!("/v1/views/item.popularity/global/1h/well-{nth}"),
            format!("/v1/views/profile.recent_views/well-{nth}"),
        ];
        while taken && asked.elapsed() < WELL {
            if paths.iter().all(|path| shown(path)) {
                return Ok(began.elapsed().as_secs_f64());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("there are no more numbers")
}
