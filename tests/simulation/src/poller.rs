//! Readers that ask for a view now and then, and only for what they do not have yet, as a widget does that keeps the
//! ETag of what it shows.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use etalage_model::ViewInfo;
use futures_util::StreamExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::follower::Streams;

/// How much of a view is asked for.
const LIMIT: usize = 3;

/// Somebody who asks.
pub(crate) struct Poller {
    view: &'static str,
    /// What was answered last, and its ETag.
    has: Option<(String, Value)>,
    /// That was another process.
    comes_back: bool,
    /// What of it occurred, by name.
    pub(crate) occurred: Vec<&'static str>,
}

impl Poller {
    pub(crate) fn of(view: &ViewInfo) -> Poller {
        Poller { view: view.name, has: None, comes_back: false, occurred: Vec::new() }
    }

    /// The process is gone.
    pub(crate) fn cut(&mut self) {
        self.comes_back = true;
    }

    /// Asks.
    ///
    /// # Errors
    /// Where it is told that it has what is not there any more.
    pub(crate) fn look(&mut self, streams: &Streams) -> Result<(), String> {
        let tag = self.has.as_ref().map(|(tag, _)| tag.as_str());
        let (status, found) = self.ask(streams, tag);
        match (status, &self.has, found) {
            (StatusCode::OK, _, found) => self.has = found,
            (StatusCode::NOT_MODIFIED, Some((tag, has)), _) => {
                let (_, found) = self.ask(streams, None);
                let found = found.ok_or("what is not modified is not there")?;
                if found.1 != *has {
                    return Err(format!(
                        "{} is {} and not {has}, and was not modified since {tag}",
                        self.view, found.1
                    ));
                }
                if self.comes_back {
                    self.occurred.push("not_modified");
                }
            }
            (StatusCode::SERVICE_UNAVAILABLE, ..) => return Ok(()),
            (other, ..) => return Err(format!("{} was answered {other}", self.view)),
        }
        self.comes_back = false;
        Ok(())
    }

    /// The entries and their ETag.
    fn ask(&self, streams: &Streams, tag: Option<&str>) -> (StatusCode, Option<(String, Value)>) {
        let mut request = Request::get(format!("/v1/views/{}?limit={LIMIT}", self.view));
        if let Some(tag) = tag {
            request = request.header("if-none-match", tag);
        }
        let request = request.body(Body::empty()).expect("a request");
        let answer = streams.app.clone().oneshot(request);
        streams.runtime.block_on(async {
            let answer = answer.await.expect("it always answers");
            let (status, tag) = (answer.status(), answer.headers().get("etag").cloned());
            let mut text = Vec::new();
            let mut body = answer.into_body().into_data_stream();
            while let Some(Ok(bytes)) = body.next().await {
                text.extend_from_slice(&bytes);
            }
            let tag = tag.and_then(|tag| tag.to_str().ok().map(str::to_owned));
            let entries = serde_json::from_slice::<Value>(&text).ok().map(|body| body["entries"].clone());
            (status, tag.zip(entries.map(without_metadata)))
        })
    }
}

/// Keys and values: where a window begins moves on with time.
fn without_metadata(mut entries: Value) -> Value {
    for entry in entries.as_array_mut().into_iter().flatten() {
        if let Some(entry) = entry.as_object_mut() {
            entry.retain(|name, _| name == "key" || name == "value");
        }
    }
    entries
}
