//! What all handlers share.

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use etalage_model::ViewInfo;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    Door, ReadStore, ServeOptions,
    errors::ApiError,
    read_store::ViewId,
    sse::hub::{Hub, HubOptions},
    sse::topic::RingLimits,
};

/// Everything behind the routes: views, store, door, options, streams. Clones share it.
#[derive(Clone)]
pub struct ServeState(Arc<Inner>);

struct Inner {
    views: Arc<[ViewInfo]>,
    epoch: u64,
    store: ReadStore,
    door: Arc<dyn Door>,
    options: ServeOptions,
    hub: Arc<Hub>,
    /// The thread that feeds the streams.
    feeding: Mutex<Option<JoinHandle<()>>>,
    stopping: watch::Sender<bool>,
    started: Instant,
}

impl ServeState {
    /// Puts the parts together and starts the thread that feeds the streams. `epoch` tells
    /// places in these streams from those in others, of which the ticks mean something else.
    ///
    /// # Panics
    /// Where `views` are not those that the store was made for, where another state is fed by
    /// the store already, or where no thread can be started.
    pub fn new(
        views: Vec<ViewInfo>,
        epoch: u64,
        store: ReadStore,
        door: Arc<dyn Door>,
        options: ServeOptions,
    ) -> ServeState {
        let state = ServeState::unfed(views, epoch, store, door, options);
        let thread = state.0.hub.start(state.0.door.clone()).expect("a thread can be started");
        *state.0.feeding.lock() = Some(thread);
        state
    }

    /// As [`ServeState::new`], but without a thread: [`ServeState::feed`] feeds the streams.
    ///
    /// # Panics
    /// As [`ServeState::new`].
    pub fn unfed(
        views: Vec<ViewInfo>,
        epoch: u64,
        store: ReadStore,
        door: Arc<dyn Door>,
        options: ServeOptions,
    ) -> ServeState {
        let names = store.keys();
        assert!(
            views.iter().map(|view| view.name).eq(names.iter().map(|(name, _)| *name)),
            "the store was made for other views: {names:?}"
        );
        assert!(store.outbox().attach(), "the store feeds the streams of another state");
        let hub_options = HubOptions {
            epoch,
            max_streams: options.max_streams,
            ring: RingLimits { max_frames: options.max_lag_frames, max_bytes: options.max_lag_bytes },
            heartbeat: Duration::from_millis(options.heartbeat_ms.max(1)),
        };
        let views: Arc<[ViewInfo]> = views.into();
        let hub = Arc::new(Hub::new(store.clone(), views.clone(), hub_options));
        let stopping = watch::Sender::new(false);
        let (feeding, started) = (Mutex::default(), Instant::now());
        ServeState(Arc::new(Inner { views, epoch, store, door, options, hub, feeding, stopping, started }))
    }

    /// Puts the ticks that were published into the streams, and a heartbeat if told so.
    pub fn feed(&self, beats: bool) {
        self.0.hub.feed(Instant::now());
        if beats {
            self.0.hub.beat();
        }
    }

    /// Tells all streams what was published, and from where to go on; ends them, and lets [`crate::serve`] return.
    pub fn shutdown(&self) {
        self.0.store.outbox().close();
        if let Some(Err(_)) = self.0.feeding.lock().take().map(JoinHandle::join) {
            tracing::error!("the thread that feeds the streams ended with a panic");
        }
        self.0.stopping.send_replace(true);
    }

    /// Turns true when [`ServeState::shutdown`] is called.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.0.stopping.subscribe()
    }

    pub(crate) fn views(&self) -> &Arc<[ViewInfo]> {
        &self.0.views
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.0.epoch
    }

    pub(crate) fn store(&self) -> &ReadStore {
        &self.0.store
    }

    pub(crate) fn door(&self) -> &Arc<dyn Door> {
        &self.0.door
    }

    pub(crate) fn options(&self) -> &ServeOptions {
        &self.0.options
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.0.hub
    }

    pub(crate) fn uptime_s(&self) -> u64 {
        self.0.started.elapsed().as_secs()
    }

    /// The view of that name, or an error that lists the names.
    pub(crate) fn view(&self, name: &str) -> Result<(ViewId, &ViewInfo), ApiError> {
        let unknown = || {
            let known = self.0.views.iter().map(|view| view.name).collect::<Vec<_>>().join(", ");
            ApiError::UnknownView { name: name.into(), known }
        };
        let id = self.0.store.view(name).ok_or_else(unknown)?;
        Ok((id, &self.0.views[id]))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.store.outbox().close();
    }
}
