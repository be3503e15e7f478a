//! Every file call of the log and of the receipts, behind two small traits. [`RealDisk`] is the operating system; a
//! simulation that loses what was not synced, or fails the n-th call, stands in its place in
//! tests.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Read, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

/// The folder side of a disk. A name that was created or renamed survives a power loss only
/// after [`Disk::sync_folder`].
pub trait Disk: Send + Sync {
    /// Makes `dir` and its parents, durably; nothing to do where it exists.
    fn make_folder(&self, dir: &Path) -> io::Result<()>;

    /// The names in `dir`, in no order.
    fn names(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// A new, empty file; an error where the name is taken.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// As [`Disk::create`], and nobody but the owner may read it.
    fn create_private(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// An existing file, to be read only.
    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// An existing file, to be read and appended to.
    fn open_to_append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Writes `bytes` over the first ones of an existing file, and returns when they are on the device.
    /// After an error any part of them may have been written.
    fn overwrite_start(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Gives the file `from` the name `to`, in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Returns when the names in `dir` are on the device.
    fn sync_folder(&self, dir: &Path) -> io::Result<()>;

    /// Takes the exclusive lock that the file `path` stands for, and holds it until the answer is
    /// dropped or the process ends; `None` where somebody else holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send>>>;

    /// A number that nobody can foresee.
    fn draw(&self) -> u64;

    /// Bytes that are fit to be a key.
    fn draw_key(&self) -> io::Result<[u8; 32]>;
}

/// An open file. Appended bytes survive the process at once, and a power loss after
/// [`DiskFile::sync_data`].
pub trait DiskFile: Send {
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset` on; an error where the file ends before.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes at the end. After an error a part of `bytes` may have been written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file to `bytes`.
    fn cut(&mut self, bytes: u64) -> io::Result<()>;

    /// Returns when content and length are on the device.
    fn sync_data(&self) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn make_folder(&self, dir: &Path) -> io::Result<()> {
        let missing: Vec<&Path> =
            dir.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
        fs::create_dir_all(dir)?;
        for made in missing {
            match made.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => self.sync_folder(parent)?,
                _ => self.sync_folder(Path::new("."))?,
            }
        }
        Ok(())
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            // A name that is no text is not one of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(OpenOptions::new().read(true).append(true).create_new(true).open(path)?)))
    }

    fn create_private(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(File::open(path)?)))
    }

    fn open_to_append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(OpenOptions::new().read(true).append(true).open(path)?)))
    }

    fn overwrite_start(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // Not opened to append: such a file takes every write at its end.
        let file = OpenOptions::new().write(true).open(path)?;
        file.write_all_at(bytes, 0)?;
        file.sync_data()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send>>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn draw(&self) -> u64 {
        // The standard library seeds these keys from the operating system's random source.
        RandomState::new().build_hasher().finish()
    }

    fn draw_key(&self) -> io::Result<[u8; 32]> {
        let mut key = [0; 32];
        File::open("/dev/urandom")?.read_exact(&mut key)?;
        Ok(key)
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
