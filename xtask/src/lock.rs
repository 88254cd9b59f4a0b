//! One at a time across processes and checkouts, by advisory file locks that die with their owner.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use crate::console::note;
use crate::{files, interrupt};

/// Waits for the lock, saying so when somebody else has it.
pub(crate) fn wait(path: &Path, held_by: &str) -> anyhow::Result<File> {
    let mut said = false;
    loop {
        if let Some(lock) = attempt(path)? {
            return Ok(lock);
        }
        if !said {
            note(&format!("waiting: {held_by}"));
            said = true;
        }
        interrupt::check()?;
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The lock, or `None` when another process has it.
pub(crate) fn attempt(path: &Path) -> anyhow::Result<Option<File>> {
    if let Some(dir) = path.parent() {
        files::create_dir(dir)?;
    }
    let name = || format!("cannot lock {}", path.display());
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).with_context(name)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).with_context(name),
    }
}
