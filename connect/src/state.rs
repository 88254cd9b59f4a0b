//! The folder that outlives the process: the local token, the releases that were seen.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Largest file that is read back, bytes.
const MAX_FILE: u64 = 1 << 20;

/// A folder or file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("{path}: {cause}")]
    Io { path: PathBuf, cause: io::Error },
    #[error("{path}: others can read or write it; it must be mode {expected}")]
    Open { path: PathBuf, expected: &'static str },
    #[error("{path}: {message}; move it away only if you know why it is so")]
    Corrupt { path: PathBuf, message: &'static str },
    #[error("the system has no randomness")]
    Randomness,
    #[error("the process ends")]
    Stopped,
}

/// A folder that its owner alone can change.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// Makes the folder where it is missing, mode 0700.
    ///
    /// # Errors
    /// [`StateError`]; also where others could change what is in it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |cause| StateError::Io { path: path.into(), cause };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let mode = path.metadata().map_err(failed)?.permissions().mode();
        if mode & 0o022 != 0 {
            return Err(StateError::Open { path: path.into(), expected: "0700" });
        }
        Ok(Self(path.into()))
    }

    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The content of a file, if it is there.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn read(&self, name: &str) -> Result<Option<String>, StateError> {
        let path = self.path(name);
        let failed = |cause| StateError::Io { path: path.clone(), cause };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut text = String::new();
        file.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
        Ok(Some(text))
    }

    /// As [`read`](Self::read), of a file that nobody else may read.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn read_secret(&self, name: &str) -> Result<Option<String>, StateError> {
        let path = self.path(name);
        match path.metadata() {
            Ok(metadata) if metadata.mode() & 0o077 != 0 => Err(StateError::Open { path, expected: "0600" }),
            _ => self.read(name),
        }
    }

    /// Puts `content` in the place of a file, at once and durably. Mode 0600.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn replace(&self, name: &str, content: &str) -> Result<(), StateError> {
        let (temporary, path) = (self.write_aside(name, content)?, self.path(name));
        std::fs::rename(&temporary, &path).map_err(|cause| StateError::Io { path, cause })
    }

    /// Makes a file that is not there yet, at once; one that is there stays. Mode 0600.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn create(&self, name: &str, content: &str) -> Result<(), StateError> {
        let (temporary, path) = (self.write_aside(name, content)?, self.path(name));
        let linked = std::fs::hard_link(&temporary, &path);
        let removed = std::fs::remove_file(&temporary);
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            outcome => outcome.and(removed).map_err(|cause| StateError::Io { path, cause }),
        }
    }

    /// Takes a lock that ends with the process, or when the file is dropped; none where another has it.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn lock(&self, name: &str) -> Result<Option<File>, StateError> {
        let path = self.path(name);
        let failed = |cause| StateError::Io { path: path.clone(), cause };
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(cause)) => Err(failed(cause)),
        }
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn remove(&self, name: &str) -> Result<(), StateError> {
        let path = self.path(name);
        match std::fs::remove_file(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(StateError::Io { path, cause }),
            _ => Ok(()),
        }
    }

    fn write_aside(&self, name: &str, content: &str) -> Result<PathBuf, StateError> {
        let mut suffix = [0; 8];
        cocoon_receipts::random(&mut suffix).map_err(|_| StateError::Randomness)?;
        let path = self.path(&format!(".{name}.{}", hex::encode(suffix)));
        let failed = |cause| StateError::Io { path: path.clone(), cause };
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        file.write_all(content.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_and_its_files_are_their_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let state = StateDir::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o700);
        state.replace("x", "1").unwrap();
        state.replace("x", "2").unwrap();
        assert_eq!(state.path("x").metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(state.read("x").unwrap().as_deref(), Some("2"));
        assert_eq!(state.read("y").unwrap(), None);
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1, "nothing is left aside");

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(StateDir::open(&path), Err(StateError::Open { .. })));
    }

    #[test]
    fn a_file_that_is_there_is_not_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("s")).unwrap();
        state.create("x", "first").unwrap();
        state.create("x", "second").unwrap();
        assert_eq!(state.read("x").unwrap().as_deref(), Some("first"));
        assert_eq!(std::fs::read_dir(dir.path().join("s")).unwrap().count(), 1, "nothing is left aside");
    }
}
