//! Who runs jobs: a process, by a file that it holds locked. The kernel lets go of the lock when the process ends, whatever
//! ended it, so nobody has to wait for a lease to run out.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::JobsError;

/// Locked by the one process that runs the jobs of schedules and of everybody: the engine.
const SCHEDULER: &str = "scheduler";

/// How often it is tried to be that, and how soon again.
const TRIES: u32 = 20;
const TRY_EVERY: Duration = Duration::from_millis(10);

/// A locked file; it is removed when this is dropped.
#[derive(Debug)]
pub struct Runner {
    name: String,
    path: PathBuf,
    _lock: File,
}

impl Runner {
    /// One for this process, which runs jobs of its own choice.
    ///
    /// # Errors
    /// [`JobsError::Runner`].
    pub fn new(state_dir: &Path) -> Result<Runner, JobsError> {
        Self::lock(state_dir, &format!("{}-{:08x}", std::process::id(), fastrand::u32(..)))
    }

    /// The one that runs what is queued.
    ///
    /// # Errors
    /// [`JobsError::Runner`], also when another process is it.
    pub fn scheduler(state_dir: &Path) -> Result<Runner, JobsError> {
        let mut tries = 0;
        loop {
            match Self::lock(state_dir, SCHEDULER) {
                // Whoever looks whether it is held holds it for a moment.
                Err(_) if tries < TRIES => tries += 1,
                locked => return locked,
            }
            std::thread::sleep(TRY_EVERY);
        }
    }

    fn lock(state_dir: &Path, name: &str) -> Result<Runner, JobsError> {
        let path = path(state_dir, name);
        let failed = |error: io::Error| JobsError::Runner(format!("{}: {error}", path.display()));
        std::fs::create_dir_all(folder(state_dir)).map_err(failed)?;
        let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        if lock.try_lock().is_err() {
            return Err(JobsError::Runner(format!("{}: another process runs jobs here", path.display())));
        }
        Ok(Runner { name: name.into(), path, _lock: lock })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a process runs what is queued.
    #[must_use]
    pub fn is_scheduler_there(state_dir: &Path) -> bool {
        is_alive(state_dir, SCHEDULER)
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // That of the scheduler stays: who removes a file that others lock may remove the next one's.
        if self.name != SCHEDULER {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Whether the process that a claim names still holds its file.
pub(super) fn is_alive(state_dir: &Path, name: &str) -> bool {
    File::open(path(state_dir, name)).is_ok_and(|lock| lock.try_lock().is_err())
}

fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("jobs")
}

fn path(state_dir: &Path, name: &str) -> PathBuf {
    folder(state_dir).join(format!("{name}.lock"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_is_alive_for_as_long_as_it_is_held() {
        let state = tempfile::tempdir().unwrap();
        let (one, other) = (Runner::new(state.path()).unwrap(), Runner::new(state.path()).unwrap());
        assert!(is_alive(state.path(), one.name()) && one.name() != other.name());
        let name = one.name().to_string();
        drop(one);
        assert!(!is_alive(state.path(), &name) && is_alive(state.path(), other.name()));
        let scheduler = Runner::scheduler(state.path()).unwrap();
        assert!(Runner::scheduler(state.path()).unwrap_err().to_string().contains("another process runs jobs here"));
        drop(scheduler);
        assert!(!Runner::is_scheduler_there(state.path()));
    }
}
