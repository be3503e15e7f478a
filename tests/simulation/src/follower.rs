//! Readers of streams over HTTP: some are slow, all come back after a restart with the id that they saw last, and each
//! keeps the newest value of every key, as a widget would.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::{Body, BodyDataStream},
    http::Request,
};
use etalage::runtime::Door;
use etalage_model::{Group, ViewInfo};
use etalage_serve::{ReadStore, ServeOptions, ServeState, StoreOptions};
use futures_util::{FutureExt, StreamExt};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

use crate::reader::Mark;

/// How far behind a reader may be before it is told to start again.
const MAX_LAG_FRAMES: usize = 6;

/// Ticks that may wait for the streams' encoder.
const MAX_WAITING_TICKS: usize = 8;

/// The HTTP side of one process.
pub(crate) struct Streams {
    state: ServeState,
    pub(crate) app: Router,
    pub(crate) runtime: Runtime,
}

impl Streams {
    /// The values that are published, with limits that are soon reached.
    pub(crate) fn store(views: &[ViewInfo]) -> ReadStore {
        ReadStore::new(views, StoreOptions { max_waiting_ticks: MAX_WAITING_TICKS, ..StoreOptions::default() })
    }

    pub(crate) fn new(views: Vec<ViewInfo>, epoch: u64, store: ReadStore, door: Door) -> Streams {
        let options = ServeOptions { max_lag_frames: MAX_LAG_FRAMES, ..ServeOptions::default() };
        let state = ServeState::unfed(views, epoch, store, Arc::new(door), options);
        let app = etalage_serve::app(state.clone());
        let runtime = Builder::new_current_thread().build().expect("a runtime can be had");
        Streams { state, app, runtime }
    }

    /// Encodes what was published, and a heartbeat if told so.
    pub(crate) fn feed(&self, beats: bool) {
        self.state.feed(beats);
    }
}

/// Somebody who follows a view.
pub(crate) struct Follower {
    view: &'static str,
    group: Group,
    key_fields: &'static [&'static str],
    /// Looks seldom.
    pub(crate) is_slow: bool,
    /// Key → value, both as JSON.
    rows: BTreeMap<String, Value>,
    /// The id that it saw last, and its tick.
    id: Option<String>,
    tick: u64,
    stream: Option<BodyDataStream>,
    /// The beginning of a message.
    text: String,
    /// It was connected before, and has not been told anything since.
    comes_back: bool,
    /// How often it was told to start again, and why.
    pub(crate) occurred: Vec<&'static str>,
}

impl Follower {
    pub(crate) fn of(view: &ViewInfo, is_slow: bool) -> Follower {
        let (rows, occurred) = Default::default();
        let (view, group, key_fields) = (view.name, view.group, view.key_fields);
        Follower {
            view,
            group,
            key_fields,
            is_slow,
            rows,
            id: None,
            tick: 0,
            stream: None,
            text: String::new(),
            comes_back: false,
            occurred,
        }
    }

    /// The process is gone.
    pub(crate) fn cut(&mut self) {
        self.comes_back = self.id.is_some();
        self.disconnect();
    }

    fn disconnect(&mut self) {
        self.stream = None;
        self.text.clear();
    }

    /// Connects, where it is not, and takes one message. False where there was none.
    ///
    /// # Errors
    /// What must not be told.
    pub(crate) fn look(&mut self, streams: &Streams) -> Result<bool, String> {
        if self.stream.is_none() {
            let mut request = Request::get(format!("/v1/stream/{}", self.view));
            if let Some(id) = &self.id {
                request = request.header("last-event-id", id);
            }
            let request = request.body(Body::empty()).expect("a request");
            let answer = streams.runtime.block_on(streams.app.clone().oneshot(request)).expect("it always answers");
            match answer.status().as_u16() {
                200 => self.stream = Some(answer.into_body().into_data_stream()),
                503 => return Ok(false),
                other => return Err(format!("a stream of {} was answered {other}", self.view)),
            }
        }
        let Some(stream) = &mut self.stream else { return Ok(false) };
        match streams.runtime.block_on(async { stream.next().now_or_never() }) {
            None => Ok(false),
            Some(Some(Ok(bytes))) => {
                self.text.push_str(&String::from_utf8_lossy(&bytes));
                while let Some((message, rest)) = self.text.split_once("\n\n") {
                    let (message, rest) = (message.to_owned(), rest.to_owned());
                    self.take(&message)?;
                    self.text = rest;
                }
                Ok(true)
            }
            Some(_) => {
                self.disconnect();
                Ok(true)
            }
        }
    }

    fn take(&mut self, message: &str) -> Result<(), String> {
        let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let event = field("event").ok_or("a message without an event")?;
        let data: Value = serde_json::from_str(field("data").unwrap_or("null")).map_err(|error| error.to_string())?;
        let tick = data["tick"].as_u64().ok_or("a message without a tick")?;
        if tick < self.tick {
            return Err(format!("a stream of {} was at {}, and then at {tick} ({event})", self.view, self.tick));
        }
        let comes_back = std::mem::take(&mut self.comes_back);
        match event {
            "reset" => {
                self.occurred.push(match data["reason"].as_str() {
                    Some("lagged") => "reader_lagged",
                    Some("forgotten") => "reader_started_again",
                    other => return Err(format!("a stream of {} was reset because of {other:?}", self.view)),
                });
                self.rows.clear();
                if message.lines().any(|line| line == "id:") {
                    self.id = None;
                }
                // What follows is all there is.
                return Ok(());
            }
            "snapshot" => self.rows.clear(),
            "changes" if comes_back => self.occurred.push("reader_went_on"),
            "changes" | "heartbeat" => {}
            other => return Err(format!("a message called {other}")),
        }
        for change in data["changes"].as_array().into_iter().flatten() {
            let key = change["key"].to_string();
            match &change["value"] {
                Value::Null => self.rows.remove(&key),
                value => self.rows.insert(key, value.clone()),
            };
        }
        self.tick = tick;
        self.id = field("id").map(str::to_owned).or(self.id.take());
        Ok(())
    }

    /// Whether it has exactly what was published at the end.
    pub(crate) fn check(&self, marks: &[Mark]) -> Result<(), String> {
        let mark = marks.iter().rev().find(|mark| mark.group == self.group).ok_or("nothing was marked")?;
        let json = |text: &str| serde_json::from_str::<Value>(text).expect("values are JSON");
        let published = mark.rows.get(self.view).into_iter().flatten();
        let published: BTreeMap<String, Value> =
            published.map(|(key, value)| (json(&key.json(self.key_fields)).to_string(), json(value))).collect();
        if self.rows == published {
            return Ok(());
        }
        let keys = self.rows.keys().chain(published.keys());
        let key = keys.into_iter().find(|key| self.rows.get(*key) != published.get(*key));
        let (got, wanted) = (key.map(|key| self.rows.get(key)), key.map(|key| published.get(key)));
        Err(format!("whoever follows {} has {key:?} {got:?} instead of {wanted:?}", self.view))
    }
}
