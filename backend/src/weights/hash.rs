//! SHA-256 of files at the speed of the disk: reading and hashing overlap, and files go side by side.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read as _};
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::SystemTime;

use cocoon_receipts::Digest;
use sha2::Digest as _;

use super::WeightsError;
use super::cache::Cache;
use super::manifest::{Manifest, ModelFile};
use super::progress::Progress;

/// Read at once, bytes.
const PIECE: usize = 4 << 20;
/// Pieces of one file that are read ahead of the hash.
const AHEAD: usize = 2;

/// A file's digest, and what the file was when it was taken.
#[derive(Debug, Clone)]
pub(super) struct Hashed {
    pub(super) digest: Digest,
    pub(super) metadata: Metadata,
    /// When `metadata` was read.
    pub(super) at: SystemTime,
}

/// The digests of a model's files, in their order.
pub(super) fn files(manifest: &Manifest, cache: Option<&Cache>) -> Result<Vec<Hashed>, WeightsError> {
    let begun = SystemTime::now();
    let opened: Vec<(File, Metadata)> = manifest.files.iter().map(open).collect::<Result<_, _>>()?;
    let known: Vec<Option<Digest>> = (manifest.files.iter().zip(&opened))
        .map(|(file, (_, metadata))| cache.and_then(|cache| cache.get(&file.path, metadata)))
        .collect();
    let new = opened.iter().zip(&known).filter(|(_, known)| known.is_none());
    let progress = Progress::new(new.map(|((_, metadata), _)| metadata.len()).sum());
    let (next, results) = (AtomicUsize::new(0), Mutex::new(vec![None; opened.len()]));
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(((file, (handle, metadata)), known)) =
                manifest.files.get(at).zip(opened.get(at)).zip(known.get(at))
            else {
                return Ok(());
            };
            let digest = match known {
                Some(digest) => *digest,
                None => one(file, handle, metadata, &progress)?,
            };
            let hashed = Hashed { digest, metadata: metadata.clone(), at: begun };
            if let Ok(mut results) = results.lock() {
                results[at] = Some(hashed);
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(opened.len());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| WeightsError::Thread)?)
    })?;
    if known.iter().any(Option::is_none) {
        progress.end();
    }
    let results = results.into_inner().map_err(|_| WeightsError::Thread)?;
    results.into_iter().collect::<Option<_>>().ok_or(WeightsError::Thread)
}

fn open(file: &ModelFile) -> Result<(File, Metadata), WeightsError> {
    let handle = File::open(&file.path).map_err(WeightsError::read(&file.path))?;
    let metadata = handle.metadata().map_err(WeightsError::read(&file.path))?;
    Ok((handle, metadata))
}

/// A second thread reads what comes next while this one hashes.
fn one(
    file: &ModelFile,
    handle: &File,
    metadata: &Metadata,
    progress: &Progress,
) -> Result<Digest, WeightsError> {
    let (filled, pieces) = mpsc::sync_channel::<Vec<u8>>(AHEAD);
    let (emptied, buffers) = mpsc::channel::<Vec<u8>>();
    let (digest, length) = std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut spare = AHEAD + 1;
            loop {
                // As many buffers as can be under way; then those that come back.
                let buffer = if spare > 0 {
                    spare -= 1;
                    vec![0; PIECE]
                } else {
                    match buffers.recv() {
                        Ok(buffer) => buffer,
                        Err(mpsc::RecvError) => return Ok(()),
                    }
                };
                let piece = fill(handle, buffer)?;
                if piece.is_empty() || filled.send(piece).is_err() {
                    return Ok(());
                }
            }
        });
        let (mut hash, mut length) = (sha2::Sha256::new(), 0);
        for piece in pieces {
            hash.update(&piece);
            length += piece.len() as u64;
            progress.add(piece.len() as u64);
            // The reader may be through.
            drop(emptied.send(piece));
        }
        let read = reader.join().map_err(|_| WeightsError::Thread)?;
        read.map_err(WeightsError::read(&file.path))?;
        Ok((Digest(hash.finalize().into()), length))
    })?;
    let after = handle.metadata().map_err(WeightsError::read(&file.path))?;
    let same_time = after.modified().ok() == metadata.modified().ok();
    if length != metadata.len() || after.len() != length || !same_time {
        return Err(WeightsError::Changing(file.path.clone()));
    }
    Ok(digest)
}

/// A full piece, or what is left of the file.
fn fill(mut file: &File, mut buffer: Vec<u8>) -> std::io::Result<Vec<u8>> {
    buffer.resize(PIECE, 0);
    let mut filled = 0;
    while filled < PIECE {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_longer_what_it_was_when_it_was_opened_has_no_digest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m");
        std::fs::write(&path, b"abc").unwrap();
        let file = ModelFile { name: "m".to_owned(), path: path.clone() };
        let (handle, before) = open(&file).unwrap();
        std::fs::write(&path, b"abcd").unwrap();
        let longer = one(&file, &handle, &before, &Progress::new(3));
        assert!(matches!(longer, Err(WeightsError::Changing(_))));

        let (handle, before) = open(&file).unwrap();
        handle.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let touched = one(&file, &handle, &before, &Progress::new(4));
        assert!(matches!(touched, Err(WeightsError::Changing(_))));
    }
}
