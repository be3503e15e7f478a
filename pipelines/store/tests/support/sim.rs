//! A disk in memory that does what the contract of [`Disk`] allows and no more: what was not
//! synced may be lost at a power loss, in part and in any order; the n-th call can fail, or be the last.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use etalage_store::disk::{Disk, DiskFile};

/// The kinds of call that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    Create,
    Append,
    Cut,
    Overwrite,
    Rename,
    Remove,
    SyncFile,
    SyncFolder,
    Lock,
    /// An object of a store of objects beside the disk is written, read, or removed.
    Put,
    Get,
    Delete,
}

/// What is torn at a power loss is torn in pieces of this size.
const SECTOR_BYTES: usize = 16;

/// What every call meets once the process is dead.
const DEAD: Fault = Fault { call: None, kind: ErrorKind::Other, written: 0 };

#[derive(Clone, Default)]
pub(crate) struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    /// Durable names that were removed since; a power loss may bring them back.
    removed: BTreeSet<PathBuf>,
    /// What stood in files that were removed, with the beginnings that they had before these were written over.
    graves: BTreeMap<PathBuf, Vec<u8>>,
    beginnings: BTreeMap<PathBuf, Vec<u8>>,
    locked: BTreeSet<PathBuf>,
    drawn: u64,
    calls: Vec<Call>,
    faults: Vec<(Fault, u64)>,
    /// The calls that failed as planned.
    hits: Vec<Call>,
    /// Folders are never synced, whatever is told.
    forgets_folders: bool,
    /// At which of all calls the process dies, and how many bytes that call still writes.
    dies_at: Option<(usize, usize)>,
    is_dead: bool,
    read_bytes: BTreeMap<PathBuf, u64>,
}

type Node = Arc<Mutex<Content>>;

#[derive(Clone, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
}

/// A call that fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// Which; `None` is any.
    pub(crate) call: Option<Call>,
    pub(crate) kind: ErrorKind,
    /// How many bytes an append writes before it fails.
    pub(crate) written: usize,
}

impl SimDisk {
    /// Lets the `nth` of the calls from now on (counted from 1) fail, once.
    pub(crate) fn fail(&self, fault: Fault, nth: u64) {
        self.state.lock().unwrap().faults.push((fault, nth));
    }

    /// Lets the process die in the `nth` of the calls from now on (counted from 1): that one writes at most
    /// `written` bytes, and none after it does anything.
    pub(crate) fn die(&self, nth: usize, written: usize) {
        let mut state = self.state.lock().unwrap();
        state.dies_at = Some((state.calls.len() + nth, written));
    }

    /// Says that folders are synced, and does nothing.
    pub(crate) fn forget_folders(&self) {
        self.state.lock().unwrap().forgets_folders = true;
    }

    /// Lets the process die between two calls.
    pub(crate) fn die_now(&self) {
        self.state.lock().unwrap().is_dead = true;
    }

    /// The calls that failed as planned so far.
    pub(crate) fn hits(&self) -> Vec<Call> {
        self.state.lock().unwrap().hits.clone()
    }

    /// Whether it died.
    pub(crate) fn is_dead(&self) -> bool {
        self.state.lock().unwrap().is_dead
    }

    /// The names of all files.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.state.lock().unwrap().names.keys().cloned().collect()
    }

    /// What stands in a file.
    pub(crate) fn bytes(&self, path: &Path) -> Vec<u8> {
        let node = self.state.lock().unwrap().names[path].clone();
        let content = node.lock().unwrap();
        content.now.clone()
    }

    /// Puts a file on the disk, durably.
    pub(crate) fn put(&self, path: &Path, bytes: &[u8]) {
        let node = Node::new(Mutex::new(Content { now: bytes.to_vec(), durable: bytes.to_vec() }));
        let mut state = self.state.lock().unwrap();
        state.names.insert(path.to_path_buf(), node.clone());
        state.durable_names.insert(path.to_path_buf(), node);
    }

    /// How many calls of a kind were made.
    pub(crate) fn count(&self, call: Call) -> usize {
        self.state.lock().unwrap().calls.iter().filter(|made| **made == call).count()
    }

    /// How many bytes were read from each file; starts again from 0.
    pub(crate) fn take_read_bytes(&self) -> BTreeMap<PathBuf, u64> {
        std::mem::take(&mut self.state.lock().unwrap().read_bytes)
    }

    /// The disk as the process leaves it when it is killed: every call that returned has happened, and what was not
    /// synced still is not.
    pub(crate) fn after_kill(&self) -> SimDisk {
        let state = self.state.lock().unwrap();
        let mut copies: Vec<(Node, Node)> = Vec::new();
        let mut copy = |node: &Node| {
            let known = copies.iter().find(|(of, _)| Arc::ptr_eq(of, node)).map(|(_, copy)| Arc::clone(copy));
            known.unwrap_or_else(|| {
                let fresh = Node::new(Mutex::new(node.lock().unwrap().clone()));
                copies.push((Arc::clone(node), Arc::clone(&fresh)));
                fresh
            })
        };
        let names = state.names.iter().map(|(path, node)| (path.clone(), copy(node))).collect();
        let durable_names = state.durable_names.iter().map(|(path, node)| (path.clone(), copy(node))).collect();
        let (removed, drawn) = (state.removed.clone(), state.drawn);
        let (graves, beginnings) = (state.graves.clone(), state.beginnings.clone());
        let state = State { names, durable_names, removed, graves, beginnings, drawn, ..State::default() };
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// The disk after a power loss. `seed` decides what of the unsynced was written: any of the
    /// sectors behind the synced bytes, any of the unsynced names.
    pub(crate) fn after_power_loss(&self, seed: u64) -> SimDisk {
        let state = self.state.lock().unwrap();
        let mut random = Random(seed);
        let mut found = state.durable_names.clone();
        found.retain(|path, _| !state.removed.contains(path) || random.below(2) == 0);
        for (path, node) in &state.names {
            if random.below(2) == 0 {
                found.insert(path.clone(), node.clone());
            }
        }
        let files: Vec<_> =
            found.into_iter().map(|(path, node)| (path, torn(&node.lock().unwrap(), &mut random))).collect();
        let (graves, beginnings) = (state.graves.clone(), state.beginnings.clone());
        drop(state);
        let disk = SimDisk::holding(files, seed);
        {
            let mut state = disk.state.lock().unwrap();
            (state.graves, state.beginnings) = (graves, beginnings);
        }
        disk
    }

    /// A disk with the files that were removed since the beginning, as they were then.
    pub(crate) fn graveyard(&self, is_wanted: impl Fn(&Path) -> bool) -> SimDisk {
        let graves = self.state.lock().unwrap().graves.clone();
        SimDisk::holding(graves.into_iter().filter(|(path, _)| is_wanted(path)), 0)
    }

    fn holding(files: impl IntoIterator<Item = (PathBuf, Vec<u8>)>, seed: u64) -> SimDisk {
        let node = |bytes: Vec<u8>| Arc::new(Mutex::new(Content { now: bytes.clone(), durable: bytes }));
        let names: BTreeMap<_, _> = files.into_iter().map(|(path, bytes)| (path, node(bytes))).collect();
        let state = State { durable_names: names.clone(), names, drawn: seed << 32, ..State::default() };
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// Notes a call; the fault that hits it.
    pub(crate) fn call(&self, call: Call) -> Result<(), Fault> {
        let mut state = self.state.lock().unwrap();
        if state.is_dead {
            return Err(DEAD);
        }
        state.calls.push(call);
        if let Some((_, written)) = state.dies_at.filter(|(nth, _)| *nth == state.calls.len()) {
            state.is_dead = true;
            return Err(Fault { written, ..DEAD });
        }
        let mut hit = None;
        for (fault, left) in &mut state.faults {
            if fault.call.is_none_or(|planned| planned == call) {
                *left = left.wrapping_sub(1);
                if *left == 0 {
                    hit = Some(*fault);
                }
            }
        }
        if hit.is_some() {
            state.hits.push(call);
        }
        hit.map_or(Ok(()), Err)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let node = self.state.lock().unwrap().names.get(path).cloned();
        let node = node.ok_or_else(|| io::Error::from(ErrorKind::NotFound))?;
        Ok(Box::new(SimFile { disk: self.clone(), path: path.to_path_buf(), node }))
    }
}

/// The synced bytes, and of the others what `random` lets through.
fn torn(content: &Content, random: &mut Random) -> Vec<u8> {
    let synced = content.durable.len().min(content.now.len());
    let mut bytes = content.durable.clone();
    bytes.truncate(synced);
    for (before, now) in bytes.chunks_mut(SECTOR_BYTES).zip(content.now[..synced].chunks(SECTOR_BYTES)) {
        if before != now && random.below(2) == 0 {
            before.copy_from_slice(now);
        }
    }
    let length = synced + random.below(content.now.len() as u64 - synced as u64 + 1) as usize;
    for (at, sector) in (synced..length).step_by(SECTOR_BYTES).zip(content.now[synced..length].chunks(SECTOR_BYTES)) {
        bytes.resize(at + sector.len(), 0);
        if random.below(3) > 0 {
            bytes[at..].copy_from_slice(sector);
        }
    }
    bytes
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> io::Error {
        io::Error::new(fault.kind, "injected")
    }
}

impl Disk for SimDisk {
    fn make_folder(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock().unwrap();
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.call(Call::Create)?;
        let taken = self.state.lock().unwrap().names.contains_key(path);
        if taken {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.state.lock().unwrap().names.insert(path.to_path_buf(), Node::default());
        self.open(path)
    }

    fn create_private(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.create(path)
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    fn open_to_append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    fn overwrite_start(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let node = self.state.lock().unwrap().names.get(path).cloned();
        let node = node.ok_or_else(|| io::Error::from(ErrorKind::NotFound))?;
        let before = node.lock().unwrap().now[..bytes.len()].to_vec();
        self.state.lock().unwrap().beginnings.entry(path.to_path_buf()).or_insert(before);
        let called = self.call(Call::Overwrite);
        let written = called.err().map_or(bytes.len(), |fault| fault.written.min(bytes.len()));
        node.lock().unwrap().now[..written].copy_from_slice(&bytes[..written]);
        called?;
        self.call(Call::SyncFile)?;
        let mut content = node.lock().unwrap();
        content.durable = content.now.clone();
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Call::Rename)?;
        let mut state = self.state.lock().unwrap();
        let node = state.names.remove(from).ok_or_else(|| io::Error::from(ErrorKind::NotFound))?;
        state.names.insert(to.to_path_buf(), node);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.state.lock().unwrap().names.contains_key(path) {
            return Err(ErrorKind::NotFound.into());
        }
        self.call(Call::Remove)?;
        let mut state = self.state.lock().unwrap();
        if let Some(node) = state.names.remove(path) {
            let mut bytes = node.lock().unwrap().now.clone();
            if let Some(beginning) = state.beginnings.get(path) {
                bytes[..beginning.len()].copy_from_slice(beginning);
            }
            state.graves.insert(path.to_path_buf(), bytes);
        }
        state.removed.insert(path.to_path_buf());
        Ok(())
    }

    fn sync_folder(&self, _dir: &Path) -> io::Result<()> {
        self.call(Call::SyncFolder)?;
        let mut state = self.state.lock().unwrap();
        if state.forgets_folders {
            return Ok(());
        }
        state.durable_names = state.names.clone();
        state.removed.clear();
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send>>> {
        self.call(Call::Lock)?;
        let taken = !self.state.lock().unwrap().locked.insert(path.to_path_buf());
        Ok(if taken { None } else { Some(Box::new(Lock(self.clone(), path.to_path_buf()))) })
    }

    fn draw(&self) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.drawn += 1;
        Random(state.drawn).number()
    }

    fn draw_key(&self) -> io::Result<[u8; 32]> {
        let mut key = [0; 32];
        key.chunks_mut(8).for_each(|part| part.copy_from_slice(&self.draw().to_le_bytes()));
        Ok(key)
    }
}

struct Lock(SimDisk, PathBuf);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.state.lock().unwrap().locked.remove(&self.1);
    }
}

struct SimFile {
    disk: SimDisk,
    path: PathBuf,
    node: Node,
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.node.lock().unwrap().now.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let content = self.node.lock().unwrap();
        let from = offset as usize;
        let bytes =
            content.now.get(from..from + buffer.len()).ok_or_else(|| io::Error::from(ErrorKind::UnexpectedEof))?;
        buffer.copy_from_slice(bytes);
        *self.disk.state.lock().unwrap().read_bytes.entry(self.path.clone()).or_default() += buffer.len() as u64;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let called = self.disk.call(Call::Append);
        let written = called.err().map_or(bytes.len(), |fault| fault.written.min(bytes.len()));
        self.node.lock().unwrap().now.extend_from_slice(&bytes[..written]);
        Ok(called?)
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.disk.call(Call::Cut)?;
        self.node.lock().unwrap().now.truncate(bytes as usize);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.call(Call::SyncFile)?;
        let mut content = self.node.lock().unwrap();
        content.durable = content.now.clone();
        Ok(())
    }
}

/// A plain generator (splitmix64): a seed replays exactly.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }
}
