//! A server for a process that has no values: not yet, or because it only computes.

use std::{net::TcpListener, sync::Arc, thread::JoinHandle};

use etalage_serve::PartState;
use tokio::sync::oneshot;

use super::{
    CliError,
    serving::{metrics_recorder, upkeep},
};
use crate::{
    config::Config,
    runtime::{StartError, cluster::Waiting},
};

/// A running server.
pub(super) struct Part {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<std::io::Result<()>>,
}

/// Where another process does what this one is asked for; told whether something is to be read.
pub(super) type Elsewhere = Arc<dyn Fn(bool) -> String + Send + Sync>;

/// Does something that may take long, while whoever asks is told what is waited for.
pub(super) fn answering<T>(
    config: &Config,
    listener: &TcpListener,
    waiting: &Waiting,
    act: impl FnOnce() -> Result<T, CliError>,
) -> Result<T, CliError> {
    let part = Part::start(config, listener, waiting, None)?;
    let done = act();
    part.stop();
    done
}

impl Part {
    /// Serves at `listener` until it is stopped.
    pub(super) fn start(
        config: &Config,
        listener: &TcpListener,
        waiting: &Waiting,
        elsewhere: Option<Elsewhere>,
    ) -> Result<Part, CliError> {
        let metrics = metrics_recorder();
        let (render, waiting) = (metrics.clone(), waiting.clone());
        let state = PartState {
            keys: config.serve_options().keys,
            metrics: Arc::new(move || render.render()),
            waiting: Arc::new(move || waiting.reason()),
            elsewhere,
        };
        let (stop, stopped) = oneshot::channel();
        let listener = listener.try_clone().map_err(StartError::Thread)?;
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

    /// Ends it.
    pub(super) fn stop(self) {
        // Where it has ended already there is nothing to stop.
        let _ = self.stop.send(());
        match self.thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the server failed"),
            Err(_) => tracing::error!("the server's thread ended with a panic"),
        }
    }
}
