//! The embedded log by itself: frames appended one after the other, and read back.
//!
//! The clock is read around each append: that is what an acknowledgement waits for. One frame is one group
//! commit.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use etalage_model::Record;
use etalage_store::{Durability, Log, LogOptions, frames};

use crate::{
    figures::{Better, Part, Recorder},
    machine,
    workload::{self, Shape},
};

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    shape: Shape,
    /// Records of a frame
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    frame: u64,
    /// Frames that are synced to the device: that takes long on some
    #[arg(long, default_value_t = 1_000)]
    synced_frames: usize,
    /// Where the log is written; a temporary folder unless said
    #[arg(long, value_name = "DIR")]
    dir: Option<std::path::PathBuf>,
}

/// Measures.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Part> {
    let mut part = Part::begin(
        "store",
        format!(
            "frames of {} records of the workload, appended one after the other by one thread (a closed loop: \
             latency is that of one append); a folder on tmpfs syncs for nothing",
            options.frame
        ),
    );
    part.latency(machine::noise(machine::NOISE));
    let all: Vec<_> = workload::ticks(&options.shape, options.frame).map(|(_, records)| records).collect();
    let dir = match &options.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let kinds = [("process", Durability::Process, all.len()), ("fsync", Durability::Fsync, options.synced_frames)];
    for (name, durability, most) in kinds {
        let path = dir.path().join(name);
        let (log, _) = Log::open(&path, LogOptions { durability, ..LogOptions::default() })?;
        let written = append(log, &all[..most.min(all.len())])?;
        part.figure(&format!("records, durability = {name}"), "a second", Better::Higher, vec![written.rate()]);
        part.latency(written.appends.latency(&format!("append, durability = {name}")));
        if durability == Durability::Process {
            part.figure("bytes", "a record", Better::Lower, vec![size(&path)? as f64 / written.records as f64]);
            let (read, took) = read(&path)?;
            part.figure("records read back", "a second", Better::Higher, vec![read as f64 / took.as_secs_f64()]);
        }
    }
    Ok(part.done())
}

struct Written {
    records: usize,
    took: Duration,
    appends: Recorder,
}

impl Written {
    fn rate(&self) -> f64 {
        self.records as f64 / self.took.as_secs_f64()
    }
}

fn append(mut log: Log, all: &[std::sync::Arc<Vec<Record>>]) -> anyhow::Result<Written> {
    let (began, mut appends, mut records) = (Instant::now(), Recorder::after(0), 0);
    for (tick, frame) in (1..).zip(all) {
        let due_us = began.elapsed().as_micros() as u64;
        log.append(tick, frame)?;
        appends.record(due_us, began.elapsed().as_micros() as u64);
        records += frame.len();
    }
    Ok(Written { records, took: began.elapsed(), appends })
}

/// Reads all frames; how many records were in them.
fn read(dir: &Path) -> anyhow::Result<(usize, Duration)> {
    let (began, mut records) = (Instant::now(), 0);
    for frame in frames(dir)? {
        records += frame?.records.len();
    }
    Ok((records, began.elapsed()))
}

fn size(dir: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let metadata = entry?.metadata()?;
        bytes += if metadata.is_dir() { 0 } else { metadata.len() };
    }
    Ok(bytes)
}
