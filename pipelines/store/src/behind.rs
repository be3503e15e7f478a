//! Writing behind: the device catches up with a log that does not wait for it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        mpsc::{self, SyncSender},
    },
};

use crate::disk::Disk;

/// Has the device catch up with a log that does not wait for it, on a thread of its own: a new segment
/// waits until the one before is on the device, and then has little to wait for.
pub(crate) struct WriteBehind {
    segments: SyncSender<PathBuf>,
    /// How much is appended before it is asked to.
    every_bytes: u64,
    bytes: u64,
    /// The first sync that failed: nothing after it may be trusted to the disk.
    failed: Arc<OnceLock<io::Error>>,
}

impl WriteBehind {
    /// Begins to catch up, whenever `every_bytes` were appended.
    pub(crate) fn begin(disk: Arc<dyn Disk>, every_bytes: u64) -> io::Result<WriteBehind> {
        let (segments, asked) = mpsc::sync_channel::<PathBuf>(1);
        let failed = Arc::new(OnceLock::new());
        let told = Arc::clone(&failed);
        let catch_up = move || {
            for path in asked {
                // A file that cannot be opened now is synced by the log itself.
                let Ok(file) = disk.open_to_read(&path) else { continue };
                if let Err(error) = file.sync_data() {
                    let _ = told.set(error);
                    return;
                }
            }
        };
        std::thread::Builder::new().name("write-behind".into()).spawn(catch_up)?;
        Ok(WriteBehind { segments, every_bytes, bytes: 0, failed })
    }

    /// So much was appended to a segment.
    pub(crate) fn appended(&mut self, bytes: u64, path: &Path) {
        self.bytes += bytes;
        if self.bytes >= self.every_bytes && self.segments.try_send(path.to_owned()).is_ok() {
            self.bytes = 0;
        }
    }

    /// Another segment begins, of which nothing is written yet.
    pub(crate) fn begins_anew(&mut self) {
        self.bytes = 0;
    }

    /// The error that ended it.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.failed.get().map(|error| io::Error::new(error.kind(), error.to_string()))
    }
}
