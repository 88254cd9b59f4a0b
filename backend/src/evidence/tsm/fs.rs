//! The few file operations that configfs needs.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::path::Path;
use std::time::Duration;

/// What a report does with files; the tests play the kernel behind it.
pub(crate) trait TsmFs: Send + Sync + 'static {
    type Reader: Read;

    fn mkdir(&self, path: &Path) -> io::Result<()>;
    fn rmdir(&self, path: &Path) -> io::Result<()>;
    fn open(&self, path: &Path) -> io::Result<Self::Reader>;
    /// Writes an attribute whole.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Blocks for a moment.
    fn pause(&self, time: Duration);
}

/// The machine's own files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StdFs;

impl TsmFs for StdFs {
    type Reader = File;

    fn mkdir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    fn rmdir(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    /// In one call: each is a value of its own to configfs.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let written = OpenOptions::new().write(true).open(path)?.write(bytes)?;
        if written == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
