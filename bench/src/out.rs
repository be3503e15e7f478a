//! Where reports go: JSON, a page, and distributions in the text form of HdrHistogram.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use crate::{
    figures::{FORMAT, Latency, Report},
    html, print,
};

/// What is written beside what is printed.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub(crate) struct Options {
    /// Writes everything that was measured there, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes a page there, with drawings
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Writes a file for each distribution into this folder, as HdrHistogram's plotter reads it
    #[arg(long, value_name = "DIR")]
    hgrm: Option<PathBuf>,
}

/// A report to look at.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ShowOptions {
    /// The report, as JSON
    report: PathBuf,
    #[command(flatten)]
    out: Options,
}

/// Prints a report, and writes it in other forms.
pub(crate) fn show(options: &ShowOptions) -> anyhow::Result<()> {
    let report = read(&options.report)?;
    print::report(&report);
    options.out.write(&report)
}

impl Options {
    /// Everything, into a folder.
    pub(crate) fn into_folder(folder: &Path) -> Options {
        Options {
            json: Some(folder.join("report.json")),
            html: Some(folder.join("report.html")),
            hgrm: Some(folder.to_owned()),
        }
    }

    /// Writes what is wanted.
    pub(crate) fn write(&self, report: &Report) -> anyhow::Result<()> {
        if let Some(path) = &self.json {
            let text = serde_json::to_string(report)?;
            fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))?;
        }
        if let Some(path) = &self.html {
            fs::write(path, html::page(report)).with_context(|| format!("{} cannot be written", path.display()))?;
        }
        let Some(folder) = &self.hgrm else { return Ok(()) };
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        for (at, part) in report.parts.iter().enumerate() {
            for latency in part.latencies.iter().filter(|latency| latency.kept_up()) {
                let name: String = latency.name.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
                let path = folder.join(format!("{:02}-{}-{name}.hgrm", at + 1, part.name));
                fs::write(&path, hgrm(latency)).with_context(|| format!("{} cannot be written", path.display()))?;
            }
        }
        Ok(())
    }
}

/// Reads a report.
pub(crate) fn read(path: &Path) -> anyhow::Result<Report> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let report: Report = serde_json::from_str(&text)
        .with_context(|| format!("{} is no report of etalage-bench (write one with --json)", path.display()))?;
    if report.format != FORMAT {
        bail!("{} is a report of format {}; this bench reads format {FORMAT}", path.display(), report.format);
    }
    Ok(report)
}

/// The distribution in the text form of HdrHistogram, in milliseconds.
fn hgrm(latency: &Latency) -> String {
    let histogram = latency.histogram();
    let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    for step in histogram.iter_quantiles(5) {
        let quantile = step.quantile_iterated_to();
        let value_ms = step.value_iterated_to() as f64 / 1_000.0;
        let count = histogram.count_between(0, step.value_iterated_to());
        let left = if quantile < 1.0 { format!("{:.2}", 1.0 / (1.0 - quantile)) } else { "inf".to_owned() };
        text.push_str(&format!("{value_ms:12.3} {quantile:2.12} {count:10} {left:>14}\n"));
    }
    text.push_str(&format!(
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n#[Max     = {:12.3}, Total count    = {:12}]\n",
        histogram.mean() / 1_000.0,
        histogram.stdev() / 1_000.0,
        histogram.max() as f64 / 1_000.0,
        histogram.len()
    ));
    text
}
