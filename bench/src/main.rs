//! `etalage-bench`: how fast etalage is, measured so that engineers can trust it.
//!
//! Each part runs by itself (`etalage-bench throughput`), or with the others (`etalage-bench suite`).
//! What it measures is data first ([`figures`]); printing, JSON, the page and comparisons are made of
//! that. Every report names the command, the machine and the commit.
//!
//! **Open loop.** Where latency is measured, the instant at which each event is due is fixed before the
//! run, and latency counts from there: a stall delays all that was due meanwhile, and shows in full. A
//! run that could not keep up says so, and its percentiles are not shown.

#![allow(clippy::print_stdout, reason = "a benchmark prints its report")]

mod budget;
mod charts;
mod cluster;
mod compare;
mod figures;
mod full;
mod generate;
#[path = "../peers/hand.rs"]
mod hand;
mod html;
mod ingest;
#[cfg(feature = "kafka")]
mod kafka;
mod latency;
mod machine;
mod memory;
mod noise;
mod operators;
mod out;
mod peer;
mod pressure;
mod print;
mod read;
mod replay;
mod scaling;
mod server;
mod snapshot;
mod soak;
mod stages;
mod store;
mod suite;
mod sustained;
mod throughput;
mod workload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use figures::{FORMAT, Part, Report};
use machine::Environment;

/// The allocator of the binary that is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "etalage-bench", about = "Benchmarks of etalage", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that needs no other software, as a report: a page, JSON, distributions
    ///
    /// Runs the parts one after the other, alone on the machine, and writes `report.html`, `report.json`
    /// and an `.hgrm` file for each distribution.
    Suite(suite::Options),
    /// The workload as a file, so that other engines read the same input
    Generate(generate::Options),
    /// etalage or the loop by hand on a file, as `bench/peers/run` compares it with other engines
    ///
    /// Prints one line of JSON. Reading the file and writing the answers is counted.
    Peer(peer::Options),
    /// What changed between two reports, and whether it is more than noise
    Compare(compare::Options),
    /// A report once more: prints it, and writes its page
    Show(out::ShowOptions),
    #[command(flatten)]
    Part(PartCommand),
}

/// A part of the bench.
#[derive(Clone, Debug, Subcommand)]
enum PartCommand {
    /// What the machine does by itself
    ///
    /// The gaps that a loop sees which only reads the clock, and how late a sleep of a millisecond ends.
    /// Nothing that is measured here can be steadier.
    Noise {
        #[command(flatten)]
        options: noise::Options,
        #[command(flatten)]
        out: out::Options,
    },
    /// Events a second through the dataflow in this process, as fast as it goes
    ///
    /// The job `sb`. Preloaded input, no parsing, no store. The clock is read around each tick. Prints changed lists too, so that what is counted is visible.
    Throughput {
        #[command(flatten)]
        options: throughput::Options,
        #[command(flatten)]
        out: out::Options,
    },
    /// Latency through the dataflow in this process, at a fixed rate
    ///
    /// The job `sb`, open loop: each click has an instant at which it is due, fixed before the run; its
    /// latency goes from there to the moment at which the lists it changed are cut. `--stall-ms` puts a
    /// stall in the middle on purpose, to see that it shows.
    Latency {
        #[command(flatten)]
        options: latency::Options,
        #[command(flatten)]
        out: out::Options,
    },
    /// The default configuration with every view on: events a second, or latency at a rate
    ///
    /// In this process, without log and sockets; shop and people on one worker.
    Full {
        #[command(flatten)]
        options: full::Options,
        #[command(flatten)]
        out: out::Options,
    },
    /// Latency from HTTP to a reader of the event stream, at a fixed rate
    ///
    /// Starts the server (`--server`, the binary) with a temporary store; this process makes the
    /// load and reads the stream. Latency goes from the instant at which a request is due to the
    /// arrival of a message that shows it.
    Ingest {
        #[command(flatten)]
        options: ingest::Options,
        #[command(flatten)]
        out: out::Options,
    },
    /// Events a second over HTTP: acknowledged alone, and visible, closed loop
    ///
    /// Starts the server (`--server`, the binary) by turns with every view off and with `set.bestsellers` on;
    /// this process makes the load and reads the stream.
    Sustained {
        #[command(flatten)]
        options: sustained::Options,
        #[command(flatten)]
        out: out::Options,
    },
    /// More over HTTP than the server can take: what it answers, its memory, and how soon it is well again
    ///
    /// Starts the server (`--server`, the binary) twice with every view on: polite clients first, who are turned
    /// away and wait; then many times of what they got in, by clients who do not.
    Pressure {
        #[command(flatten)]
        options: pressure::Options,
        #[command(flatten)]
        out: out::Options,
    },
    /// Reads over HTTP with a key, while events are written
    ///
    /// Starts the server (`--server`, the binary) with the default configuration and fills it. First all
    /// connections read as fast as it goes: what a core of the server does is told by its CPU time. Then
    /// they read at half of that rate, open loop, while events are written: latency goes from the instant
    /// at which a read is due to the end of its answer.
    Read {
        #[command(flatten)]
        options: read::Options,
        #[command(flatten)]
        out: out::Options,
    },
    /// The embedded log by itself: appends, syncs, reading back
    ///
    /// In this process; the clock is read around each append.
    Store {
        #[command(flatten)]
        options: store::Options,
        #[command(flatten)]
        out: out::Options,
    },
    /// JSON lines through the whole pipeline, and a restart over the log that they left
    ///
    /// Runs the binary (`--server`): `etalage replay` over a generated file, its clock around the process;
    /// then `etalage run` over the same store, until `/readyz` says yes.
    Replay {
        #[command(flatten)]
        options: replay::Options,
        #[command(flatten)]
        out: out::Options,
    },
    /// Snapshots: how long one takes, what a restart from it costs, what readers notice meanwhile
    ///
    /// Runs the binary (`--server`) over a store that `etalage replay` has filled. The clock is read around the
    /// request for a snapshot, around the start until `/readyz` says yes, and as in `ingest`.
    Snapshot {
        #[command(flatten)]
        options: snapshot::Options,
        #[command(flatten)]
        out: out::Options,
    },
    /// Several processes: beside several workers, and how long one that was killed is missed
    Cluster {
        #[command(flatten)]
        options: cluster::Options,
        #[command(flatten)]
        out: out::Options,
    },
    /// Rates and latencies by the size of the job: items, windows, scopes, workers, customers
    ///
    /// Each point is a run of `throughput`, `latency` or `full` in a process of its own.
    Scaling {
        #[command(flatten)]
        options: scaling::Options,
        #[command(flatten)]
        out: out::Options,
    },
    /// The way of one event, stage by stage: decode, dedup, store, dataflow, seal, keep, write
    ///
    /// In this process, on one core, one stage after the other; the clock is read around each stage of a tick.
    Budget {
        #[command(flatten)]
        options: budget::Options,
        #[command(flatten)]
        out: out::Options,
    },
    /// Bytes of state: of each view by key and by event, of `sb` by row
    ///
    /// Runs `full` with one view at a time, each in a process of its own, and once without any: state is the
    /// memory at the end less that of the run without a view.
    Memory {
        #[command(flatten)]
        options: memory::Options,
        #[command(flatten)]
        out: out::Options,
    },
    /// Whether memory grows in a long run in which nothing grows that is kept
    ///
    /// The job `sb` at a fixed rate in this process; the slope of its resident memory, least squares.
    Soak {
        #[command(flatten)]
        options: soak::Options,
        #[command(flatten)]
        out: out::Options,
    },
    /// Operators alone, without a dataflow: nanoseconds an update
    ///
    /// In this process; the clock is read around each tick.
    Operators {
        #[command(flatten)]
        options: operators::Options,
        #[command(flatten)]
        out: out::Options,
    },
    /// Latency from a producer over etalage to a consumer, at a fixed rate, on a real broker
    ///
    /// Starts a broker and the service; this process produces and consumes. The same probes go
    /// through a plain topic in the same run, so that what etalage adds can be told.
    #[cfg(feature = "kafka")]
    Kafka {
        #[command(flatten)]
        options: kafka::Options,
        #[command(flatten)]
        out: out::Options,
    },
}

impl PartCommand {
    fn measure(&self) -> anyhow::Result<Part> {
        Ok(match self {
            PartCommand::Noise { options, .. } => noise::measure(options),
            PartCommand::Throughput { options, .. } => throughput::measure(options),
            PartCommand::Latency { options, .. } => latency::measure(options),
            PartCommand::Full { options, .. } => full::measure(options),
            PartCommand::Ingest { options, .. } => ingest::measure(options)?,
            PartCommand::Sustained { options, .. } => sustained::measure(options)?,
            PartCommand::Pressure { options, .. } => pressure::measure(options)?,
            PartCommand::Read { options, .. } => read::measure(options)?,
            PartCommand::Store { options, .. } => store::measure(options)?,
            PartCommand::Replay { options, .. } => replay::measure(options)?,
            PartCommand::Snapshot { options, .. } => snapshot::measure(options)?,
            PartCommand::Cluster { options, .. } => cluster::measure(options)?,
            PartCommand::Scaling { options, .. } => scaling::measure(options)?,
            PartCommand::Budget { options, .. } => budget::measure(options)?,
            PartCommand::Memory { options, .. } => memory::measure(options)?,
            PartCommand::Soak { options, .. } => soak::measure(options)?,
            PartCommand::Operators { options, .. } => operators::measure(options)?,
            #[cfg(feature = "kafka")]
            PartCommand::Kafka { options, .. } => kafka::measure(options)?,
        })
    }

    fn out(&self) -> &out::Options {
        match self {
            PartCommand::Noise { out, .. }
            | PartCommand::Throughput { out, .. }
            | PartCommand::Latency { out, .. }
            | PartCommand::Full { out, .. }
            | PartCommand::Ingest { out, .. }
            | PartCommand::Sustained { out, .. }
            | PartCommand::Pressure { out, .. }
            | PartCommand::Read { out, .. }
            | PartCommand::Store { out, .. }
            | PartCommand::Replay { out, .. }
            | PartCommand::Snapshot { out, .. }
            | PartCommand::Cluster { out, .. }
            | PartCommand::Scaling { out, .. }
            | PartCommand::Budget { out, .. }
            | PartCommand::Memory { out, .. }
            | PartCommand::Soak { out, .. }
            | PartCommand::Operators { out, .. } => out,
            #[cfg(feature = "kafka")]
            PartCommand::Kafka { out, .. } => out,
        }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Suite(options) => suite::run(&options),
        Command::Generate(options) => {
            let messages = generate::run(&options)?;
            println!("{messages} messages");
            Ok(ExitCode::SUCCESS)
        }
        Command::Peer(options) => peer::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Compare(options) => compare::run(&options),
        Command::Show(options) => out::show(&options).map(|()| ExitCode::SUCCESS),
        Command::Part(part) => {
            let environment = Environment::here();
            print::environment(&environment);
            let measured = Part { command: environment.command.clone(), ..part.measure()? };
            print::part(&measured);
            part.out().write(&Report { format: FORMAT, environment, parts: vec![measured] })?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
