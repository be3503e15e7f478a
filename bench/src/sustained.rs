//! Events a second over HTTP, closed loop: acknowledged where nothing is made of them, and visible where a
//! view is. The server is another process, on the same cores as the load.
//!
//! Each connection sends its next request when the one before is answered. A request that is turned away (429,
//! 503) is not accepted: it waits for as long as `Retry-After` says, and comes again. By turns:
//!
//! - **acknowledged alone**: every view is off; until the last request is answered;
//! - **visible**: `set.bestsellers` is on, and a reader of its stream attached; until the message has arrived that
//!   shows the last event. What is visible is counted as in `ingest`.
//!
//! Bodies are made beforehand, so that making them takes nothing from the server.

use std::{
    path::PathBuf,
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use etalage_views::VIEWS;

use crate::{
    figures::{Better, Measuring, Part},
    ingest::{self, Bodies, Seen},
    machine,
    server::{Server, wait_until},
};

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The server's binary
    #[arg(long, default_value = "target/release/etalage")]
    server: PathBuf,
    /// Events of a run that are counted
    #[arg(long, default_value_t = 400_000, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    /// Events before that are not
    #[arg(long, default_value_t = 100_000)]
    warm_up_events: u64,
    /// Events in a request
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    /// Connections
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    connections: u64,
    /// How often each of both is run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Items
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    items: u64,
    /// Seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Durability of the store
    #[arg(long, default_value = "process")]
    durability: String,
}

/// What the rate of visible events should be of that of acknowledgement alone, at least.
const BAR_TIMES: f64 = 0.8;
/// For how long nothing may be shown although something is missing, and a request be turned away again and again.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a client waits that is turned away without being told how long.
const RETRY_AFTER_S: u64 = 1;

/// Measures.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Part> {
    let mut part = Part::begin(
        "sustained",
        format!(
            "JSON over HTTP, {} events a request, {} connections in a closed loop, durability = {}, dedup on; by turns \
             with every view off, until all is acknowledged, and with set.bestsellers (10m, global and brand) on, until \
             a reader of the stream has seen the last event; {} events each, {} before that are not counted, a fresh \
             store for each run. Load and reader run in this process, on the server's cores: their CPU time stands \
             beside the server's",
            options.batch, options.connections, options.durability, options.events, options.warm_up_events
        ),
    );
    let load = Load::make(options)?;
    let (mut alone, mut visible) = (Vec::new(), Vec::new());
    for _ in 0..options.runs {
        alone.push(run(options, &load, false)?);
        visible.push(run(options, &load, true)?);
    }
    tell(&mut part, options, &alone, &visible);
    Ok(part.done())
}

fn tell(part: &mut Measuring, options: &Options, alone: &[Ran], visible: &[Ran]) {
    let of = |runs: &[Ran], figure: fn(&Ran) -> f64| runs.iter().map(figure).collect::<Vec<_>>();
    let times = alone.iter().zip(visible).map(|(alone, visible)| visible.rate() / alone.rate()).collect();
    part.figure("acknowledged, every view off", "events a second", Better::Higher, of(alone, Ran::rate));
    part.figure("visible, set.bestsellers on", "events a second", Better::Higher, of(visible, Ran::rate));
    part.figure("visible of acknowledged alone", "times", Better::Higher, times).bar(BAR_TIMES);
    for (name, runs) in [("every view off", alone), ("set.bestsellers on", visible)] {
        let unit = "s a million events";
        part.figure(&format!("server's CPU, {name}"), unit, Better::Lower, of(runs, Ran::server_cpu_s));
        part.figure(&format!("load's CPU, {name}"), unit, Better::Lower, of(runs, Ran::load_cpu_s));
        let turned_away = runs.iter().map(|ran| ran.turned_away as f64).collect();
        part.figure(&format!("turned away (429, 503), {name}"), "requests a run", Better::Lower, turned_away);
    }
    for (what, runs) in [("with every view off", alone), ("with set.bestsellers on", visible)] {
        if runs.iter().any(|ran| ran.turned_away > 0) {
            part.part
                .remarks
                .push(format!("requests were turned away {what}: they waited, and the rates have that in them"));
        }
        for (at, ran) in runs.iter().enumerate().filter(|(_, ran)| ran.lost > 0) {
            part.part.remarks.push(format!(
                "LOST: run {} {what}: {} of {} events were answered and {}",
                at + 1,
                ran.lost,
                options.events + options.warm_up_events,
                if ran.is_shown { "not stored, or not shown" } else { "not stored" }
            ));
        }
    }
}

/// The requests of each connection, those that are not counted first.
struct Load {
    warm_up: Vec<Vec<String>>,
    counted: Vec<Vec<String>>,
}

impl Load {
    fn make(options: &Options) -> anyhow::Result<Load> {
        let warm_up = options.warm_up_events / options.batch;
        let last = warm_up + options.events.div_ceil(options.batch);
        let mut load = Load { warm_up: Vec::new(), counted: Vec::new() };
        for lane in 0..options.connections {
            let mut bodies = Bodies::of(lane, options.batch, options.items as usize, options.seed)?;
            let of_lane = (lane..last).step_by(options.connections as usize);
            let (before, after): (Vec<u64>, Vec<u64>) = of_lane.partition(|request| *request < warm_up);
            load.warm_up.push(before.into_iter().map(|request| bodies.make(request)).collect());
            load.counted.push(after.into_iter().map(|request| bodies.make(request)).collect());
        }
        Ok(load)
    }
}

/// What a run comes to.
struct Ran {
    is_shown: bool,
    events: u64,
    /// From the first request that is counted to the last answer, or to the message that shows the last event.
    took: Duration,
    server_cpu_s: f64,
    load_cpu_s: f64,
    turned_away: u64,
    /// Events that were answered and not stored, or stored and not shown, in the whole run.
    lost: u64,
}

impl Ran {
    fn rate(&self) -> f64 {
        self.events as f64 / self.took.as_secs_f64()
    }

    fn server_cpu_s(&self) -> f64 {
        self.server_cpu_s * 1e6 / self.events as f64
    }

    fn load_cpu_s(&self) -> f64 {
        self.load_cpu_s * 1e6 / self.events as f64
    }
}

/// One run over a fresh store.
fn run(options: &Options, load: &Load, is_shown: bool) -> anyhow::Result<Ran> {
    let dir = tempfile::tempdir()?;
    let mut environment = ingest::environment(&options.durability).to_vec();
    if !is_shown {
        environment.push(("ETALAGE_VIEWS__OFF", VIEWS.iter().map(|view| view.name).collect::<Vec<_>>().join(",")));
    }
    let server = Server::start(&options.server, dir.path(), environment)?;
    let is_ready = || ureq::get(format!("{}/readyz", server.url)).call().is_ok();
    wait_until(PATIENCE, "the server's readiness", is_ready)?;
    let mut shown = if is_shown { Some(Shown::read(&server.url, options)?) } else { None };
    let warm = send(options, &server.url, &load.warm_up)?;
    let mut wanted: Vec<u64> = load.warm_up.iter().map(|requests| requests.len() as u64).collect();
    if let Some(shown) = &mut shown {
        shown.wait_for(&wanted);
    }

    let (server_cpu, load_cpu) = (machine::cpu_s(&server.pid()), machine::cpu_s("self"));
    let began = Instant::now();
    let sent = send(options, &server.url, &load.counted)?;
    let mut ended = Instant::now();
    wanted.iter_mut().zip(&load.counted).for_each(|(wanted, requests)| *wanted += requests.len() as u64);
    let mut lost = warm.not_stored + sent.not_stored;
    let mut events = sent.stored;
    if let Some(shown) = &mut shown {
        let missing = shown.wait_for(&wanted) * options.batch;
        ended = shown.last.unwrap_or(ended);
        events = events.saturating_sub(missing);
        lost += missing;
    }
    Ok(Ran {
        is_shown,
        events,
        took: ended.saturating_duration_since(began),
        server_cpu_s: machine::cpu_s(&server.pid()) - server_cpu,
        load_cpu_s: machine::cpu_s("self") - load_cpu,
        turned_away: warm.turned_away + sent.turned_away,
        lost,
    })
}

/// What of each connection's requests the stream has shown.
struct Shown {
    seen: mpsc::Receiver<Seen>,
    requests: Vec<u64>,
    /// When the newest of it arrived.
    last: Option<Instant>,
}

impl Shown {
    fn read(url: &str, options: &Options) -> anyhow::Result<Shown> {
        let (seen_tx, seen) = mpsc::channel();
        ingest::read_stream(url, seen_tx)?;
        Ok(Shown { seen, requests: vec![0; options.connections as usize], last: None })
    }

    /// Waits until so many requests of each connection are shown, or nothing more is; how many are missing.
    fn wait_for(&mut self, wanted: &[u64]) -> u64 {
        loop {
            let missing = wanted.iter().zip(&self.requests).map(|(wanted, shown)| wanted.saturating_sub(*shown)).sum();
            if missing == 0 {
                return 0;
            }
            let Ok(Seen { lane, requests, arrived }) = self.seen.recv_timeout(PATIENCE) else { return missing };
            if let Some(shown) = self.requests.get_mut(lane as usize).filter(|shown| **shown < requests) {
                (*shown, self.last) = (requests, Some(arrived));
            }
        }
    }
}

/// What became of events.
#[derive(Clone, Copy, Default)]
struct Sent {
    stored: u64,
    not_stored: u64,
    turned_away: u64,
}

/// Sends the requests of all connections, each one after another.
fn send(options: &Options, url: &str, lanes: &[Vec<String>]) -> anyhow::Result<Sent> {
    let url = format!("{url}/v1/events");
    std::thread::scope(|scope| {
        let lanes: Vec<_> = lanes.iter().map(|bodies| scope.spawn(|| send_one_by_one(options, &url, bodies))).collect();
        let mut all = Sent::default();
        for lane in lanes {
            let sent = lane.join().map_err(|_| anyhow::anyhow!("a load thread panicked"))??;
            all.stored += sent.stored;
            all.not_stored += sent.not_stored;
            all.turned_away += sent.turned_away;
        }
        Ok(all)
    })
}

fn send_one_by_one(options: &Options, url: &str, bodies: &[String]) -> anyhow::Result<Sent> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut sent = Sent::default();
    for body in bodies {
        let until = Instant::now() + PATIENCE;
        let answer = loop {
            let mut answer = agent.post(url).send(body)?;
            let text = answer.body_mut().read_to_string()?;
            match answer.status().as_u16() {
                200 => break text,
                429 | 503 => {}
                status => bail!("the server answered {status}: {text}"),
            }
            ensure!(Instant::now() < until, "a request was turned away for {PATIENCE:?}: {text}");
            sent.turned_away += 1;
            let told = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            std::thread::sleep(Duration::from_secs(told.unwrap_or(RETRY_AFTER_S)));
        };
        let stored = stored(&answer);
        sent.stored += stored;
        sent.not_stored += options.batch.checked_sub(stored).context("an answer has a result for each event")?;
    }
    Ok(sent)
}

/// How many events of a request an answer says are stored, now or before. It is not parsed, which would take from
/// the server what a client of few words does not.
fn stored(answer: &str) -> u64 {
    let times = |status: &str| answer.matches(status).count() as u64;
    times("\"status\":\"stored\"") + times("\"status\":\"duplicate\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_stored_counts() {
        let answer = r#"{"results":[{"messageId":"a","status":"stored"},{"messageId":"b","status":"refused","reason":"x"},
            {"messageId":"c","status":"duplicate"}]}"#;
        assert_eq!(stored(answer), 2);
    }

    #[test]
    fn what_is_not_shown_is_missing() {
        let (tx, seen) = mpsc::channel();
        let mut shown = Shown { seen, requests: vec![0, 0], last: None };
        for (lane, requests) in [(0, 2), (1, 1), (0, 1), (7, 9)] {
            tx.send(Seen { lane, requests, arrived: Instant::now() }).expect("the other end is here");
        }
        drop(tx);
        assert_eq!(shown.wait_for(&[2, 1]), 0);
        assert_eq!(shown.wait_for(&[3, 3]), 3);
    }
}
