//! Where snapshots are: a folder, or whatever `object_store` reaches, behind calls that wait.

use std::{
    fmt, io,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use etalage_model::Tick;
use futures_util::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, local::LocalFileSystem, path::Path};
use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
};

use super::{
    SnapshotError,
    address::{self, Address, Server},
    bucket,
};

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
    /// Where it is a bucket: whose, and whether nobody waits for it any more.
    server: Option<(Server, Arc<watch::Sender<bool>>)>,
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
    /// the environment as `object_store` reads them. What a server cannot do now is tried again for `retry_for`.
    ///
    /// # Errors
    /// Where the folder cannot be made, or the URL is none that this build knows. No server is asked yet.
    pub fn open(url: &str, retry_for: Duration) -> Result<Place, SnapshotError> {
        let wrong = |reason: String| SnapshotError::Place { url: address::shown(url), reason };
        match Address::of(url).map_err(wrong)? {
            Address::Folder(folder) => Place::folder(&folder),
            Address::Bucket(server, parsed) => {
                let (store, base) = bucket::open(server, &parsed, retry_for).map_err(|error| {
                    wrong(format!("{}; look at the environment ({})", bucket::reason(&error), server.variables()))
                })?;
                let place = Place::of(store, base, url)?;
                Ok(Place { server: Some((server, Arc::new(watch::Sender::new(false)))), ..place })
            }
        }
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
        Ok(Place { store, base, shown: shown.to_owned(), runtime: Arc::new(runtime), folder: None, server: None })
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
        let listed = self.wait(self.store.list(Some(&prefix)).try_collect::<Vec<_>>());
        let listed = listed.map_err(self.failed("list", &prefix))?;
        let file = |meta: object_store::ObjectMeta| {
            Some(File { name: meta.location.filename()?.to_owned(), bytes: meta.size })
        };
        Ok(listed.into_iter().filter_map(file).collect())
    }

    pub(crate) fn put(&self, path: &Path, bytes: Vec<u8>) -> Result<(), SnapshotError> {
        let put = self.wait(self.store.put(path, PutPayload::from(bytes)));
        put.map(|_| ()).map_err(self.failed("write", path))
    }

    /// The whole file; `None` where there is none.
    pub(crate) fn get(&self, path: &Path) -> Result<Option<Bytes>, SnapshotError> {
        let got = self.wait(async { self.store.get(path).await?.bytes().await });
        match got {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read", path)(error)),
        }
    }

    /// Ends calls of a server that are under way, with an error, and all that come: whoever stops does not wait for it.
    /// What was being written is there or not, as after a kill. A folder is waited for.
    pub fn give_up(&self) {
        if let Some((_, given_up)) = &self.server {
            given_up.send_replace(true);
        }
    }

    /// What comes of a call.
    fn wait<T>(&self, call: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
        let Some((_, given_up)) = &self.server else { return self.runtime.block_on(call) };
        let mut given_up = given_up.subscribe();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                result = call => result,
                _ = given_up.wait_for(|given_up| *given_up) => {
                    Err(object_store::Error::Generic { store: "snapshots", source: bucket::GIVEN_UP.into() })
                }
            }
        })
    }

    /// For `map_err`: what was tried, and on which file.
    fn failed(&self, action: &'static str, path: &Path) -> impl FnOnce(object_store::Error) -> SnapshotError {
        let (shown, server) = (self.shown(path), self.server.as_ref().map(|(server, _)| *server));
        move |error| match server {
            Some(server) => bucket::refused(server, action, shown, &error),
            None => SnapshotError::io(action, &shown)(error),
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
        match self.wait(self.store.delete(path)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("remove", path)(error)),
        }
    }
}
