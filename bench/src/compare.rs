//! What changed between two reports, and whether it is more than noise.
//!
//! A figure that was measured several times in both has changed where the ranges of both do not overlap.
//! Where there is one sample, its range is taken to be [`NOISE_SHARE`] of it, which is what rates on
//! shared machines vary by. A percentile has changed where it differs by more than that share *and* by
//! more than the machine's own noise at p99.9 in either report.

use std::{path::PathBuf, process::ExitCode};

use crate::{
    figures::{Better, Figure, Latency, Part, Report},
    out,
    print::{PERCENTILES, number},
};

/// By how much a single measurement on a shared machine may differ from the next.
const NOISE_SHARE: f64 = 0.2;

/// Two reports.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The report of before, as JSON
    before: PathBuf,
    /// The report of after, as JSON
    after: PathBuf,
    /// Exit with code 1 where something got worse by more than noise
    #[arg(long)]
    strict: bool,
}

/// What became of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Better,
    Worse,
    /// It changed, and is no merit either way.
    Changed,
    Noise,
}

/// A line of the comparison.
struct Compared {
    name: String,
    before: f64,
    after: f64,
    verdict: Verdict,
}

/// Prints what changed.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let (before, after) = (out::read(&options.before)?, out::read(&options.after)?);
    println!("before   {} on {}, {}", before.environment.commit, before.environment.cpu, before.environment.at);
    println!("after    {} on {}, {}", after.environment.commit, after.environment.cpu, after.environment.at);
    let machine = |report: &Report| {
        let environment = &report.environment;
        (environment.cpu.clone(), environment.cores, environment.kernel.clone())
    };
    if machine(&before) != machine(&after) {
        println!("note     the machines differ: what is compared are machines as much as commits");
    }
    let lines = compare(&before, &after);
    for Compared { name, before, after, verdict } in &lines {
        let told = match verdict {
            Verdict::Better => "better",
            Verdict::Worse => "WORSE",
            Verdict::Changed => "changed",
            Verdict::Noise => "within the noise",
        };
        println!("{name:<64} {:>12} -> {:>12}  {:>7.2}x  {told}", number(*before), number(*after), after / before);
    }
    if lines.is_empty() {
        println!("the reports have nothing in common: no part was run with the same command in both");
    }
    let is_worse = lines.iter().any(|line| line.verdict == Verdict::Worse);
    Ok(if options.strict && is_worse { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Everything that both reports have measured by the same command.
fn compare(before: &Report, after: &Report) -> Vec<Compared> {
    let noise_us = [before, after].map(|report| {
        let of_part = |part: &Part| part.latencies.iter().filter(|l| l.name == "noise").map(p999_us).max();
        report.parts.iter().filter_map(of_part).max().unwrap_or(0)
    });
    let noise_us = noise_us[0].max(noise_us[1]) as f64;
    let mut lines = Vec::new();
    for part in &before.parts {
        let Some(other) = after.parts.iter().find(|other| is_same(part, other)) else { continue };
        for figure in &part.figures {
            // What has two units has two figures of one name.
            let is_same = |other: &&Figure| other.name == figure.name && other.unit == figure.unit;
            let same = other.figures.iter().find(is_same);
            lines.extend(same.map(|other| Compared {
                name: format!("{}: {}, {}", part.name, figure.name, figure.unit),
                before: figure.median(),
                after: other.median(),
                verdict: of_figures(figure, other),
            }));
        }
        for latency in part.latencies.iter().filter(|latency| latency.kept_up()) {
            let same = other.latencies.iter().find(|other| other.name == latency.name && other.kept_up());
            lines.extend(same.into_iter().flat_map(|other| of_latencies(&part.name, latency, other, noise_us)));
        }
    }
    lines
}

/// The same but for where the binary stands.
fn is_same(one: &Part, other: &Part) -> bool {
    let words = |part: &Part| part.command.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>();
    one.name == other.name && words(one) == words(other)
}

fn p999_us(latency: &Latency) -> u64 {
    latency.histogram().value_at_quantile(0.999)
}

fn range(figure: &Figure) -> (f64, f64) {
    match figure.samples.as_slice() {
        [only] => (only - only.abs() * NOISE_SHARE, only + only.abs() * NOISE_SHARE),
        _ => figure.range(),
    }
}

fn of_figures(before: &Figure, after: &Figure) -> Verdict {
    let ((low, high), (low_after, high_after)) = (range(before), range(after));
    match (before.better, low_after > high, high_after < low) {
        (_, false, false) => Verdict::Noise,
        (Better::Neither, ..) => Verdict::Changed,
        (Better::Higher, is_higher, _) => {
            if is_higher {
                Verdict::Better
            } else {
                Verdict::Worse
            }
        }
        (Better::Lower, is_higher, _) => {
            if is_higher {
                Verdict::Worse
            } else {
                Verdict::Better
            }
        }
    }
}

fn of_latencies(part: &str, before: &Latency, after: &Latency, noise_us: f64) -> Vec<Compared> {
    let histograms = [before, after].map(Latency::histogram);
    let line = |(percentile, name): (f64, &str)| {
        let [before_us, after_us] = histograms.each_ref().map(|all| all.value_at_percentile(percentile) as f64);
        let difference = after_us - before_us;
        let is_noise = difference.abs() <= noise_us || difference.abs() <= before_us * NOISE_SHARE;
        Compared {
            name: format!("{part}: {} {name}, ms", before.name),
            before: before_us / 1_000.0,
            after: after_us / 1_000.0,
            verdict: match is_noise {
                true => Verdict::Noise,
                false if difference > 0.0 => Verdict::Worse,
                false => Verdict::Better,
            },
        }
    };
    PERCENTILES.map(line).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine;

    fn figure(better: Better, samples: &[f64]) -> Figure {
        Figure { name: "x".into(), unit: String::new(), samples: samples.to_vec(), better, bar: None }
    }

    #[test]
    fn ranges_that_overlap_are_noise() {
        let of =
            |before: &[f64], after: &[f64]| of_figures(&figure(Better::Higher, before), &figure(Better::Higher, after));
        assert_eq!(of(&[10.0, 12.0, 11.0], &[11.5, 13.0, 14.0]), Verdict::Noise);
        assert_eq!(of(&[10.0, 12.0, 11.0], &[12.5, 13.0, 14.0]), Verdict::Better);
        assert_eq!(of(&[10.0, 12.0, 11.0], &[9.0, 8.0, 9.5]), Verdict::Worse);
        assert_eq!(of(&[10.0], &[14.0]), Verdict::Noise, "a single run says little");
        assert_eq!(of(&[10.0], &[16.0]), Verdict::Better);
        assert_eq!(of(&[-10.0], &[-10.0]), Verdict::Noise, "what shrinks is no worse than itself");
        assert_eq!(of_figures(&figure(Better::Lower, &[10.0]), &figure(Better::Lower, &[16.0])), Verdict::Worse);
        assert_eq!(of_figures(&figure(Better::Neither, &[10.0]), &figure(Better::Neither, &[16.0])), Verdict::Changed);
    }

    #[test]
    fn percentiles_are_compared_beyond_the_noise_of_the_machine() {
        let latency = |us: u64| {
            let mut histogram = machine::histogram();
            histogram.saturating_record_n(us, 1_000);
            Latency::of("visible", &histogram)
        };
        let verdict =
            |before, after, noise_us| of_latencies("ingest", &latency(before), &latency(after), noise_us)[2].verdict;
        assert_eq!(verdict(1_000, 1_150, 10.0), Verdict::Noise);
        assert_eq!(verdict(1_000, 2_000, 10.0), Verdict::Worse);
        assert_eq!(verdict(1_000, 2_000, 1_500.0), Verdict::Noise);
        assert_eq!(verdict(2_000, 1_000, 10.0), Verdict::Better);
    }
}
