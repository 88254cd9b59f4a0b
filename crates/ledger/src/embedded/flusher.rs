//! Brings to disk, within half a second, what was committed without waiting for it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::LedgerError;

/// How long a commit may wait for the disk.
const WITHIN: Duration = Duration::from_millis(500);

/// Owns the thread that waits for the disk. Dropping it flushes what is left.
#[derive(Debug)]
pub(super) struct Flusher {
    wanted: Option<SyncSender<()>>,
    failed: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    /// For the database at `database`, which is in WAL mode.
    pub(super) fn start(database: &Path) -> Result<Self, LedgerError> {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        let (wanted, asked) = sync_channel(1);
        let failed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&failed);
        let thread = std::thread::Builder::new()
            .name("ledger-flusher".to_owned())
            .spawn(move || serve(&PathBuf::from(log), &asked, &flag))
            .map_err(|error| LedgerError::Unavailable(error.to_string()))?;
        Ok(Self { wanted: Some(wanted), failed, thread: Some(thread) })
    }

    /// Something was committed.
    pub(super) fn flush_soon(&self) {
        if let Some(wanted) = &self.wanted {
            // One that is asked for already covers this too.
            let _ = wanted.try_send(());
        }
    }

    /// Whether the disk refused: from then on every commit is to wait for it, and to fail with it.
    pub(super) fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.wanted = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the ledger's flusher panicked");
        }
    }
}

fn serve(log: &Path, asked: &Receiver<()>, failed: &AtomicBool) {
    while asked.recv().is_ok() {
        let due = Instant::now() + WITHIN;
        // Until then others may join; the end of all does not wait.
        let ended = loop {
            match asked.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => break false,
                Err(RecvTimeoutError::Disconnected) => break true,
            }
        };
        if let Err(error) = flush(log) {
            tracing::error!(%error, "the ledger could not be brought to disk");
            failed.store(true, Ordering::Relaxed);
        }
        if ended {
            return;
        }
    }
}

/// The log holds every commit that the database itself does not have yet. Where there is none, the database has all.
fn flush(log: &Path) -> std::io::Result<()> {
    match File::open(log) {
        Ok(log) => log.sync_data(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_cannot_be_flushed_is_noticed_and_one_that_is_gone_is_not_missed() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("ledger.db");
        let gone = Flusher::start(&database).unwrap();
        gone.flush_soon();
        let failed = Arc::clone(&gone.failed);
        drop(gone);
        assert!(!failed.load(Ordering::Relaxed));

        // A loop of links opens as nothing.
        std::os::unix::fs::symlink("ledger.db-wal", dir.path().join("ledger.db-wal")).unwrap();
        let broken = Flusher::start(&database).unwrap();
        broken.flush_soon();
        let failed = Arc::clone(&broken.failed);
        drop(broken);
        assert!(failed.load(Ordering::Relaxed));
    }
}
