//! Setting aside what is damaged of a log, so that it goes on with what stands before.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    StoreError,
    disk::{Disk, RealDisk},
    format::{SEGMENT_HEAD_BYTES, segment_seq},
    frames::{frames_before, frames_on},
    log::take_folder,
    manifest,
};

/// What is added to the name of a file that is set aside.
const SET_ASIDE: &str = ".damaged";

/// How much is copied at once.
const COPY_BYTES: u64 = 1024 * 1024;

/// The first damage of a log, and what stands before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub path: PathBuf,
    /// Where in it the first damaged piece begins.
    pub offset: u64,
    /// What does not check out.
    pub what: String,
    /// Whole frames before it.
    pub frames: u64,
    /// The number that the next frame will have.
    pub next_frame: u64,
    /// The number of the first of them: 0, unless the log was trimmed.
    pub begins_at: u64,
    /// Records in them.
    pub records: u64,
    /// The segments that lie behind it.
    pub later: Vec<PathBuf>,
    /// Bytes of the log from there on.
    pub bytes: u64,
}

/// Reads the whole log in `dir`, and gives its first damage. A torn tail, which opening cuts, is none.
///
/// # Errors
/// What is no damage of the log: no store, a newer format, a disk that cannot be read.
pub fn find_damage(dir: &Path) -> Result<Option<Damage>, StoreError> {
    find_damage_on(&(Arc::new(RealDisk) as Arc<dyn Disk>), dir)
}

/// As [`find_damage`], on another disk.
///
/// # Errors
/// As [`find_damage`].
pub fn find_damage_on(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Option<Damage>, StoreError> {
    let read = frames_on(Arc::clone(disk), dir).and_then(|mut all| all.try_for_each(|frame| frame.map(drop)));
    let (path, offset, what) = match read {
        Ok(()) => return Ok(None),
        Err(StoreError::Corrupt { path, offset, what }) if seq_of(&path).is_some() => (path, offset, what),
        Err(error) => return Err(error),
    };
    let from = seq_of(&path).unwrap_or(0);
    let (mut frames, mut records) = (0, 0);
    let end = if offset < SEGMENT_HEAD_BYTES as u64 { from } else { from + 1 };
    let whole = frames_before(Arc::clone(disk), dir, end)?;
    // Where nothing can be read before it, the damaged segment is the first there is.
    let begins_at = if end > from || whole.begins_at() > 0 { whole.begins_at() } else { from };
    for frame in whole.map_while(Result::ok) {
        (frames, records) = (frames + 1, records + frame.records.len() as u64);
    }
    let names = disk.names(dir).map_err(StoreError::io("list", dir))?;
    let mut later: Vec<(u64, PathBuf)> = names
        .iter()
        .filter_map(|name| Some((segment_seq(name)?, dir.join(name))))
        .filter(|(seq, _)| *seq > from)
        .collect();
    later.sort_unstable();
    let later: Vec<PathBuf> = later.into_iter().map(|(_, path)| path).collect();
    let mut bytes = size(&**disk, &path)?.saturating_sub(offset);
    for path in &later {
        bytes += size(&**disk, path)?;
    }
    let next_frame = begins_at + frames;
    Ok(Some(Damage { path, offset, what, frames, next_frame, begins_at, records, later, bytes }))
}

/// Sets the first damage of the log in `dir` aside, and everything behind it: a copy of the rest of the damaged segment,
/// then the later ones, the newest first; then the damaged one is cut. Gives the files that hold it now. `agree` is asked
/// before anything is changed, while nobody else has the store. Where it ends in between it can be called again.
///
/// # Errors
/// [`StoreError::Locked`] where the store is in use; as [`find_damage`], where the disk cannot be written, and where
/// `agree` does not.
pub fn set_damage_aside<E: From<StoreError>>(
    dir: &Path,
    agree: impl FnOnce(&Damage) -> Result<(), E>,
) -> Result<Option<(Damage, Vec<PathBuf>)>, E> {
    set_damage_aside_on(&(Arc::new(RealDisk) as Arc<dyn Disk>), dir, agree)
}

/// As [`set_damage_aside`], on another disk.
///
/// # Errors
/// As [`set_damage_aside`].
pub fn set_damage_aside_on<E: From<StoreError>>(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    agree: impl FnOnce(&Damage) -> Result<(), E>,
) -> Result<Option<(Damage, Vec<PathBuf>)>, E> {
    let _lock = take_folder(&**disk, dir)?;
    manifest::finish(&**disk, dir)?;
    let Some(damage) = find_damage_on(disk, dir)? else { return Ok(None) };
    agree(&damage)?;
    let mut aside = Vec::new();
    let Damage { path, offset, .. } = &damage;
    let is_cut = *offset >= SEGMENT_HEAD_BYTES as u64 && size(&**disk, path)? > *offset;
    // Before the later ones: once they are gone, what is damaged looks like a torn tail, which opening cuts.
    if is_cut {
        aside.push(copy_aside(&**disk, dir, path, *offset)?);
    }
    for path in damage.later.iter().rev() {
        aside.push(move_aside(&**disk, dir, path)?);
    }
    if *offset < SEGMENT_HEAD_BYTES as u64 {
        aside.push(move_aside(&**disk, dir, path)?);
    } else if is_cut {
        let mut file = disk.open_to_append(path).map_err(StoreError::io("open", path))?;
        file.cut(*offset).map_err(StoreError::io("cut", path))?;
        file.sync_data().map_err(StoreError::io("sync", path))?;
    }
    disk.sync_folder(dir).map_err(StoreError::io("sync", dir))?;
    Ok(Some((damage, aside)))
}

/// Sets a file of the folder aside whole; the file that it is now.
///
/// # Errors
/// Where the disk cannot be written.
pub fn set_file_aside(dir: &Path, path: &Path) -> Result<PathBuf, StoreError> {
    move_aside(&RealDisk, dir, path)
}

fn seq_of(path: &Path) -> Option<u64> {
    segment_seq(path.file_name()?.to_str()?)
}

fn size(disk: &dyn Disk, path: &Path) -> Result<u64, StoreError> {
    disk.open_to_read(path).and_then(|file| file.size()).map_err(StoreError::io("read", path))
}

/// A name beside `path` that nobody has.
fn free_name(disk: &dyn Disk, dir: &Path, path: &Path) -> Result<PathBuf, StoreError> {
    let names = disk.names(dir).map_err(StoreError::io("list", dir))?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let numbered = |nth: u32| if nth == 1 { format!("{name}{SET_ASIDE}") } else { format!("{name}{SET_ASIDE}-{nth}") };
    let free = (1..).map(numbered).find(|candidate| !names.contains(candidate)).unwrap_or_default();
    Ok(dir.join(free))
}

fn move_aside(disk: &dyn Disk, dir: &Path, path: &Path) -> Result<PathBuf, StoreError> {
    let to = free_name(disk, dir, path)?;
    disk.rename(path, &to).map_err(StoreError::io("move", path))?;
    disk.sync_folder(dir).map_err(StoreError::io("sync", dir))?;
    Ok(to)
}

/// Copies what stands from `offset` on into a file of its own.
fn copy_aside(disk: &dyn Disk, dir: &Path, path: &Path, offset: u64) -> Result<PathBuf, StoreError> {
    let to = free_name(disk, dir, path)?;
    let file = disk.open_to_read(path).map_err(StoreError::io("open", path))?;
    let end = file.size().map_err(StoreError::io("read", path))?;
    let mut copy = disk.create(&to).map_err(StoreError::io("create", &to))?;
    let mut at = offset;
    while at < end {
        let mut piece = vec![0; (end - at).min(COPY_BYTES) as usize];
        file.read_at(at, &mut piece).map_err(StoreError::io("read", path))?;
        copy.append(&piece).map_err(StoreError::io("write", &to))?;
        at += piece.len() as u64;
    }
    copy.sync_data().map_err(StoreError::io("sync", &to))?;
    disk.sync_folder(dir).map_err(StoreError::io("sync", dir))?;
    Ok(to)
}
