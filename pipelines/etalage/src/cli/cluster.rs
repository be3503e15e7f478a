//! The processes of a cluster: the head gathers the others, and these follow it.

use std::{
    cell::Cell,
    net::TcpListener,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use super::{
    CliError,
    part::{self, Part},
    run::LOOK_EVERY,
    serving::address_of,
    snapshots,
};
use crate::{
    config::Config,
    runtime::{
        StartError,
        cluster::{ClusterError, Follower, Joined, Members, Waiting},
    },
};

/// How long a process that is told to end waits for the head to end all.
const LEAVE_PATIENCE: Duration = Duration::from_secs(20);

/// Waits for the other processes, as the head; nothing where it was interrupted. Whoever asks meanwhile is told who is
/// waited for. One of them that is told to end interrupts this process.
pub(super) fn gather(
    config: &Config,
    members: Members,
    listener: &TcpListener,
    (interrupt, interrupted): (mpsc::Sender<()>, &mpsc::Receiver<()>),
) -> Result<Option<Joined>, CliError> {
    let waiting = Waiting::at_head(address_of(listener, config)?.port());
    let leaving = move |process: usize| {
        eprintln!("process {process} was told to end, and so does the cluster");
        // A process that ends already needs no telling.
        let _ = interrupt.send(());
    };
    let find = || Ok(Joined::find(config, members, &waiting, &sticky(interrupted), Arc::new(leaving)));
    match part::answering(config, listener, &waiting, find)? {
        Ok(joined) => Ok(Some(joined)),
        Err(ClusterError::Over) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// True once there was an interrupt, and from then on.
fn sticky(interrupted: &mpsc::Receiver<()>) -> impl Fn() -> bool {
    let told = Cell::new(false);
    move || {
        told.set(told.get() || interrupted.try_recv() != Err(mpsc::TryRecvError::Empty));
        told.get()
    }
}

/// Computes for the head until it ends, or is gone.
pub(super) fn follow(
    config: &Config,
    members: Members,
    listener: TcpListener,
    interrupted: &mpsc::Receiver<()>,
) -> Result<(), CliError> {
    let waiting = Waiting::default();
    let host = members.addresses[0].rsplit_once(':').map_or("", |(host, _)| host).to_owned();
    let (told, readers) = (waiting.clone(), config.cluster.readers.clone());
    let elsewhere = move |is_read: bool| match &readers {
        Some(readers) if is_read => readers.clone(),
        _ => match told.head_port() {
            Some(port) => format!("http://{host}:{port}"),
            None => format!("process 0, on {host}"),
        },
    };
    let part = Part::start(config, &listener, &waiting, Some(Arc::new(elsewhere)))?;
    let is_told = sticky(interrupted);
    let joined = match Joined::find(config, members, &waiting, &is_told, Arc::new(|_| {})) {
        // It was told to end before anything had begun.
        Err(ClusterError::Over) => return Ok(()),
        joined => joined?,
    };
    let snapshots = snapshots::of(config, snapshots::taking(config));
    let follower = Follower::start(config, joined, snapshots.as_ref())?;
    let leaving = follower.leaving();
    let follower = std::thread::Builder::new().name("follower".into()).spawn(move || follower.run());
    let follower = follower.map_err(StartError::Thread)?;
    let mut since: Option<Instant> = None;
    while !follower.is_finished() && since.is_none_or(|since| since.elapsed() < LEAVE_PATIENCE) {
        // A cluster stops as one: the head is told, and ends all.
        if since.is_none() && is_told() {
            eprintln!("stopping");
            leaving();
            since = Some(Instant::now());
        }
        std::thread::sleep(LOOK_EVERY / 10);
    }
    part.stop();
    Ok(())
}
