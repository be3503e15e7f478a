//! One open stream: what it starts with, and how it goes on.

use std::{
    collections::VecDeque,
    convert::Infallible,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use etalage_model::{KeyFields, KeyPrefix, Tick};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::watch,
};

use crate::{
    ServeState,
    errors::ApiError,
    keys::Access,
    query::Params,
    read_store::{Entry, Part, Parts, Read, Unreadable, ViewId},
    sse::{
        frames::{self, EventId, Kind},
        hub::{Hub, Reader},
        topic::{Next, Shared},
    },
};

/// How long a reader of topics waits until it is as far as another one was that the client comes from.
const CATCH_UP: Duration = Duration::from_secs(2);

/// How often it looks.
const CATCH_UP_LOOK: Duration = Duration::from_millis(5);

/// Whoever comes from further ahead than that, in microseconds, is not waited for.
const MAX_AHEAD_US: u64 = 10_000_000;

/// `GET /v1/stream?sub=VIEW[:PREFIX]&sub=…`
pub(crate) async fn several(
    State(state): State<ServeState>,
    access: Access,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let params = params.only(&["sub", "after"])?;
    let parts = params.all("sub").map(|sub| {
        let (name, prefix) = sub.split_once(':').unwrap_or((sub, ""));
        let (id, view) = state.view(name)?;
        let prefix = KeyPrefix::parse(prefix, view.key_fields).map_err(ApiError::BadKey)?;
        Ok((id, Part::Prefix(prefix)))
    });
    let parts = parts.collect::<Result<Vec<_>, ApiError>>()?;
    if parts.is_empty() {
        return Err(ApiError::BadParameter("say what to follow: ?sub=VIEW or ?sub=VIEW:PREFIX".into()));
    }
    open(&state, access, parts, resume_from(&params, &headers)?).await
}

/// `GET /v1/stream/{view}?prefix=|key=`
pub(crate) async fn one_view(
    State(state): State<ServeState>,
    access: Access,
    Path(name): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let params = params.only(&["prefix", "key", "after"])?;
    let (id, view) = state.view(&name)?;
    let prefixes = params.all("prefix").map(|text| KeyPrefix::parse(text, view.key_fields).map(Part::Prefix));
    let keys = params.all("key").map(|text| KeyFields::parse(text, view.key_fields).map(Part::Key));
    let parts = prefixes.chain(keys).map(|part| Ok((id, part.map_err(ApiError::BadKey)?)));
    let mut parts = parts.collect::<Result<Vec<_>, ApiError>>()?;
    if parts.is_empty() {
        parts.push((id, Part::Prefix(KeyPrefix::default())));
    }
    open(&state, access, parts, resume_from(&params, &headers)?).await
}

/// Where the client wants to go on. A text that is no id of ours is one that is not known.
enum Resume {
    Fresh,
    After(Option<EventId>),
}

fn resume_from(params: &Params, headers: &HeaderMap) -> Result<Resume, ApiError> {
    // A browser repeats the URL when it connects again; what it has seen since is newer.
    let header = headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default());
    let id = header.or(params.one("after")?);
    Ok(id.map_or(Resume::Fresh, |id| Resume::After(EventId::parse(id))))
}

async fn open(
    state: &ServeState,
    access: Access,
    parts: Vec<(ViewId, Part)>,
    resume: Resume,
) -> Result<Response, ApiError> {
    let limit = state.options().max_keys;
    if parts.len() > limit {
        return Err(ApiError::TooManyKeys { given: parts.len(), limit });
    }
    let group = state.store().group(parts[0].0);
    if parts.iter().any(|(view, _)| state.store().group(*view) != group) {
        return Err(ApiError::BadParameter("one stream follows views of one group; open one per group".into()));
    }
    let views = state.views();
    parts.iter().try_for_each(|(view, _)| access.read(&views[*view]))?;
    let stopping = state.stopping();
    if *stopping.borrow() {
        return Err(ApiError::Stopping);
    }
    state.store().as_of(group).ok_or(ApiError::NotReady)?;

    // Following before reading: what is sealed in between is in both, and sent once.
    let reader = state.hub().follow(Parts::new(group, parts))?;
    let max_keys = state.options().max_snapshot_keys;
    let mut stream = Stream { reader, at: 0, sent: 0, ready: VecDeque::new(), stopping, max_keys };
    stream.start(resume).await?;
    let body = Body::from_stream(futures_util::stream::unfold(stream, |mut stream| async move {
        stream.next().await.map(|bytes| (Ok::<_, Infallible>(bytes), stream))
    }));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Asks nginx not to hold messages back.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}

struct Stream {
    reader: Reader,
    /// The number of the frame it needs next.
    at: u64,
    /// The tick up to which the client has everything.
    sent: Tick,
    /// Messages to send before those of the topic.
    ready: VecDeque<Bytes>,
    stopping: watch::Receiver<bool>,
    max_keys: usize,
}

impl Stream {
    async fn start(&mut self, resume: Resume) -> Result<(), ApiError> {
        let id = match resume {
            Resume::Fresh => return self.snapshot(None).await,
            Resume::After(None) => return self.snapshot(Some("unknown_id")).await,
            Resume::After(Some(id)) if id.epoch != self.reader.hub.options.epoch => {
                return self.snapshot(Some("other_epoch")).await;
            }
            Resume::After(Some(id)) => id,
        };
        self.catch_up(id.tick).await;
        self.at = self.reader.topic.end();
        let (hub, parts, max_keys) = (self.reader.hub.clone(), self.reader.topic.parts.clone(), self.max_keys);
        let read = blocking(move || {
            let read = hub.store.changed_after(&parts, id.tick, max_keys)?;
            Ok((read.as_of, encode(&hub, Kind::Resumed, &read)))
        });
        match read.await? {
            Ok((as_of, bytes)) => {
                self.sent = as_of;
                self.ready.push_back(bytes);
                Ok(())
            }
            Err(Unreadable::Forgotten | Unreadable::Lagging | Unreadable::Apart) => {
                self.snapshot(Some("forgotten")).await
            }
            Err(Unreadable::TooManyKeys) => Err(ApiError::SnapshotTooLarge { limit: self.max_keys }),
        }
    }

    /// Waits a moment for a tick that another reader of the same topics, which was a little ahead, has told the client.
    async fn catch_up(&self, tick: Tick) {
        let (store, group) = (&self.reader.hub.store, self.reader.topic.parts.group);
        let is_behind = |as_of: Tick| as_of < tick && tick - as_of <= MAX_AHEAD_US;
        let until = Instant::now() + CATCH_UP;
        while store.are_groups_apart() && store.as_of(group).is_some_and(is_behind) && Instant::now() < until {
            tokio::time::sleep(CATCH_UP_LOOK).await;
        }
    }

    /// Starts (again) from all values; with a reason, the client is first told to drop its own.
    async fn snapshot(&mut self, reset: Option<&'static str>) -> Result<(), ApiError> {
        if let Some(reason) = reset {
            metrics::counter!("etalage_sse_resets_total", "reason" => reason).increment(1);
        }
        let (hub, topic, max_keys) = (self.reader.hub.clone(), self.reader.topic.clone(), self.max_keys);
        let make = async {
            // The place first, the values then: nothing that comes between them is missed.
            let (at, parts) = (topic.end(), topic.parts.clone());
            let read = blocking(move || {
                let read = hub.store.snapshot(&parts, max_keys)?;
                Ok((read.as_of, encode(&hub, Kind::Snapshot, &read)))
            });
            let (as_of, bytes) = read.await?.map_err(|_: Unreadable| ApiError::SnapshotTooLarge { limit: max_keys })?;
            Ok(Shared { at, as_of, bytes })
        };
        // Resets come to many readers at once. A new reader gets the newest values, so that it
        // never sees less than it has read before.
        let made = if reset.is_some() { topic.shared(make).await } else { make.await };
        let Shared { at, as_of, bytes } = made?;
        self.ready.extend(reset.map(|reason| frames::reset(as_of, reason)));
        self.ready.push_back(bytes);
        (self.at, self.sent) = (at, as_of);
        Ok(())
    }

    /// The next message; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            match self.reader.topic.next(self.at) {
                Next::Frame(frame) => {
                    self.at += 1;
                    let news = if frame.heartbeat { frame.tick >= self.sent } else { frame.tick > self.sent };
                    if news {
                        self.sent = frame.tick;
                        return Some(frame.bytes);
                    }
                }
                // A snapshot that has grown too large ends the stream; a new request is told why.
                Next::Lagged => self.snapshot(Some("lagged")).await.ok()?,
                Next::None => tokio::select! {
                    // What was sent before the end still comes.
                    biased;
                    () = self.reader.topic.wait(self.at) => {}
                    _ = self.stopping.wait_for(|stopping| *stopping) => return None,
                },
            }
        }
    }
}

fn encode(hub: &Hub, kind: Kind, read: &Read<Vec<Entry>>) -> Bytes {
    let id = hub.id(hub.store.resumption(read.tag, read.as_of));
    let entries = read.entries.iter().map(|entry| (entry.view, &entry.key, &entry.held));
    frames::entries(kind, id, read.as_of, &read.times, &hub.views, entries)
}

/// Runs a read of many keys where it holds up no other request; a runtime of one thread has no such place.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Unreadable> + Send + 'static,
) -> Result<Result<T, Unreadable>, ApiError> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return Ok(read());
    }
    tokio::task::spawn_blocking(read).await.map_err(|error| ApiError::Internal(error.to_string()))
}
