//! A client of the HTTP interface.

use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::{Agent, Body, http::Response};

/// How long an answer may take before its test fails.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a server is asked, and with which headers.
#[derive(Clone)]
pub struct Http {
    agent: Agent,
    url: String,
    headers: Vec<(String, String)>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Headers by lower-case name.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub text: String,
}

impl Http {
    /// A client of the server at `url`, which has no slash at its end.
    pub fn new(url: &str) -> Http {
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(REQUEST_TIMEOUT));
        Http { agent: config.build().into(), url: url.to_owned(), headers: Vec::new() }
    }

    /// The same client that sends one more header.
    pub fn with(&self, name: &str, value: &str) -> Http {
        let mut with = self.clone();
        with.headers.push((name.to_owned(), value.to_owned()));
        with
    }

    /// The same client with a key.
    pub fn with_key(&self, key: &str) -> Http {
        self.with("Authorization", &format!("Bearer {key}"))
    }

    /// The server's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The headers that are sent with every request.
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// `GET`; an error where no answer came.
    ///
    /// # Errors
    /// What the client said.
    pub fn try_get(&self, path: &str) -> Result<Answer, String> {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        answer(request.call())
    }

    /// `GET`.
    ///
    /// # Panics
    /// Where no answer comes.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.try_get(path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// `GET` that must be answered 200, as JSON.
    ///
    /// # Panics
    /// Where it is not.
    #[track_caller]
    pub fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text);
        answer.json()
    }

    /// `POST`; an error where no answer came.
    ///
    /// # Errors
    /// What the client said.
    pub fn try_post(&self, path: &str, body: impl AsRef<[u8]>) -> Result<Answer, String> {
        let mut request = self.agent.post(format!("{}{path}", self.url));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        answer(request.send(body.as_ref()))
    }

    /// `DELETE`; an error where no answer came.
    ///
    /// # Errors
    /// What the client said.
    pub fn try_delete(&self, path: &str) -> Result<Answer, String> {
        let mut request = self.agent.delete(format!("{}{path}", self.url));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        answer(request.call())
    }

    /// `POST`.
    ///
    /// # Panics
    /// Where no answer comes.
    #[track_caller]
    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.try_post(path, body).unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// Sends messages that must all be stored.
    ///
    /// # Panics
    /// Where one is not.
    #[track_caller]
    pub fn store(&self, path: &str, messages: &[Value]) {
        let answer = self.post(path, Value::from(messages).to_string());
        assert_eq!(answer.status, 200, "POST {path}: {}", answer.text);
        let statuses = answer.statuses();
        assert_eq!(statuses, vec!["stored"; messages.len()], "POST {path}: {}", answer.text);
    }

    /// The value of a key, or `None` where it has none.
    ///
    /// # Panics
    /// Where the answer is anything else.
    #[track_caller]
    pub fn value(&self, view: &str, key: &Value) -> Option<Value> {
        let answer = self.json(&format!("/v1/views/{view}?key={}", encoded(&key.to_string())));
        let value = answer["entries"][0]["value"].clone();
        (!value.is_null()).then_some(value)
    }

    /// A counter or gauge of `/metrics` without labels; `None` where it was never set.
    ///
    /// # Panics
    /// Where there are no metrics.
    #[track_caller]
    pub fn metric(&self, name: &str) -> Option<f64> {
        let answer = self.get("/metrics");
        assert_eq!(answer.status, 200, "{}", answer.text);
        let mut lines = answer.text.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(found, _)| *found == name).map(|(_, number)| number.parse().expect("a metric is a number"))
    }
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The status of each item, in order.
    ///
    /// # Panics
    /// Where the body has none.
    #[track_caller]
    pub fn statuses(&self) -> Vec<String> {
        let body = self.json();
        let results = body["results"].as_array().unwrap_or_else(|| panic!("no results: {}", self.text));
        results.iter().map(|result| result["status"].as_str().expect("a status is a text").to_owned()).collect()
    }
}

/// `text` for a query.
pub fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// Asks again and again until `holds`; gives what it said then.
///
/// # Panics
/// Where it does not within [`REQUEST_TIMEOUT`].
#[track_caller]
pub fn eventually<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + REQUEST_TIMEOUT;
    loop {
        if let Some(found) = holds() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {REQUEST_TIMEOUT:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn answer(response: Result<Response<Body>, ureq::Error>) -> Result<Answer, String> {
    let mut response = response.map_err(|error| error.to_string())?;
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()));
    let (status, headers) = (response.status().as_u16(), headers.collect());
    let body = response.body_mut().with_config().limit(256 * 1024 * 1024).read_to_vec();
    let text = String::from_utf8(body.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    Ok(Answer { status, headers, text })
}
