//! Where snapshots are: a folder, or whatever `object_store` reaches, behind calls that wait.

use std::{
    fmt, io,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use etalage_model::Tick;
use futures_util::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, local::LocalFileSystem, path::Path};
use tokio::runtime::{Builder, Runtime};

use super::SnapshotError;

const MANIFESTS: &str = "snapshots";
const CHUNKS: &str = "chunks";
const MANIFEST_END: &str = ".manifest";
const CHUNK_END: &str = ".zst";

/// A place for snapshots. Clones share it. Its calls block, and must not be made on a thread of an asynchronous
/// runtime.
#[derive(Clone)]
pub struct Place {
    store: Arc<dyn ObjectStore>,
    base: Path,
    shown: String,
    runtime: Arc<Runtime>,
    /// Where it is a folder.
    folder: Option<PathBuf>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({})", self.shown)
    }
}

/// A file in a place.
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

impl Place {
    /// The place that `url` names: a folder, or a URL such as `s3://bucket/etalage`, whose credentials come from
    /// the environment as `object_store` reads them.
    ///
    /// # Errors
    /// Where the folder cannot be made, or the URL is none that this build knows.
    pub fn open(url: &str) -> Result<Place, SnapshotError> {
        let wrong = |reason: String| SnapshotError::Place { url: url.to_owned(), reason };
        if !url.contains("://") {
            return Place::folder(FilePath::new(url));
        }
        let parsed = url::Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        if let Ok(folder) = parsed.to_file_path() {
            return Place::folder(&folder);
        }
        let environment = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let (store, base) =
            object_store::parse_url_opts(&parsed, environment).map_err(|error| wrong(error.to_string()))?;
        Place::of(Arc::from(store), base, url)
    }

    /// A folder, which is made where there is none.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn folder(dir: &FilePath) -> Result<Place, SnapshotError> {
        let shown = dir.display().to_string();
        let io = |error: std::io::Error| SnapshotError::Io {
            action: "make the folder",
            path: shown.clone(),
            error: error.into(),
        };
        std::fs::create_dir_all(dir).map_err(io)?;
        let store = LocalFileSystem::new_with_prefix(dir).map_err(SnapshotError::io("open", &shown))?;
        let place = Place::of(Arc::new(store.with_fsync(true)), Path::default(), &shown)?;
        Ok(Place { folder: Some(dir.to_path_buf()), ..place })
    }

    /// A place in memory, for tests.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn in_memory() -> Result<Place, SnapshotError> {
        Place::of(Arc::new(object_store::memory::InMemory::new()), Path::default(), "memory")
    }

    /// A place in another store of objects.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn within(store: Arc<dyn ObjectStore>, shown: &str) -> Result<Place, SnapshotError> {
        Place::of(store, Path::default(), shown)
    }

    fn of(store: Arc<dyn ObjectStore>, base: Path, shown: &str) -> Result<Place, SnapshotError> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("snapshot-io").enable_all().build();
        let runtime = runtime.map_err(|error| SnapshotError::Io {
            action: "start a thread for",
            path: shown.to_owned(),
            error: error.into(),
        })?;
        Ok(Place { store, base, shown: shown.to_owned(), runtime: Arc::new(runtime), folder: None })
    }

    /// A file's name as people know it.
    pub(crate) fn shown(&self, path: &Path) -> String {
        let under = path
            .prefix_match(&self.base)
            .map(|parts| parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"));
        format!("{}/{}", self.shown.trim_end_matches('/'), under.unwrap_or_else(|| path.to_string()))
    }

    pub(crate) fn manifest(&self, tick: Tick) -> Path {
        self.base.clone().join(MANIFESTS).join(format!("{tick:020}{MANIFEST_END}"))
    }

    pub(crate) fn chunk(&self, name: &str) -> Path {
        self.base.clone().join(CHUNKS).join(format!("{name}{CHUNK_END}"))
    }

    /// The ticks of all snapshots, oldest first.
    pub(crate) fn manifests(&self) -> Result<Vec<Tick>, SnapshotError> {
        let files = self.files(MANIFESTS)?;
        let tick = |file: &File| file.name.strip_suffix(MANIFEST_END).and_then(|digits| digits.parse().ok());
        let mut ticks: Vec<Tick> = files.iter().filter_map(tick).collect();
        ticks.sort_unstable();
        Ok(ticks)
    }

    /// All chunks that are there: names and lengths.
    pub(crate) fn chunks(&self) -> Result<Vec<File>, SnapshotError> {
        let files = self.files(CHUNKS)?.into_iter();
        let of_chunk =
            |file: File| Some(File { name: file.name.strip_suffix(CHUNK_END)?.to_owned(), bytes: file.bytes });
        Ok(files.filter_map(of_chunk).collect())
    }

    fn files(&self, folder: &str) -> Result<Vec<File>, SnapshotError> {
        let prefix = self.base.clone().join(folder);
        let listed = self.runtime.block_on(self.store.list(Some(&prefix)).try_collect::<Vec<_>>());
        let listed = listed.map_err(SnapshotError::io("list", &self.shown(&prefix)))?;
        let file = |meta: object_store::ObjectMeta| {
            Some(File { name: meta.location.filename()?.to_owned(), bytes: meta.size })
        };
        Ok(listed.into_iter().filter_map(file).collect())
    }

    pub(crate) fn put(&self, path: &Path, bytes: Vec<u8>) -> Result<(), SnapshotError> {
        let put = self.runtime.block_on(self.store.put(path, PutPayload::from(bytes)));
        put.map(|_| ()).map_err(SnapshotError::io("write", &self.shown(path)))
    }

    /// The whole file; `None` where there is none.
    pub(crate) fn get(&self, path: &Path) -> Result<Option<Bytes>, SnapshotError> {
        let got = self.runtime.block_on(async { self.store.get(path).await?.bytes().await });
        match got {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(SnapshotError::io("read", &self.shown(path))(error)),
        }
    }

    /// Removes what a process that was killed has left of files that it was writing, which a list does not show: in a
    /// folder they stand beside the file, as `name#1`. For whoever writes there, and does not at this moment.
    pub(crate) fn sweep(&self) -> Result<(), SnapshotError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        for name in [MANIFESTS, CHUNKS] {
            let dir = folder.join(name);
            let failed = |error: io::Error| SnapshotError::Io {
                action: "clear",
                path: dir.display().to_string(),
                error: error.into(),
            };
            let entries = match std::fs::read_dir(&dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.map_err(failed)?,
            };
            for entry in entries {
                let path = entry.map_err(failed)?.path();
                let is_staged = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.contains('#'));
                if is_staged {
                    std::fs::remove_file(&path).map_err(failed)?;
                }
            }
            // What was removed must not come back after a power loss.
            std::fs::File::open(&dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
        }
        Ok(())
    }

    /// Removes a file; nothing to do where there is none.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), SnapshotError> {
        match self.runtime.block_on(self.store.delete(path)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(SnapshotError::io("remove", &self.shown(path))(error)),
        }
    }
}
