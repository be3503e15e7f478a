//! A feed as a file, written as a whole or not at all.

use std::{
    fs::{File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use etalage_model::{Micros, Tick};
use serde::{Deserialize, Serialize};

/// The owner writes it, everybody reads it, as far as the process's umask lets them.
const FILE_MODE: u32 = 0o644;

/// Why a feed was not written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {error}; the file of before stays", .path.display())]
pub struct FeedError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub error: io::Error,
}

/// What stands beside the file, in a file of its own with `.json` behind its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The instant as of which what the file offers is sellable.
    pub as_of: String,
    /// The same as a tick.
    pub tick: Tick,
    /// How many products it has.
    pub rows: usize,
    /// How many of them are offered.
    pub offered: usize,
    /// XXH3 of the file, in hex: which file this is about.
    pub xxh3: String,
}

/// Writes `feed` to `path`: whoever reads the file sees the one of before or this one. Then says beside
/// it as of which tick it holds.
///
/// # Errors
/// Where it cannot be written; the file of before stays then.
pub fn write(path: &Path, feed: &str, offered: usize, tick: Tick) -> Result<Written, FeedError> {
    let written = Written {
        as_of: Micros(tick).to_string(),
        tick,
        rows: feed.lines().count().saturating_sub(1),
        offered,
        xxh3: format!("{:016x}", xxhash_rust::xxh3::xxh3_64(feed.as_bytes())),
    };
    let done = replace(path, feed.as_bytes()).and_then(|()| tell(path, &written));
    done.map(|()| written).map_err(|error| FeedError { path: path.to_owned(), error })
}

/// Says that the file that was `written` holds as of a later tick as well: nothing in it has changed.
///
/// # Errors
/// Where that cannot be written.
pub fn confirm(path: &Path, written: &mut Written, tick: Tick) -> Result<(), FeedError> {
    (written.as_of, written.tick) = (Micros(tick).to_string(), tick);
    tell(path, written).map_err(|error| FeedError { path: path.to_owned(), error })
}

/// Writes what is said of a file beside it.
fn tell(path: &Path, written: &Written) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".json");
    replace(Path::new(&beside), serde_json::to_string(written)?.as_bytes())
}

/// Puts `bytes` in the place of a file: on the device, then under its name.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Whoever serves the file must be able to read it.
    let readable = Permissions::from_mode(FILE_MODE);
    let mut new = tempfile::Builder::new().permissions(readable).tempfile_in(folder)?;
    new.write_all(bytes)?;
    new.as_file().sync_all()?;
    new.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_says_as_of_when_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("feed.tsv");
        write(&path, "id\n", 0, 1).unwrap();
        let mut written = write(&path, "id\n7\n", 1, 7).unwrap();
        confirm(&path, &mut written, 1_291_191_960_000_000).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "id\n7\n");
        let beside: Written = serde_json::from_slice(&fs::read(folder.path().join("feed.tsv.json")).unwrap()).unwrap();
        assert_eq!(beside, written);
        assert_eq!((beside.rows, beside.as_of.as_str()), (1, "2010-12-01T08:26:00.000000Z"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left behind");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o444, 0o444, "others can read it");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = write(Path::new("/no/such/folder/feed.tsv"), "", 0, 0).unwrap_err();
        assert!(error.to_string().contains("/no/such/folder/feed.tsv"), "{error}");
    }
}
