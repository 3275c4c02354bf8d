//! The file in which the thread keeps how far it is.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::plan::Saved;
use crate::journal::Position;

/// What is kept between runs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct File {
    /// Everything before it is in `waiting`; none is the beginning.
    pub(super) position: Option<Position>,
    pub(super) waiting: Saved,
}

/// The file.
pub(super) struct StateFile(pub(super) PathBuf);

impl StateFile {
    /// What was written, if it fits the journal.
    pub(super) fn read(&self, journal_dir: &Path) -> Option<File> {
        let text = match std::fs::read(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => return self.unfit(&error),
        };
        match serde_json::from_slice::<File>(&text) {
            Ok(file) if file.position.is_none_or(|position| position.id().path(journal_dir).exists()) => Some(file),
            // The journal in between is gone: what it still holds is read.
            Ok(file) => Some(File { position: None, ..file }),
            Err(error) => self.unfit(&error),
        }
    }

    fn unfit(&self, error: &dyn std::fmt::Display) -> Option<File> {
        tracing::warn!("{}: {error}; what is to be mended is read from the journal", self.0.display());
        None
    }

    pub(super) fn write(&self, file: &File) -> Result<(), String> {
        let beside = self.0.with_extension("tmp");
        let written = serde_json::to_vec(file)
            .map_err(std::io::Error::other)
            .and_then(|text| std::fs::write(&beside, text))
            .and_then(|()| std::fs::rename(&beside, &self.0));
        written.map_err(|e| format!("{}: {e}", self.0.display()))
    }
}
