//! Where libchdb is.

use std::path::{Path, PathBuf};

use super::StoreError;

/// Where `scripts/get-chdb` puts it, below the folder of the project.
const CACHED: &str = ".cache/chdb-26.7.3/libchdb.so";

/// The library named by `chosen` (a flag), else by `TICKWIRE_CHDB`, else the one `scripts/get-chdb` got, below the
/// working directory or below a folder that the program lies in.
///
/// # Errors
/// None of these files is there: the message names them and the command that gets one.
pub fn find_library(chosen: Option<&Path>) -> Result<PathBuf, StoreError> {
    let from_environment = std::env::var_os("TICKWIRE_CHDB").filter(|v| !v.is_empty()).map(PathBuf::from);
    let program = std::env::current_exe().ok();
    search(chosen.map(Path::to_owned).or(from_environment), &std::env::current_dir().ok(), &program)
}

fn search(named: Option<PathBuf>, working: &Option<PathBuf>, program: &Option<PathBuf>) -> Result<PathBuf, StoreError> {
    let candidates: Vec<PathBuf> = match named {
        Some(path) => vec![path],
        None => {
            // From `target/release/` (and a test's `target/debug/deps/`) up to the folder of the project.
            let above_program = program.iter().flat_map(|p| p.ancestors().skip(1).take(4));
            let folders = working.iter().map(PathBuf::as_path).chain(above_program);
            folders.map(|folder| folder.join(CACHED)).collect()
        }
    };
    match candidates.iter().find(|p| p.is_file()) {
        Some(found) => {
            std::path::absolute(found).map_err(|source| StoreError::Io { doing: "find", path: found.clone(), source })
        }
        None => Err(StoreError::NoLibrary { searched: candidates }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_named_file_is_the_only_candidate() {
        let error = search(Some("/nowhere/libchdb.so".into()), &Some("/".into()), &None).unwrap_err().to_string();
        assert!(error.contains("scripts/get-chdb") && error.contains("/nowhere/libchdb.so"), "{error}");
        assert!(!error.contains(".cache"), "{error}");
    }

    #[test]
    fn found_above_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join(CACHED);
        let program = Some(folder.path().join("target/release/tickwire"));
        let error = search(None, &None, &program).unwrap_err().to_string();
        assert!(error.contains(&library.display().to_string()), "{error}");
        std::fs::create_dir_all(library.parent().unwrap()).unwrap();
        std::fs::write(&library, "").unwrap();
        assert_eq!(search(None, &None, &program).unwrap(), library);
    }
}
