//! When the ends of partitions, as they were at some moment, have been reached.

use std::collections::BTreeMap;

use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::{
    KafkaError,
    client::{ANSWER_TIMEOUT, Told},
    reader::Part,
};

/// The ends that are still to be reached.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    open: BTreeMap<Part, u64>,
    /// The oldest message of each partition.
    starts: BTreeMap<Part, u64>,
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
            ends.starts.insert(part, low as u64);
        }
        Ok(ends)
    }

    /// The oldest message of a partition; `None` of one that was not asked for.
    pub(crate) fn start(&self, part: &Part) -> Option<u64> {
        self.starts.get(part).copied()
    }

    /// A message was read.
    pub(crate) fn read(&mut self, part: &Part, offset: u64) {
        if self.open.get(part).is_some_and(|end| offset + 1 >= *end) {
            self.open.remove(part);
        }
    }

    /// The partition was read to where it ended then, or behind that.
    pub(crate) fn reached(&mut self, part: &Part) {
        self.open.remove(part);
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
        let open = open.iter().map(|(topic, number, end)| (((*topic).into(), *number), *end));
        Ends { open: open.collect(), starts: BTreeMap::new() }
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
    fn an_end_without_a_message_is_reached_when_it_is_told() {
        let mut ends = ends(&[("a", 0, 5), ("b", 0, 7)]);
        ends.reached(&("a".into(), 0));
        assert!(!ends.is_open(&("a".into(), 0)) && ends.is_open(&("b".into(), 0)));
    }
}
