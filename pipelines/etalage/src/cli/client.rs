//! Asks a running server over HTTP.

use std::{io::BufReader, time::Duration};

use serde::Deserialize;
use ureq::{Agent, Body, BodyReader, RequestBuilder, http::Response};

use super::{CliError, args::Common};
use crate::config::Config;

/// How long a server may take to take a connection, and then to begin its answer.
const ANSWER_TIMEOUT_S: u64 = 30;
/// How long a server may take to erase somebody, or to take a snapshot.
const WORK_TIMEOUT_S: u64 = 3_600;
/// A stream that says nothing for so long is broken: a heartbeat comes once a second.
const STREAM_SILENCE_S: u64 = 15;
/// The longest answer that is read.
const MAX_ANSWER_BYTES: u64 = 256 * 1024 * 1024;

/// A server and how to reach it.
pub(super) struct Client {
    agent: Agent,
    base: String,
    key: Option<String>,
}

/// The server's error body.
#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorText,
}

#[derive(Deserialize)]
struct ErrorText {
    message: String,
}

impl Client {
    /// The server that the options name; else the one that the configuration describes.
    ///
    /// # Errors
    /// Where the address is none, or the configuration is wrong.
    pub(super) fn new(common: &Common, config: &Config) -> Result<Client, CliError> {
        let base = match (&common.url, common.port) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, port) => {
                let mut listen = config.server.listen;
                listen.set_port(port.unwrap_or(listen.port()));
                if listen.ip().is_unspecified() {
                    listen.set_ip([127, 0, 0, 1].into());
                }
                format!("http://{listen}")
            }
        };
        if !base.starts_with("http://") {
            let message =
                format!("`{base}` is no address that can be asked: it begins with http://, as http://127.0.0.1:7878");
            return Err(CliError::Usage(message));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Whoever names an address means that address.
            .proxy(None)
            .timeout_connect(Some(Duration::from_secs(ANSWER_TIMEOUT_S)))
            .timeout_recv_response(Some(Duration::from_secs(ANSWER_TIMEOUT_S)))
            .timeout_per_read(Some(Duration::from_secs(STREAM_SILENCE_S)))
            .build();
        Ok(Client { agent: config.into(), base, key: common.key.clone() })
    }

    /// The server's address.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// The body of `GET path`.
    ///
    /// # Errors
    /// Where nothing answers, or not with success.
    pub(super) fn get(&self, path: &str) -> Result<String, CliError> {
        let answer = self.call(path, None)?;
        let (status, text) = (answer.status(), self.text(answer)?);
        if status.is_success() { Ok(text) } else { Err(self.refused(status.as_u16(), &text)) }
    }

    /// The body of the answer to `DELETE path`, which may take as long as reading a whole log does.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(super) fn delete(&self, path: &str) -> Result<String, CliError> {
        let request = self.patient(self.agent.delete(format!("{}{path}", self.base)));
        self.success(request.call())
    }

    /// The body of the answer to `POST path` without a body of its own, which may take as long as writing all state
    /// does.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(super) fn post(&self, path: &str) -> Result<String, CliError> {
        let request = self.patient(self.agent.post(format!("{}{path}", self.base)));
        self.success(request.send_empty())
    }

    /// A request whose answer may take long.
    fn patient<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        let timeout = Some(Duration::from_secs(WORK_TIMEOUT_S));
        let request = request.config().timeout_recv_response(timeout).timeout_per_read(timeout).build();
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        }
    }

    fn success(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<String, CliError> {
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        let (status, text) = (answer.status(), self.text(answer)?);
        if status.is_success() { Ok(text) } else { Err(self.refused(status.as_u16(), &text)) }
    }

    /// The lines of the stream at `path`, behind the message `last` where one is named.
    ///
    /// # Errors
    /// Where nothing answers, or not with success.
    pub(super) fn stream(&self, path: &str, last: Option<&str>) -> Result<BufReader<BodyReader<'static>>, CliError> {
        let answer = self.call(path, last)?;
        let status = answer.status();
        if !status.is_success() {
            let text = self.text(answer)?;
            return Err(self.refused(status.as_u16(), &text));
        }
        Ok(BufReader::new(answer.into_body().into_reader()))
    }

    /// The answer is not what an etalage answers.
    pub(super) fn strange(&self, reason: impl ToString) -> CliError {
        CliError::Strange { url: self.base.clone(), reason: reason.to_string() }
    }

    fn call(&self, path: &str, last: Option<&str>) -> Result<Response<Body>, CliError> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        request.call().map_err(|error| self.unreachable(&error))
    }

    fn text(&self, answer: Response<Body>) -> Result<String, CliError> {
        let body = answer.into_body().into_with_config().limit(MAX_ANSWER_BYTES);
        body.read_to_string().map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &ureq::Error) -> CliError {
        let reason = match error {
            ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                "connection refused".to_owned()
            }
            ureq::Error::Protocol(_) | ureq::Error::Http(_) => return self.strange(error),
            other => other.to_string(),
        };
        CliError::Unreachable { url: self.base.clone(), reason }
    }

    fn refused(&self, status: u16, text: &str) -> CliError {
        match serde_json::from_str::<ErrorBody>(text) {
            Ok(body) => {
                let message = body.error.message;
                CliError::Refused { url: self.base.clone(), status, message }
            }
            Err(_) => self.strange(format!("status {status}")),
        }
    }
}

/// `text` as the value of a parameter in a URL.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
