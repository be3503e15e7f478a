//! What is known of the events outside of the process.

use std::collections::BTreeMap;

use serde_json::json;

/// Different items.
pub(super) const ITEMS: u64 = 7;
/// Units of each purchase.
pub(super) const UNITS: u64 = 2;
/// Events of one request.
const BATCH: usize = 50;

/// Makes events long, so that the log soon fills several segments.
const LONG_NAME: &str =
    "somebody whose name is so very long that it takes up most of the place that an event has in the log";

/// Every event that was ever sent.
#[derive(Default)]
pub(super) struct Ledger {
    /// Number → acknowledged.
    events: BTreeMap<u64, bool>,
    /// Batches that were cut off, and not yet sent again, by lane.
    cut: BTreeMap<usize, Batch>,
    next: u64,
    /// What the answers to batches that were sent again told of the first time.
    pub(super) were_stored: usize,
    pub(super) were_not_stored: usize,
}

/// Events that are sent together.
#[derive(Clone)]
pub(super) struct Batch {
    pub(super) numbers: Vec<u64>,
    /// Whether all of it was sent before.
    sent_before: Option<bool>,
}

impl Ledger {
    /// What a lane sends next: what was cut off, else something new.
    pub(super) fn next(&mut self, lane: usize) -> Batch {
        if let Some(batch) = self.cut.remove(&lane) {
            return batch;
        }
        let numbers: Vec<u64> = (self.next..).take(BATCH).collect();
        self.next += BATCH as u64;
        self.events.extend(numbers.iter().map(|number| (*number, false)));
        Batch { numbers, sent_before: None }
    }

    /// A batch got no answer. `is_sent` where all of it was on its way.
    pub(super) fn cut_off(&mut self, lane: usize, batch: Batch, is_sent: bool) {
        let sent_before = Some(is_sent || batch.sent_before == Some(true));
        self.cut.insert(lane, Batch { sent_before, ..batch });
    }

    /// A batch was answered.
    pub(super) fn answered(&mut self, batch: &Batch, statuses: &[&str]) {
        assert_eq!(statuses.len(), batch.numbers.len());
        let stored = statuses.iter().filter(|status| **status == "stored").count();
        let duplicates = statuses.iter().filter(|status| **status == "duplicate").count();
        assert_eq!(stored + duplicates, statuses.len(), "{statuses:?}");
        assert!(stored == 0 || duplicates == 0, "a request is stored as a whole: {statuses:?}");
        match batch.sent_before {
            None => assert_eq!(duplicates, 0, "what is new is no duplicate"),
            Some(false) => assert_eq!(duplicates, 0, "half a request is not stored"),
            Some(true) if stored == 0 => self.were_stored += 1,
            Some(true) => self.were_not_stored += 1,
        }
        self.events.extend(batch.numbers.iter().map(|number| (*number, true)));
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.events.keys().copied()
    }

    pub(super) fn is_acknowledged(&self, number: u64) -> bool {
        self.events[&number]
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.events.values().filter(|acknowledged| **acknowledged).count()
    }
}

pub(super) fn item(number: u64) -> String {
    format!("i{}", number % ITEMS)
}

/// The request that buys an item for each number.
pub(super) fn body(numbers: &[u64]) -> String {
    let line = |number: &u64| {
        let items = json!([{ "item_id": item(*number), "price": 1, "quantity": UNITS }]);
        let properties = json!({ "transaction_id": format!("t{number}"), "items": items });
        let id = format!("e{number}");
        format!("{}\n", json!({ "messageId": id, "event": "purchase", "userId": LONG_NAME, "properties": properties }))
    };
    numbers.iter().map(line).collect()
}
