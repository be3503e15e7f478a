//! How far ticks may have come in the process before this one: idle ticks stand in no frame of the log, and whoever
//! read at one may go on from it only if every tick of this process lies above.
//!
//! A process that mints ticks reserves them ahead, a quarter of a second at a time: a write to the same few bytes,
//! which survives the process. It need not survive the machine: what was reserved before the last boot tells nothing.
//!
//! ```text
//!   0  magic "etltick"   7  format version   8  until u64   16  boot u64   24  crc32 of 0..24
//! ```

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use etalage_model::{Tick, hash::hash64};

use crate::{StoreError, disk::Disk};

/// The file in the store's folder.
pub const RESERVED_FILE: &str = "ticks.reserved";

/// How far ahead ticks are reserved: 250 ms.
pub const RESERVE_US: u64 = 250_000;

const MAGIC: [u8; 8] = *b"etltick\x01";
const BYTES: usize = 28;

/// The ticks that a process may mint.
pub struct Reserved {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    boot: u64,
    until: Tick,
}

impl Reserved {
    /// Opens what is reserved in `dir` by whoever holds its lock; `boot` names the run of the machine. Also gives
    /// the tick below which all ticks of the process before lie, where that is known.
    ///
    /// # Errors
    /// Where the file cannot be read or made.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, boot: &str) -> Result<(Reserved, Option<Tick>), StoreError> {
        let (path, boot) = (dir.join(RESERVED_FILE), hash64(boot.as_bytes()));
        let found = match disk.open_to_read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut file = disk.create(&path).map_err(StoreError::io("create", &path))?;
                file.append(&to_bytes(0, 0)).map_err(StoreError::io("write", &path))?;
                None
            }
            opened => {
                let file = opened.map_err(StoreError::io("open", &path))?;
                let mut bytes = [0; BYTES];
                // A file that is not whole tells nothing.
                file.read_at(0, &mut bytes).ok().and_then(|()| read(&bytes))
            }
        };
        let known = found.filter(|(_, of_boot)| *of_boot == boot).map(|(until, _)| until);
        Ok((Reserved { disk, path, boot, until: 0 }, known))
    }

    /// Sees to it that `tick` is reserved, before anybody is told of it.
    ///
    /// # Errors
    /// Where it cannot be written: then nothing may be told of the tick.
    pub fn take(&mut self, tick: Tick) -> Result<(), StoreError> {
        if tick >= self.until {
            let until = tick + RESERVE_US;
            self.disk
                .write_start(&self.path, &to_bytes(until, self.boot))
                .map_err(StoreError::io("write", &self.path))?;
            self.until = until;
        }
        Ok(())
    }
}

fn to_bytes(until: Tick, boot: u64) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&until.to_le_bytes());
    bytes[16..24].copy_from_slice(&boot.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..24]);
    bytes[24..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Until when, and in which run of the machine.
fn read(bytes: &[u8; BYTES]) -> Option<(Tick, u64)> {
    let word = |at: usize| bytes[at..].first_chunk::<8>().map(|word| u64::from_le_bytes(*word));
    let crc = bytes.last_chunk::<4>().map(|crc| u32::from_le_bytes(*crc));
    let is_whole = bytes[..8] == MAGIC && crc == Some(crc32fast::hash(&bytes[..24]));
    is_whole.then(|| word(8).zip(word(16)))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    fn open(dir: &Path, boot: &str) -> (Reserved, Option<Tick>) {
        Reserved::open(Arc::new(RealDisk), dir, boot).expect("a folder that can be written")
    }

    #[test]
    fn what_was_reserved_is_known_until_the_machine_starts_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut reserved, known) = open(dir.path(), "one");
        assert_eq!(known, None);
        for tick in [7, 8, 7 + RESERVE_US] {
            reserved.take(tick).expect("it can be written");
        }
        drop(reserved);
        let (mut reserved, known) = open(dir.path(), "one");
        assert_eq!(known, Some(7 + 2 * RESERVE_US), "all ticks that may have been told lie below");
        reserved.take(9 * RESERVE_US).expect("it can be written");
        assert_eq!(open(dir.path(), "another").1, None);
        assert_eq!(open(dir.path(), "one").1, Some(10 * RESERVE_US));
    }

    #[test]
    fn a_file_that_is_not_whole_tells_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        open(dir.path(), "one").0.take(7).expect("it can be written");
        let path = dir.path().join(RESERVED_FILE);
        let whole = std::fs::read(&path).expect("the file");
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &flipped).expect("the file");
            assert_eq!(open(dir.path(), "one").1, None, "bit {bit}");
        }
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).expect("the file");
            assert_eq!(open(dir.path(), "one").1, None, "{length} bytes");
        }
    }
}
