//! The machine and the processes on it: what stands beside every figure, and what is read off `/proc`.

use std::{
    fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::figures::{Curve, Latency, Line};

/// Where, when and from what something was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Environment {
    /// When it began, in RFC 3339.
    pub at: String,
    /// The command line.
    pub command: String,
    /// What `git describe --always --dirty` says.
    pub commit: String,
    pub cores: usize,
    pub cpu: String,
    pub memory: String,
    pub kernel: String,
    pub rustc: String,
}

impl Environment {
    /// This one.
    pub(crate) fn here() -> Environment {
        let output = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output().ok();
            output.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default().trim().to_owned()
        };
        let field = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
            line.split(':').nth(1).unwrap_or_default().trim().to_owned()
        };
        Environment {
            at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            command: std::env::args().collect::<Vec<_>>().join(" "),
            commit: output("git", &["describe", "--always", "--dirty"]),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu: field("/proc/cpuinfo", "model name"),
            memory: field("/proc/meminfo", "MemTotal"),
            kernel: output("uname", &["-sr"]),
            rustc: output("rustc", &["--version"]),
        }
    }
}

/// An empty distribution: from 1 µs to 100 s, with three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 100_000_000, 3).expect("bounds that the crate takes")
}

/// A line of a process's status, in MiB.
fn status_mib(process: &str, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    let kib: f64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(f64::NAN);
    kib / 1024.0
}

/// Peak resident memory of a process (`self` or a number), in MiB.
pub(crate) fn peak_rss_mib(process: &str) -> f64 {
    status_mib(process, "VmHWM:")
}

/// Resident memory of this process now that belongs to no file, in MiB: what it has written, without the
/// pages of its binary, which differ by what of it has run.
pub(crate) fn anonymous_mib() -> f64 {
    status_mib("self", "RssAnon:")
}

/// Memory of this machine that can be had now, in MiB.
pub(crate) fn available_mib() -> f64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("MemAvailable:")).unwrap_or_default();
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok());
    kib.map_or(f64::INFINITY, |kib| kib / 1024.0)
}

/// How CPU time is counted on every Linux we run on.
const TICKS_PER_S: f64 = 100.0;

/// CPU time of a process so far, user and system.
pub(crate) fn cpu_s(process: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(f64::NAN);
    (ticks(11) + ticks(12)) / TICKS_PER_S
}

/// CPU time of this thread so far, user and system, to the nanosecond.
pub(crate) fn thread_cpu_s() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()).map_or(f64::NAN, |ns| ns / 1e9)
}

/// CPU time that a hypervisor has given to others while this machine wanted it, in milliseconds. A
/// stall of that order may be the machine's.
pub(crate) fn stolen_ms() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.lines().next().and_then(|all| all.split_whitespace().nth(8)?.parse::<f64>().ok());
    ticks.map_or(f64::NAN, |ticks| ticks / TICKS_PER_S * 1_000.0)
}

/// How long the noise is measured beside what a part measures.
pub(crate) const NOISE: Duration = Duration::from_secs(2);

/// The machine's noise: how late a loop that does nothing but watch the clock finds itself.
pub(crate) fn noise(length: Duration) -> Latency {
    let mut gaps = histogram();
    let began = Instant::now();
    let mut last = began;
    while last.duration_since(began) < length {
        let now = Instant::now();
        gaps.saturating_record(now.duration_since(last).as_micros() as u64);
        last = now;
    }
    Latency::of("noise", &gaps)
}

/// How often memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// Watches the resident memory of a process until it is asked what it saw.
pub(crate) struct MemoryWatch {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(f64, f64)>>,
}

impl MemoryWatch {
    /// Of `self`, or of a process by number.
    pub(crate) fn of(process: String) -> MemoryWatch {
        let ends = Arc::new(AtomicBool::new(false));
        let (ended, began) = (Arc::clone(&ends), Instant::now());
        let thread = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                seen.push((began.elapsed().as_secs_f64(), status_mib(&process, "VmRSS:")));
                std::thread::park_timeout(SAMPLE_EVERY);
            }
            seen
        });
        MemoryWatch { ends, thread }
    }

    /// What it saw, as a curve.
    pub(crate) fn curve(self, whose: &str) -> Curve {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        let points = self.thread.join().unwrap_or_default();
        Curve {
            name: "memory over time".into(),
            x: "seconds".into(),
            y: "resident MiB".into(),
            is_log_x: false,
            lines: vec![Line { name: whose.to_owned(), points }],
        }
    }
}
