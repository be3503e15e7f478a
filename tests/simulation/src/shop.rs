//! What the shop sends: everything that a small shop sends, late, twice, with other content under one id, and garbage
//! between it. It knows what it sent, and what was acknowledged.

use std::collections::BTreeMap;

use etalage_model::{InputKind, Outcome, Refusal};
use etalage_tests::{seed::Random, story::Story};
use rand::{RngExt, seq::IndexedRandom};
use serde_json::{Value, json};

const ITEMS: usize = 14;
const USERS: u32 = 9;
const VISITORS: u32 = 20;
const MAX_BATCH: usize = 40;

/// A line that is no message.
const GARBAGE: [&str; 4] = ["{\"event\": 5", "17", "{\"event\": \"purchase\", \"properties\": {\"items\": 3}}", "{}"];

/// A request, and the ids of its lines; garbage has none.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) kind: InputKind,
    pub(crate) ids: Vec<Option<String>>,
    pub(crate) body: Vec<u8>,
}

/// A message, by its id.
pub(crate) struct Sent {
    pub(crate) kind: InputKind,
    /// What was sent under the id.
    pub(crate) texts: Vec<String>,
    /// That it is stored was told.
    pub(crate) is_acknowledged: bool,
}

pub(crate) struct Shop {
    story: Story,
    random: Random,
    pub(crate) sent: BTreeMap<String, Sent>,
    links: u64,
    /// Lines that were made.
    pub(crate) lines: usize,
    /// What of the workload occurred, by name.
    pub(crate) occurred: Vec<&'static str>,
}

impl Shop {
    pub(crate) fn new(mut random: Random) -> Shop {
        let story = Story::new(etalage_tests::seed::from(random.random()), ITEMS);
        Shop { story, random, sent: BTreeMap::new(), links: 0, lines: 0, occurred: Vec::new() }
    }

    /// The next request, of things that happen about now.
    pub(crate) fn request(&mut self, now_ms: u64) -> Request {
        let kind = match self.random.random_range(0..100) {
            0..74 => InputKind::Events,
            74..92 => InputKind::Inventory,
            _ => InputKind::Catalogue,
        };
        let count = self.random.random_range(1..=MAX_BATCH);
        let lines: Vec<(Option<String>, String)> = (0..count).map(|_| self.line(kind, now_ms)).collect();
        self.lines += lines.len();
        let body = lines.iter().map(|(_, text)| format!("{text}\n")).collect::<String>().into_bytes();
        Request { kind, ids: lines.into_iter().map(|(id, _)| id).collect(), body }
    }

    fn line(&mut self, kind: InputKind, now_ms: u64) -> (Option<String>, String) {
        match self.random.random_range(0..100) {
            0 => {
                self.occurred.push("garbage");
                (None, (*GARBAGE.choose(&mut self.random).expect("there is some")).to_owned())
            }
            1..6 => self.again(kind, now_ms, false),
            6 => self.again(kind, now_ms, true),
            _ => self.fresh(kind, now_ms),
        }
    }

    /// A message that was sent before; with other content, if told so.
    fn again(&mut self, kind: InputKind, now_ms: u64, is_other: bool) -> (Option<String>, String) {
        let known: Vec<&String> = self.sent.iter().filter(|(_, sent)| sent.kind == kind).map(|(id, _)| id).collect();
        let Some(id) = known.choose(&mut self.random).map(|id| (*id).clone()) else { return self.fresh(kind, now_ms) };
        let text = self.sent[&id].texts[0].clone();
        self.occurred.push(if is_other { "conflicting_message" } else { "message_again" });
        if !is_other {
            return (Some(id), text);
        }
        let mut other: Value = serde_json::from_str(&text).expect("it is JSON");
        let field = if kind == InputKind::Events { "timestamp" } else { "available" };
        other[field] = (other[field].as_i64().unwrap_or(0) + 1).into();
        let other = other.to_string();
        let sent = self.sent.get_mut(&id).expect("it was sent");
        if !sent.texts.contains(&other) {
            sent.texts.push(other.clone());
        }
        (Some(id), other)
    }

    fn fresh(&mut self, kind: InputKind, now_ms: u64) -> (Option<String>, String) {
        let late_ms = match self.random.random_range(0..100) {
            0..70 => 0,
            70..88 => self.random.random_range(0..60_000),
            88..97 => self.random.random_range(0..3 * 3_600_000),
            _ => self.random.random_range(0..30 * 3_600_000),
        };
        if late_ms > 0 {
            self.occurred.push("late_message");
        }
        let at_ms = now_ms.saturating_sub(late_ms) + self.random.random_range(0..1_000);
        let message = match kind {
            InputKind::Events if self.random.random_bool(0.08) => self.link(at_ms),
            InputKind::Events => {
                let mut event = self.story.event(at_ms);
                if self.random.random_bool(0.4) {
                    event["userId"] = self.user().into();
                }
                event
            }
            InputKind::Inventory => self.story.stock(at_ms),
            InputKind::Catalogue => self.story.catalogue(at_ms),
        };
        let id = message["messageId"].as_str().expect("a text").to_owned();
        let text = message.to_string();
        let sent = Sent { kind, texts: vec![text.clone()], is_acknowledged: false };
        self.sent.insert(id.clone(), sent);
        (Some(id), text)
    }

    fn user(&mut self) -> String {
        format!("u{}", self.random.random_range(0..USERS))
    }

    fn visitor(&mut self) -> String {
        format!("a{}", self.random.random_range(0..VISITORS))
    }

    /// Who belongs together, or does not any more.
    fn link(&mut self, at_ms: u64) -> Value {
        self.links += 1;
        self.occurred.push("link");
        let (user, other, visitor) = (self.user(), self.user(), self.visitor());
        let (kind, with, whom) = match self.random.random_range(0..10) {
            0..6 => ("identify", "anonymousId", visitor),
            6..8 => ("alias", "previousId", other),
            8 => ("unlink", "anonymousId", visitor),
            _ => ("unlink", "previousId", other),
        };
        let id = format!("l{}", self.links);
        json!({ "messageId": id, "type": kind, "userId": user, with: whom, "timestamp": at_ms })
    }

    /// What became of a request was told.
    ///
    /// # Errors
    /// What must not be told.
    pub(crate) fn told(&mut self, request: &Request, outcomes: &[Outcome]) -> Result<(), String> {
        if outcomes.len() != request.ids.len() {
            return Err(format!("{} outcomes of {} lines", outcomes.len(), request.ids.len()));
        }
        for (id, outcome) in request.ids.iter().zip(outcomes) {
            match (id, outcome) {
                (None, Outcome::Refused(_)) => {}
                (None, other) => return Err(format!("garbage was {other:?}")),
                (Some(id), Outcome::Stored | Outcome::Duplicate) => {
                    self.sent.get_mut(id).ok_or("nobody sent it")?.is_acknowledged = true;
                }
                (Some(id), Outcome::Refused(Refusal::Conflict)) => {
                    // Something is stored under this id.
                    self.sent.get_mut(id).ok_or("nobody sent it")?.is_acknowledged = true;
                    self.occurred.push("conflict");
                }
                // A clock that is set back makes messages of the future, one that is set ahead old ones.
                (Some(_), Outcome::Refused(Refusal::Future(_) | Refusal::TooOld(_))) => self.occurred.push("refused"),
                (Some(id), other) => return Err(format!("{id} was {other:?}")),
            }
        }
        Ok(())
    }
}
