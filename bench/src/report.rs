//! What stands beside every figure: command, machine, commit; and how latencies are printed.

use std::{fs, process::Command, time::Duration};

use hdrhistogram::Histogram;

/// Latencies are kept from 1 µs to 100 s with three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 100_000_000, 3).expect("bounds that the crate takes")
}

/// Prints the command, the machine and the commit.
pub(crate) fn heading() {
    let output = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok();
        output.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default().trim().to_owned()
    };
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        line.split(':').nth(1).unwrap_or_default().trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("command  {}", std::env::args().collect::<Vec<_>>().join(" "));
    println!("commit   {}", output("git", &["describe", "--always", "--dirty"]));
    println!(
        "machine  {} cores, {}, {}, Linux {}",
        cores,
        field("/proc/cpuinfo", "model name"),
        field("/proc/meminfo", "MemTotal"),
        output("uname", &["-r"])
    );
}

/// Peak resident memory of a process (`self` or a number), in MiB.
pub(crate) fn peak_rss_mib(process: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    let kib: f64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(f64::NAN);
    kib / 1024.0
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

/// Prints the percentiles of latencies in microseconds.
pub(crate) fn latencies(name: &str, histogram: &Histogram<u64>) {
    let at = |quantile: f64| format_us(histogram.value_at_quantile(quantile));
    println!(
        "{name:<10} p50 {}  p90 {}  p99 {}  p99.9 {}  max {}  ({} values)",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        format_us(histogram.max()),
        histogram.len()
    );
}

fn format_us(us: u64) -> String {
    format!("{:.3} ms", us as f64 / 1000.0)
}

/// Writes the whole distribution in the text form of HdrHistogram.
pub(crate) fn write_hgrm(path: &std::path::Path, histogram: &Histogram<u64>) -> anyhow::Result<()> {
    let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    for step in histogram.iter_quantiles(5) {
        let quantile = step.quantile_iterated_to();
        let value_ms = step.value_iterated_to() as f64 / 1000.0;
        let count = histogram.count_between(0, step.value_iterated_to());
        text.push_str(&format!("{value_ms:12.3} {quantile:2.12} {count:10} {:14.2}\n", 1.0 / (1.0 - quantile)));
    }
    Ok(fs::write(path, text)?)
}

/// The machine's noise: how late a loop that does nothing but watch the clock finds itself.
pub(crate) fn noise(length: Duration) -> Histogram<u64> {
    let mut gaps = histogram();
    let began = std::time::Instant::now();
    let mut last = began;
    while last.duration_since(began) < length {
        let now = std::time::Instant::now();
        gaps.saturating_record(now.duration_since(last).as_micros() as u64);
        last = now;
    }
    gaps
}
