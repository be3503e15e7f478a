//! `etalage demo`: plays the real data, and the simulation around it, into a running pipeline.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use etalage_model::{Micros, Record};
use etalage_serve::Door as _;

use super::{
    CliError,
    args::{Common, DemoArgs},
    folder::Folder,
    run::interrupts,
    serving::{Beside, Serving},
};
use crate::{
    config::Config,
    demo::{ATTRIBUTION, Demo},
    runtime::{ClockMode, Door, Origin},
};

/// The most messages that are submitted at once.
const MAX_BATCH_MESSAGES: usize = 1_024;
/// The longest sleep before it is looked whether somebody wants to end.
const NAP: Duration = Duration::from_millis(50);
/// The shortest sleep, so that messages that are due at nearly the same time go together.
const LEAST_NAP: Duration = Duration::from_millis(2);

/// Plays until it is interrupted, or for as long as it was told to.
///
/// # Errors
/// Where the address or the folder cannot be had, or the pipeline ends.
pub(super) fn run(common: &Common, config: &Config, args: &DemoArgs) -> Result<(), CliError> {
    let interrupted = interrupts()?;
    let end = args.r#for.map(|duration| Instant::now() + duration);
    let config = config.clone().priced_in(etalage_model::decode::online_retail::CURRENCY);
    let folder = Folder::choose(common.data_dir.as_deref(), false)?;
    let mut demo = Demo::new(args.seed, &config.shop.currencies);
    let clock = ClockMode::Scaled { start: demo.start(), speed: args.speed };
    let mode = format!("demo, {} × real time, partly simulated", args.speed);
    let serving = Serving::start(&config, folder.path(), clock, &mode, Beside::default())?;
    let played = serving.pipeline.ready().map_err(CliError::from).and_then(|()| {
        eprintln!(
            "etalage demo listens on http://{0}\n\
             \x20 real:      every product line of the {ATTRIBUTION}\n\
             \x20 simulated: views, carts, stock, deliveries, categories (seed {1}; their ids begin with `{2}`)\n\
             \x20 it is {3} there, and goes {4} times as fast as here; Ctrl-C ends it",
            serving.address,
            args.seed,
            crate::demo::LABEL,
            demo.start(),
            args.speed,
        );
        let door = serving.door();
        play(&mut demo, &door, args.speed, &mut Ending { interrupted, end })
    });
    let (counts, now) = (serving.door().counts(), serving.door().now());
    serving.stop();
    played?;
    eprintln!(
        "{} messages stored, {} duplicates, {} refused; it was {now}",
        counts.stored, counts.duplicates, counts.refused
    );
    Ok(())
}

/// When to end.
struct Ending {
    interrupted: mpsc::Receiver<()>,
    end: Option<Instant>,
}

impl Ending {
    /// Sleeps; true when it is time to end.
    fn sleep(&mut self, nap: Duration) -> bool {
        let left = self.end.map_or(nap, |end| end.saturating_duration_since(Instant::now()).min(nap));
        self.interrupted.recv_timeout(left).is_ok() || self.end.is_some_and(|end| Instant::now() >= end)
    }
}

/// Submits each message when its time has come. At the end of the data it waits for the end.
fn play(demo: &mut Demo, door: &Door, speed: f64, ending: &mut Ending) -> Result<(), CliError> {
    let mut next = demo.next();
    let mut batch: Vec<Record> = Vec::new();
    loop {
        let now = door.now();
        while batch.len() < MAX_BATCH_MESSAGES
            && let Some((_, record)) = next.take_if(|(at, _)| *at <= now)
        {
            batch.push(record);
            next = demo.next();
        }
        let is_full = batch.len() == MAX_BATCH_MESSAGES;
        if !batch.is_empty() {
            // What becomes of each is counted by the door.
            let results = batch.drain(..).map(Ok).collect();
            drop(door.submit_blocking(Origin::Named("demo".into()), results).map_err(CliError::Failed)?);
        }
        let nap = match &next {
            _ if is_full => Duration::ZERO,
            Some((at, _)) => until(*at, door.now(), speed),
            None => NAP,
        };
        if ending.sleep(nap) {
            return Ok(());
        }
    }
}

/// How long it takes here until it is `at` there.
fn until(at: Micros, now: Micros, speed: f64) -> Duration {
    Duration::from_secs_f64(at.0.saturating_sub(now.0) as f64 / 1e6 / speed).clamp(LEAST_NAP, NAP)
}
