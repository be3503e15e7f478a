//! `etalage replay`: files through the whole pipeline, as fast as possible or at a multiple of
//! real time, evaluated at their end or at a chosen instant.

use std::{
    collections::{BTreeMap, VecDeque},
    io::IsTerminal,
    sync::Arc,
    sync::mpsc,
    time::{Duration, Instant},
};

use etalage_model::{Key, KeyPrefix, Micros, Outcome, Tick, key::value_json};
use etalage_serve::NotStored;
use tokio::sync::oneshot;

use super::{
    CliError, Out,
    args::{Common, ReplayArgs},
    folder::Folder,
    run::interrupts,
    serving::{Beside, Serving},
};
use crate::{
    config::Config,
    input::{Format, Merged, Progress, SourceOptions, Sources},
    runtime::{ClockMode, Door, Origin, Pipeline, PipelineOptions, Reading, collect::Collector},
};

/// Batches whose outcomes are still to come.
const MAX_OPEN_BATCHES: usize = 32;

/// The longest sleep of a paced replay before it looks for an interrupt.
const NAP: Duration = Duration::from_millis(50);

/// Replays files.
///
/// # Errors
/// Where a file or the store cannot be read on. Bad lines are none: they are counted.
pub(super) fn run(common: &Common, config: &Config, args: &ReplayArgs) -> Result<(), CliError> {
    let config = &match args.format.currency() {
        None => config.clone(),
        Some(currency) => config.clone().priced_in(currency),
    };
    let dumps = args.dump.iter().map(|dump| Dump::parse(dump)).collect::<Result<Vec<_>, _>>()?;
    let until = args.until.as_deref().map(parse_until).transpose()?;
    let interrupted = interrupts()?;
    let mut sources = Sources::open(&args.files, &source_options(config, args.format))?;
    let folder = Folder::choose(common.data_dir.as_deref(), args.append)?;
    let (replayed, tick) = if args.serve {
        let mode = format!("replay of {}", sources.names().join(", "));
        let serving = Serving::start(config, folder.path(), ClockMode::Replay, &mode, Beside::default())?;
        eprintln!("etalage listens on http://{}", serving.address);
        let replayed = feed(&serving.door(), &serving.pipeline, &mut sources, args, until, &interrupted);
        let done = replayed.and_then(|replayed| Ok((replayed, finish(&serving.pipeline, until)?)));
        if let Ok((replayed, tick)) = &done {
            replayed.report(&sources, *tick);
            if !replayed.interrupted {
                eprintln!("serving until Ctrl-C");
                // An error means that the handler is gone.
                let _ = interrupted.recv();
            }
        }
        serving.stop();
        return done.map(|_| ());
    } else {
        let config = &only_dumped(config, &dumps);
        let collector = Collector::of(dumps.iter().map(|dump| dump.view.to_owned()));
        let options = PipelineOptions {
            served: None,
            clock: ClockMode::Replay,
            readers: vec![Box::new(collector.clone())],
            on_ready: Box::new(|_| {}),
            refused: None,
            identify: None,
            snapshots: None,
            others: None,
        };
        let pipeline = Pipeline::start(config, folder.path(), options)?;
        let replayed = feed(&pipeline.door(), &pipeline, &mut sources, args, until, &interrupted);
        let done = replayed.and_then(|replayed| Ok((replayed, finish(&pipeline, until)?)));
        let printed = done.and_then(|done| print(&collector, &dumps).map(|()| done));
        pipeline.stop();
        printed?
    };
    replayed.report(&sources, tick);
    Ok(())
}

/// The configuration without the views that nobody will see. Without any --dump the replay is
/// about the pipeline itself, and all of them stay on.
fn only_dumped(config: &Config, dumps: &[Dump]) -> Config {
    let mut config = config.clone();
    let is_dumped = |view: &str| dumps.is_empty() || dumps.iter().any(|dump| dump.view == view);
    let unseen = etalage_views::VIEWS.iter().map(|view| view.name).filter(|view| !is_dumped(view));
    config.views_off.extend(unseen.map(str::to_owned));
    config
}

fn finish(pipeline: &Pipeline, until: Option<Tick>) -> Result<Tick, CliError> {
    pipeline.finish(until).map_err(CliError::Failed)
}

fn parse_until(text: &str) -> Result<Tick, CliError> {
    let at = Micros::parse(text).map(|at| at.0);
    at.ok_or_else(|| CliError::Usage(format!("--until `{text}` is no instant: write it like 2011-12-01T00:00:00Z")))
}

fn source_options(config: &Config, format: Format) -> SourceOptions {
    SourceOptions {
        format,
        limits: config.decode_limits(),
        currencies: config.shop.currencies.clone(),
        non_items: config.non_items.clone(),
        not_after: Micros(Reading::now().wall_us + config.time.max_clock_skew_us),
    }
}

/// What became of the messages of the files.
#[derive(Default)]
struct Replayed {
    stored: u64,
    duplicates: u64,
    refused: BTreeMap<&'static str, u64>,
    /// Dated at or after `--until`.
    left_out: u64,
    interrupted: bool,
    took: Duration,
}

type Answer = oneshot::Receiver<Result<Vec<Outcome>, NotStored>>;

fn feed(
    door: &Door,
    pipeline: &Pipeline,
    sources: &mut Sources,
    args: &ReplayArgs,
    until: Option<Tick>,
    interrupted: &mpsc::Receiver<()>,
) -> Result<Replayed, CliError> {
    pipeline.ready()?;
    let quiet = args.quiet || !std::io::stderr().is_terminal();
    let mut progress = Progress::new(sources.total_bytes(), sources.read_bytes(), quiet);
    let (mut replayed, mut answers, mut pace) = (Replayed::default(), VecDeque::<Answer>::new(), Pace::new(args.speed));
    let names = Arc::clone(sources.names());
    while let Some(mut batch) = sources.next_batch()? {
        progress.add(batch.results.len());
        replayed.left_out += leave_out(&mut batch, until);
        if !pace.wait_for(&batch, interrupted) || interrupted.try_recv().is_ok() {
            replayed.interrupted = true;
            break;
        }
        let origin = Origin::Files { names: Arc::clone(&names), lines: batch.lines };
        answers.push_back(door.submit_blocking(origin, batch.results).map_err(CliError::Failed)?);
        if answers.len() > MAX_OPEN_BATCHES {
            replayed.count(answers.pop_front())?;
        }
    }
    while let Some(answer) = answers.pop_front() {
        replayed.count(Some(answer))?;
    }
    progress.finish();
    replayed.took = progress.elapsed();
    Ok(replayed)
}

/// Takes out what is dated at or after `until`.
fn leave_out(batch: &mut Merged, until: Option<Tick>) -> u64 {
    let Some(until) = until else { return 0 };
    let before = batch.results.len();
    let lines = std::mem::take(&mut batch.lines);
    let results = std::mem::take(&mut batch.results);
    for (line, result) in lines.into_iter().zip(results) {
        if result.as_ref().map_or(true, |record| record.message.at().0 < until) {
            batch.lines.push(line);
            batch.results.push(result);
        }
    }
    (before - batch.results.len()) as u64
}

/// Holds a replay to a multiple of real time.
struct Pace {
    speed: Option<f64>,
    began: Option<(Instant, u64)>,
}

impl Pace {
    fn new(speed: Option<f64>) -> Pace {
        Pace { speed, began: None }
    }

    /// Waits until the first message of the batch is due; false where it was interrupted.
    fn wait_for(&mut self, batch: &Merged, interrupted: &mpsc::Receiver<()>) -> bool {
        let Some(speed) = self.speed else { return true };
        let Some(at) = batch.results.iter().flatten().map(|record| record.message.at().0).min() else { return true };
        let (began, first) = *self.began.get_or_insert((Instant::now(), at));
        let due = began + Duration::from_secs_f64(at.saturating_sub(first) as f64 / 1e6 / speed);
        while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            if interrupted.recv_timeout(left.min(NAP)).is_ok() {
                return false;
            }
        }
        true
    }
}

impl Replayed {
    fn count(&mut self, answer: Option<Answer>) -> Result<(), CliError> {
        let Some(answer) = answer else { return Ok(()) };
        let gone = |_| CliError::Failed("the pipeline ended before it answered".into());
        for outcome in answer.blocking_recv().map_err(gone)?.map_err(|error| CliError::Failed(error.to_string()))? {
            match outcome {
                Outcome::Stored => self.stored += 1,
                Outcome::Duplicate => self.duplicates += 1,
                Outcome::Refused(reason) => *self.refused.entry(reason.code()).or_default() += 1,
            }
        }
        Ok(())
    }

    fn report(&self, sources: &Sources, tick: Tick) {
        let refused: u64 = self.refused.values().sum();
        let rate = self.stored as f64 / self.took.as_secs_f64().max(1e-6);
        eprintln!(
            "{}: {} messages stored, {} duplicates, {} refused in {:.2} s ({rate:.0}/s); as of {}",
            sources.names().join(", "),
            self.stored,
            self.duplicates,
            refused,
            self.took.as_secs_f64(),
            Micros(tick)
        );
        for (name, tally) in sources.tallies() {
            match sources.names().len() {
                1 => eprintln!("  {tally}"),
                _ => eprintln!("  {name}: {tally}"),
            }
        }
        if self.left_out > 0 {
            eprintln!("  {} messages dated at or after --until were left out", self.left_out);
        }
        for (reason, count) in &self.refused {
            eprintln!("  refused as {reason}: {count}");
        }
        if self.interrupted {
            eprintln!("  interrupted before the end");
        }
    }
}

/// A view to print at the end, or a part of it.
struct Dump {
    view: &'static str,
    key_fields: &'static [&'static str],
    prefix: KeyPrefix,
}

impl Dump {
    fn parse(text: &str) -> Result<Dump, CliError> {
        let (name, prefix) = text.split_once(':').unwrap_or((text, ""));
        let names: Vec<&str> = etalage_views::VIEWS.iter().map(|view| view.name).collect();
        let view = etalage_views::view(name)
            .ok_or_else(|| CliError::Usage(format!("--dump `{name}` is no view; there are {}", names.join(", "))))?;
        let prefix = KeyPrefix::parse(prefix, view.key_fields).map_err(CliError::Usage)?;
        Ok(Dump { view: view.name, key_fields: view.key_fields, prefix })
    }
}

fn print(collector: &Collector, dumps: &[Dump]) -> Result<(), CliError> {
    let mut out = Out::new();
    collector.with(|kept| {
        let as_of = Micros(kept.as_of).to_string();
        for dump in dumps {
            let rows = kept.views.get(dump.view).into_iter().flatten();
            let matching = rows.filter(|(key, _): &(&Key, _)| dump.prefix.matches(key));
            for (key, value) in matching {
                let (key, value) = (key.json(dump.key_fields), value_json(value.as_ref()));
                out.line(&format!(r#"{{"view":"{}","key":{key},"value":{value},"as_of":"{as_of}"}}"#, dump.view))?;
            }
        }
        out.flush()
    })
}
