//! A store that a command opens for a moment, with nobody reading what is published.

use super::{CliError, snapshots};
use crate::{
    config::Config,
    runtime::{ClockMode, Door, Pipeline, PipelineOptions, snapshot::Taking},
};

/// Starts a pipeline over the store in `[store] dir`, does something, and ends it.
///
/// # Errors
/// Where there is no store, or it does not start.
pub(super) fn in_store<T>(config: &Config, act: impl FnOnce(&Door) -> T) -> Result<T, CliError> {
    let dir = &config.store.dir;
    // A command of this kind must not make a store where there is none.
    drop(etalage_store::frames(dir)?);
    let options = PipelineOptions {
        served: None,
        clock: ClockMode::Wall,
        readers: Vec::new(),
        on_ready: Box::new(|_| {}),
        refused: None,
        identify: None,
        snapshots: snapshots::of(config, Taking::NEVER),
        others: None,
    };
    let pipeline = Pipeline::start(config, dir, options)?;
    let done = pipeline.ready().map(|()| act(&pipeline.door()));
    pipeline.stop();
    Ok(done?)
}
