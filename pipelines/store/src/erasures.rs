//! How often something was erased from a store: a byte for each time, beside the log, on the device before the first
//! record goes. What was published before an erasure cannot be made again of what is stored after it.

use std::{io, path::Path};

use crate::{StoreError, disk::Disk};

/// The file's name in its folder.
pub const ERASURES_FILE: &str = "erasures";

/// How many erasures were begun.
///
/// # Errors
/// Where the file is there and cannot be read.
pub fn erasures(disk: &dyn Disk, dir: &Path) -> Result<u64, StoreError> {
    let path = dir.join(ERASURES_FILE);
    match disk.open_to_read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        opened => opened.and_then(|file| file.size()).map_err(StoreError::io("read", &path)),
    }
}

/// Says that one more is begun; durable when it returns `Ok`. Whoever calls it holds the lock of the log.
///
/// # Errors
/// Where it cannot be written; then nothing may be erased.
pub fn begin_erasure(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    let path = dir.join(ERASURES_FILE);
    let opened = match disk.open_to_append(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(&path),
        opened => opened,
    };
    let mut file = opened.map_err(StoreError::io("open", &path))?;
    file.append(b"\n").map_err(StoreError::io("write", &path))?;
    file.sync_data().map_err(StoreError::io("sync", &path))?;
    disk.sync_folder(dir).map_err(StoreError::io("sync", dir))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn erasures_are_counted() {
        let dir = tempfile::tempdir().expect("a folder");
        for count in 0..3 {
            assert_eq!(erasures(&RealDisk, dir.path()).expect("it can be read"), count);
            begin_erasure(&RealDisk, dir.path()).expect("it can be written");
        }
    }
}
