//! The progress bar of a replay: on standard error, and only where that is a terminal.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

const DRAWS_PER_S: u8 = 10;

/// Shows how much of an input was read, and how fast.
pub struct Progress {
    bar: ProgressBar,
    read_bytes: Vec<Arc<AtomicU64>>,
    started: Instant,
    messages: u64,
}

impl Progress {
    /// A bar for inputs of `total_bytes`, of each of which one of `read_bytes` counts what was read. Draws
    /// nothing where `quiet`.
    pub fn new(total_bytes: Option<u64>, read_bytes: Vec<Arc<AtomicU64>>, quiet: bool) -> Progress {
        let target = match quiet {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr_with_hz(DRAWS_PER_S),
        };
        let bar = match total_bytes {
            Some(_) => ProgressBar::with_draw_target(total_bytes, target)
                .with_style(style("{elapsed_precise} [{bar:30}] {bytes}/{total_bytes}  {msg}  {eta} left")),
            None => ProgressBar::with_draw_target(None, target)
                .with_style(style("{elapsed_precise} {spinner} {bytes}  {msg}")),
        };
        Progress { bar, read_bytes, started: Instant::now(), messages: 0 }
    }

    /// Counts `messages` more.
    pub fn add(&mut self, messages: usize) {
        self.messages += messages as u64;
        self.bar.set_position(self.read_bytes.iter().map(|read| read.load(Ordering::Relaxed)).sum());
        self.bar.set_message(format!("{} messages, {}/s", HumanCount(self.messages), HumanCount(self.per_s())));
    }

    /// Messages per second since the beginning.
    pub fn per_s(&self) -> u64 {
        let elapsed = self.started.elapsed().max(Duration::from_micros(1));
        (self.messages as f64 / elapsed.as_secs_f64()) as u64
    }

    /// How long it took so far.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &'static str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a constant").progress_chars("=> ")
}
