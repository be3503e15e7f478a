//! `etalage watch`: follows views by Server-Sent Events. A lost connection is made again and goes
//! on behind the last message that was seen; the wait between attempts doubles up to a limit.

use std::{io::BufRead, thread, time::Duration};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    CliError, Out,
    args::{Common, WatchArgs},
    client::{Client, encoded},
    entry::Entry,
};
use crate::config::Config;

/// The wait before the first new attempt.
const MIN_WAIT_MS: u64 = 250;
/// The longest wait between two attempts.
const MAX_WAIT_MS: u64 = 10_000;

/// One message of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    id: Option<String>,
    event: String,
    data: String,
}

/// The data of a message with changes.
#[derive(Debug, Deserialize)]
struct Changes<'a> {
    as_of: &'a str,
    #[serde(borrow)]
    changes: Vec<Change<'a>>,
}

#[derive(Debug, Deserialize)]
struct Change<'a> {
    view: &'a str,
    #[serde(borrow)]
    key: &'a RawValue,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

/// What follows when a connection has ended.
enum End {
    /// As many changes as were asked for have been printed.
    Enough,
    /// It was lost; the text says how.
    Lost(String),
}

/// Prints what is there, then each change, until it is interrupted or `--limit` is reached.
///
/// # Errors
/// Where no server answers at the first attempt, or it refuses.
pub(super) fn run(common: &Common, config: &Config, args: &WatchArgs) -> Result<(), CliError> {
    let client = Client::new(common, config)?;
    let subs: Vec<String> = args.views.iter().map(|view| format!("sub={}", encoded(view))).collect();
    let mut watch = Watch {
        out: Out::new(),
        json: common.json,
        left: args.limit.unwrap_or(u64::MAX),
        last_id: None,
        path: format!("/v1/stream?{}", subs.join("&")),
    };
    let mut wait_ms = MIN_WAIT_MS;
    let mut was_connected = false;
    loop {
        let reason = match client.stream(&watch.path, watch.last_id.as_deref()) {
            Ok(lines) => {
                was_connected = true;
                let before = watch.last_id.clone();
                match watch.follow(lines, &client)? {
                    End::Enough => return watch.out.flush(),
                    End::Lost(reason) => {
                        if watch.last_id != before {
                            wait_ms = MIN_WAIT_MS;
                        }
                        reason
                    }
                }
            }
            // A server that still reads its log back, or is too busy, is asked again; so is one
            // that has answered before. Any other refusal stands.
            Err(CliError::Refused { status: 429 | 503, message, .. }) => message,
            Err(CliError::Refused { status: 500.., message, .. }) if was_connected => message,
            Err(CliError::Unreachable { reason, .. }) if was_connected => reason,
            Err(error) => return Err(error),
        };
        eprintln!("nothing to follow at {} ({reason}); trying again in {wait_ms} ms", client.base());
        thread::sleep(Duration::from_millis(wait_ms));
        wait_ms = (wait_ms * 2).min(MAX_WAIT_MS);
    }
}

struct Watch {
    out: Out,
    json: bool,
    left: u64,
    last_id: Option<String>,
    path: String,
}

impl Watch {
    fn follow(&mut self, mut lines: impl BufRead, client: &Client) -> Result<End, CliError> {
        loop {
            let message = match next_message(&mut lines) {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(End::Lost("the server ended it".to_owned())),
                Err(error) => return Ok(End::Lost(error.to_string())),
            };
            match message.event.as_str() {
                "snapshot" | "changes" => {
                    let changes: Changes<'_> =
                        serde_json::from_str(&message.data).map_err(|error| client.strange(error))?;
                    if self.print(&changes)? {
                        return Ok(End::Enough);
                    }
                }
                "reset" => eprintln!("the server no longer knows what changed meanwhile: everything follows again"),
                // A heartbeat says that nothing changed; of other kinds nothing is known.
                _ => {}
            }
            if let Some(id) = message.id {
                // An empty one says that nobody can go on from the one before.
                self.last_id = Some(id).filter(|id| !id.is_empty());
            }
        }
    }

    /// Prints the changes of one message; true when there were enough.
    fn print(&mut self, changes: &Changes<'_>) -> Result<bool, CliError> {
        for change in &changes.changes {
            let entry = Entry { key: change.key, value: change.value };
            match self.json {
                true => self.out.line(&entry.json_line(change.view, changes.as_of))?,
                false => self.out.line(&format!("{}  {}  {}", changes.as_of, change.view, entry.text()))?,
            }
            self.left = self.left.saturating_sub(1);
            if self.left == 0 {
                return Ok(true);
            }
        }
        self.out.flush()?;
        Ok(false)
    }
}

/// The next message of an event stream; `None` where it ends. A message that the end cuts off is
/// none.
fn next_message(lines: &mut impl BufRead) -> std::io::Result<Option<Message>> {
    let mut message = Message::default();
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let text = line.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            if message != Message::default() {
                return Ok(Some(message));
            }
            continue;
        }
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => message.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut message.event),
            "data" => {
                if !message.data.is_empty() {
                    message.data.push('\n');
                }
                message.data.push_str(value);
            }
            // A comment, or a field that is not known.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_the_standard_says() {
        let stream =
            ": hello\n\nid: 1-2\nevent: changes\ndata: {\"a\":\ndata: 1}\n\nevent:heartbeat\r\ndata:{}\r\n\r\nid: cut";
        let mut lines = stream.as_bytes();
        let first = next_message(&mut lines).unwrap().unwrap();
        let expected = Message { id: Some("1-2".into()), event: "changes".into(), data: "{\"a\":\n1}".into() };
        assert_eq!(first, expected);
        assert_eq!(next_message(&mut lines).unwrap().unwrap().event, "heartbeat");
        assert_eq!(next_message(&mut lines).unwrap(), None);
    }
}
