//! Several processes: what a second one brings beside a second worker, and how long a cluster needs to come back.
//!
//! **Scaling.** The workload is played into a store once; then the service starts over its log again and again, by turns
//! on one worker, on two in one process, and on one in each of two processes. No load competes for the cores; what counts
//! is messages read back a second until `/readyz` says yes.
//!
//! **Failover.** Two processes under a supervisor that starts each again a second after it has ended, a snapshot every few seconds, and events at a
//! fixed rate from clients that send again what was not answered. By turns the process that only computes and the head are
//! killed; what counts is the time from the kill until the head answers as of less than a second ago, and until nothing is
//! late any more.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::{
    figures::{Better, Measuring, Part},
    generate::{self, Format},
    ingest::Bodies,
    machine,
    replay::{self, Job},
    server::{Server, wait_until},
};

/// Within how many seconds answers should be current again.
const BAR_FAILOVER_S: f64 = 10.0;
/// How far behind the clock an answer may be that is current.
const CURRENT: Duration = Duration::from_secs(1);
/// How long a restart may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long a client waits before it sends again.
const AGAIN: Duration = Duration::from_millis(20);
/// How long the supervisor waits before it starts a process again, as `deploy/systemd` does.
const RESTART: Duration = Duration::from_secs(1);
/// Events in a request.
const BATCH: u64 = 50;
/// Connections.
const LANES: u64 = 8;

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    job: Job,
    /// How often each scale is run
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Events a second while a process is killed
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// Seconds before the kill
    #[arg(long, default_value_t = 20)]
    before_s: u64,
    /// How many times each of both is killed
    #[arg(long, default_value_t = 2)]
    kills: u32,
}

/// Measures.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Part> {
    let job = if options.job.full { "the default configuration with every view on" } else { "sb" };
    let mut part = Part::begin(
        "cluster",
        format!(
            "{job}; durability = process, dedup on; all processes on this machine, so that they share its cores; failover \
             with {} events/s, {BATCH} a request, a snapshot every 5 s, and restarts after a second",
            options.rate
        ),
    );
    scaling(options, &mut part)?;
    failover(options, &mut part)?;
    Ok(part.done())
}

fn scaling(options: &Options, part: &mut Measuring) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (file, store) = (dir.path().join("messages.jsonl"), dir.path().join("store"));
    let messages = generate::into_file(&options.job.shape, Format::Jsonl, Some(0), &file)? as f64;
    replay::take(&options.job.server, replay::environment(options.job.full), &file, &store)?;
    let scales = [("1 worker", 1, 1), ("2 workers", 1, 2), ("2 processes of 1 worker", 2, 1)];
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); scales.len()];
    let mut cpu: Vec<Vec<f64>> = vec![Vec::new(); scales.len()];
    for _ in 0..options.runs {
        for (at, (_, processes, workers)) in scales.into_iter().enumerate() {
            let (took_s, cpu_s) = restart(options, &store, processes, workers)?;
            rates[at].push(messages / took_s);
            cpu[at].push(cpu_s * 1e6 / messages);
        }
    }
    for (at, (name, ..)) in scales.into_iter().enumerate() {
        part.figure(&format!("read back by {name}"), "messages a second", Better::Higher, rates[at].clone());
        part.figure(&format!("CPU of {name}"), "s a million messages", Better::Lower, cpu[at].clone());
    }
    for (at, (name, ..)) in scales.into_iter().enumerate().skip(1) {
        let times = rates[at].iter().zip(&rates[0]).map(|(many, one)| many / one).collect();
        part.figure(&format!("{name}, of 1 worker"), "times", Better::Higher, times);
    }
    Ok(())
}

/// Starts over the log; seconds until ready, and CPU seconds of all processes.
fn restart(options: &Options, store: &Path, processes: usize, workers: usize) -> anyhow::Result<(f64, f64)> {
    let mut environment = replay::environment(options.job.full);
    environment.extend([("ETALAGE_SNAPSHOTS__ON", "no".to_owned()), ("ETALAGE_WORKERS__COUNT", workers.to_string())]);
    if processes > 1 {
        environment.push(("ETALAGE_CLUSTER__ADDRESSES", addresses(processes)?.join(",")));
    }
    let began = Instant::now();
    let (mut servers, elsewhere) = (Vec::new(), tempfile::tempdir()?);
    for process in 0..processes {
        let dir = if process == 0 { store } else { elsewhere.path() };
        let own = [("ETALAGE_CLUSTER__PROCESS", process.to_string())];
        let own = own.into_iter().filter(|_| processes > 1);
        servers.push(Server::start(&options.job.server, dir, environment.iter().cloned().chain(own))?);
    }
    let ready = format!("{}/readyz", servers[0].url);
    let agent = ureq::Agent::new_with_defaults();
    wait_until(PATIENCE, "/readyz", || agent.get(&ready).call().is_ok())?;
    let cpu_s = servers.iter().map(|server| machine::cpu_s(&server.pid())).sum();
    Ok((began.elapsed().as_secs_f64(), cpu_s))
}

fn addresses(count: usize) -> anyhow::Result<Vec<String>> {
    // Held together, so that no port is given twice.
    let held = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    Ok(held.iter().map(|listener| Ok(listener.local_addr()?.to_string())).collect::<std::io::Result<Vec<_>>>()?)
}

/// A process that is started again whenever it ends.
struct Supervised {
    child: Arc<Mutex<Child>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Supervised {
    fn start(mut command: Command) -> anyhow::Result<Supervised> {
        let child = Arc::new(Mutex::new(command.spawn().context("the server cannot be started")?));
        let is_over = Arc::new(AtomicBool::new(false));
        let (watched, over) = (Arc::clone(&child), Arc::clone(&is_over));
        let watch = move || {
            while !over.load(Ordering::SeqCst) {
                let mut child = watched.lock().expect("nobody panics with it");
                let has_ended = !matches!(child.try_wait(), Ok(None));
                if has_ended {
                    std::thread::sleep(RESTART);
                    *child = command.spawn().expect("it was started before");
                }
                drop(child);
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        Ok(Supervised { child, is_over, thread: Some(std::thread::spawn(watch)) })
    }

    fn kill(&self) -> anyhow::Result<()> {
        Ok(self.child.lock().expect("nobody panics with it").kill()?)
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
        let mut child = self.child.lock().expect("nobody panics with it");
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn failover(options: &Options, part: &mut Measuring) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (addresses, http) = (addresses(2)?, addresses(2)?);
    let command = |process: usize| {
        let mut command = Command::new(&options.job.server);
        command.arg("run").arg("--data-dir").arg(dir.path().join(format!("store-{process}")));
        command.envs(replay::environment(options.job.full)).envs([
            ("ETALAGE_CLUSTER__ADDRESSES", addresses.join(",")),
            ("ETALAGE_CLUSTER__PROCESS", process.to_string()),
            ("ETALAGE_SERVER__LISTEN", http[process].clone()),
            ("ETALAGE_SNAPSHOTS__URL", dir.path().join("snapshots").display().to_string()),
            ("ETALAGE_SNAPSHOTS__EVERY", "5s".to_owned()),
            ("ETALAGE_LOG", "error".to_owned()),
        ]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let processes = [Supervised::start(command(0))?, Supervised::start(command(1))?];
    let url = format!("http://{}", http[0]);
    wait_until(PATIENCE, "the cluster", || lag(&url).is_some_and(|lag| lag < CURRENT))?;

    let load = Load::start(options, &url)?;
    let (mut current_s, mut on_time_s) = (vec![Vec::new(); 2], vec![Vec::new(); 2]);
    for victim in (0..2 * options.kills as usize).map(|at| (at + 1) % 2) {
        std::thread::sleep(Duration::from_secs(options.before_s));
        let late = load.late();
        if late > CURRENT {
            bail!(
                "the clients were {late:?} late before anything was killed: {} events/s are too many here",
                options.rate
            );
        }
        let killed = Instant::now();
        processes[victim].kill()?;
        // What answers still is the head that has not noticed.
        wait_until(PATIENCE, "the end of the cluster", || lag(&url).is_none())?;
        wait_until(PATIENCE, "current answers", || lag(&url).is_some_and(|lag| lag < CURRENT))?;
        current_s[victim].push(killed.elapsed().as_secs_f64());
        wait_until(PATIENCE, "clients on time", || load.late() < CURRENT)?;
        on_time_s[victim].push(killed.elapsed().as_secs_f64());
    }
    let sent = load.stop()?;
    for (name, current_s, on_time_s) in
        [("the head", &current_s[0], &on_time_s[0]), ("another", &current_s[1], &on_time_s[1])]
    {
        let what = format!("from a kill of {name} to current answers");
        part.figure(&what, "s", Better::Lower, current_s.clone()).bar(BAR_FAILOVER_S);
        part.figure(&format!("from a kill of {name} until no client is late"), "s", Better::Lower, on_time_s.clone());
    }
    part.figure("events sent and acknowledged", "", Better::Neither, vec![sent as f64]);
    Ok(())
}

/// How far the head's answers are behind the clock; nothing where it does not answer.
fn lag(url: &str) -> Option<Duration> {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(CURRENT)).build().into();
    agent.get(format!("{url}/readyz")).call().ok()?;
    let text = agent.get(format!("{url}/v1/status")).call().ok()?.body_mut().read_to_string().ok()?;
    let status: serde_json::Value = serde_json::from_str(&text).ok()?;
    let as_of = Duration::from_micros(status["tick"].as_u64()?);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(now.saturating_sub(as_of))
}

/// Clients that send at a fixed rate, each request until it is answered.
struct Load {
    is_over: Arc<AtomicBool>,
    /// How late the request of each is that is under way, in milliseconds.
    late_ms: Arc<Vec<AtomicU64>>,
    threads: Vec<JoinHandle<anyhow::Result<u64>>>,
}

impl Load {
    fn start(options: &Options, url: &str) -> anyhow::Result<Load> {
        let is_over = Arc::new(AtomicBool::new(false));
        let late_ms: Arc<Vec<AtomicU64>> = Arc::new((0..LANES).map(|_| AtomicU64::default()).collect());
        let every = Duration::from_secs_f64((BATCH * LANES) as f64 / options.rate as f64);
        let mut threads = Vec::new();
        for lane in 0..LANES {
            let (over, late, url) = (Arc::clone(&is_over), Arc::clone(&late_ms), format!("{url}/v1/events"));
            let mut bodies = Bodies::of(lane, BATCH, options.job.shape.items, options.job.shape.seed)?;
            threads.push(std::thread::spawn(move || {
                let agent: ureq::Agent =
                    ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(10))).build().into();
                let (began, mut request) = (Instant::now(), 0);
                while !over.load(Ordering::SeqCst) {
                    let due = began + every.mul_f64(request as f64 + lane as f64 / LANES as f64);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let body = bodies.make(request);
                    while !is_taken(&agent, &url, &body) && !over.load(Ordering::SeqCst) {
                        late[lane as usize].store(due.elapsed().as_millis() as u64, Ordering::SeqCst);
                        std::thread::sleep(AGAIN);
                    }
                    late[lane as usize].store(due.elapsed().as_millis() as u64, Ordering::SeqCst);
                    request += 1;
                }
                Ok(request * BATCH)
            }));
        }
        Ok(Load { is_over, late_ms, threads })
    }

    /// How late the latest of them is.
    fn late(&self) -> Duration {
        Duration::from_millis(self.late_ms.iter().map(|late| late.load(Ordering::SeqCst)).max().unwrap_or_default())
    }

    /// How many events were sent.
    fn stop(self) -> anyhow::Result<u64> {
        self.is_over.store(true, Ordering::SeqCst);
        let sent =
            self.threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))?);
        sent.sum()
    }
}

/// True where the request was answered: whatever is wrong with a connection, it is sent again.
fn is_taken(agent: &ureq::Agent, url: &str, body: &str) -> bool {
    agent.post(url).send(body).is_ok_and(|mut answer| answer.body_mut().read_to_string().is_ok())
}
