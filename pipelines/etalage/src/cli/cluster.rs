//! The processes of a cluster: the head gathers the others, and these follow it.

use std::{
    net::TcpListener,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use etalage_serve::PartState;
use tokio::sync::oneshot;

use super::{
    CliError,
    serving::{metrics_recorder, upkeep},
    snapshots,
};
use crate::{
    config::Config,
    runtime::{
        StartError,
        cluster::{ClusterError, Follower, Joined, Members, Waiting},
    },
};

/// Waits for the other processes, as the head. Whoever asks meanwhile is told who is waited for. Gives the listener back.
pub(super) fn gather(
    config: &Config,
    members: Members,
    listener: TcpListener,
    interrupted: &mpsc::Receiver<()>,
) -> Result<(TcpListener, Option<Joined>), CliError> {
    let waiting = Waiting::default();
    let kept = listener.try_clone().map_err(StartError::Thread)?;
    let part = Part::start(config, listener, &waiting, None)?;
    let joined = Joined::find(config, members, &waiting, &|| interrupted.try_recv().is_ok());
    part.stop();
    match joined {
        Ok(joined) => Ok((kept, Some(joined))),
        Err(error) => Err(error.into()),
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
    let readers = config.cluster.readers.clone().unwrap_or_else(|| {
        let host = members.addresses[0].rsplit_once(':').map_or("", |(host, _)| host);
        format!("http://{host}:{}", config.server.listen.port())
    });
    let part = Part::start(config, listener, &waiting, Some(readers))?;
    let joined = match Joined::find(config, members, &waiting, &|| interrupted.try_recv().is_ok()) {
        // It was told to end before anything had begun.
        Err(ClusterError::Over) => return Ok(()),
        joined => joined?,
    };
    let snapshots = snapshots::of(config, snapshots::taking(config));
    let follower = Follower::start(config, joined, snapshots.as_ref())?;
    let follower = std::thread::Builder::new().name("follower".into()).spawn(move || follower.run());
    let follower = follower.map_err(StartError::Thread)?;
    while !follower.is_finished() {
        // The head notices that this process has gone, and stops as well: a cluster stops as one.
        if interrupted.recv_timeout(super::run::LOOK_EVERY) != Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("stopping");
            break;
        }
    }
    part.stop();
    Ok(())
}

/// A server that has no values.
struct Part {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<std::io::Result<()>>,
}

impl Part {
    fn start(
        config: &Config,
        listener: TcpListener,
        waiting: &Waiting,
        readers: Option<String>,
    ) -> Result<Part, CliError> {
        let metrics = metrics_recorder();
        let (render, waiting) = (metrics.clone(), waiting.clone());
        let state = PartState {
            keys: config.serve_options().keys,
            metrics: Arc::new(move || render.render()),
            waiting: Arc::new(move || waiting.reason()),
            readers,
        };
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                tokio::spawn(upkeep(metrics));
                let stop = async move { _ = stopped.await };
                etalage_serve::serve_part(tokio::net::TcpListener::from_std(listener)?, state, stop).await
            })
        };
        let thread = std::thread::Builder::new().name("http".into()).spawn(serve).map_err(StartError::Thread)?;
        Ok(Part { stop, thread })
    }

    fn stop(self) {
        // Where it has ended already there is nothing to stop.
        let _ = self.stop.send(());
        match self.thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the server failed"),
            Err(_) => tracing::error!("the server's thread ended with a panic"),
        }
    }
}
