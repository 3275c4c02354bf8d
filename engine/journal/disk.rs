//! What the journal asks of a disk: few enough operations that a test can make each of them fail.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

/// Makes, renames and removes files.
pub trait Disk: Send {
    /// An empty file of `bytes` zeros at `path`, in the place of what was there; its room is reserved where the file
    /// system can.
    ///
    /// # Errors
    /// When the system refuses.
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn DiskFile>>;

    /// Gives the file its name for good: after it the name survives loss of power.
    ///
    /// # Errors
    /// When the system refuses.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; that there is none is no error.
    ///
    /// # Errors
    /// When the system refuses.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Sets the modification time of a file, in nanoseconds since 1970.
    ///
    /// # Errors
    /// When the system refuses.
    fn stamp(&self, path: &Path, now_ns: i64) -> io::Result<()>;
}

/// One open file.
pub trait DiskFile: Send {
    /// Writes all of `bytes` at `offset`; what an earlier failure left there is overwritten.
    ///
    /// # Errors
    /// When the system refuses; part of the bytes may have been written.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns when everything written survives loss of power.
    ///
    /// # Errors
    /// When the system refuses; what was written since the last success may be lost and must be written again.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file to `bytes`.
    ///
    /// # Errors
    /// When the system refuses.
    fn cut(&mut self, bytes: u64) -> io::Result<()>;
}

/// The machine's own.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        let file = File::options().write(true).create(true).truncate(true).open(path)?;
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => {}
            // Without reserved room a full disk shows when writing, which is as good: it is tried again.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(bytes)?,
            Err(error) => {
                // What was reserved may be what others lack.
                let _ = std::fs::remove_file(path);
                return Err(error.into());
            }
        }
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)?;
        sync_dir(to.parent().unwrap_or(Path::new(".")))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn stamp(&self, path: &Path, now_ns: i64) -> io::Result<()> {
        let since_1970 = Duration::from_nanos(u64::try_from(now_ns).unwrap_or(0));
        File::open(path)?.set_modified(UNIX_EPOCH + since_1970)
    }
}

impl DiskFile for File {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }
}

/// Returns when the names in `dir` survive loss of power.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// A small file whole or not at all: written beside `path`, synced, renamed.
pub(super) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("tmp");
    let write = || {
        let mut file = disk.create(&beside, bytes.len() as u64)?;
        file.write_at(bytes, 0)?;
        file.sync()?;
        disk.rename(&beside, path)
    };
    write().inspect_err(|_| {
        let _ = disk.remove(&beside);
    })
}
