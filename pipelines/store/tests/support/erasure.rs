//! What the tests of erasure share: frames in which one person's events stand among others.

use etalage_model::{Binding, Message, Position, Record};
use etalage_store::{Becomes, Frame, Log, Rewritten, StoreError};

use super::records;

/// Who is erased.
pub(crate) const WHO: &str = "customer-to-be-forgotten";

/// The `n`-th frame, in which the person has no event; some frames are bound, some are empty.
pub(crate) fn frame(n: u64) -> Frame {
    let position = Position { source: "shop.events".into(), partition: (n % 3) as u32, next: n };
    let binding = match n % 4 {
        0 => Binding { positions: vec![position], goes_live: n.is_multiple_of(8) },
        _ => Binding::default(),
    };
    Frame { tick: 1_000 + n / 2, records: records(n * 10, n % 6), binding }
}

/// The `n`-th frame, in which every second event is the person's.
pub(crate) fn mixed(n: u64) -> Frame {
    let mut frame = frame(n);
    for record in frame.records.iter_mut().filter(|record| record.content.is_multiple_of(2) || n.is_multiple_of(5)) {
        if let Message::Event(event) = &mut record.message {
            event.user_id = Some(WHO.to_owned());
        }
    }
    frame
}

/// Whether a record is not the person's.
pub(crate) fn is_kept(record: &Record) -> bool {
    !matches!(&record.message, Message::Event(event) if event.user_id.as_deref() == Some(WHO))
}

/// Rewrites the log without what is not to be kept.
pub(crate) fn rewrite(log: &mut Log, keep: &mut dyn FnMut(&Record) -> bool) -> Result<Rewritten, StoreError> {
    log.rewrite(&mut |record| if keep(record) { Becomes::Kept } else { Becomes::Dropped })
}

/// What is left of a frame.
pub(crate) fn kept(frame: &Frame) -> Frame {
    Frame { records: frame.records.iter().filter(|record| is_kept(record)).cloned().collect(), ..frame.clone() }
}

/// Whether the person is named anywhere in `bytes`.
pub(crate) fn is_named_in(bytes: &[u8]) -> bool {
    bytes.windows(WHO.len()).any(|part| part == WHO.as_bytes())
}
