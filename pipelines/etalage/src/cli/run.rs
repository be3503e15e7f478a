//! `etalage run`: the service.

use std::{sync::mpsc, time::Duration};

use super::{
    CliError,
    args::RunArgs,
    cluster, part,
    serving::{Beside, Serving, address_of, listener},
    snapshots,
    topics::Connected,
};
use crate::{config::Config, runtime::cluster::Waiting};

/// How often a running service is asked whether it can go on.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Serves until it is interrupted.
///
/// # Errors
/// Where the address, the store or a broker cannot be had, the log cannot be read back, or the service
/// cannot go on.
pub(super) fn run(config: &Config, args: &RunArgs) -> Result<(), CliError> {
    let (interrupt, interrupted) = interrupts_from_elsewhere()?;
    let listener = listener(config)?;
    let address = address_of(&listener, config)?;
    let members = config.cluster.members();
    if let Some(members) = members.clone().filter(|members| !members.is_head()) {
        eprintln!("etalage listens on http://{address} (process {} of a cluster)", members.process);
        return cluster::follow(config, members, listener, &interrupted);
    }
    let waiting = Waiting::of("waiting for a broker");
    let connect = || Connected::start(config, args.no_wait, &interrupted);
    let (mut connected, beside, clock) = part::answering(config, &listener, &waiting, connect)?;
    eprintln!("etalage listens on http://{address} (data in {})", config.store.dir.display());
    let others = match members {
        Some(members) => match cluster::gather(config, members, &listener, (interrupt, &interrupted))? {
            None => {
                connected.stop();
                return Ok(());
            }
            others => others,
        },
        None => None,
    };
    let beside = Beside { snapshots: snapshots::of(config, snapshots::taking(config)), others, ..beside };
    let serving = Serving::start_on(listener, config, &config.store.dir, (clock, "run"), beside)?;
    let begun = serving.pipeline.ready().map_err(CliError::from);
    if let Err(error) = begun.and_then(|()| connected.feed(config, serving.door())) {
        serving.stop();
        return Err(error);
    }
    tracing::info!(address = %serving.address, "ready");
    let ended = until_it_ends(&serving, &interrupted);
    eprintln!("stopping");
    connected.stop_feeding();
    serving.stop();
    connected.stop();
    ended
}

/// Waits until the service is interrupted, or cannot go on: whoever supervises it starts it anew.
fn until_it_ends(serving: &Serving, interrupted: &mpsc::Receiver<()>) -> Result<(), CliError> {
    // That the handler is gone is as good a reason to end as an interrupt.
    while interrupted.recv_timeout(LOOK_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
        if let Some(reason) = serving.door().failure() {
            return Err(CliError::Failed(reason));
        }
    }
    Ok(())
}

/// A channel that gets a message at each Ctrl-C or termination signal. A second one ends the
/// process at once: what was acknowledged is stored.
pub(super) fn interrupts() -> Result<mpsc::Receiver<()>, CliError> {
    interrupts_from_elsewhere().map(|(_, interrupted)| interrupted)
}

/// The same, with what somebody else may interrupt it by.
pub(super) fn interrupts_from_elsewhere() -> Result<(mpsc::Sender<()>, mpsc::Receiver<()>), CliError> {
    let (interrupt, interrupted) = mpsc::channel();
    let (mut count, by_signal) = (0, interrupt.clone());
    let handler = move || {
        count += 1;
        if count > 1 || by_signal.send(()).is_err() {
            std::process::exit(130);
        }
    };
    ctrlc::set_handler(handler).map_err(|error| CliError::Usage(format!("no Ctrl-C: {error}")))?;
    Ok((interrupt, interrupted))
}
