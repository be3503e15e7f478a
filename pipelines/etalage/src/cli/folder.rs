//! Where the store of a replay or a demonstration lies: in a temporary folder, or in one that is
//! named and fresh.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::CliError;

/// The folder; a temporary one goes away with this value.
pub(super) enum Folder {
    /// Named on the command line.
    Given(PathBuf),
    /// Made for this run.
    Temporary(tempfile::TempDir),
}

impl Folder {
    /// The folder `given`, which must be empty or missing unless `append`; a temporary one where
    /// none is given.
    ///
    /// # Errors
    /// Where it holds something, or none can be made.
    pub(super) fn choose(given: Option<&Path>, append: bool) -> Result<Folder, CliError> {
        let Some(dir) = given else {
            let made = tempfile::Builder::new().prefix("etalage-").tempdir();
            let failed = |error: io::Error| CliError::Failed(format!("no temporary folder can be made: {error}"));
            return made.map(Folder::Temporary).map_err(failed);
        };
        let is_used = fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
        if is_used && !append {
            let dir = dir.display();
            let message = format!("{dir} is not empty, and this begins with a fresh store; name another --data-dir");
            return Err(CliError::Usage(message));
        }
        Ok(Folder::Given(dir.to_owned()))
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        match self {
            Folder::Given(dir) => dir,
            Folder::Temporary(dir) => dir.path(),
        }
    }
}
