//! The topics that the sink writes: the outbox knows each by its number.

use etalage_model::{Tick, Value, ViewInfo, key::value_json};

use super::{SinkOptions, message};
use crate::topics;

/// A topic of a view.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(super) view: ViewInfo,
    pub(crate) topic: String,
    /// Whether it tells each change, with the value before it; otherwise the newest value of each key.
    pub(crate) tells_changes: bool,
}

impl Output {
    /// The topics of `options`.
    pub(super) fn all(options: &SinkOptions) -> Vec<Output> {
        let newest = options.views.iter().map(|view| Output {
            view: view.clone(),
            topic: topics::of_view(&options.prefix, view.name),
            tells_changes: false,
        });
        let is_told = |view: &&ViewInfo| options.change_streams.iter().any(|name| name == view.name);
        let changes = options.views.iter().filter(is_told).map(|view| Output {
            view: view.clone(),
            topic: topics::of_changes(&options.prefix, view.name),
            tells_changes: true,
        });
        newest.chain(changes).collect()
    }

    /// True where a key that has no value any more is told of before its tombstone. Of people it is not: what stood
    /// before is not written anew, since it may be of somebody who was erased.
    pub(super) fn tells_ends(&self) -> bool {
        self.tells_changes && !self.view.is_personal
    }

    /// What is sent of a key; nothing is a tombstone.
    pub(super) fn payload(&self, as_of: Tick, before: Option<&Value>, value: Option<&Value>) -> Option<String> {
        match value {
            None if before.is_none() || !self.tells_ends() => None,
            _ if self.tells_changes => Some(message::change(as_of, before, value)),
            value => value.map(|value| json(Some(value))),
        }
    }
}

/// A value as JSON, `null` where there is none.
pub(super) fn json(value: Option<&Value>) -> String {
    value.map_or_else(|| "null".to_owned(), |value| value_json(&**value))
}
