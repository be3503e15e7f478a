//! `etalage run`: the service.

use std::sync::mpsc;

use super::{CliError, args::Common, serving::Serving};
use crate::{config::Config, runtime::ClockMode};

/// Serves until it is interrupted.
///
/// # Errors
/// Where the address or the store cannot be had, or the log cannot be read back.
pub(super) fn run(_common: &Common, config: &Config) -> Result<(), CliError> {
    let interrupted = interrupts()?;
    let serving = Serving::start(config, &config.store.dir, ClockMode::Wall, "run")?;
    eprintln!("etalage listens on http://{} (data in {})", serving.address, config.store.dir.display());
    if let Err(error) = serving.pipeline.ready() {
        serving.stop();
        return Err(error.into());
    }
    tracing::info!(address = %serving.address, "ready");
    // An error means that the handler is gone, which is as good a reason to end.
    let _ = interrupted.recv();
    eprintln!("stopping");
    serving.stop();
    Ok(())
}

/// A channel that gets a message at each Ctrl-C or termination signal. A second one ends the
/// process at once: what was acknowledged is stored.
pub(super) fn interrupts() -> Result<mpsc::Receiver<()>, CliError> {
    let (interrupt, interrupted) = mpsc::channel();
    let mut count = 0;
    let handler = move || {
        count += 1;
        if count > 1 || interrupt.send(()).is_err() {
            std::process::exit(130);
        }
    };
    ctrlc::set_handler(handler).map_err(|error| CliError::Usage(format!("no Ctrl-C: {error}")))?;
    Ok(interrupted)
}
