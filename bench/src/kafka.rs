//! Latency from a producer over etalage to a consumer, open loop, on a real broker, beside that of the
//! broker alone: the same probes go through a plain topic in the same run, and from there through a
//! process that does nothing but copy them into another one, which is what any service between two
//! topics adds at least.
//!
//! ```text
//!             ┌──> events ──> etalage ──> set.bestsellers ──┐
//!  schedule ──┤                                             │
//!             └──> plain ──┬────────────────────────────────┼──> arrival less intended instant
//!                          └──> copied ──> relay ───────────┘
//! ```
//!
//! A hundred events a second are probes: views of an item that only their partition ever names, alone of its
//! brand. The score of that brand's only bestseller is the number of the partition's probes that the
//! topic shows.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use etalage_kafka::{
    Brokers, InputKind, Publisher, Source, SourceOptions, To,
    topics::{self, TopicSpec},
};
use etalage_model::{Group, Micros};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};

use crate::{
    figures::{Better, Measuring, Part, Recorder},
    ingest::{PROBE_BRAND, PROBE_SCOPE, Set, SetKey},
    machine::{self, MemoryWatch},
    workload,
};

const EVENTS: &str = "bench.events";
const PLAIN: &str = "bench.plain";
const RELAY: &str = "bench.relay";
const SETS: &str = "bench.set.bestsellers.v1";
/// Partitions of each topic.
const PARTITIONS: u32 = 4;
/// How long a partition takes everything, in microseconds: librdkafka's default for messages without a key.
const STICKY_US: u64 = 10_000;
/// Probes a second, whatever the rate: their own way through the plain topics is no load.
const PROBES_PER_S: u64 = 100;
/// What is due within so short a time is sent along: a thread that slept for each event would be the
/// greater part of the load.
const GRAIN: Duration = Duration::from_micros(200);
/// From the making of the schedule to its beginning.
const LEAD: Duration = Duration::from_secs(1);
/// Where a probe was when, by the headers of what it changed.
const STAGES: [(&str, &str); 3] =
    [("at the door", "last-ingested-at"), ("sealed", "sealed-at"), ("sent on", "emitted-at")];
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
    /// Options of the broker's JVM
    #[arg(
        long,
        default_value = "-Xms1500m -Xmx1500m -Xmn1200m -XX:MetaspaceSize=96m -XX:+AlwaysPreTouch -XX:+UseSerialGC"
    )]
    jvm: String,
    /// Events a second
    #[arg(long, default_value_t = 10_000)]
    rate: u64,
    /// Seconds that are counted
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Seconds before that are not: a JVM needs them to compile itself
    #[arg(long, default_value_t = 25)]
    warm_up_s: u64,
    /// Items
    #[arg(long, default_value_t = 100_000)]
    items: usize,
    /// Seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long the load's producers wait for more, in microseconds
    #[arg(long, default_value_t = 1_000)]
    linger_us: u64,
    /// Whether etalage writes in transactions
    #[arg(long)]
    transactions: bool,
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

/// Bars of what etalage adds to the broker alone: p50 and p99, in milliseconds.
const BARS_ADDED_MS: [f64; 2] = [3.0, 10.0];

/// Measures.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Part> {
    let dir = tempfile::tempdir()?;
    let (broker, brokers) = start_broker(options, dir.path())?;
    make_topics(&brokers)?;
    let server = start_server(options, dir.path(), &brokers)?;
    let mut part = Part::begin(
        "kafka",
        format!(
            "set.bestsellers over 10m, global and brand, every other view but item.sellable off; JSON in and out, {PARTITIONS} partitions, linger {} µs, acks = all, \
             durability = process, dedup on, {}; from the instant at which a probe is due to the consumer; JVM {}",
            options.linger_us,
            if options.transactions { "in transactions" } else { "without transactions" },
            options.jvm
        ),
    );
    part.latency(machine::noise(machine::NOISE));
    let schedule = Schedule::of(options);
    let follow = |topic: &'static str| {
        let (schedule, brokers) = (schedule.clone(), brokers.clone());
        std::thread::spawn(move || follow(&schedule, &brokers, topic))
    };
    let readers = [PLAIN, RELAY, SETS].map(follow);
    let copying = {
        let (options, brokers, end) = (options.clone(), brokers.clone(), schedule.end);
        std::thread::spawn(move || copy(&options, &brokers, end))
    };
    let processes = [server.0.id(), broker.0.id(), std::process::id()].map(|pid| pid.to_string());
    let memory = MemoryWatch::of(processes[0].clone());
    let cpu_before = processes.each_ref().map(|process| machine::cpu_s(process));
    let sent_s = load(options, &brokers, &schedule)?;
    let busy = [0, 1, 2].map(|at| (machine::cpu_s(&processes[at]) - cpu_before[at]) / sent_s * 100.0);
    let mut seen = Vec::new();
    for reader in readers {
        seen.push(join(reader)?);
    }
    join(copying)?;

    let events = schedule.events as f64;
    tell(&schedule, &seen, (options.rate as f64, events / sent_s), &mut part);
    for (name, busy) in ["the service", "the broker", "this bench"].into_iter().zip(busy) {
        part.figure(&format!("{name} was busy"), "% of a core", Better::Neither, vec![busy]);
    }
    part.figure("server's peak RSS", "MiB", Better::Lower, vec![machine::peak_rss_mib(&processes[0])]);
    let cpu_s = machine::cpu_s(&processes[0]);
    part.figure("server's CPU", "s a million events", Better::Lower, vec![cpu_s * 1e6 / events]);
    part.part.curves.push(memory.curve("server"));
    Ok(part.done())
}

/// What the readers of the plain topic, the copied one and the sets have seen.
fn tell(schedule: &Schedule, seen: &[Seen], (offered, achieved): (f64, f64), part: &mut Measuring) {
    let named: Vec<(&str, &Seen)> = ["plain", "relay", "etalage"].into_iter().zip(seen).collect();
    for (name, seen) in &named {
        part.latency(seen.all.latency(name).at_rate(offered, achieved));
    }
    let Some(((_, sets), floors)) = named.split_last() else { return };
    let ms = |recorder: &Recorder, quantile| recorder.value_us(quantile) as f64 / 1e3;
    for (name, floor) in floors {
        for ((percentile, quantile), bar) in [("p50", 0.5), ("p99", 0.99)].into_iter().zip(BARS_ADDED_MS) {
            let adds = ms(&sets.all, quantile) - ms(&floor.all, quantile);
            let figure = part.figure(&format!("added to {name}, {percentile}"), "ms", Better::Lower, vec![adds]);
            if *name == "plain" {
                figure.bar(bar);
            }
        }
    }
    for ((stage, _), at) in STAGES.iter().zip(&sets.stages) {
        part.latency(at.latency(stage));
    }
    let counted = schedule.counted();
    for (name, seen) in named.iter().filter(|(_, seen)| seen.all.count() < counted) {
        let missing = counted - seen.all.count();
        part.part.remarks.push(format!("NOT SEEN: {missing} of {counted} probes: {name}"));
    }
}

fn join<T>(thread: JoinHandle<anyhow::Result<T>>) -> anyhow::Result<T> {
    thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?
}

fn start_broker(options: &Options, dir: &std::path::Path) -> anyhow::Result<(Running, Brokers)> {
    let held = [std::net::TcpListener::bind("127.0.0.1:0")?, std::net::TcpListener::bind("127.0.0.1:0")?];
    let ports = [held[0].local_addr()?.port(), held[1].local_addr()?.port()];
    drop(held);
    let mut command = Command::new(&options.broker);
    command.arg(dir.join("broker")).args(ports.map(|port| port.to_string()));
    command.env("ETALAGE_KAFKA_PARENT", std::process::id().to_string()).env("ETALAGE_KAFKA_JVM", &options.jvm);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let broker = Running(child.with_context(|| format!("{} cannot be started", options.broker.display()))?);
    let brokers = Brokers { bootstrap: format!("127.0.0.1:{}", ports[0]), ..Brokers::default() };
    let until = Instant::now() + Duration::from_secs(120);
    while let Err(error) = brokers.reach() {
        if Instant::now() > until {
            bail!(error);
        }
    }
    Ok((broker, brokers))
}

fn make_topics(brokers: &Brokers) -> anyhow::Result<()> {
    let plain = |name: &str| TopicSpec {
        name: name.to_owned(),
        partitions: PARTITIONS,
        settings: Default::default(),
        min_message_bytes: 0,
    };
    let views = ["item.sellable", "set.bestsellers"];
    let written = topics::specs(&topics::Written {
        prefix: "bench.",
        views: &views.map(|view| (view, Group::Shop)),
        quarantine: "bench.quarantine",
        partitions: PARTITIONS,
        ..topics::Written::default()
    });
    let all: Vec<TopicSpec> = [EVENTS, PLAIN, RELAY].map(plain).into_iter().chain(written).collect();
    topics::create(brokers, &all, 1)?;
    Ok(())
}

fn start_server(options: &Options, dir: &std::path::Path, brokers: &Brokers) -> anyhow::Result<Running> {
    let environment = [
        ("ETALAGE_WINDOWS__NAMES", "10m"),
        ("ETALAGE_SCOPES__DIMENSIONS", "global,brand"),
        ("ETALAGE_VIEWS__OFF", &*workload::views_off()),
        ("ETALAGE_KAFKA__BROKERS", &*brokers.bootstrap),
        ("ETALAGE_KAFKA__EVENTS", EVENTS),
        ("ETALAGE_KAFKA__PREFIX", "bench."),
        ("ETALAGE_KAFKA__QUARANTINE", "bench.quarantine"),
    ];
    let mut command = Command::new(&options.server);
    command.args(["run", "--port", "0", "--no-wait", "--data-dir"]).arg(dir.join("data")).envs(environment);
    if options.transactions {
        command.env("ETALAGE_KAFKA__TRANSACTIONS", "yes");
    }
    let child = command.spawn().with_context(|| {
        let server = options.server.display();
        format!("{server} cannot be started; build it with `cargo build --release --features kafka`")
    })?;
    Ok(Running(child))
}

/// What is sent when: fixed before the run.
#[derive(Clone, Debug)]
struct Schedule {
    options: Options,
    began: Instant,
    /// The same by the wall clock.
    wall_us: u64,
    /// How long what was sent may take to be seen.
    end: Instant,
    events: u64,
    /// Of each partition, the intended instants of its probes.
    probes: Vec<Vec<u64>>,
}

impl Schedule {
    fn of(options: &Options) -> Schedule {
        let began = Instant::now() + LEAD;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = options.warm_up_s + options.seconds;
        let mut probes = vec![Vec::new(); PARTITIONS as usize];
        let schedule = Schedule {
            options: options.clone(),
            began,
            wall_us: (wall + LEAD).as_micros() as u64,
            end: began + Duration::from_secs(seconds) + PATIENCE,
            events: seconds * options.rate,
            probes: Vec::new(),
        };
        for event in (0..schedule.events).filter(|event| schedule.is_probe(*event)) {
            let (partition, at_us) = (schedule.partition(event), schedule.intended_us(event));
            probes[partition as usize].push(at_us);
        }
        Schedule { probes, ..schedule }
    }

    /// The instant at which an event is to be sent, since the beginning.
    fn intended_us(&self, event: u64) -> u64 {
        event * 1_000_000 / self.options.rate
    }

    /// Like the partitioners of Java and of librdkafka do it for messages without a key: one partition
    /// takes everything for a while, then the next.
    fn partition(&self, event: u64) -> u32 {
        (self.intended_us(event) / STICKY_US % u64::from(PARTITIONS)) as u32
    }

    fn is_probe(&self, event: u64) -> bool {
        let every = (self.options.rate / PROBES_PER_S).max(1);
        event % every == every - 1
    }

    fn is_counted(&self, at_us: u64) -> bool {
        at_us >= self.options.warm_up_s * 1_000_000
    }

    /// How many probes are counted.
    fn counted(&self) -> u64 {
        self.probes.iter().flatten().filter(|at_us| self.is_counted(**at_us)).count() as u64
    }
}

/// Sends events, each at its intended instant; how long that took.
fn load(options: &Options, brokers: &Brokers, schedule: &Schedule) -> anyhow::Result<f64> {
    let publisher = Publisher::open(brokers, Duration::from_micros(options.linger_us))?;
    let mut random = ChaCha8Rng::seed_from_u64(options.seed);
    let zipf = Zipf::new(options.items as f64, 1.05)?;
    for event in 0..schedule.events {
        let due = schedule.began + Duration::from_micros(schedule.intended_us(event));
        let early = due.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            std::thread::sleep(early.max(GRAIN));
        }
        let at = schedule.partition(event);
        let item = match schedule.is_probe(event) {
            true => format!(r#"{{"item_id":"probe-{at}","item_brand":"{PROBE_BRAND}{at}","price":9.99}}"#),
            false => format!(r#"{{"item_id":"i{}","price":9.99}}"#, zipf.sample(&mut random) as u64),
        };
        let visitor = random.random_range(0..1_000_000);
        let message = format!(
            r#"{{"messageId":"{event}","event":"view_item","anonymousId":"v{visitor}","properties":{{"items":[{item}]}}}}"#
        );
        let key = event.to_string();
        publisher.send(To { topic: EVENTS, partition: Some(at), key: &key }, Some(message.as_bytes()))?;
        if schedule.is_probe(event) {
            publisher.send(To { topic: PLAIN, partition: Some(at), key: &key }, Some(message.as_bytes()))?;
        }
    }
    let sent_s = schedule.began.elapsed().as_secs_f64();
    publisher.flush(Duration::from_secs(30))?;
    Ok(sent_s)
}

fn source(brokers: &Brokers, topic: &str, reader: &str) -> anyhow::Result<Source> {
    let options = SourceOptions {
        brokers: brokers.clone(),
        topics: vec![(topic.to_owned(), InputKind::Events)],
        group: format!("bench-{reader}-{topic}"),
        discover_every: Duration::from_secs(3_600),
    };
    Ok(Source::open(options, &[])?)
}

/// Copies what comes into one topic into another one.
fn copy(options: &Options, brokers: &Brokers, end: Instant) -> anyhow::Result<()> {
    let publisher = Publisher::open(brokers, Duration::from_micros(options.linger_us))?;
    let mut source = source(brokers, PLAIN, "copy")?;
    while Instant::now() < end {
        let Some(message) = source.receive(Duration::from_millis(100))? else { continue };
        let to = To { topic: RELAY, partition: Some(message.partition), key: "" };
        publisher.send(to, message.payload.as_deref())?;
    }
    Ok(())
}

/// Reads a topic; from the intended instant of each probe to the arrival of a message that shows it.
fn follow(schedule: &Schedule, brokers: &Brokers, topic: &str) -> anyhow::Result<Seen> {
    let mut source = source(brokers, topic, "follow")?;
    let (mut seen, mut shown) = (Seen::new(), [0; PARTITIONS as usize]);
    let all: usize = schedule.probes.iter().map(Vec::len).sum();
    while Instant::now() < schedule.end && shown.iter().sum::<usize>() < all {
        let Some(message) = source.receive(Duration::from_millis(100))? else { continue };
        let arrived_us = Instant::now().saturating_duration_since(schedule.began).as_micros() as u64;
        let known = match topic {
            SETS => message.key.as_ref().zip(message.payload.as_ref()).and_then(|(key, value)| score(key, value)),
            _ => Some((message.partition as usize, shown[message.partition as usize] + 1)),
        };
        let Some((lane, count)) = known.filter(|(lane, _)| *lane < shown.len()) else { continue };
        let lane_probes = &schedule.probes[lane];
        let newly = lane_probes.get(shown[lane]..count.min(lane_probes.len())).unwrap_or_default();
        for intended_us in newly.iter().filter(|at_us| schedule.is_counted(**at_us)) {
            seen.all.record(*intended_us, arrived_us);
            seen.record_stages(&message.headers, *intended_us, schedule.wall_us);
        }
        shown[lane] = count.max(shown[lane]);
    }
    Ok(seen)
}

/// What a reader has seen.
struct Seen {
    /// From the intended instant of a probe to its arrival.
    all: Recorder,
    /// To each of [`STAGES`], by the wall clock.
    stages: [Recorder; STAGES.len()],
}

impl Seen {
    fn new() -> Seen {
        Seen { all: Recorder::after(0), stages: STAGES.map(|_| Recorder::after(0)) }
    }

    fn record_stages(&mut self, headers: &[(String, String)], intended_us: u64, wall_us: u64) {
        for ((_, header), recorder) in STAGES.iter().zip(&mut self.stages) {
            let text = headers.iter().find(|(name, _)| name == header).map(|(_, at)| at);
            if let Some(at) = text.and_then(|at| Micros::parse(at)) {
                recorder.record(intended_us, at.0.saturating_sub(wall_us));
            }
        }
    }
}

/// The partition whose probes a set counts, and how many it shows.
fn score(key: &[u8], value: &[u8]) -> Option<(usize, usize)> {
    let SetKey { scope } = serde_json::from_slice(key).ok()?;
    let lane = scope.strip_prefix(PROBE_SCOPE)?.parse().ok()?;
    let set: Set = serde_json::from_slice(value).ok()?;
    Some((lane, set.best()? as usize))
}
