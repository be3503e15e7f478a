//! A reader of Server-Sent Events: a thread reads, the test takes messages from a queue.

use std::{
    io::{BufRead, BufReader},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};

use serde_json::Value;
use ureq::Agent;

use crate::Http;

/// How long the next message may take: heartbeats come once a second.
pub const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// One message.
#[derive(Clone, Debug)]
pub struct Message {
    /// From where a client may go on.
    pub id: Option<String>,
    /// `snapshot`, `changes`, `reset` or `heartbeat`.
    pub event: String,
    /// Everything else.
    pub data: Value,
}

impl Message {
    /// The tick as of which it holds.
    ///
    /// # Panics
    /// Where it names none.
    pub fn tick(&self) -> u64 {
        self.data["tick"].as_u64().unwrap_or_else(|| panic!("no tick: {self:?}"))
    }

    /// The changes as (view, key, value); none in messages of other kinds.
    pub fn changes(&self) -> impl Iterator<Item = (&str, &Value, &Value)> {
        let changes = self.data["changes"].as_array().into_iter().flatten();
        changes.map(|change| (change["view"].as_str().unwrap_or_default(), &change["key"], &change["value"]))
    }
}

/// An open stream.
pub struct Stream {
    messages: Receiver<Message>,
}

impl Stream {
    /// Opens `path`; `after` is the id of the last message that was seen.
    ///
    /// # Panics
    /// Where it is not answered 200.
    pub fn open(http: &Http, path: &str, after: Option<&str>) -> Stream {
        let agent: Agent = Agent::config_builder().http_status_as_error(false).build().into();
        let mut request = agent.get(format!("{}{path}", http.url()));
        for (name, value) in http.headers() {
            request = request.header(name, value);
        }
        if let Some(id) = after {
            request = request.header("Last-Event-ID", id);
        }
        let response = request.call().unwrap_or_else(|error| panic!("GET {path}: {error}"));
        assert_eq!(response.status().as_u16(), 200, "GET {path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream", "GET {path}");
        let (send, messages) = channel();
        let lines = BufReader::new(response.into_body().into_reader()).lines();
        std::thread::spawn(move || {
            let (mut id, mut event) = (None, String::new());
            // The connection ends with the server.
            for line in lines.map_while(Result::ok) {
                match line.split_once(": ") {
                    Some(("id", text)) => id = Some(text.to_owned()),
                    Some(("event", text)) => text.clone_into(&mut event),
                    Some(("data", text)) => {
                        let data = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
                        let message = Message { id: id.take(), event: std::mem::take(&mut event), data };
                        if send.send(message).is_err() {
                            return;
                        }
                    }
                    // What a client was told to go on from is forgotten.
                    None if line == "id:" => id = None,
                    _ => assert!(line.is_empty(), "`{line}` is no line of a stream"),
                }
            }
        });
        Stream { messages }
    }

    /// The next message.
    ///
    /// # Panics
    /// Where none comes within [`MESSAGE_TIMEOUT`], or the stream has ended.
    #[track_caller]
    pub fn next(&self) -> Message {
        match self.messages.recv_timeout(MESSAGE_TIMEOUT) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => panic!("no message within {MESSAGE_TIMEOUT:?}, not even a heartbeat"),
            Err(RecvTimeoutError::Disconnected) => panic!("the stream has ended"),
        }
    }

    /// The next message that is no heartbeat.
    ///
    /// # Panics
    /// As [`Stream::next`].
    #[track_caller]
    pub fn next_news(&self) -> Message {
        loop {
            let message = self.next();
            if message.event != "heartbeat" {
                return message;
            }
        }
    }

    /// Waits for the end of the stream and gives what came before it.
    ///
    /// # Panics
    /// Where it does not end within [`MESSAGE_TIMEOUT`] of a message.
    pub fn rest(self) -> Vec<Message> {
        let mut rest = Vec::new();
        loop {
            match self.messages.recv_timeout(MESSAGE_TIMEOUT) {
                Ok(message) => rest.push(message),
                Err(RecvTimeoutError::Disconnected) => return rest,
                Err(RecvTimeoutError::Timeout) => panic!("the stream goes on in silence"),
            }
        }
    }
}
