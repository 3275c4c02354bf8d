//! How far a backfill is: `backfill/CONNECTION.SYMBOL.TIMEFRAME.FROM.TO.json` in the state directory (with `ticks` for
//! TIMEFRAME where it is of ticks), FROM and TO in seconds since 1970. Written beside its name, synced and renamed, so that there is a whole one or none.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::BackfillRequest;
use super::missing::Missing;

const VERSION: u32 = 1;

/// What is done, by all runs of the same request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    version: u32,
    /// Everything before is stored.
    pub done_ns: i64,
    /// Bars or ticks stored.
    pub rows: u64,
    /// Requests sent.
    pub requests: u64,
    /// Of those, refused by the venue because they were too many.
    pub throttled: u64,
    /// Bars that begin where our calendar begins none.
    pub odd_cuts: u64,
    /// Bars that the venue did not have although the market was open; of ticks, hours without any.
    pub missing: Missing,
    /// The venue asked to be left alone until then, nanoseconds UTC; it bans who begins anew to get around that.
    #[serde(default)]
    pub not_before_ns: i64,
}

impl Progress {
    /// Nothing yet.
    #[must_use]
    pub fn new(from_ns: i64) -> Progress {
        let missing = Missing::default();
        Progress {
            version: VERSION,
            done_ns: from_ns,
            rows: 0,
            requests: 0,
            throttled: 0,
            odd_cuts: 0,
            missing,
            not_before_ns: 0,
        }
    }
}

/// The file, for this process alone.
pub(super) struct File {
    path: PathBuf,
    _lock: std::fs::File,
}

impl File {
    /// `of` is the word of the timeframe, or `ticks`.
    pub(super) fn lock(state: &Path, request: &BackfillRequest, of: &str) -> Result<File, String> {
        let BackfillRequest { connection, symbol, from_ns, to_ns, .. } = request;
        let seconds = |ns: &i64| ns.div_euclid(1_000_000_000);
        let name = format!("{connection}.{symbol}.{of}.{}.{}", seconds(from_ns), seconds(to_ns));
        let folder = state.join("backfill");
        let path = folder.join(format!("{name}.json"));
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let lock = folder.join(format!("{name}.lock"));
        let lock = std::fs::File::options().create(true).truncate(false).write(true).open(lock).map_err(failed)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| format!("{}: another backfill of the same is at work", path.display()))?;
        Ok(File { path, _lock: lock })
    }

    /// What was done before; `None` before the first page.
    pub(super) fn read(&self) -> Result<Option<Progress>, String> {
        let wrong = |problem: String| format!("{}: {problem}; remove it to begin anew", self.path.display());
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrong(error.to_string())),
        };
        let progress: Progress = serde_json::from_slice(&text).map_err(|e| wrong(format!("it is damaged: {e}")))?;
        if progress.version != VERSION {
            return Err(wrong(format!("it has version {}, this program writes {VERSION}", progress.version)));
        }
        Ok(Some(progress))
    }

    pub(super) fn write(&self, progress: &Progress) -> Result<(), String> {
        let beside = self.path.with_extension("tmp");
        let write = || {
            let mut file = std::fs::File::create(&beside)?;
            file.write_all(&serde_json::to_vec(progress)?)?;
            file.sync_all()?;
            std::fs::rename(&beside, &self.path)?;
            // The new name must survive too.
            std::fs::File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|error: std::io::Error| format!("{}: {error}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::runtime::backfill::Wanted;

    #[test]
    fn only_a_whole_one_is_read_and_only_one_process_has_it() {
        let state = tempfile::tempdir().unwrap();
        let request = BackfillRequest {
            connection: "a".into(),
            symbol: "EURUSD".into(),
            wanted: Wanted::Ticks,
            from_ns: 5_000_000_000,
            to_ns: 9_000_000_000,
        };
        let file = File::lock(state.path(), &request, "M1").unwrap();
        assert_eq!(file.read(), Ok(None));
        let progress = Progress { rows: 7, ..Progress::new(5_000_000_000) };
        file.write(&progress).unwrap();
        assert_eq!(file.read(), Ok(Some(progress)));
        assert!(File::lock(state.path(), &request, "M1").err().unwrap().contains("another backfill of the same"));
        assert_eq!(File::lock(state.path(), &request, "H1").unwrap().read(), Ok(None));
        std::fs::write(state.path().join("backfill/a.EURUSD.M1.5.9.json"), "{\"version\":1").unwrap();
        assert!(file.read().unwrap_err().contains("it is damaged"));
    }
}
