//! Where the items of a submission come from: how each is named in the quarantine, and what is
//! remembered of how far its source has been read.

use std::sync::Arc;

use etalage_model::{Position, Refusal};

use crate::input::FileLine;

/// Where items come from.
#[derive(Debug)]
pub enum Origin {
    /// A connection, or a generator.
    Named(Arc<str>),
    /// Files.
    Files {
        /// Their names.
        names: Arc<[String]>,
        /// The line of each item.
        lines: Vec<FileLine>,
    },
    /// Partitions of topics, each in the order of its offsets.
    Topics {
        /// Counts up each time that reading begins anew: where something of a session could not be
        /// stored, nothing after it in that session is.
        session: u64,
        /// Where partitions begin of which nothing was read before.
        begun: Vec<Position>,
        /// The messages.
        messages: Vec<TopicMessage>,
        /// The message of each item, by its place in `messages`: a message may have several items.
        of_item: Vec<usize>,
    },
}

/// A message of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMessage {
    /// The topic.
    pub topic: Arc<str>,
    /// Which of its partitions.
    pub partition: u32,
    /// Its place there.
    pub offset: u64,
    /// The message as it was sent.
    pub raw: Vec<u8>,
}

/// A message that was refused.
#[derive(Clone, Debug)]
pub struct RefusedMessage {
    /// The message.
    pub message: TopicMessage,
    /// Why it was refused.
    pub reason: Refusal,
}

/// Keeps what was refused of topics.
///
/// **Delivery**: at least once. It is called before the offsets are stored as read, so that after a
/// crash a message is refused again rather than forgotten.
pub trait KeepRefused: Send {
    /// Keeps all of them; returns when they are kept.
    ///
    /// # Errors
    /// Why they could not be kept.
    fn keep(&mut self, refused: Vec<RefusedMessage>) -> Result<(), String>;
}

impl Origin {
    /// Where item `at` comes from, for whoever reads the quarantine.
    pub(super) fn place(&self, at: usize) -> String {
        match self {
            Origin::Named(name) => name.to_string(),
            Origin::Files { names, lines } => {
                let Some(FileLine { file, line }) = lines.get(at) else { return names.join(", ") };
                names.get(*file).map_or_else(|| line.to_string(), |name| format!("{name}:{line}"))
            }
            Origin::Topics { .. } => self.message(at).map_or_else(String::new, |message| {
                format!("{}/{}@{}", message.topic, message.partition, message.offset)
            }),
        }
    }

    /// Where partitions begin of which nothing was read before.
    pub(super) fn begun(&self) -> &[Position] {
        if let Origin::Topics { begun, .. } = self { begun } else { &[] }
    }

    /// The session, where topics are read.
    pub(super) fn session(&self) -> Option<u64> {
        if let Origin::Topics { session, .. } = self { Some(*session) } else { None }
    }

    /// How far the partition has been read once item `at` is done with: beyond its message, if it is
    /// the last item of it.
    pub(super) fn position(&self, at: usize) -> Option<Position> {
        let Origin::Topics { of_item, .. } = self else { return None };
        let TopicMessage { topic, partition, offset, .. } = self.message(at)?;
        let is_last = of_item.get(at + 1) != of_item.get(at);
        is_last.then(|| Position { source: (&**topic).into(), partition: *partition, next: offset + 1 })
    }

    /// Item `at` as a message that was refused, where it comes from a topic.
    pub(super) fn refused(&self, at: usize, reason: &Refusal) -> Option<RefusedMessage> {
        Some(RefusedMessage { message: self.message(at)?.clone(), reason: reason.clone() })
    }

    /// The place of the message of item `at`, where it comes from a topic.
    pub(super) fn message_at(&self, at: usize) -> Option<usize> {
        if let Origin::Topics { of_item, .. } = self { of_item.get(at).copied() } else { None }
    }

    /// The message of item `at`.
    fn message(&self, at: usize) -> Option<&TopicMessage> {
        let Origin::Topics { messages, of_item, .. } = self else { return None };
        messages.get(*of_item.get(at)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(partition: u32, offset: u64, raw: &str) -> TopicMessage {
        TopicMessage { topic: "t".into(), partition, offset, raw: raw.into() }
    }

    #[test]
    fn a_partition_is_read_beyond_a_message_when_its_last_item_is_done_with() {
        let messages = vec![message(3, 7, "[{},{}]"), message(1, 7, "{}")];
        let origin = Origin::Topics { session: 1, begun: Vec::new(), messages, of_item: vec![0, 0, 1] };
        let next = |at| origin.position(at).map(|position| (position.partition, position.next));
        assert_eq!((next(0), next(1), next(2), next(3)), (None, Some((3, 8)), Some((1, 8)), None));
        assert_eq!(origin.place(2), "t/1@7");
        assert_eq!(origin.refused(1, &Refusal::Conflict).unwrap().message, message(3, 7, "[{},{}]"));
    }

    #[test]
    fn only_partitions_are_remembered() {
        let names = ["orders.csv", "stock.csv"].map(str::to_owned);
        let files = Origin::Files { names: names.into(), lines: vec![FileLine { file: 1, line: 17 }] };
        assert_eq!((files.place(0), files.position(0)), ("stock.csv:17".to_owned(), None));
        assert!(Origin::Named("demo".into()).refused(0, &Refusal::Conflict).is_none());
    }
}
