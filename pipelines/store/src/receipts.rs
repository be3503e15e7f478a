//! The receipts of erasures: one JSON line for each, beside the log.
//!
//! **Nobody is named**: a receipt holds a keyed hash of the id ([`Receipts::name`]); whoever has the
//! folder and the id can find the receipt, and nobody can find the id. The key is drawn when the
//! receipts are first opened, and only the owner of the folder may read it.
//! **Durable**: [`Receipts::append`] returns when the line is on the device. **One writer**: whoever
//! appends holds the lock of the [`Log`](crate::Log). **Bound**: [`Receipts::list`] gives the newest
//! [`MAX_RECEIPTS`] of those that stand in the last 8 MiB of the file.

use std::{
    fmt::Write,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use etalage_model::{Micros, Tick};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::{
    Fate, StoreError,
    disk::{Disk, RealDisk},
    log::is_full,
};

/// The file's name in its folder.
pub const RECEIPTS_FILE: &str = "receipts.jsonl";

/// The name of the key's file. Without it, no receipt can be told to be a certain person's.
pub const RECEIPTS_KEY_FILE: &str = "receipts.key";

/// The most receipts that one [`Receipts::list`] gives.
pub const MAX_RECEIPTS: usize = 10_000;

/// How much of the file's end is looked at.
const TAIL_BYTES: u64 = 8 * 1024 * 1024;

const NEW_KEY_FILE: &str = "receipts.key.new";
const KEY_BYTES: usize = 32;
/// The block of SHA-256: a key is filled up to it with zeros.
const BLOCK_BYTES: usize = 64;

/// What was erased, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Tells receipts apart.
    pub receipt_id: String,
    /// The keyed hash of the erased profile's id, as [`Receipts::name`] gives it.
    pub profile: String,
    /// The tick from which on no view holds anything of the id. Streams that go on from before it are told
    /// that its keys are gone.
    pub as_of: Tick,
    /// Wall-clock time of the erasure.
    pub erased_at: Micros,
    /// Records that the log dropped.
    pub records: u64,
    /// Records that the quarantine dropped.
    pub quarantined: u64,
}

/// The receipts of one store.
pub struct Receipts {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    path: PathBuf,
    key: [u8; KEY_BYTES],
    /// How far whole lines go; what follows is what an append that never finished left.
    whole_bytes: u64,
    /// Whether the name of the file is on the device.
    is_named: bool,
    /// The first error that left the disk in doubt.
    poison: Option<String>,
}

impl Receipts {
    /// Opens the receipts in the folder `dir`, which must exist; draws a key where there is none.
    ///
    /// # Errors
    /// [`StoreError::MissingKey`] where there are receipts already and no key, [`StoreError::Corrupt`]
    /// where key or receipts are damaged.
    pub fn open(dir: &Path) -> Result<Receipts, StoreError> {
        Receipts::open_on(Arc::new(RealDisk), dir)
    }

    /// As [`Receipts::open`], on another disk.
    ///
    /// # Errors
    /// As [`Receipts::open`].
    pub fn open_on(disk: Arc<dyn Disk>, dir: &Path) -> Result<Receipts, StoreError> {
        let path = dir.join(RECEIPTS_FILE);
        let tail = read_tail(&*disk, &path)?;
        let (_, whole_bytes) = parse(&path, &tail)?;
        let key = match read_key(&*disk, dir)? {
            Some(key) => key,
            None if whole_bytes > 0 => {
                return Err(StoreError::MissingKey { path: dir.join(RECEIPTS_KEY_FILE), receipts: path });
            }
            None => make_key(&*disk, dir)?,
        };
        Ok(Receipts { disk, dir: dir.to_path_buf(), path, key, whole_bytes, is_named: false, poison: None })
    }

    /// How a receipt names `id`: HMAC-SHA-256 with the key of this store, in hexadecimal digits.
    pub fn name(&self, id: &str) -> String {
        let mut text = String::with_capacity(64);
        for byte in keyed_hash(&self.key, id.as_bytes()) {
            // Writing into a text does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// Adds a receipt; durable when it returns `Ok`.
    ///
    /// # Errors
    /// [`StoreError::Full`] may be tried again. [`StoreError::Write`] says what became of the line;
    /// after it, every further append is [`StoreError::Poisoned`].
    pub fn append(&mut self, receipt: &Receipt) -> Result<(), StoreError> {
        if let Some(cause) = &self.poison {
            return Err(StoreError::Poisoned { cause: cause.clone() });
        }
        let mut line =
            serde_json::to_vec(receipt).map_err(|error| StoreError::io("encode for", &self.path)(error.into()))?;
        line.push(b'\n');
        let opened = match self.disk.open_to_append(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.disk.create(&self.path),
            opened => opened,
        };
        let mut file = match opened {
            Err(error) if is_full(&error) => return Err(StoreError::Full { path: self.path.clone(), error }),
            opened => opened.map_err(StoreError::io("open", &self.path))?,
        };
        let size = file.size().map_err(StoreError::io("read", &self.path))?;
        if size > self.whole_bytes {
            let cut_bytes = size - self.whole_bytes;
            tracing::warn!(file = %self.path.display(), cut_bytes, "removed a torn tail of the receipts");
            file.cut(self.whole_bytes).map_err(|error| self.poisoned("cut", Fate::Failed, error))?;
        }
        if let Err(error) = file.append(&line) {
            return Err(match file.cut(self.whole_bytes) {
                Ok(()) if is_full(&error) => StoreError::Full { path: self.path.clone(), error },
                Ok(()) => self.poisoned("write", Fate::Failed, error),
                Err(_) => self.poisoned("write", Fate::Unknown, error),
            });
        }
        file.sync_data().map_err(|error| self.poisoned("sync", Fate::Unknown, error))?;
        if !self.is_named {
            self.disk.sync_folder(&self.dir).map_err(|error| self.poisoned("sync", Fate::Unknown, error))?;
            self.is_named = true;
        }
        self.whole_bytes += line.len() as u64;
        Ok(())
    }

    /// The newest receipts, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where a line is no receipt, [`StoreError::Io`] where the file cannot be
    /// read.
    pub fn list(&self) -> Result<Vec<Receipt>, StoreError> {
        let (mut receipts, _) = parse(&self.path, &read_tail(&*self.disk, &self.path)?)?;
        receipts.drain(..receipts.len().saturating_sub(MAX_RECEIPTS));
        Ok(receipts)
    }

    fn poisoned(&mut self, action: &'static str, fate: Fate, error: io::Error) -> StoreError {
        let error = StoreError::Write { action, path: self.path.clone(), fate, error };
        self.poison = Some(error.to_string());
        error
    }
}

/// The last bytes of a file, and where they begin.
struct Tail {
    from: u64,
    bytes: Vec<u8>,
}

fn read_tail(disk: &dyn Disk, path: &Path) -> Result<Tail, StoreError> {
    let file = match disk.open_to_read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Tail { from: 0, bytes: Vec::new() }),
        opened => opened.map_err(StoreError::io("open", path))?,
    };
    let size = file.size().map_err(StoreError::io("read", path))?;
    let from = size.saturating_sub(TAIL_BYTES);
    let mut bytes = vec![0; (size - from) as usize];
    file.read_at(from, &mut bytes).map_err(StoreError::io("read", path))?;
    Ok(Tail { from, bytes })
}

/// The receipts in `tail`, and where the last of them ends. What follows it and is no receipt is torn
/// (a power loss may leave an end of line and not what stands before it).
fn parse(path: &Path, tail: &Tail) -> Result<(Vec<Receipt>, u64), StoreError> {
    let Tail { from, bytes } = tail;
    // The first line may begin before the tail.
    let start = if *from == 0 { 0 } else { bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1) };
    let (mut receipts, mut whole, mut at) = (Vec::new(), start, start);
    let mut is_torn = false;
    for line in bytes[start..].split_inclusive(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(receipt) if !is_torn && line.ends_with(b"\n") => {
                receipts.push(receipt);
                whole = at + line.len();
            }
            Ok(_) if is_torn => {
                let what = "it is no receipt, and one follows".to_owned();
                return Err(StoreError::Corrupt { path: path.to_path_buf(), offset: from + whole as u64, what });
            }
            _ => is_torn = true,
        }
        at += line.len();
    }
    Ok((receipts, from + whole as u64))
}

fn read_key(disk: &dyn Disk, dir: &Path) -> Result<Option<[u8; KEY_BYTES]>, StoreError> {
    let path = dir.join(RECEIPTS_KEY_FILE);
    let file = match disk.open_to_read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(StoreError::io("open", &path))?,
    };
    let size = file.size().map_err(StoreError::io("read", &path))?;
    if size != KEY_BYTES as u64 {
        return Err(StoreError::Corrupt {
            path,
            offset: 0,
            what: format!("it has {size} bytes, and a key {KEY_BYTES}"),
        });
    }
    let mut key = [0; KEY_BYTES];
    file.read_at(0, &mut key).map_err(StoreError::io("read", &path))?;
    Ok(Some(key))
}

/// Draws a key. The file has its name only when it is whole and on the device.
fn make_key(disk: &dyn Disk, dir: &Path) -> Result<[u8; KEY_BYTES], StoreError> {
    let (new, path) = (dir.join(NEW_KEY_FILE), dir.join(RECEIPTS_KEY_FILE));
    match disk.remove(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(StoreError::io("remove", &new)(error)),
        _ => {}
    }
    let key = disk.draw_key().map_err(StoreError::io("draw a key for", &path))?;
    let mut file = disk.create_private(&new).map_err(StoreError::io("create", &new))?;
    file.append(&key).map_err(StoreError::io("write", &new))?;
    file.sync_data().map_err(StoreError::io("sync", &new))?;
    disk.rename(&new, &path).map_err(StoreError::io("rename to", &path))?;
    disk.sync_folder(dir).map_err(StoreError::io("sync", dir))?;
    Ok(key)
}

fn keyed_hash(key: &[u8; KEY_BYTES], text: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK_BYTES];
    block[..KEY_BYTES].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(text);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases of RFC 4231 whose keys fit into one of ours: a shorter key is filled up with zeros.
    #[test]
    fn the_keyed_hash_is_that_of_the_standard() {
        let key = |bytes: &[u8]| {
            let mut key = [0; KEY_BYTES];
            key[..bytes.len()].copy_from_slice(bytes);
            key
        };
        let counted: Vec<u8> = (1..=25).collect();
        let cases: [(&[u8], &[u8], &str); 4] = [
            (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            (&counted, &[0xcd; 50], "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
        ];
        for (bytes, text, expected) in cases {
            let found: String = keyed_hash(&key(bytes), text).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(found, expected);
        }
    }
}
