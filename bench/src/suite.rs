//! All parts one after the other, as one report. Each is a process of its own, so that no part sees the
//! memory of another.

use std::{
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, bail};

use crate::{
    figures::{FORMAT, Part, Report},
    machine::Environment,
    out, print,
};

/// What a suite runs: each line is a command that measures its part again.
const PARTS: &[&str] = &[
    "noise --seconds 5",
    "throughput --runs 5 --beside-hand",
    "throughput --runs 3 --beside-hand --tick-events 10000",
    "throughput --runs 1 --stages",
    "throughput --runs 2 --streamed",
    "operators",
    "budget --events 1000000",
    "memory",
    "latency --rate 10000,50000,100000,200000,400000 --seconds 8 --events 4000000",
    "store",
    "full --events 300000",
    "full --events 300000 --served",
    "full --events 200000 --stages",
    "full --rate 10000 --events 120000 --served",
    "full --rate 50000 --events 200000 --served",
    "ingest --rate 10000 --seconds 10",
    "ingest --rate 50000 --seconds 10",
    "ingest --rate 10000 --seconds 10 --durability fsync",
    "sustained",
    "pressure",
    "read",
    "replay",
    "replay --full --events 200000",
    "snapshot --events 500000 --seconds 6",
    "cluster --events 1000000",
    "scaling",
];

/// What is run besides, where there is an hour more.
const LONG: &[&str] = &[
    "snapshot --events 10000000",
    "snapshot --full --events 2000000 --rate 2000",
    "soak",
    "scaling --items 100000 --windows 1 --scopes 2 --workers 1 --customers 100000,1000000,3000000,10000000",
    "full --events 1000000",
    "full --rate 8000 --events 120000 --heavy 0.3",
    "throughput --runs 3 --events 20000000 --streamed",
];

/// The same as [`PARTS`], small: to see that everything works, in a minute.
const QUICK: &[&str] = &[
    "noise --seconds 1",
    "throughput --runs 1 --beside-hand --events 100000 --items 10000",
    "throughput --runs 1 --events 50000 --items 5000 --stages",
    "operators --updates 50000 --items 5000 --runs 1",
    "budget --events 20000 --items 2000 --runs 1",
    "memory --events 2000 --active 2000 --items 2000 --clicks 20000",
    "soak --minutes 0.05 --warm-up-minutes 0.02 --rate 5000 --items 2000",
    "latency --rate 5000,20000 --seconds 2 --warm-up-s 1 --events 60000 --items 10000",
    "store --events 20000 --items 2000 --synced-frames 20",
    "full --events 10000 --items 5000 --active 10000 --served",
    "ingest --rate 2000 --seconds 2 --warm-up-s 1 --items 5000",
    "sustained --events 20000 --warm-up-events 5000 --connections 4 --items 5000 --runs 1",
    "pressure --seconds 2 --connections 8 --times 4 --items 500 --queue 2000",
    "read --seconds 1 --warm-up-s 1 --events 5000 --customers 2000 --items 500 --connections 4 --writes 1000",
    "replay --events 20000 --items 2000",
    "snapshot --events 20000 --items 2000 --rate 2000 --seconds 1",
    "cluster --events 20000 --items 2000 --runs 1 --rate 1000 --before-s 2 --kills 1",
    "scaling --events 20000 --full-events 2000 --runs 1 --items 1000,5000 --windows 1,5 --scopes 2,8 --workers 1,2 \
     --customers 1000,2000 --active 1000 --full-rate 1000 --rate 5000 --seconds 1",
];

/// Parts that start the server.
const NEED_SERVER: [&str; 7] = ["ingest", "sustained", "pressure", "read", "replay", "snapshot", "cluster"];

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Small runs, to see that everything works: their figures say little
    #[arg(long)]
    quick: bool,
    /// A soak of 25 minutes, ten million customers and twenty million clicks besides
    #[arg(long, conflicts_with = "quick")]
    long: bool,
    /// Where the report goes
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
    /// The server's binary
    #[arg(long, default_value = "target/release/etalage")]
    server: PathBuf,
}

/// Runs, prints and writes. A part that cannot run is told of; the others go on, and the exit code is 1.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(&options.out)?;
    let environment = Environment::here();
    print::environment(&environment);
    let lines: Vec<&str> = match (options.quick, options.long) {
        (true, _) => QUICK.to_vec(),
        (_, true) => [PARTS, LONG].concat(),
        _ => PARTS.to_vec(),
    };
    let (mut parts, mut failed) = (Vec::new(), 0);
    for (at, line) in lines.iter().enumerate() {
        eprintln!("[{} of {}] {line}", at + 1, lines.len());
        match measure(line, options) {
            Ok(part) => {
                print::part(&part);
                parts.push(part);
            }
            Err(error) => {
                failed += 1;
                eprintln!("NOT MEASURED: {line}: {error:#}");
            }
        }
    }
    out::Options::into_folder(&options.out).write(&Report { format: FORMAT, environment, parts })?;
    println!("\nreport: {}", options.out.join("report.html").display());
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(line: &str, options: &Options) -> anyhow::Result<Part> {
    let needs_server = line.split_whitespace().next().is_some_and(|part| NEED_SERVER.contains(&part));
    measure_with(line, needs_server.then_some(&options.server), &[])
}

/// Measures one part in a process of its own; `line` is its command line.
pub(crate) fn measure_part(line: &str) -> anyhow::Result<Part> {
    measure_part_in(line, &[])
}

/// The same in an environment that has these variables besides.
pub(crate) fn measure_part_in(line: &str, environment: &[(&str, &str)]) -> anyhow::Result<Part> {
    measure_with(line, None, environment)
}

fn measure_with(line: &str, server: Option<&PathBuf>, environment: &[(&str, &str)]) -> anyhow::Result<Part> {
    let written = tempfile::NamedTempFile::new()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(line.split_whitespace()).arg("--json").arg(written.path()).stdout(Stdio::null());
    command.envs(environment.iter().copied());
    if let Some(server) = server {
        command.arg("--server").arg(server);
    }
    let status = command.status()?;
    if !status.success() {
        bail!("it ended with {status}");
    }
    let part = out::read(written.path())?.parts.pop().context("a part writes itself")?;
    Ok(Part { command: format!("etalage-bench {line}"), ..part })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{Cli, Command as Parsed};

    #[test]
    fn every_line_is_a_command() {
        for line in [PARTS, LONG, QUICK].concat() {
            let words = line.split_whitespace();
            let cli = Cli::try_parse_from(std::iter::once("etalage-bench").chain(words));
            assert!(matches!(cli.map(|cli| cli.command), Ok(Parsed::Part(_))), "{line}");
        }
    }
}
