//! The parts of a pipeline, put together before any of them runs.

use std::{path::Path, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded};
use etalage_model::{Group, hash::hash64};
use etalage_store::{Frames, Log, LogOptions, Opened, Quarantine, StoreError, snapshot::Place};
use etalage_views::{ShopOptions, VIEWS, audit::StockAudit};

use super::{
    Inbox, PipelineOptions, Signals, StartError,
    admission::Admission,
    clock::{Clock, ClockMode},
    conductor::Conductor,
    door::{About, Shared},
    machine::Machine,
    options::{durability, shop_options},
    quarantine::Item,
    sequencer::{Command, Sequencer},
    snapshot::{self, Generation, MAX_WAITING_REQUESTS, RESTORED_AT_ONCE_BYTES, Taker},
    worker::WorkerHandle,
};
use crate::config::Config;

/// What runs side by side, and what they share.
pub(super) struct Assembly {
    pub(super) shared: Arc<Shared>,
    /// See [`Pipeline::edition`](super::Pipeline::edition).
    pub(super) edition: u64,
    pub(super) sequencer: Sequencer,
    /// What it reads back first.
    pub(super) frames: Frames,
    /// What it does then.
    pub(super) commands: Receiver<Command>,
    pub(super) conductor: Conductor,
    pub(super) inbox: Inbox,
    /// Absent where there are no snapshots.
    pub(super) taker: Option<Taker>,
}

/// Opens the log in `dir`.
pub(super) fn open(config: &Config, dir: &Path, machine: &Machine) -> Result<(Log, Opened), StoreError> {
    let options = LogOptions {
        segment_bytes: config.store.segment_bytes,
        write_behind_bytes: config.store.write_behind_bytes,
        durability: durability(config),
        ..LogOptions::default()
    };
    let (log, opened) = Log::open_on(Arc::clone(&machine.disk), dir, options)?;
    if opened.cut_bytes > 0 {
        tracing::warn!(
            bytes = opened.cut_bytes,
            "a torn frame at the end of the log was cut off: it was never acknowledged"
        );
    }
    Ok((log, opened))
}

/// Puts a pipeline together over its log, the place of its snapshots, its quarantine, and workers that
/// `start_workers` gives.
pub(super) fn assemble(
    (config, dir): (&Config, &Path),
    options: PipelineOptions,
    machine: Machine,
    (log, opened): (Log, Opened),
    place: Option<Place>,
    (quarantine, refusals): (Arc<Quarantine>, Sender<Item>),
    start_workers: impl FnOnce(&[Group], Signals) -> Result<Vec<WorkerHandle>, StartError>,
) -> Result<Assembly, StartError> {
    etalage_model::sym::set_limit(config.limits.max_symbols);
    let frames = etalage_store::frames_on(Arc::clone(&machine.disk), dir)?;
    let fingerprint = snapshot::fingerprint(&shop_options(config));
    let erasures = etalage_store::erasures(&*machine.disk, dir)?;
    let edition = edition(opened.epoch, &fingerprint, erasures, alone(&options, &machine));
    let clock = Clock::start_at(options.clock, config.time.max_clock_step_us, opened.last_tick, machine.now());
    let (to_sequencer, commands) = crossbeam_channel::unbounded();
    let about = About { dir: dir.to_path_buf(), identify: options.identify, explaining: Default::default() };
    let (to_taker, requests) = options.snapshots.is_some().then(|| bounded(MAX_WAITING_REQUESTS)).unzip();
    if options.snapshots.is_some() {
        // Until there is one: from here on it is missed.
        metrics::gauge!("etalage_snapshot_tick_seconds").set(machine.now().wall_us as f64 / 1e6);
    }
    let time = Arc::clone(&machine.time);
    let shared = Arc::new(Shared::new(config, machine, clock, to_sequencer, quarantine, about, to_taker));
    let (signals, inbox) = crossbeam_channel::unbounded();
    let groups = groups(&shop_options(config));
    let workers = start_workers(&groups, signals.clone())?;
    let backlog = Arc::clone(&shared.backlog);
    let conductor = Conductor::new(workers.clone(), &groups, options.readers, backlog, time, audit(config));
    let generation = Generation::default();
    let restored_at_once_bytes =
        options.snapshots.as_ref().map_or(RESTORED_AT_ONCE_BYTES, |snapshots| snapshots.restored_at_once_bytes);
    let taker = place.clone().zip(options.snapshots).zip(requests).map(|((place, snapshots), requests)| Taker {
        place,
        snapshots,
        shared: Arc::clone(&shared),
        requests,
        generation: generation.clone(),
        served: options.served.clone(),
        checked: Default::default(),
        exporters: groups.len() * workers.len() + 1,
    });
    let sequencer = Sequencer {
        log,
        admission: Admission::new(config),
        shared: Arc::clone(&shared),
        conductor: signals,
        groups,
        quarantine: refusals,
        tick_idle: Duration::from_micros(config.time.tick_idle_us),
        refused: options.refused,
        broken_session: None,
        receipts: None,
        dir: dir.to_path_buf(),
        place,
        generation,
        restored_at_once_bytes,
        options: fingerprint,
        workers,
        served: options.served,
        tries_again_after: 0,
        is_live: false,
        exporting: None,
        on_ready: Some(options.on_ready),
    };
    Ok(Assembly { shared, edition, sequencer, frames, commands, conductor, inbox, taker })
}

/// Changed with what is made of the same messages: values of before say nothing of those of now.
const VALUES_VERSION: u32 = 1;

/// What two processes must have in common for their ticks to mean the same.
fn edition(epoch: u64, options: &str, erasures: u64, alone: u64) -> u64 {
    let version = env!("CARGO_PKG_VERSION");
    hash64(format!("{epoch} {options} {version} {VALUES_VERSION} {erasures} {alone}").as_bytes())
}

/// Sets a process apart whose ticks are those of its messages: it may use some again that a service has published, and
/// none of topics is served before it is live.
fn alone(options: &PipelineOptions, machine: &Machine) -> u64 {
    let is_replay = matches!(options.clock, ClockMode::Replay) && options.refused.is_none();
    if is_replay { machine.now().wall_us } else { 0 }
}

/// The groups of which any view is switched on.
pub(super) fn groups(options: &ShopOptions) -> Vec<Group> {
    let is_on = |group: &Group| VIEWS.iter().any(|view| view.group == *group && options.is_on(view.name));
    [Group::Shop, Group::Customer].into_iter().filter(is_on).collect()
}

/// The watch over what is published; it needs the stock to be.
fn audit(config: &Config) -> Option<StockAudit> {
    let options = shop_options(config);
    let audit = options.is_on(etalage_views::sellable::NAME).then(|| StockAudit::new(options.unknown_stock));
    if audit.is_none() {
        tracing::info!("item.sellable is off: etalage_stock_violations_total is not counted");
    }
    audit
}
