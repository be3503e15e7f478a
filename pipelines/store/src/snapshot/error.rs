//! What can go wrong with snapshots.

/// Why a snapshot could not be written, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The place is none that this build knows.
    #[error("snapshots cannot be kept at {url}: {reason}")]
    Place {
        /// The place as configured.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The place could not be read or written.
    #[error("cannot {action} {path}: {error}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or object.
        path: String,
        /// What the system said.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server of the place could not be reached, or refused.
    #[error("cannot {action} {path}: {reason}; {cure}")]
    Server {
        /// What was tried, as a verb.
        action: &'static str,
        /// The object.
        path: String,
        /// What was said.
        reason: String,
        /// What to do.
        cure: String,
    },
    /// A file is not what was written.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file or object.
        path: String,
        /// What does not check out.
        what: String,
    },
    /// The snapshot was written by a later version.
    #[error(
        "{path} has format version {found}, and this build reads up to version {known}: start it with a newer etalage"
    )]
    Newer {
        /// The manifest.
        path: String,
        /// Its version.
        found: u32,
        /// The newest one that this build reads.
        known: u32,
    },
    /// A row is longer than any may be, or not whole.
    #[error("a row is longer than {limit} bytes, or not whole")]
    RowTooLong {
        /// The most.
        limit: u64,
    },
}

impl SnapshotError {
    /// Wraps what an object store said, for `map_err`.
    pub(crate) fn io(action: &'static str, path: &str) -> impl FnOnce(object_store::Error) -> SnapshotError {
        let path = path.to_owned();
        move |error| SnapshotError::Io { action, path, error: error.into() }
    }

    pub(crate) fn damaged(path: &str, what: impl Into<String>) -> SnapshotError {
        SnapshotError::Damaged { path: path.to_owned(), what: what.into() }
    }

    /// True where another snapshot may do: this one is no use, and nothing else is wrong.
    pub fn is_about_one(&self) -> bool {
        matches!(self, SnapshotError::Damaged { .. } | SnapshotError::Newer { .. })
    }
}
