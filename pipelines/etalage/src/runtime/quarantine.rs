//! The quarantine's own thread: refused records are written in batches, off the way of those that
//! are stored. Its queue is bounded; when it is full the sequencer waits, and nothing is lost.

use std::{sync::Arc, thread::JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use etalage_model::Quarantined;
use etalage_store::{Quarantine, StoreError};

/// Records that wait to be written.
pub(super) const QUEUE_RECORDS: usize = 8_192;

/// Something for the writer.
pub(super) enum Item {
    /// A record; its number is given when it is written.
    Record(Quarantined),
    /// Answers when everything before is written.
    Flush(Sender<()>),
    /// Writes the file anew without what is not to be kept, after everything before; answers how many
    /// records that were.
    Rewrite { keep: Box<Keep>, done: Sender<Result<u64, StoreError>> },
}

/// Which records stay.
pub(super) type Keep = dyn FnMut(&Quarantined) -> bool + Send;

/// The writer's thread.
pub(super) struct Writer {
    quarantine: Arc<Quarantine>,
    items: Sender<Item>,
    thread: JoinHandle<()>,
}

impl Writer {
    pub(super) fn start(quarantine: Quarantine) -> std::io::Result<Writer> {
        let quarantine = Arc::new(quarantine);
        let (items, inbox) = bounded(QUEUE_RECORDS);
        let writing = Arc::clone(&quarantine);
        let thread = super::spawn("quarantine", move || write(&writing, &inbox))?;
        Ok(Writer { quarantine, items, thread })
    }

    pub(super) fn sender(&self) -> Sender<Item> {
        self.items.clone()
    }

    pub(super) fn reader(&self) -> Arc<Quarantine> {
        Arc::clone(&self.quarantine)
    }

    pub(super) fn stop(self) {
        drop(self.items);
        // The thread ends when the last sender is gone; a panic of its has been printed.
        let _ = self.thread.join();
    }
}

fn write(quarantine: &Quarantine, inbox: &Receiver<Item>) {
    while let Ok(first) = inbox.recv() {
        take(quarantine, first, inbox);
    }
}

/// Takes an item and what waits behind it.
pub(super) fn take(quarantine: &Quarantine, first: Item, inbox: &Receiver<Item>) {
    let (mut records, mut flushed, mut rewrites) = (Vec::new(), Vec::new(), Vec::new());
    for item in std::iter::once(first).chain(inbox.try_iter().take(QUEUE_RECORDS)) {
        match item {
            Item::Record(record) => records.push(record),
            Item::Flush(done) => flushed.push(done),
            Item::Rewrite { keep, done } => rewrites.push((keep, done)),
        }
    }
    let count = records.len() as u64;
    let written = if count > 0 { quarantine.add(records).map(|_| ()) } else { Ok(()) };
    if let Err(error) = written {
        metrics::counter!("etalage_quarantine_lost_total").increment(count);
        tracing::error!(%error, count, "refused records could not be written to the quarantine");
    }
    for (mut keep, done) in rewrites {
        // Whoever asked may have gone.
        let _ = done.send(quarantine.rewrite(&mut *keep));
    }
    for done in flushed {
        // Whoever asked may have gone.
        let _ = done.send(());
    }
}
