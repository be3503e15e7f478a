//! `etalage-bench`: measures the job `sb`, stock-aware rolling bestsellers over ten minutes.
//!
//! `throughput` and `latency` run the dataflow in this process, without store and sockets;
//! `ingest` runs the real binary and goes from HTTP to a reader of the event stream, the load in
//! a process of its own; `kafka` (a feature) does so between topics of a real broker. Every report names the command, the machine and the commit.

#![allow(clippy::print_stdout, reason = "a benchmark prints its report")]

mod full;
#[path = "../peers/hand.rs"]
mod hand;
mod ingest;
#[cfg(feature = "kafka")]
mod kafka;
mod latency;
mod report;
mod throughput;
mod workload;

use clap::{Parser, Subcommand};

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
    /// Events a second through the dataflow in this process, as fast as it goes
    ///
    /// Preloaded input, no parsing, no store. The clock is read before the first and after the
    /// last tick. Prints change rows too, so that what is counted is visible.
    Throughput(throughput::Options),
    /// Latency through the dataflow in this process, at a fixed rate
    ///
    /// Open loop: each event has an intended instant, fixed before the run; its latency goes from
    /// there to the moment at which the lists it changed are cut. A stall delays all that follows
    /// and shows in full. `--stall-ms` puts one there on purpose, to see that it does.
    Latency(latency::Options),
    /// The default configuration with every view on: events a second, or latency at a rate
    ///
    /// In this process, without store and sockets; shop and people on one worker.
    Full(full::Options),
    /// Latency from HTTP to a reader of the event stream, at a fixed rate
    ///
    /// Starts the server (`--server`, the binary) with a temporary store; this process makes the
    /// load and reads the stream. Latency goes from the intended instant of an event to the
    /// arrival of a message that is as of its storing or later.
    Ingest(ingest::Options),
    /// Latency from a producer over etalage to a consumer, at a fixed rate, on a real broker
    ///
    /// Starts a broker and the service; this process produces and consumes. The same probes go
    /// through a plain topic in the same run, so that what etalage adds can be told.
    #[cfg(feature = "kafka")]
    Kafka(kafka::Options),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Throughput(options) => throughput::run(&options),
        Command::Latency(options) => latency::run(&options),
        Command::Full(options) => full::run(&options),
        Command::Ingest(options) => ingest::run(&options),
        #[cfg(feature = "kafka")]
        Command::Kafka(options) => kafka::run(&options),
    }
}
