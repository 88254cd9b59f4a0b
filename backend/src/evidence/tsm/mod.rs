//! Quotes from Linux's configfs-tsm, which is the same for TDX and SEV-SNP.
//!
//! Rules: the kernel's `Documentation/ABI/testing/configfs-tsm-report`.

mod error;
mod fs;
#[cfg(test)]
pub(super) mod kernel;

use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use error::TsmError;
pub(super) use fs::{StdFs, TsmFs};

/// Largest `outblob` and `auxblob`, bytes.
const MAX_BLOB: usize = 32 << 10;
/// Largest attribute that is text, bytes.
const MAX_TEXT: usize = 4 << 10;
/// How often a report is begun anew when another writes into its entry.
const ATTEMPTS: u32 = 5;
/// How often a step is tried while the kernel is busy. configfs notifies nobody of its end, so that a pause is all
/// that can be done: 10 ms, doubling, 2.5 s in all.
const BUSY_TRIES: u32 = 9;
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Which hardware reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provider {
    Tdx,
    SevSnp,
}

/// What the hardware signed, as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) provider: Provider,
    /// A TDX quote or a SEV-SNP report.
    pub(crate) quote: Vec<u8>,
    /// The host's certificate table, where there is one.
    pub(crate) auxiliary: Vec<u8>,
}

/// A report on `data`, by an entry of its own below `dir`. Blocks.
///
/// # Errors
/// [`TsmError`]; the entry is gone then, too.
pub(crate) fn report<F: TsmFs>(fs: &F, dir: &Path, data: &[u8; 64]) -> Result<Report, TsmError> {
    for _ in 0..ATTEMPTS {
        let entry = Entry::make(fs, dir)?;
        if let Some(report) = entry.report(data)? {
            return Ok(report);
        }
    }
    Err(TsmError::Interleaved(ATTEMPTS))
}

/// One entry, removed when dropped.
struct Entry<'a, F: TsmFs> {
    fs: &'a F,
    path: PathBuf,
}

impl<F: TsmFs> Drop for Entry<'_, F> {
    fn drop(&mut self) {
        if let Err(error) = again(self.fs, || self.fs.rmdir(&self.path)) {
            tracing::warn!(entry = %self.path.display(), %error, "a configfs-tsm entry is left behind");
        }
    }
}

impl<'a, F: TsmFs> Entry<'a, F> {
    fn make(fs: &'a F, dir: &Path) -> Result<Self, TsmError> {
        loop {
            let path = dir.join(format!("cocoon-{:016x}", fastrand::u64(..)));
            match again(fs, || fs.mkdir(&path)) {
                Ok(()) => return Ok(Self { fs, path }),
                // Somebody else's: not ours to write into.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(TsmError::of_mkdir(dir, error)),
            }
        }
    }

    /// None where somebody else wrote into the entry meanwhile: whose report it is, nobody knows then.
    fn report(&self, data: &[u8; 64]) -> Result<Option<Report>, TsmError> {
        let provider = match self.text("provider")?.as_str() {
            "tdx_guest" => Provider::Tdx,
            "sev_guest" => Provider::SevSnp,
            other => return Err(TsmError::Provider(other.chars().take(64).collect())),
        };
        let before = self.generation()?;
        let mut writes = 0;
        if provider == Provider::SevSnp {
            self.set_privilege()?;
            writes += 1;
        }
        self.write("inblob", data)?;
        writes += 1;
        let quote = self.blob("outblob")?.ok_or(TsmError::Empty)?;
        let auxiliary = self.blob("auxblob")?.unwrap_or_default();
        // Counts writes only, so that it is what it must be where nobody else wrote between the two readings, and
        // where the kernel took what we wrote: it says nothing of that when the file is closed.
        if self.generation()? != before.wrapping_add(writes) {
            return Ok(None);
        }
        if quote.is_empty() {
            return Err(TsmError::Empty);
        }
        Ok(Some(Report { provider, quote, auxiliary }))
    }

    /// VMPL 0, the only one that a policy accepts: below it another layer in the guest could ask for any report.
    fn set_privilege(&self) -> Result<(), TsmError> {
        match self.text("privlevel_floor")?.as_str() {
            "0" => self.write("privlevel", b"0"),
            floor => Err(TsmError::Privilege(floor.chars().take(16).collect())),
        }
    }

    fn generation(&self) -> Result<u64, TsmError> {
        let text = self.text("generation")?;
        text.parse().map_err(|_| TsmError::Attribute("generation"))
    }

    fn text(&self, attribute: &'static str) -> Result<String, TsmError> {
        let bytes = self.read(attribute, MAX_TEXT)?.ok_or(TsmError::Attribute(attribute))?;
        let text = String::from_utf8(bytes).map_err(|_| TsmError::Attribute(attribute))?;
        Ok(text.trim_end().to_owned())
    }

    fn blob(&self, attribute: &'static str) -> Result<Option<Vec<u8>>, TsmError> {
        self.read(attribute, MAX_BLOB)
    }

    /// None where there is no such attribute.
    fn read(&self, attribute: &'static str, limit: usize) -> Result<Option<Vec<u8>>, TsmError> {
        let path = self.path.join(attribute);
        let read = again(self.fs, || {
            let mut bytes = Vec::new();
            // Reads on after short reads and signals, to the end or to one byte too many.
            self.fs.open(&path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        match read {
            Ok(bytes) if bytes.len() > limit => Err(TsmError::TooLarge(attribute, limit)),
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(TsmError::of(attribute, error)),
        }
    }

    fn write(&self, attribute: &'static str, bytes: &[u8]) -> Result<(), TsmError> {
        let path = self.path.join(attribute);
        again(self.fs, || self.fs.write(&path, bytes)).map_err(|error| TsmError::of(attribute, error))
    }
}

/// Tries again while the kernel is busy, and at once after a signal.
fn again<T>(fs: &impl TsmFs, mut step: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let (mut pause, mut tries) = (BUSY_PAUSE, 1);
    loop {
        match step() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error::is_busy(&error) && tries < BUSY_TRIES => {
                fs.pause(pause);
                (pause, tries) = (pause * 2, tries + 1);
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests;
