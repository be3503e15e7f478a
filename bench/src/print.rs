//! A measured part as text, for the terminal.

use crate::{
    figures::{Better, Figure, Latency, Part, Report},
    machine::Environment,
};

/// Percentiles that are printed and compared.
pub(crate) const PERCENTILES: [(f64, &str); 4] = [(50.0, "p50"), (90.0, "p90"), (99.0, "p99"), (99.9, "p99.9")];

/// Prints where a report is from.
pub(crate) fn environment(environment: &Environment) {
    println!("command  {}", environment.command);
    println!("commit   {}", environment.commit);
    println!(
        "machine  {} cores, {}, {}, {}",
        environment.cores, environment.cpu, environment.memory, environment.kernel
    );
}

/// Prints what was measured.
pub(crate) fn report(report: &Report) {
    environment(&report.environment);
    report.parts.iter().for_each(part);
}

/// Prints a part.
pub(crate) fn part(part: &Part) {
    println!("\n{}: {}", part.name, part.job);
    part.figures.iter().for_each(|figure| println!("  {}", figure_line(figure)));
    for latency in &part.latencies {
        println!("  {}", latency_line(latency));
    }
    for curve in part.curves.iter().filter(|curve| curve.lines.iter().all(|line| line.points.len() <= MOST_POINTS)) {
        println!("  {} ({} by {})", curve.name, curve.y, curve.x);
        for line in &curve.lines {
            let points = line.points.iter().map(|(x, y)| format!("{}: {}", number(*x), number(*y)));
            println!("    {:<24} {}", line.name, points.collect::<Vec<_>>().join("  "));
        }
    }
    part.remarks.iter().for_each(|remark| println!("  note: {remark}"));
    println!(
        "  {:.0} ms of this machine's CPU time were stolen meanwhile; took {:.1} s",
        part.stolen_ms, part.elapsed_s
    );
}

/// Curves with more points are for the eye.
const MOST_POINTS: usize = 12;

/// A figure: its median, its range where there are several runs, its bar.
fn figure_line(figure: &Figure) -> String {
    let (least, greatest) = figure.range();
    let range = match figure.samples.len() {
        0 | 1 => String::new(),
        runs => format!("  ({} to {} in {runs} runs)", number(least), number(greatest)),
    };
    let sign = match figure.better {
        Better::Higher => "at least",
        Better::Lower => "at most",
        Better::Neither => "",
    };
    let bar = figure.bar.map_or(String::new(), |bar| {
        let verdict = if figure.meets_bar() == Some(true) { "met" } else { "NOT met" };
        format!("  bar: {sign} {}, {verdict}", number(bar))
    });
    format!("{:<40} {:>12} {}{range}{bar}", figure.name, number(figure.median()), figure.unit)
}

/// Latencies: the percentiles, unless the run could not keep up.
fn latency_line(latency: &Latency) -> String {
    let offered = match (latency.offered_per_s, latency.achieved_per_s) {
        (Some(offered), Some(achieved)) => format!(", offered {offered:.0}/s, achieved {achieved:.0}/s"),
        _ => String::new(),
    };
    if !latency.kept_up() {
        return format!("{:<12} COULD NOT KEEP UP{offered}", latency.name);
    }
    let histogram = latency.histogram();
    let at = |(percentile, name): (f64, &str)| format!("{name} {}", ms(histogram.value_at_percentile(percentile)));
    let percentiles = PERCENTILES.map(at).join("  ");
    let bars = latency.bars_ms.iter().map(|(percentile, bar_ms)| {
        let is_met = histogram.value_at_percentile(*percentile) as f64 <= bar_ms * 1_000.0;
        format!("  bar: p{percentile} at most {bar_ms} ms, {}", if is_met { "met" } else { "NOT met" })
    });
    let bars: String = bars.collect();
    format!(
        "{:<12} {percentiles}  max {} ms  ({} values{offered}){bars}",
        latency.name,
        ms(histogram.max()),
        latency.count()
    )
}

/// Microseconds as milliseconds.
fn ms(us: u64) -> String {
    format!("{:.3}", us as f64 / 1_000.0)
}

/// A number with as many digits as say something.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "not measured".to_owned(),
        size if size >= 1_000.0 => with_commas(value.round() as i64),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn with_commas(value: i64) -> String {
    let digits = value.abs().to_string();
    let grouped: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    format!("{}{}", if value < 0 { "-" } else { "" }, grouped.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_say_something() {
        let written = [0.0, 1.234, 12.34, 123.4, 1_234.5, -1_234_567.0, f64::NAN].map(number);
        assert_eq!(written, ["0.00", "1.23", "12.3", "123", "1,235", "-1,234,567", "not measured"]);
    }
}
