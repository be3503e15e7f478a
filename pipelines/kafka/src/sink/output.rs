//! The topics that the sink writes: the outbox knows each by its number.

use etalage_model::{Value, ViewInfo, key::value_json};

use super::SinkOptions;
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
}

/// A value as JSON, `null` where there is none.
pub(super) fn json(value: Option<&Value>) -> String {
    value.map_or_else(|| "null".to_owned(), |value| value_json(&**value))
}
