//! A reader of sealed ticks that keeps what it was told, and marks some of it, to be compared with the oracles later.

use std::{collections::BTreeMap, sync::Arc};

use etalage_model::{Changes, Group, Key, SealedTick, Tick, Value, key::value_json};
use etalage_views::{UnknownStock, audit::StockAudit};
use parking_lot::Mutex;

use crate::disk::SimDisk;

/// View → key → JSON of the value.
pub(crate) type Rows = BTreeMap<&'static str, BTreeMap<Key, String>>;

/// What was published of a group as of a tick.
pub(crate) struct Mark {
    pub(crate) group: Group,
    pub(crate) as_of: Tick,
    pub(crate) rows: Rows,
}

/// What a reader has seen of one process. Clones share it.
#[derive(Clone)]
pub(crate) struct Reader {
    disk: SimDisk,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    groups: [Of; 2],
    audit: Option<StockAudit>,
    /// A mark is wanted at the next tick of a group.
    wanted: [bool; 2],
    marks: Vec<Mark>,
    /// What must not happen, and did.
    wrong: Vec<String>,
}

#[derive(Default)]
struct Of {
    upper: Tick,
    rows: BTreeMap<&'static str, BTreeMap<Key, Value>>,
}

impl Reader {
    /// A reader of a process with this disk: once that is dead, nobody hears of it.
    pub(crate) fn new(disk: SimDisk, audits: Option<UnknownStock>) -> Reader {
        let (groups, wanted) = (Default::default(), [false; 2]);
        let audit = audits.map(StockAudit::new);
        Reader {
            disk,
            seen: Arc::new(Mutex::new(Seen { groups, audit, wanted, marks: Vec::new(), wrong: Vec::new() })),
        }
    }

    /// Wants a mark at the next tick of a group.
    pub(crate) fn want(&self, group: Group) {
        self.seen.lock().wanted[group as usize] = true;
    }

    /// Marks what is published now.
    pub(crate) fn mark(&self, group: Group) {
        let mut seen = self.seen.lock();
        let mark = seen.groups[group as usize].mark(group);
        seen.marks.push(mark);
    }

    /// As of which ticks the groups were published last.
    pub(crate) fn published(&self) -> [Tick; 2] {
        let seen = self.seen.lock();
        [0, 1].map(|at| seen.groups[at].upper.saturating_sub(1))
    }

    /// Looks at what was marked.
    pub(crate) fn with_marks<T>(&self, look: impl FnOnce(&[Mark]) -> T) -> T {
        look(&self.seen.lock().marks)
    }

    /// What was marked, and what was wrong.
    pub(crate) fn take(&self) -> (Vec<Mark>, Vec<String>) {
        let mut seen = self.seen.lock();
        (std::mem::take(&mut seen.marks), std::mem::take(&mut seen.wrong))
    }
}

impl Changes for Reader {
    fn sealed(&mut self, tick: &Arc<SealedTick>) {
        if self.disk.is_dead() {
            return;
        }
        let mut seen = self.seen.lock();
        let at = tick.group as usize;
        let before = seen.groups[at].upper;
        if tick.lower != before || tick.upper <= tick.lower {
            let wrong =
                format!("{:?} was sealed up to {before}, then from {} to {}", tick.group, tick.lower, tick.upper);
            seen.wrong.push(wrong);
        }
        if tick.group == Group::Shop {
            let shown: Vec<_> = seen.audit.iter_mut().flat_map(|audit| audit.violations(tick)).collect();
            seen.wrong
                .extend(shown.iter().map(|item| format!("{item} is shown as of {} and not sellable", tick.as_of())));
        }
        seen.groups[at].take(tick);
        if std::mem::take(&mut seen.wanted[at]) {
            let mark = seen.groups[at].mark(tick.group);
            seen.marks.push(mark);
        }
    }
}

impl Of {
    fn take(&mut self, tick: &SealedTick) {
        self.upper = tick.upper;
        for batch in &tick.batches {
            let rows = self.rows.entry(batch.view).or_default();
            for (key, value) in batch.changes() {
                match value {
                    Some(value) => rows.insert(key, value),
                    None => rows.remove(&key),
                };
            }
        }
    }

    fn mark(&self, group: Group) -> Mark {
        let json = |rows: &BTreeMap<Key, Value>| {
            rows.iter().map(|(key, value)| (key.clone(), value_json(value.as_ref()))).collect::<BTreeMap<_, _>>()
        };
        let rows = self.rows.iter().filter(|(_, rows)| !rows.is_empty()).map(|(view, rows)| (*view, json(rows)));
        Mark { group, as_of: self.upper.saturating_sub(1), rows: rows.collect() }
    }
}
