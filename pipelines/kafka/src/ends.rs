//! When the ends of partitions, as they were at some moment, have been reached.

use std::{collections::BTreeMap, sync::Arc};

use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::{
    KafkaError,
    client::{ANSWER_TIMEOUT, Told},
};

/// A partition of a topic.
pub type Part = (Arc<str>, u32);

/// The ends that are still to be reached.
///
/// The last offsets before an end may hold no message: markers of transactions, and what compaction
/// removed. There the client tells only the partition's number and not its topic, so the ends with a
/// number count as reached when the client has told it once for each of them.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    open: BTreeMap<Part, u64>,
    /// All partitions, with their ends.
    parts: BTreeMap<Part, u64>,
    told: BTreeMap<u32, usize>,
}

impl Ends {
    /// The ends that `parts` have now. `from` says where reading begins, if not at the start.
    pub(crate) fn now(
        consumer: &BaseConsumer<Told>,
        parts: impl IntoIterator<Item = Part>,
        from: impl Fn(&Part) -> Option<u64>,
    ) -> Result<Ends, KafkaError> {
        let mut ends = Ends::default();
        for part in parts {
            let marks = consumer.fetch_watermarks(&part.0, part.1 as i32, ANSWER_TIMEOUT);
            let (low, high) =
                marks.map_err(|error| KafkaError::of(format!("ask for the end of `{}`", part.0), error))?;
            if high > low && from(&part).is_none_or(|next| next < high as u64) {
                ends.open.insert(part.clone(), high as u64);
            }
            ends.parts.insert(part, high as u64);
        }
        Ok(ends)
    }

    /// Every partition and its end.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Part, u64)> {
        self.parts.iter().map(|(part, end)| (part, *end))
    }

    /// A message was read.
    pub(crate) fn read(&mut self, part: &Part, offset: u64) {
        if self.open.get(part).is_some_and(|end| offset + 1 >= *end) {
            self.open.remove(part);
        }
    }

    /// The client has told that a partition of this number has no more messages, where others may get
    /// some meanwhile: then it tells it again for these, so that only a number that is there once is
    /// known.
    pub(crate) fn end_of_only(&mut self, partition: u32) {
        let mut same = self.parts.keys().filter(|part| part.1 == partition);
        if let (Some(part), None) = (same.next().cloned(), same.next()) {
            self.open.remove(&part);
        }
    }

    /// Counts the end of a partition as reached: nothing has come of it for long.
    pub(crate) fn give_up(&mut self, part: &Part) {
        self.open.remove(part);
    }

    /// The partitions whose ends are still to be reached.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Part> {
        self.open.keys()
    }

    /// The client has told that a partition of this number has no more messages, where none gets any.
    pub(crate) fn end_of(&mut self, partition: u32) {
        let told = self.told.entry(partition).or_default();
        *told += 1;
        if *told >= self.parts.keys().filter(|part| part.1 == partition).count() {
            self.open.retain(|part, _| part.1 != partition);
        }
    }

    /// True where the partition's end is still to be reached.
    pub(crate) fn is_open(&self, part: &Part) -> bool {
        self.open.contains_key(part)
    }

    /// True where all have been reached.
    pub(crate) fn are_reached(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(open: &[(&str, u32, u64)]) -> Ends {
        let parts = open.iter().map(|(topic, number, end)| (((*topic).into(), *number), *end));
        let parts: BTreeMap<Part, u64> = parts.collect();
        Ends { open: parts.clone(), parts, ..Ends::default() }
    }

    #[test]
    fn an_end_is_reached_by_the_message_before_it() {
        let mut ends = ends(&[("a", 0, 5)]);
        ends.read(&("a".into(), 0), 3);
        assert!(!ends.are_reached());
        ends.read(&("a".into(), 0), 4);
        assert!(ends.are_reached());
    }

    #[test]
    fn where_others_get_messages_only_a_number_that_is_there_once_is_known() {
        let mut ends = ends(&[("a", 0, 5), ("b", 0, 7), ("b", 1, 7)]);
        (0..3).for_each(|_| ends.end_of_only(0));
        ends.end_of_only(1);
        assert!(ends.is_open(&("a".into(), 0)) && ends.is_open(&("b".into(), 0)) && !ends.is_open(&("b".into(), 1)));
    }

    #[test]
    fn an_end_without_a_message_is_reached_when_all_of_its_number_are() {
        let mut ends = ends(&[("a", 0, 5), ("b", 0, 7), ("b", 1, 7)]);
        ends.end_of(0);
        assert!(ends.is_open(&("a".into(), 0)), "it may have been `b`");
        ends.end_of(0);
        assert!(!ends.is_open(&("a".into(), 0)) && !ends.is_open(&("b".into(), 0)) && ends.is_open(&("b".into(), 1)));
    }
}
