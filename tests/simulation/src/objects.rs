//! A store of objects beside the simulated disk: whole objects, which outlive the process; calls that fail, and the
//! last one, which may or may not have happened.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory, path::Path,
};

use crate::disk::{Call, Fault, SimDisk};

/// The objects, as a process with this disk sees them.
#[derive(Clone)]
pub(crate) struct Objects {
    disk: SimDisk,
    stored: Arc<InMemory>,
}

impl Objects {
    pub(crate) fn new(disk: SimDisk) -> Objects {
        Objects { disk, stored: Arc::new(InMemory::new()) }
    }

    /// The same objects, for a process with another disk.
    pub(crate) fn for_disk(&self, disk: SimDisk) -> Objects {
        Objects { disk, stored: Arc::clone(&self.stored) }
    }

    /// Flips a bit of an object: the `nth` in the order of names, round and round, at a place that `at` chooses. False
    /// where there is none.
    pub(crate) fn rot(&self, nth: usize, at: usize) -> bool {
        let listed = self.stored.list(None).collect::<Vec<_>>();
        let mut paths: Vec<Path> = now(listed).into_iter().flatten().map(|meta| meta.location).collect();
        paths.sort();
        if paths.is_empty() {
            return false;
        }
        let path = &paths[nth % paths.len()];
        let mut bytes = now(async { self.stored.get(path).await.expect("it was listed").bytes().await })
            .expect("it is in memory")
            .to_vec();
        let place = at % bytes.len();
        bytes[place] ^= 1 << (at % 8);
        now(self.stored.put(path, bytes.into())).expect("memory takes it");
        true
    }

    fn call(&self, call: Call) -> std::result::Result<(), Fault> {
        self.disk.call(call)
    }
}

/// What does not wait for anything.
fn now<T>(future: impl Future<Output = T>) -> T {
    Box::pin(future).now_or_never().expect("memory does not wait")
}

fn failed(fault: Fault) -> Error {
    Error::Generic { store: "simulated", source: Box::new(std::io::Error::from(fault)) }
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("simulated objects")
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Objects")
    }
}

#[async_trait]
impl ObjectStore for Objects {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        match self.call(Call::Put) {
            Ok(()) => self.stored.put_opts(location, payload, options).await,
            Err(fault) => {
                // An object is there as a whole or not at all, whatever was told of it.
                if fault.written % 2 == 1 {
                    self.stored.put_opts(location, payload, options).await?;
                }
                Err(failed(fault))
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.stored.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.call(Call::Get).map_err(failed)?;
        self.stored.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.call(Call::Delete) {
            Ok(()) => self.stored.delete_stream(locations),
            Err(fault) => futures_util::stream::once(async move { Err(failed(fault)) }).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.stored.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.stored.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.stored.copy_opts(from, to, options).await
    }
}
