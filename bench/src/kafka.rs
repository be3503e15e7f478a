//! Latency from a producer over etalage to a consumer, open loop, on a real broker, beside that of the
//! broker alone: the same probes go through a plain topic in the same run.
//!
//! ```text
//!             ┌──> events ──> etalage ──> set.bestsellers ──┐
//!  schedule ──┤                                             ├──> arrival less intended instant
//!             └──> plain ───────────────────────────────────┘
//! ```
//!
//! Every hundredth event is a probe: a view of an item that only its partition ever names, alone of its
//! brand. The score of that brand's only bestseller is the number of the partition's probes that the
//! topic shows.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use etalage_kafka::{
    Brokers, InputKind, Publisher, Source, SourceOptions, To,
    topics::{self, TopicSpec},
};
use hdrhistogram::Histogram;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};

use crate::{
    ingest::{PROBE_BRAND, PROBE_SCOPE, Set, SetKey},
    report,
};

const EVENTS: &str = "bench.events";
const PLAIN: &str = "bench.plain";
const SETS: &str = "bench.set.bestsellers.v1";
/// Partitions of each topic.
const PARTITIONS: u32 = 4;
/// One event of so many is a probe.
const EVENTS_PER_PROBE: u64 = 100;
/// How long what was sent may take to be seen at the end.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The service's binary, built with `--features kafka`
    #[arg(long, default_value = "target/release/etalage")]
    server: PathBuf,
    /// What starts a broker: it is given a folder and two ports
    #[arg(long, default_value = "tests/kafka/broker")]
    broker: PathBuf,
    /// Events a second
    #[arg(long, default_value_t = 10_000)]
    rate: u64,
    /// Seconds that are counted
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Seconds before that are not
    #[arg(long, default_value_t = 5)]
    warm_up_s: u64,
    /// Items
    #[arg(long, default_value_t = 100_000)]
    items: usize,
    /// Seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long the producers wait for more, in microseconds
    #[arg(long, default_value_t = 500)]
    linger_us: u64,
}

/// A process that ends with the run.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    report::heading();
    println!(
        "job      set.bestsellers over 10m, global and brand; JSON in and out, {PARTITIONS} partitions, linger {} µs, \
         acks = all, durability = process, dedup on; from the intended instant to the consumer",
        options.linger_us
    );
    let dir = tempfile::tempdir()?;
    let (_broker, brokers) = start_broker(options, dir.path())?;
    make_topics(&brokers)?;
    let server = start_server(options, dir.path(), &brokers)?;
    report::latencies("noise", &report::noise(Duration::from_secs(2)));

    let (stolen_ms, began) = (report::stolen_ms(), Instant::now() + Duration::from_secs(1));
    let probes = (options.warm_up_s + options.seconds) * options.rate / EVENTS_PER_PROBE;
    let end = began + Duration::from_secs(options.warm_up_s + options.seconds) + PATIENCE;
    let follow = |topic: &'static str| {
        let (options, brokers) = (options.clone(), brokers.clone());
        std::thread::spawn(move || follow(&options, &brokers, topic, Schedule { probes, began, end }))
    };
    let (plain, sets) = (follow(PLAIN), follow(SETS));
    let sent_s = load(options, &brokers, probes, began)?;
    let join = |thread: std::thread::JoinHandle<anyhow::Result<Histogram<u64>>>| {
        thread.join().map_err(|_| anyhow::anyhow!("a reader panicked"))?
    };
    let (plain, sets) = (join(plain)?, join(sets)?);

    let events = (probes * EVENTS_PER_PROBE) as f64;
    println!("offered  {} events/s, achieved {:.0}", options.rate, events / sent_s);
    if events / sent_s < options.rate as f64 * 0.98 {
        println!("could not keep up: the percentiles below are those of a growing queue");
    }
    report::latencies("plain", &plain);
    report::latencies("etalage", &sets);
    let adds = |quantile: f64| {
        let at = |histogram: &Histogram<u64>| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        at(&sets) - at(&plain)
    };
    println!("adds       p50 {:.3} ms  p99 {:.3} ms", adds(0.5), adds(0.99));
    println!("stolen     {:.0} ms of this machine's CPU time meanwhile", report::stolen_ms() - stolen_ms);
    let counted = options.seconds * options.rate / EVENTS_PER_PROBE;
    for (name, histogram) in [("plain", &plain), ("etalage", &sets)] {
        if histogram.len() < counted {
            println!("NOT SEEN   {} of {counted} probes: {name}", counted - histogram.len());
        }
    }
    let pid = server.0.id().to_string();
    println!(
        "server   peak RSS {:.0} MiB, {:.2} CPU s per million events",
        report::peak_rss_mib(&pid),
        report::cpu_s(&pid) * 1e6 / events
    );
    Ok(())
}

fn start_broker(options: &Options, dir: &std::path::Path) -> anyhow::Result<(Running, Brokers)> {
    let held = [std::net::TcpListener::bind("127.0.0.1:0")?, std::net::TcpListener::bind("127.0.0.1:0")?];
    let ports = [held[0].local_addr()?.port(), held[1].local_addr()?.port()];
    drop(held);
    let mut command = Command::new(&options.broker);
    command.arg(dir.join("broker")).args(ports.map(|port| port.to_string()));
    command.env("ETALAGE_KAFKA_PARENT", std::process::id().to_string());
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let broker = Running(child.with_context(|| format!("{} cannot be started", options.broker.display()))?);
    let brokers = Brokers { bootstrap: format!("127.0.0.1:{}", ports[0]), properties: Vec::new() };
    let until = Instant::now() + Duration::from_secs(120);
    while let Err(error) = brokers.reach() {
        if Instant::now() > until {
            bail!(error);
        }
    }
    Ok((broker, brokers))
}

fn make_topics(brokers: &Brokers) -> anyhow::Result<()> {
    let plain = |name: &str| TopicSpec { name: name.to_owned(), partitions: PARTITIONS, settings: Default::default() };
    let views = ["item.sellable", "set.bestsellers"];
    let written = topics::specs("bench.", &views, "bench.quarantine", PARTITIONS);
    let all: Vec<TopicSpec> = [plain(EVENTS), plain(PLAIN)].into_iter().chain(written).collect();
    topics::create(brokers, &all, 1)?;
    Ok(())
}

fn start_server(options: &Options, dir: &std::path::Path, brokers: &Brokers) -> anyhow::Result<Running> {
    let linger = format!("{}us", options.linger_us);
    let environment = [
        ("ETALAGE_WINDOWS__NAMES", "10m"),
        ("ETALAGE_SCOPES__DIMENSIONS", "global,brand"),
        ("ETALAGE_VIEWS__OFF", "item.popularity,scope.totals"),
        ("ETALAGE_KAFKA__BROKERS", &*brokers.bootstrap),
        ("ETALAGE_KAFKA__EVENTS", EVENTS),
        ("ETALAGE_KAFKA__PREFIX", "bench."),
        ("ETALAGE_KAFKA__QUARANTINE", "bench.quarantine"),
        ("ETALAGE_KAFKA__LINGER", &*linger),
    ];
    let mut command = Command::new(&options.server);
    command.args(["run", "--port", "0", "--no-wait", "--data-dir"]).arg(dir.join("data")).envs(environment);
    let child = command.spawn().with_context(|| {
        let server = options.server.display();
        format!("{server} cannot be started; build it with `cargo build --release --features kafka`")
    })?;
    Ok(Running(child))
}

/// The instant, fixed before the run, at which an event is to be sent.
fn intended_us(options: &Options, event: u64) -> u64 {
    event * 1_000_000 / options.rate
}

/// Sends events, each at its intended instant; how long that took.
fn load(options: &Options, brokers: &Brokers, probes: u64, began: Instant) -> anyhow::Result<f64> {
    let publisher = Publisher::open(brokers, Duration::from_micros(options.linger_us))?;
    let mut random = ChaCha8Rng::seed_from_u64(options.seed);
    let zipf = Zipf::new(options.items as f64, 1.05)?;
    for event in 0..probes * EVENTS_PER_PROBE {
        let due = began + Duration::from_micros(intended_us(options, event));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let (probe, is_probe) = (event / EVENTS_PER_PROBE, event % EVENTS_PER_PROBE == EVENTS_PER_PROBE - 1);
        let number = if is_probe { probe } else { event };
        let partition = Some((number % u64::from(PARTITIONS)) as u32);
        let item = match (is_probe, partition) {
            (true, Some(at)) => format!(r#"{{"item_id":"probe-{at}","item_brand":"{PROBE_BRAND}{at}","price":9.99}}"#),
            _ => format!(r#"{{"item_id":"i{}","price":9.99}}"#, zipf.sample(&mut random) as u64),
        };
        let visitor = random.random_range(0..1_000_000);
        let message = format!(
            r#"{{"messageId":"{event}","event":"view_item","anonymousId":"v{visitor}","properties":{{"items":[{item}]}}}}"#
        );
        let key = event.to_string();
        publisher.send(To { topic: EVENTS, partition, key: &key }, Some(message.as_bytes()))?;
        if is_probe {
            publisher.send(To { topic: PLAIN, partition, key: &key }, Some(message.as_bytes()))?;
        }
    }
    let sent_s = began.elapsed().as_secs_f64();
    publisher.flush(Duration::from_secs(30))?;
    Ok(sent_s)
}

/// The probes of a run, and when it begins and ends.
#[derive(Clone, Copy)]
struct Schedule {
    probes: u64,
    began: Instant,
    end: Instant,
}

/// Reads a topic; from the intended instant of each probe to the arrival of a message that shows it.
fn follow(
    options: &Options,
    brokers: &Brokers,
    topic: &str,
    Schedule { probes, began, end }: Schedule,
) -> anyhow::Result<Histogram<u64>> {
    let source = SourceOptions {
        brokers: brokers.clone(),
        topics: vec![(topic.to_owned(), InputKind::Events)],
        group: format!("bench-{topic}"),
        discover_every: Duration::from_secs(3_600),
    };
    let mut source = Source::open(source, &[])?;
    let (mut histogram, mut shown) = (report::histogram(), [0; PARTITIONS as usize]);
    while Instant::now() < end && shown.iter().sum::<u64>() < probes {
        let Some(message) = source.receive(Duration::from_millis(100))? else { continue };
        let arrived_us = Instant::now().saturating_duration_since(began).as_micros() as u64;
        let known = match topic {
            PLAIN => Some((message.partition as usize, shown[message.partition as usize] + 1)),
            _ => message.key.zip(message.payload).and_then(|(key, value)| score(&key, &value)),
        };
        let Some((lane, count)) = known.filter(|(lane, _)| *lane < shown.len()) else { continue };
        let newly = (shown[lane]..count).map(|at| lane as u64 + at * u64::from(PARTITIONS));
        for probe in newly.filter(|probe| *probe < probes) {
            let intended_us = intended_us(options, (probe + 1) * EVENTS_PER_PROBE - 1);
            if intended_us >= options.warm_up_s * 1_000_000 {
                histogram.saturating_record(arrived_us.saturating_sub(intended_us));
            }
        }
        shown[lane] = count.max(shown[lane]);
    }
    Ok(histogram)
}

/// The partition whose probes a set counts, and how many it shows.
fn score(key: &[u8], value: &[u8]) -> Option<(usize, u64)> {
    let SetKey { scope } = serde_json::from_slice(key).ok()?;
    let lane = scope.strip_prefix(PROBE_SCOPE)?.parse().ok()?;
    let set: Set = serde_json::from_slice(value).ok()?;
    Some((lane, set.best()?))
}
